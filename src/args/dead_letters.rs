//! The arguments of `seam dlq`.
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum Dlq {
    /// List refused events, newest last.
    List(DlqList),
    /// Show one refused event with its original bytes.
    Show(DlqShow),
    /// Send refused events through the door again, e.g. after the source was mended; the entries stay.
    Replay(DlqReplay),
}

#[derive(Debug, Args)]
pub struct DlqList {
    /// The source (may be left out when there is just one).
    #[arg(short, long)]
    pub source: Option<String>,
    /// The most entries to show.
    #[arg(long, default_value_t = 20)]
    pub limit: usize,
    /// The running Seam to ask.
    #[arg(long, env = "SEAM_URL")]
    pub url: Option<String>,
}

#[derive(Debug, Args)]
pub struct DlqShow {
    /// The entry's number, as `dlq list` shows it.
    pub entry: u64,
    /// The source (may be left out when there is just one).
    #[arg(short, long)]
    pub source: Option<String>,
    /// The running Seam to ask.
    #[arg(long, env = "SEAM_URL")]
    pub url: Option<String>,
}

#[derive(Debug, Args)]
pub struct DlqReplay {
    /// The entries' numbers, as `dlq list` shows them.
    #[arg(required_unless_present = "all")]
    pub entries: Vec<u64>,
    /// Every entry that is kept when this begins.
    #[arg(long, conflicts_with = "entries")]
    pub all: bool,
    /// The source (may be left out when there is just one).
    #[arg(short, long)]
    pub source: Option<String>,
    /// The running Seam to ask.
    #[arg(long, env = "SEAM_URL")]
    pub url: Option<String>,
}
