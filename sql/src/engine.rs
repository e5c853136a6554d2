//! What executes a query over tables in memory. The rest of the crate knows nothing of how.
mod pipe;
mod polars;
mod workers;

use std::sync::mpsc;

use tokio_util::sync::CancellationToken;

use crate::error::{SqlError, Told};
use crate::frame::Frame;

pub use polars::Polars;
pub use workers::Workers;

/// An engine for one SELECT over tables in memory.
pub trait Engine: std::fmt::Debug + Send + Sync {
    /// The answer to `query` over `tables`, until it is cancelled. Called on threads of a runtime that may block.
    ///
    /// # Errors
    /// Names that do not exist, types that do not fit, and what the engine cannot do.
    fn run(&self, query: &str, tables: Vec<(String, Frame)>, cancel: &CancellationToken) -> Result<Frame, SqlError>;
}

/// Answers queries from standard input on standard output with Polars, for [`Workers`]; ends with its input, even in the middle of a
/// query.
///
/// # Errors
/// Those of standard output.
pub fn serve() -> std::io::Result<()> {
    let (queue, queries) = mpsc::channel::<(String, Vec<(String, Frame)>)>();
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        while let Ok(query) = pipe::receive(&mut input) {
            if queue.send(query).is_err() {
                break;
            }
        }
        // Whoever asked is gone.
        std::process::exit(0);
    });
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    for (query, tables) in queries {
        pipe::send(&mut output, &Polars.run(&query, tables, &CancellationToken::new()).map_err(Told::from))?;
    }
    Ok(())
}
