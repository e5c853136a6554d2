//! Why a command ended without doing what it was asked to, and the exit code that says so.
use std::process::ExitCode;

use seam_shared::config::Report;
use seam_shared::{Error, Kind};

/// What `sysexits.h` calls EX_CONFIG: mend the configuration before trying again.
pub const BAD_CONFIGURATION: u8 = 78;
/// EX_NOPERM: the key is missing, wrong or not meant for this.
const NO_PERMISSION: u8 = 77;
/// EX_TEMPFAIL: the same command may work later, as it is.
pub const TRY_LATER: u8 = 75;
/// EX_UNAVAILABLE: something that the command needs is not there.
pub const UNAVAILABLE: u8 = 69;

/// What went wrong.
pub enum Failure {
    /// The configuration.
    Configuration(Report),
    /// There is no configuration to look at.
    Unreadable(Error),
    /// Anything else.
    Error(Error),
}

impl Failure {
    /// Says it on standard error.
    pub fn report(&self) -> ExitCode {
        let error = match self {
            Failure::Configuration(report) => {
                eprintln!("{report}");
                return ExitCode::from(BAD_CONFIGURATION);
            }
            Failure::Unreadable(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(BAD_CONFIGURATION);
            }
            Failure::Error(error) => error,
        };
        eprintln!("error: {error}");
        ExitCode::from(match error.kind() {
            Kind::Conflict => TRY_LATER,
            Kind::Unavailable => UNAVAILABLE,
            Kind::Denied => NO_PERMISSION,
            Kind::Invalid | Kind::NotFound | Kind::TooLarge | Kind::Corrupt | Kind::Internal => 1,
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Failure::Configuration(report)
    }
}
