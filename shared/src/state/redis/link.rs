//! The connection: made when it is first needed, made again when it is lost, and one door for all scripts.
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult,
    ServerErrorKind, TlsCertificates, Value,
};
use tokio::sync::Mutex;

use crate::config::{RedisSettings, Secret};
use crate::error::{Error, Result};

/// Waits between tries of what a cluster cannot answer just now.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_LAST: Duration = Duration::from_millis(200);

/// A script that Redis knows by the hash of its text.
#[derive(Debug)]
pub(super) struct Script {
    text: &'static str,
    hash: OnceLock<String>,
}

impl Script {
    pub(super) const fn new(text: &'static str) -> Script {
        Script { text, hash: OnceLock::new() }
    }
    fn hash(&self) -> &str {
        self.hash.get_or_init(|| redis::Script::new(self.text).get_hash().to_owned())
    }
}

/// The keys and arguments of one call of a script.
#[derive(Debug, Clone, Default)]
pub(super) struct Call {
    keys: Vec<String>,
    arguments: Vec<u8>,
    ends: Vec<usize>,
}

impl Call {
    pub(super) fn key(&mut self, key: String) -> &mut Self {
        self.keys.push(key);
        self
    }
    pub(super) fn arg(&mut self, argument: impl AsRef<[u8]>) -> &mut Self {
        self.arguments.extend_from_slice(argument.as_ref());
        self.ends.push(self.arguments.len());
        self
    }
    pub(super) fn number(&mut self, number: impl std::fmt::Display) -> &mut Self {
        self.arg(number.to_string())
    }
    /// Keys and arguments of `other` after one's own.
    pub(super) fn append(&mut self, other: &Call) -> &mut Self {
        let before = self.arguments.len();
        self.keys.extend_from_slice(&other.keys);
        self.arguments.extend_from_slice(&other.arguments);
        self.ends.extend(other.ends.iter().map(|end| before + end));
        self
    }
    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys);
        let mut start = 0;
        for &end in &self.ends {
            command.arg(&self.arguments[start..end]);
            start = end;
        }
        command
    }
}

#[derive(Clone)]
enum Connection {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

/// The way to one Redis.
pub(super) struct Link {
    settings: RedisSettings,
    connection: Mutex<Option<Connection>>,
}

impl Link {
    pub(super) fn new(settings: RedisSettings) -> Link {
        Link { settings, connection: Mutex::default() }
    }

    pub(super) fn settings(&self) -> &RedisSettings {
        &self.settings
    }

    /// Runs a script. An error leaves open whether it ran.
    pub(super) async fn run(&self, script: &Script, call: &Call) -> Result<Value> {
        let until = Instant::now() + self.settings.timeout;
        let mut pause = PAUSE_FIRST;
        let mut command = call.command("EVALSHA", script.hash());
        loop {
            let error = match self.send(&command).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Server(ServerErrorKind::NoScript) => command = call.command("EVAL", script.text),
                _ if was_not_run(&error) && Instant::now() < until => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_LAST);
                }
                _ => return Err(self.failed(error)),
            }
        }
    }

    /// Runs a plain command that needs no second try.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value> {
        self.send(command).await.map_err(|error| self.failed(error))
    }

    /// Sends a plain command; the error is the client's, for those who look at its code.
    pub(super) async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        let answer = match self.connection().await? {
            Connection::Single(mut connection) => connection.send_packed_command(command).await,
            Connection::Cluster(mut connection) => {
                redis::aio::ConnectionLike::req_packed_command(&mut connection, command).await
            }
        };
        let answer = answer.and_then(Value::extract_error);
        if let Err(error) = &answer
            && (is_misled(error) || (error.is_timeout() && !self.settings.cluster))
        {
            *self.connection.lock().await = None;
        }
        answer
    }

    async fn connection(&self) -> RedisResult<Connection> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        let connection = self.connect().await?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    async fn connect(&self) -> RedisResult<Connection> {
        let RedisSettings { hosts, tls, cluster, database, user, password, certificates, timeout, .. } = &self.settings;
        let certificates = match certificates {
            None => None,
            Some(path) => Some(TlsCertificates { client_tls: None, root_cert: Some(tokio::fs::read(path).await?) }),
        };
        let password = password.as_ref().map(Secret::expose);
        let addresses = hosts.iter().map(|(host, port)| match tls {
            false => ConnectionAddr::Tcp(host.clone(), *port),
            true => ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None },
        });
        let addresses: Vec<ConnectionAddr> = addresses.collect();
        if *cluster {
            let mut builder = ClusterClient::builder(addresses)
                .connection_timeout(*timeout)
                .response_timeout(*timeout)
                .overall_response_timeout(Some(*timeout));
            if let Some(user) = user {
                builder = builder.username(user);
            }
            if let Some(password) = password {
                builder = builder.password(password);
            }
            if let Some(certificates) = certificates {
                builder = builder.certs(certificates);
            }
            return Ok(Connection::Cluster(builder.build()?.get_async_connection().await?));
        }
        let mut login = RedisConnectionInfo::default().set_db(i64::from(*database));
        if let Some(user) = user {
            login = login.set_username(user);
        }
        if let Some(password) = password {
            login = login.set_password(password);
        }
        let address = addresses.into_iter().next();
        let address = address.ok_or((ErrorKind::InvalidClientConfig, "there is no host"))?;
        let info = address.into_connection_info()?.set_redis_settings(login);
        let client = match certificates {
            Some(certificates) => Client::build_with_tls(info, certificates)?,
            None => Client::open(info)?,
        };
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(*timeout))
            .set_response_timeout(Some(*timeout))
            .set_number_of_retries(2)
            .set_min_delay(Duration::from_millis(20));
        Ok(Connection::Single(ConnectionManager::new_with_config(client, config).await?))
    }

    pub(super) fn failed(&self, error: RedisError) -> Error {
        let place = self.settings.place();
        let said = match error.code() {
            Some("OOM") => Error::unavailable(format!("{place} has no memory left for more state")),
            Some("NOPERM") => Error::internal(format!("{place} does not permit a command that is needed")),
            _ if error.kind() == ErrorKind::AuthenticationFailed => {
                Error::internal(format!("{place} refuses the user or the password"))
            }
            _ => Error::unavailable(place),
        };
        said.because(error)
    }
}

/// Whether Redis said that it did nothing, and may do it soon.
fn was_not_run(error: &RedisError) -> bool {
    let passing = ["TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "LOADING", "BUSY", "MOVED", "ASK"];
    error.code().is_some_and(|code| passing.contains(&code))
}

/// Whether the connection leads to the wrong place, or to none that a new one could not find better. (One that timed out may
/// lead to a machine that is gone without a word; of a cluster's many, the client minds that itself.)
fn is_misled(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AuthenticationFailed
            | ErrorKind::InvalidClientConfig
            | ErrorKind::Client
            | ErrorKind::ClusterConnectionNotFound
            | ErrorKind::Server(ServerErrorKind::ReadOnly)
    )
}
