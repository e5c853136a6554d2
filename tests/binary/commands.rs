//! The commands as typed: exit codes, messages, output.
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
    assert!(out.contains("12000") || out.contains("12,000"), "{out}");
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
