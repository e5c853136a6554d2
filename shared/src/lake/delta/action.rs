//! The actions of the Delta protocol that Seam writes, as they stand in the lines of a commit.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::error::{Error, Result};
use crate::lake::verified;
use crate::time::Timestamp;

/// The versions that a reader and a writer of a table must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Protocol {
    /// For reading.
    pub min_reader_version: u32,
    /// For writing.
    pub min_writer_version: u32,
}

/// What Seam reads and writes.
pub const PROTOCOL: Protocol = Protocol { min_reader_version: 1, min_writer_version: 2 };

/// How the files of a table are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    provider: String,
    #[serde(default)]
    options: BTreeMap<String, String>,
}

/// What a table is: its schema and its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// A unique name of the table.
    pub id: String,
    /// What people call it.
    pub name: Option<String>,
    format: Format,
    /// The columns, in Delta's JSON.
    pub schema_string: String,
    partition_columns: Vec<String>,
    /// Milliseconds since the epoch.
    pub created_time: Option<i64>,
    /// Settings; Seam's own start with `seam.`.
    pub configuration: BTreeMap<String, String>,
}

impl Metadata {
    /// A table of Parquet files without partition columns. The log is never cleaned up by other writers: Seam reads it from
    /// its start.
    pub fn new(id: String, name: &str, schema_string: String, now: Timestamp) -> Metadata {
        let keep = [("delta.enableExpiredLogCleanup".to_owned(), "false".to_owned())];
        Metadata {
            id,
            name: Some(name.to_owned()),
            format: Format { provider: "parquet".to_owned(), options: BTreeMap::new() },
            schema_string,
            partition_columns: Vec::new(),
            created_time: Some(now.0.div_euclid(1_000)),
            configuration: keep.into_iter().collect(),
        }
    }
}

/// A file that belongs to the table from this commit on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Add {
    /// Where it lies, relative to the table (plain in memory, URL-encoded in the log).
    pub path: String,
    partition_values: BTreeMap<String, Option<String>>,
    /// Its bytes.
    pub size: u64,
    /// When it was written, in milliseconds since the epoch.
    pub modification_time: i64,
    data_change: bool,
    /// Statistics in Delta's JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<String>,
    /// What Seam knows of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Add {
    /// A file written now.
    pub fn new(path: String, size: u64, now: Timestamp, stats: &Json, tags: BTreeMap<String, String>) -> Add {
        Add {
            path,
            partition_values: BTreeMap::new(),
            size,
            modification_time: now.0.div_euclid(1_000),
            data_change: true,
            stats: Some(stats.to_string()),
            tags,
        }
    }
}

/// A file that no longer belongs to the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remove {
    /// Where it lies, relative to the table.
    pub path: String,
    /// When it was removed, in milliseconds since the epoch.
    pub deletion_timestamp: Option<i64>,
    data_change: bool,
}

impl Remove {
    /// A file that is replaced now.
    pub fn new(path: String, now: Timestamp) -> Remove {
        Remove { path, deletion_timestamp: Some(now.0.div_euclid(1_000)), data_change: true }
    }
}

/// The version that one application has reached: Seam's offset vector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    /// Which application: `<source>/<partition>`.
    pub app_id: String,
    /// How far: a position in that partition.
    pub version: u64,
}

/// One line of a commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// What is needed to read the table.
    Protocol(Protocol),
    /// What the table is.
    MetaData(Metadata),
    /// A new file.
    Add(Add),
    /// A file taken away.
    Remove(Remove),
    /// A position.
    Txn(Transaction),
    /// Who wrote the commit and why.
    CommitInfo(serde_json::Map<String, Json>),
}

const HASH_LENGTH: usize = 64;
const HASH_KEY: &str = "\"blake3\":\"";

/// A commit's text: one action a line, the commit info first, sealed with the hash of all of it.
pub fn write(info: serde_json::Map<String, Json>, actions: Vec<Action>) -> String {
    let mut sealed = serde_json::Map::new();
    sealed.insert("blake3".to_owned(), "0".repeat(HASH_LENGTH).into());
    sealed.extend(info);
    let mut text = String::new();
    for action in std::iter::once(Action::CommitInfo(sealed)).chain(actions) {
        text.push_str(&line(action));
        text.push('\n');
    }
    let hash = verified::hash(text.as_bytes());
    text.replacen(&"0".repeat(HASH_LENGTH), &hash, 1)
}

/// An action as a line of the log.
pub fn line(action: Action) -> String {
    let line = match action {
        Action::Add(add) => Action::Add(Add { path: encode_path(&add.path), ..add }),
        Action::Remove(remove) => Action::Remove(Remove { path: encode_path(&remove.path), ..remove }),
        other => other,
    };
    serde_json::to_string(&line).expect("actions have text keys only")
}

/// Reads [`write`]'s text back. `name` names the commit in errors.
///
/// # Errors
/// `Corrupt` when the text is not what [`write`] made, be it one bit.
pub fn read(name: &str, bytes: &[u8]) -> Result<Vec<Action>> {
    let damaged = |why: &str| Error::corrupt(format!("commit {name} is damaged or was not written by Seam: {why}"));
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not UTF-8"))?;
    let at = text.find(HASH_KEY).ok_or_else(|| damaged("it carries no content hash"))? + HASH_KEY.len();
    let stated = text.get(at..at + HASH_LENGTH).ok_or_else(|| damaged("its content hash is cut off"))?;
    let blank = [&text[..at], &"0".repeat(HASH_LENGTH), &text[at + HASH_LENGTH..]].concat();
    let found = verified::hash(blank.as_bytes());
    if found != stated {
        return Err(damaged(&format!("its content hash is {found}, it says {stated}")));
    }
    text.lines().map(|line| parse(line).ok_or_else(|| damaged("a line is no action"))).collect()
}

/// Reads [`line`]'s text back.
pub fn parse(line: &str) -> Option<Action> {
    match serde_json::from_str(line).ok()? {
        Action::Add(add) => Some(Action::Add(Add { path: decode_path(&add.path)?, ..add })),
        Action::Remove(remove) => Some(Action::Remove(Remove { path: decode_path(&remove.path)?, ..remove })),
        other => Some(other),
    }
}

/// The path as a relative URI, as the protocol wants it.
fn encode_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn decode_path(uri: &str) -> Option<String> {
    let mut out = Vec::with_capacity(uri.len());
    let mut rest = uri.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_their_encoding() {
        for path in ["part-1.parquet", "a b/ü%20?#.parquet", "100%"] {
            let uri = encode_path(path);
            assert!(uri.is_ascii() && !uri.contains([' ', '?', '#']));
            assert_eq!(decode_path(&uri).as_deref(), Some(path));
        }
        assert_eq!(decode_path("%4"), None);
    }

    #[test]
    fn every_flipped_bit_of_a_commit_is_found() {
        let add =
            Add::new("a b.parquet".into(), 7, Timestamp(5_000), &serde_json::json!({"numRecords": 1}), BTreeMap::new());
        let text = write(serde_json::Map::new(), vec![Action::Protocol(PROTOCOL), Action::Add(add.clone())]);
        assert!(read("0", text.as_bytes()).unwrap().contains(&Action::Add(add)));
        let mut bytes = text.into_bytes();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read("0", &bytes).is_err(), "bit {bit} went unnoticed");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
