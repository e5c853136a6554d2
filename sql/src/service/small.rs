//! Statements that read no view: settings, transactions, cursors that end.
use sqlparser::ast::{CloseCursor, Expr, Set, Statement};

use super::{Caller, Outcome, Reply};
use crate::error::SqlError;
use crate::frame::Frame;
use crate::literal::as_text;
use crate::session::{SETTINGS, Session, unknown_setting};

/// Statements that read nothing.
pub(super) fn small(caller: Caller<'_>, statement: &Statement) -> Result<Outcome, SqlError> {
    let session = caller.session;
    Ok(match statement {
        Statement::StartTransaction { .. } => Reply::Begin("BEGIN").into(),
        Statement::Commit { .. } => {
            session.close_cursors(false);
            Reply::End("COMMIT").into()
        }
        Statement::Rollback { savepoint: None, .. } => {
            session.close_cursors(false);
            Reply::End("ROLLBACK").into()
        }
        Statement::Rollback { .. } => Reply::Back.into(),
        Statement::Savepoint { .. } => Reply::Done("SAVEPOINT").into(),
        Statement::ReleaseSavepoint { .. } => Reply::Begin("RELEASE").into(),
        Statement::Set(set) => set_statement(session, set)?,
        Statement::Reset(reset) => {
            match &reset.reset {
                sqlparser::ast::Reset::ALL => session.reset(),
                sqlparser::ast::Reset::ConfigurationParameter(name) => drop(session.set(&name.to_string(), None)?),
            }
            Reply::Done("RESET").into()
        }
        Statement::Discard { .. } => {
            session.reset();
            session.close_cursors(true);
            Reply::Done("DISCARD ALL").into()
        }
        Statement::Deallocate { .. } => Reply::Done("DEALLOCATE").into(),
        Statement::Close { cursor } => {
            match cursor {
                CloseCursor::All => session.close_cursors(true),
                CloseCursor::Specific { name } => session.close_cursor(&name.value)?,
            }
            Reply::Done("CLOSE CURSOR").into()
        }
        Statement::UNLISTEN { .. } => Reply::Done("UNLISTEN").into(),
        Statement::ShowVariable { variable } => show(caller, variable)?,
        other => {
            let text = other.to_string();
            let verb: String = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            return Err(SqlError::unsupported(format!("{verb} is not possible: views are read-only"))
                .hint("Views change with the events that they are computed from."));
        }
    })
}

fn show(caller: Caller<'_>, variable: &[sqlparser::ast::Ident]) -> Result<Outcome, SqlError> {
    let words: Vec<&str> = variable.iter().map(|ident| ident.value.as_str()).collect();
    let name = match words.join(" ").to_ascii_lowercase().as_str() {
        "transaction isolation level" => "transaction_isolation".to_owned(),
        "time zone" => "timezone".to_owned(),
        _ => words.join(".").to_ascii_lowercase(),
    };
    if name == "all" {
        let facts = caller.facts();
        let row = |(name, _): (&str, &str)| [Some(name.to_owned()), facts.setting(name), Some(String::new())];
        return Ok(Reply::Rows(Frame::of_text(["name", "setting", "description"], &SETTINGS.map(row))).into());
    }
    let value = caller.facts().setting(&name).ok_or_else(|| unknown_setting(&name))?;
    Ok(Reply::Rows(Frame::one(&name, value)).into())
}

fn set_statement(session: &Session, set: &Set) -> Result<Outcome, SqlError> {
    let text_of = |expr: &Expr| as_text(expr).map_or_else(|| expr.to_string(), str::to_owned);
    let notice = match set {
        Set::SingleAssignment { variable, values, .. } => {
            let value: Vec<String> = values.iter().map(text_of).collect();
            let value = Some(value.join(", ")).filter(|value| !value.eq_ignore_ascii_case("default"));
            session.set(&variable.to_string(), value)?
        }
        Set::SetTimeZone { value, .. } => session.set("timezone", Some(text_of(value)))?,
        _ => None,
    };
    Ok(Outcome { reply: Reply::Done("SET"), notices: notice.into_iter().collect() })
}
