//! Every key of the file, in one table: what the check demands and what the JSON Schema tells editors are both read from it.
use super::shape::{Choice, Key, Shape};

const fn key(name: &'static str, shape: &'static Shape, help: &'static str) -> Key {
    Key { name, shape: Some(shape), required: false, help }
}
const fn required(name: &'static str, shape: &'static Shape, help: &'static str) -> Key {
    Key { name, shape: Some(shape), required: true, help }
}
const fn later(name: &'static str) -> Key {
    Key { name, shape: None, required: false, help: "" }
}
const fn word(word: &'static str) -> Choice {
    Choice { word, refused: None }
}
const fn refused(word: &'static str, reason: &'static str) -> Choice {
    Choice { word, refused: Some(reason) }
}

/// No receiver takes a larger body, whatever is configured.
const BODY_MAX: u64 = 64 << 20;
const NOT_YET: &str = "is not supported yet";
static NAMES: Shape = Shape::List(&Shape::Text, 0);
static SOME_NAMES: Shape = Shape::List(&Shape::Text, 1);

/// The whole file.
pub(super) static FILE: Shape = Shape::Table(&[
    required("version", &Shape::Integer(super::VERSION, super::VERSION), "the version of this format, 1"),
    key("name", &Shape::Text, "what the deployment is called; `seam` by default"),
    key("storage", &STORAGE, "where log, state and lake are; everything has an embedded default"),
    required("sources", &Shape::Named("source", &SOURCE), "the checked feeds of events, by name"),
    required("views", &Shape::Named("view", &VIEW), "the declared aggregates, by name"),
    key("metrics", &Shape::Named("metric", &METRIC), "the public names; by default <view>.<measure> for every measure"),
    key("dashboard", &DASHBOARD, "what the dashboard shows"),
    key("batch", &BATCH, "when the batch layer recomputes"),
    key("server", &SERVER, "the HTTP server"),
    key("alerts", &Shape::List(&ALERT_GROUP, 0), "alert rules: the `groups` of a Prometheus rule file, word for word"),
    later("enrich"),
    key("notify", &Shape::List(&RECEIVER, 1), "who is told of alerts; the process's own log by default"),
    key("recommend", &Shape::Named("recommendation", &RECOMMENDATION), "what is recommended to users, by name"),
    key("tests", &Shape::List(&TEST, 0), "what `seam test` runs: events, a question, and what its answer must say"),
]);

static STORAGE: Shape = Shape::Table(&[
    key("archive", &Shape::Text, "the lake's URL; file://./data by default"),
    key("directory", &Shape::Text, "where the embedded log and state are kept; ./data by default"),
    key(
        "speed",
        &Shape::Text,
        "the state store: embedded (default), memory, or a Redis: redis://user:password@host:6379/0, rediss:// with TLS, \
         redis+cluster:// or several hosts for a cluster",
    ),
    key("redis", &REDIS, "more about the Redis that is the state store"),
    key("log", &Shape::Text, "the log: embedded, or Kafka's brokers like host:9092,host:9092"),
    key("retain_log", &Shape::Duration, "how long the embedded log keeps what is archived and covered; 1d by default"),
    key(
        "retain_replaced",
        &Shape::Duration,
        "how long the state of a replaced definition is kept after the new one took its name over; 1h by default",
    ),
    key("kafka", &KAFKA, "how to reach Kafka"),
]);
static KAFKA: Shape = Shape::Table(&[
    key(
        "prefix",
        &Shape::Text,
        "what the names of Seam's own topics, groups and transactional ids begin with, so that deployments share a cluster; none \
         by default",
    ),
    key("replication", &Shape::Integer(1, 32_767), "copies of the topics that Seam creates; the cluster's own default"),
    key(
        "properties",
        &Shape::Named("property", &Shape::Scalar),
        "properties of librdkafka, like security.protocol, sasl.username and ssl.ca.location",
    ),
]);

static REDIS: Shape = Shape::Table(&[
    key("namespace", &Shape::Text, "the first part of every key; the deployment's name by default"),
    key("user", &Shape::Text, "the user of the access control list, if the URL does not name it"),
    key("password", &Shape::Text, "the password, if it is not in the URL; write it like ${REDIS_PASSWORD}"),
    key("certificates", &Shape::Text, "a file with the certificates to trust (PEM) instead of the system's"),
    key("timeout", &Shape::Duration, "how long a connection or an answer may take; 5s by default"),
]);

static SOURCE: Shape = Shape::Table(&[
    key("partitions", &Shape::Integer(1, 1024), "partitions of the topic when it is created; 1 by default"),
    key("http", &HTTP, "how POST /v1/events/<source> takes events; every format by default"),
    key("map", &MAP, "where an event's id, time and type lie"),
    key("fields", &Shape::Named("field", &FIELD), "the typed fields; by default they follow from the views"),
    key(
        "retract",
        &Shape::Text,
        "which events take back what an earlier one said, e.g. op = \"d\": they subtract; none by default",
    ),
    key("dedupe", &Shape::Either(&DEDUPE_WORD, &DEDUPE), "when two events are one; on by default if there is an id"),
    key("segment", &SEGMENT, "where segments end"),
    later("files"),
    key("kafka", &TOPIC, "the Kafka topic that other programs write"),
    later("on_error"),
    later("schema"),
]);

static TOPIC: Shape = Shape::Table(&[
    required("topic", &Shape::Text, "the topic's name; its records are the source's events"),
    key("format", &Shape::OneOf(&TOPIC_FORMATS), "what the records are: json, one event a record"),
]);
static TOPIC_FORMATS: [Choice; 4] =
    [word("json"), refused("avro", NOT_YET), refused("protobuf", NOT_YET), refused("debezium", NOT_YET)];
static HTTP: Shape =
    Shape::Table(&[key("formats", &Shape::List(&Shape::OneOf(&FORMATS), 1), "the body formats that are accepted")]);
/// The body formats; [`super::Format`] in words.
pub(super) static FORMATS: [Choice; 5] =
    [word("json"), word("ndjson"), word("cloudevents"), word("csv"), refused("segment", NOT_YET)];
static MAP: Shape = Shape::Table(&[
    key("id", &Shape::Path, "where the id lies; without it, events have none and duplicates are not found"),
    key("time", &Shape::Path, "where the event time lies; $.time by default"),
    key("type", &Shape::Path, "where the type lies, a text field named `type`; $.type by default"),
]);
static FIELD: Shape = Shape::Either(
    &Shape::FieldType,
    &Shape::Table(&[
        required(
            "type",
            &Shape::FieldType,
            "string, bool, int, float, decimal(digits after the point), or url: text that is brought into the normal form of URLs",
        ),
        key("path", &Shape::Path, "where it lies in the event; $.<name> by default"),
        key(
            "query",
            &Shape::OneOf(&URL_QUERY),
            "of a url: keep its query, sorted and without tracking (default), or drop it",
        ),
        key("optional", &Shape::Flag, "a value of another type counts as none; a field that is added later must be so"),
        key("was", &Shape::FieldType, "the narrower type that it had before: int, or a decimal of fewer digits"),
    ]),
);
static URL_QUERY: [Choice; 2] = [word("keep"), word("drop")];
static DEDUPE_WORD: Shape = Shape::OneOf(&[word("off")]);
static DEDUPE: Shape = Shape::Table(&[
    key("horizon", &Shape::Duration, "how far back in log time an id is remembered; 10m by default"),
    key("max_records", &Shape::Integer(1, 1 << 40), "how many records back an id is remembered; 1000000 by default"),
]);
static SEGMENT: Shape = Shape::Table(&[
    key("events", &Shape::Integer(1, 1 << 32), "records in a full segment; 65536 by default"),
    key("interval", &Shape::Duration, "the grid of log time that ends segments; 1m by default"),
]);

static VIEW: Shape = Shape::Table(&[
    required("from", &Shape::Text, "the source's name"),
    key("where", &Shape::Text, "which events count, e.g. type = \"click\" and price > 0; all by default"),
    key("time", &Shape::OneOf(&[word("time")]), "the event time; `time` is the only one"),
    key("dimensions", &NAMES, "the fields that keys are made of; none by default"),
    key(
        "count_window",
        &Shape::Integer(1, 1 << 48),
        "every so many events of a key, in log order, are a window: the view gets the dimensions partition and count_window",
    ),
    key(
        "pane",
        &Shape::Duration,
        "the smallest time bucket, an even part of a day; by default the largest that divides all windows, at most 15m",
    ),
    key(
        "windows",
        &Shape::List(&Shape::Duration, 1),
        "the windows offered, multiples of the pane; 5m, 1h and 1d by default",
    ),
    key(
        "keyed",
        &Shape::Flag,
        "for keys of millions of values, like users: files lie by key, so that one key is read without the others; false by \
         default",
    ),
    required(
        "measures",
        &Shape::Named("measure", &Shape::Text),
        "what is measured, by name: count(), stats(f), distinct(f), quantiles(f) and so on, each with `where …` if need be",
    ),
    key("sink", &SINK, "where its changes go: a topic, or standard output"),
    later("key"),
    later("retain"),
    later("window"),
]);

static SINK: Shape = Shape::Table(&[
    key("topic", &Shape::Text, "a topic, of Kafka or of the embedded log; created if it does not exist"),
    key("stdout", &Shape::OneOf(&[word("ndjson")]), "standard output, one JSON object a line"),
    key(
        "mode",
        &Shape::OneOf(&OUTPUT_MODES),
        "complete: all groups; append: each once, when its window is complete; update (default): those that changed",
    ),
    key("trigger", &Shape::Duration, "how often, at multiples of it in wall time; 1m by default"),
    key("window", &Shape::Duration, "the length of its windows, a multiple of the pane; the pane by default"),
    key(
        "last",
        &Shape::Duration,
        "of the windows before the first output (of complete, of each), only those that ended so shortly before; all by default",
    ),
    key("partitions", &Shape::Integer(1, 100_000), "partitions of the topic when it is created; 1 by default"),
    key("compact", &Shape::Flag, "create the topic compacted, so that it keeps the last record of each key"),
]);
static OUTPUT_MODES: [Choice; 3] = [word("complete"), word("append"), word("update")];

static METRIC: Shape = Shape::Table(&[
    key("view", &Shape::Text, "the view"),
    key("measure", &Shape::Text, "its measure; for stats(f) without a suffix, the average"),
    key("where", &Shape::Text, "which keys count: a condition over the view's dimensions"),
    key("ratio", &SOME_NAMES, "two metrics: the first is divided by the second"),
    key("rate", &Shape::Text, "a metric that is divided by the time that a window covers"),
    key("per", &Shape::Duration, "the time that a rate is said of; 1s by default"),
    key("help", &Shape::Text, "what it means, for people"),
    key("unit", &Shape::Text, "the unit of its value"),
]);

static RECOMMENDATION: Shape = Shape::Table(&[
    required("from", &Shape::Text, "the source's name"),
    required("user", &Shape::Text, "the field that names the user"),
    required("item", &Shape::Text, "the field that names what is recommended"),
    key("category", &Shape::Text, "the field that interest is told by; the item itself by default"),
    key(
        "events",
        &Shape::Anything,
        "the types of the events that count: a list, or each with its weight, from 0 to 1000; all count 1 by default",
    ),
    key("score", &SCORE, "what the parts of a score weigh; 0.6, 0.3 and 0.1 by default"),
    key("half_life", &Shape::Duration, "after so long an event counts half; 7d by default"),
    key("window", &Shape::Duration, "older events do not count; 30d by default"),
    key("pane", &Shape::Duration, "how finely ages are told; 1d by default, 1h if the half-life is shorter than 1d"),
    key(
        "top",
        &Shape::Integer(1, super::RECOMMENDED_MAX as i64),
        "items of an answer that does not ask for a number; 10 by default",
    ),
    key("min_interval", &Shape::Duration, "a user's answer is given again for so long; by default each is made anew"),
]);
static SCORE: Shape = Shape::Table(&[
    required("interest", &Shape::Scalar, "the user's interest in the item's category"),
    required("popularity", &Shape::Scalar, "how often the item occurs"),
    required("recency", &Shape::Scalar, "how lately it did"),
]);

static DASHBOARD: Shape = Shape::Table(&[
    key(
        "window",
        &Shape::Duration,
        "the window of every figure, a multiple of every pane; by default the smallest that fits",
    ),
    key("metrics", &NAMES, "the metrics shown, in order; all by default, but for those of keyed views"),
]);

static BATCH: Shape = Shape::Table(&[
    key(
        "schedule",
        &Shape::Cron,
        "five fields of cron, @hourly and the like, @every 30s, or off; */15 * * * * by default",
    ),
    key("timezone", &Shape::Zone, "the time zone of the schedule; UTC by default"),
    key(
        "concurrency",
        &Shape::OneOf(&CONCURRENCY),
        "what happens when the last run is still going: forbid skips the new one",
    ),
    key("starting_deadline", &Shape::Duration, "how late a run may start before it is left out; 10m by default"),
    key("views", &SOME_NAMES, "the views to compute; all by default"),
    key(
        "mode",
        &Shape::OneOf(&MODES),
        "lambda (default), or kappa: no batch layer, views are rebuilt by replaying the log, which must keep everything",
    ),
]);
static MODES: [Choice; 2] = [word("lambda"), word("kappa")];
static CONCURRENCY: [Choice; 3] = [
    word("forbid"),
    refused("replace", NOT_YET),
    refused("allow", "is not possible: two runs would compute the same generation"),
];

static TEST: Shape = Shape::Table(&[
    required("name", &Shape::Text, "what the test is called"),
    required("events", &Shape::List(&Shape::Anything, 0), "the events in order of arrival"),
    required(
        "query",
        &Shape::Named("parameter", &Shape::Either(&Shape::Scalar, &Shape::List(&Shape::Scalar, 1))),
        "the metric, and the parameters of the HTTP API",
    ),
    required(
        "expect",
        &Shape::List(&Shape::Anything, 0),
        "the rows of the answer; members that are left out do not matter",
    ),
    key("layers", &Shape::List(&Shape::OneOf(&TEST_LAYERS), 1), "the layers that must say so; all three by default"),
]);
static TEST_LAYERS: [Choice; 3] = [word("speed"), word("batch"), word("merged")];

static SERVER: Shape = Shape::Table(&[
    key("listen", &Shape::Address, "address (or localhost) and port; 127.0.0.1:8080 by default"),
    key("connections", &Shape::Integer(1, 1_000_000), "connections at once; 10000 by default"),
    key("query_timeout", &Shape::Duration, "how long a query may take that does not say; 10s by default"),
    key(
        "max_body",
        &Shape::Size(BODY_MAX),
        "the largest request body after decompression, at most 64MiB; 16MiB by default",
    ),
    key("access", &ACCESS, "who may ask; without it, only this machine can reach the server, and may do everything"),
    key("tls", &TLS, "the certificate to serve https with"),
    key(
        "cors",
        &SOME_NAMES,
        "the origins whose pages may ask from a browser, like https://dash.example.com; none by default",
    ),
    key(
        "hosts",
        &SOME_NAMES,
        "the names that browsers know this server by, like seam.example.com; others are refused if there are any, or if there are no keys",
    ),
    key("insecure", &Shape::Flag, "listen beyond this machine although nobody has to say who it is"),
    key("prometheus", &PROMETHEUS, "limits of the Prometheus API"),
    key("sql", &SQL, "SQL over the PostgreSQL wire protocol; off unless it is here"),
]);
static PROMETHEUS: Shape = Shape::Table(&[
    key("max_series", &Shape::Integer(1, 10_000_000), "series that one selector may have; 50000 by default"),
    key("timeout", &Shape::Duration, "how long a query may take at most; 30s by default"),
]);
static SQL: Shape = Shape::Table(&[
    key("listen", &Shape::Address, "address (or localhost) and port; 127.0.0.1:5433 by default"),
    key("user", &Shape::Text, "the user that clients log in as; seam by default"),
    key(
        "password",
        &Shape::Text,
        "its password; write it like ${SQL_PASSWORD}. Without one only loopback may be listened on",
    ),
    key("timeout", &Shape::Duration, "how long a statement may take; 30s by default"),
    key("max_rows", &Shape::Integer(1, 1 << 32), "rows of views that a statement may read; 1000000 by default"),
    key("max_memory", &Shape::Size(1 << 40), "memory that a statement's process may take; 1GiB by default"),
]);
static TLS: Shape = Shape::Table(&[
    required("certificate", &Shape::Text, "a file with the certificate and those that lead to a trusted one (PEM)"),
    required("key", &Shape::Text, "a file with its private key (PEM)"),
]);
static ACCESS: Shape = Shape::Table(&[
    key(
        "keys",
        &Shape::Either(&Shape::Text, &KEY_LIST),
        "a file of keys, or the keys themselves; `seam keys create` makes them",
    ),
    key("jwt", &JWT, "tokens that somebody else signs"),
    key("failures", &Shape::Text, "wrong keys that one address may try, like 30/m (default); or off"),
]);
static KEY_LIST: Shape = Shape::List(&KEY, 1);
static KEY: Shape = Shape::Table(&[
    required("name", &Shape::Text, "what the key is called in lists and logs"),
    required("hash", &Shape::Text, "the key's hash, as `seam keys create` prints it"),
    required(
        "scopes",
        &SOME_NAMES,
        "what it is for: ingest:<source>, query:<view>, metrics, admin; * stands for all names",
    ),
    key("expires", &Shape::Text, "when it ends, like 2027-01-01T00:00:00Z; never by default"),
    key("rate", &Shape::Text, "requests that it may send, like 100/s; any number by default"),
    key("filter", &Shape::Named("dimension", &NAMES), "the rows that it may see: values by dimension; all by default"),
]);
static JWT: Shape = Shape::Table(&[
    required("jwks", &Shape::Text, "the issuer's public keys (JWKS): a URL, or a file"),
    required("issuer", &Shape::Text, "what the claim `iss` must be"),
    required("audience", &Shape::Text, "what the claim `aud` must hold"),
    key("refresh", &Shape::Duration, "how long the public keys are kept; 5m by default"),
]);

/// A file of keys.
pub(super) static KEYS_FILE: Shape =
    Shape::Table(&[required("keys", &Shape::List(&KEY, 0), "the keys; `seam keys create` makes them")]);

static ALERT_GROUP: Shape = Shape::Table(&[
    required("name", &Shape::Text, "what the group is called"),
    key("interval", &Shape::Duration, "how often its rules are evaluated; 1m by default"),
    key(
        "limit",
        &Shape::Integer(0, 1 << 20),
        "the most alerts that one rule may have at a time; 0, the default: any number",
    ),
    required("rules", &Shape::List(&ALERT_RULE, 0), "the rules, which are evaluated at one moment"),
    later("query_offset"),
    later("labels"),
]);
static ALERT_RULE: Shape = Shape::Table(&[
    required("alert", &Shape::Text, "what the alert is called"),
    required("expr", &Shape::Text, "PromQL; each series that it answers with is an alert"),
    key("for", &Shape::Delay, "how long it must answer so before the alert fires; at once by default"),
    key("keep_firing_for", &Shape::Delay, "how long the alert goes on firing after it no longer does; 0 by default"),
    key("labels", &Shape::Labels, "labels of the alert; `severity` is info, warning (the default) or critical"),
    key("annotations", &Shape::Labels, "what people are told, like summary and description"),
    later("record"),
]);
/// The severities; [`super::Severity`] in words.
pub(super) static SEVERITIES: [Choice; 3] = [word("info"), word("warning"), word("critical")];
static RECEIVER: Shape = Shape::Either(
    &Shape::OneOf(&[word("log")]),
    &Shape::Table(&[
        key("alertmanager", &Shape::Scalar, "the URL of an Alertmanager; an empty one is passed over"),
        key("webhook", &WEBHOOK, "a URL that each alert is posted to when it fires and when it is resolved"),
    ]),
);
static WEBHOOK: Shape = Shape::Table(&[
    required("url", &Shape::Scalar, "the URL; an empty one is passed over"),
    key(
        "format",
        &Shape::OneOf(&[word("generic"), word("slack")]),
        "generic: the body of Alertmanager's webhooks, version 4 (default); slack: a text",
    ),
    key("severity", &Shape::List(&Shape::OneOf(&SEVERITIES), 1), "only alerts of these severities; all by default"),
]);
