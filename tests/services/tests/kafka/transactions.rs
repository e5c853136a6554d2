//! Topics with transactions: only what was committed is read, in order, and marks of transactions are no records.
use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use seam_shared::log::{EventLog, Offset, Partition};

use crate::world::{self, PATIENCE, read_all};

fn send(producer: &BaseProducer, topic: &str, value: &str) {
    producer.send(BaseRecord::<(), str>::to(topic).partition(0).payload(value)).expect("queued");
}

/// Three of seven transactions are aborted, and plain records stand between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_records_are_never_read() {
    let Some(kafka) = world::broker() else { return };
    let bootstrap = kafka.bootstrap();
    let log = world::log(&bootstrap);
    let partition = Partition::new("payments", 0);
    log.open("payments", 1).await.expect("open");
    let transactions = world::producer(&bootstrap, Some("payments"));
    let plain = world::producer(&bootstrap, None);
    transactions.init_transactions(PATIENCE).expect("init");
    let (mut expected, mut aborted) = (Vec::new(), 0);
    for number in 0..70 {
        transactions.begin_transaction().expect("begin");
        for part in 0..1 + number % 5 {
            send(&transactions, "payments", &format!("{number}/{part}"));
        }
        transactions.flush(PATIENCE).expect("flush");
        if number % 7 < 3 {
            transactions.abort_transaction(PATIENCE).expect("abort");
            aborted += 1;
        } else {
            transactions.commit_transaction(PATIENCE).expect("commit");
            expected.extend((0..1 + number % 5).map(|part| format!("{number}/{part}")));
        }
        if number % 3 == 0 {
            send(&plain, "payments", &format!("plain {number}"));
            plain.flush(PATIENCE).expect("flush");
            expected.push(format!("plain {number}"));
        }
    }
    assert!(aborted * 10 >= 70 * 3, "{aborted} of 70 are aborted");
    transactions.begin_transaction().expect("begin");
    send(&transactions, "payments", "the last");
    transactions.commit_transaction(PATIENCE).expect("commit");
    expected.push("the last".to_owned());
    // The broker answers to a commit before it writes the mark, and shows the record only behind it.
    let deadline = std::time::Instant::now() + PATIENCE;
    let (found, position) = loop {
        let (found, position) = read_all(&log, &partition, Offset(0)).await;
        if found.len() >= expected.len() || std::time::Instant::now() > deadline {
            break (found, position);
        }
    };
    assert_eq!(found.iter().map(|(_, value)| value).collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    assert!(found.windows(2).any(|pair| pair[1].0 - pair[0].0 > 2), "there are gaps");
    assert_eq!(position, log.bounds(&partition).await.expect("bounds").1, "the position is behind the last mark");
    let last = found.last().expect("records").0;
    assert!(position.0 > last + 1, "a mark stands behind the last record");
    // From anywhere, also from within a gap, a reader finds the same.
    let other = world::log(&bootstrap);
    for from in (0..position.0).step_by(41) {
        let (rest, end) = read_all(&other, &partition, Offset(from)).await;
        let below = found.partition_point(|(offset, _)| *offset < from);
        assert_eq!((rest.as_slice(), end), (&found[below..], position), "from {from}");
    }
}

/// What lies behind an open transaction waits for it, and so does the end; a run of aborted records only moves the position.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_holds_up_what_is_behind_it() {
    let Some(kafka) = world::broker() else { return };
    let bootstrap = kafka.bootstrap();
    let log = world::log(&bootstrap);
    let partition = Partition::new("orders", 0);
    log.open("orders", 1).await.expect("open");
    let plain = world::producer(&bootstrap, None);
    let transactions = world::producer(&bootstrap, Some("orders"));
    transactions.init_transactions(PATIENCE).expect("init");
    let flushed = |value: &str| {
        send(&plain, "orders", value);
        plain.flush(PATIENCE).expect("flush");
    };
    flushed("first");
    transactions.begin_transaction().expect("begin");
    send(&transactions, "orders", "open");
    transactions.flush(PATIENCE).expect("flush");
    flushed("behind");
    assert_eq!(log.bounds(&partition).await.expect("bounds"), (Offset(0), Offset(1)), "the last stable offset");
    let (found, position) = read_all(&log, &partition, Offset(0)).await;
    assert_eq!((found, position), (vec![(0, "first".to_owned())], Offset(1)));
    let end = log.read(&partition, Offset(1), 10, 1000).await.expect("read at the end");
    assert_eq!((end.len(), end.next), (0, Offset(1)));
    transactions.commit_transaction(PATIENCE).expect("commit");
    let grown = async {
        while log.bounds(&partition).await.expect("bounds").1 <= Offset(1) {
            log.wait(&partition, Offset(1)).await.expect("wait");
        }
    };
    tokio::time::timeout(PATIENCE, grown).await.expect("the end moves on");
    let (found, position) = read_all(&log, &partition, Offset(1)).await;
    assert_eq!(found, [(1, "open".to_owned()), (2, "behind".to_owned())]);
    assert_eq!(position, Offset(4), "the mark at 3 is no record");
    for _ in 0..5 {
        transactions.begin_transaction().expect("begin");
        send(&transactions, "orders", "never");
        transactions.flush(PATIENCE).expect("flush");
        transactions.abort_transaction(PATIENCE).expect("abort");
    }
    // A reader that waits at the end moves on without a record.
    let (mut position, deadline) = (position, std::time::Instant::now() + PATIENCE);
    while position < Offset(14) {
        assert!(std::time::Instant::now() < deadline, "the position moves on, but stands at {position}");
        tokio::time::timeout(Duration::from_secs(3), log.wait(&partition, position))
            .await
            .expect("early")
            .expect("wait");
        let chunk = log.read(&partition, position, 10, 1000).await.expect("read");
        assert!(chunk.is_empty() && chunk.next >= position);
        position = chunk.next;
    }
    flushed("last");
    assert_eq!(read_all(&log, &partition, position).await.0, [(14, "last".to_owned())]);
}
