//! Real services for tests: each starts on free ports of the loopback in a folder of its own, and is killed when it is dropped
//! or when the process of the test ends, however that comes about.
//!
//! ```no_run
//! use seam_services::Redis;
//!
//! let Some(redis) = Redis::start(&["appendonly yes"]) else { return };   // not installed: said loudly; with CI set, a failure
//! redis.process.kill();                                                  // kill -9
//! redis.process.restart();                                               // the same port and folder
//! ```
//!
//! `infra/services/services.sh install` installs what they need.
mod certificates;
mod clouds;
mod kafka;
mod ports;
mod process;
mod proxy;
mod redis;
mod s3;

pub use certificates::Certificates;
pub use clouds::Cloud;
pub use kafka::{Kafka, KafkaCluster, SecureKafka};
pub use ports::{free_port, free_port_below};
pub use process::Process;
pub use proxy::Proxy;
pub use redis::{Info, Redis, RedisCluster, RedisPair};
pub use s3::S3;

/// The script that installs and starts the services.
pub(crate) const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/services/services.sh");

/// Whether `service` (redis, kafka, s3, azure, gcs, prometheus, grafana, schemathesis) is installed. If not, says so loudly.
///
/// # Panics
/// If it is not installed and `CI` is set: there, a test that was skipped is a failure.
pub fn installed(service: &str) -> bool {
    let check = std::process::Command::new(SCRIPT).args(["check", service]).output();
    let check = check.expect("the script that checks for services runs");
    if check.status.success() {
        return true;
    }
    skipped(
        String::from_utf8_lossy(&check.stderr).trim_end(),
        &format!("infra/services/services.sh install {service}"),
    );
    false
}

/// Says loudly that a test cannot be made, why, and what would help.
///
/// # Panics
/// If `CI` is set: there, a test that was skipped is a failure.
pub fn skipped(why: &str, advice: &str) {
    assert!(std::env::var_os("CI").is_none(), "in CI nothing may be skipped: {why}; {advice}");
    eprintln!("SKIPPED: {why}; {advice}");
}
