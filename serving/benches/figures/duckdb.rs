//! DuckDB on the same view's files, in a process of its own.
use std::path::Path;
use std::process::Command;

/// Queries per second of processor time, and the median in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub by_core: f64,
    pub median: f64,
}

/// What a question of SQL statements takes on one thread, files in the page cache; `None`, said loudly, without Python's duckdb.
pub fn ask(folder: &Path, statements: &[String]) -> Option<Cost> {
    let files = folder.join("views/*/part-*.parquet");
    let program = format!(
        "import duckdb, time, sys\nc = duckdb.connect()\n\
         c.execute(\"SET threads=1; SET enable_progress_bar=false; SET TimeZone='UTC'\")\n\
         c.execute(\"CREATE VIEW sales AS SELECT * FROM read_parquet('{}')\")\n\
         statements = sys.stdin.read().split(';')\n\
         def ask():\n  for s in statements: c.execute(s).fetchall()\n\
         ask()\ntaken, begun, used = [], time.time(), time.process_time()\n\
         while len(taken) < 3 or time.time() - begun < 5:\n  t = time.time(); ask(); taken.append(time.time() - t)\n\
         used = time.process_time() - used\n\
         print(len(taken) / used, sorted(taken)[len(taken) // 2] * 1e3)",
        files.display()
    );
    let mut python = Command::new("python3");
    python.args(["-c", &program]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = python.spawn().ok()?;
    std::io::Write::write_all(&mut child.stdin.take()?, statements.join(";").as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [by_core, median] = numbers[..] else {
        eprintln!("SKIPPED: DuckDB needs python3 with the package of that name");
        return None;
    };
    Some(Cost { by_core, median })
}
