//! Questions that are asked again in the same words: what was read of them is kept, and what they were answered with last. While both
//! halves stay as they were, they are answered the same without a look at either.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwapOption;
use axum::http::{HeaderMap, HeaderName, header};
use bytes::Bytes;
use seam_shared::access::Caller;
use seam_shared::time::Timestamp;

use crate::Serving;
use crate::answer::views_of;
use crate::pin::Slot;
use crate::query::{Query, Question, Refusal};

/// How far the log was ahead of an answer, as was seen last: no part of what the answer is a function of.
pub const LAG: HeaderName = HeaderName::from_static("seam-lag");
/// About what a question takes beside its texts.
const QUESTION_BYTES: usize = 1_024;

/// A question as somebody asked it.
#[derive(Debug)]
pub struct Asked {
    /// The `now` that it was read at.
    read: Timestamp,
    /// The question.
    pub question: Question,
    /// Whether it is here for the next one who asks it.
    is_kept: bool,
    last: ArcSwapOption<Last>,
}

/// What a question was answered with last.
#[derive(Debug)]
struct Last {
    slot: Arc<Slot>,
    /// The hash of what was pinned.
    pinned: [u8; 32],
    tag: String,
    headers: HeaderMap,
}

/// An answer that was given before.
#[derive(Debug)]
pub struct Again {
    /// Its tag.
    pub tag: String,
    /// Its body; `None` when the caller has it.
    pub body: Option<Bytes>,
    /// The headers that it had.
    pub headers: HeaderMap,
    /// As an answer has it.
    pub lag: Option<String>,
}

/// Whether the tag of what was pinned and the question are all that the answer depends on.
fn is_plain(query: &Query) -> bool {
    let Query { cursor, generation, min_position, is_final, .. } = query;
    cursor.is_none() && generation.is_none() && min_position.is_none() && !is_final
}

impl Serving {
    /// The question that a caller asks in a URL, and in which format if that is not JSON: read once a second at most, since queries that are asked
    /// often are asked in the same words.
    ///
    /// # Errors
    /// As `read` says.
    pub(crate) fn question(
        &self,
        caller: &Caller,
        (url, format): (&str, Option<&str>),
        read: impl FnOnce() -> Result<Query, Refusal>,
    ) -> Result<Arc<Asked>, Refusal> {
        let now = self.now();
        let key = self.question_key(caller, url, format);
        if let Some(asked) = self.questions.get(&key).filter(|asked| asked.read == now) {
            return Ok(asked);
        }
        let (question, is_kept) = (Question::from(read()?), self.door.knock(&key));
        let asked = Arc::new(Asked { read: now, question, is_kept, last: ArcSwapOption::empty() });
        if !is_kept {
            return Ok(asked);
        }
        asked.question.asked.store(true, Ordering::Relaxed);
        let bytes = QUESTION_BYTES + key.len() + asked.question.spelling.len();
        self.questions.insert(key, asked.clone(), bytes);
        Ok(asked)
    }

    fn question_key(&self, caller: &Caller, url: &str, format: Option<&str>) -> String {
        let mut key = String::with_capacity(url.len() + caller.fingerprint().len() + 48);
        key.extend([url, " ", caller.fingerprint()]);
        key.extend(format);
        match self.names.moves() {
            0 => {}
            moves => key.push_str(&format!(" {moves}")),
        }
        key
    }

    /// Remembers what a question was answered with from what was pinned with that hash: the headers of the response.
    pub(crate) fn note(&self, asked: &Asked, pinned: [u8; 32], headers: &HeaderMap) {
        let query = &asked.question.query;
        if !asked.is_kept || !is_plain(query) {
            return;
        }
        let last = asked.last.load();
        if last.as_ref().is_some_and(|last| last.pinned == pinned) {
            return;
        }
        let Some(tag) = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()) else { return };
        let slot = match last.as_ref() {
            Some(last) => last.slot.clone(),
            None => self.pins.slot(&views_of([query.as_ref()]), query.layer),
        };
        let (tag, mut headers) = (tag.to_owned(), headers.clone());
        headers.remove(LAG);
        asked.last.store(Some(Arc::new(Last { slot, pinned, tag, headers })));
    }

    /// What a JSON question was answered with, if it was read this second, what it is answered from is what it was, and the body is
    /// still kept, or named by `known` (an `If-None-Match` header).
    pub(crate) fn again(&self, caller: &Caller, url: &str, known: Option<&str>) -> Option<Again> {
        let asked =
            self.questions.get(&self.question_key(caller, url, None)).filter(|asked| asked.read == self.now())?;
        let last = asked.last.load();
        let Last { slot, pinned, tag, headers } = last.as_deref()?;
        let pin = slot.shared(self.settings.share_snapshots_for)?;
        if pin.digest != *pinned || pin.building.is_some() {
            return None;
        }
        let is_known = known.is_some_and(|known| crate::etag::matches(known, tag));
        let body = if is_known { None } else { Some(self.kept(tag)?.bytes) };
        Some(Again { tag: tag.clone(), body, headers: headers.clone(), lag: pin.lag.clone() })
    }
}
