//! Who may connect, and as whom: the configured user by SCRAM-SHA-256, and where HTTP asks for keys, whoever has one as its password.
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures::Sink;
use pgwire::api::auth::driver::AuthOutcome;
use pgwire::api::auth::mechanism::{AuthMechanism, AuthMechanismFactory, AuthState};
use pgwire::api::auth::sasl::SaslMechanisms;
use pgwire::api::auth::sasl::scram::{ScramAuth, gen_salted_password};
use pgwire::api::auth::{
    AuthDriver, AuthSource, DefaultServerParameterProvider, LoginInfo, Password, StartupHandler, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use pgwire::api::{ClientInfo, ConnectionManager, METADATA_USER};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::startup::{Authentication, PasswordMessageFamily};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use seam_serving::access::{Access, Unknown};
use seam_shared::config::Secret;

use crate::error::{SqlError, state};
use crate::session::SERVER_VERSION;

/// Rounds of hashing, PostgreSQL's own default.
const ITERATIONS: usize = 4_096;

/// What happens until a connection is ready.
pub struct Login {
    driver: AuthDriver<DefaultServerParameterProvider>,
    access: Arc<Access>,
    /// The one user with a password of its own, who sees everything.
    user: Option<(String, SaslMechanisms)>,
}

/// That user. The password itself is forgotten at once.
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

fn scram(user: &str, password: &Secret) -> SaslMechanisms {
    let salt = uuid::Uuid::new_v4().into_bytes().to_vec();
    let salted = gen_salted_password(password.expose(), &salt, ITERATIONS);
    let mut scram = ScramAuth::new(Arc::new(User { name: user.to_owned(), salt, salted, nobody: random() }));
    scram.set_iterations(ITERATIONS);
    SaslMechanisms::new(vec![Arc::new(scram)])
}

impl Login {
    /// With a password for `user` alone, if there is one, and with the keys of `access`, if that asks for any.
    pub fn new(user: &str, password: Option<&Secret>, access: Arc<Access>, manager: Arc<ConnectionManager>) -> Login {
        Login {
            driver: AuthDriver::new(parameters()).with_connection_manager(manager),
            access,
            user: password.map(|password| (user.to_owned(), scram(user, password))),
        }
    }

    fn mechanism(&self, name: Option<&str>) -> Box<dyn AuthMechanism> {
        match &self.user {
            Some((user, scram)) if self.access.is_open() || name == Some(user) => scram.create(),
            None if self.access.is_open() => Box::new(Anybody),
            _ => Box::new(ByKey(self.access.clone())),
        }
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
        let outcome = match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                let mechanism = self.mechanism(client.metadata().get(METADATA_USER).map(String::as_str));
                self.driver.begin_authentication(client, mechanism).await?
            }
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                self.driver.advance_authentication(client, message).await?
            }
            _ => return Ok(()),
        };
        match outcome {
            AuthOutcome::InProgress => Ok(()),
            AuthOutcome::Authenticated { final_message, .. } => {
                self.driver.complete_authentication(client, final_message).await
            }
        }
    }
}

/// Whoever reaches the port, which then is loopback's.
struct Anybody;

#[async_trait]
impl AuthMechanism for Anybody {
    async fn begin(&mut self, _: &(dyn ClientInfo + Send + Sync)) -> PgWireResult<AuthState> {
        Ok(AuthState::Ok { final_message: None, identity: None })
    }
    async fn next(
        &mut self,
        client: &(dyn ClientInfo + Send + Sync),
        _: PasswordMessageFamily,
    ) -> PgWireResult<AuthState> {
        self.begin(client).await
    }
}

/// With a key or token as the password. Only its hash is known here, so it has to come as it is: encrypted, or from this machine.
struct ByKey(Arc<Access>);

fn refused(message: impl Into<String>) -> AuthState {
    let mut told = ErrorInfo::from(SqlError::new(state::NOBODY, message));
    told.severity = "FATAL".to_owned();
    told.severity_nonlocalized = Some("FATAL".to_owned());
    AuthState::Failed(PgWireError::UserError(Box::new(told)))
}

#[async_trait]
impl AuthMechanism for ByKey {
    async fn begin(&mut self, client: &(dyn ClientInfo + Send + Sync)) -> PgWireResult<AuthState> {
        if !client.is_secure() && !client.socket_addr().ip().is_loopback() {
            return Ok(refused("a key would cross the network in clear; connect with sslmode=require"));
        }
        Ok(AuthState::InProgress(Authentication::CleartextPassword))
    }
    async fn next(
        &mut self,
        client: &(dyn ClientInfo + Send + Sync),
        message: PasswordMessageFamily,
    ) -> PgWireResult<AuthState> {
        let password = message.into_password()?.password;
        let known = self.0.identify(Some(&password), Some(client.socket_addr())).await;
        Ok(match known {
            Ok(known) if known.caller.may_query_some() => {
                client.session_extensions().insert(known);
                AuthState::Ok { final_message: None, identity: None }
            }
            Ok(_) => refused("this key has no scope `query:<view>`"),
            Err(Unknown::Expired) => refused("this key has expired"),
            Err(Unknown::Blocked(wait)) => {
                refused(format!("too many wrong keys came from this address; wait {} s", wait.as_secs() + 1))
            }
            Err(Unknown::Nothing | Unknown::Wrong) => refused("the password is no key that is known"),
        })
    }
}
