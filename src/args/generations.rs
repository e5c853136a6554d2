//! What may be typed of a view's generations: back to an earlier one, and how another definition's would differ.
use clap::Args;

use super::Output;

#[derive(Debug, Args)]
pub struct Diff {
    /// Only this view.
    pub view: Option<String>,
    /// Compare by these dimensions; by default by all that both definitions have.
    #[arg(short, long, value_name = "DIMENSION")]
    pub by: Vec<String>,
    /// The buckets: 1h, 1d, or day, week, month, quarter, year of the calendar in --tz.
    #[arg(long, default_value = "1d")]
    pub step: String,
    /// Whose calendar counts: an IANA zone like Asia/Shanghai.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub tz: String,
    /// From when (RFC 3339, epoch, or now-6h); by default from the first event on.
    #[arg(long)]
    pub from: Option<String>,
    /// Until when; by default the last event.
    #[arg(long)]
    pub to: Option<String>,
    /// The most rows of a view that a table shows.
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct BatchRollback {
    /// The view.
    pub view: String,
    /// The generation to go back to; by default the one before what the newest carries.
    #[arg(long, value_name = "GENERATION")]
    pub to: Option<u64>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}
