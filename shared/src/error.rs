//! The one error type that crosses a module's border: a kind chosen by what the caller does, and a message.
use std::fmt;

/// What the caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The input is wrong: refuse it and say why (HTTP 400, exit code 78 for configuration).
    Invalid,
    /// The named thing does not exist (HTTP 404).
    NotFound,
    /// The caller may not do this (HTTP 403, exit code 77).
    Denied,
    /// Another writer was first: re-read and decide again (HTTP 409, exit code 75).
    Conflict,
    /// Try again later: a service is away, a view is still being built (HTTP 503).
    Unavailable,
    /// A limit with a number was exceeded (HTTP 413 or 429).
    TooLarge,
    /// Stored bytes are not what was written: stop and report the file, never answer from it.
    Corrupt,
    /// A bug or an environment fault that nobody can act on from here.
    Internal,
}

/// An error of Seam. Messages are lowercase, have no full stop and name the thing.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of everything fallible in Seam.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }
    /// The input is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }
    /// The named thing does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }
    /// Another writer was first.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }
    /// Try again later.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }
    /// Stored bytes are not what was written.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(Kind::Corrupt, message)
    }
    /// A bug or an environment fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }
    /// The same error with its cause kept for the logs.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
    /// What the caller should do.
    pub fn kind(&self) -> Kind {
        self.kind
    }
    /// What went wrong, without the causes.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Many a cause says what its own causes say: each thing is told once.
        let mut said = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !said.contains(&text) {
                said.push_str(": ");
                said.push_str(&text);
            }
            cause = error.source();
        }
        f.write_str(&said)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| s.as_ref() as _)
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error as E;
        let (kind, what) = match &error {
            E::NotFound { path, .. } => (Kind::NotFound, format!("object {path} does not exist")),
            E::AlreadyExists { path, .. } => (Kind::Conflict, format!("object {path} exists already")),
            E::PermissionDenied { path, .. } | E::Unauthenticated { path, .. } => (
                Kind::Unavailable,
                format!("the object store does not let us use {path}: `seam doctor` says what is missing"),
            ),
            _ => (Kind::Unavailable, "object store".to_owned()),
        };
        Self::new(kind, what).because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let refused = || std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let same = Error::unavailable("connection refused").because(refused());
        let error = Error::unavailable("redis://h:1").because(Error::internal("no reply").because(same));
        assert_eq!(error.to_string(), "redis://h:1: no reply: connection refused");
        assert_eq!(Error::invalid("a").because(Error::invalid("b")).to_string(), "a: b");
    }
}
