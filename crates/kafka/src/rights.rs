//! What the cluster says of topics and groups to one who asks beside the group: which operations this user
//! may do, and who the members are.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{IsError as _, RDKafkaErrorCode};
use rdkafka_sys as sys;
use sys::rd_kafka_AclOperation_t as Acl;

/// An operation that access control grants or denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Read,
    Write,
    Create,
    Describe,
    DescribeConfigs,
    IdempotentWrite,
}

impl Operation {
    /// As Kafka's tools spell it.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Read => "READ",
            Operation::Write => "WRITE",
            Operation::Create => "CREATE",
            Operation::Describe => "DESCRIBE",
            Operation::DescribeConfigs => "DESCRIBE_CONFIGS",
            Operation::IdempotentWrite => "IDEMPOTENT_WRITE",
        }
    }

    fn of(acl: Acl) -> Option<Self> {
        Some(match acl {
            Acl::RD_KAFKA_ACL_OPERATION_READ => Operation::Read,
            Acl::RD_KAFKA_ACL_OPERATION_WRITE => Operation::Write,
            Acl::RD_KAFKA_ACL_OPERATION_CREATE => Operation::Create,
            Acl::RD_KAFKA_ACL_OPERATION_DESCRIBE => Operation::Describe,
            Acl::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS => Operation::DescribeConfigs,
            Acl::RD_KAFKA_ACL_OPERATION_IDEMPOTENT_WRITE => Operation::IdempotentWrite,
            _ => return None,
        })
    }
}

/// What this user may do; `None` where the broker does not say.
pub type Operations = Option<BTreeSet<Operation>>;

/// A topic, as it is described to this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRights {
    pub topic: String,
    /// Why it is not described: it is missing, or this user may not know.
    pub error: Option<RDKafkaErrorCode>,
    pub partitions: usize,
    pub operations: Operations,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMemberDescription {
    pub client_id: String,
    pub host: String,
    /// Of a static member.
    pub instance_id: Option<String>,
}

/// A consumer group, as it is described to this user. One that does not exist has no members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRights {
    pub error: Option<RDKafkaErrorCode>,
    pub operations: Operations,
    pub members: Vec<GroupMemberDescription>,
}

/// Describes topics, and creates none of them.
///
/// # Errors
/// What the client or the broker said.
pub fn topic_rights<C: ClientContext>(
    client: &Client<C>,
    topics: &[String],
    timeout: Duration,
) -> Result<Vec<TopicRights>, String> {
    if topics.is_empty() {
        return Ok(vec![]);
    }
    let names = c_strings(topics)?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let send = |rk, options, queue| {
        // SAFETY: client, options and queue are alive; the request copies the names.
        unsafe {
            let topics =
                sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            sys::rd_kafka_DescribeTopics(rk, topics, options, queue);
            sys::rd_kafka_TopicCollection_destroy(topics);
        }
    };
    let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    ask(client, op, timeout, send, read_topics)
}

/// Describes a consumer group.
///
/// # Errors
/// What the client or the broker said.
pub fn group_rights<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    timeout: Duration,
) -> Result<GroupRights, String> {
    let names = c_strings(&[group.to_owned()])?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let send = |rk, options, queue| {
        // SAFETY: client, options and queue are alive; the request copies the name.
        unsafe {
            sys::rd_kafka_DescribeConsumerGroups(
                rk,
                pointers.as_mut_ptr(),
                pointers.len(),
                options,
                queue,
            );
        }
    };
    let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    ask(client, op, timeout, send, read_group)
}

fn c_strings(names: &[String]) -> Result<Vec<CString>, String> {
    let c_string =
        |name: &String| CString::new(name.as_str()).map_err(|_| format!("{name:?} holds a NUL"));
    names.iter().map(c_string).collect()
}

/// Sends one request with the question for this user's operations, and reads its answer.
fn ask<C: ClientContext, T>(
    client: &Client<C>,
    op: sys::rd_kafka_admin_op_t,
    timeout: Duration,
    mut send: impl FnMut(
        *mut sys::rd_kafka_t,
        *const sys::rd_kafka_AdminOptions_t,
        *mut sys::rd_kafka_queue_t,
    ),
    read: unsafe fn(*mut sys::rd_kafka_event_t) -> Result<T, String>,
) -> Result<T, String> {
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the calls follow the order of librdkafka's admin API: queue, options and event are made
    // and destroyed here, and the event is read only while it lives; the client is alive.
    unsafe {
        let rk = client.native_ptr();
        let queue = sys::rd_kafka_queue_new(rk);
        let options = sys::rd_kafka_AdminOptions_new(rk, op);
        let mut unused = [0; 128];
        sys::rd_kafka_AdminOptions_set_request_timeout(
            options,
            timeout_ms,
            unused.as_mut_ptr(),
            unused.len(),
        );
        let error = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
        if !error.is_null() {
            sys::rd_kafka_error_destroy(error);
        }
        send(rk, options, queue);
        let event = sys::rd_kafka_queue_poll(queue, timeout_ms.saturating_add(500));
        let answer = if event.is_null() {
            Err("no answer in time".to_owned())
        } else if sys::rd_kafka_event_error(event).is_error() {
            Err(text(sys::rd_kafka_event_error_string(event)))
        } else {
            read(event)
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
/// `event` must be a live DescribeTopics result event.
unsafe fn read_topics(event: *mut sys::rd_kafka_event_t) -> Result<Vec<TopicRights>, String> {
    // SAFETY: per the contract of this function; every pointer read below is owned by the event.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let read = |index| {
            let topic = *topics.add(index);
            let (mut partitions, mut operations) = (0, 0);
            sys::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
            let list = sys::rd_kafka_TopicDescription_authorized_operations(topic, &mut operations);
            TopicRights {
                topic: text(sys::rd_kafka_TopicDescription_name(topic)),
                error: code(sys::rd_kafka_TopicDescription_error(topic)),
                partitions,
                operations: operations_of(list, operations),
            }
        };
        Ok((0..count).map(read).collect())
    }
}

/// # Safety
/// `event` must be a live DescribeConsumerGroups result event.
unsafe fn read_group(event: *mut sys::rd_kafka_event_t) -> Result<GroupRights, String> {
    // SAFETY: per the contract of this function; every pointer read below is owned by the event.
    unsafe {
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event);
        let mut count = 0;
        let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
        if count == 0 {
            return Err("an empty answer".to_owned());
        }
        let group = *groups;
        let mut operations = 0;
        let list =
            sys::rd_kafka_ConsumerGroupDescription_authorized_operations(group, &mut operations);
        let members = sys::rd_kafka_ConsumerGroupDescription_member_count(group);
        let member = |index| {
            let member = sys::rd_kafka_ConsumerGroupDescription_member(group, index);
            let instance_id = text(sys::rd_kafka_MemberDescription_group_instance_id(member));
            GroupMemberDescription {
                client_id: text(sys::rd_kafka_MemberDescription_client_id(member)),
                host: text(sys::rd_kafka_MemberDescription_host(member)),
                instance_id: Some(instance_id).filter(|id| !id.is_empty()),
            }
        };
        Ok(GroupRights {
            error: code(sys::rd_kafka_ConsumerGroupDescription_error(group)),
            operations: operations_of(list, operations),
            members: (0..members).map(member).collect(),
        })
    }
}

/// # Safety
/// `list` must be null or point to `count` operations.
unsafe fn operations_of(list: *const Acl, count: usize) -> Operations {
    if list.is_null() {
        return None;
    }
    // SAFETY: per the contract of this function.
    let operations = (0..count).filter_map(|index| Operation::of(unsafe { *list.add(index) }));
    Some(operations.collect())
}

/// # Safety
/// `error` must be null or a live error.
unsafe fn code(error: *const sys::rd_kafka_error_t) -> Option<RDKafkaErrorCode> {
    if error.is_null() {
        return None;
    }
    // SAFETY: per the contract of this function.
    let code = unsafe { sys::rd_kafka_error_code(error) };
    code.is_error().then(|| code.into())
}

/// # Safety
/// `text` must be null or a live C string.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: per the contract of this function.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}
