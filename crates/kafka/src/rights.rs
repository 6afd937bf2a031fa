//! What the cluster says of topics and groups to one who asks beside the group: which operations this user
//! may do, and who the members are.

use std::collections::BTreeSet;
use std::ffi::{CString, c_char};
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{IsError as _, RDKafkaErrorCode};
use rdkafka_sys as sys;
use sys::rd_kafka_AclOperation_t as Acl;

use super::reply::{ReplyQueue, RequestOptions, text};

/// How much longer than the brokers an answer may take.
const GRACE: Duration = Duration::from_secs(1);

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

impl std::fmt::Display for GroupMemberDescription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.client_id, self.host)
    }
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

/// The members of `group`, of either group protocol; none when no such group exists.
///
/// # Errors
/// A text that says what the coordinator or the client answered.
pub(crate) fn members_of<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    timeout: Duration,
) -> Result<Vec<GroupMemberDescription>, String> {
    let failed = |why: String| format!("group {group}: its members could not be read: {why}");
    let described = group_rights(client, group, timeout).map_err(failed)?;
    match described.error {
        None | Some(RDKafkaErrorCode::GroupIdNotFound) => Ok(described.members),
        Some(code) => Err(failed(code.to_string())),
    }
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
    let queue = ReplyQueue::new(client);
    let options = RequestOptions::new(client, op, timeout);
    // SAFETY: the options are alive; an error is destroyed once.
    unsafe {
        let error =
            sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.as_ptr(), 1);
        if !error.is_null() {
            sys::rd_kafka_error_destroy(error);
        }
    }
    send(client.native_ptr(), options.as_ptr(), queue.as_ptr());
    let answer = queue.next(timeout + GRACE, |event| {
        // SAFETY: the event lives as long as this call, and is the answer to what was sent.
        unsafe {
            if sys::rd_kafka_event_error(event).is_error() {
                Err(text(sys::rd_kafka_event_error_string(event)))
            } else {
                read(event)
            }
        }
    });
    answer.unwrap_or_else(|| Err("no answer in time".to_owned()))
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
                host: text(sys::rd_kafka_MemberDescription_host(member))
                    .trim_start_matches('/')
                    .to_owned(),
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
