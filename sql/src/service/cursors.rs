//! Cursors, by which libraries read a long answer in pieces: the whole answer is kept, of the moment at which it was asked for.
use sqlparser::ast::{Declare, Expr, FetchDirection};

use super::{Caller, Outcome, Reply, Service};
use crate::error::SqlError;
use crate::literal::as_number;
use crate::session::Session;

impl Service {
    /// `DECLARE name CURSOR FOR query`.
    pub(super) async fn declare(
        &self,
        caller: Caller<'_>,
        declared: &[Declare],
        parameters: &[Expr],
    ) -> Result<Outcome, SqlError> {
        let [Declare { names, hold, for_query: Some(query), .. }] = declared else {
            return Err(SqlError::unsupported("DECLARE is for a cursor: DECLARE name CURSOR FOR SELECT …"));
        };
        let name = names.first().map_or("", |name| name.value.as_str());
        caller.session.check_cursor(name)?;
        let Outcome { reply, notices } = self.select(caller, query, parameters).await?;
        if let Reply::Rows(frame) = reply {
            caller.session.open_cursor(name, frame, *hold == Some(true));
        }
        Ok(Outcome { reply: Reply::Done("DECLARE CURSOR"), notices })
    }
}

/// `FETCH … FROM name`, forward only.
pub(super) fn fetch(session: &Session, name: &str, direction: &FetchDirection) -> Result<Outcome, SqlError> {
    let counted = |limit: &sqlparser::ast::ValueWithSpan| {
        let count = as_number(&Expr::Value(limit.clone())).and_then(|digits| digits.parse::<usize>().ok());
        count.ok_or_else(|| SqlError::unsupported("cursors go forward only"))
    };
    let count = match direction {
        FetchDirection::Next | FetchDirection::Forward { limit: None } => 1,
        FetchDirection::Count { limit } | FetchDirection::Forward { limit: Some(limit) } => counted(limit)?,
        FetchDirection::All | FetchDirection::ForwardAll => usize::MAX,
        _ => return Err(SqlError::unsupported("cursors go forward only")),
    };
    session.cursor(name, count).map(|frame| Reply::Rows(frame).into())
}
