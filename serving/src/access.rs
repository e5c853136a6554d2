//! The guard in front of every route of a process: who asks, how often, and whether that may be.
//!
//! What a route asks for is in one table ([`rules`]); a route that is not in it is for `admin` alone, so none is open by oversight.
//! A handler finds the [`Caller`] in the request's extensions (see `seam_shared::access` for what to do with it). Contracts that do
//! not speak HTTP call [`Access::identify`].
pub mod browsers;
mod credentials;
mod failures;
mod guard;
#[cfg(feature = "jwt")]
mod jwt;
mod ring;
pub(crate) mod rules;
#[cfg(test)]
mod tests;
pub mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use seam_shared::access::Caller;
use seam_shared::clock::{Clock, SystemClock};
use seam_shared::config::{Config, KEY_PREFIX, Keys};
use seam_shared::{Error, Result};
use tokio_util::sync::CancellationToken;

use failures::Failures;
use ring::Ring;

pub(crate) use guard::{forget_token, pass};
pub use ring::{Allowance, Limit};

/// How often files of keys are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Who may ask, as configured.
#[derive(Debug)]
pub struct Access {
    /// `None`: nobody has to say who it is.
    door: Option<Door>,
    trusted: Caller,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Door {
    ring: Ring,
    #[cfg(feature = "jwt")]
    tokens: Option<jwt::Tokens>,
    failures: Failures,
}

/// Somebody who showed who it is.
#[derive(Debug, Clone)]
pub struct Known {
    /// Who it is.
    pub caller: Caller,
    /// How often it may ask.
    pub limit: Option<Arc<Limit>>,
}

/// Why somebody is nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// It showed nothing.
    Nothing,
    /// What it showed is no key and no token, or is not known.
    Wrong,
    /// It was known once.
    Expired,
    /// It showed wrong keys too often; it may try again after that long.
    Blocked(Duration),
}

impl Access {
    /// Nobody has to say who it is, and everybody may do everything.
    pub fn open() -> Access {
        Access { door: None, trusted: Caller::trusted(), clock: Arc::new(SystemClock) }
    }
    /// As configured. Files of keys are read.
    ///
    /// # Errors
    /// A file cannot be read, or is wrong.
    pub fn of(config: &Arc<Config>, clock: Arc<dyn Clock>) -> Result<Access> {
        let trusted = Caller::trusted();
        let Some(settings) = &config.server.access else { return Ok(Access { door: None, trusted, clock }) };
        let ring = match &settings.keys {
            Keys::Inline(keys) => Ring::fixed(keys),
            Keys::File(path) => Ring::of_file(path, config)?,
        };
        let door = Door {
            ring,
            #[cfg(feature = "jwt")]
            tokens: settings.jwt.clone().map(jwt::Tokens::new).transpose()?,
            failures: Failures::new(settings.failures),
        };
        Ok(Access { door: Some(door), trusted, clock })
    }
    /// Whether nobody has to say who it is.
    pub fn is_open(&self) -> bool {
        self.door.is_none()
    }
    /// Who everybody is, where nobody has to say who it is.
    pub fn everybody(&self) -> Option<&Caller> {
        self.door.is_none().then_some(&self.trusted)
    }
    /// Whether somebody who was known may still do what it might then.
    pub fn is_current(&self, caller: &Caller) -> bool {
        caller.is_current(self.clock.now())
    }
    /// Looks at files of keys and at the issuer's keys until cancelled.
    pub async fn run(&self, cancel: CancellationToken) {
        let Some(door) = &self.door else { return };
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            door.ring.look().await;
            #[cfg(feature = "jwt")]
            if let Some(tokens) = &door.tokens {
                tokens.look().await;
            }
        }
    }
    /// Who shows this key or token. Where nobody has to show anything, everybody is trusted.
    ///
    /// # Errors
    /// Why it is nobody; a wrong one counts against the address of `peer`.
    pub async fn identify(&self, secret: Option<&str>, peer: Option<SocketAddr>) -> Result<Known, Unknown> {
        let Some(door) = &self.door else { return Ok(Known { caller: self.trusted.clone(), limit: None }) };
        let secret = secret.ok_or(Unknown::Nothing)?;
        let known = if secret.starts_with(KEY_PREFIX) { door.ring.find(secret) } else { door.token(secret).await };
        match known {
            Some(known) if self.is_current(&known.caller) => Ok(known),
            Some(_) => Err(Unknown::Expired),
            None => {
                // Whoever shows a right one may share the address with whoever does not.
                if let Some(wait) = peer.and_then(|peer| door.failures.wait(peer.ip())) {
                    return Err(Unknown::Blocked(wait));
                }
                if let Some(peer) = peer {
                    door.failures.note(peer.ip());
                }
                Err(Unknown::Wrong)
            }
        }
    }
    /// Guards every route of a router, those that do not exist included.
    pub fn guard(self: &Arc<Self>, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), guard::check))
    }
}

impl Door {
    #[cfg(feature = "jwt")]
    async fn token(&self, secret: &str) -> Option<Known> {
        self.tokens.as_ref()?.identify(secret).await
    }
    #[cfg(not(feature = "jwt"))]
    async fn token(&self, _: &str) -> Option<Known> {
        None
    }
}

/// Refuses to listen beyond this machine where nobody has to say who it is, unless `insecure` says that this is meant.
///
/// # Errors
/// `Invalid`, with what to do.
pub fn check_listen(config: &Config, insecure: bool) -> Result<()> {
    let listen = config.server.listen;
    if listen.ip().is_loopback() {
        return Ok(());
    }
    if config.server.access.is_some() {
        if config.server.tls.is_none() {
            tracing::warn!(%listen, "keys and answers cross the network in clear unless a proxy in front adds TLS (server.tls)");
        }
        return Ok(());
    }
    if insecure || config.server.insecure {
        tracing::warn!(%listen, "INSECURE: whoever reaches this address can read and write everything; set server.access");
        return Ok(());
    }
    Err(Error::invalid(format!(
        "refusing to listen on {listen}: whoever reaches it could read and write everything; set `server.access` \
         (`seam keys create` makes keys), or say that this is meant with `server.insecure: true` or --insecure"
    )))
}
