//! Changing single properties of a topic, which leaves the others as they are.

use std::ffi::CString;
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

use super::admin::RequestError;
use super::reply::{ReplyQueue, RequestOptions, text};

/// Sets these properties (name and value) of `topic` in one IncrementalAlterConfigs request, which
/// brokers know from 2.3 on. The older request would reset every property that it does not carry.
///
/// # Errors
/// What the broker or the client answered; then none of them is changed, or the outcome is unknown.
pub(crate) fn set_properties<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    properties: &[(&str, &str)],
    timeout: Duration,
) -> Result<(), RequestError> {
    let c_string = |text: &str| {
        CString::new(text).map_err(|_| RequestError::refused(format!("{text:?} holds a NUL")))
    };
    let name = c_string(topic)?;
    let properties = properties
        .iter()
        .map(|(property, value)| Ok((c_string(property)?, c_string(value)?)))
        .collect::<Result<Vec<_>, RequestError>>()?;
    // SAFETY: the resource is made and destroyed here; the name outlives the call, which copies it.
    unsafe {
        let resource = sys::rd_kafka_ConfigResource_new(
            sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
            name.as_ptr(),
        );
        let added = add(resource, &properties);
        let answer = added.and_then(|()| send(client, resource, timeout));
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
                let said = text(sys::rd_kafka_error_string(error));
                sys::rd_kafka_error_destroy(error);
                return Err(RequestError::refused(said));
            }
        }
    }
    Ok(())
}

/// # Safety
/// `resource` must be live.
unsafe fn send<C: ClientContext>(
    client: &Client<C>,
    mut resource: *mut sys::rd_kafka_ConfigResource_t,
    timeout: Duration,
) -> Result<(), RequestError> {
    let queue = ReplyQueue::new(client);
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS;
    let options = RequestOptions::new(client, operation, timeout);
    // SAFETY: per the contract of this function; the request copies resource and options, and the event is
    // one of this request, alive until `outcome` returns.
    let answer = unsafe {
        let (rk, options) = (client.native_ptr(), options.as_ptr());
        sys::rd_kafka_IncrementalAlterConfigs(rk, &mut resource, 1, options, queue.as_ptr());
        let wait = timeout.saturating_add(Duration::from_secs(1));
        queue.next(wait, |event| outcome(event))
    };
    answer.unwrap_or_else(|| Err(RequestError::unanswered("no answer in time".to_owned())))
}

/// # Safety
/// `event` must be a live IncrementalAlterConfigs result event.
unsafe fn outcome(event: *mut sys::rd_kafka_event_t) -> Result<(), RequestError> {
    // SAFETY: per the contract of this function; every pointer read below is owned by the event.
    unsafe {
        let code = sys::rd_kafka_event_error(event);
        if code != RD_KAFKA_RESP_ERR_NO_ERROR {
            let said = text(sys::rd_kafka_event_error_string(event));
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
            let said = text(sys::rd_kafka_ConfigResource_error_string(*resources));
            return Err(RequestError::of_code(RDKafkaErrorCode::from(code), said));
        }
        Ok(())
    }
}
