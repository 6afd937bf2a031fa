//! Kafka's ids of topics: a topic that was deleted and made again has another.

use std::ffi::{CStr, CString};
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka_sys as sys;

/// The id as base64 text, or `-` where the broker tells none.
pub(crate) type TopicId = String;

/// Asks the cluster for the id of `topic`.
///
/// # Errors
/// A text that says what the broker or the client answered.
pub(crate) fn topic_id<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<TopicId, String> {
    let name = CString::new(topic).map_err(|_| format!("{topic:?} is no topic name"))?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the calls follow the order of librdkafka's admin API: every object made here is
    // destroyed here, results are read only while the event that owns them lives, and the client
    // outlives the queue.
    unsafe {
        let rk = client.native_ptr();
        let queue = sys::rd_kafka_queue_new(rk);
        let mut names = [name.as_ptr()];
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
        let options = sys::rd_kafka_AdminOptions_new(
            rk,
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        let mut unused = [0; 128];
        sys::rd_kafka_AdminOptions_set_request_timeout(
            options,
            timeout_ms,
            unused.as_mut_ptr(),
            unused.len(),
        );
        sys::rd_kafka_DescribeTopics(rk, topics, options, queue);
        let event = sys::rd_kafka_queue_poll(queue, timeout_ms.saturating_add(1000));
        let answer = if event.is_null() {
            Err("no answer in time".to_owned())
        } else {
            read_id(event)
        };
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_TopicCollection_destroy(topics);
        sys::rd_kafka_queue_destroy(queue);
        answer.map_err(|e| format!("topic {topic}: its id could not be read: {e}"))
    }
}

/// # Safety
/// `event` must be a live DescribeTopics result event.
unsafe fn read_id(event: *mut sys::rd_kafka_event_t) -> Result<TopicId, String> {
    // SAFETY: per the contract of this function; every pointer read below is owned by the event.
    unsafe {
        if sys::rd_kafka_event_error(event) != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return Err(text(sys::rd_kafka_event_error_string(event)));
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        let mut count = 0;
        let descriptions = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if count == 0 {
            return Err("an empty answer".to_owned());
        }
        let description = *descriptions;
        let error = sys::rd_kafka_TopicDescription_error(description);
        if !error.is_null()
            && sys::rd_kafka_error_code(error)
                != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return Err(text(sys::rd_kafka_error_string(error)));
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(description);
        if id.is_null() {
            return Ok("-".to_owned());
        }
        let id = text(sys::rd_kafka_Uuid_base64str(id));
        let is_none = id.is_empty() || id.chars().all(|c| c == 'A');
        Ok(if is_none { "-".to_owned() } else { id })
    }
}

/// # Safety
/// `text` must be null or a live C string.
unsafe fn text(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: per the contract of this function.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}
