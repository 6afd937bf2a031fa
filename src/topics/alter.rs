//! Changing single properties of a topic, which leaves the others as they are.

use std::ffi::{CStr, CString};
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

use super::cluster::RequestError;

/// Sets these properties (name and value) of `topic` in one IncrementalAlterConfigs request, which
/// brokers know from 2.3 on. The older request would reset every property that it does not carry.
///
/// # Errors
/// What the broker or the client answered; then none of them is changed, or the outcome is unknown.
pub(super) fn set_properties<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    properties: &[(&str, &str)],
    timeout: Duration,
) -> Result<(), RequestError> {
    let text = |text: &str| {
        CString::new(text).map_err(|_| RequestError::refused(format!("{text:?} holds a NUL")))
    };
    let name = text(topic)?;
    let properties = properties
        .iter()
        .map(|(property, value)| Ok((text(property)?, text(value)?)))
        .collect::<Result<Vec<_>, RequestError>>()?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the calls follow the order of librdkafka's admin API: every object made here is
    // destroyed here, the result is read only while the event that owns it lives, the names outlive
    // the calls, which copy them, and the client outlives the queue.
    unsafe {
        let rk = client.native_ptr();
        let resource = sys::rd_kafka_ConfigResource_new(
            sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
            name.as_ptr(),
        );
        let added = add(resource, &properties);
        let answer = added.and_then(|()| send(rk, resource, timeout_ms));
        sys::rd_kafka_ConfigResource_destroy(resource);
        answer
    }
}

/// # Safety
/// `resource` must be live.
unsafe fn add(
    resource: *mut sys::rd_kafka_ConfigResource_t,
    properties: &[(CString, CString)],
) -> Result<(), RequestError> {
    for (property, value) in properties {
        // SAFETY: per the contract of this function; an error is read before it is destroyed.
        unsafe {
            let error = sys::rd_kafka_ConfigResource_add_incremental_config(
                resource,
                property.as_ptr(),
                sys::rd_kafka_AlterConfigOpType_t::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET,
                value.as_ptr(),
            );
            if !error.is_null() {
                let said = read(sys::rd_kafka_error_string(error));
                sys::rd_kafka_error_destroy(error);
                return Err(RequestError::refused(said));
            }
        }
    }
    Ok(())
}

/// # Safety
/// `rk` and `resource` must be live.
unsafe fn send(
    rk: *mut sys::rd_kafka_t,
    mut resource: *mut sys::rd_kafka_ConfigResource_t,
    timeout_ms: i32,
) -> Result<(), RequestError> {
    // SAFETY: per the contract of this function, and as in its caller.
    unsafe {
        let queue = sys::rd_kafka_queue_new(rk);
        let options = sys::rd_kafka_AdminOptions_new(
            rk,
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS,
        );
        let mut unused = [0; 128];
        sys::rd_kafka_AdminOptions_set_request_timeout(
            options,
            timeout_ms,
            unused.as_mut_ptr(),
            unused.len(),
        );
        sys::rd_kafka_IncrementalAlterConfigs(rk, &mut resource, 1, options, queue);
        let event = sys::rd_kafka_queue_poll(queue, timeout_ms.saturating_add(1000));
        let answer = if event.is_null() {
            Err(RequestError::unanswered("no answer in time".to_owned()))
        } else {
            outcome(event)
        };
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_queue_destroy(queue);
        answer
    }
}

/// # Safety
/// `event` must be a live IncrementalAlterConfigs result event.
unsafe fn outcome(event: *mut sys::rd_kafka_event_t) -> Result<(), RequestError> {
    // SAFETY: per the contract of this function; every pointer read below is owned by the event.
    unsafe {
        let code = sys::rd_kafka_event_error(event);
        if code != RD_KAFKA_RESP_ERR_NO_ERROR {
            let said = read(sys::rd_kafka_event_error_string(event));
            return Err(RequestError::of_code(RDKafkaErrorCode::from(code), said));
        }
        let result = sys::rd_kafka_event_IncrementalAlterConfigs_result(event);
        let mut count = 0;
        let resources = sys::rd_kafka_IncrementalAlterConfigs_result_resources(result, &mut count);
        if count == 0 {
            return Err(RequestError::unanswered("an empty answer".to_owned()));
        }
        let code = sys::rd_kafka_ConfigResource_error(*resources);
        if code != RD_KAFKA_RESP_ERR_NO_ERROR {
            let said = read(sys::rd_kafka_ConfigResource_error_string(*resources));
            return Err(RequestError::of_code(RDKafkaErrorCode::from(code), said));
        }
        Ok(())
    }
}

/// # Safety
/// `text` must be null or a live C string.
unsafe fn read(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: per the contract of this function.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}
