//! What users may do, and their passwords, told to a running broker.

use std::ffi::{CStr, CString};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use rdkafka::ClientConfig;
use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaRespErr;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A right of one user: the operation and the resource as `kafka_rights` names them, such as `READ` and
/// `topic orders`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    pub operation: &'static str,
    pub resource: String,
    is_prefix: bool,
}

impl Right {
    pub fn new(operation: &'static str, kind: &str, name: &str) -> Right {
        let resource = format!("{kind} {name}");
        Right {
            operation,
            resource,
            is_prefix: false,
        }
    }

    /// On all resources of the kind whose names begin so.
    pub fn prefixed(operation: &'static str, kind: &str, prefix: &str) -> Right {
        Right {
            is_prefix: true,
            ..Right::new(operation, kind, prefix)
        }
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {}", self.operation, self.resource)
    }
}

fn operation(name: &str) -> Result<sys::rd_kafka_AclOperation_t> {
    use sys::rd_kafka_AclOperation_t::*;
    Ok(match name.to_uppercase().replace('_', "").as_str() {
        "ALL" => RD_KAFKA_ACL_OPERATION_ALL,
        "READ" => RD_KAFKA_ACL_OPERATION_READ,
        "WRITE" => RD_KAFKA_ACL_OPERATION_WRITE,
        "CREATE" => RD_KAFKA_ACL_OPERATION_CREATE,
        "ALTER" => RD_KAFKA_ACL_OPERATION_ALTER,
        "DESCRIBE" => RD_KAFKA_ACL_OPERATION_DESCRIBE,
        "DESCRIBECONFIGS" => RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS,
        "ALTERCONFIGS" => RD_KAFKA_ACL_OPERATION_ALTER_CONFIGS,
        "IDEMPOTENTWRITE" => RD_KAFKA_ACL_OPERATION_IDEMPOTENT_WRITE,
        _ => return Err(anyhow!("{name}: not an operation")),
    })
}

fn resource(text: &str) -> Result<(sys::rd_kafka_ResourceType_t, CString)> {
    use sys::rd_kafka_ResourceType_t::*;
    let (kind, name) = text.split_once(' ').context("a kind and a name")?;
    let kind = match kind {
        "topic" => RD_KAFKA_RESOURCE_TOPIC,
        "group" => RD_KAFKA_RESOURCE_GROUP,
        "cluster" => RD_KAFKA_RESOURCE_BROKER,
        "transactional-id" => RD_KAFKA_RESOURCE_TRANSACTIONAL_ID,
        _ => return Err(anyhow!("{kind}: not a kind of resource")),
    };
    Ok((kind, CString::new(name)?))
}

/// Grants rights to a user.
pub(super) fn grant(bootstrap: &str, user: &str, rights: &[Right]) -> Result<()> {
    let client = client(bootstrap)?;
    let mut bindings = vec![];
    for right in rights {
        bindings.push(binding(user, right)?);
    }
    // SAFETY: client and queue live until the answer is there; the request copies the bindings.
    unsafe {
        let rk = client.client().native_ptr();
        let queue = sys::rd_kafka_queue_new(rk);
        let count = bindings.len();
        sys::rd_kafka_CreateAcls(rk, bindings.as_mut_ptr(), count, std::ptr::null(), queue);
        for binding in bindings {
            sys::rd_kafka_AclBinding_destroy(binding);
        }
        let answer = answered(queue, |event| {
            let result = sys::rd_kafka_event_CreateAcls_result(event);
            let mut count = 0;
            let results = sys::rd_kafka_CreateAcls_result_acls(result, &mut count);
            for index in 0..count {
                said(sys::rd_kafka_acl_result_error(*results.add(index)))?;
            }
            Ok(())
        });
        sys::rd_kafka_queue_destroy(queue);
        answer
    }
}

fn binding(user: &str, right: &Right) -> Result<*mut sys::rd_kafka_AclBinding_t> {
    let (kind, name) = resource(&right.resource)?;
    let principal = CString::new(format!("User:{user}"))?;
    let mut why = [0; 256];
    let pattern = match right.is_prefix {
        true => sys::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_PREFIXED,
        false => sys::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_LITERAL,
    };
    // SAFETY: every text outlives the call, and the buffer is as long as the call is told.
    let binding = unsafe {
        sys::rd_kafka_AclBinding_new(
            kind,
            name.as_ptr(),
            pattern,
            principal.as_ptr(),
            c"*".as_ptr(),
            operation(right.operation)?,
            sys::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
            why.as_mut_ptr(),
            why.len(),
        )
    };
    ensure!(!binding.is_null(), "{right}: no right of Kafka's");
    Ok(binding)
}

/// Sets the password of a user who comes in by SCRAM, of both strengths: a request takes one of a user.
pub(super) fn set_password(bootstrap: &str, user: &str, password: &str) -> Result<()> {
    use sys::rd_kafka_ScramMechanism_t::{
        RD_KAFKA_SCRAM_MECHANISM_SHA_256, RD_KAFKA_SCRAM_MECHANISM_SHA_512,
    };
    let client = client(bootstrap)?;
    let user = CString::new(user)?;
    for mechanism in [
        RD_KAFKA_SCRAM_MECHANISM_SHA_256,
        RD_KAFKA_SCRAM_MECHANISM_SHA_512,
    ] {
        set_password_of(&client, &user, mechanism, password)?;
    }
    Ok(())
}

fn set_password_of(
    client: &BaseConsumer,
    user: &CString,
    mechanism: sys::rd_kafka_ScramMechanism_t,
    password: &str,
) -> Result<()> {
    let none = std::ptr::null();
    // SAFETY: client and queue live until the answer is there; texts are copied by the calls.
    unsafe {
        let rk = client.client().native_ptr();
        let queue = sys::rd_kafka_queue_new(rk);
        let (password, length) = (password.as_ptr(), password.len());
        let mut change = sys::rd_kafka_UserScramCredentialUpsertion_new(
            user.as_ptr(),
            mechanism,
            4096,
            password,
            length,
            std::ptr::null(),
            0,
        );
        sys::rd_kafka_AlterUserScramCredentials(rk, &mut change, 1, none, queue);
        sys::rd_kafka_UserScramCredentialAlteration_destroy(change);
        let answer = answered(queue, |event| {
            let result = sys::rd_kafka_event_AlterUserScramCredentials_result(event);
            let mut count = 0;
            let responses =
                sys::rd_kafka_AlterUserScramCredentials_result_responses(result, &mut count);
            for index in 0..count {
                let response = *responses.add(index);
                said(sys::rd_kafka_AlterUserScramCredentials_result_response_error(response))?;
            }
            Ok(())
        });
        sys::rd_kafka_queue_destroy(queue);
        answer
    }
}

fn client(bootstrap: &str) -> Result<BaseConsumer> {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()?;
    client.fetch_metadata(None, TIMEOUT)?;
    Ok(client)
}

/// # Safety
/// `queue` must be live, and `read` must fit the request that it answers.
unsafe fn answered(
    queue: *mut sys::rd_kafka_queue_t,
    read: impl FnOnce(*mut sys::rd_kafka_event_t) -> Result<()>,
) -> Result<()> {
    let patience = i32::try_from(TIMEOUT.as_millis())?;
    // SAFETY: per the contract of this function; the event is destroyed once, after it was read.
    unsafe {
        let event = sys::rd_kafka_queue_poll(queue, patience);
        ensure!(!event.is_null(), "the broker does not answer");
        let code = sys::rd_kafka_event_error(event);
        let answer = if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            read(event)
        } else {
            let why = CStr::from_ptr(sys::rd_kafka_event_error_string(event));
            Err(anyhow!("{}", why.to_string_lossy()))
        };
        sys::rd_kafka_event_destroy(event);
        answer
    }
}

/// # Safety
/// `error` must be null or live.
unsafe fn said(error: *const sys::rd_kafka_error_t) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: per the contract of this function.
    let code = unsafe { sys::rd_kafka_error_code(error) };
    if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    // SAFETY: per the contract of this function.
    let why = unsafe { CStr::from_ptr(sys::rd_kafka_error_string(error)) };
    Err(anyhow!("{}", why.to_string_lossy()))
}
