//! Queues of librdkafka: messages of a consumer, and replies to admin requests and commits.

use std::ffi::CStr;
use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka_sys as sys;

/// A queue of a client: to be dropped before it.
pub(crate) struct ReplyQueue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for ReplyQueue {}

impl Drop for ReplyQueue {
    fn drop(&mut self) {
        // SAFETY: made by rd_kafka_queue_new and destroyed once.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

impl ReplyQueue {
    pub(crate) fn new<C: ClientContext>(client: &Client<C>) -> Self {
        // SAFETY: the client is alive.
        let queue = unsafe { sys::rd_kafka_queue_new(client.native_ptr()) };
        ReplyQueue(NonNull::new(queue).expect("a queue of a live client is not null"))
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.0.as_ptr()
    }

    /// The next reply, if one arrives within `wait`. `read` gets a live event, which ends with the call.
    pub(crate) fn next<T>(
        &self,
        wait: Duration,
        read: impl FnOnce(*mut sys::rd_kafka_event_t) -> T,
    ) -> Option<T> {
        // SAFETY: the queue is alive.
        let event = unsafe { sys::rd_kafka_queue_poll(self.0.as_ptr(), milliseconds(wait)) };
        if event.is_null() {
            return None;
        }
        let reply = read(event);
        // SAFETY: taken from the queue above and destroyed once.
        unsafe { sys::rd_kafka_event_destroy(event) };
        Some(reply)
    }
}

/// Options of one admin request.
pub(crate) struct RequestOptions(*mut sys::rd_kafka_AdminOptions_t);

impl Drop for RequestOptions {
    fn drop(&mut self) {
        // SAFETY: made by rd_kafka_AdminOptions_new and destroyed once.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0) }
    }
}

impl RequestOptions {
    /// Those of a request that the brokers may take `timeout` to answer.
    pub(crate) fn new<C: ClientContext>(
        client: &Client<C>,
        operation: sys::rd_kafka_admin_op_t,
        timeout: Duration,
    ) -> Self {
        let mut unused = [0; 128];
        // SAFETY: the client is alive, and the buffer for an error is as long as the call is told.
        unsafe {
            let options = sys::rd_kafka_AdminOptions_new(client.native_ptr(), operation);
            sys::rd_kafka_AdminOptions_set_request_timeout(
                options,
                milliseconds(timeout),
                unused.as_mut_ptr(),
                unused.len(),
            );
            RequestOptions(options)
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::rd_kafka_AdminOptions_t {
        self.0
    }
}

fn milliseconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// # Safety
/// `text` must be null or a live C string.
pub(crate) unsafe fn text(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: per the contract of this function.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}
