//! One process of a service: killed, paused, resumed and started again by its pid.
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a service may take to be ready, and to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(90);

type Build = Box<dyn Fn(&Path) -> Command + Send + Sync>;
type Ready = Box<dyn Fn(&Path) -> bool + Send + Sync>;

/// A process that works in a folder of its own.
pub struct Process {
    name: &'static str,
    build: Build,
    ready: Ready,
    running: Mutex<Option<Running>>,
    /// Dropped last.
    folder: TempDir,
}

struct Running {
    child: Child,
    /// A shell that kills the child when this process ends without doing so.
    watch: Child,
}

impl Process {
    /// Starts what `build` gives for the folder, and waits until it is `ready`; `Err` with its last words if it ends before.
    pub(crate) fn start(
        name: &'static str,
        build: impl Fn(&Path) -> Command + Send + Sync + 'static,
        ready: impl Fn(&Path) -> bool + Send + Sync + 'static,
    ) -> Result<Process, String> {
        let folder = tempfile::Builder::new().prefix(&format!("seam-{name}-")).tempdir();
        let folder = folder.expect("a temporary folder can be made");
        let running = Mutex::new(None);
        let process = Process { name, build: Box::new(build), ready: Box::new(ready), running, folder };
        process.spawn()?;
        Ok(process)
    }

    /// Where it keeps its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its pid; `None` while it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.lock().as_ref().map(|running| running.child.id())
    }

    /// kill -9. Nothing happens if it does not run.
    pub fn kill(&self) {
        if let Some(running) = self.lock().take() {
            running.end();
        }
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop(&self) {
        let Some(mut running) = self.lock().take() else { return };
        signal("TERM", running.child.id());
        let ended = wait_until(PATIENCE, || running.child.try_wait().is_ok_and(|status| status.is_some()));
        running.end();
        assert!(ended, "{} did not end within {PATIENCE:?}", self.name);
    }

    /// SIGSTOP: it keeps its ports and connections, and does nothing.
    ///
    /// # Panics
    /// If it does not stop.
    pub fn pause(&self) {
        let Some(pid) = self.pid() else { return };
        signal("STOP", pid);
        // The signal is only on its way when `kill` returns.
        let stopped = || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "));
        assert!(wait_until(PATIENCE, stopped), "{} stops", self.name);
    }

    /// SIGCONT: it goes on as if nothing had been.
    pub fn resume(&self) {
        self.pid().into_iter().for_each(|pid| signal("CONT", pid));
    }

    /// Starts it again after it ended, with the same ports and folder; kills it before if it runs.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn restart(&self) {
        self.kill();
        if let Err(said) = self.spawn() {
            panic!("{} does not start again: {said}", self.name);
        }
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.folder().join("said.log")
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self) -> Result<(), String> {
        let log = |file: &Path| -> File {
            OpenOptions::new().create(true).append(true).open(file).expect("the folder of a service is writable")
        };
        let mut command = (self.build)(self.folder());
        let (out, err) = (log(&self.log()), log(&self.log()));
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.map_err(|error| format!("{command:?}: {error}"))?;
        let watch = watch(child.id(), self.folder());
        let mut running = Running { child, watch };
        let mut ended = None;
        let ready = wait_until(PATIENCE, || {
            ended = running.child.try_wait().ok().flatten();
            ended.is_some() || (self.ready)(self.folder())
        });
        if ready && ended.is_none() {
            *self.lock() = Some(running);
            return Ok(());
        }
        running.end();
        let end = ended.map_or("was not ready in time".to_owned(), |status| format!("ended with {status}"));
        Err(format!("{} {end}:\n{}", self.name, self.said()))
    }
}

impl Running {
    fn end(mut self) {
        // Errors mean that it ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(mut line) = self.watch.stdin.take() {
            let _ = line.write_all(b"done\n");
        }
        let _ = self.watch.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let said = self.said();
            let last: Vec<&str> = said.lines().rev().take(20).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            eprintln!("the last words of {}:\n{}", self.name, last.join("\n"));
        }
    }
}

/// A shell that ends with a word from us, and kills the process and removes its folder when the pipe closes without one.
fn watch(pid: u32, folder: &Path) -> Child {
    // It outlives the signals that go to the whole group of a test's processes.
    let script = r#"trap '' INT TERM HUP; read -r _ || { kill -9 "$1"; sleep 0.2; rm -rf "$2"; }"#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "watch", &pid.to_string()]).arg(folder);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell starts")
}

fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "signal {name} reaches process {pid}");
}

/// Whether `done` came true in time.
pub(crate) fn wait_until(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let give_up = Instant::now() + patience;
    loop {
        if done() {
            return true;
        }
        if Instant::now() > give_up {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
