//! Other systems on the topic of the bench: Java programs, each a process of its own, fetched through Maven.
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a run took.
pub struct Cost {
    /// From its start until every event was in its state.
    pub wall: f64,
    /// Processor seconds of its process, the virtual machine's start included.
    pub own: f64,
}

/// A system: the class `PerMinute` of a folder beside this file.
pub struct Peer {
    /// What the report calls it.
    pub name: &'static str,
    folder: &'static str,
    /// Of its class path, in the cache; another version gets another one.
    version: &'static str,
    /// Packages of `java.base` that it looks into.
    opened: &'static [&'static str],
}

/// All of them, slowest to fetch last.
pub const PEERS: [Peer; 2] = [
    Peer { name: "Kafka Streams, exactly_once_v2", folder: "kafka-streams", version: "4.1.1", opened: &[] },
    Peer {
        name: "Flink, a checkpoint each second",
        folder: "flink",
        version: "2.0.0",
        opened: &["java.lang", "java.nio", "java.time", "java.util"],
    },
];

impl Peer {
    /// Aggregates `events` events of `topic` by minute and key. `None`, said loudly, without a JDK and Maven.
    pub fn run(&self, bootstrap: &str, topic: &str, events: u64) -> Option<Cost> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(self.folder);
        let Some(jars) = self.jars(&folder) else {
            eprintln!("SKIPPED: {} needs java, javac and mvn", self.name);
            return None;
        };
        let classes = tempfile::tempdir().expect("a temporary folder can be made");
        let path = format!("{}:{}/*", classes.path().display(), jars.display());
        let mut compiler = Command::new("javac");
        compiler.args(["-nowarn", "-cp", &path, "-d"]).arg(classes.path()).arg(folder.join("PerMinute.java"));
        assert!(compiler.status().is_ok_and(|status| status.success()), "{} is compiled", self.name);
        let mut java = Command::new("java");
        java.args(self.opened.iter().map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED")));
        java.args(["-Xmx3g", "-cp", &path, "PerMinute", bootstrap, topic, &events.to_string()]);
        let output = java.output().expect("java runs");
        let said = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [counted, wall, own] = numbers[..] else {
            panic!("{} said {said:?} and {:?}", self.name, String::from_utf8_lossy(&output.stderr));
        };
        assert_eq!(counted as u64, events, "it counted every event");
        Some(Cost { wall, own })
    }

    /// The class path, in a cache folder.
    fn jars(&self, folder: &Path) -> Option<PathBuf> {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))?;
        let jars = cache.join("seam/peers").join(format!("{}-{}", self.folder, self.version));
        if jars.is_dir() {
            return Some(jars);
        }
        let part = jars.with_extension("part");
        let mut maven = Command::new("mvn");
        maven.args(["--quiet", "--batch-mode", "--file"]).arg(folder.join("pom.xml"));
        maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
        let fetched = maven.arg(format!("-DoutputDirectory={}", part.display())).status().ok()?;
        if !fetched.success() {
            return None;
        }
        std::fs::rename(part, &jars).ok()?;
        Some(jars)
    }
}
