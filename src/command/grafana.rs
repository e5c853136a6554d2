//! `seam grafana`: writes the provisioning files of the configuration.
use seam_serving::prometheus::provisioning::{Addresses, files};
use seam_shared::config::Config;
use seam_shared::{Error, Result};

use crate::args::Grafana;
use crate::output::say;

/// Writes all files and names them.
pub fn write(config: &Config, command: &Grafana) -> Result<()> {
    let addresses = Addresses {
        seam: command.url.clone().unwrap_or_else(|| format!("http://{}", config.server.listen)),
        prometheus: command.prometheus.clone(),
        sql: command.sql.clone().unwrap_or_else(|| {
            let listens = config.server.sql.as_ref().map(|sql| sql.listen.to_string());
            listens.unwrap_or_else(|| "127.0.0.1:5433".to_owned())
        }),
    };
    for (path, text) in files(config, &addresses) {
        let path = command.out.join(path);
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, text));
        written.map_err(|error| Error::invalid(format!("{} cannot be written", path.display())).because(error))?;
        say!("{}", path.display());
    }
    Ok(())
}
