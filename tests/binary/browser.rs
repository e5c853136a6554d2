//! A headless Chromium of a test, driven over the WebDriver protocol: opened in a folder of its own, ended by pid.
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use seam_services::{free_port, skipped};
use serde_json::{Value, json};

use crate::server::{Folder, agent};

/// What Chromium needs to leave the rest of the machine, and the network, alone.
const ARGUMENTS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-device-scale-factor=1",
    "--window-size=1360,900",
];
/// How long the page may take to show something.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one window.
pub struct Browser {
    driver: Child,
    session: String,
    agent: ureq::Agent,
    _profile: Folder,
}

fn installed(names: &[&str]) -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name))).find(|path| path.is_file())
}

impl Browser {
    /// A browser, or `None`, said loudly, where none is installed; in CI that is a failure.
    pub fn open() -> Option<Browser> {
        let found = installed(&["chromedriver"]).zip(installed(&["chromium", "chromium-browser", "google-chrome"]));
        let Some((driver, chromium)) = found else {
            skipped(
                "no chromium and chromedriver: the page is not looked at",
                "infra/services/services.sh install browser",
            );
            return None;
        };
        let profile = Folder::new("browser");
        let port = free_port();
        let driver = Command::new(driver)
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let url = format!("http://127.0.0.1:{port}");
        let mut browser = Browser { driver, session: url.clone(), agent: agent(), _profile: profile };
        let begun = Instant::now();
        while browser.agent.get(format!("{url}/status")).call().is_err() {
            assert!(begun.elapsed() < PATIENCE, "chromedriver does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut arguments: Vec<String> = ARGUMENTS.iter().map(|argument| (*argument).to_owned()).collect();
        arguments.push(format!("--user-data-dir={}", browser._profile.0.display()));
        let options = json!({ "binary": chromium, "args": arguments });
        let wanted = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
        let opened = browser.post("/session", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.session = format!("{url}/session/{}", opened["sessionId"].as_str().expect("a session"));
        Some(browser)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let reply = self.agent.post(format!("{}{path}", self.session)).send_json(body);
        let mut reply = reply.unwrap_or_else(|error| panic!("chromedriver at {path}: {error}"));
        let answer: Value = reply.body_mut().read_json().expect("chromedriver answers in JSON");
        assert!(answer["value"]["error"].is_null(), "{path} {body}: {answer:#}");
        answer["value"].clone()
    }

    /// Goes to an address.
    pub fn go(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// The value of a JavaScript function body, which may wait; its arguments are `a`, `b`, ….
    pub fn run(&self, body: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; \
             (async () => {{ {body} }})().then((value) => done({{ value: value ?? null }}), (error) => done({{ failed: String(error.stack) }}));"
        );
        let answer = self.post("/execute/async", &json!({ "script": script, "args": [] }));
        assert!(answer["failed"].is_null(), "{body}: {}", answer["failed"].as_str().unwrap_or_default());
        answer["value"].clone()
    }

    /// Waits until an expression is true.
    pub fn wait(&self, expression: &str) {
        let begun = Instant::now();
        while self.run(&format!("return Boolean({expression});")) != Value::Bool(true) {
            if begun.elapsed() > PATIENCE {
                let shown = self.run("return document.body.innerText.slice(0, 2000);");
                panic!("never: {expression}\nthe page says: {shown}\nthe console says: {:#?}", self.console());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Presses keys where the focus is; WebDriver's names of keys are private characters.
    pub fn press(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })])
            .collect();
        self.post("/actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] }));
    }

    /// Makes the window as wide as a phone, or as a desk.
    pub fn resize(&self, width: u32, height: u32) {
        self.post("/window/rect", &json!({ "width": width, "height": height }));
    }

    /// What went wrong in the page since this was asked last.
    pub fn console(&self) -> Vec<String> {
        let lines = self.post("/se/log", &json!({ "type": "browser" }));
        let line = |line: &Value| {
            format!("{} {}", line["level"].as_str().unwrap_or_default(), line["message"].as_str().unwrap_or_default())
        };
        lines.as_array().into_iter().flatten().map(line).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser with the session.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
