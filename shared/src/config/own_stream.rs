//! The stream that every deployment has: what passed the door, so that its dashboard shows something from the first event on.
use super::{Config, load_with};

/// The source, and also the view, of Seam's own stream.
pub const OWN_STREAM: &str = "seam_pipeline";

const FILE: &str = include_str!("own_stream.yaml");

impl Config {
    /// This configuration with Seam's own stream beside the user's sources. The user's metrics go before its metrics of the same
    /// name; a file without a `dashboard` gets its dashboard; a file that has a source of its name stays as it is.
    #[must_use]
    pub fn with_own_stream(mut self) -> Config {
        let own = load_with(FILE, "own_stream.yaml", &|_| None).expect("a test loads this file");
        if self.source(OWN_STREAM).is_some() || self.view(OWN_STREAM).is_some() {
            return self;
        }
        let new: Vec<_> = own.metrics.into_iter().filter(|metric| self.metric(&metric.name).is_none()).collect();
        let all_own = own.dashboard.metrics.iter().all(|name| new.iter().any(|metric| metric.name == *name));
        if !self.dashboard.declared && all_own {
            self.dashboard = own.dashboard;
        }
        if !self.batch.views.is_empty() {
            self.batch.views.push(OWN_STREAM.to_owned());
        }
        self.sources.extend(own.sources);
        self.intake.extend(own.intake);
        self.views.extend(own.views);
        self.metrics.extend(new);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = "version: 1\nsources: { clicks: { fields: { region: string } } }\nviews: { v: { from: clicks, dimensions: [region], measures: { events: count() } } }\n";

    #[test]
    fn the_own_stream_stands_beside_the_users_and_gives_way_to_it() {
        let none = |_: &str| None;
        let config = load_with(SHOP, "shop.yaml", &none).unwrap().with_own_stream();
        assert_eq!(config.dashboard.metrics, ["events.total", "errors.rate", "processing.latency"]);
        assert_eq!(config.metric("events.total").unwrap().kind.measures()[0].view.name, OWN_STREAM);
        let own = format!("{SHOP}metrics: {{ events.total: {{ view: v, measure: events }} }}\n");
        let config = load_with(&own, "shop.yaml", &none).unwrap().with_own_stream();
        assert_eq!(config.metric("events.total").unwrap().kind.measures()[0].view.name, "v");
        assert_eq!(config.dashboard.metrics, ["events.total"]);
        assert_eq!(config.sources.len(), 2);
    }
}
