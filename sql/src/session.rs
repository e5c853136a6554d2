//! What a connection remembers: its settings, and what its last statement was answered from.
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use seam_serving::pin::pinned::PinnedView;
use seam_shared::event::batch::Excluded;
use seam_shared::lock::lock;

use crate::error::{SqlError, state};
use crate::frame::Frame;
use crate::time::Interval;

/// Cursors of a connection.
const CURSORS_MAX: usize = 16;
/// The version of PostgreSQL whose dialect and catalog questions are answered.
pub const SERVER_VERSION: &str = "15.0";

/// Settings that clients read and write. They may be set; only `statement_timeout` changes anything.
pub const SETTINGS: [(&str, &str); 29] = [
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, MDY"),
    ("default_table_access_method", "heap"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "on"),
    ("extra_float_digits", "1"),
    ("idle_in_transaction_session_timeout", "0"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("is_superuser", "off"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("lock_timeout", "0"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "150000"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("row_security", "off"),
    ("timezone", "UTC"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "on"),
];

/// What a view was answered from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Its table.
    pub table: String,
    /// The generation, if there was one.
    pub generation: Option<u64>,
    /// How far that reaches.
    pub batch: Option<String>,
    /// Where the speed layer stood.
    pub speed: String,
    /// How far the answer reaches.
    pub coverage: String,
    /// Records that the log held beyond that, as far as is known.
    pub lag: Option<String>,
    /// Whether both halves were there.
    pub complete: bool,
    /// Rows that were read.
    pub rows: usize,
    /// Records below the coverage that count nowhere; `None` where an older file does not say.
    pub excluded: Option<Excluded>,
}

impl Stamp {
    /// The stamp of a view.
    pub fn new(table: &str, pinned: &PinnedView, lag: Option<&String>, rows: usize) -> Stamp {
        let source = &pinned.view.source.name;
        Stamp {
            table: table.to_owned(),
            generation: pinned.generation.as_ref().map(|generation| generation.number),
            batch: pinned.generation.as_ref().map(|generation| generation.cut.to_text(source)),
            speed: pinned.positions().to_text(source),
            coverage: pinned.coverage().to_text(source),
            lag: lag.cloned(),
            complete: pinned.parts.values().all(|part| part.held.is_some()),
            rows,
            excluded: pinned.excluded(),
        }
    }
}

/// What a statement may depend on besides the data.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What `now()` is, in microseconds since 1970: one moment for the whole statement.
    pub now: i64,
    /// Who asks.
    pub user: String,
    /// What the client calls the database.
    pub database: String,
    settings: BTreeMap<String, String>,
}

impl Facts {
    /// A setting's value; `None` if there is no such setting.
    pub fn setting(&self, name: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        let standard = || SETTINGS.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        self.settings.get(&name).cloned().or_else(standard)
    }
    /// What `version()` says.
    pub fn version(&self) -> String {
        format!("PostgreSQL {SERVER_VERSION} (Seam {}, read-only)", env!("CARGO_PKG_VERSION"))
    }
}

/// A connection.
#[derive(Debug, Default)]
pub struct Session(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    settings: BTreeMap<String, String>,
    stamps: Vec<Stamp>,
    cursors: BTreeMap<String, Cursor>,
}

/// An answer that is read in pieces.
#[derive(Debug)]
struct Cursor {
    frame: Frame,
    /// Rows that were read.
    read: usize,
    /// Whether it outlives its transaction.
    hold: bool,
}

impl Session {
    fn with<T>(&self, work: impl FnOnce(&mut Remembered) -> T) -> T {
        work(&mut lock(&self.0))
    }
    /// What the next statement may depend on.
    pub fn facts(&self, user: &str, database: &str) -> Facts {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let settings = self.with(|remembered| remembered.settings.clone());
        Facts { now: now.as_micros() as i64, user: user.to_owned(), database: database.to_owned(), settings }
    }
    /// Changes a setting; `None` puts it back. What to tell the client about it, if anything.
    ///
    /// # Errors
    /// There is no such setting, or its value cannot be.
    pub fn set(&self, name: &str, value: Option<String>) -> Result<Option<String>, SqlError> {
        let name = name.to_ascii_lowercase();
        if !name.contains('.') && !SETTINGS.iter().any(|(known, _)| *known == name) {
            return Err(unknown_setting(&name));
        }
        if name == "statement_timeout"
            && let Some(value) = &value
        {
            timeout(value)?;
        }
        let is_utc =
            |zone: &String| ["utc", "etc/utc", "gmt", "default", "local"].contains(&zone.to_lowercase().as_str());
        if name == "timezone" && value.as_ref().is_some_and(|zone| !is_utc(zone)) {
            return Ok(Some("times are in UTC, whatever the time zone of the session".to_owned()));
        }
        self.with(|remembered| match value {
            Some(value) => drop(remembered.settings.insert(name, value)),
            None => drop(remembered.settings.remove(&name)),
        });
        Ok(None)
    }
    /// Puts everything back.
    pub fn reset(&self) {
        self.with(|remembered| remembered.settings.clear());
    }
    /// How long the next statement may take, at most `most`.
    pub fn timeout(&self, most: Duration) -> Duration {
        let own = self.with(|remembered| remembered.settings.get("statement_timeout").cloned());
        let own = own.and_then(|value| timeout(&value).ok()).filter(|own| !own.is_zero());
        own.map_or(most, |own| own.min(most))
    }
    /// Whether a cursor of that name may be opened.
    ///
    /// # Errors
    /// There is one already, or there are too many.
    pub fn check_cursor(&self, name: &str) -> Result<(), SqlError> {
        self.with(|remembered| match remembered.cursors.contains_key(name) {
            true => Err(SqlError::new("42P03", format!("cursor \"{name}\" already exists"))),
            false if remembered.cursors.len() >= CURSORS_MAX => {
                Err(SqlError::new(state::BUSY, format!("there are {CURSORS_MAX} cursors already")))
            }
            false => Ok(()),
        })
    }
    /// Keeps an answer to be read in pieces.
    pub fn open_cursor(&self, name: &str, frame: Frame, hold: bool) {
        self.with(|remembered| remembered.cursors.insert(name.to_owned(), Cursor { frame, read: 0, hold }));
    }
    /// The next rows of a cursor, at most so many.
    ///
    /// # Errors
    /// There is no such cursor.
    pub fn cursor(&self, name: &str, count: usize) -> Result<Frame, SqlError> {
        self.with(|remembered| {
            let cursor = remembered.cursors.get_mut(name).ok_or_else(|| no_cursor(name))?;
            let from = cursor.read;
            cursor.read = from.saturating_add(count).min(cursor.frame.rows());
            Ok(cursor.frame.part(from..cursor.read))
        })
    }
    /// Forgets a cursor.
    ///
    /// # Errors
    /// There is no such cursor.
    pub fn close_cursor(&self, name: &str) -> Result<(), SqlError> {
        self.with(|remembered| remembered.cursors.remove(name)).map(drop).ok_or_else(|| no_cursor(name))
    }
    /// Forgets the cursors of a transaction, or those that outlive it, too.
    pub fn close_cursors(&self, all: bool) {
        self.with(|remembered| remembered.cursors.retain(|_, cursor| cursor.hold && !all));
    }
    /// Remembers what a statement was answered from.
    pub fn stamped(&self, stamps: Vec<Stamp>) {
        self.with(|remembered| remembered.stamps = stamps);
    }
    /// What the last statement was answered from.
    pub fn stamps(&self) -> Vec<Stamp> {
        self.with(|remembered| remembered.stamps.clone())
    }
}

fn no_cursor(name: &str) -> SqlError {
    SqlError::new("34000", format!("cursor \"{name}\" does not exist"))
}

/// There is no such setting.
pub fn unknown_setting(setting: &str) -> SqlError {
    SqlError::new(state::NO_SETTING, format!("unrecognized configuration parameter \"{setting}\""))
}

/// A timeout: milliseconds, or a length of time.
fn timeout(value: &str) -> Result<Duration, SqlError> {
    let micros = match value.trim().parse::<i64>() {
        Ok(millis) => millis.checked_mul(1_000),
        Err(_) => Interval::parse(value).filter(|interval| interval.months == 0).map(|interval| interval.micros),
    };
    let micros = micros.and_then(|micros| u64::try_from(micros).ok());
    let wrong = || SqlError::new(state::BAD_VALUE, format!("invalid value for statement_timeout: \"{value}\""));
    micros.map(Duration::from_micros).ok_or_else(wrong)
}
