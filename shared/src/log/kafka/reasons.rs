//! Why a cluster cannot be used, when all that a request says is that nobody answered: certificates, names, passwords.
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::lock::lock;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};

/// How long a connection is given to fail.
const PATIENCE: Duration = Duration::from_secs(5);
/// What librdkafka says of a certificate that it does not accept.
const NOT_VERIFIED: &str = "certificate verify failed";

/// What librdkafka supposes of a broker that hangs up on it.
const TLS_PORT: &str = "SSL listener";

/// Keeps the first trouble.
#[derive(Debug, Clone, Default)]
struct Listener(Arc<Mutex<Option<(Code, String)>>>);

impl Listener {
    fn hear(&self, code: Code, reason: &str) {
        let mut heard = lock(&self.0);
        heard.get_or_insert_with(|| (code, reason.to_owned()));
    }

    fn heard(&self) -> Option<(Code, String)> {
        lock(&self.0).clone()
    }
}

impl ClientContext for Listener {
    /// That a connection was closed early is told by a line alone: what speaks TLS does so to whom does not.
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "FAIL" && message.contains(TLS_PORT) {
            self.hear(Code::BrokerTransportFailure, message);
        }
    }
    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code().filter(|code| *code != Code::AllBrokersDown) {
            self.hear(code, reason);
        }
    }
}

impl ProducerContext for Listener {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// How an attempt to connect ended.
enum Attempt {
    /// It worked.
    Connected,
    /// Trouble, in librdkafka's words.
    Failed(Code, String),
    /// Nobody said anything.
    Silence,
}

/// Connects with a client of its own, as librdkafka tells its clients' troubles to nobody who waits for an answer. What is wrong and
/// what to do; `None` if that is not known. Blocks for a few seconds.
pub(super) fn why(config: &ClientConfig) -> Option<String> {
    let (code, reason) = match attempt(config) {
        Attempt::Connected => return None,
        Attempt::Failed(code, reason) => (code, reason),
        // A broker waits for what is not TLS to become TLS.
        Attempt::Silence if !config.get("security.protocol").is_some_and(|protocol| protocol.ends_with("SSL")) => {
            (Code::BrokerTransportFailure, TLS_PORT.to_owned())
        }
        Attempt::Silence => return None,
    };
    Some(match code {
        _ if reason.contains(NOT_VERIFIED) => certificate(config),
        _ if code == Code::SSL || reason.contains("SSL routines") => format!(
            "TLS fails: {reason}. If the brokers want a certificate of their clients, set ssl.certificate.location and \
             ssl.key.location (PEM files) in storage.kafka.properties"
        ),
        Code::Authentication => format!(
            "the brokers do not accept who we are: {reason}. Look at sasl.mechanism, sasl.username and sasl.password in \
             storage.kafka.properties"
        ),
        Code::Resolve => format!("{reason}: is the name in storage.log right?"),
        _ if reason.contains(TLS_PORT) => format!(
            "{} takes connections and does not answer: if the brokers speak TLS there, set security.protocol to SSL or SASL_SSL in \
             storage.kafka.properties",
            config.get("bootstrap.servers").unwrap_or_default()
        ),
        _ => reason,
    })
}

/// What is wrong with a certificate that was not accepted: tried without looking at names, and without telling any password.
fn certificate(config: &ClientConfig) -> String {
    let mut nameless = config.clone();
    nameless.set("security.protocol", "SSL").set("ssl.endpoint.identification.algorithm", "none");
    let brokers = config.get("bootstrap.servers").unwrap_or_default();
    let name = format!(
        "is for another name than {brokers}: write the name that it holds (subjectAltName) in storage.log and in the brokers' \
         advertised.listeners, or have a certificate made for this one"
    );
    let known = config.get("ssl.ca.location").map_or("the system's authorities".to_owned(), |file| format!("`{file}`"));
    let signature = format!(
        "is not signed by {known}: set ssl.ca.location in storage.kafka.properties to the PEM file of the authority that signed it"
    );
    let wrong = match attempt(&nameless) {
        Attempt::Failed(_, reason) if reason.contains(NOT_VERIFIED) => signature,
        Attempt::Connected | Attempt::Failed(..) => name,
        Attempt::Silence => format!("{signature}; or it {name}"),
    };
    format!("the brokers' certificate {wrong}")
}

/// Makes a new client and lets it connect.
fn attempt(config: &ClientConfig) -> Attempt {
    let listener = Listener::default();
    let Ok(client) = config.create_with_context::<_, BaseProducer<Listener>>(listener.clone()) else {
        return Attempt::Silence;
    };
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        // Without a request nothing would be connected to. Errors come among log lines.
        if client.client().fetch_metadata(None, Duration::from_millis(200)).is_ok() {
            return Attempt::Connected;
        }
        client.poll(Duration::from_millis(100));
        if let Some((code, reason)) = listener.heard() {
            return Attempt::Failed(code, reason);
        }
    }
    Attempt::Silence
}
