//! Certificates for tests, made anew by openssl: an authority, a broker's and a client's that it signed, and an authority that signed
//! nothing.
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A folder of PEM files.
///
/// - `ca.crt`: the authority. `other.crt`: one that has nothing to do with it.
/// - `broker.pem`: key and certificate of a server that is called `localhost`.
/// - `client.key`, `client.crt`: those of a client.
pub struct Certificates(TempDir);

impl Certificates {
    /// Makes them.
    ///
    /// # Panics
    /// If openssl is missing or fails.
    pub(crate) fn new() -> Certificates {
        let folder = tempfile::Builder::new().prefix("seam-certificates-").tempdir();
        let made = Certificates(folder.expect("a temporary folder can be made"));
        made.authority("ca");
        made.authority("other");
        made.sign("broker", "subjectAltName=DNS:localhost");
        made.sign("client", "extendedKeyUsage=clientAuth");
        let text = |name: &str| std::fs::read_to_string(made.file(name)).expect("openssl wrote it");
        let both = text("broker.key") + &text("broker.crt");
        std::fs::write(made.file("broker.pem"), both).expect("the folder is writable");
        made
    }

    /// The path of a file.
    pub fn path(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn authority(&self, name: &str) {
        self.request(name, &["-x509", "-days", "2", "-out", &format!("{name}.crt")]);
    }

    fn sign(&self, name: &str, extension: &str) {
        self.request(name, &["-out", &format!("{name}.csr")]);
        let extensions = format!("{name}.extensions");
        std::fs::write(self.file(&extensions), extension).expect("the folder is writable");
        let (request, out) = (format!("{name}.csr"), format!("{name}.crt"));
        let authority = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
        let files = ["-in", &request, "-out", &out, "-extfile", &extensions];
        self.openssl(&[&["x509", "-req"][..], &authority, &files].concat());
    }

    fn request(&self, name: &str, words: &[&str]) {
        let (key, subject) = (format!("{name}.key"), format!("/CN=seam {name}"));
        let common = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-batch"];
        self.openssl(&[&common[..], &["-keyout", &key, "-subj", &subject], words].concat());
    }

    fn openssl(&self, words: &[&str]) {
        let ran = Command::new("openssl").current_dir(self.0.path()).args(words).output().expect("openssl runs");
        assert!(ran.status.success(), "openssl {words:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}
