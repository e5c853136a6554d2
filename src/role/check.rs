//! What the roles of a process depend on, looked at once before they start, in the words of `seam doctor`: what would lose events or
//! state is refused, what should be changed is logged.
use std::time::Duration;

use seam_shared::advice::{Advice, Severity};
use seam_shared::lake::probe;
use seam_shared::{Error, Kind, Result};

use super::Role;
use crate::wire::Ports;

/// How long a store is waited for that a process can do without.
const PATIENCE: Duration = Duration::from_secs(3);

/// How much a process depends on a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// Not at all.
    None,
    /// It does without while the store is away, and must not work with one that is set up wrongly.
    Useful,
    /// It waits for it.
    Needed,
}

/// The stores, in the order in which they are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    State,
    Log,
    Lake,
}

impl Store {
    const ALL: [Store; 3] = [Store::State, Store::Log, Store::Lake];

    fn name(self) -> &'static str {
        match self {
            Store::State => "state store",
            Store::Log => "log",
            Store::Lake => "lake",
        }
    }

    /// What a role needs of it. Of the lake: whether it writes there what nobody may overwrite.
    fn need(self, role: Role) -> Need {
        match (self, role) {
            (Store::State, Role::Speed | Role::Sink) => Need::Needed,
            (Store::State, Role::Serve | Role::Batch) => Need::Useful,
            (Store::State, Role::Ingest | Role::Archive) => Need::None,
            (Store::Log, Role::Serve) => Need::Useful,
            (Store::Log, _) => Need::Needed,
            // Whether it can be reached is told by what a role does there first.
            (Store::Lake, Role::Speed | Role::Archive | Role::Batch) => Need::Useful,
            (Store::Lake, Role::Ingest | Role::Sink | Role::Serve) => Need::None,
        }
    }

    async fn look(self, ports: &Ports) -> Result<Vec<Advice>> {
        match self {
            Store::State => ports.state_advice().await,
            Store::Log => ports.log_advice().await,
            // Our own adapter keeps the promises of local files.
            Store::Lake if ports.config.storage.archive.starts_with("file:") => Ok(Vec::new()),
            Store::Lake => probe::keeps_create_only(ports.lake.as_ref(), &ports.clock.nonce()).await,
        }
    }
}

/// Looks at everything that `roles` depend on. What does not answer yet is handed to `wait` if it is needed.
///
/// # Errors
/// `Invalid` with the advice where a store must be set up otherwise first; what `wait` says.
pub(super) async fn check(
    ports: &Ports,
    roles: &[Role],
    mut wait: impl AsyncFnMut(&str, Error) -> Result<()>,
) -> Result<()> {
    for store in Store::ALL {
        let need = roles.iter().map(|role| store.need(*role)).max().unwrap_or(Need::None);
        if need == Need::None {
            continue;
        }
        loop {
            let looked = match need {
                // Whoever can do without does not wait long to hear that it must.
                Need::Useful => {
                    tokio::time::timeout(PATIENCE, store.look(ports)).await.unwrap_or_else(|_| Err(silent()))
                }
                Need::None | Need::Needed => store.look(ports).await,
            };
            match looked {
                Ok(found) => {
                    heed(found)?;
                    break;
                }
                Err(error) if need == Need::Needed && error.kind() == Kind::Unavailable => {
                    wait(store.name(), error).await?;
                }
                Err(error) if need == Need::Useful => {
                    tracing::warn!(%error, "the {} cannot be looked at", store.name());
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn silent() -> Error {
    Error::unavailable(format!("no answer within {PATIENCE:?}"))
}

fn heed(found: Vec<Advice>) -> Result<()> {
    for Advice { severity, message } in found {
        match severity {
            Severity::Refuse => return Err(Error::invalid(message)),
            Severity::Warn => tracing::warn!("{message}"),
            Severity::Note => tracing::info!("{message}"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_looks_at_what_it_works_with() {
        let needs = |store: Store| Role::ALL.map(|role| store.need(role));
        // archive, speed, batch, sink, ingest, serve
        let (no, some, all) = (Need::None, Need::Useful, Need::Needed);
        assert_eq!(needs(Store::State), [no, all, some, all, no, some]);
        assert_eq!(needs(Store::Log), [all, all, all, all, all, some]);
        assert_eq!(needs(Store::Lake), [some, some, some, no, no, no]);
    }

    #[test]
    fn refusals_stop_and_warnings_do_not() {
        assert!(heed(vec![Advice::note("a"), Advice::warn("b")]).is_ok());
        let error = heed(vec![Advice::warn("b"), Advice::refuse("set maxmemory-policy")]).expect_err("refused");
        assert_eq!((error.kind(), error.message()), (Kind::Invalid, "set maxmemory-policy"));
    }
}
