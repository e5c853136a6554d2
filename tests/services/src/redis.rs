//! redis-server: one, a primary with a replica, and a cluster of three.
use std::process::Command;
use std::time::Duration;

use crate::process::{Process, wait_until};
use crate::{SCRIPT, free_port_below, installed};

/// How often a start is tried: another process may take the port in between.
const ATTEMPTS: usize = 5;

/// One redis-server.
pub struct Redis {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Kill, pause, restart.
    pub process: Process,
    /// What redis-cli needs to get in.
    login: Vec<String>,
}

impl Redis {
    /// Starts a server with lines of redis.conf beside the defaults, which are: no persistence, no eviction, no password. `None`
    /// if it is not installed.
    ///
    /// # Panics
    /// If it does not start; in CI if it is not installed.
    pub fn start(settings: &[&str]) -> Option<Redis> {
        installed("redis").then(|| Redis::launch(settings))
    }

    fn launch(settings: &[&str]) -> Redis {
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            let port = free_port_below();
            let mut lines = vec![
                "bind 127.0.0.1".to_owned(),
                format!("port {port}"),
                "save \"\"".to_owned(),
                "appendonly no".to_owned(),
                "maxmemory-policy noeviction".to_owned(),
            ];
            lines.extend(settings.iter().map(|&line| line.to_owned()));
            let login = login(settings);
            let (cli_login, text) = (login.clone(), lines.join("\n"));
            let started = Process::start(
                "redis",
                move |folder| {
                    let file = folder.join("redis.conf");
                    let text = format!("dir {}\n{text}\n", folder.display());
                    // A restart keeps what CONFIG REWRITE wrote, as in production; a cluster keeps its nodes.conf by itself.
                    if !file.exists() {
                        std::fs::write(&file, text).expect("the folder of a service is writable");
                    }
                    let mut command = Command::new(SCRIPT);
                    command.args(["run", "redis"]).arg(file);
                    command
                },
                move |_| cli(port, &cli_login, &["PING"]).is_ok_and(|pong| pong == "PONG"),
            );
            match started {
                Ok(process) => return Redis { port, process, login },
                Err(error) => said = error,
            }
        }
        panic!("{said}");
    }

    /// Its address, `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `redis://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Runs one command by redis-cli and gives what it prints; `Err` for a refusal or when the server is away.
    ///
    /// # Errors
    /// The words of the server or of redis-cli.
    pub fn command(&self, words: &[&str]) -> Result<String, String> {
        cli(self.port, &self.login, words)
    }

    /// What it says of itself.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn info(&self) -> Info {
        Info(self.command(&["INFO", "everything"]).expect("a server that runs says how it is"))
    }
}

/// What a server says of itself.
pub struct Info(String);

impl Info {
    /// Processor seconds that it has taken.
    pub fn processor_seconds(&self) -> f64 {
        self.number("used_cpu_user") + self.number("used_cpu_sys")
    }
    /// Bytes that it holds.
    pub fn bytes(&self) -> u64 {
        self.number("used_memory") as u64
    }
    /// How often a command was called.
    pub fn calls(&self, command: &str) -> u64 {
        let stats = self.value(&format!("cmdstat_{command}"));
        let calls = stats.strip_prefix("calls=").and_then(|calls| calls.split(',').next());
        calls.and_then(|calls| calls.parse().ok()).unwrap_or(0)
    }
    fn number(&self, name: &str) -> f64 {
        self.value(name).parse().unwrap_or(0.0)
    }
    fn value(&self, name: &str) -> &str {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
    }
}

/// The words of redis-cli that get past a `requirepass` line.
fn login(settings: &[&str]) -> Vec<String> {
    let password = settings.iter().find_map(|line| line.strip_prefix("requirepass "));
    password.into_iter().flat_map(|p| ["--no-auth-warning".to_owned(), "-a".to_owned(), p.to_owned()]).collect()
}

fn cli(port: u16, login: &[String], words: &[&str]) -> Result<String, String> {
    let mut command = Command::new("timeout");
    command.args(["30", "redis-cli", "-h", "127.0.0.1", "-e", "-p", &port.to_string()]).args(login).args(words);
    let ran = command.output().map_err(|error| format!("redis-cli: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if ran.status.success() { Ok(text(&ran.stdout)) } else { Err(text(&ran.stdout) + &text(&ran.stderr)) }
}

/// A primary and a replica that follows it.
pub struct RedisPair {
    /// Takes the writes.
    pub primary: Redis,
    /// Follows; pause it to make it lag.
    pub replica: Redis,
}

impl RedisPair {
    /// Starts both and waits until the replica follows. `None` if redis-server is not installed.
    ///
    /// # Panics
    /// If they do not start; in CI if redis-server is not installed.
    pub fn start(settings: &[&str]) -> Option<RedisPair> {
        let primary = Redis::start(settings)?;
        let follow = format!("replicaof 127.0.0.1 {}", primary.port);
        let mut lines = settings.to_vec();
        lines.push(&follow);
        // Without it a full copy waits 5 seconds for more replicas.
        primary.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]).expect("the primary takes settings");
        let pair = RedisPair { replica: Redis::launch(&lines), primary };
        pair.wait_followed();
        Some(pair)
    }

    /// Waits until the replica has everything.
    ///
    /// # Panics
    /// If that takes longer than half a minute.
    pub fn wait_followed(&self) {
        let followed = wait_until(Duration::from_secs(30), || {
            let offset = |redis: &Redis, name: &str| {
                let info = redis.command(&["INFO", "replication"]).unwrap_or_default();
                let up = info.contains("role:master") || info.contains("master_link_status:up");
                let value = info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
                value.filter(|_| up)
            };
            let (had, has) =
                (offset(&self.primary, "master_repl_offset:"), offset(&self.replica, "slave_repl_offset:"));
            had.is_some() && had == has
        });
        assert!(followed, "the replica follows its primary");
    }

    /// Kills the primary and makes the replica the new primary, with what it has; gives the new primary alone.
    ///
    /// # Panics
    /// If the replica does not answer.
    pub fn fail_over(self) -> Redis {
        self.primary.process.kill();
        self.replica.process.resume();
        let promoted = self.replica.command(&["REPLICAOF", "NO", "ONE"]);
        promoted.expect("the replica becomes a primary");
        self.replica
    }
}

/// Three primaries without replicas that share the slots.
pub struct RedisCluster {
    /// Each with a third of the slots.
    pub nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts the cluster and waits until every node says that it works. `None` if redis-server is not installed.
    ///
    /// # Panics
    /// If it does not come up; in CI if redis-server is not installed.
    pub fn start(settings: &[&str]) -> Option<RedisCluster> {
        let mut lines = vec!["cluster-enabled yes", "cluster-node-timeout 3000"];
        lines.extend(settings);
        let nodes: Vec<Redis> = (0..3).map(|_| Redis::start(&lines)).collect::<Option<_>>()?;
        let addresses: Vec<String> = nodes.iter().map(Redis::address).collect();
        let mut create = Command::new("redis-cli");
        create.args(&nodes[0].login).args(["--cluster", "create"]).args(&addresses).arg("--cluster-yes");
        let created = create.output().expect("redis-cli runs");
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        let cluster = RedisCluster { nodes };
        cluster.wait_whole();
        Some(cluster)
    }

    /// Waits until every node says that all slots are served.
    ///
    /// # Panics
    /// If that takes longer than a minute.
    pub fn wait_whole(&self) {
        let whole = |node: &Redis| {
            let info = node.command(&["CLUSTER", "INFO"]).unwrap_or_default();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        let up = wait_until(Duration::from_secs(60), || self.nodes.iter().all(whole));
        assert!(up, "the cluster is whole");
    }

    /// `redis://…` of every node.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// Moves `slots` slots from one node to another while clients go on.
    ///
    /// # Panics
    /// If redis-cli fails.
    pub fn move_slots(&self, from: usize, to: usize, slots: u32) {
        let id = |node: &Redis| node.command(&["CLUSTER", "MYID"]).expect("a node tells its id");
        let (source, target) = (id(&self.nodes[from]), id(&self.nodes[to]));
        let mut reshard = Command::new("redis-cli");
        reshard.args(&self.nodes[0].login).args(["--cluster", "reshard", &self.nodes[0].address()]);
        reshard.args(["--cluster-from", &source, "--cluster-to", &target]);
        let moved = reshard.args(["--cluster-slots", &slots.to_string(), "--cluster-yes"]).output();
        let moved = moved.expect("redis-cli runs");
        assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stdout));
    }
}
