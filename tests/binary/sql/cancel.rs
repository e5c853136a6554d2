//! Statements that nobody waits for any more, and those that grow too large, end with their process.
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Air, Server, air, is_there};

/// Seconds of joining and sorting.
const HEAVY: &str = "SELECT count(*) FROM (SELECT a.carrier AS k, a.fare_sum * b.fare_sum * c.fare_sum AS x FROM by_carrier a \
    JOIN by_carrier b ON a.carrier = b.carrier JOIN by_carrier c ON a.carrier = c.carrier ORDER BY x, k) t";

/// The processes of SQL's engine that a server has.
fn engines(server: &Server) -> Vec<u32> {
    let parent = format!("PPid:\t{}", server.pid());
    let is_one = |pid: &u32| {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let status = read("status");
        status.lines().any(|line| line == parent)
            && !status.contains("State:\tZ")
            && read("cmdline").contains("sql-engine")
    };
    let all = std::fs::read_dir("/proc").expect("a system with /proc");
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(is_one).collect()
}

#[test]
fn what_nobody_waits_for_any_more_ends_and_so_does_what_grows_too_large() {
    if !is_there("psql", &["--version"]) {
        return;
    }
    let air = air();
    let within = |what: &str, seconds: u64, holds: &dyn Fn() -> bool| {
        let give_up = Instant::now() + Duration::from_secs(seconds);
        while !holds() {
            assert!(Instant::now() < give_up, "{what} within {seconds} s: {:?}", engines(&air.server));
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // Ctrl-C, the client is killed, a timeout: whatever ends a statement ends the process that is at work on it.
    for signal in ["-INT", "-KILL", "none"] {
        assert_eq!(air.one("SELECT sum(flights) FROM by_carrier"), "3000");
        let [engine] = engines(&air.server)[..] else { panic!("one process that waits: {:?}", engines(&air.server)) };
        let target = format!("host=127.0.0.1 port={} user=reader dbname=air", air.port);
        let mut asking = Command::new("psql");
        asking.args(["-X", "-v", "VERBOSITY=verbose"]).arg(&target).env("PGPASSWORD", "open sesame");
        if signal == "none" {
            asking.args(["-c", "SET statement_timeout = '400ms'"]);
        }
        asking.args(["-c", HEAVY]).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let child = asking.spawn().expect("psql runs");
        if signal != "none" {
            let busy = || std::fs::read_to_string(format!("/proc/{engine}/statm")).unwrap_or_default();
            let pages = |text: String| text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
            within("the statement is at work", 10, &|| pages(busy()) > 30_000);
            Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill runs");
        }
        within("the process ends", 3, &|| !engines(&air.server).contains(&engine));
        let out = child.wait_with_output().expect("psql ends");
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(signal == "-KILL" || told.contains("57014"), "{signal}: {told}");
    }
    // A join that would need all memory that there is.
    let error = air.error(
        "SELECT count(*) FROM by_carrier a JOIN by_carrier b ON a.carrier = b.carrier JOIN by_carrier c ON a.carrier = c.carrier \
         JOIN by_carrier d ON a.carrier = d.carrier",
    );
    assert!(error.contains("53200") && error.contains("HINT"), "{error}");
    assert_eq!(air.one("SELECT sum(flights) FROM by_carrier"), "3000", "the server goes on");
}

/// Ctrl-C in psql.
pub fn cancelled(air: &Air) {
    let target = format!("host=127.0.0.1 port={} user=reader dbname=air", air.port);
    let child = Command::new("psql")
        .args(["-X", "-v", "VERBOSITY=verbose", "-c", "SELECT pg_sleep(4)"])
        .arg(&target)
        .env("PGPASSWORD", "open sesame")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("psql runs");
    std::thread::sleep(Duration::from_millis(700));
    let begun = Instant::now();
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    let out = child.wait_with_output().expect("psql ends");
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(told.contains("57014") && begun.elapsed() < Duration::from_secs(3), "{told} after {:?}", begun.elapsed());
}
