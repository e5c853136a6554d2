//! SQL over the wire, asked by psql and by psycopg: the numbers of the JSON API, Grafana's queries, errors, logins.
mod cancel;
mod clients;

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::server::{Folder, Server, seam};
use seam_services::{free_port, skipped};

const CONFIG: &str = r#"
version: 1
name: air
sources:
  flights:
    map: { id: $.id, time: $.time }
    segment: { events: 500, interval: 1h }
    fields: { carrier: string, fare: decimal(2), delay: float }
views:
  by_carrier:
    from: flights
    dimensions: [carrier]
    pane: 1m
    windows: [5m, 1h]
    measures: { flights: count(), fare: stats(fare), delay: stats(delay) }
metrics:
  flights: { view: by_carrier, measure: flights }
  fare.sum: { view: by_carrier, measure: fare.sum }
server:
  sql: { listen: "127.0.0.1:PORT", user: reader, password: "${SQL_PASSWORD:-open sesame}", timeout: 5s, max_rows: 5000 }
"#;

/// A program that the tests need; without it they are skipped, loudly, and fail where nothing may be skipped.
fn is_there(program: &str, arguments: &[&str]) -> bool {
    if Command::new(program).args(arguments).output().is_ok_and(|out| out.status.success()) {
        return true;
    }
    skipped(&format!("{program} {arguments:?} does not run"), "infra/services/services.sh install");
    false
}

struct Air {
    server: Server,
    port: u16,
    /// Events by minute and carrier, as the file has them.
    counts: std::collections::BTreeMap<(u32, &'static str), u64>,
    _folder: Folder,
}

/// Two hours of seeded flights, the first hour in a generation.
fn air() -> Air {
    let (folder, port) = (Folder::new("sql"), free_port());
    folder.write("seam.yaml", &CONFIG.replace("PORT", &port.to_string()));
    let mut counts = std::collections::BTreeMap::new();
    let mut seed = 42_u64;
    let mut dice = |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let mut lines = [String::new(), String::new()];
    for id in 0..3_000 {
        let (minute, carrier) = (dice(120) as u32, ["UA", "AA", "DL", "ünïted \"x\""][dice(4) as usize]);
        let (fare, delay) = (dice(20_000) as i64 - 5_000, dice(100) as f64 / 4.0);
        *counts.entry((minute, carrier)).or_insert(0) += 1;
        let (hour, minute) = (minute / 60, minute % 60);
        let fare = format!("{}{}.{:02}", if fare < 0 { "-" } else { "" }, fare.abs() / 100, fare.abs() % 100);
        lines[usize::from(id >= 2_000)].push_str(&format!(
            "{{\"id\":\"{id}\",\"time\":\"2026-01-01T{hour:02}:{minute:02}:07Z\",\"carrier\":{carrier:?},\"fare\":{fare},\"delay\":{delay}}}\n"
        ));
    }
    folder.write("first.ndjson", &lines[0]);
    folder.write("second.ndjson", &lines[1]);
    let run = |arguments: &[&str]| {
        let out = seam().current_dir(&folder.0).args(arguments).output().expect("the built program runs");
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    };
    run(&["ingest", "first.ndjson"]);
    run(&["batch", "run"]);
    let server = Server::start(&folder.0);
    run(&["ingest", "--url", &server.url, "second.ndjson"]);
    let air = Air { server, port, counts, _folder: folder };
    let give_up = Instant::now() + Duration::from_secs(20);
    while air.one("SELECT sum(flights) FROM by_carrier") != "3000" {
        assert!(Instant::now() < give_up, "the speed layer does not catch up");
        std::thread::sleep(Duration::from_millis(50));
    }
    air
}

impl Air {
    fn psql(&self, password: &str, arguments: &[&str]) -> Output {
        let target = format!("host=127.0.0.1 port={} user=reader dbname=air sslmode=prefer", self.port);
        let mut command = Command::new("psql");
        command.args(["-X", "-A", "-t", "-F", "|", "-v", "VERBOSITY=verbose"]).arg(&target).args(arguments);
        command.env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "10").output().expect("psql runs")
    }
    fn ask(&self, query: &str) -> (String, String) {
        let out = self.psql("open sesame", &["-c", query]);
        (String::from_utf8_lossy(&out.stdout).into_owned(), String::from_utf8_lossy(&out.stderr).into_owned())
    }
    fn one(&self, query: &str) -> String {
        let (out, err) = self.ask(query);
        assert!(!err.contains("ERROR"), "{query}: {err}");
        out.trim().to_owned()
    }
    fn rows(&self, query: &str) -> Vec<Vec<String>> {
        self.one(query).lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
    }
    fn error(&self, query: &str) -> String {
        let (out, err) = self.ask(query);
        assert!(err.contains("ERROR"), "{query} is no error: {out}{err}");
        err
    }
}

/// The same behind keys, with TLS.
const WITH_KEYS: &str = r#"
version: 1
name: shop
sources:
  clicks: { map: { id: $.id, time: $.time }, fields: { region: string } }
views:
  by_region: { from: clicks, dimensions: [region], pane: 10s, measures: { events: count() } }
  all: { from: clicks, pane: 10s, measures: { events: count() } }
metrics:
  events: { view: by_region, measure: events }
  all: { view: all, measure: events }
server:
  access: { keys: ./keys.yaml, failures: 1000/s }
  tls: { certificate: ./cert.pem, key: ./key.pem }
  sql: { listen: "127.0.0.1:PORT", user: reader, password: "open sesame" }
"#;

#[test]
fn a_key_is_a_password_and_sees_its_views_and_rows_alone() {
    if !is_there("psql", &["--version"]) {
        return;
    }
    let (folder, port) = (Folder::new("sql-keys"), free_port());
    folder.write("seam.yaml", &WITH_KEYS.replace("PORT", &port.to_string()));
    if !crate::access::certificate(&folder) {
        return;
    }
    let create = |arguments: &[&str]| crate::access::create(&folder, arguments);
    let (all, eu) = (create(&["--scope", "query:*"]), create(&["--scope", "query:by_region", "--filter", "region=eu"]));
    let slow = create(&["--scope", "query:*", "--rate", "2/h"]);
    let (expired, ingest) =
        (create(&["--scope", "query:*", "--expires", "2020-01-01T00:00:00Z"]), create(&["--scope", "ingest:clicks"]));
    let event = |i: usize| {
        let region = ["eu", "us", "cn"][i % 3];
        format!("{{\"id\":\"{i}\",\"time\":\"2026-01-01T00:00:{i:02}Z\",\"region\":\"{region}\"}}\n")
    };
    folder.write("events.ndjson", &(0..30).map(event).collect::<String>());
    let out = seam().current_dir(&folder.0).args(["ingest", "events.ndjson"]).output().expect("it runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let _up = crate::access::start(&folder);
    let psql = |user: &str, password: &str, mode: &str, queries: &[&str]| {
        let root = folder.0.join("ca.pem");
        let target = format!(
            "host=localhost hostaddr=127.0.0.1 port={port} user={user} dbname=shop sslmode={mode} sslrootcert={}",
            root.display()
        );
        let mut command = Command::new("psql");
        command.args(["-X", "-A", "-t", "-F", "|", "-v", "VERBOSITY=verbose"]).arg(&target);
        for query in queries {
            command.args(["-c", query]);
        }
        let out = command.env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "10").output().expect("psql runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        (text(&out.stdout), text(&out.stderr))
    };
    let by_region = "SELECT region, sum(events) FROM by_region GROUP BY region ORDER BY region";
    let everything = ("cn|10\neu|10\nus|10".to_owned(), String::new());
    // Encrypted, with the certificate checked against the name; SCRAM for the user, keys for all others.
    assert_eq!(psql("reader", "open sesame", "verify-full", &[by_region]), everything);
    assert_eq!(psql("anyone", &all, "verify-full", &[by_region]), everything);
    assert_eq!(psql("anyone", &all, "disable", &[by_region]), everything, "on this machine it may come in clear");
    assert_eq!(psql("anyone", &eu, "require", &[by_region]), ("eu|10".to_owned(), String::new()));
    assert_eq!(psql("anyone", &eu, "require", &["SELECT sum(events) FROM by_region WHERE region <> 'eu'"]).0, "");
    assert_eq!(psql("anyone", &eu, "require", &["SELECT table_name FROM information_schema.tables"]).0, "by_region");
    assert_eq!(psql("anyone", &eu, "require", &["SELECT name FROM seam_metrics"]).0, "events");
    for query in ["SELECT * FROM \"all\"", "SELECT * FROM nowhere"] {
        let (_, error) = psql("anyone", &eu, "require", &[query]);
        assert!(error.contains("42P01") && error.contains("The tables are by_region"), "{error}");
    }
    for (user, password, wanted) in [
        ("anyone", "seam_wrong", "no key that is known"),
        ("anyone", expired.as_str(), "this key has expired"),
        ("anyone", ingest.as_str(), "no scope `query:<view>`"),
        ("anyone", "open sesame", "no key that is known"),
        ("reader", all.as_str(), "authentication failed"),
    ] {
        let (out, error) = psql(user, password, "require", &["SELECT 1"]);
        assert!(out.is_empty() && error.contains("FATAL") && error.contains(wanted), "{user}: {out}{error}");
    }
    let (out, error) = psql("anyone", &slow, "require", &["SELECT 1", "SELECT 2", "SELECT 3"]);
    assert!(out == "1\n2" && error.contains("53400") && error.contains("this key may ask 2/h"), "{out} {error}");
}

#[test]
fn psql_is_answered_with_the_numbers_of_the_json_api() {
    if !is_there("psql", &["--version"]) {
        return;
    }
    let air = air();
    // The events themselves.
    let query = "SELECT extract(epoch from pane_start) / 60 - 29453760, carrier, flights FROM by_carrier ORDER BY time, carrier";
    let mut expected: Vec<Vec<String>> = Vec::new();
    for ((minute, carrier), count) in &air.counts {
        expected.push(vec![minute.to_string(), (*carrier).to_owned(), count.to_string()]);
    }
    assert_eq!(air.rows(query), expected);
    // The JSON API, an hour at a time.
    let url = "/api/analytics/metrics/fare.sum?dimension=carrier&from=2026-01-01T00:00:00Z&to=2026-01-01T02:00:00Z&window=1h&fill=none";
    let (status, answer) = air.server.get(url).expect("the API answers");
    assert_eq!(status, 200, "{answer}");
    let mut points: Vec<Vec<String>> = Vec::new();
    for point in answer["points"].as_array().or_else(|| answer["data"].as_array()).expect("points") {
        let sum = format!("{}", point["value"]);
        points.push(vec![
            point["start"].as_str().expect("text").to_owned(),
            point["carrier"].as_str().expect("text").to_owned(),
            sum,
        ]);
    }
    points.sort();
    let query = "SELECT to_char(date_trunc('hour', pane_start), 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), carrier, sum(fare_sum) \
                 FROM by_carrier GROUP BY 1, 2 ORDER BY 1, 2";
    let mut found = air.rows(query);
    found.sort();
    let as_number = |rows: &[Vec<String>]| -> Vec<(String, String, f64)> {
        rows.iter().map(|row| (row[0].clone(), row[1].clone(), row[2].parse().expect("a number"))).collect()
    };
    assert_eq!(as_number(&found), as_number(&points));
    assert_eq!(found.len(), 8);
    // What is not read was not needed.
    for condition in [
        "time > '2026-01-01T00:30:00Z'",
        "carrier = 'UA'",
        "carrier IN ('AA', 'DL') AND pane_start < '2026-01-01 01:10'",
    ] {
        let pushed = air.one(&format!("SELECT count(*), sum(flights), min(time) FROM by_carrier WHERE {condition}"));
        let kept = air.one(&format!(
            "SELECT count(*), sum(flights), min(time) FROM by_carrier WHERE ({condition}) OR flights < 0"
        ));
        assert_eq!(pushed, kept, "{condition}");
    }
    assert!(air.one("EXPLAIN SELECT sum(flights) FROM by_carrier WHERE carrier = 'UA'").contains("carrier: \"UA\""));
    let stamp = air.psql(
        "open sesame",
        &[
            "-c",
            "SELECT sum(flights) FROM by_carrier",
            "-c",
            "SELECT \"table\", generation, coverage, complete, duplicates, invalid FROM seam_stamp",
        ],
    );
    let stamp = String::from_utf8_lossy(&stamp.stdout).into_owned();
    assert!(stamp.contains("by_carrier|1|flights/0@3000|t|0|0"), "{stamp}");
    assert_eq!(air.server.stop().0, Some(0));
}

#[test]
fn grafanas_queries_and_psqls_commands_are_answered() {
    if !is_there("psql", &["--version"]) {
        return;
    }
    let air = air();
    assert_eq!(air.ask("-- ping").0, "");
    assert_eq!(air.ask(";").1, "");
    assert_eq!(air.one("SELECT current_setting('server_version_num')::int/100 as version"), "1500");
    assert_eq!(air.one("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"), "");
    let group = "SELECT floor(extract(epoch from pane_start)/3600)*3600 AS \"time\", carrier AS metric, sum(flights) AS value FROM by_carrier \
                 WHERE time BETWEEN '2026-01-01T00:00:00Z' AND '2026-01-01T02:00:00.000000001Z' GROUP BY 1, 2 ORDER BY 1, 2";
    let found = air.rows(group);
    assert_eq!((found.len(), found[0][0].as_str()), (8, "1767225600"));
    let sum: u64 = found.iter().map(|row| row[2].parse::<u64>().expect("a count")).sum();
    assert_eq!(sum, 3_000);
    let bucket = "SELECT time_bucket('3600.000s', pane_start) AS t, sum(flights) FROM by_carrier WHERE extract(epoch from time) >= 1767225600 GROUP BY 1 ORDER BY 1";
    let buckets = air.rows(bucket);
    assert_eq!(
        buckets.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(),
        ["2026-01-01 00:00:00+00", "2026-01-01 01:00:00+00"]
    );
    let columns = "SELECT quote_ident(column_name) AS \"column\", data_type AS \"type\" FROM information_schema.columns WHERE \
                   CASE WHEN array_length(parse_ident('by_carrier'),1) = 2 THEN quote_ident(table_schema) = (parse_ident('by_carrier'))[1] \
                   AND quote_ident(table_name) = (parse_ident('by_carrier'))[2] ELSE quote_ident(table_name) = 'by_carrier' END";
    assert!(air.one(columns).starts_with("time|timestamp with time zone\npane_start|"));
    let tables = "SELECT quote_ident(table_name) AS \"table\" FROM information_schema.tables WHERE quote_ident(table_schema) = 'public' ORDER BY 1";
    assert!(air.one(tables).contains("by_carrier"));
    assert!(air.one("\\dt").contains("public|by_carrier|table|seam"));
    assert!(air.one("\\d by_carrier").contains("fare_sum|numeric(38,2)"), "{}", air.one("\\d by_carrier"));
    // Each command sends questions of its own; an error of any is no output on standard output.
    for (command, shown) in [
        ("\\l", "|seam|UTF8|C|C|"),
        ("\\l+", "|pg_default|"),
        ("\\du", "reader|"),
        ("\\dn+", "public|seam"),
        ("\\dt+", "public|by_carrier|table|seam|permanent|"),
        ("\\d+ by_carrier", "fare_sum|numeric(38,2)"),
    ] {
        assert!(air.one(command).contains(shown), "{command}: {}", air.one(command));
    }
    for command in ["\\df", "\\dx", "\\dv", "\\di", "\\dT", "\\dp nothing", "\\dRp"] {
        assert_eq!(air.one(command), "", "{command}");
    }
    let script = |text: &str| {
        let out = air.psql("open sesame", &["-f", air._folder.write("script.sql", text).to_str().expect("a path")]);
        assert!(out.stderr.is_empty(), "{text}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let sums = "SELECT carrier, sum(flights) AS n FROM by_carrier WHERE carrier < 'V' GROUP BY 1 ORDER BY 1";
    let csv = script(&format!("\\copy ({sums}) TO STDOUT CSV HEADER"));
    assert_eq!(csv.replace("carrier,n\n", "").replace(',', "|"), air.ask(sums).0, "{csv}");
    assert_eq!(script(&format!("\\set FETCH_COUNT 2\n{sums};")), air.ask(sums).0, "read by a cursor");
    assert!(
        script("SELECT fare_sum, flights > 1 AS many FROM by_carrier \\gdesc")
            .contains("fare_sum|numeric(38,2)\nmany|boolean")
    );
    // A failure behind a savepoint is forgotten by going back to it.
    let steps = ["BEGIN", "SAVEPOINT a", "SELECT nothing", "ROLLBACK TO a", "RELEASE a", "SELECT 42", "COMMIT"];
    let steps: Vec<&str> = steps.iter().flat_map(|step| ["-c", *step]).collect();
    let went_on = air.psql("open sesame", &steps);
    assert!(String::from_utf8_lossy(&went_on.stdout).contains("42"), "{}", String::from_utf8_lossy(&went_on.stderr));
    assert!(
        air.one("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
            .contains("by_carrier")
    );
    assert!(air.one("SELECT name FROM metrics ORDER BY name").contains("fare.sum\nflights"));
    let both = "SELECT fare_sum FROM by_carrier UNION SELECT fare_sum FROM by_carrier";
    assert_eq!(air.rows(both).len(), air.rows("SELECT DISTINCT fare_sum FROM by_carrier").len());
    let top = "WITH hours AS (SELECT carrier, sum(flights) AS n FROM by_carrier GROUP BY carrier) SELECT carrier, n FROM hours ORDER BY n DESC LIMIT 1";
    assert_eq!(air.rows(top).len(), 1);
    assert_eq!(air.one("BEGIN; SELECT 1; COMMIT"), "BEGIN\n1\nCOMMIT");
    assert_eq!(air.one("SET application_name = 'x'; SHOW application_name"), "SET\nx");
    let bound = "SELECT carrier, sum(flights) FROM by_carrier WHERE carrier = $1 AND time > $2 GROUP BY 1 \\bind UA '2026-01-01T00:00:00Z' \\g";
    let script = air._folder.write("bind.sql", bound);
    if is_there("psql", &["--version"]) && psql_can_bind() {
        let out = air.psql("open sesame", &["-f", script.to_str().expect("a path")]);
        assert!(String::from_utf8_lossy(&out.stdout).starts_with("UA|"), "{out:?}");
    }
}

/// `\bind` is there from version 16 on.
fn psql_can_bind() -> bool {
    let version =
        Command::new("psql").arg("--version").output().map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    let major = version.ok().and_then(|text| text.split_whitespace().nth(2)?.split('.').next()?.parse::<u32>().ok());
    major.is_some_and(|major| major >= 16)
}

#[test]
fn what_cannot_be_answered_is_refused_with_its_code() {
    if !is_there("psql", &["--version"]) {
        return;
    }
    let air = air();
    for (query, code, says) in [
        ("SELECT * FROM by_carier", "42P01", "Did you mean \"by_carrier\"?"),
        ("SELECT flightz FROM by_carrier", "42703", "Did you mean \"flights\"?"),
        ("SELEC 1", "42601", "syntax error"),
        ("SELECT 1 / 0", "22012", "division by zero"),
        ("SELECT flights / (flights - flights) FROM by_carrier", "22012", "division by zero"),
        ("FETCH 1 FROM nothing", "34000", "nothing"),
        ("DELETE FROM by_carrier", "0A000", "read-only"),
        ("CREATE TABLE x (a int)", "0A000", "read-only"),
        ("SELECT frobnicate(flights) FROM by_carrier", "42883", "frobnicate"),
        ("SELECT * FROM by_carrier WHERE time > 'tomorrow-ish'", "22007", "tomorrow-ish"),
        ("SET nothing_like_it = 1", "42704", "nothing_like_it"),
        ("BEGIN; SELECT x FROM nowhere; SELECT 1", "42P01", "nowhere"),
        ("SET statement_timeout = '200ms'; SELECT pg_sleep(10)", "57014", "statement timeout"),
        ("SELECT a.flights FROM by_carrier a CROSS JOIN by_carrier b", "54000", "without a condition"),
    ] {
        let error = air.error(query);
        assert!(error.contains(&format!("ERROR:  {code}")) && error.contains(says), "{query}: {error}");
    }
    let out = air.psql("wrong", &["-c", "SELECT 1"]);
    let refused = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && refused.contains("authentication failed"), "{refused}");
    assert!(!std::fs::read_to_string(air._folder.0.join("server.log")).expect("a log").contains("open sesame"));
    cancel::cancelled(&air);
    assert_eq!(air.one("SELECT 1"), "1", "the server goes on");
}

#[test]
fn a_statement_that_reads_too_much_says_how_to_read_less() {
    if !is_there("psql", &["--version"]) {
        return;
    }
    let folder = Folder::new("sql-budget");
    let port = free_port();
    folder.write("seam.yaml", &CONFIG.replace("PORT", &port.to_string()).replace("max_rows: 5000", "max_rows: 2"));
    let lines: String = (0..9)
        .map(|i| {
            format!(
                "{{\"id\":\"{i}\",\"time\":\"2026-01-01T00:0{i}:00Z\",\"carrier\":\"UA\",\"fare\":1,\"delay\":1}}\n"
            )
        })
        .collect();
    folder.write("events.ndjson", &lines);
    let out = seam().current_dir(&folder.0).args(["ingest", "events.ndjson"]).output().expect("it runs");
    assert!(out.status.success());
    let server = Server::start(&folder.0);
    let air = Air { server, port, counts: std::collections::BTreeMap::new(), _folder: folder };
    let give_up = Instant::now() + Duration::from_secs(20);
    let narrow = "SELECT sum(flights) FROM by_carrier WHERE pane_start = '2026-01-01 00:08'";
    while air.ask(narrow).0.trim() != "1" {
        assert!(Instant::now() < give_up, "{:?}", air.ask(narrow));
        std::thread::sleep(Duration::from_millis(50));
    }
    let error = air.error("SELECT sum(flights) FROM by_carrier");
    assert!(error.contains("54000") && error.contains("WHERE time >= now()"), "{error}");
}

#[test]
fn psycopg_prepares_binds_and_reads_in_both_formats() {
    let python = std::env::var("SEAM_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !is_there(&python, &["-c", "import psycopg"]) || !is_there("psql", &["--version"]) {
        return;
    }
    let air = air();
    let script = air._folder.write("client.py", PSYCOPG);
    let out = Command::new(&python).arg(Path::new(&script)).arg(air.port.to_string()).output().expect("python runs");
    let (told, wrong) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && told.contains("all well"), "{told}{wrong}");
}

const PSYCOPG: &str = r#"
import datetime, decimal, sys, psycopg
target = f"host=127.0.0.1 port={sys.argv[1]} user=reader password='open sesame' dbname=air"
utc = datetime.timezone.utc
with psycopg.connect(target, autocommit=True) as connection:
    total = connection.execute("SELECT sum(flights) FROM by_carrier").fetchone()[0]
    assert total == 3000, total
    query = """SELECT time, carrier, flights, fare_sum, delay_avg, flights > 1, time::date FROM by_carrier
               WHERE carrier = %s AND time > %s AND flights >= %s ORDER BY time LIMIT %s"""
    values = ("UA", datetime.datetime(2026, 1, 1, 0, 30, tzinfo=utc), 1, 5)
    answers = []
    for binary in (False, True):
        with connection.cursor(binary=binary) as cursor:
            for _ in range(7):  # the client prepares what it asks often
                rows = cursor.execute(query, values).fetchall()
            answers.append(rows)
    assert answers[0] == answers[1], answers
    time, carrier, flights, fare, delay, many, day = answers[0][0]
    assert time > values[1] and carrier == "UA" and isinstance(flights, int) and isinstance(fare, decimal.Decimal), answers[0][0]
    assert isinstance(delay, float) and isinstance(many, bool) and day == datetime.date(2026, 1, 1), answers[0][0]
    assert len(answers[0]) == 5
    odd = 'ünïted "x"'
    assert connection.execute("SELECT DISTINCT carrier FROM by_carrier WHERE carrier = %s", (odd,)).fetchall() == [(odd,)]
    none = connection.execute("SELECT carrier FROM by_carrier WHERE carrier = %s", ("'; DROP TABLE by_carrier; --",)).fetchall()
    assert none == []
    try:
        connection.execute("SELECT nothing FROM by_carrier WHERE carrier = %s", ("UA",))
        raise SystemExit("no error")
    except psycopg.errors.UndefinedColumn as error:
        assert "nothing" in str(error), error
with psycopg.connect(target) as connection:  # in a transaction
    try:
        connection.execute("SELECT 1 FROM nowhere")
    except psycopg.errors.UndefinedTable:
        pass
    try:
        connection.execute("SELECT 1")
        raise SystemExit("the transaction goes on")
    except psycopg.errors.InFailedSqlTransaction:
        connection.rollback()
    assert connection.execute("SELECT 1").fetchone() == (1,)
print("all well")
"#;
