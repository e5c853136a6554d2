//! Every layer in one process: the same roles as the processes that `seam ingest`, `speed`, `archive`, `batch`,
//! `sink` and `serve` are.
use seam_serving::access::check_listen;
use seam_shared::Result;
use seam_shared::config::Config;

use crate::role::{self, Process, Role};

/// `seam up`: runs until a signal, then ends in order.
pub fn run(config: Config, insecure: bool) -> Result<()> {
    check_listen(&config, insecure)?;
    role::until_signal(config, &Role::ALL, "seam")
}

/// Every layer, for a program that goes on to do something with them.
pub async fn start(config: Config) -> Result<Process> {
    Process::start(config, &Role::ALL).await
}
