//! What a client is told when a statement cannot be answered: SQLSTATE, message, hint and place.
use pgwire::error::ErrorInfo;
use seam_serving::query::Refusal;
use seam_shared::Kind;
use serde::{Deserialize, Serialize};

/// A refusal in the terms of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// SQLSTATE.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do instead.
    pub hint: Option<String>,
    /// The character of the query, from 1 on.
    pub position: Option<usize>,
}

/// A refusal on its way between two processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Told {
    code: String,
    message: String,
    hint: Option<String>,
    position: Option<usize>,
}

impl From<SqlError> for Told {
    fn from(SqlError { code, message, hint, position }: SqlError) -> Told {
        Told { code: code.to_owned(), message, hint, position }
    }
}

impl From<Told> for SqlError {
    fn from(Told { code, message, hint, position }: Told) -> SqlError {
        let code = state::ALL.into_iter().find(|known| **known == *code).unwrap_or(state::INTERNAL);
        SqlError { code, message, hint, position }
    }
}

/// SQLSTATEs.
pub mod state {
    pub const SYNTAX: &str = "42601";
    pub const NO_TABLE: &str = "42P01";
    pub const NO_COLUMN: &str = "42703";
    pub const NO_FUNCTION: &str = "42883";
    pub const NO_SETTING: &str = "42704";
    pub const TYPES: &str = "42804";
    pub const NOT_SUPPORTED: &str = "0A000";
    pub const NO_TIME: &str = "22007";
    pub const OUT_OF_RANGE: &str = "22003";
    pub const BAD_VALUE: &str = "22P02";
    pub const PARAMETERS: &str = "08P01";
    pub const ABORTED: &str = "25P02";
    pub const NOBODY: &str = "28000";
    pub const TOO_OFTEN: &str = "53400";
    pub const DENIED: &str = "42501";
    pub const TOO_MUCH: &str = "54000";
    pub const CANCELLED: &str = "57014";
    pub const NOT_READY: &str = "57P03";
    pub const BUSY: &str = "53300";
    pub const CORRUPT: &str = "XX001";
    pub const INTERNAL: &str = "XX000";
    pub const OUT_OF_MEMORY: &str = "53200";
    pub const AMBIGUOUS: &str = "42702";
    pub const GROUPING: &str = "42803";
    pub const BAD_DATA: &str = "22000";
    pub const BY_ZERO: &str = "22012";

    /// Those that an engine says.
    pub const ALL: [&str; 11] = [
        BY_ZERO,
        NO_COLUMN,
        NO_FUNCTION,
        NOT_SUPPORTED,
        TYPES,
        OUT_OF_RANGE,
        AMBIGUOUS,
        GROUPING,
        BAD_DATA,
        TOO_MUCH,
        INTERNAL,
    ];
}

impl SqlError {
    /// An error with that code.
    pub fn new(code: &'static str, message: impl Into<String>) -> SqlError {
        SqlError { code, message: message.into(), hint: None, position: None }
    }
    /// What cannot be done here, though it is SQL.
    pub fn unsupported(message: impl Into<String>) -> SqlError {
        SqlError::new(state::NOT_SUPPORTED, message)
    }
    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> SqlError {
        self.hint = Some(hint.into());
        self
    }
    /// The same with what was probably meant, if anything was.
    #[must_use]
    pub fn did_you_mean(self, nearest: Option<&str>) -> SqlError {
        match nearest {
            Some(nearest) => self.hint(format!("Did you mean \"{nearest}\"?")),
            None => self,
        }
    }
}

impl std::fmt::Display for SqlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl From<Refusal> for SqlError {
    fn from(refusal: Refusal) -> SqlError {
        let code = match refusal.kind {
            Kind::Invalid | Kind::NotFound | Kind::Conflict => state::BAD_VALUE,
            Kind::Denied => state::DENIED,
            Kind::Unavailable => state::NOT_READY,
            Kind::TooLarge => state::TOO_MUCH,
            Kind::Corrupt => state::CORRUPT,
            Kind::Internal => state::INTERNAL,
        };
        SqlError { code, message: refusal.detail, hint: refusal.suggestion, position: None }
    }
}

impl From<SqlError> for ErrorInfo {
    fn from(error: SqlError) -> ErrorInfo {
        let mut info = ErrorInfo::new("ERROR".to_owned(), error.code.to_owned(), error.message);
        info.severity_nonlocalized = Some("ERROR".to_owned());
        info.hint = error.hint;
        info.position = error.position.map(|position| position.to_string());
        info
    }
}
