//! Real clients: promtool, and the way of an alert from vmalert over alertmanager to a webhook.
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Json;
use axum::routing::post;

use super::*;

/// Whether all programs are installed; if not, says so, and fails where nothing may be skipped.
fn installed(programs: &[&str]) -> bool {
    let has = |program: &str| {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
    };
    let missing: Vec<&&str> = programs.iter().filter(|program| !has(program)).collect();
    if missing.is_empty() {
        return true;
    }
    let advice = "infra/services/services.sh install prometheus alerting";
    assert!(std::env::var_os("CI").is_none(), "in CI nothing is skipped: {missing:?} are missing; {advice}");
    eprintln!("SKIPPED: {missing:?} ARE NOT INSTALLED: {advice}");
    false
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// Serves a router on this machine; its address.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
    let address = listener.local_addr().expect("a bound listener has an address");
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves until the test ends") });
    format!("http://{address}")
}

/// What a program writes, with its success.
async fn output(program: &'static str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let done = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.success(), text(&done.stdout) + &text(&done.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_understands_the_answers() {
    if !installed(&["promtool"]) {
        return;
    }
    let (_, _, router) = world(6, 2, true).await;
    let url = serve(router.clone()).await + "/prometheus";
    let (at, from) = (AT.to_string(), (AT - 600).to_string());
    let ask = |arguments: Vec<&'static str>| {
        let mut all = vec!["query"];
        all.extend(arguments);
        all
    };
    let expected = instant(&router, "sum(increase(events_total[1h]))", AT).await["{}"];
    let mut arguments = ask(vec!["instant", "--time"]);
    arguments.extend([at.as_str(), url.as_str(), "sum(increase(events_total[1h]))"]);
    assert_eq!(output("promtool", &arguments).await, (true, format!("{{}} => {expected} @[{AT}]\n")));
    let mut arguments = ask(vec!["range", "--start"]);
    arguments.extend([from.as_str(), "--end", at.as_str(), "--step", "1m", url.as_str(), "errors_rate:1h"]);
    let (fine, text) = output("promtool", &arguments).await;
    assert!(fine && text.contains("carrier=\"UA\"") && text.contains(&format!("@[{AT}]")), "{text}");
    let mut arguments = ask(vec!["labels"]);
    arguments.extend([url.as_str(), "carrier"]);
    assert_eq!(output("promtool", &arguments).await, (true, "AA\nUA\na,b\n".to_owned()));
    let mut arguments = ask(vec!["series", "--match"]);
    arguments.extend(["carriers{carrier=\"UA\"}", url.as_str()]);
    assert_eq!(output("promtool", &arguments).await, (true, "{__name__=\"carriers\", carrier=\"UA\"}\n".to_owned()));
    let mut arguments = ask(vec!["instant"]);
    arguments.extend([url.as_str(), "histogram_quantile(0.9, events_total)"]);
    let (fine, text) = output("promtool", &arguments).await;
    assert!(!fine && text.contains("outside the supported subset"), "{text}");
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("seam-alert-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("made");
        Folder(path)
    }
    fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.0.join(name), text).expect("written");
        self.0.join(name).display().to_string()
    }
    fn run(&self, program: &str, arguments: &[String]) -> Running {
        let log = std::fs::File::create(self.0.join(format!("{program}.log"))).expect("made");
        let child =
            Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        Running(child.expect("it starts"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_finds_its_way() {
    if !installed(&["vmalert", "prometheus-alertmanager"]) {
        return;
    }
    let (_, _, router) = world(7, 2, true).await;
    let expected = instant(&router, "sum by (carrier) (events_total)", AT).await;
    let url = serve(router).await + "/prometheus";
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel::<Value>();
    let hook = post(move |Json(body): Json<Value>| {
        let sent = sender.send(body);
        async move { drop(sent) }
    });
    let webhook = serve(Router::new().route("/hook", hook)).await + "/hook";
    let folder = Folder::new();
    let routes = format!(
        "route: {{ receiver: hook, group_wait: 0s, group_by: [alertname] }}\nreceivers: [{{ name: hook, webhook_configs: [{{ url: \"{webhook}\" }}] }}]\n"
    );
    let rules = "groups:\n  - name: shop\n    interval: 1s\n    rules:\n      - alert: ManyEvents\n        expr: sum by (carrier) (by_route_events_total{carrier=\"UA\"}) > 3\n        labels: { severity: page }\n        annotations: { summary: \"{{ $labels.carrier }} has {{ $value }}\" }\n";
    let alerting = format!("127.0.0.1:{}", free_port());
    let _alertmanager = folder.run(
        "prometheus-alertmanager",
        &[
            format!("--config.file={}", folder.file("alertmanager.yaml", &routes)),
            format!("--storage.path={}", folder.0.display()),
            format!("--web.listen-address={alerting}"),
            "--cluster.listen-address=".to_owned(),
        ],
    );
    let _vmalert = folder.run(
        "vmalert",
        &[
            format!("-rule={}", folder.file("rules.yaml", rules)),
            format!("-datasource.url={url}"),
            format!("-notifier.url=http://{alerting}"),
            format!("-httpListenAddr=127.0.0.1:{}", free_port()),
            "-evaluationInterval=1s".to_owned(),
        ],
    );
    let body = tokio::time::timeout(Duration::from_secs(60), received.recv()).await;
    let log = || std::fs::read_to_string(folder.0.join("vmalert.log")).unwrap_or_default();
    let body = body.unwrap_or_else(|_| panic!("no alert came: {}", log())).expect("the webhook is there");
    let alert = &body["alerts"][0];
    assert_eq!((&body["status"], &alert["labels"]["severity"]), (&"firing".into(), &"page".into()), "{body}");
    let summary = format!("UA has {}", expected["{\"carrier\":\"UA\"}"]);
    assert_eq!(alert["annotations"]["summary"], summary.as_str());
}
