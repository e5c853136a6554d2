//! The program: one command, and an exit code that says what to do.
mod args;
mod client;
mod command;
mod configuration;
mod failure;
mod log_output;
mod output;
mod role;
mod runtime;
mod shutdown;
mod table;
mod wire;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use seam_shared::config;
use seam_shared::{Error, Result, failpoint};

use args::{ArchiveCommand, BatchCommand, Cli, Command, Dlq, Keys, SpeedCommand};
use client::{Client, Credentials};
use command::{
    archive, batch, completions, demo, diff, dlq, doctor, explain, grafana, ingest, keys, prove, query, rebuild, tap,
    top, up, validate,
};
use configuration::{load, wanted};
use failure::Failure;
use output::say;
use role::Role;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a process that runs until a signal logs unless `RUST_LOG` says otherwise.
const SERVICE_LOG: &str = "info,fjall=warn,lsm_tree=warn,object_store=warn";

fn main() -> ExitCode {
    #[cfg(feature = "sql")]
    if std::env::args().nth(1).as_deref() == Some(role::serve::SQL_ENGINE) {
        // Whoever reads its answers is gone, if it fails.
        return seam_sql::engine::serve().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let cli = Cli::parse();
    log_output::start(cli.log_format, default_filter(&cli.command));
    match arm_failpoint().map_err(Failure::from).and_then(|()| run(&cli)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}

/// What a command logs unless `RUST_LOG` says otherwise.
fn default_filter(command: &Command) -> &'static str {
    match command {
        Command::Up(_) | Command::Serve(_) | Command::Sink(_) => SERVICE_LOG,
        Command::Ingest(args::Ingest { files, .. }) if files.is_empty() => SERVICE_LOG,
        Command::Speed(args::Speed { command: None, .. })
        | Command::Archive(args::Archive { command: None, .. })
        | Command::Batch(args::Batch { command: None, .. }) => SERVICE_LOG,
        // its report says what the clients of the services would say again and again
        Command::Doctor(_) => "error",
        _ => "warn",
    }
}

/// Only tests set this variable.
fn arm_failpoint() -> Result<()> {
    match std::env::var("SEAM_FAILPOINT") {
        Ok(text) => failpoint::arm(&text).map_err(Error::invalid),
        Err(_) => Ok(()),
    }
}

/// Does what was typed; the exit code.
fn run(cli: &Cli) -> Result<u8, Failure> {
    let file = cli.config.as_path();
    let credentials = credentials(cli);
    let client = |url: &Option<String>| Client::named(url.as_deref(), file, &credentials);
    match &cli.command {
        Command::Up(command) => every_role(file, command)?,
        Command::Demo(command) => demo::run(command)?,
        Command::Validate(command) => return validate::run(file, command.json),
        Command::Schema => say!("{:#}", config::schema()),
        Command::Grafana(command) => grafana::write(&load(file)?, command)?,
        Command::Ingest(command) if command.files.is_empty() => process(file, Role::Ingest, &command.process)?,
        Command::Ingest(command) => {
            return Ok(ingest::run(wanted(file, command.url.as_deref())?, command, &credentials)?);
        }
        Command::Speed(command) => match &command.command {
            None => process(file, Role::Speed, &command.process)?,
            Some(SpeedCommand::Rebuild(command)) => return Ok(rebuild::run(load(file)?, command)?),
        },
        Command::Archive(command) => match &command.command {
            None => process(file, Role::Archive, &command.process)?,
            Some(ArchiveCommand::Verify(command)) => return Ok(archive::verify(load(file)?, command)?),
        },
        Command::Batch(command) => match &command.command {
            None => process(file, Role::Batch, &command.process)?,
            Some(BatchCommand::Run(command)) => return Ok(batch::run(load(file)?, command)?),
            Some(BatchCommand::Status(command)) => batch::status(load(file)?, command)?,
            Some(BatchCommand::Rollback(command)) => batch::rollback(load(file)?, command)?,
        },
        Command::Sink(command) => process(file, Role::Sink, command)?,
        Command::Diff(command) => return Ok(diff::run(load(file)?, command)),
        Command::Serve(command) => process(file, Role::Serve, command)?,
        Command::Replay(command) => return Ok(rebuild::run(load(file)?, command)?),
        Command::Query(command) => say!("{}", query::query(&client(&command.url)?, command)?),
        Command::Explain(command) => say!("{}", explain::run(&client(&command.url)?, command)?),
        Command::Test(command) => return Ok(prove::run(load(file)?, command)?),
        Command::Dlq(command) => return dead_letters(file, command, &credentials),
        Command::Tap(command) => tap::run(configuration::found(file).as_ref(), &client(&command.url)?, command)?,
        Command::Top(command) if command.url.is_empty() => top::run(&[client(&None)?], command)?,
        Command::Top(command) => {
            let named = command.url.iter().map(|url| Client::new(url, &credentials));
            top::run(&named.collect::<Result<Vec<Client>>>()?, command)?;
        }
        Command::Keys(Keys::Create(command)) => keys::create(configuration::found(file).as_ref(), command)?,
        Command::Keys(Keys::List) => keys::list(&load(file)?)?,
        Command::Completions(command) => completions::print(command),
        Command::Doctor(command) => {
            return match &command.ready {
                Some(url) => Ok(doctor::ready(url)),
                None => Ok(doctor::run(load(file)?, command)?),
            };
        }
    }
    Ok(0)
}

/// What to show to a running Seam: what was typed, else what the environment or the file that it names holds.
fn credentials(cli: &Cli) -> Credentials {
    let key = cli.key.clone().or_else(|| config::variable("SEAM_KEY"));
    Credentials { key: key.map(config::Secret::new), certificates: cli.cacert.clone() }
}

/// Every role until a signal.
fn every_role(file: &Path, command: &args::Process) -> Result<(), Failure> {
    let mut config = load(file)?;
    if let Some(listen) = listen(command)? {
        config.server.listen = listen;
    }
    Ok(up::run(config, command.insecure)?)
}

/// One role until a signal.
fn process(file: &Path, role: Role, command: &args::Process) -> Result<(), Failure> {
    Ok(role::run(load(file)?, role, listen(command)?, command.insecure)?)
}

fn listen(command: &args::Process) -> Result<Option<SocketAddr>> {
    let address = |text: &str| {
        let error =
            || Error::invalid(format!("`{text}` is no address; write it like 127.0.0.1:8080 or localhost:8080"));
        config::address(text).ok_or_else(error)
    };
    command.listen.as_deref().map(address).transpose()
}

fn dead_letters(file: &Path, command: &Dlq, credentials: &Credentials) -> Result<u8, Failure> {
    let config = |url: &Option<String>| wanted(file, url.as_deref());
    match command {
        Dlq::List(command) => dlq::list(config(&command.url)?, command, credentials)?,
        Dlq::Show(command) => dlq::show(config(&command.url)?, command, credentials)?,
        Dlq::Replay(command) => return Ok(dlq::replay(config(&command.url)?, command, credentials)?),
    }
    Ok(0)
}
