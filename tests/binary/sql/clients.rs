//! The clients that tools are built on: PostgreSQL's driver for Java, and SQLAlchemy.
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Air, air};

fn services() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("infra/services/services.sh")
}

/// What a client says of it, run by `services.sh`.
fn told(air: &Air, client: &str, script: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/binary/sql").join(script);
    let mut command = Command::new(services());
    let out = command.args(["run", client]).arg(script).arg(air.port.to_string()).stdin(Stdio::null()).output();
    let out = out.expect("services.sh runs");
    let (told, wrong) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && told.contains("all well"), "{client}: {told}{wrong}");
}

#[test]
fn the_driver_for_java_and_sqlalchemy_find_their_way() {
    let checked = Command::new(services()).args(["check", "sql"]).output().expect("services.sh runs");
    if !checked.status.success() {
        let why = String::from_utf8_lossy(&checked.stderr).into_owned();
        let advice = "infra/services/services.sh install sql";
        assert!(std::env::var_os("CI").is_none(), "in CI nothing is skipped: {why}; {advice}");
        eprintln!("SKIPPED: {why}; {advice}");
        return;
    }
    let air = air();
    told(&air, "jdbc", "Driver.java");
    told(&air, "sqlalchemy", "tools.py");
}
