//! Who may connect: with a password by SCRAM-SHA-256; without one whoever reaches the port, which then is loopback's.
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures::Sink;
use pgwire::api::auth::sasl::SASLAuthStartupHandler;
use pgwire::api::auth::sasl::scram::{ScramAuth, gen_salted_password};
use pgwire::api::auth::{
    AuthSource, DefaultServerParameterProvider, LoginInfo, Password, StartupHandler, finish_authentication,
    protocol_negotiation, save_startup_parameters_to_metadata,
};
use pgwire::api::{ClientInfo, ConnectionManager, PidSecretKeyGenerator, RandomPidSecretKeyGenerator};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use seam_shared::config::Secret;

use crate::session::SERVER_VERSION;

/// Rounds of hashing, PostgreSQL's own default.
const ITERATIONS: usize = 4_096;

/// What happens until a connection is ready.
pub enum Login {
    /// Anybody.
    Open { manager: Arc<ConnectionManager>, keys: RandomPidSecretKeyGenerator },
    /// One user with a password.
    Scram(Box<SASLAuthStartupHandler<DefaultServerParameterProvider>>),
}

/// The one user. The password itself is forgotten at once.
struct User {
    name: String,
    salt: Vec<u8>,
    salted: Vec<u8>,
    /// What nobody's password hashes to, for every other name: they are told apart by nothing.
    nobody: Vec<u8>,
}

impl Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "User({})", self.name)
    }
}

#[async_trait]
impl AuthSource for User {
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        let salted = if login.user() == Some(self.name.as_str()) { &self.salted } else { &self.nobody };
        Ok(Password::new(Some(self.salt.clone()), salted.clone()))
    }
}

fn random() -> Vec<u8> {
    [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat()
}

fn parameters() -> DefaultServerParameterProvider {
    let mut parameters = DefaultServerParameterProvider::default();
    parameters.server_version = SERVER_VERSION.to_owned();
    parameters.is_superuser = false;
    parameters.default_transaction_read_only = true;
    parameters.time_zone = "UTC".to_owned();
    parameters.date_style = "ISO, MDY".to_owned();
    parameters
}

impl Login {
    /// With a password, for `user` alone.
    pub fn new(user: &str, password: Option<&Secret>, manager: Arc<ConnectionManager>) -> Login {
        let Some(password) = password else {
            return Login::Open { manager, keys: RandomPidSecretKeyGenerator::default() };
        };
        let salt = uuid::Uuid::new_v4().into_bytes().to_vec();
        let salted = gen_salted_password(password.expose(), &salt, ITERATIONS);
        let mut scram = ScramAuth::new(Arc::new(User { name: user.to_owned(), salt, salted, nobody: random() }));
        scram.set_iterations(ITERATIONS);
        let handler = SASLAuthStartupHandler::new(Arc::new(parameters())).with_scram(scram);
        Login::Scram(Box::new(handler.with_connection_manager(manager)))
    }
}

#[async_trait]
impl StartupHandler for Login {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let (manager, keys) = match self {
            Login::Scram(handler) => return handler.on_startup(client, message).await,
            Login::Open { manager, keys } => (manager, keys),
        };
        let PgWireFrontendMessage::Startup(startup) = message else { return Ok(()) };
        protocol_negotiation(client, &startup).await?;
        save_startup_parameters_to_metadata(client, &startup);
        let (pid, key) = keys.generate(client);
        client.set_pid_and_secret_key(pid, key.clone());
        let (handle, guard) = manager.register(pid, key);
        client.session_extensions().insert(handle);
        client.session_extensions().insert(guard);
        finish_authentication(client, &parameters()).await
    }
}
