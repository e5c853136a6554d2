//! The commands as typed: exit codes, messages, output.
use std::process::Stdio;

use crate::server::{Folder, Server, agent, seam};

const CONFIG: &str = r#"
version: 1
name: shop
sources:
  clicks:
    map: { id: $.id, time: $.time, type: $.type }
    fields: { region: string, value: decimal(2) }
views:
  click_stats:
    from: clicks
    dimensions: [type, region]
    pane: 10s
    windows: [1m, 5m]
    measures: { events: count(), value: stats(value) }
metrics:
  events.total: { view: click_stats, measure: events }
  value.sum: { view: click_stats, measure: value.sum }
"#;

fn run(folder: &Folder, arguments: &[&str]) -> (i32, String, String) {
    let out = seam().current_dir(&folder.0).args(arguments).output().expect("the built program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    (out.status.code().unwrap_or(-1), text(out.stdout), text(out.stderr))
}

#[test]
fn validate_names_every_problem_with_its_place_and_exits_78() {
    let folder = Folder::new("validate");
    folder.write("seam.yaml", CONFIG);
    let (code, out, err) = run(&folder, &["validate"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    folder.write("seam.yaml", &CONFIG.replace("pane: 10s", "pane: 7s").replace("measure: events", "measure: event"));
    let (code, out, err) = run(&folder, &["validate"]);
    let report = out + &err;
    assert_eq!(code, 78, "{report}");
    assert!(report.contains("seam.yaml:12:"), "{report}");
    assert!(report.contains("seam.yaml:16:"), "{report}");
    assert!(report.contains("events"), "a suggestion: {report}");
    assert!(report.ends_with("problems in seam.yaml\n"), "the last line is ended: {report:?}");
    std::fs::write(folder.0.join("seam.yaml"), b"name: \xff\n").expect("a file");
    let (code, _, err) = run(&folder, &["validate"]);
    assert_eq!((code, err.contains("seam.yaml is no UTF-8 text")), (78, true), "{err}");
    for command in ["validate", "up", "doctor"] {
        let (code, _, err) = run(&folder, &["--config", "nowhere.yaml", command]);
        assert_eq!((code, err.contains("nowhere.yaml cannot be read")), (78, true), "{err}");
    }
    folder.write("seam.yaml", &format!("\u{feff}{CONFIG}"));
    assert_eq!(run(&folder, &["validate"]).0, 0, "some editors begin a file with a mark");
}

#[test]
fn schema_prints_a_json_schema() {
    let folder = Folder::new("schema");
    let (code, out, _) = run(&folder, &["schema"]);
    assert_eq!(code, 0);
    let schema: serde_json::Value = serde_json::from_str(&out).expect("the schema is JSON");
    assert!(schema["properties"]["views"].is_object(), "{out}");
}

#[test]
fn events_go_from_a_file_into_an_answer_and_refused_ones_are_kept() {
    let folder = Folder::new("path");
    folder.write("seam.yaml", CONFIG);
    let server = Server::start(&folder.0);
    let events = concat!(
        "{\"id\":\"a\",\"time\":\"2026-01-01T00:00:01Z\",\"type\":\"click\",\"region\":\"eu:west\",\"value\":2.50}\n",
        "{\"id\":\"b\",\"time\":\"2026-01-01T00:04:59Z\",\"type\":\"click\",\"region\":\"eu\",\"value\":-4}\n",
        "{\"id\":\"a\",\"time\":\"2026-01-01T00:00:01Z\",\"type\":\"click\",\"region\":\"eu:west\",\"value\":2.50}\n",
        "{\"id\":\"c\",\"time\":\"2026-01-01T00:04:59Z\",\"type\":\"click\",\"region\":\"eu\",\"value\":\"x\"}\n",
        "{\"id\":\"d\",\"time\":\"2026-01-01T00:05:00Z\",\"type\":\"click\",\"region\":null,\"value\":1}\n",
    );
    folder.write("events.ndjson", events);
    let (code, out, err) = run(&folder, &["ingest", "--url", &server.url, "events.ndjson"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!((out + &err).contains("1 refused"));
    let question = ["query", "value.sum", "--url", &server.url, "--by", "region", "--window", "5m"];
    let to = ["--to", "2026-01-01T00:05:00Z", "--output", "csv", "--min-position", "clicks/0@4"];
    let (code, out, err) = run(&folder, &[&question[..], &to[..]].concat());
    assert_eq!(code, 0, "{err}");
    let rows: Vec<&str> = out.lines().skip(1).collect();
    assert_eq!(rows.len(), 2, "the boundary event is in the next window: {out}");
    assert!(rows[0].contains("eu,-4.00,1,-4.00"), "{out}");
    assert!(rows[1].contains("eu:west,2.50,1,2.50"), "the duplicate counts once: {out}");
    let (code, out, err) = run(&folder, &["dlq", "list", "--url", &server.url]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("value"), "the reason names the field: {out}");
    let (code, out, err) = run(&folder, &["dlq", "show", "0", "--url", &server.url]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(r#""value":"x""#), "the original bytes: {out}");
    let (code, _, err) = run(&folder, &["query", "value.sums", "--url", &server.url]);
    assert_ne!(code, 0);
    assert!(err.contains("value.sum"), "did you mean: {err}");
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn files_go_to_a_seam_that_is_named_by_its_address_alone() {
    let folder = Folder::new("address");
    folder.write("seam.yaml", CONFIG);
    let server = Server::start(&folder.0);
    // Nothing of the configuration is known here; the rows are typed where they arrive.
    let elsewhere = Folder::new("elsewhere");
    let rows = concat!(
        "id,time,type,region,value\n",
        "a,2026-01-01T00:00:01Z,click,eu,1\n",
        "b,2026-01-01T00:00:01Z,click,\"eu\nwest\"\n",
        "\n",
        "c,2026-01-01T00:00:01Z,click,eu,x\n",
        "d,2026-01-01T00:00:01Z,click,\"eu\n,\",2\n",
        "e,2026-01-01T00:00:01Z,click,\"eu,2\nf,2026-01-01T00:00:01Z,click,eu,3\n",
    );
    elsewhere.write("rows.csv", rows);
    let (code, out, err) = run(&elsewhere, &["ingest", "-q", "--url", &server.url, "rows.csv"]);
    assert_eq!((code, out.as_str()), (0, "2 accepted, 3 refused, up to clicks/0@2\n"), "{err}");
    let errors: Vec<&str> = err.lines().collect();
    assert_eq!(errors[0], "rows.csv:3: row has 4 cells, the header has 5");
    assert!(errors[1].starts_with("rows.csv:6: `value` must be a number"), "{err}");
    assert!(errors[2].starts_with("rows.csv:9: a quote is left open"), "{err}");
    let (code, out, err) = run(&elsewhere, &["dlq", "list", "--url", &server.url]);
    assert_eq!(code, 0, "{err}");
    let lines: Vec<&str> = out.lines().collect();
    for (line, text) in lines.iter().zip(["line 3  row has 4", "line 6  `value`", "line 9  a quote"]) {
        assert!(line.contains(text), "dead letters name the file's lines: {out}");
    }
    assert!(lines[3].starts_with("3 of 3"), "{out}");

    // A line that is too large keeps nobody from what comes behind it, in this file and the next.
    let long = format!("{{\"id\":\"g\",\"x\":\"{}\"}}", "y".repeat(3 << 20));
    elsewhere.write("long.ndjson", &long);
    let good = "{\"id\":\"h\",\"time\":\"2026-01-01T00:00:01Z\",\"value\":4}\n";
    elsewhere.write("mixed.txt", &format!("{good}{long}\n{}", good.replace("\"h\"", "\"i\"")));
    let (code, out, err) = run(&elsewhere, &["ingest", "-q", "--url", &server.url, "long.ndjson", "mixed.txt"]);
    assert_eq!((code, out.as_str()), (0, "2 accepted, 2 refused, up to clicks/0@4\n"), "{err}");
    assert!(err.contains("long.ndjson:1: event has") && err.contains("mixed.txt:2: event has"), "{err}");
    let (code, out, err) = run(&elsewhere, &["ingest", "-q", "--url", &server.url, "long.ndjson"]);
    assert_eq!((code, out.as_str()), (1, "0 accepted, 1 refused\n"), "nothing came in: {err}");
    elsewhere.write("rows.txt", "id,time,value\nj,2026-01-01T00:00:01Z,5\n");
    let (code, out, err) =
        run(&elsewhere, &["ingest", "-q", "--url", &server.url, "--source", "clicks", "--format", "csv", "rows.txt"]);
    assert_eq!((code, out.as_str()), (0, "1 accepted, 0 refused, up to clicks/0@5\n"), "{err}");

    let asked = ["query", "value.sum", "--by", "region", "--window", "1d", "--at", "2026-01-02", "--url", &server.url];
    let (_, out, err) = run(&elsewhere, &[&asked[..], &["--limit", "1", "--min-position", "clicks/0@5"]].concat());
    assert!(out.contains("  null    13.00") && out.contains("1 of 3 rows"), "what is left out is said: {out}{err}");
    let (_, out, err) = run(&elsewhere, &asked);
    assert!(out.contains("  eu\\n,   2.00") && !out.contains(" of 3 rows"), "one line a row: {out}{err}");
    let (code, _, err) = run(&elsewhere, &["query", "no such thing", "--url", &server.url]);
    assert!(code == 1 && err.contains("there is no metric `no such thing`"), "{err}");
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn who_stops_reading_ends_a_command_quietly() {
    let folder = Folder::new("pipe");
    folder.write("seam.yaml", CONFIG);
    let mut child = seam()
        .current_dir(&folder.0)
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn refused_events_go_in_once_the_source_is_mended() {
    let folder = Folder::new("replay");
    folder.write("seam.yaml", CONFIG);
    let event = |id: &str, value: &str| {
        format!(
            "{{\"id\":\"{id}\",\"time\":\"2026-01-01T00:00:01Z\",\"type\":\"click\",\"region\":\"eu\",\"value\":{value}}}\n"
        )
    };
    let mut bytes = (event("a", "1") + &event("b", "1.125") + &event("c", "2.375")).into_bytes();
    bytes.extend_from_slice(b"{\"id\":\"d\xff\"}\n");
    std::fs::write(folder.0.join("events.ndjson"), &bytes).expect("a file");
    let (code, out, err) = run(&folder, &["ingest", "events.ndjson"]);
    assert_eq!((code, out.contains("1 accepted, 3 refused")), (0, true), "{out}{err}");
    let (code, out, err) = run(&folder, &["dlq", "replay", "0"]);
    assert_eq!((code, out.contains("0 of 1")), (1, true), "nothing was mended: {out}{err}");

    folder.write("seam.yaml", &CONFIG.replace("decimal(2)", "decimal(3)"));
    let server = Server::start(&folder.0);
    let shown = seam().current_dir(&folder.0).args(["dlq", "show", "2", "--url", &server.url]).output();
    assert_eq!(shown.expect("the built program runs").stdout, b"{\"id\":\"d\xff\"}\n", "bytes that are no text");
    // Entry 3 is entry 0 again: both are sent, and the event counts once by its id.
    let (code, out, err) = run(&folder, &["dlq", "replay", "--all", "--url", &server.url]);
    assert_eq!((code, out.as_str()), (1, "3 of 4 refused events of clicks accepted, up to clicks/0@4\n"), "{err}");
    assert!(err.starts_with("2: ") && err.lines().count() == 1, "{err}");
    let (code, _, err) = run(&folder, &["dlq", "replay", "17", "--url", &server.url]);
    assert!(code != 0 && err.contains("dead letter 17"), "{err}");
    let question = ["query", "value.sum", "--at", "2026-01-01T00:05:00Z", "--window", "5m", "--output", "csv"];
    let asked = ["--url", &server.url, "--min-position", "clicks/0@4"];
    let (code, out, err) = run(&folder, &[&question[..], &asked[..]].concat());
    assert_eq!((code, out.contains("4.500")), (0, true), "1 + 1.125 + 2.375: {out}{err}");
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_replay_leaves_out_partitions_that_do_not_reach_its_offset() {
    let folder = Folder::new("replay-offset");
    folder.write("seam.yaml", CONFIG);
    let event = |i: usize| format!("{{\"id\":\"{i}\",\"time\":\"2026-01-01T00:00:01Z\",\"type\":\"click\"}}\n");
    folder.write("events.ndjson", &(0..9).map(event).collect::<String>());
    let (code, _, err) = run(&folder, &["ingest", "events.ndjson"]);
    assert_eq!(code, 0, "{err}");
    // Seam's own stream has fewer records than that.
    let (code, out, err) = run(&folder, &["replay", "--from-offset", "5"]);
    assert_eq!((code, out.lines().count()), (0, 1), "{out}{err}");
    assert!(out.starts_with("click_stats clicks/0: 9 records from 0 to 9"), "the segment that holds it: {out}");
    let (code, _, err) = run(&folder, &["replay", "--from-offset", "500"]);
    assert_eq!((code, err.as_str()), (1, "error: no partition reaches offset 500\n"));
}

#[test]
fn batch_run_is_a_plain_command_with_exit_codes() {
    let folder = Folder::new("batch");
    folder.write("seam.yaml", CONFIG);
    folder.write(
        "events.ndjson",
        "{\"id\":\"a\",\"time\":\"2026-01-01T00:00:01Z\",\"type\":\"click\",\"region\":\"eu\",\"value\":1}\n",
    );
    let (code, out, err) = run(&folder, &["ingest", "events.ndjson"]);
    assert_eq!(code, 0, "without a server events go straight into the log: {out}{err}");
    let (code, out, err) = run(&folder, &["batch", "run", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{out}");
    folder.write("seam.yaml", "version: 1\nviews: 3\n");
    assert_eq!(run(&folder, &["batch", "run"]).0, 78);
}

#[test]
fn the_demo_replays_real_flights_and_says_where_to_look() {
    let folder = Folder::new("demo");
    let arguments = ["demo", "--once", "--rate", "100000", "--listen", "127.0.0.1:0"];
    let (code, out, err) = run(&folder, &arguments);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("/api/analytics/metrics/"), "{out}");
    assert!(out.contains("Replaying 12000 flights"), "{out}");
    // The seam: the stamp of the last answer names a generation, a position of the speed layer behind it, and what each half put in.
    let stamp = out.lines().find(|line| line.starts_with("by_carrier: generation ")).unwrap_or_else(|| panic!("{out}"));
    let numbers: Vec<u64> =
        stamp.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect();
    let &[generation, _, cut, batch, _, position, speed] = &numbers[..] else { panic!("{stamp}") };
    assert!(generation >= 1 && cut < position && position == 12_000, "{stamp}");
    assert!(batch > 0 && speed > 0, "{stamp}");
    assert_eq!(batch + speed, 12_000, "each flight once: {stamp}");
}

/// A process that does not outlive its test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn everything_that_the_demo_points_to_is_there() {
    use std::io::{BufRead, BufReader};
    let folder = Folder::new("guide");
    let data = folder.0.join("data");
    let mut demo = seam();
    demo.args(["demo", "--rate", "100000", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
    let mut demo = Running(demo.stdout(std::process::Stdio::piped()).spawn().expect("the program runs"));
    let lines = BufReader::new(demo.0.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut guide: Vec<String> = Vec::new();
    for line in lines {
        let is_last = line.contains(" query route.flights");
        guide.push(line);
        if is_last {
            break;
        }
    }
    let urls: Vec<&str> = guide[1..guide.len() - 1]
        .iter()
        .flat_map(|line| line.split(' '))
        .filter(|word| word.starts_with("http"))
        .collect();
    assert!(urls.len() >= 7, "{guide:?}");
    for url in urls {
        let mut reply = agent().get(url).call().expect("an answer");
        let text = reply.body_mut().read_to_string().expect("text");
        assert_eq!(reply.status(), 200, "{url}: {text}");
        if url.contains("/metrics/") {
            let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert!(answer["points"].as_array().is_some_and(|points| !points.is_empty()), "{url}: {text}");
        }
    }
    let command: Vec<&str> = guide.last().expect("lines").split_whitespace().skip(1).collect();
    assert!(command.contains(&"--url"), "it is not where one would look: {command:?}");
    let (code, out, err) = run(&folder, &command);
    assert_eq!(code, 0, "{command:?}: {out}{err}");
    assert!(out.contains("JFK"), "{out}");
    std::process::Command::new("kill").args(["-TERM", &demo.0.id().to_string()]).status().expect("kill runs");
    assert!(demo.0.wait().expect("it ends").success());
}

#[test]
fn a_live_feed_tells_each_change_of_a_group_with_old_and_new_value() {
    use std::io::{BufRead, BufReader};
    let folder = Folder::new("live");
    folder.write("seam.yaml", CONFIG);
    let server = Server::start(&folder.0);
    let url = format!("{}/v1/events/clicks", server.url);
    let post = |id: &str| {
        let event = format!(r#"{{"id":"{id}","time":"2026-01-01T00:00:01Z","type":"click","region":"eu","value":1}}"#);
        let reply = agent().post(&url).header("content-type", "application/json").send(event);
        assert_eq!(reply.expect("the event is taken").status(), 202);
    };
    post("a");
    let feed = format!("{}/api/analytics/live?metric=events.total&dimension=region&window=1m", server.url);
    let reply = agent().get(format!("{feed}&to=2026-01-01T00:01:00Z")).call().expect("the feed begins");
    let mut lines = BufReader::new(reply.into_body().into_reader()).lines().map_while(Result::ok);
    let mut next = || {
        let data = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).expect("the feed goes on");
        serde_json::from_str::<serde_json::Value>(&data).expect("data is JSON")
    };
    let first = next();
    assert_eq!((&first["region"], &first["old"], &first["value"]), (&"eu".into(), &serde_json::Value::Null, &1.into()));
    post("b");
    let second = next();
    assert_eq!((&second["old"], &second["value"]), (&1.into(), &2.into()), "{second}");
    assert_eq!(second["coverage"], "clicks/0@2");
    let refused = agent().get(format!("{}/api/analytics/live", server.url)).call().expect("an answer");
    assert_eq!(refused.status(), 400);
}

#[test]
fn a_role_of_its_own_needs_stores_that_processes_can_share() {
    let folder = Folder::new("roles");
    let sink = "    sink: { topic: out }\n";
    let config = CONFIG.replacen("    measures:", &format!("{sink}    measures:"), 1);
    assert!(config.contains(sink), "{config}");
    folder.write("seam.yaml", &config);
    for role in ["ingest", "speed", "archive", "batch", "sink", "serve"] {
        let (code, _, err) = run(&folder, &[role]);
        assert_eq!(code, 1, "{role}: {err}");
        assert!(err.contains("storage.log") && err.contains("seam up"), "{role}: {err}");
    }
}

/// The log forgets what is archived and covered; a process that comes back with nothing but the lake and the rest of the log
/// answers as before, and still knows the ids that were forgotten.
#[test]
fn a_log_that_forgot_is_whole_with_its_archive() {
    let folder = Folder::new("forgets");
    let storage = "storage: { speed: memory, retain_log: 1s }\nbatch: { schedule: \"@every 1s\" }\n";
    let segments = "    segment: { events: 100, interval: 1m }\n    dedupe: { horizon: 1h, max_records: 500 }\n";
    let config = CONFIG.replace("    fields: { region", &format!("{segments}    fields: {{ region"));
    folder.write("seam.yaml", &format!("{config}{storage}"));
    let event = |n: u32| {
        let second = n % 60;
        format!(r#"{{"id":"e{n}","time":"2026-01-01T00:00:{second:02}Z","type":"click","region":"eu","value":1}}"#)
    };
    let server = Server::start(&folder.0);
    let post = |server: &Server, from: u32, to: u32| {
        let body: Vec<String> = (from..to).map(event).collect();
        let url = format!("{}/v1/events/clicks", server.url);
        let reply = agent().post(url).header("content-type", "application/x-ndjson").send(body.join("\n"));
        assert_eq!(reply.expect("the events are taken").status(), 202);
    };
    for part in 0..40 {
        post(&server, part * 50, part * 50 + 50);
    }
    let gauge = |server: &Server, name: &str| -> f64 {
        let (_, text) = server.get("/metrics").expect("metrics");
        let line = format!("data_pipeline_{name}{{source=\"clicks\",partition=\"0\"}} ");
        let text = text.as_str().expect("text").to_owned();
        text.lines().find_map(|l| l.strip_prefix(&line)?.parse().ok()).unwrap_or(f64::NAN)
    };
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let is_trimmed = || {
        let (behind, above) = (gauge(&server, "archive_lag_records"), gauge(&server, "retention_headroom_records"));
        // The archive reaches almost to the end, and the log starts not far below that.
        behind <= 200.0 && above <= 1_000.0
    };
    while !is_trimmed() {
        assert!(std::time::Instant::now() < give_up, "the log forgets what is archived and covered");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    server.kill();
    let server = Server::start(&folder.0);
    post(&server, 1_950, 2_010);
    let question = "/api/analytics/metrics/events.total?window=1m&to=2026-01-01T00:01:00Z&min_position=clicks/0@2060";
    let (status, answer) = server.get(question).expect("an answer");
    assert_eq!((status, &answer["points"][0]["value"]), (200, &2_010.into()), "{answer}");
    let (code, out, err) = run(&folder, &["batch", "status", "--json"]);
    let views: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(code, 0, "{err}");
    assert!(views[0]["generation"].as_u64() > Some(0) && views[0]["rows"].as_u64() > Some(0), "{views}");
    let (code, out, err) = run(&folder, &["archive", "verify"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("archive of clicks: whole"), "{out}");
    assert_eq!(server.stop().0, Some(0));
    let (code, out, err) = run(&folder, &["speed", "rebuild", "--compare"]);
    assert_eq!(code, 1, "a state in memory is gone with its process: {out}{err}");
    assert!(out.contains("missing"), "{out}");
    damage_one_archive_file(&folder.0.join("data/archive/clicks"));
    let (code, out, err) = run(&folder, &["archive", "verify"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.contains(".parquet") && out.contains("PROBLEMS"), "{out}");
}

fn damage_one_archive_file(folder: &std::path::Path) {
    let files = std::fs::read_dir(folder).expect("the archive is a folder").filter_map(Result::ok);
    let file = files.map(|f| f.path()).find(|p| p.extension().is_some_and(|e| e == "parquet")).expect("a file");
    let mut bytes = std::fs::read(&file).expect("it is read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 8;
    std::fs::write(&file, bytes).expect("it is written");
}
