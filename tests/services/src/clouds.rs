//! Emulators of the other clouds' object stores: Azurite for Azure, fake-gcs-server for Google.
use std::path::Path;
use std::process::Command;

use crate::process::Process;
use crate::s3::request;
use crate::{SCRIPT, free_port, installed};

/// How often a start is tried: another process may take the port in between.
const ATTEMPTS: usize = 5;
/// The name of Azurite's account; name and key are the same everywhere and no secret.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// Leave to do everything in that account until 2099, signed with that key.
const SIGNED: &str = "sv=2021-08-06&ss=b&srt=sco&sp=rwdlc&se=2099-01-01T00%3A00%3A00Z&sig=QasnztzZZ0YhpTIK8Qxshc1teEr7mrIN%2Bb80giC8nHs%3D";

/// A cloud's object store with one bucket (Azure: container) called `lake`.
pub struct Cloud {
    /// The bucket's URL: `az://lake` or `gs://lake`.
    pub url: &'static str,
    /// What a process needs in its environment to use it, as the vendor's tools call it.
    pub environment: Vec<(&'static str, String)>,
    /// Kill, pause, restart. Nothing is kept.
    pub process: Process,
}

impl Cloud {
    /// Starts Azurite. `None` if it is not installed.
    ///
    /// # Panics
    /// If it does not start; in CI if it is not installed.
    pub fn azure() -> Option<Cloud> {
        installed("azure").then(|| {
            let (port, process) = start("azure", &[]);
            let made = request(port, "PUT", &format!("/{ACCOUNT}/lake?restype=container&{SIGNED}"));
            let made = made.expect("Azurite answers");
            assert!(made.starts_with("HTTP/1.1 201"), "the container is made: {made}");
            let environment = vec![
                ("AZURE_STORAGE_ENDPOINT", format!("http://127.0.0.1:{port}/{ACCOUNT}")),
                ("AZURE_ALLOW_HTTP", "true".to_owned()),
                ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
                ("AZURE_STORAGE_ACCOUNT_KEY", KEY.to_owned()),
            ];
            Cloud { url: "az://lake", environment, process }
        })
    }

    /// Starts fake-gcs-server. `None` if it is not installed.
    ///
    /// # Panics
    /// If it does not start; in CI if it is not installed.
    pub fn google() -> Option<Cloud> {
        installed("gcs").then(|| {
            let (port, process) = start("gcs", &["lake"]);
            // An account that needs no token, and where the store is.
            let account = format!(
                r#"{{"private_key":"","private_key_id":"","client_email":"","disable_oauth":true,"gcs_base_url":"http://127.0.0.1:{port}"}}"#
            );
            let environment =
                vec![("GOOGLE_SERVICE_ACCOUNT_KEY", account), ("GOOGLE_ALLOW_HTTP", "true".to_owned())];
            Cloud { url: "gs://lake", environment, process }
        })
    }
}

fn start(service: &'static str, words: &'static [&'static str]) -> (u16, Process) {
    let mut said = String::new();
    for _ in 0..ATTEMPTS {
        let port = free_port();
        let build = move |folder: &Path| {
            let mut command = Command::new(SCRIPT);
            command.current_dir(folder).args(["run", service, &port.to_string()]).args(words);
            command
        };
        match Process::start(service, build, move |_| request(port, "GET", "/").is_ok()) {
            Ok(process) => return (port, process),
            Err(error) => said = error,
        }
    }
    panic!("{said}");
}
