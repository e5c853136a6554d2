//! Statements, one at a time: what each one does, and how a SELECT becomes a read of serving and a query of the engine.
mod copy;
mod cursors;
mod small;

use std::sync::Arc;
use std::time::Duration;

use seam_serving::Serving;
use seam_serving::answer::panes::Panes;
use seam_serving::query::nearest;
use seam_shared::Kind;
use sqlparser::ast::{
    CopyTarget, DescribeAlias, Expr, FunctionArguments, JoinOperator, Query, SelectItem, SetExpr, Statement,
    TableFactor,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::error::{SqlError, state};
use crate::frame::Frame;
use crate::literal::as_number;
use crate::pushdown::{self, Read};
use crate::read;
use crate::rewrite::{self, Relation, Rewritten};
use crate::session::{Facts, Session, Stamp};
use crate::system;

/// What may be tuned.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a statement may take.
    pub timeout: Duration,
    /// Rows of views that one statement may read.
    pub rows: usize,
    /// Statements that may be at work at once.
    pub statements: usize,
}

/// What a statement is answered with.
#[derive(Debug)]
pub enum Reply {
    /// Rows.
    Rows(Frame),
    /// Lines of text, from that many columns.
    Copy(Vec<String>, usize),
    /// Nothing but the name of what was done.
    Done(&'static str),
    /// A transaction begins, or goes on.
    Begin(&'static str),
    /// Back to a savepoint: a transaction that had failed has not.
    Back,
    /// A transaction ends.
    End(&'static str),
}

/// A reply, and what else to tell.
#[derive(Debug)]
pub struct Outcome {
    /// The reply.
    pub reply: Reply,
    /// Notices.
    pub notices: Vec<String>,
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Outcome {
        Outcome { reply, notices: Vec::new() }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The connection.
    pub session: &'a Session,
    /// The name given at login.
    pub user: &'a str,
    /// What the client calls the database.
    pub database: &'a str,
    /// The tables that it may see.
    pub catalog: &'a Arc<Catalog>,
}

impl Caller<'_> {
    fn facts(&self) -> Facts {
        self.session.facts(self.user, self.database)
    }
}

/// SQL over the views of one serving layer.
#[derive(Debug)]
pub struct Service {
    serving: Arc<Serving>,
    engine: Arc<dyn Engine>,
    limits: Limits,
    at_work: Arc<Semaphore>,
}

/// A query ready for serving and engine.
struct Plan {
    text: String,
    reads: Vec<Read>,
    rewritten: Rewritten,
    /// Whether it joins without a condition.
    crosses: bool,
}

impl Service {
    /// SQL over `serving` with that engine.
    pub fn new(serving: Arc<Serving>, engine: Arc<dyn Engine>, limits: Limits) -> Service {
        Service { serving, engine, limits, at_work: Arc::new(Semaphore::new(limits.statements)) }
    }
    /// What somebody may see.
    pub fn catalog(&self, caller: &seam_shared::access::Caller) -> Arc<Catalog> {
        Arc::new(Catalog::new(self.serving.config().clone(), caller))
    }

    /// The answer to a statement. `parameters` stand for `$1`, `$2` and so on.
    ///
    /// # Errors
    /// With SQLSTATE; what was begun is cancelled.
    pub async fn run(
        &self,
        caller: Caller<'_>,
        statement: &Statement,
        parameters: &[Expr],
    ) -> Result<Outcome, SqlError> {
        let timeout = caller.session.timeout(self.limits.timeout);
        let work = async {
            match statement {
                Statement::Query(query) => self.select(caller, query, parameters).await,
                Statement::Explain { statement, .. } => self.explain(caller, statement, parameters),
                Statement::ExplainTable { describe_alias: DescribeAlias::Explain, .. } => {
                    Err(SqlError::unsupported("EXPLAIN needs a SELECT"))
                }
                Statement::Declare { stmts } => self.declare(caller, stmts, parameters).await,
                Statement::Fetch { name, direction, .. } => cursors::fetch(caller.session, &name.value, direction),
                Statement::Copy { source, to: true, target: CopyTarget::Stdout, options, legacy_options, .. } => {
                    let style = copy::style(options, legacy_options)?;
                    let query = copy::query(source)?;
                    let Outcome { reply, notices } = self.select(caller, &query, parameters).await?;
                    let Reply::Rows(frame) = reply else { return Ok(reply.into()) };
                    Ok(Outcome { reply: Reply::Copy(copy::lines(&frame, &style), frame.0.len()), notices })
                }
                other => small::small(caller, other),
            }
        };
        let late =
            |_| SqlError::new(state::CANCELLED, format!("canceling statement due to statement timeout ({timeout:?})"));
        tokio::time::timeout(timeout, work).await.map_err(late)?
    }

    /// The columns of a statement's answer; `None` if it has none.
    ///
    /// # Errors
    /// As [`Service::run`].
    pub async fn describe(
        &self,
        caller: Caller<'_>,
        statement: &Statement,
        parameters: &[Expr],
    ) -> Result<Option<Frame>, SqlError> {
        let query = match statement {
            Statement::Query(query) => query,
            Statement::Fetch { name, .. } => return caller.session.cursor(&name.value, 0).map(Some),
            Statement::ShowVariable { .. } | Statement::Explain { .. } => {
                return match self.run(caller, statement, parameters).await?.reply {
                    Reply::Rows(frame) => Ok(Some(frame)),
                    _ => Ok(None),
                };
            }
            _ => return Ok(None),
        };
        if sleep(query).is_some() {
            return Ok(Some(Frame::one("pg_sleep", "")));
        }
        if let Some(answer) = system::answer(query, parameters, caller.catalog, &caller.facts()) {
            return answer.map(Some);
        }
        let plan = plan(query, caller, parameters)?;
        let mut tables = metas(&plan, caller);
        for read in &plan.reads {
            let table = &caller.catalog.tables[read.table];
            tables.push((table.name.clone(), read::empty(table)));
        }
        let permit = self.permit().await?;
        self.execute(plan.text, plan.rewritten, caller.catalog, permit, move || Ok(tables)).await.map(Some)
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, SqlError> {
        let permit = self.at_work.clone().acquire_owned().await;
        permit.map_err(|_| SqlError::new(state::BUSY, "the server is shutting down"))
    }

    async fn select(&self, caller: Caller<'_>, query: &Query, parameters: &[Expr]) -> Result<Outcome, SqlError> {
        if let Some(pause) = sleep(query) {
            tokio::time::sleep(pause).await;
            return Ok(Reply::Rows(Frame::one("pg_sleep", "")).into());
        }
        if let Some(answer) = system::answer(query, parameters, caller.catalog, &caller.facts()) {
            return Ok(Reply::Rows(answer?).into());
        }
        let plan = plan(query, caller, parameters)?;
        let metas = metas(&plan, caller);
        let permit = self.permit().await?;
        let Plan { text, reads, rewritten, crosses } = plan;
        let mut notices = Vec::new();
        let mut read_rows = Vec::new();
        if !reads.is_empty() {
            let Panes { pin, rows } = self.read(&reads, caller.catalog).await?;
            let stamp = |(read, rows): (&Read, &seam_shared::view::rows::Rows)| {
                let table = &caller.catalog.tables[read.table];
                let pinned = pin.views.iter().find(|pinned| pinned.view.id == table.view.id)?;
                Some(Stamp::new(&table.name, pinned, pin.lag.as_ref(), rows.len()))
            };
            let stamps: Vec<Stamp> = reads.iter().zip(&rows).filter_map(stamp).collect();
            if stamps.len() > 1 {
                let each = stamps.iter().map(|stamp| format!("{} up to {}", stamp.table, stamp.coverage));
                notices.push(format!("answered from {}", each.collect::<Vec<_>>().join("; ")));
            }
            for stamp in stamps.iter().filter(|stamp| !stamp.complete) {
                notices.push(format!("{} is answered without its speed layer", stamp.table));
            }
            caller.session.stamped(stamps);
            read_rows = rows;
        }
        if crosses {
            let product = read_rows.iter().map(|rows| rows.len().max(1)).fold(1, usize::saturating_mul);
            // One table may be there more than once.
            if product.max(read_rows.iter().map(|rows| rows.len().saturating_pow(2)).max().unwrap_or(0))
                > self.limits.rows
            {
                return Err(SqlError::new(state::TOO_MUCH, "tables joined without a condition have too many rows")
                    .hint("Join them with ON or USING."));
            }
        }
        let catalog = caller.catalog.clone();
        let tables = move || {
            let mut tables = metas;
            for (read, rows) in reads.iter().zip(read_rows) {
                let table = &catalog.tables[read.table];
                tables.push((table.name.clone(), read::frame(table, read, &rows)?));
            }
            Ok(tables)
        };
        let frame = self.execute(text, rewritten, caller.catalog, permit, tables).await?;
        Ok(Outcome { reply: Reply::Rows(frame), notices })
    }

    async fn read(&self, reads: &[Read], catalog: &Catalog) -> Result<Panes, SqlError> {
        let selections = reads.iter().map(|read| read::selection(&catalog.tables[read.table], read)).collect();
        let cancel = CancellationToken::new();
        let _cancelled_with_the_statement = cancel.clone().drop_guard();
        let read = self.serving.panes(selections, self.limits.rows, cancel).await;
        read.map_err(|refusal| {
            if refusal.kind != Kind::TooLarge {
                return refusal.into();
            }
            let names: Vec<&str> = reads.iter().map(|read| catalog.tables[read.table].name.as_str()).collect();
            let (names, most) = (names.join(", "), self.limits.rows);
            let error = SqlError::new(state::TOO_MUCH, format!("the statement reads more than {most} rows of {names}"));
            if reads.iter().all(Read::is_bounded) {
                error.hint("Ask for less time, or for some values of the dimensions.")
            } else {
                error.hint("Limit the time: WHERE time >= now() - interval '1 day'.")
            }
        })
    }

    /// Runs the engine on a thread of its own, until it is done or nobody waits for it any more. The permit is given back when it has
    /// ended.
    async fn execute(
        &self,
        text: String,
        rewritten: Rewritten,
        catalog: &Catalog,
        permit: OwnedSemaphorePermit,
        tables: impl FnOnce() -> Result<Vec<(String, Frame)>, SqlError> + Send + 'static,
    ) -> Result<Frame, SqlError> {
        let engine = self.engine.clone();
        let cancel = CancellationToken::new();
        let _cancelled_with_the_statement = cancel.clone().drop_guard();
        let work = move || {
            let _held_to_the_end = permit;
            engine.run(&text, tables()?, &cancel)
        };
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.unwrap_or_else(|_| Err(SqlError::new(state::INTERNAL, "the query engine failed")));
        let mut frame = done.map_err(|error| did_you_mean(error, &rewritten, catalog))?;
        for column in &mut frame.0 {
            if let Some(shown) = rewritten.shown.get(&column.name) {
                column.name.clone_from(shown);
            } else if let Some((name, table)) = column.name.rsplit_once(':')
                && rewritten.aliases.iter().any(|alias| alias == table)
            {
                // The engine's way to tell columns of joined tables apart.
                column.name = name.to_owned();
            }
        }
        Ok(frame)
    }

    /// What a SELECT would read.
    fn explain(&self, caller: Caller<'_>, statement: &Statement, parameters: &[Expr]) -> Result<Outcome, SqlError> {
        let Statement::Query(query) = statement else { return Err(SqlError::unsupported("EXPLAIN needs a SELECT")) };
        let plan = plan(query, caller, parameters)?;
        let mut lines = Vec::new();
        for read in &plan.reads {
            let table = &caller.catalog.tables[read.table];
            let mut line = format!("Read {}", table.name);
            let time = |micros| seam_shared::time::Timestamp(micros).to_rfc3339();
            if read.is_bounded() {
                line.push_str(&format!(", panes that end after {}", time(read.after)));
            }
            if read.until < seam_shared::time::Timestamp::MAX.0 {
                line.push_str(&format!(", up to {}", time(read.until)));
            }
            lines.push([Some(line)]);
            for (dimension, values) in &read.slices {
                let values: Vec<String> = values.iter().map(seam_shared::view::value::Value::to_json).collect();
                let name = &table.view.dimensions[*dimension].name;
                lines.push([Some(format!("  {name}: {}", values.join(", ")))]);
            }
            let columns: Vec<&str> = read.columns.iter().map(|column| table.columns[*column].name.as_str()).collect();
            lines.push([Some(format!("  columns: {}", columns.join(", ")))]);
        }
        lines.push([Some(format!("Run {}", plan.text))]);
        Ok(Reply::Rows(Frame::of_text(["QUERY PLAN"], &lines)).into())
    }
}

fn plan(query: &Query, caller: Caller<'_>, parameters: &[Expr]) -> Result<Plan, SqlError> {
    let mut query = query.clone();
    let rewritten = rewrite::rewrite(&mut query, caller.catalog, &caller.facts(), parameters)?;
    let table = |relation: &Relation| match relation {
        Relation::Table(table) => Some(*table),
        Relation::Meta(_) => None,
    };
    let tables: Vec<usize> = rewritten.relations.iter().filter_map(table).collect();
    let reads = pushdown::reads(&query, caller.catalog, &tables);
    Ok(Plan { text: query.to_string(), reads, rewritten, crosses: crosses(&query) })
}

fn metas(plan: &Plan, caller: Caller<'_>) -> Vec<(String, Frame)> {
    let meta = |relation: &Relation| match relation {
        Relation::Meta(meta) => Some((meta.name().to_owned(), meta.frame(caller.catalog, &caller.session.stamps()))),
        Relation::Table(_) => None,
    };
    plan.rewritten.relations.iter().filter_map(meta).collect()
}

/// An unknown column is looked for among all columns of the tables: the engine knows only those that were read.
fn did_you_mean(error: SqlError, rewritten: &Rewritten, catalog: &Catalog) -> SqlError {
    let Some(named) = error.message.split('"').nth(1).filter(|_| error.code == state::NO_COLUMN).map(str::to_owned)
    else {
        return error;
    };
    let table = |relation: &Relation| match relation {
        Relation::Table(table) => Some(&catalog.tables[*table]),
        Relation::Meta(_) => None,
    };
    let tables = rewritten.relations.iter().filter_map(table);
    let known = tables.flat_map(|table| table.columns.iter().map(|column| column.name.as_str()));
    error.did_you_mean(nearest(&named, known))
}

/// Whether tables stand side by side without a condition anywhere.
fn crosses(query: &Query) -> bool {
    struct Walk(bool);
    impl sqlparser::ast::Visitor for Walk {
        type Break = ();
        fn pre_visit_select(&mut self, select: &sqlparser::ast::Select) -> std::ops::ControlFlow<()> {
            let is_cross = |join: &sqlparser::ast::Join| matches!(join.join_operator, JoinOperator::CrossJoin(_));
            self.0 |= select.from.len() > 1 && select.selection.is_none();
            self.0 |= select.from.iter().any(|from| from.joins.iter().any(is_cross));
            std::ops::ControlFlow::Continue(())
        }
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> std::ops::ControlFlow<()> {
            if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
                let is_cross = |join: &sqlparser::ast::Join| matches!(join.join_operator, JoinOperator::CrossJoin(_));
                self.0 |= table_with_joins.joins.iter().any(is_cross);
            }
            std::ops::ControlFlow::Continue(())
        }
    }
    let mut walk = Walk(false);
    let _ = sqlparser::ast::Visit::visit(query, &mut walk);
    walk.0
}

/// `SELECT pg_sleep(n)`: how people find out whether a statement can be cancelled.
fn sleep(query: &Query) -> Option<Duration> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [SelectItem::UnnamedExpr(Expr::Function(function))] = &select.projection[..] else { return None };
    let name = function.name.to_string().to_ascii_lowercase();
    let FunctionArguments::List(_) = &function.args else { return None };
    if !select.from.is_empty() || !matches!(name.as_str(), "pg_sleep" | "pg_catalog.pg_sleep") {
        return None;
    }
    let argument = rewrite::arguments(function).first().and_then(|seconds| as_number(seconds));
    Duration::try_from_secs_f64(argument?.parse::<f64>().ok()?).ok()
}
