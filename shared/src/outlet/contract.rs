//! What every outlet must do; each adapter's tests run it.
use std::sync::Arc;

use bytes::Bytes;

use super::{Outlet, Record};
use crate::error::Kind;

fn record(key: &str, value: &str) -> Record {
    Record { key: Bytes::copy_from_slice(key.as_bytes()), value: Bytes::copy_from_slice(value.as_bytes()) }
}

/// Runs the contract: `make` gives outlets to one place that nobody has written yet. `fences` says whether there may be several
/// writers, of whom the last to claim wins.
///
/// # Panics
/// When the adapter breaks the contract.
#[expect(clippy::unwrap_used, reason = "a test suite")]
pub async fn run<F: Future<Output = Arc<dyn Outlet>>>(make: impl Fn() -> F, fences: bool) {
    let first = make().await;
    let unclaimed = first.write(&[record("a", "0")], b"none").await;
    assert_eq!(unclaimed.map_err(|e| e.kind()), Err(Kind::Conflict), "a write needs a claim");
    assert_eq!(first.claim().await.unwrap(), None, "nothing is written yet");
    assert!(first.newest(10).await.unwrap().is_empty());

    first.write(&[record("a", "1"), record("b", "1")], b"one").await.unwrap();
    first.write(&[], b"two").await.unwrap();
    first.write(&[record("a", "2")], b"three").await.unwrap();
    assert_eq!(first.claim().await.unwrap().as_deref(), Some(&b"three"[..]), "a claim tells the last mark");
    let values = first.newest(10).await.unwrap();
    let of_a: Vec<&Bytes> = values.iter().filter(|value| value.as_ref() != b"1").collect();
    assert_eq!(of_a, [&Bytes::from("2")]);
    assert_eq!(values.len(), 3, "each record once: {values:?}");
    let place = |text: &str| values.iter().rposition(|value| value.as_ref() == text.as_bytes());
    assert!(place("2") > values.iter().position(|value| value.as_ref() == b"1"), "older before newer");
    first.write(&[], b"four").await.unwrap();

    let second = make().await;
    assert_eq!(second.claim().await.unwrap().as_deref(), Some(&b"four"[..]), "marks outlive their writer");
    second.write(&[record("c", "1")], b"five").await.unwrap();
    if fences {
        let late = first.write(&[record("a", "zombie")], b"zombie").await;
        assert_eq!(late.map_err(|e| e.kind()), Err(Kind::Conflict), "who was taken over cannot write");
        let values = second.newest(10).await.unwrap();
        assert!(!values.iter().any(|value| value.as_ref() == b"zombie"), "{values:?}");
        second.write(&[record("c", "2")], b"six").await.unwrap();
        assert_eq!(first.claim().await.unwrap().as_deref(), Some(&b"six"[..]), "and may take over itself");
    } else {
        assert_eq!(second.claim().await.unwrap().as_deref(), Some(&b"five"[..]));
    }
}
