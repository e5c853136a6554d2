//! Finished answers, kept by tag for those who ask the same again. One that has a further page is given only as long as the rows of that
//! page are held: whoever gets its cursor can go on.
use bytes::Bytes;

use crate::Serving;
use crate::query::Cursor;

/// A body, and the page behind it.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    /// The text.
    pub(crate) bytes: Bytes,
    /// The cursor of the next page, where there is one.
    pub(crate) next: Option<Cursor>,
}

impl Serving {
    /// The answer with that tag, if it is kept and whole.
    pub(crate) fn kept(&self, tag: &str) -> Option<Body> {
        self.answers.get(tag).filter(|body| self.holds(body.next.as_ref()))
    }
    /// Keeps an answer.
    pub(crate) fn keep(&self, tag: &str, body: &Body) {
        // What takes more room than all lists may is not held even now.
        if self.holds(body.next.as_ref()) {
            self.answers.insert(tag.to_owned(), body.clone(), body.bytes.len());
        }
    }
    /// Whether the rows are held that a cursor goes on with.
    fn holds(&self, next: Option<&Cursor>) -> bool {
        let is_held = |next: &Cursor| self.pages.get(&next.tag).is_some() || self.sheets.get(&next.tag).is_some();
        next.is_none_or(is_held)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use seam_shared::access::Caller;

    use crate::http::router;
    use crate::page::PAGES_BYTES;
    use crate::testing::{World, ask, bytes, get};

    const URL: &str = "/api/analytics/metrics/events.total?dimension=carrier,origin&window=4h&limit=7";

    async fn csv(router: &Router) -> (Option<String>, Vec<u8>) {
        let response = get(router, &URL.replace('?', ".csv?")).await;
        let next = response.headers().get("seam-next").map(|next| next.to_str().expect("text").to_owned());
        (next, bytes(response).await)
    }

    #[tokio::test]
    async fn what_has_a_further_page_is_kept_as_long_as_that_is() {
        let world = World::halved(5).await;
        let settings = crate::Settings {
            share_snapshots_for: std::time::Duration::from_secs(3_600),
            ..crate::Settings::default()
        };
        let serving = world.serving_with(settings).await;
        let (router, everybody) = (router(serving.clone()), Caller::trusted());
        let first = ask(&router, URL).await;
        let second = ask(&router, URL).await;
        let cursor = first["meta"]["next"].as_str().expect("there is more").to_owned();
        let found = serving.again(&everybody, URL, None).expect("it was asked twice");
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&found.body.expect("a body")).expect("JSON"), first);
        assert_eq!(first, second);
        let kept = serving.kept(&found.tag).expect("it is kept");
        assert_eq!(kept.next.map(|next| next.to_string()), Some(cursor.clone()));
        // The same in a format that has no member for the cursor.
        let mut tables = Vec::new();
        for _ in 0..3 {
            tables.push(csv(&router).await);
        }
        assert!(tables[0].0.is_some() && tables.iter().all(|table| *table == tables[0]), "{tables:?}");
        // Something else takes all the room that lists have.
        let tag = found.tag.trim_matches('"').to_owned();
        let page = serving.pages.get(&tag).expect("its rows are held");
        serving.pages.insert("other".to_owned(), page, PAGES_BYTES - 1_000);
        assert!(serving.pages.get(&tag).is_none());
        assert!(serving.kept(&found.tag).is_none() && serving.again(&everybody, URL, None).is_none());
        assert_eq!(csv(&router).await, tables[0]);
        // Whoever asks now can go on.
        assert_eq!(ask(&router, URL).await, first);
        assert!(serving.pages.get(&tag).is_some() && serving.kept(&found.tag).is_some());
        assert_eq!(get(&router, &format!("{URL}&cursor={cursor}")).await.status(), 200);
    }
}
