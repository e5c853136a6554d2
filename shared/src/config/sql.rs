//! SQL over the PostgreSQL wire protocol: where it listens, for whom, and how much a statement may do.
use std::net::SocketAddr;

use super::Secret;
use super::report::Problems;
use super::scalars;
use super::tree::Node;
use crate::time::Span;

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5_433);
const TIMEOUT: Span = Span(30 * Span::SECOND.0);
const MAX_ROWS: u64 = 1_000_000;
const MAX_MEMORY: u64 = 1 << 30;

/// The SQL server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlSettings {
    /// Where it listens; 127.0.0.1:5433 by default.
    pub listen: SocketAddr,
    /// The user that clients log in as; `seam` by default.
    pub user: String,
    /// Its password. Without one, whoever reaches the port may ask, or whoever has a key where `server.access` asks for keys.
    pub password: Option<Secret>,
    /// How long a statement may take; 30 s by default.
    pub timeout: Span,
    /// Rows of views that one statement may read; a million by default.
    pub max_rows: u64,
    /// Bytes of memory that a statement's process may take; 1 GiB by default.
    pub max_memory: u64,
}

/// What `server.sql` says.
pub(super) fn settings(root: &Node, node: &Node, problems: &mut Problems) -> SqlSettings {
    let listen = node.text_of("listen").and_then(scalars::address).unwrap_or(LISTEN);
    let password = node.text_of("password").map(Secret::new);
    let asks_for_keys = root.get("server").and_then(|server| server.get("access")).is_some();
    if !listen.ip().is_loopback() && password.is_none() && !asks_for_keys {
        let place = node.get("listen").map_or(node.place, |listen| listen.place);
        let message = format!("{listen} can be reached from other machines, and `sql` has no password");
        problems.suggest(
            place,
            message,
            Some("add `password: ${SQL_PASSWORD}`, or `server.access` with keys".to_owned()),
        );
    }
    SqlSettings {
        listen,
        user: node.text_of("user").unwrap_or("seam").to_owned(),
        password,
        timeout: node.duration("timeout").unwrap_or(TIMEOUT),
        max_rows: node.text_of("max_rows").and_then(scalars::whole_number).map_or(MAX_ROWS, i64::unsigned_abs),
        max_memory: node.text_of("max_memory").and_then(scalars::size).unwrap_or(MAX_MEMORY),
    }
}
