//! The live page in a real browser: it shows the numbers of the API, by mouse and by keyboard, and its console stays silent.
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::browser::Browser;
use crate::server::{Folder, Server, agent};

/// WebDriver's names of the arrow keys.
const LEFT: &str = "\u{e012}";
const HOME: &str = "\u{e011}";
/// How a page's text of a number compares with the API's: both are the server's spelling, but for how JavaScript writes a double.
const SAME: &str =
    "const same = (text, value) => text === String(value) || (value !== null && Number(text) === Number(value));";

fn with_flights(folder: &Folder) -> Server {
    folder.write("seam.yaml", include_str!("../../seam.yaml"));
    let server = Server::start(&folder.0);
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flights/departures.ndjson.gz");
    let mut text = String::new();
    let file = std::fs::File::open(sample).expect("the sample is in the project");
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("the sample is gzip");
    let lines: Vec<&str> = text.lines().take(4_000).collect();
    for body in [lines.join("\n"), r#"{"id":"broken","time":"yesterday"}"#.to_owned()] {
        let sent =
            agent().post(format!("{}/v1/events/flights", server.url)).content_type("application/x-ndjson").send(body);
        assert!([202, 422].contains(&sent.expect("the server answers").status().as_u16()));
    }
    server
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn the_page_shows_the_numbers_of_the_api_and_its_console_is_silent() {
    let Some(browser) = Browser::open() else { return };
    let folder = Folder::new("page");
    let server = with_flights(&folder);
    figures(&browser, &server);
    course(&browser, &server);
    seam(&browser, &server);
    refused_and_asked(&browser, &server);
    theme_and_width(&browser, &server);
    let loud: Vec<String> = browser.console().into_iter().filter(|line| !line.starts_with("INFO")).collect();
    assert!(loud.is_empty(), "{loud:#?}");
}

/// Each figure is the dashboard's at the same moment, and so are its parts.
fn figures(browser: &Browser, server: &Server) {
    browser.go(&format!("{}/#/figures?window=1d&range=7d", server.url));
    browser.wait("document.querySelectorAll('.card .plot svg .line').length === 5");
    browser.wait("document.querySelector('.figures').dataset.coverage?.includes('flights/0@4000')");
    let compared = browser.run(&format!(
        "{SAME}
         const pipeline = await (await fetch('api/analytics/pipeline')).json();
         const newest = pipeline.views.filter((view) => view.source === 'flights').map((view) => view.newest).sort().at(-1);
         const dashboard = await (await fetch(`api/analytics/dashboard?window=1d&at=${{newest}}`)).json();
         return dashboard.metrics.map((figure) => {{
           const card = document.querySelector(`[data-metric='${{figure.metric}}']`);
           const shares = [...card.querySelectorAll('.shares')].map((share) => [Number(share.dataset.batch), Number(share.dataset.speed)]);
           const told = figure.shares.map((share) => [share.batch.events, share.speed.events]);
           const value = card.querySelector('.value').dataset.value;
           return {{ name: figure.metric, same: same(value, figure.value) && JSON.stringify(shares) === JSON.stringify(told), value, api: figure.value }};
         }});"
    ));
    assert_eq!(list(&compared).len(), 5, "{compared:#}");
    assert!(list(&compared).iter().all(|figure| figure["same"] == true), "{compared:#}");
    assert!(list(&compared).iter().any(|figure| figure["api"].as_f64().unwrap_or(0.0) > 100.0), "{compared:#}");
}

/// The chart's points are the API's, for the eye, in the table, and by keyboard.
fn course(browser: &Browser, server: &Server) {
    browser
        .go(&format!("{}/#/metric/delay?window=1h&range=1d&step=1h&by=carrier&end=2013-01-04T00:00:00Z", server.url));
    browser.wait("document.querySelector('.panel .plot .line.answer') && document.querySelector('.bar')");
    browser.run("document.querySelector('details.rows').open = true;");
    browser.wait("document.querySelectorAll('.rows [data-time]').length === 24");
    let compared = browser.run(&format!(
        "{SAME}
         const api = 'api/analytics/metrics/delay';
         const answer = await (await fetch(`${{api}}?window=1h&step=1h&from=2013-01-03T00:00:00Z&to=2013-01-04T00:00:00Z`)).json();
         const groups = await (await fetch(`${{api}}?window=1h&at=2013-01-04T00:00:00Z&dimension=carrier&order=-value&limit=15`)).json();
         const rows = [...document.querySelectorAll('.rows [data-time]')];
         const points = answer.points.map((point, i) => rows[i].dataset.time === point.time && same(rows[i].dataset.value, point.value));
         const bars = [...document.querySelectorAll('[aria-labelledby=groups-title] td [data-value]')];
         return {{ points, groups: groups.points.map((point, i) => same(bars[i]?.dataset.value, point.value)), bars: bars.length }};"
    ));
    assert_eq!(list(&compared["points"]).len(), 24, "{compared:#}");
    assert!(
        list(&compared["points"]).iter().chain(list(&compared["groups"])).all(|same| *same == true),
        "{compared:#}"
    );
    assert_eq!(Some(list(&compared["groups"]).len() as u64), compared["bars"].as_u64());
    browser.wait("[...document.querySelectorAll('.proof dt')].some((name) => name.textContent === 'Not counted')");
    let heard = |browser: &Browser| {
        browser.run("return document.querySelector('[role=slider]').getAttribute('aria-valuetext');")
    };
    browser.run("document.querySelector('[role=slider]').focus();");
    let last = heard(browser);
    browser.press(LEFT);
    let before = heard(browser);
    browser.press(HOME);
    let first = heard(browser);
    assert!(last != before && before != first, "{last} {before} {first}");
    let shown = browser.run("return document.querySelector('.readout .answer dd').dataset.value;");
    let asked = browser.run("return document.querySelector('.rows [data-time]').dataset.value;");
    assert_eq!(shown, asked, "the crosshair reads the point that it stands on");
    assert!(first.as_str().expect("text").starts_with("3 Jan, 00:00 to 01:00"), "{first}");
}

/// The strip tells what the pipeline tells.
fn seam(browser: &Browser, server: &Server) {
    browser.go(&format!("{}/#/seam", server.url));
    browser.wait("document.querySelector('.strip-plot rect.speed, .strip-plot rect.batch') && document.querySelectorAll('.facts dd').length === 6");
    let words = browser.run("return document.querySelector('.strip figcaption').innerText;");
    assert!(words.as_str().expect("text").contains("nothing is left unread"), "{words}");
    let (status, pipeline) = server.get("/api/analytics/pipeline").expect("the server answers");
    assert_eq!(status, 200, "{pipeline:#}");
    let flights = &pipeline["sources"][0];
    assert_eq!(
        (&flights["partitions"][0]["log_end"], &flights["dead_letters"]),
        (&4_000.into(), &1.into()),
        "{pipeline:#}"
    );
    assert_eq!(pipeline["views"][0]["partitions"][0]["position"], 4_000, "{pipeline:#}");
    assert!(pipeline["sources"][0]["late"].as_u64().is_some_and(|late| late > 0), "{pipeline:#}");
    assert_eq!(pipeline["unknown"], serde_json::json!([]));
}

/// A refused event is shown with its reason and bytes; a question's answer is the API's.
fn refused_and_asked(browser: &Browser, server: &Server) {
    browser.go(&format!("{}/#/refused/flights", server.url));
    browser.wait("document.querySelector('.letters .reason')?.textContent.includes('yesterday')");
    let bytes = browser.run("return document.querySelector('.letters pre').textContent;");
    assert!(bytes.as_str().expect("text").contains("\"broken\""), "{bytes}");
    browser.go(&format!(
        "{}/#/ask?metric=flights.total&window=1d&at=2013-01-04T00:00:00Z&dimension=carrier&order=-value",
        server.url
    ));
    browser.wait("document.querySelector('[aria-labelledby=answer-title] tbody tr')");
    let asked = browser.run(
        "const url = document.querySelector('.copied code').textContent;
         const answer = await (await fetch(url)).json();
         const rows = [...document.querySelectorAll('[aria-labelledby=answer-title] tbody tr')].map((row) => row.lastElementChild.firstElementChild.dataset.value);
         return { url, rows, api: answer.points.map((point) => String(point.value)), curl: document.querySelectorAll('.copied code')[1].textContent };",
    );
    assert!(list(&asked["api"]).len() > 5 && asked["rows"] == asked["api"], "{asked:#}");
    assert_eq!(asked["curl"], format!("curl '{}'", asked["url"].as_str().expect("text")));
    let (status, refusal) = server.get("/api/analytics/dead_letters?source=nobody").expect("the server answers");
    assert_eq!((status, &refusal["status"]), (404, &404.into()), "{refusal:#}");
}

/// The theme stays chosen, and nothing is wider than a phone.
fn theme_and_width(browser: &Browser, server: &Server) {
    let theme = |browser: &Browser| browser.run("return document.documentElement.dataset.theme;");
    let before = theme(browser);
    browser.run("document.getElementById('theme').click();");
    let after = theme(browser);
    assert_ne!(before, after);
    browser.resize(500, 900);
    for section in ["figures", "metric/delay?by=carrier", "seam", "refused/flights", "ask"] {
        browser.go(&format!("{}/?{section}#/{section}", server.url));
        browser.wait("document.querySelector('main h1')");
        assert_eq!(theme(browser), after, "{section}");
        let wider = browser.run("return Math.max(0, document.documentElement.scrollWidth - innerWidth);");
        assert_eq!(wider, 0, "{section} is wider than the window");
    }
    browser.resize(1360, 900);
}
