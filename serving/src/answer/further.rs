//! The further pages of an answer, cut from the list that the first one left.
use crate::Serving;
use crate::answer::page::expired;
use crate::pin::etag;
use crate::query::{Cursor, Query, Question, Refusal};

use super::Answer;

impl Serving {
    /// A further page of an answer.
    pub(crate) async fn page(&self, query: &Query, cursor: &Cursor, known: Option<&str>) -> Result<Answer, Refusal> {
        let mut page = self.pages.get(&cursor.tag);
        if page.is_none() {
            // As long as nothing was added, the same list can be made again.
            let first = Question::from(Query { cursor: None, ..query.clone() });
            self.first_page(&first, None, false).await?;
            page = self.pages.get(&cursor.tag);
        }
        let page = page.ok_or_else(expired)?;
        // Times that are meant from `now` on are those of the first page.
        let asked = Question::from(Query { times: page.query.times.clone(), rate: page.query.rate, ..query.clone() });
        if asked.spelling != Question::from(page.query.as_ref().clone()).spelling
            || cursor.rows >= page.points.list.len()
        {
            return Err(Refusal::parameter("cursor", "this cursor is of another question"));
        }
        let tag = format!("\"{cursor}\"");
        let next = page.next(cursor.rows).map(|next| next.to_string());
        let known = known.is_some_and(|header| etag::matches(header, &tag));
        let body = if known { None } else { Some(page.write(cursor.rows)?.into()) };
        let coverage = page.stamp.coverage.clone();
        Ok(Answer { tag, pinned: None, body, next, coverage, lag: None, building: None, format: query.format })
    }
}
