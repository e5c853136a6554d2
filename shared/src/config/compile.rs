//! From the checked tree to the typed configuration: sources, then views, then what names them.
use super::report::Problems;
use super::tree::Node;
use super::{Config, alerts, cases, definitions, metrics, recommend, settings, sinks, sources, views};

/// Compiles what passed the check of shapes, adding the problems of names and relations. Parts with problems are left out.
pub(super) fn compile(root: &Node, problems: &mut Problems) -> Option<Config> {
    let declared = sources::declare(root, problems);
    let (sources, intake) = sources::compile(root, &declared, problems);
    problems.next_stage();
    let views = views::compile(root, &sources, problems);
    let metrics = metrics::compile(root, &views, problems);
    let recommendations = recommend::compile(root, &views, problems);
    let dashboard = settings::dashboard(root, &metrics, problems);
    let tests = cases::compile(root, &sources, &metrics, problems);
    let storage = settings::storage(root, problems);
    let sinks = sinks::compile(root, &views, &intake, &storage.log, problems);
    Some(Config {
        name: root.text_of("name").unwrap_or(settings::NAME).to_owned(),
        storage,
        sources,
        intake,
        tests,
        batch: settings::batch(root, &views, problems)?,
        views,
        sinks,
        metrics,
        recommendations,
        dashboard,
        server: settings::server(root, problems),
        alerts: alerts::groups(root, problems),
        notify: alerts::receivers(root, problems),
        definitions: definitions::of(root).into(),
    })
}
