//! Who is in a consumer group, asked without joining it.

use std::ffi::{CStr, CString};
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka_sys as sys;

/// A member of a group, as the coordinator knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPeer {
    pub client_id: String,
    pub host: String,
}

impl std::fmt::Display for GroupPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.client_id, self.host)
    }
}

/// The members of `group`, of either group protocol; none when no such group exists.
///
/// # Errors
/// A text that says what the coordinator or the client answered.
pub(crate) fn members_of<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    timeout: Duration,
) -> Result<Vec<GroupPeer>, String> {
    let failed = |why: String| format!("group {group}: its members could not be read: {why}");
    let name = CString::new(group).map_err(|_| failed("its name holds a NUL".to_owned()))?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the calls follow the order of librdkafka's admin API: every object made here is destroyed
    // here, the request copies names and options, and the result is read only while its event lives.
    unsafe {
        let rk = client.native_ptr();
        let queue = sys::rd_kafka_queue_new(rk);
        let options = sys::rd_kafka_AdminOptions_new(
            rk,
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
        );
        let mut unused = [0; 128];
        sys::rd_kafka_AdminOptions_set_request_timeout(
            options,
            timeout_ms,
            unused.as_mut_ptr(),
            unused.len(),
        );
        let mut names = [name.as_ptr()];
        sys::rd_kafka_DescribeConsumerGroups(rk, names.as_mut_ptr(), names.len(), options, queue);
        let event = sys::rd_kafka_queue_poll(queue, timeout_ms.saturating_add(1000));
        let answer = if event.is_null() {
            Err("no answer in time".to_owned())
        } else {
            read(event)
        };
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_queue_destroy(queue);
        answer.map_err(failed)
    }
}

/// # Safety
/// `event` must be a live DescribeConsumerGroups result event.
unsafe fn read(event: *mut sys::rd_kafka_event_t) -> Result<Vec<GroupPeer>, String> {
    use sys::rd_kafka_resp_err_t as Code;
    // SAFETY: per the contract of this function; every pointer read below is owned by the event.
    unsafe {
        if sys::rd_kafka_event_error(event) != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(text(sys::rd_kafka_event_error_string(event)));
        }
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event);
        let mut count = 0;
        let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
        if count == 0 {
            return Err("an empty answer".to_owned());
        }
        let group = *groups;
        let error = sys::rd_kafka_ConsumerGroupDescription_error(group);
        if !error.is_null() {
            return match sys::rd_kafka_error_code(error) {
                Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(members(group)),
                Code::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND => Ok(vec![]),
                _ => Err(text(sys::rd_kafka_error_string(error))),
            };
        }
        Ok(members(group))
    }
}

/// # Safety
/// `group` must be a live description.
unsafe fn members(group: *const sys::rd_kafka_ConsumerGroupDescription_t) -> Vec<GroupPeer> {
    // SAFETY: per the contract of this function; members are owned by the description.
    unsafe {
        let count = sys::rd_kafka_ConsumerGroupDescription_member_count(group);
        let member = |index| {
            let member = sys::rd_kafka_ConsumerGroupDescription_member(group, index);
            GroupPeer {
                client_id: text(sys::rd_kafka_MemberDescription_client_id(member)),
                host: text(sys::rd_kafka_MemberDescription_host(member))
                    .trim_start_matches('/')
                    .to_owned(),
            }
        };
        (0..count).map(member).collect()
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
