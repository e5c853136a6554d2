//! Kafka Streams on the topic of the bench: a Java program of its own process, fetched and run through Maven.
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a run took.
pub struct Cost {
    /// From its start until every event was in its state.
    pub wall: f64,
    /// Processor seconds of its process, the virtual machine's start included.
    pub own: f64,
}

/// Aggregates `events` events of `topic` by minute and key. `None`, said loudly, without Java and Maven.
pub fn kafka_streams(bootstrap: &str, topic: &str, events: u64) -> Option<Cost> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/kafka-streams");
    let Some(jars) = jars(&folder) else {
        eprintln!("SKIPPED: Kafka Streams needs java and mvn");
        return None;
    };
    let mut java = Command::new("java");
    java.args(["-Xmx3g", "-cp"]).arg(format!("{}/*", jars.display())).arg(folder.join("PerMinute.java"));
    let output = java.args([bootstrap, topic, &events.to_string()]).output().expect("java runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [counted, wall, own] = numbers[..] else {
        panic!("Kafka Streams said {said:?} and {:?}", String::from_utf8_lossy(&output.stderr));
    };
    assert_eq!(counted as u64, events, "it counted every event");
    Some(Cost { wall, own })
}

/// The class path, in a cache folder.
fn jars(folder: &Path) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))?;
    let jars = cache.join("seam/peers/kafka-streams-4.1.1");
    if jars.is_dir() {
        return Some(jars);
    }
    let part = jars.with_extension("part");
    let mut maven = Command::new("mvn");
    maven.args(["--quiet", "--batch-mode", "--file"]).arg(folder.join("pom.xml")).arg("dependency:copy-dependencies");
    maven.args(["-DincludeScope=runtime", &format!("-DoutputDirectory={}", part.display())]);
    let fetched = maven.status().ok()?;
    if !fetched.success() {
        return None;
    }
    std::fs::rename(part, &jars).ok()?;
    Some(jars)
}
