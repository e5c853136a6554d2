//! The only unsafe code: the two things of librdkafka that rdkafka does not wrap, records by the hundred and a topic's id.
#![allow(unsafe_code, reason = "calls of the C library; each says why it is sound")]

use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_char};
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;

/// Messages taken from librdkafka with one call.
const TAKEN: usize = 1024;

/// What comes from a partition, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// A record: its offset, its timestamp in milliseconds (negative if it has none), its value (empty if it is null).
    Record(i64, i64, &'a [u8]),
    /// The end, for now: the next offset, behind whatever is no record.
    End(i64),
    /// Reading failed.
    Failed(RDKafkaErrorCode),
}

/// A consumer of one partition, read without rdkafka's queue: several times cheaper a record.
pub(super) struct Inbox<C: ConsumerContext> {
    /// Owned messages; each pointer is in here once and was not destroyed.
    taken: VecDeque<NonNull<c::rd_kafka_message_t>>,
    /// A counted reference to the consumer's queue.
    queue: NonNull<c::rd_kafka_queue_t>,
    /// Kept alive for the two above, which go first: fields are dropped after `drop` has run.
    _consumer: BaseConsumer<C>,
}

// SAFETY: librdkafka's handles may be used from any thread, and a message may be read and destroyed by another thread than the
// one that took it; nothing here is tied to a thread. All access goes through `&mut self`, but for reading a message's bytes,
// which nobody changes.
unsafe impl<C: ConsumerContext> Send for Inbox<C> {}

impl<C: ConsumerContext> Inbox<C> {
    /// Reads what `consumer`, which has a `group.id` and one partition assigned, fetches.
    pub(super) fn new(consumer: BaseConsumer<C>) -> Option<Self> {
        // SAFETY: the client is alive as long as `consumer`, which is kept; the call gives a new reference or null.
        let queue = unsafe { c::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        Some(Self { taken: VecDeque::new(), queue: NonNull::new(queue)?, _consumer: consumer })
    }
    /// Takes what has been fetched by now, without waiting. Answers whether there is anything to look at.
    pub(super) fn fill(&mut self) -> bool {
        if self.taken.is_empty() {
            let mut messages: [*mut c::rd_kafka_message_t; TAKEN] = [ptr::null_mut(); TAKEN];
            // SAFETY: the queue is alive; the array has room for TAKEN pointers, of which the call fills as many as it says, each to
            // a message that is ours from now on. It returns -1 on an error, which the conversion turns into none.
            let count = unsafe {
                c::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, messages.as_mut_ptr(), messages.len())
            };
            let count = usize::try_from(count).unwrap_or(0).min(TAKEN);
            self.taken.extend(messages[..count].iter().copied().filter_map(NonNull::new));
        }
        !self.taken.is_empty()
    }
    /// The oldest event taken.
    pub(super) fn first(&self) -> Option<Event<'_>> {
        let message = *self.taken.front()?;
        // SAFETY: the message is in `taken`, so it is alive until `pop` or `drop`, which need `&mut self`.
        let fields = unsafe { message.as_ref() };
        Some(match fields.err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {
                let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
                // SAFETY: the message is alive, and the call writes one value of the enumeration.
                let timestamp = unsafe { c::rd_kafka_message_timestamp(message.as_ptr(), &raw mut kind) };
                let value: &[u8] = match NonNull::new(fields.payload.cast::<u8>()) {
                    // SAFETY: a message without an error has `len` bytes at `payload`, which live as long as it.
                    Some(start) => unsafe { slice::from_raw_parts(start.as_ptr(), fields.len) },
                    None => &[],
                };
                Event::Record(fields.offset, timestamp, value)
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => Event::End(fields.offset),
            error => Event::Failed(error.into()),
        })
    }
    /// Drops the oldest event.
    pub(super) fn pop(&mut self) {
        if let Some(message) = self.taken.pop_front() {
            // SAFETY: it was in `taken`, so it is ours, and now it is nowhere else.
            unsafe { c::rd_kafka_message_destroy(message.as_ptr()) };
        }
    }
}

impl<C: ConsumerContext> Drop for Inbox<C> {
    fn drop(&mut self) {
        while !self.taken.is_empty() {
            self.pop();
        }
        // SAFETY: the reference that `new` got is given back once; the client outlives this function.
        unsafe { c::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// What a cluster says about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    /// Its id: another one for a topic that was made again under the same name.
    pub(super) id: String,
    /// How many partitions it has.
    pub(super) partitions: u32,
}

/// Asks the cluster for a topic's id and partitions; blocks until it answers or `patience` is over.
pub(super) fn describe<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    patience: Duration,
) -> Result<Description, RDKafkaErrorCode> {
    let name = CString::new(topic).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
    let mut names: [*const c_char; 1] = [name.as_ptr()];
    let patience = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    let (client, mut message) = (client.native_ptr(), [0 as c_char; 256]);
    // SAFETY: `client` is alive for the whole function, as it is borrowed. Each object that is made here is used while it is alive
    // and destroyed once, the event last but for the queue that it came from; `name` outlives the collection's copy of it, and
    // `message` is as long as is said. The answer is read before the event that owns it is destroyed.
    unsafe {
        let queue = c::rd_kafka_queue_new(client);
        let topics = c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let options = c::rd_kafka_AdminOptions_new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        c::rd_kafka_AdminOptions_set_request_timeout(options, patience, message.as_mut_ptr(), message.len());
        c::rd_kafka_DescribeTopics(client, topics, options, queue);
        c::rd_kafka_AdminOptions_destroy(options);
        c::rd_kafka_TopicCollection_destroy(topics);
        let event = c::rd_kafka_queue_poll(queue, patience.saturating_add(1_000));
        let found = match NonNull::new(event) {
            None => Err(RDKafkaErrorCode::OperationTimedOut),
            Some(event) => {
                let found = read(event);
                c::rd_kafka_event_destroy(event.as_ptr());
                found
            }
        };
        c::rd_kafka_queue_destroy(queue);
        found
    }
}

/// Reads the answer to a description of one topic.
///
/// # Safety
/// `event` must be alive.
unsafe fn read(event: NonNull<c::rd_kafka_event_t>) -> Result<Description, RDKafkaErrorCode> {
    let check = |error: RDKafkaRespErr| match error {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        error => Err(RDKafkaErrorCode::from(error)),
    };
    // SAFETY: all pointers come from the event and live as long as it. The calls take null for "no error"; the result is null for an
    // event of another kind, which is checked; the array has `count` pointers to descriptions; the id is a text ended by 0.
    unsafe {
        check(c::rd_kafka_event_error(event.as_ptr()))?;
        let result = c::rd_kafka_event_DescribeTopics_result(event.as_ptr());
        if result.is_null() {
            return Err(RDKafkaErrorCode::Fail);
        }
        let mut count = 0;
        let topics = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() || count == 0 {
            return Err(RDKafkaErrorCode::UnknownTopicOrPartition);
        }
        let topic = *topics;
        check(c::rd_kafka_error_code(c::rd_kafka_TopicDescription_error(topic)))?;
        let mut partitions = 0;
        c::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
        let id = c::rd_kafka_Uuid_base64str(c::rd_kafka_TopicDescription_topic_id(topic));
        if id.is_null() {
            return Err(RDKafkaErrorCode::Fail);
        }
        let id = CStr::from_ptr(id).to_string_lossy().into_owned();
        Ok(Description { id, partitions: u32::try_from(partitions).unwrap_or(u32::MAX) })
    }
}
