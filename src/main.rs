//! The program: one command, and an exit code that says what to do.
mod archive;
mod args;
mod batch;
mod client;
mod completions;
mod demo;
mod diff;
mod dlq;
mod doctor;
mod explain;
mod grafana;
mod ingest;
mod keys;
mod log_output;
mod output;
mod prove;
mod rebuild;
mod role;
mod runtime;
mod shutdown;
mod tap;
mod top;
mod up;
mod wire;

use std::process::ExitCode;

use clap::Parser;
use seam_shared::config::{self, Config, Report};
use seam_shared::{Error, Kind, Result, failpoint};

use args::{Cli, Command};
use client::{Client, Credentials};
use output::{counted, say};
use role::Role;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What `sysexits.h` calls EX_CONFIG: mend the configuration before trying again.
const BAD_CONFIGURATION: u8 = 78;
/// What `diff` says when it could not compare: 1 says that something differs.
const TROUBLE: u8 = 2;
/// EX_TEMPFAIL: the same command may work later, as it is.
const TRY_LATER: u8 = 75;
/// EX_NOPERM: the key is missing, wrong or not meant for this.
const NO_PERMISSION: u8 = 77;
/// EX_UNAVAILABLE: something that the command needs is not there.
const UNAVAILABLE: u8 = 69;

/// What a process that runs until a signal logs unless `RUST_LOG` says otherwise.
const SERVICE_LOG: &str = "info,fjall=warn,lsm_tree=warn,object_store=warn";

fn main() -> ExitCode {
    #[cfg(feature = "sql")]
    if std::env::args().nth(1).as_deref() == Some(role::serve::SQL_ENGINE) {
        // Whoever reads its answers is gone, if it fails.
        return seam_sql::engine::serve().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    end_quietly_when_nobody_reads();
    let cli = Cli::parse();
    let default_filter = match &cli.command {
        Command::Up(_) | Command::Serve(_) | Command::Sink(_) => SERVICE_LOG,
        Command::Ingest(args::Ingest { files, .. }) if files.is_empty() => SERVICE_LOG,
        Command::Speed(args::Speed { command: None, .. })
        | Command::Archive(args::Archive { command: None, .. })
        | Command::Batch(args::Batch { command: None, .. }) => SERVICE_LOG,
        // its report says what the clients of the services would say again and again
        Command::Doctor(_) => "error",
        _ => "warn",
    };
    log_output::start(cli.log_format, default_filter);
    match arm_failpoint().and_then(|()| run(cli)) {
        Ok(code) => ExitCode::from(code),
        Err(Failure::Configuration(report)) => {
            eprintln!("{report}");
            ExitCode::from(BAD_CONFIGURATION)
        }
        Err(Failure::Unreadable(error)) => {
            eprintln!("error: {error}");
            ExitCode::from(BAD_CONFIGURATION)
        }
        Err(Failure::Error(error)) => {
            eprintln!("error: {error}");
            ExitCode::from(match error.kind() {
                Kind::Conflict => TRY_LATER,
                Kind::Unavailable => UNAVAILABLE,
                Kind::Denied => NO_PERMISSION,
                Kind::Invalid | Kind::NotFound | Kind::TooLarge | Kind::Corrupt | Kind::Internal => 1,
            })
        }
    }
}

/// Standard output may be closed by whoever reads it, as `head` does: that ends a command, but is no bug.
fn end_quietly_when_nobody_reads() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload().downcast_ref::<String>().map_or("", String::as_str);
        if said.starts_with("failed printing to stdout") && said.contains("Broken pipe") {
            std::process::exit(0);
        }
        hook(panic);
    }));
}

/// Only tests set this variable.
fn arm_failpoint() -> Result<(), Failure> {
    match std::env::var("SEAM_FAILPOINT") {
        Ok(text) => Ok(failpoint::arm(&text).map_err(Error::invalid)?),
        Err(_) => Ok(()),
    }
}

/// Why a command ended without doing what it was asked to.
enum Failure {
    Configuration(Report),
    /// There is no configuration to look at.
    Unreadable(Error),
    Error(Error),
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

fn run(cli: Cli) -> Result<u8, Failure> {
    let file = cli.config.as_path();
    let credentials = credentials(&cli);
    match &cli.command {
        Command::Schema => say!("{:#}", config::schema()),
        Command::Grafana(command) => grafana::write(&load(file)?, command)?,
        Command::Validate(command) => return validate(file, command.json),
        Command::Up(command) => {
            let mut config = load(file)?;
            if let Some(listen) = listen(command)? {
                config.server.listen = listen;
            }
            up::run(config, command.insecure)?;
        }
        Command::Demo(command) => demo::run(command)?,
        Command::Ingest(command) if command.files.is_empty() => process(file, Role::Ingest, &command.process)?,
        Command::Ingest(command) => {
            return Ok(ingest::run(wanted(file, command.url.as_deref())?, command, &credentials)?);
        }
        Command::Speed(args::Speed { command: Some(args::SpeedCommand::Rebuild(command)), .. }) => {
            return Ok(rebuild::run(load(file)?, command)?);
        }
        Command::Replay(command) => return Ok(rebuild::run(load(file)?, command)?),
        Command::Speed(command) => process(file, Role::Speed, &command.process)?,
        Command::Archive(args::Archive { command: Some(args::ArchiveCommand::Verify(command)), .. }) => {
            return Ok(archive::verify(load(file)?, command)?);
        }
        Command::Archive(command) => process(file, Role::Archive, &command.process)?,
        Command::Batch(args::Batch { command: Some(args::BatchCommand::Run(command)), .. }) => {
            return Ok(batch::run(load(file)?, command)?);
        }
        Command::Batch(args::Batch { command: Some(args::BatchCommand::Status(command)), .. }) => {
            batch::status(load(file)?, command)?;
        }
        Command::Batch(args::Batch { command: Some(args::BatchCommand::Rollback(command)), .. }) => {
            batch::rollback(load(file)?, command)?;
        }
        Command::Diff(command) => {
            let config = load(file)?;
            return Ok(diff::run(config, command).unwrap_or_else(|error| {
                eprintln!("error: {error}");
                TROUBLE
            }));
        }
        Command::Batch(command) => process(file, Role::Batch, &command.process)?,
        Command::Sink(command) => process(file, Role::Sink, command)?,
        Command::Serve(command) => process(file, Role::Serve, command)?,
        Command::Query(command) => {
            say!("{}", client::query(&client(file, command.url.as_deref(), &credentials)?, command)?);
        }
        Command::Explain(command) => {
            say!("{}", explain::run(&client(file, command.url.as_deref(), &credentials)?, command)?);
        }
        Command::Tap(command) => {
            let client = client(file, command.url.as_deref(), &credentials)?;
            tap::run(configured(file).as_ref(), &client, command)?;
        }
        Command::Top(command) => {
            let named = command.url.iter().map(|url| Client::new(url, &credentials));
            let mut clients = named.collect::<Result<Vec<Client>>>()?;
            if clients.is_empty() {
                clients.push(client(file, None, &credentials)?);
            }
            top::run(&clients, command)?;
        }
        Command::Keys(args::Keys::Create(command)) => keys::create(configured(file).as_ref(), command)?,
        Command::Keys(args::Keys::List) => keys::list(&load(file)?)?,
        Command::Completions(command) => completions::print(command),
        Command::Test(command) => return Ok(prove::run(load(file)?, command)?),
        Command::Doctor(command) => return doctor(file, command),
        Command::Dlq(args::Dlq::List(command)) => {
            dlq::list(wanted(file, command.url.as_deref())?, command, &credentials)?
        }
        Command::Dlq(args::Dlq::Show(command)) => {
            dlq::show(wanted(file, command.url.as_deref())?, command, &credentials)?
        }
        Command::Dlq(args::Dlq::Replay(command)) => {
            return Ok(dlq::replay(wanted(file, command.url.as_deref())?, command, &credentials)?);
        }
    }
    Ok(0)
}

/// One role until a signal.
fn process(file: &std::path::Path, role: Role, command: &args::Process) -> Result<(), Failure> {
    Ok(role::run(load(file)?, role, listen(command)?, command.insecure)?)
}

fn listen(command: &args::Process) -> Result<Option<std::net::SocketAddr>> {
    command.listen.as_deref().map(address).transpose()
}

fn doctor(file: &std::path::Path, command: &args::Doctor) -> Result<u8, Failure> {
    match &command.ready {
        Some(url) => Ok(doctor::ready(url)),
        None => Ok(doctor::run(load(file)?, command)?),
    }
}

fn address(text: &str) -> Result<std::net::SocketAddr> {
    text.parse().map_err(|_| Error::invalid(format!("`{text}` is no address; write it like 127.0.0.1:8080")))
}

fn load(file: &std::path::Path) -> Result<Config, Failure> {
    let text = read(file)?;
    Ok(config::load(&text, &file.display().to_string())?)
}

/// The text of a configuration, without the mark that some editors begin a file with.
fn read(file: &std::path::Path) -> Result<String, Failure> {
    let name = file.display();
    let bytes = std::fs::read(file).map_err(|e| {
        let hint = "name another with --config, or try `seam demo`";
        Failure::Unreadable(Error::not_found(format!("the configuration {name} cannot be read; {hint}")).because(e))
    })?;
    let text = String::from_utf8(bytes).map_err(|e| {
        Failure::Unreadable(
            Error::invalid(format!("the configuration {name} is no UTF-8 text")).because(e.utf8_error()),
        )
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// What to show to a running Seam: what was typed, else what the environment or the file that it names holds.
fn credentials(cli: &Cli) -> Credentials {
    let key = cli.key.clone().or_else(|| config::variable("SEAM_KEY"));
    Credentials { key: key.map(config::Secret::new), certificates: cli.cacert.clone() }
}

/// The configuration, if there is one and it is right: commands that ask a running Seam can do without.
fn configured(file: &std::path::Path) -> Option<Config> {
    read(file).ok().and_then(|text| config::load(&text, "seam.yaml").ok())
}

/// The configuration, which must be right; a Seam that is named by its address is asked without one.
fn wanted(file: &std::path::Path, url: Option<&str>) -> Result<Option<Config>, Failure> {
    if url.is_some() { Ok(configured(file)) } else { load(file).map(Some) }
}

/// A client of the Seam that is named, or of the one that the configuration describes.
fn client(file: &std::path::Path, url: Option<&str>, credentials: &Credentials) -> Result<Client> {
    match (url, configured(file)) {
        (Some(url), _) => Client::new(url, credentials),
        (None, Some(config)) => Client::of(&config, credentials),
        (None, None) => Client::new("127.0.0.1:8080", credentials),
    }
}

fn validate(file: &std::path::Path, json: bool) -> Result<u8, Failure> {
    let text = read(file)?;
    match config::load(&text, &file.display().to_string()) {
        Ok(_) if json => say!("{}", serde_json::json!({ "file": file.display().to_string(), "problems": [] })),
        Ok(config) => say!(
            "{} is right: {}, {}, {}",
            file.display(),
            counted(config.sources.len() as u64, "source"),
            counted(config.views.len() as u64, "view"),
            counted(config.metrics.len() as u64, "metric")
        ),
        Err(report) => {
            if json {
                say!("{:#}", report_json(&report));
            } else {
                eprintln!("{report}");
            }
            return Ok(BAD_CONFIGURATION);
        }
    }
    Ok(0)
}

fn report_json(report: &Report) -> serde_json::Value {
    let problem = |p: &config::Problem| serde_json::json!({ "line": p.line, "column": p.column, "message": p.message, "suggestion": p.suggestion });
    serde_json::json!({ "file": report.file, "problems": report.problems.iter().map(problem).collect::<Vec<_>>() })
}
