//! A `seam up` process of a test: started in a folder of its own, asked over HTTP, killed or stopped by pid.
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use seam_services::free_port;
use serde_json::Value;

/// A folder that goes away with the test, unless it fails.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("seam-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder can be made");
        Folder(path)
    }
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("the temporary folder is writable");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A running `seam up`.
pub struct Server {
    child: Child,
    pub url: String,
    agent: ureq::Agent,
}

pub fn seam() -> Command {
    Command::new(env!("CARGO_BIN_EXE_seam"))
}

pub fn agent() -> ureq::Agent {
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(30))).build();
    config.into()
}

impl Server {
    /// Starts `seam up` in `folder` with its `seam.yaml` and waits until it is ready.
    pub fn start(folder: &Path) -> Server {
        let listen = format!("127.0.0.1:{}", free_port());
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("server.log"));
        let child = seam()
            .current_dir(folder)
            .args(["up", "--listen", &listen, "--log-format", "text"])
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("the log file opens"))
            .spawn()
            .expect("the built program starts");
        let mut server = Server { child, url: format!("http://{listen}"), agent: agent() };
        server.wait_ready(folder);
        server
    }

    fn wait_ready(&mut self, folder: &Path) {
        let give_up = Instant::now() + Duration::from_secs(60);
        while Instant::now() < give_up {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
                panic!("seam up ended with {status}:\n{log}");
            }
            if self.agent.get(format!("{}/readyz", self.url)).call().is_ok_and(|r| r.status() == 200) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("seam up was not ready within 60 s; see {}", folder.join("server.log").display());
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// GET: status and body.
    pub fn get(&self, path: &str) -> Result<(u16, Value), String> {
        let mut reply = self.agent.get(format!("{}{path}", self.url)).call().map_err(|e| e.to_string())?;
        let status = reply.status().as_u16();
        let text = reply.body_mut().with_config().limit(1 << 30).read_to_string().map_err(|e| e.to_string())?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process can be waited for");
    }

    /// SIGTERM: the exit code and how long it took.
    pub fn stop(mut self) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        let status = self.child.wait().expect("the process can be waited for");
        (status.code(), begun.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
