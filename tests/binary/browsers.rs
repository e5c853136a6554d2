//! What pages of other sites get from the built program on this machine, over plain sockets: nothing of another name, and no writing.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::server::{Folder, Server};

const CONFIG: &str = r#"
version: 1
name: shop
sources: { clicks: { map: { id: $.id, time: $.time }, fields: { region: string } } }
views: { by_region: { from: clicks, dimensions: [region], pane: 10s, measures: { events: count() } } }
metrics: { events: { view: by_region, measure: events } }
server: { cors: ["https://dash.example.com"], hosts: [seam.example.com] }
"#;

/// The status of what comes back for these bytes, and the rest.
fn sent(server: &Server, bytes: &str) -> (String, String) {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream.write_all(bytes.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer.get(9..12).unwrap_or_default().to_owned(), answer)
}

#[test]
fn other_names_are_not_answered_and_other_pages_do_not_write() {
    let folder = Folder::new("browsers");
    folder.write("seam.yaml", CONFIG);
    let server = Server::start(&folder.0);
    let own = server.url.trim_start_matches("http://").to_owned();
    let get = |host: &str, path: &str| {
        sent(&server, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    };
    for path in ["/api/analytics/metrics", "/metrics", "/", "/livez", "/nothing"] {
        let (status, answer) = get("evil.example:8080", path);
        assert_eq!(status, "421", "{path}: {answer}");
        assert!(answer.contains("urn:seam:problem:unknown-host") && answer.contains("server.hosts"), "{answer}");
    }
    for host in [own.as_str(), "localhost", "[::1]:1", "seam.example.com", "SEAM.example.com:443"] {
        assert_eq!(get(host, "/api/analytics/metrics").0, "200", "{host}");
    }
    let event = r#"{"id":"a","time":"2026-01-01T00:00:01Z","region":"eu"}"#;
    let post = |headers: &str| {
        let length = event.len();
        let head = format!(
            "POST /v1/events/clicks HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\nContent-Length: {length}\r\n"
        );
        sent(&server, &format!("{head}{headers}\r\n{event}")).0
    };
    for headers in [
        "Origin: https://evil.example\r\nContent-Type: text/plain\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Origin: http://127.0.0.1:1\r\n",
    ] {
        assert_eq!(post(headers), "403", "{headers}");
    }
    for headers in
        ["", &format!("Origin: http://{own}\r\n"), "Origin: https://dash.example.com\r\nSec-Fetch-Site: cross-site\r\n"]
    {
        assert_eq!(post(headers), "202", "{headers}");
    }
    // Of two ways to read a request's end or its target, neither is taken.
    for head in [
        format!("GET /livez HTTP/1.1\r\nHost: {own}\r\nHost: evil.example\r\n\r\n"),
        "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
        format!(
            "POST /v1/events/clicks HTTP/1.1\r\nHost: {own}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        format!(
            "POST /v1/events/clicks HTTP/1.1\r\nHost: {own}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"
        ),
        format!("GET /livez HTTP/1.1\r\nHost: {own}\r\nTransfer-Encoding : chunked\r\n\r\n"),
    ] {
        assert_eq!(sent(&server, &head.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)).0, "400", "{head}");
    }
    let evil = format!("GET http://evil.example/metrics HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n");
    assert_eq!(sent(&server, &evil).0, "421", "the target's own name precedes the header");
}
