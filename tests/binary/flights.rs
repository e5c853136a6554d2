//! The flights, whole, through the built program: kill -9 and restart in between, batch every few seconds, and at random
//! moments answers that must equal a plain recomputation over the events up to their own stamp. Zero differences.
use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use seam_ingest::door::partition_of;
use serde_json::Value;

use crate::server::{Folder, Server, agent};

/// The configuration, without where things are stored.
pub const CONFIG: &str = r#"
version: 1
name: flights
sources:
  flights:
    partitions: 2
    map: { id: $.id, time: $.time, type: $.type }
    fields: { carrier: string, origin: string, dest: string, delay_min: int, seen: string }
    segment: { events: 4096, interval: 1m }
views:
  carriers:
    from: flights
    dimensions: [carrier]
    pane: 15m
    windows: [1h, 1d]
    measures: { delay: stats(delay_min), flights: count() }
  routes:
    from: flights
    dimensions: [origin, dest]
    pane: 1h
    windows: [1h, 1d]
    measures: { delay: stats(delay_min) }
metrics:
  delay.by_carrier: { view: carriers, measure: delay }
  delay.by_route: { view: routes, measure: delay }
batch: { schedule: "@every 2s" }
"#;

/// One flight, as much of it as is asked for.
#[derive(Clone)]
pub struct Flight {
    pub id: String,
    pub line: String,
    time: i64,
    carrier: String,
    route: (String, String),
    delay: Option<i64>,
}

fn data() -> (PathBuf, bool) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("SEAM_FLIGHTS").map(PathBuf::from);
    let whole = named.unwrap_or_else(|| root.join("../shared/data/flights.ndjson.gz"));
    if whole.exists() { (whole, true) } else { (root.join("examples/flights/departures.ndjson.gz"), false) }
}

pub fn load() -> Vec<Flight> {
    let (path, whole) = data();
    if !whole {
        let advice = "SEAM_FLIGHTS names the whole flights file, or another one to take instead";
        assert!(std::env::var_os("CI").is_none(), "in CI nothing is skipped in silence: {advice}");
        eprintln!("SKIPPED IN PART: NOT THE WHOLE FLIGHTS, BUT {}: {advice}", path.display());
    }
    let mut text = String::new();
    let file = std::fs::File::open(&path).expect("the flights are in the project");
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("the flights are gzip");
    text.lines().map(parse).collect()
}

fn parse(line: &str) -> Flight {
    let v: Value = serde_json::from_str(line).expect("every flight is JSON");
    let text = |name: &str| v[name].as_str().expect("a text field").to_owned();
    let time = chrono::DateTime::parse_from_rfc3339(&text("time")).expect("a time").timestamp_micros();
    Flight {
        id: text("id"),
        line: line.to_owned(),
        time,
        carrier: text("carrier"),
        route: (text("origin"), text("dest")),
        delay: v["delay_min"].as_i64(),
    }
}

/// What the log holds, as far as receipts tell: flights by partition in offset order.
#[derive(Default)]
struct Model {
    log: BTreeMap<u32, Vec<usize>>,
    /// The batch whose receipt never came.
    unknown: Vec<usize>,
}

impl Model {
    fn partition(flights: &[Flight], i: usize) -> u32 {
        partition_of(Some(&flights[i].id), flights[i].line.as_bytes(), 2)
    }

    /// A receipt tells where the log stood before its batch, and so how much of the batch before it had been stored.
    fn receive(&mut self, flights: &[Flight], sent: &[usize], receipt: &Value) {
        let position = receipt["position"].as_str().expect("a receipt names its position");
        let ends: BTreeMap<u32, usize> = position
            .split(',')
            .map(|part| {
                let (place, offset) = part.split_once('@').expect("source/partition@offset");
                let number = place.rsplit_once('/').expect("source/partition").1;
                (number.parse().expect("a partition"), offset.parse().expect("an offset"))
            })
            .collect();
        for (number, end) in ends {
            let new: Vec<usize> = sent.iter().copied().filter(|&i| Self::partition(flights, i) == number).collect();
            let log = self.log.entry(number).or_default();
            let before = end - new.len();
            let lost: Vec<usize> =
                self.unknown.iter().copied().filter(|&i| Self::partition(flights, i) == number).collect();
            assert!(before >= log.len() && before - log.len() <= lost.len(), "the log holds what was sent, no more");
            log.extend(&lost[..before - log.len()]);
            log.extend(&new);
        }
        self.unknown.clear();
    }

    /// The flights that count below the coverage: the first of each id.
    fn below<'a>(&self, flights: &'a [Flight], coverage: &str) -> Vec<&'a Flight> {
        let mut seen = HashSet::new();
        let mut out = Vec::new();
        for part in coverage.split(',').filter(|p| !p.is_empty()) {
            let (place, offset) = part.split_once('@').expect("source/partition@offset");
            let number: u32 = place.rsplit_once('/').expect("source/partition").1.parse().expect("a partition");
            let offset: usize = offset.parse().expect("an offset");
            let log = self.log.get(&number).map_or(&[][..], Vec::as_slice);
            assert!(offset <= log.len(), "no answer covers more than the log: {offset} > {}", log.len());
            out.extend(log[..offset].iter().map(|&i| &flights[i]).filter(|f| seen.insert(f.id.as_str())));
        }
        out
    }
}

type Group = (i64, Vec<String>);

#[derive(Debug, PartialEq, Default, Clone)]
struct Figures {
    count: i64,
    sum: i64,
    min: Option<i64>,
    max: Option<i64>,
}

/// The plain recomputation: windows of `window` micros that tile time, by key.
fn recompute(flights: &[&Flight], window: i64, key: impl Fn(&Flight) -> Vec<String>) -> BTreeMap<Group, Figures> {
    let mut out: BTreeMap<Group, Figures> = BTreeMap::new();
    for flight in flights {
        let end = (flight.time.div_euclid(window) + 1) * window;
        let figures = out.entry((end, key(flight))).or_default();
        if let Some(delay) = flight.delay {
            figures.count += 1;
            figures.sum += delay;
            figures.min = Some(figures.min.map_or(delay, |m| m.min(delay)));
            figures.max = Some(figures.max.map_or(delay, |m| m.max(delay)));
        }
    }
    out
}

/// The same from an answer's points; checks avg on the way.
fn answered(answer: &Value, dimensions: &[&str]) -> BTreeMap<Group, Figures> {
    let mut out = BTreeMap::new();
    for point in answer["points"].as_array().expect("an answer has points") {
        let time = point["time"].as_str().expect("a point has a time");
        let end = chrono::DateTime::parse_from_rfc3339(time).expect("RFC 3339").timestamp_micros();
        let key = dimensions.iter().map(|d| point[*d].as_str().expect("a dimension").to_owned()).collect();
        let number = |name: &str| point[name].as_i64();
        let figures = Figures {
            count: number("count").expect("a count"),
            sum: number("sum").unwrap_or(0),
            min: number("min"),
            max: number("max"),
        };
        let avg = point["avg"].as_f64();
        let expected = (figures.count > 0).then(|| figures.sum as f64 / figures.count as f64);
        assert_eq!(avg, expected, "avg is sum / count, null when empty: {point}");
        out.insert((end, key), figures);
    }
    out
}

pub struct Question {
    pub path: String,
    window: i64,
    dimensions: &'static [&'static str],
}

const HOUR: i64 = 3_600_000_000;

pub fn questions(flights: &[Flight], seed: &mut u64) -> Vec<Question> {
    let hour_from = flights[(random(seed) as usize) % flights.len()].time;
    let day = |t: i64| chrono::DateTime::from_timestamp_micros(t.div_euclid(24 * HOUR) * 24 * HOUR).expect("in range");
    let text = |t: chrono::DateTime<chrono::Utc>| t.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let first = day(flights.iter().map(|f| f.time).min().unwrap_or(0));
    let last = day(flights.iter().map(|f| f.time).max().unwrap_or(0)) + chrono::TimeDelta::days(1);
    let begin = day(hour_from);
    let two_days = begin + chrono::TimeDelta::days(2);
    vec![
        Question {
            path: format!(
                "/api/analytics/metrics/delay.by_carrier?dimension=carrier&window=1d&from={}&to={}&limit=10000",
                text(first),
                text(last)
            ),
            window: 24 * HOUR,
            dimensions: &["carrier"],
        },
        Question {
            path: format!(
                "/api/analytics/metrics/delay.by_carrier?dimension=carrier&window=1h&from={}&to={}&limit=10000",
                text(begin),
                text(two_days)
            ),
            window: HOUR,
            dimensions: &["carrier"],
        },
        Question {
            path: format!(
                "/api/analytics/metrics/delay.by_route?dimension=origin&dimension=dest&window=1h&from={}&to={}&limit=10000",
                text(begin),
                text(two_days)
            ),
            window: HOUR,
            dimensions: &["origin", "dest"],
        },
        Question {
            path: format!(
                "/api/analytics/metrics/delay.by_route?dimension=origin&dimension=dest&window=1d&from={}&to={}&limit=10000",
                text(begin),
                text(two_days)
            ),
            window: 24 * HOUR,
            dimensions: &["origin", "dest"],
        },
    ]
}

/// Figures by carrier of one random day.
pub fn one_day(flights: &[Flight], seed: &mut u64) -> Question {
    let begin = flights[(random(seed) as usize) % flights.len()].time.div_euclid(24 * HOUR) * 24 * HOUR;
    let text = |micros: i64| {
        let time = chrono::DateTime::from_timestamp_micros(micros).expect("in range");
        time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let (from, to) = (text(begin), text(begin + 24 * HOUR));
    let path =
        format!("/api/analytics/metrics/delay.by_carrier?dimension=carrier&window=1d&from={from}&to={to}&limit=10000");
    Question { path, window: 24 * HOUR, dimensions: &["carrier"] }
}

pub fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

/// Asks every question; the answers wait for the receipts that tell what the log held.
pub fn ask(get: impl Fn(&str) -> Result<(u16, Value), String>, questions: Vec<Question>) -> Vec<(Question, Value)> {
    let mut out = Vec::new();
    for question in questions {
        match get(&question.path) {
            Ok((200, answer)) => out.push((question, answer)),
            Ok((503, _)) | Err(_) => {}
            Ok((status, body)) => panic!("{}: {status} {body}", question.path),
        }
    }
    out
}

/// How many figures were compared; panics at the first difference.
fn verify(model: &Model, flights: &[Flight], question: &Question, answer: &Value) -> usize {
    let coverage = answer["meta"]["stamp"]["coverage"].as_str().expect("every answer is stamped");
    compare(model.below(flights, coverage), coverage, question, answer)
}

/// Compares an answer with a recomputation over the flights that count below its coverage; panics at the first difference.
pub fn compare(below: Vec<&Flight>, coverage: &str, question: &Question, answer: &Value) -> usize {
    let parameter = |name: &str| {
        let text = answer["meta"][name].as_str().expect("an answer says its range");
        chrono::DateTime::parse_from_rfc3339(text).expect("RFC 3339").timestamp_micros()
    };
    let (from, to) = (parameter("from"), parameter("to"));
    let inside: Vec<&Flight> = below.into_iter().filter(|f| f.time >= from && f.time < to).collect();
    let expected = match question.dimensions {
        ["carrier"] => recompute(&inside, question.window, |f| vec![f.carrier.clone()]),
        _ => recompute(&inside, question.window, |f| vec![f.route.0.clone(), f.route.1.clone()]),
    };
    assert!(expected.len() < 10_000, "the question fits into one page");
    let actual = answered(answer, question.dimensions);
    for (group, figures) in &expected {
        assert_eq!(actual.get(group), Some(figures), "{group:?} at {coverage}: {}", question.path);
    }
    assert_eq!(actual.len(), expected.len(), "no group too many at {coverage}: {}", question.path);
    expected.len() * 5
}

#[test]
fn the_flights_are_exact_at_random_moments_whatever_is_killed() {
    let flights = load();
    let folder = Folder::new("flights");
    folder.write("seam.yaml", CONFIG);
    let mut server = Server::start(&folder.0);
    let mut seed = 20_260_601;
    let mut model = Model::default();
    let batch = flights.len().div_ceil(120);
    let (mut moments, mut kills, mut compared) = (0, 0, 0);
    let mut generations = HashSet::new();
    let mut pending: Vec<(Question, Value)> = Vec::new();
    let mut next = 0;
    while next < flights.len() {
        // The pace of the replay, so that several batch runs fall into it.
        std::thread::sleep(std::time::Duration::from_millis(200));
        let sent: Vec<usize> = (next..flights.len().min(next + batch)).collect();
        let body: String = sent.iter().map(|&i| format!("{}\n", flights[i].line)).collect();
        let url = format!("{}/v1/events/flights", server.url);
        let post = std::thread::spawn(move || -> Option<Value> {
            let mut reply = agent().post(url).header("content-type", "application/x-ndjson").send(body).ok()?;
            assert_eq!(reply.status(), 202, "{:?}", reply.body_mut().read_to_string());
            serde_json::from_str(&reply.body_mut().read_to_string().ok()?).ok()
        });
        if random(&mut seed).is_multiple_of(8) {
            moments += 1;
            pending.extend(ask(|path| server.get(path), questions(&flights, &mut seed)));
        }
        if random(&mut seed).is_multiple_of(20) {
            kills += 1;
            server.kill();
            server = Server::start(&folder.0);
        }
        match post.join().expect("the sender does not panic") {
            Some(receipt) => {
                model.receive(&flights, &sent, &receipt);
                for (question, answer) in pending.drain(..) {
                    compared += verify(&model, &flights, &question, &answer);
                    generations.insert(answer["meta"]["stamp"]["views"][0]["generation"].to_string());
                }
                next += sent.len();
            }
            None => {
                // What a lost reply stored is known only at the next receipt; the batch is sent again whole.
                model.unknown.extend(sent);
            }
        }
    }
    for (question, answer) in ask(|path| server.get(path), questions(&flights, &mut seed)) {
        compared += verify(&model, &flights, &question, &answer);
    }
    println!(
        "{} flights, {moments} moments, {kills} kills, {} generations, {compared} figures compared, 0 differences",
        flights.len(),
        generations.len()
    );
    assert!(moments >= 10 && kills >= 3 && compared > 10_000 && generations.len() > 1, "the run was a test");
    let (code, took) = server.stop();
    assert_eq!(code, Some(0), "SIGTERM ends with 0");
    assert!(took.as_secs() < 10, "SIGTERM ends in under 10 s, took {took:?}");
}
