//! What changes a view's identity and what does not, when schedules come, and that the schema knows the same keys as the check.
use seam_shared::config::{self, Config, Schedule};
use seam_shared::time::Timestamp;

fn good(text: &str) -> Config {
    config::load_with(text, "seam.yaml", &|_| None).unwrap_or_else(|report| panic!("{report}"))
}

const BASE: &str = r#"
version: 1
sources:
  s:
    map: { id: $.id, time: $.t }
    fields: { a: string, b: int, c: float, unused: bool }
    dedupe: { horizon: 10m, max_records: 1000 }
    segment: { events: 100, interval: 1m }
views:
  v:
    from: s
    where: b > 5 and a in ["x", "y"]
    dimensions: [a, b]
    pane: 1m
    windows: [5m, 1h]
    measures: { events: count(), c: stats(c), most: max(b) }
"#;

fn id(text: &str) -> String {
    good(text).view("v").expect("declared").id.to_string()
}

fn changed(from: &str, to: &str) -> String {
    assert!(BASE.contains(from), "`{from}` is not in the base");
    id(&BASE.replace(from, to))
}

#[test]
fn the_identity_is_stable() {
    let base = id(BASE);
    let (name, hash) = base.split_once('@').expect("name@hash");
    assert_eq!(name, "v");
    assert!(hash.len() == 12 && hash.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')), "{hash}");
    let same = [
        ("windows: [5m, 1h]", "windows: [1d, 7d]"),
        ("fields: { a: string, b: int, c: float, unused: bool }", "fields: { c: float, more: int, b: int, a: string }"),
        ("events: count(), c: stats(c), most: max(b)", "most: max(b), c: stats(c), events: count()"),
        ("events: count(), c: stats(c), most: max(b)", "n: count(), sum: sum(c), least: min(b), mean: avg(b)"),
        (r#"b > 5 and a in ["x", "y"]"#, r#"( b > 5 )   AND  a in ['x', "y"]"#),
        ("pane: 1m", "pane: 60s"),
        ("dedupe: { horizon: 10m, max_records: 1000 }", "dedupe: { max_records: 1000, horizon: 600s }"),
        ("version: 1", "version: 1\nname: other\nmetrics: { m: { view: v, measure: events, where: b = 6 } }"),
    ];
    for (from, to) in same {
        assert_eq!(changed(from, to), base, "{from} -> {to}");
    }
}

#[test]
fn the_identity_changes_with_everything_that_the_view_holds() {
    let mut ids = vec![id(BASE)];
    let different = [
        ("    pane: 1m", "    count_window: 10\n    pane: 1m"),
        ("    pane: 1m", "    count_window: 11\n    pane: 1m"),
        ("b > 5", "b > 6"),
        ("b > 5", "b >= 5"),
        ("b > 5 and", "b > 5 or"),
        (r#"["x", "y"]"#, r#"["x", "z"]"#),
        (r#"    where: b > 5 and a in ["x", "y"]"#, ""),
        ("dimensions: [a, b]", "dimensions: [b, a]"),
        ("dimensions: [a, b]", "dimensions: [a]"),
        ("pane: 1m", "pane: 30s"),
        ("c: stats(c), ", ""),
        ("b: int", "b: decimal(2)"),
        ("b: int", "b: { type: int, path: $.x.b }"),
        ("time: $.t", "time: $.u"),
        ("id: $.id", "id: $.key"),
        ("horizon: 10m", "horizon: 11m"),
        ("max_records: 1000", "max_records: 1001"),
        ("dedupe: { horizon: 10m, max_records: 1000 }", "dedupe: off"),
        ("events: 100", "events: 101"),
        ("interval: 1m", "interval: 2m"),
    ];
    for (from, to) in different {
        let other = changed(from, to);
        assert!(!ids.contains(&other), "{from} -> {to} gives a known identity");
        ids.push(other);
    }
}

#[test]
fn the_identity_changes_with_what_is_taken_back() {
    let id = |retract: &str| {
        let source = format!("sources: {{ s: {{ {retract} fields: {{ op: string, n: int }} }} }}");
        id(&format!("version: 1\n{source}\nviews: {{ v: {{ from: s, measures: {{ a: count(), b: sum(n) }} }} }}\n"))
    };
    let ids = [id(""), id("retract: 'op = \"d\"',"), id("retract: 'op = \"x\"',")];
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
}

fn next(cron: &str, zone: chrono_tz::Tz, after: &str) -> String {
    let schedule = Schedule::parse(cron, zone).expect("a schedule");
    let after = Timestamp::parse_rfc3339(after).expect("a time");
    schedule.next_after(after).expect("there is a next").to_rfc3339()
}

#[test]
fn schedules_come_when_they_should() {
    let utc = chrono_tz::UTC;
    assert_eq!(next("*/15 * * * *", utc, "2026-01-01T00:00:00Z"), "2026-01-01T00:15:00Z");
    assert_eq!(next("*/15 * * * *", utc, "2026-01-01T00:14:59.999999Z"), "2026-01-01T00:15:00Z");
    assert_eq!(next("@hourly", utc, "2026-01-01T00:15:00Z"), "2026-01-01T01:00:00Z");
    assert_eq!(next("0 3 * * MON", utc, "2026-01-01T00:00:00Z"), "2026-01-05T03:00:00Z");
    assert_eq!(next("0 0 29 2 *", utc, "2026-01-01T00:00:00Z"), "2028-02-29T00:00:00Z");
    assert_eq!(next("@every 2s", utc, "2026-01-01T00:00:00.5Z"), "2026-01-01T00:00:02Z");
    assert_eq!(next("@every 2s", utc, "2026-01-01T00:00:02Z"), "2026-01-01T00:00:04Z");
    for bad in
        ["", "* * * *", "* * * * * *", "60 * * * *", "0 0 30 2 *", "@often", "@every 1ms", "@every x", "a b c d e"]
    {
        assert!(Schedule::parse(bad, utc).is_err(), "{bad}");
    }
}

#[test]
fn schedules_keep_to_the_clock_across_summer_time() {
    let york = chrono_tz::America::New_York;
    // 2026-03-08: 02:00 EST becomes 03:00 EDT; what the clock skips comes right after the gap, and only once
    assert_eq!(next("30 2 * * *", york, "2026-03-08T05:00:00Z"), "2026-03-08T07:00:00Z");
    assert_eq!(next("30 2 * * *", york, "2026-03-08T07:00:00Z"), "2026-03-09T06:30:00Z");
    assert_eq!(next("0 12 * * *", york, "2026-03-07T20:00:00Z"), "2026-03-08T16:00:00Z", "noon stays noon");
    assert_eq!(next("0 * * * *", york, "2026-03-08T06:00:00Z"), "2026-03-08T07:00:00Z", "hours go on");
    // 2026-11-01: 02:00 EDT becomes 01:00 EST; a time of day comes once, an hourly schedule in both hours
    assert_eq!(next("30 1 * * *", york, "2026-11-01T04:00:00Z"), "2026-11-01T05:30:00Z");
    assert_eq!(next("30 1 * * *", york, "2026-11-01T05:30:00Z"), "2026-11-02T06:30:00Z");
    assert_eq!(next("0 * * * *", york, "2026-11-01T05:00:00Z"), "2026-11-01T06:00:00Z");
    assert_eq!(next("*/15 * * * *", york, "2026-11-01T05:45:00Z"), "2026-11-01T06:00:00Z");
}

/// Every key that the schema offers is one that the check knows, wherever it stands, and no other.
#[test]
fn schema_and_check_know_the_same_keys() {
    let schema = config::schema();
    let root: Vec<&str> = schema["properties"].as_object().expect("an object").keys().map(String::as_str).collect();
    let definitions = ["version", "name", "storage", "sources", "views", "metrics", "dashboard", "batch", "server"];
    assert_eq!(root, [&definitions[..], &["alerts", "notify", "recommend", "tests"]].concat());
    let mut tables = Vec::new();
    collect(&schema, &mut String::new(), &mut tables);
    assert!(tables.len() >= 11, "{tables:?}");
    for (path, keys) in tables {
        let text = path.replacen('@', "{ zzzz: x }", 1);
        let text = if path.is_empty() { "zzzz: x".to_owned() } else { text };
        let report = match config::load_with(&text, "f", &|_| None) {
            Ok(_) => panic!("{text} was accepted"),
            Err(report) => report,
        };
        let problem = report.problems.iter().find(|p| p.message == "unknown key `zzzz`");
        assert!(problem.is_some(), "{text}: {report}");
        for key in keys {
            let text = if path.is_empty() {
                format!("{key}: {{}}")
            } else {
                path.replacen('@', &format!("{{ {key}: {{}} }}"), 1)
            };
            if let Err(report) = config::load_with(&text, "f", &|_| None) {
                assert!(!report.problems.iter().any(|p| p.message.contains("unknown key")), "{text}: {report}");
            }
        }
    }
}

/// The tables of a schema: a file that holds `@` in that place, and the keys.
fn collect(schema: &serde_json::Value, path: &mut String, tables: &mut Vec<(String, Vec<String>)>) {
    let inner = |key: &str, path: &str| match path.is_empty() {
        true => format!("{key}: @"),
        false => path.replacen('@', &format!("{{ {key}: @ }}"), 1),
    };
    for option in schema["anyOf"].as_array().into_iter().flatten() {
        collect(option, path, tables);
    }
    if let Some(properties) = schema["properties"].as_object() {
        tables.push((path.clone(), properties.keys().cloned().collect()));
        for (key, value) in properties {
            collect(value, &mut inner(key, path), tables);
        }
    } else if schema["additionalProperties"].is_object() {
        collect(&schema["additionalProperties"], &mut inner("x", path), tables);
    }
}
