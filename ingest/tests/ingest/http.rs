//! The collector over a real server on the loopback.
use std::io::Write;
use std::sync::Arc;

use seam_ingest::{Door, Receipt, Rules, dead_letters, limits, routes};
use seam_shared::config::Format;
use seam_shared::log::Offset;

use super::{door, records};

const GOOD: &str = r#"{"id":"a","meta":{"time":1780272000},"type":"view","price":1.50}"#;

struct Server {
    door: Arc<Door>,
    address: String,
}

struct Reply {
    status: u16,
    media_type: String,
    body: serde_json::Value,
}

impl Reply {
    fn receipt(self) -> Receipt {
        assert_eq!(self.status, 202, "{}", self.body);
        serde_json::from_value(self.body).expect("a receipt")
    }
    fn problem(self, status: u16) -> String {
        assert_eq!((self.status, self.media_type.as_str()), (status, "application/problem+json"), "{}", self.body);
        assert_eq!(self.body["status"], status);
        assert!(self.body["type"].as_str().is_some_and(|t| t.starts_with("urn:seam:problem:")));
        assert!(self.body["instance"].as_str().is_some_and(|t| t.starts_with("/v1/events/")));
        self.body["detail"].as_str().expect("a detail").to_owned()
    }
}

impl Server {
    async fn start() -> Server {
        Server::start_with(Rules::default()).await
    }
    async fn start_with(rules: Rules) -> Self {
        let door = door().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let app = routes(Arc::clone(&door), rules);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { door, address }
    }

    async fn post(&self, source: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Reply {
        let url = format!("{}/v1/events/{source}", self.address);
        let headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let body = body.into();
        let send = move || {
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let request = headers.iter().fold(agent.post(url), |r, (name, value)| r.header(name, value));
            let mut reply = request.send(&body[..]).expect("the server answers");
            let media_type = reply.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
            let body = reply.body_mut().read_json().expect("the answer is JSON");
            Reply { status: reply.status().as_u16(), media_type, body }
        };
        tokio::task::spawn_blocking(send).await.expect("the client runs")
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

#[tokio::test(flavor = "multi_thread")]
async fn what_curl_sends_unasked_is_read_as_what_it_looks_like() {
    let server = Server::start().await;
    for form in ["application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8"] {
        let form = [("content-type", form)];
        assert_eq!(server.post("clicks", &form, GOOD).await.receipt().accepted, 1);
        assert_eq!(server.post("clicks", &form, format!("[{GOOD},{GOOD}]")).await.receipt().accepted, 2);
        assert_eq!(server.post("clicks", &form, format!("{GOOD}\n{GOOD}\n{GOOD}")).await.receipt().accepted, 3);
        server.post("clicks", &form, "price=1.50&type=view").await.problem(400);
    }
    assert_eq!(server.post("clicks", &[], format!("{GOOD}\n{GOOD}\n")).await.receipt().accepted, 2);
    assert_eq!(records(&server.door, "clicks", 0).await, vec![GOOD; 14]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_an_array_and_lines() {
    let server = Server::start().await;
    let receipt = server.post("clicks", &[JSON], GOOD).await.receipt();
    assert_eq!((receipt.accepted, receipt.rejected, receipt.position.as_str()), (1, 0, "clicks/0@1"));
    let receipt = server.post("clicks", &[], format!("[{GOOD},\n{GOOD}]")).await.receipt();
    assert_eq!((receipt.accepted, receipt.position.as_str()), (2, "clicks/0@3"));
    let receipt = server.post("clicks", &[NDJSON], format!("{GOOD}\n\n{{\"id\":1}}\n{GOOD}\n")).await.receipt();
    assert_eq!((receipt.accepted, receipt.rejected, receipt.position.as_str()), (2, 1, "clicks/0@5"));
    assert_eq!(receipt.errors[0].line, 3);
    assert_eq!(receipt.errors[0].reason, "`meta.time` is missing: every event needs its time");
    assert_eq!(records(&server.door, "clicks", 0).await, vec![GOOD; 5]);
    let (letters, count) = dead_letters::list(server.door.log(), "clicks", Offset(0), 10).await.expect("letters");
    assert_eq!((count, letters[0].line, letters[0].event.as_slice()), (1, 3, &b"{\"id\":1}"[..]));
    let shown = dead_letters::show(server.door.log(), "clicks", Offset(0)).await.expect("the letter");
    assert_eq!(shown, letters[0]);
    assert!(dead_letters::show(server.door.log(), "clicks", Offset(1)).await.is_err());
    let replayed = server.door.replay("clicks", Offset(0)).await.expect("the letter is whole");
    assert_eq!((replayed.accepted, replayed.rejected), (0, 1), "it is no better the second time");
    let counts = server.door.counts()["clicks"];
    assert_eq!((counts.accepted, counts.rejected, counts.bytes), (5, 2, 5 * GOOD.len() as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_bodies() {
    let server = Server::start().await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(GOOD.as_bytes()).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let zstd = zstd::encode_all(GOOD.as_bytes(), 3).expect("memory");
    server.post("clicks", &[("content-encoding", "gzip")], gzip.clone()).await.receipt();
    server.post("clicks", &[("content-encoding", "zstd")], zstd).await.receipt();
    assert_eq!(records(&server.door, "clicks", 0).await, vec![GOOD; 2]);
    let said = server.post("clicks", &[("content-encoding", "zstd")], gzip).await.problem(400);
    assert!(said.starts_with("body is not packed as its Content-Encoding says"), "{said}");
    let said = server.post("clicks", &[("content-encoding", "br")], GOOD).await.problem(415);
    assert_eq!(said, "content encoding `br` cannot be unpacked; there are gzip, zstd and identity");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_problems() {
    let server = Server::start().await;
    let said = server.post("clikcs", &[JSON], GOOD).await.problem(404);
    assert_eq!(said, "source `clikcs` does not exist; did you mean `clicks`?");
    let said = server.post("zzz", &[JSON], GOOD).await.problem(404);
    assert_eq!(said, "source `zzz` does not exist; there are: clicks, orders");
    server.post("clicks", &[JSON], "{\"id\":").await.problem(400);
    server.post("clicks", &[JSON], "").await.problem(400);
    server.post("clicks", &[JSON], "[]").await.problem(400);
    server.post("clicks", &[("content-type", "image/png")], GOOD).await.problem(415);
    assert_eq!(records(&server.door, "clicks.dlq", 0).await.len(), 0, "what is no event leaves no dead letter");
    let reply = server.post("clicks", &[JSON], r#"[{"meta":{"time":1},"count":"7"},5]"#).await;
    assert_eq!(reply.body["errors"][0]["reason"], "`count` must be an integer, not a string");
    assert_eq!(reply.body["errors"][1]["line"], 2);
    reply.problem(422);
    assert_eq!(records(&server.door, "clicks.dlq", 0).await.len(), 2);
    assert_eq!(records(&server.door, "clicks", 0).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_holds() {
    let server = Server::start().await;
    let event = |bytes: usize| {
        let start = r#"{"id":"a","meta":{"time":1},"x":""#;
        format!("{start}{}\"}}", "y".repeat(bytes - start.len() - 2))
    };
    server.post("clicks", &[JSON], event(limits::EVENT_BYTES)).await.receipt();
    server.post("clicks", &[JSON], event(limits::EVENT_BYTES + 1)).await.problem(413);
    let mixed = format!("{GOOD}\n{}", event(limits::EVENT_BYTES + 1));
    let receipt = server.post("clicks", &[NDJSON], mixed).await.receipt();
    assert_eq!((receipt.accepted, receipt.errors[0].line), (1, 2));
    assert_eq!(receipt.errors[0].reason, "event has 1048577 bytes; at most 1048576 are taken");

    let spaces = |bytes: usize| [GOOD.as_bytes(), &vec![b' '; bytes - GOOD.len()]].concat();
    server.post("clicks", &[JSON], spaces(limits::BODY_BYTES)).await.receipt();
    let said = server.post("clicks", &[JSON], spaces(limits::BODY_BYTES + 1)).await.problem(413);
    assert_eq!(said, "body has more than 67108864 bytes; send it in parts");

    let zstd = [("content-encoding", "zstd")];
    let bomb = zstd::encode_all(&spaces(limits::BODY_BYTES + 1)[..], 1).expect("memory");
    let said = server.post("clicks", &zstd, bomb).await.problem(413);
    assert_eq!(said, "body has more than 67108864 bytes when unpacked; send it in parts");
    let said = server.post("clicks", &zstd, vec![0; limits::COMPRESSED_BYTES + 1]).await.problem(413);
    assert_eq!(said, "body has more than 8388608 bytes; send it in parts");

    let many = "{}\n".repeat(limits::ERRORS_NAMED + 50);
    let reply = server.post("clicks", &[NDJSON], many).await;
    assert_eq!(reply.body["errors"].as_array().map(Vec::len), Some(limits::ERRORS_NAMED));
    assert_eq!(reply.problem(422), "all 150 events were refused; they are kept in the dead letters");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_share_a_bounded_memory() {
    let server = Server::start().await;
    let host = server.address.trim_start_matches("http://").to_owned();
    // Each of these announces a body of the largest size and never sends it.
    let mut waiting = Vec::new();
    for _ in 0..limits::BODIES_BYTES / limits::BODY_BYTES {
        let mut stream = tokio::net::TcpStream::connect(&host).await.expect("a connection");
        let head =
            format!("POST /v1/events/clicks HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", limits::BODY_BYTES);
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.expect("the head is sent");
        waiting.push(stream);
    }
    let mut status = 202;
    for _ in 0..1000 {
        status = server.post("clicks", &[JSON], GOOD).await.status;
        if status == 503 {
            break;
        }
    }
    assert_eq!(status, 503, "no memory is left for another body");
    drop(waiting);
    let mut status = 503;
    for _ in 0..1000 {
        status = server.post("clicks", &[JSON], GOOD).await.status;
        if status == 202 {
            break;
        }
    }
    assert_eq!(status, 202, "the memory comes back");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_does_not_take_is_refused() {
    let formats = [("clicks".to_owned(), vec![Format::Ndjson])].into();
    let server = Server::start_with(Rules { max_body: 1_000, formats }).await;
    let lines = ("content-type", "application/x-ndjson");
    server.post("clicks", &[lines], GOOD).await.receipt();
    let said = server.post("clicks", &[JSON], GOOD).await.problem(415);
    assert!(said.contains("takes ndjson only"), "{said}");
    server.post("clicks", &[("content-type", "text/csv")], "id\na\n").await.problem(415);
    server.post("clicks", &[lines], format!("{GOOD}{}", " ".repeat(1_000 - GOOD.len()))).await.receipt();
    let said = server.post("clicks", &[lines], " ".repeat(1_001)).await.problem(413);
    assert!(said.contains("1000 bytes"), "{said}");
    let bomb = zstd::encode_all(&[b' '; 1_001][..], 1).expect("memory");
    server.post("clicks", &[lines, ("content-encoding", "zstd")], bomb).await.problem(413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_may_take_csv_alone() {
    let server =
        Server::start_with(Rules { formats: [("clicks".to_owned(), vec![Format::Csv])].into(), ..Rules::default() })
            .await;
    let rows = "id,meta.time\na,2026-01-01T00:00:01Z\n";
    server.post("clicks", &[("content-type", "text/csv")], rows).await.receipt();
    let said = server.post("clicks", &[JSON], GOOD).await.problem(415);
    assert!(said.contains("takes csv only"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cloud_events_in_three_modes() {
    let server = Server::start().await;
    let event = r#"{"specversion":"1.0","id":"e1","source":"/shop","type":"view","time":"2026-06-01T00:00:00Z","ext":"x",
        "data":{"price":0.10,"meta":{"k":1},"type":"cart"}}"#;
    let flat = r#"{"price":0.10,"type":"cart","source":"/shop","ext":"x","id":"e1","meta":{"k":1,"time":"2026-06-01T00:00:00Z"}}"#;
    server.post("clicks", &[("content-type", "application/cloudevents+json; charset=utf-8")], event).await.receipt();
    let batch = ("content-type", "application/cloudevents-batch+json");
    let receipt = server.post("clicks", &[batch], format!("[{event},{{\"id\":\"x\"}}]")).await.receipt();
    assert_eq!((receipt.accepted, receipt.rejected), (1, 1));
    assert_eq!(receipt.errors[0].reason, "CloudEvent needs `specversion` \"1.0\"");
    let headers = [
        JSON,
        ("ce-specversion", "1.0"),
        ("ce-id", "e%201"),
        ("ce-source", "/shop"),
        ("ce-type", "view"),
        ("ce-time", "2026-06-01T00:00:00Z"),
    ];
    server.post("clicks", &headers, r#"{"price":0.10,"id":null}"#).await.receipt();
    let got = records(&server.door, "clicks", 0).await;
    assert_eq!(got[..2], [flat, flat]);
    let document: serde_json::Value = serde_json::from_str(&got[2]).expect("JSON");
    let want = serde_json::json!({"price": 0.10, "id": "e 1", "source": "/shop", "type": "view", "meta": {"time": "2026-06-01T00:00:00Z"}});
    assert_eq!(document, want);
    let mut picture = headers;
    picture[0] = ("content-type", "image/png");
    server.post("clicks", &picture, "x").await.problem(415);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_one_id_meet_in_one_partition() {
    let server = Server::start().await;
    let events: Vec<String> = (0..400).map(|n| format!(r#"{{"id":"id-{}","meta":{{"time":{n}}}}}"#, n % 100)).collect();
    let receipt = server.post("orders", &[NDJSON], events.join("\n")).await.receipt();
    let mut ids = Vec::new();
    for number in 0..4 {
        let records = records(&server.door, "orders", number).await;
        assert!(receipt.position.contains(&format!("orders/{number}@{}", records.len())), "{}", receipt.position);
        let id = |record: &String| record.split('"').nth(3).map(str::to_owned);
        let mut here: Vec<_> = records.iter().map(id).collect();
        here.sort();
        here.dedup();
        assert!(here.len() > 10, "ids spread over the partitions");
        ids.extend(here);
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!((all, ids.len()), (100, 100), "no id lies in two partitions");
    // The function is fixed for ever: a change would part the records of an id.
    assert_eq!(seam_ingest::door::partition_of(Some("id-1"), b"", 1000), 604);
}
