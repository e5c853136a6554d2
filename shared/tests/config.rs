//! `seam.yaml`, good and bad: every bad file under `config/bad` gives the report beside it, word for word.
use std::path::{Path, PathBuf};

use seam_shared::config::{self, Config, MetricKind, Report, SpeedStorage};
use seam_shared::time::Span;
use seam_shared::view::definition::{Figure, StateKind};
use seam_shared::view::value::FieldType;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(name)
}

fn files(name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder(name)).expect("the folder is there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    paths
}

fn environment(name: &str) -> Option<String> {
    match name {
        "SEAM_TEST_PARTITIONS" => Some("3".to_owned()),
        "SEAM_TEST_EMPTY" => Some(String::new()),
        "SEAM_TEST_NAME" => Some("a: [b".to_owned()),
        _ => None,
    }
}

fn load(text: &str) -> Result<Config, Report> {
    config::load_with(text, "seam.yaml", &environment)
}

fn good(text: &str) -> Config {
    load(text).unwrap_or_else(|report| panic!("{report}"))
}

/// With `UPDATE_GOLDEN=1` the reports are written instead, to be read before they are committed.
#[test]
fn every_bad_file_gives_its_report() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let paths = files("bad");
    assert!(paths.len() >= 25, "only {} bad files", paths.len());
    let mut wrong = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("readable");
        let report = match load(&text) {
            Ok(_) => panic!("{} was accepted", path.display()),
            Err(report) => format!("{report}\n"),
        };
        let golden = path.with_extension("txt");
        if update {
            std::fs::write(&golden, &report).expect("writable");
        } else if std::fs::read_to_string(&golden).ok().as_deref() != Some(report.as_str()) {
            wrong.push(format!("{}:\n{report}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "reports changed:\n{}", wrong.join("\n"));
}

#[test]
fn every_good_file_is_accepted() {
    let paths = files("good");
    assert!(paths.len() >= 3, "only {} good files", paths.len());
    let whole = ["../seam.yaml", "../examples/measures.yaml", "../examples/click-stream-processor/seam.yaml"]
        .map(|p| Path::new(env!("CARGO_MANIFEST_DIR")).join(p));
    for path in paths.into_iter().chain(whole) {
        good(&std::fs::read_to_string(path).expect("readable"));
    }
}

const SMALL: &str = "
version: 1
sources:
  s:
    map: { id: $.id }
    fields: { a: string, b: bool, n: int, price: decimal(2), ratio: float, deep: { type: int, path: $.x.y } }
views:
  v:
    from: s
    dimensions: [a, b]
    windows: [5m, 1h]
    measures: { events: count(), price: stats(price), most: max(ratio), deep: avg(deep) }
";

#[test]
fn measures_share_what_they_can() {
    let text = std::fs::read_to_string(folder("good").join("measures.yaml")).expect("readable");
    let config = good(&text);
    let view = config.view("v").expect("declared");
    let state = |name: &str| view.measure(name).map(|measure| measure.state);
    assert_eq!(state("spread"), state("deviation"), "one field, one kind");
    assert_eq!(state("errors"), state("also_errors"), "one condition");
    assert_eq!(state("latency.p50"), state("most"), "one accuracy");
    assert_ne!(state("latency.p50"), state("fine.p50"));
    assert_ne!(state("users"), state("buyers"));
    assert_eq!(view.states.len(), 10, "{:?}", view.states);
    assert_eq!(
        config.metric("slow").map(|m| m.kind.measures()[0].definition().figure),
        Some(Figure::Quantile(975_000))
    );
    let inferred = config.source("inferred").expect("declared");
    let types: Vec<FieldType> =
        ["user", "delay", "page"].map(|f| inferred.fields[inferred.field(f).expect("used")].field_type).into();
    assert_eq!(types, [FieldType::String, FieldType::Float, FieldType::String]);
    let id = |text: &str| good(text).view("v").expect("declared").id.clone();
    assert_eq!(
        id(SMALL),
        id(&SMALL.replace("events: count()", "events: count(), again: count()")),
        "names do not count"
    );
    let changed = SMALL.replace("most: max(ratio)", "most: max(ratio), few: count() where n > 1");
    assert_ne!(id(SMALL), id(&changed));
    assert_ne!(id(&changed), id(&changed.replace("n > 1", "n > 2")));
    let bounds = SMALL.replace("most: max(ratio)", "most: max(ratio), h: \"histogram(n, [1])\"");
    assert_ne!(id(&bounds), id(&bounds.replace("[1]", "[2]")));
}

#[test]
fn a_file_becomes_typed() {
    let config = good(SMALL);
    let source = config.source("s").expect("declared");
    assert_eq!(source.id.as_deref(), Some(&["id".to_owned()][..]));
    assert_eq!(source.time, ["time"]);
    assert_eq!(source.partitions, 1);
    assert_eq!(source.fields[0].name, "type");
    let price = &source.fields[source.field("price").expect("declared")];
    assert_eq!(price.field_type, FieldType::Decimal(2));
    assert_eq!(source.fields[source.field("deep").expect("declared")].path, ["x", "y"]);
    assert_eq!(source.duplicates.map(|d| (d.horizon, d.max_records)), Some((Span(600_000_000), 1_000_000)));
    let view = config.view("v").expect("declared");
    assert_eq!(view.pane, Span(5 * 60_000_000), "the largest that divides 5m and 1h");
    let kinds: Vec<StateKind> = view.kinds();
    let fixed = |scale| StateKind::Fixed { scale };
    assert_eq!(kinds, [StateKind::Count, fixed(0), fixed(2), StateKind::Float], "a count, then deep, price, ratio");
    let names: Vec<&str> = view.measures.iter().map(|m| m.name.as_str()).collect();
    let stats = ["price.count", "price.sum", "price.avg", "price.min", "price.max"];
    assert_eq!(names, [&["events"][..], &stats, &["most", "deep"]].concat());
    assert_eq!(view.measure("most").map(|m| (m.state, m.figure)), Some((3, Figure::Max)));
    assert_eq!(config.metrics.len(), view.measures.len(), "without `metrics`, every measure is one");
    assert_eq!(config.metrics[0].name, "v.events");
    assert_eq!(config.batch.schedule.as_ref().map(|s| s.text().to_owned()), Some("*/15 * * * *".to_owned()));
    assert_eq!(config.dashboard.window, Span(5 * 60_000_000));
}

#[test]
fn fields_follow_from_the_views_where_none_are_declared() {
    let config = good(
        "{version: 1, sources: {s: {}}, views: {v: {from: s, dimensions: [a, x.y], measures: {m: sum(z), n: count()}}}}",
    );
    let source = config.source("s").expect("declared");
    let fields: Vec<_> = source.fields.iter().map(|f| (f.name.as_str(), f.path.join("/"), f.field_type)).collect();
    let text = FieldType::String;
    let expected = [("type", "type", text), ("a", "a", text), ("x.y", "x/y", text), ("z", "z", FieldType::Float)];
    assert_eq!(fields, expected.map(|(name, path, kind)| (name, path.to_owned(), kind)));
    assert_eq!(source.id, None);
    assert_eq!(source.duplicates, None);
    let view = config.view("v").expect("declared");
    assert_eq!(view.pane, Span(5 * 60_000_000));
    assert_eq!(view.windows.len(), 3);
}

#[test]
fn the_environment_is_filled_in_after_parsing() {
    let text =
        "{version: 1, name: \"${SEAM_TEST_NAME} $${X} ${SEAM_TEST_NONE:-y} ${SEAM_TEST_EMPTY:-z}${SEAM_TEST_EMPTY-q}\",
        sources: {s: {partitions: \"${SEAM_TEST_PARTITIONS}\"}}, views: {v: {from: s, measures: {m: count()}}}}";
    let config = good(text);
    assert_eq!(config.name, "a: [b ${X} y z");
    assert_eq!(config.source("s").map(|s| s.partitions), Some(3));
}

#[test]
fn a_metric_of_stats_without_a_suffix_is_the_average() {
    let config = good(&format!(
        "{SMALL}metrics: {{ price: {{ view: v, measure: price }}, r: {{ ratio: [price, n] }}, n: {{ view: v, measure: events }} }}\n"
    ));
    let MetricKind::Measure(price) = &config.metric("price").expect("declared").kind else { panic!("a measure") };
    assert_eq!(price.definition().name, "price.avg");
    let MetricKind::Ratio(above, below) = &config.metric("r").expect("declared").kind else { panic!("a ratio") };
    assert_eq!((above.definition().figure, below.definition().figure), (Figure::Avg, Figure::Count));
}

#[test]
fn a_redis_has_an_address_and_secrets_that_do_not_show() {
    let file = folder("good").join("redis.yaml");
    let config = good(&std::fs::read_to_string(file).expect("readable"));
    let SpeedStorage::Redis(redis) = &config.storage.speed else { panic!("{:?}", config.storage) };
    assert!(redis.cluster && redis.tls);
    assert_eq!((redis.hosts.len(), redis.namespace.as_str(), redis.timeout.as_secs()), (2, "shop", 2));
    assert_eq!((redis.user.as_deref(), redis.password.as_ref().map(|p| p.expose())), (Some("ann"), Some("geheim")));
    assert!(!format!("{config:?}").contains("geheim"), "a password is not printed");
    let plain = good(
        "{version: 1, name: shop, storage: {speed: \"redis://h\"}, sources: {s: {}}, views: {v: {from: s, measures: {m: count()}}}}",
    );
    let SpeedStorage::Redis(redis) = &plain.storage.speed else { panic!("{:?}", plain.storage) };
    assert_eq!(redis.namespace, "shop", "the deployment's name");
}

#[test]
fn a_recommendation_is_two_views_like_any() {
    let text = std::fs::read_to_string(folder("good").join("recommend.yaml")).expect("readable");
    let config = good(&text);
    let [products, pages] = config.recommendations.as_slice() else { panic!("{:?}", config.recommendations) };
    let dimensions = |view: &str| {
        let view = config.view(view).expect("made");
        (view.keyed, view.pane.to_string(), view.dimensions.iter().map(|d| d.name.as_str()).collect::<Vec<_>>())
    };
    assert_eq!(dimensions("recommend.products.interest"), (true, "1d".to_owned(), vec!["user_id", "category"]));
    assert_eq!(dimensions("recommend.products.items"), (false, "1d".to_owned(), vec!["product", "category"]));
    assert_eq!(dimensions("recommend.pages.interest"), (true, "1h".to_owned(), vec!["user_id", "page"]));
    assert_eq!(dimensions("recommend.pages.items"), (false, "1h".to_owned(), vec!["page"]));
    let view = &products.interest;
    let filter = view.filter.as_ref().expect("types count").display(&view.source.fields).to_string();
    assert_eq!(filter, r#"type in ["Purchase", "add-to-cart", "say \"hi\"", "view"]"#);
    let measures: Vec<&str> = view.measures.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(measures, ["purchase", "add_to_cart", "say__hi_", "view"]);
    let weights: Vec<u64> = products.events.iter().map(|(_, weight)| *weight).collect();
    assert_eq!(weights, [5_000, 2_500, 125, 1_000]);
    assert_eq!((products.weights.interest, products.weights.popularity, products.weights.recency), (600, 300, 100));
    assert_eq!((products.top, products.min_interval), (10, Some(Span::MINUTE)));
    assert_eq!((pages.events.len(), pages.weights, pages.window), (0, products.weights, Span(2 * Span::DAY.0)));
    assert!(config.metrics.is_empty() && config.dashboard.metrics.is_empty(), "they are no metrics");
    assert_eq!(config.batch.views.len(), 4, "and are computed");
    // an edition holds them as the views that they are
    let again = good(&config.definitions);
    assert_eq!(
        again.view("recommend.pages.items").expect("kept").id,
        config.view("recommend.pages.items").expect("made").id
    );
    // what scores are made of changes no view
    let other = good(
        &text.replace("view: 1,", "view: 3,").replace("half_life: 7d", "half_life: 9d").replace("top: 10", "top: 9"),
    );
    assert_eq!(other.view("recommend.products.items").expect("made").id, products.items.id);
    assert_ne!(
        good(&text.replace("Purchase", "buy")).view("recommend.products.items").expect("made").id,
        products.items.id
    );
}

#[test]
fn a_server_listens_on_an_address_or_on_this_machine_by_name() {
    let views = "{v: {from: s, measures: {m: count()}}}";
    let server =
        |settings: &str| load(&format!("{{version: 1, sources: {{s: {{}}}}, views: {views}, server: {settings}}}"));
    let local =
        server("{listen: \"localhost:9000\", connections: 3}").unwrap_or_else(|report| panic!("{report}")).server;
    assert_eq!((local.listen.to_string(), local.connections), ("127.0.0.1:9000".to_owned(), 3));
    let usual = server("{}").unwrap_or_else(|report| panic!("{report}")).server;
    assert_eq!((usual.listen.to_string(), usual.connections), ("127.0.0.1:8080".to_owned(), 10_000));
    for wrong in ["localhost:65536", "localhost", "example.com:80"] {
        let report = server(&format!("{{listen: {wrong:?}}}")).expect_err(wrong).to_string();
        assert!(report.contains("127.0.0.1:8080 or localhost:8080"), "{report}");
    }
    for wrong in ["0", "1000001", "many"] {
        assert!(server(&format!("{{connections: {wrong}}}")).is_err(), "{wrong}");
    }
}
