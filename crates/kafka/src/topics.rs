//! Kafka's ids of topics: a topic that was deleted and made again has another.

use std::ffi::CString;
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka_sys as sys;

use super::reply::{ReplyQueue, RequestOptions, text};

/// The id as base64 text, or `-` where the broker tells none.
pub type TopicId = String;

/// What the cluster says of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicAnswer {
    Id(TopicId),
    /// No topic has this name.
    Missing,
    /// The broker cannot tell now.
    Unknown(String),
}

/// What a topic that one may not describe looks like: it may be there.
pub const MISSING_RIGHT: &str = "the user of kafka.properties lacks the right DESCRIBE on the topic: grant it READ, which includes it";

/// What is known of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: usize,
    /// Partitions that no broker serves now.
    pub leaderless: Vec<i32>,
}

/// Asks the cluster about `topic`, and waits for the answer.
///
/// # Errors
/// A text that says what the broker or the client answered.
pub(crate) fn describe_topic<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<TopicDescription, String> {
    let failed = |why: &str| format!("topic {topic}: its id could not be read: {why}");
    let question = TopicQuestion::new(client);
    question
        .ask(client, &[topic], timeout)
        .map_err(|why| failed(&why))?;
    let wait = timeout + Duration::from_secs(1);
    let answer = question
        .next(wait, read_description)
        .unwrap_or_else(|| Err("no answer in time".to_owned()));
    match answer.map_err(|why| failed(&why))?.pop() {
        Some((_, Ok(description))) => Ok(description),
        Some((_, Err(TopicAnswer::Unknown(why)))) => Err(failed(&why)),
        Some((_, Err(_))) => Err(failed("the topic does not exist")),
        None => Err(failed("an empty answer")),
    }
}

/// Where the answers to questions about topics arrive. To be dropped before its client.
pub(crate) struct TopicQuestion(ReplyQueue);

/// Topics and what the cluster says of each, or why it says nothing.
pub type TopicAnswers = Result<Vec<(String, TopicAnswer)>, String>;

impl TopicQuestion {
    pub(crate) fn new<C: ClientContext>(client: &Client<C>) -> Self {
        TopicQuestion(ReplyQueue::new(client))
    }

    /// Sends a question; its answer, or that there is none within `timeout`, arrives later.
    ///
    /// # Errors
    /// A name that is no topic's.
    pub(crate) fn ask<C: ClientContext>(
        &self,
        client: &Client<C>,
        topics: &[&str],
        timeout: Duration,
    ) -> Result<(), String> {
        let name =
            |topic: &&str| CString::new(*topic).map_err(|_| format!("{topic:?} is no topic name"));
        let names: Vec<CString> = topics.iter().map(name).collect::<Result<_, _>>()?;
        let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = RequestOptions::new(client, operation, timeout);
        // SAFETY: the request copies names and options; the collection is made and destroyed here, and
        // client and queue are alive.
        unsafe {
            let topics =
                sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            let (rk, queue) = (client.native_ptr(), self.0.as_ptr());
            sys::rd_kafka_DescribeTopics(rk, topics, options.as_ptr(), queue);
            sys::rd_kafka_TopicCollection_destroy(topics);
        }
        Ok(())
    }

    /// The next answer, if one arrives within `wait`.
    pub(crate) fn answer(&self, wait: Duration) -> Option<TopicAnswers> {
        self.next(wait, read_answer)
    }

    /// The same; `read` is called with descriptions of a live result.
    fn next<T>(
        &self,
        wait: Duration,
        read: unsafe fn(*const sys::rd_kafka_TopicDescription_t) -> T,
    ) -> Option<Result<Vec<(String, T)>, String>> {
        // SAFETY: the event is one of DescribeTopics, alive until the call ends.
        self.0
            .next(wait, |event| unsafe { read_answers(event, read) })
    }
}

/// # Safety
/// `event` must be a live DescribeTopics result event, and `read` ask for no more than a description of it.
unsafe fn read_answers<T>(
    event: *mut sys::rd_kafka_event_t,
    read: unsafe fn(*const sys::rd_kafka_TopicDescription_t) -> T,
) -> Result<Vec<(String, T)>, String> {
    // SAFETY: per the contract of this function; every pointer read below is owned by the event.
    unsafe {
        if sys::rd_kafka_event_error(event) != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return Err(text(sys::rd_kafka_event_error_string(event)));
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        let mut count = 0;
        let descriptions = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let read = |index| {
            let description = *descriptions.add(index);
            let name = text(sys::rd_kafka_TopicDescription_name(description));
            (name, read(description))
        };
        Ok((0..count).map(read).collect())
    }
}

/// # Safety
/// `description` must be one of a live result.
unsafe fn read_description(
    description: *const sys::rd_kafka_TopicDescription_t,
) -> Result<TopicDescription, TopicAnswer> {
    // SAFETY: per the contract of this function; the partitions are owned by the description.
    unsafe {
        let id = match read_answer(description) {
            TopicAnswer::Id(id) => id,
            other => return Err(other),
        };
        let mut count = 0;
        let partitions = sys::rd_kafka_TopicDescription_partitions(description, &mut count);
        let is_leaderless = |index: &usize| {
            sys::rd_kafka_TopicPartitionInfo_leader(*partitions.add(*index)).is_null()
        };
        let number = |index| sys::rd_kafka_TopicPartitionInfo_partition(*partitions.add(index));
        Ok(TopicDescription {
            id,
            partitions: count,
            leaderless: (0..count).filter(is_leaderless).map(number).collect(),
        })
    }
}

/// # Safety
/// `description` must be one of a live result.
unsafe fn read_answer(description: *const sys::rd_kafka_TopicDescription_t) -> TopicAnswer {
    use sys::rd_kafka_resp_err_t as Code;
    // SAFETY: per the contract of this function.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(description);
        if !error.is_null() {
            match sys::rd_kafka_error_code(error) {
                Code::RD_KAFKA_RESP_ERR_NO_ERROR => {}
                Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                | Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID => return TopicAnswer::Missing,
                Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED => {
                    return TopicAnswer::Unknown(MISSING_RIGHT.to_owned());
                }
                _ => return TopicAnswer::Unknown(text(sys::rd_kafka_error_string(error))),
            }
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(description);
        if id.is_null() {
            return TopicAnswer::Id("-".to_owned());
        }
        let id = text(sys::rd_kafka_Uuid_base64str(id));
        let is_none = id.is_empty() || id.chars().all(|c| c == 'A');
        TopicAnswer::Id(if is_none { "-".to_owned() } else { id })
    }
}
