//! The serve role: answers. It holds nothing, so any number of them may stand behind a balancer; one of them evaluates the alert rules.
mod alerts;
mod pipeline;

use std::sync::Arc;

use async_trait::async_trait;
use seam_serving::http::openapi;
use seam_serving::{Serving, Settings, Stores};
use seam_shared::{Error, Result};

use super::Process;
use super::health::Part;

/// What this program is called with to run SQL's engine, for a process of Seam: no command for people.
#[cfg(feature = "sql")]
pub const SQL_ENGINE: &str = "sql-engine";

/// Adds the serving layer to a process. Stores that are away do not keep it from starting: it says what is missing.
pub async fn start(process: &mut Process) -> Result<()> {
    let serving = serving(process).await?;
    sql(process, &serving).await?;
    process.route(seam_serving::http::routes(serving.clone()), openapi::analytics());
    let shown = pipeline::routes(process.ports.clone(), serving.clone(), process.roles.clone());
    process.route(shown, openapi::pipeline());
    alerts::start(process, &serving)?;
    process.watch(Arc::new(Watch(serving)));
    Ok(())
}

/// The answers of this process: the first role that needs them makes them, and keeps them fresh.
pub async fn serving(process: &mut Process) -> Result<Arc<Serving>> {
    if let Some(serving) = &process.serving {
        return Ok(serving.clone());
    }
    let ports = process.ports.clone();
    let stores = Stores { log: Some(ports.log.clone()), state: ports.state.clone(), lake: ports.lake.clone() };
    let (config, clock) = (ports.config.clone(), ports.clock.clone());
    let serving = Arc::new(Serving::new(config, stores, clock, ports.telemetry.clone(), Settings::default()));
    if let Err(error) = serving.refresh().await {
        tracing::warn!(%error, "serving starts with what it can reach");
    }
    let (refreshed, cancel) = (serving.clone(), process.layers());
    process.work("serving", async move { refreshed.run(cancel).await })?;
    process.serving = Some(serving.clone());
    Ok(serving)
}

/// SQL over the views, if the configuration asks for it.
#[cfg(feature = "sql")]
async fn sql(process: &mut Process, serving: &Arc<Serving>) -> Result<()> {
    let Some(settings) = process.ports.config.server.sql.clone() else { return Ok(()) };
    let program = std::env::current_exe();
    let program = program.map_err(|e| Error::internal("the name of this program is not known").because(e))?;
    let engine = Arc::new(seam_sql::engine::Workers::new(program, &[SQL_ENGINE], settings.max_memory));
    let server = seam_sql::Server::bind(&settings, serving.clone(), process.access.clone(), engine).await?;
    tracing::info!(address = %server.address(), "SQL is answered");
    let cancel = process.layers();
    process.work("sql", async move { server.run(cancel).await })
}

#[cfg(not(feature = "sql"))]
async fn sql(process: &mut Process, _: &Arc<Serving>) -> Result<()> {
    match process.ports.config.server.sql {
        Some(_) => Err(Error::invalid("this build has no SQL: its feature `sql` is off")),
        None => Ok(()),
    }
}

struct Watch(Arc<Serving>);

#[async_trait]
impl Part for Watch {
    async fn checks(&self) -> Vec<(String, Result<()>)> {
        self.0.checks().await
    }
    async fn measure(&self) {
        self.0.measure_lag().await;
    }
}
