//! What a check of a service, a store or a disk found, in words for people: what it is, why it matters, what to do.
use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Note,
    /// It works, but somebody should change it.
    Warn,
    /// Events, state or numbers would be lost, or nothing would work: do not start.
    Refuse,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// How bad it is.
    pub severity: Severity,
    /// What was found, why it matters, what to do.
    pub message: String,
}

impl Advice {
    /// Good to know.
    pub fn note(message: impl Into<String>) -> Advice {
        Advice { severity: Severity::Note, message: message.into() }
    }
    /// It works, but somebody should change it.
    pub fn warn(message: impl Into<String>) -> Advice {
        Advice { severity: Severity::Warn, message: message.into() }
    }
    /// Do not start.
    pub fn refuse(message: impl Into<String>) -> Advice {
        Advice { severity: Severity::Refuse, message: message.into() }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warn => "warning",
            Severity::Refuse => "error",
        };
        write!(f, "{severity}: {}", self.message)
    }
}
