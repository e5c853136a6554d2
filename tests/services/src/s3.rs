//! An S3 server: MinIO where it is installed, else moto.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use crate::process::Process;
use crate::{SCRIPT, free_port, installed};

/// One S3 server with one bucket.
pub struct S3 {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// The bucket's name.
    pub bucket: &'static str,
    /// Whether it keeps its objects over a restart, and wants requests signed: MinIO does, moto does not.
    pub durable: bool,
    /// Kill, pause, restart.
    pub process: Process,
}

impl S3 {
    /// Starts a server and makes the bucket. `None` if it is not installed.
    ///
    /// # Panics
    /// If it does not start; in CI if it is not installed.
    pub fn start() -> Option<S3> {
        if !installed("s3") {
            return None;
        }
        let mut said = String::new();
        for _ in 0..5 {
            let port = free_port();
            let build = move |folder: &Path| {
                let mut command = Command::new(SCRIPT);
                command.args(["run", "s3", &port.to_string()]).arg(folder.join("objects"));
                command
            };
            // Until MinIO has its storage at hand it answers 503.
            let ready = |reply: String| !reply.starts_with("HTTP/1.1 503");
            match Process::start("s3", build, move |_| request(port, "GET", "/").is_ok_and(ready)) {
                Ok(process) => {
                    let reply = request(port, "GET", "/").unwrap_or_default();
                    let s3 = S3 { port, bucket: "lake", durable: reply.contains("Server: MinIO"), process };
                    s3.create_bucket(s3.bucket);
                    return Some(s3);
                }
                Err(error) => said = error,
            }
        }
        panic!("{said}");
    }

    /// `http://127.0.0.1:port`
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What a process needs in its environment to use it, as AWS' tools call it.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", self.endpoint()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "seam".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "seamseam".to_owned()),
        ]
    }

    /// The reply to an unsigned GET, headers and all, e.g. of `/lake?uploads`; moto answers those.
    ///
    /// # Errors
    /// The server is away.
    pub fn get(&self, path: &str) -> std::io::Result<String> {
        request(self.port, "GET", path)
    }

    /// Makes another bucket.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn create_bucket(&self, name: &str) {
        if self.durable {
            let folder = self.process.folder().join("objects").join(name);
            return std::fs::create_dir_all(folder).expect("MinIO's buckets are folders");
        }
        let reply = request(self.port, "PUT", &format!("/{name}")).expect("the S3 server answers");
        assert!(reply.starts_with("HTTP/1.1 200"), "the bucket is made: {reply}");
    }
}

/// The reply to one unsigned request without a body.
pub(crate) fn request(port: u16, method: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}
