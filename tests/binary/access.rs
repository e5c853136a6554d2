//! Keys, rows and TLS of the built program, as curl and its own commands see them.
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use seam_services::{free_port, skipped};
use serde_json::Value;

use crate::server::{Folder, seam};

const CONFIG: &str = r#"
version: 1
name: shop
sources:
  clicks:
    map: { id: $.id, time: $.time }
    fields: { region: string, value: decimal(2) }
views:
  by_region: { from: clicks, dimensions: [region], pane: 10s, windows: [1m, 5m], measures: { events: count() } }
metrics:
  events: { view: by_region, measure: events }
dashboard: { metrics: [events] }
server:
  access: { keys: ./keys.yaml, failures: 1000/s }
  tls: { certificate: ./cert.pem, key: ./key.pem }
"#;

/// A `seam up` with TLS that is ended by its pid.
pub struct Up {
    child: Child,
    url: String,
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program in the folder: exit code, output, errors.
fn run(folder: &Folder, program: &mut Command) -> (i32, String, String) {
    let out = program.current_dir(&folder.0).stdin(Stdio::null()).output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (out.status.code().unwrap_or(-1), text(out.stdout), text(out.stderr))
}

pub fn create(folder: &Folder, arguments: &[&str]) -> String {
    let (code, out, err) = run(folder, seam().args(["keys", "create", "--file", "keys.yaml"]).args(arguments));
    assert_eq!(code, 0, "{err}");
    let key = out.trim().to_owned();
    assert!(key.starts_with("seam_") && key.len() == 69, "one key and nothing else: {out}");
    key
}

/// A certificate for this machine; false without openssl or curl.
pub fn certificate(folder: &Folder) -> bool {
    let openssl = |arguments: &str| {
        let mut program = Command::new("openssl");
        program.current_dir(&folder.0).args(arguments.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
        program.status().is_ok_and(|status| status.success())
    };
    folder.write("names", "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
    let made = openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca.key -out ca.pem -subj /CN=authority")
        && openssl("req -newkey rsa:2048 -nodes -keyout key.pem -out cert.csr -subj /CN=localhost")
        && openssl(
            "x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem",
        );
    let curl = Command::new("curl").arg("--version").stdout(Stdio::null()).status();
    let there = made && curl.is_ok_and(|status| status.success());
    if !there {
        skipped("there is no openssl, or no curl", "install both");
    }
    there
}

/// Asks with curl, which trusts our certificate alone: status and body.
fn curl(folder: &Folder, arguments: &[&str]) -> (u16, String) {
    let fixed = ["-sS", "--cacert", "ca.pem", "--max-time", "20", "-w", "\n%{http_code}"];
    let (code, out, err) = run(folder, Command::new("curl").args(fixed).args(arguments));
    assert_eq!(code, 0, "{arguments:?}: {err}");
    let (body, status) = out.rsplit_once('\n').expect("curl adds the status");
    (status.parse().expect("a status"), body.to_owned())
}

pub fn start(folder: &Folder) -> Up {
    let listen = format!("127.0.0.1:{}", free_port());
    let log = std::fs::File::create(folder.0.join("server.log")).expect("the log file opens");
    let mut program = seam();
    program.current_dir(&folder.0).args(["up", "--listen", &listen]).env("RUST_LOG", "debug,rustls=info");
    let program = program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let child = program.spawn().expect("the built program starts");
    let up = Up { child, url: format!("https://{listen}") };
    let give_up = Instant::now() + Duration::from_secs(60);
    let ready = ["-s", "--cacert", "ca.pem", "-o", "/dev/null", "-w", "%{http_code}"];
    let url = format!("{}/readyz", up.url);
    while run(folder, Command::new("curl").args(ready).arg(&url)).1 != "200" {
        assert!(Instant::now() < give_up, "not ready; see {}", folder.0.join("server.log").display());
        std::thread::sleep(Duration::from_millis(50));
    }
    up
}

/// A running Seam, and a key for each kind of caller.
struct Guarded {
    /// Ends before its folder goes.
    up: Up,
    folder: Folder,
    admin: String,
    /// May send events, and nothing else.
    ingest: String,
    /// Sees the rows of one region.
    eu: String,
    metrics: String,
    expired: String,
}

impl Guarded {
    /// `None` without openssl or curl.
    fn start() -> Option<Guarded> {
        let folder = Folder::new("access");
        folder.write("seam.yaml", CONFIG);
        if !certificate(&folder) {
            return None;
        }
        let admin = create(&folder, &["--scope", "admin", "--name", "admin"]);
        let ingest = create(&folder, &["--scope", "ingest:clicks", "--expires", "90d"]);
        let eu = create(&folder, &["--scope", "query:by_region", "--filter", "region=eu", "--rate", "1000/s"]);
        let metrics = create(&folder, &["--scope", "metrics"]);
        let expired = create(&folder, &["--scope", "admin", "--expires", "2020-01-01T00:00:00Z"]);
        let up = start(&folder);
        Some(Guarded { up, folder, admin, ingest, eu, metrics, expired })
    }
    fn keys(&self) -> [&str; 5] {
        [&self.admin, &self.ingest, &self.eu, &self.metrics, &self.expired]
    }
    /// Whether any key can be read in a text.
    fn is_told(&self, text: &str) -> bool {
        self.keys().iter().any(|key| text.contains(&key[5..]))
    }
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.up.url)
    }
    fn get(&self, key: &str, path: &str) -> (u16, String) {
        curl(&self.folder, &["-H", &format!("Authorization: Bearer {key}"), &self.url(path)])
    }
    /// A command of the program that asks this process.
    fn client(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut program = seam();
        run(&self.folder, program.args(["--cacert", "ca.pem"]).args(arguments).env("SEAM_URL", &self.up.url))
    }
}

/// The terminal's views of a running Seam.
fn check_terminal(guarded: &Guarded) {
    let Guarded { admin, metrics, .. } = guarded;
    let (code, tapped, err) = guarded.client(&["tap", "clicks", "--from", "-5", "--limit", "3", "--key", admin]);
    assert_eq!((code, tapped.lines().count()), (0, 3), "{tapped}{err}");
    let first: Value = serde_json::from_str(tapped.lines().next().expect("a line")).expect("JSON");
    assert_eq!((first["offset"].as_u64(), first["event"]["id"].as_str()), (Some(25), Some("25")), "{first}");
    let (code, top, err) = guarded.client(&["top", "--once", "--interval", "0.2", "-o", "json", "--key", metrics]);
    let top: Value = serde_json::from_str(&top).unwrap_or_else(|e| panic!("{e}: {top}{err}"));
    assert_eq!((code, top["partitions"][0]["lag_records"].as_f64()), (0, Some(0.0)), "{top}");
    let (code, top, _) = guarded.client(&["top", "--once", "--interval", "0.2", "--key", metrics]);
    assert!(code == 0 && top.contains("clicks/0") && top.contains("EVENTS/S"), "{top}");
}

/// In through the client, with the key from a file.
fn check_ingest(guarded: &Guarded) {
    guarded.folder.write("key.txt", &guarded.ingest);
    let event = |i: usize| {
        let region = ["eu", "us", "cn"][i % 3];
        format!("{{\"id\":\"{i}\",\"time\":\"2026-01-01T00:00:{i:02}Z\",\"region\":\"{region}\",\"value\":1}}\n")
    };
    guarded.folder.write("events.ndjson", &(0..30).map(event).collect::<String>());
    let mut program = seam();
    program.args(["ingest", "--cacert", "ca.pem", "events.ndjson"]).env("SEAM_URL", &guarded.up.url);
    let (code, out, err) = run(&guarded.folder, program.env("SEAM_KEY_FILE", guarded.folder.0.join("key.txt")));
    assert!(code == 0 && out.contains("30 accepted"), "{out}{err}");
    let (code, _, err) = guarded.client(&["ingest", "--key", &guarded.eu, "events.ndjson"]);
    assert!(code == 77 && err.contains("ingest:clicks"), "exit code {code}: {err}");
}

/// Out: all rows, and those of one caller.
fn check_query(guarded: &Guarded) {
    let query = ["query", "events", "--by", "region", "--to", "2026-01-01T00:01:00Z", "--min-position", "clicks/0@30"];
    let rows = |key: &str| guarded.client(&[&query[..], &["-o", "csv", "--key", key]].concat());
    let (code, all, err) = rows(&guarded.admin);
    assert_eq!((code, all.lines().count()), (0, 4), "{all}{err}");
    let (code, some, err) = rows(&guarded.eu);
    assert!(code == 0 && some.lines().count() == 2 && some.contains(",eu,10"), "{some}{err}");
    assert_eq!(rows(&guarded.ingest).0, 77);
    assert_eq!(rows("seam_guess").0, 77);
    let mut program = seam();
    program.args(["query", "events", "--url", &guarded.up.url, "--key", &guarded.eu]);
    let (code, _, err) = run(&guarded.folder, &mut program);
    assert_eq!(code, 69, "a certificate that nobody vouches for: {err}");
}

/// Every route of the process, as every caller.
fn check_routes(guarded: &Guarded) {
    let routes = [
        ("/api/analytics/metrics", [200, 403, 200, 403]),
        ("/api/analytics/metrics/events", [200, 403, 200, 403]),
        ("/api/analytics/explain/events", [200, 403, 200, 403]),
        ("/api/analytics/dashboard", [200, 403, 200, 403]),
        ("/v1/dead-letters/clicks", [200, 403, 403, 403]),
        ("/v1/tap/clicks?from=start&limit=1", [200, 403, 403, 403]),
        ("/metrics", [200, 403, 403, 200]),
        ("/nothing/here", [404, 404, 404, 404]),
    ];
    for (path, expected) in routes {
        for (key, expected) in
            [&guarded.admin, &guarded.ingest, &guarded.eu, &guarded.metrics].into_iter().zip(expected)
        {
            assert_eq!(guarded.get(key, path).0, expected, "{path}");
        }
        ["seam_guess", &guarded.expired, "a.b.c"]
            .iter()
            .for_each(|wrong| assert_eq!(guarded.get(wrong, path).0, 401, "{path}"));
        let (status, body) = curl(&guarded.folder, &[&guarded.url(path)]);
        let problem: Value = serde_json::from_str(&body).expect("a problem document");
        assert_eq!((status, problem["status"].as_u64()), (401, Some(401)), "{path}");
    }
    for open in ["/livez", "/readyz"] {
        assert_eq!(curl(&guarded.folder, &[&guarded.url(open)]).0, 200);
    }
    let post = |key: &str, source: &str| {
        let url = guarded.url(&format!("/v1/events/{source}"));
        curl(&guarded.folder, &["-u", &format!("{key}:"), "-H", "content-type: application/json", "-d", "{}", &url]).0
    };
    let Guarded { admin, ingest, eu, .. } = guarded;
    assert_eq!((post(ingest, "clicks"), post(ingest, "other"), post(eu, "clicks")), (422, 403, 403));
    assert_eq!(post(admin, "%63licks"), 422, "a path is decoded before it is compared");
}

/// A feed with its key in the URL; a key that is taken away ends it.
fn check_feed(guarded: &Guarded, kept: &str) {
    let feed = guarded.url("/api/analytics/live?metric=events&to=2026-01-01T00:01:00Z");
    let feed = format!("{feed}&token={}", guarded.eu);
    let mut watching = Command::new("curl");
    watching.current_dir(&guarded.folder.0).args(["-sSN", "--cacert", "ca.pem", "--max-time", "20", &feed]);
    let watching = watching.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("curl runs");
    std::thread::sleep(Duration::from_millis(500));
    let without: Vec<&str> = kept.split("  - name: ").filter(|entry| !entry.contains("region")).collect();
    guarded.folder.write("keys.yaml", &without.join("  - name: "));
    let begun = Instant::now();
    let feed = watching.wait_with_output().expect("curl ends");
    assert!(begun.elapsed() < Duration::from_secs(10), "the feed went on without its key");
    assert!(String::from_utf8_lossy(&feed.stdout).contains("\"value\":10"), "its rows alone");
    assert_eq!(guarded.get(&guarded.eu, "/api/analytics/metrics/events").0, 401, "read again without a restart");
    assert_eq!(guarded.get(&guarded.admin, "/api/analytics/metrics/events").0, 200);
}

#[test]
fn keys_rows_and_tls_hold_from_the_door_to_the_answer() {
    let Some(guarded) = Guarded::start() else { return };
    let kept = std::fs::read_to_string(guarded.folder.0.join("keys.yaml")).expect("the keys file");
    assert!(!guarded.is_told(&kept), "hashes alone are kept");
    let (code, list, err) = run(&guarded.folder, seam().args(["keys", "list"]));
    assert!(code == 0 && list.contains("ingest:clicks") && list.contains("(expired)"), "{list}{err}");
    check_ingest(&guarded);
    check_query(&guarded);
    check_routes(&guarded);
    check_feed(&guarded, &kept);
    check_terminal(&guarded);
    let log = std::fs::read_to_string(guarded.folder.0.join("server.log")).expect("the log");
    assert!(log.contains("keys were read again"), "{log}");
    assert!(!guarded.is_told(&log), "a key is in the log");
}

#[test]
fn nobody_listens_beyond_this_machine_without_keys() {
    let folder = Folder::new("access-listen");
    let open = CONFIG.split("server:").next().expect("a configuration");
    folder.write("seam.yaml", open);
    let (code, _, err) = run(&folder, seam().args(["up", "--listen", "0.0.0.0:0"]));
    assert!(code == 1 && err.contains("server.access") && err.contains("--insecure"), "{code}: {err}");
    let key = "seam_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let bad = format!("{open}server:\n  access: {{ keys: [{{ name: a, hash: {key}, scopes: [admin] }}] }}\n");
    folder.write("seam.yaml", &bad);
    let (code, out, err) = run(&folder, seam().args(["up"]));
    assert!(code == 78 && !(out + &err).contains("0123456789abcdef"), "a key does not get into the log either");
}

#[test]
fn help_and_completions_are_as_they_were_read() {
    let folder = Folder::new("help");
    let (code, help, _) = run(&folder, seam().arg("--help").env_clear());
    assert_eq!(code, 0);
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/binary/help.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &help).expect("writable");
    }
    assert_eq!(std::fs::read_to_string(golden).unwrap_or_default(), help, "UPDATE_GOLDEN=1 writes it again");
    let commands = help.lines().filter_map(|line| line.strip_prefix("  ")).filter_map(|line| line.split(' ').next());
    let commands: Vec<&str> =
        commands.filter(|word| word.chars().all(|c| c.is_ascii_lowercase()) && word.len() > 1).collect();
    assert!(commands.contains(&"tap") && commands.len() >= 15, "{commands:?}");
    for command in commands.into_iter().filter(|command| !["help", "seam"].contains(command)) {
        let (code, help, _) = run(&folder, seam().args([command, "--help"]));
        assert!(code == 0 && help.contains("Example"), "{command} has an example:\n{help}");
    }
    for (shell, sign) in [("bash", "complete -F"), ("zsh", "#compdef seam"), ("fish", "complete -c seam")] {
        let (code, script, _) = run(&folder, seam().args(["completions", shell]));
        assert!(code == 0 && script.contains(sign) && script.contains("min-position"), "{shell}");
    }
}
