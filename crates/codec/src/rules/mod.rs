//! Rules about the fields of a record: conditions, made ready once and held against each record.
//!
//! A condition passes, fails, or cannot be told: of a field that is absent, null or of another form than is
//! asked for, nothing but its absence holds, and neither does the opposite. A record fails a check that
//! cannot be told.

mod forms;
mod number;
mod ready;

use std::fmt;
use std::sync::Arc;

use hashbrown::HashSet;

pub use self::ready::{Check, InvalidCondition, Moments};

/// What a rule asks of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Every one of these.
    All(Vec<Condition>),
    /// At least one of these.
    Any(Vec<Condition>),
    /// The opposite.
    Not(Box<Condition>),
    /// One field.
    Field {
        /// Where it is: `$.a.b`.
        path: String,
        /// What it must be.
        test: Test,
    },
}

impl Condition {
    /// The paths of all fields that it looks at.
    #[must_use]
    pub fn paths(&self) -> Vec<&str> {
        match self {
            Condition::All(all) | Condition::Any(all) => {
                all.iter().flat_map(Condition::paths).collect()
            }
            Condition::Not(one) => one.paths(),
            Condition::Field { path, test } => {
                let others = match test {
                    Test::EqualsProduct(of) | Test::EqualsSum(of) => &of.paths[..],
                    Test::EqualsField { path, .. } => std::slice::from_ref(path),
                    _ => &[],
                };
                let paths = std::iter::once(path).chain(others);
                paths.map(String::as_str).collect()
            }
        }
    }
}

/// What is asked of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// It is there and not null.
    Present,
    /// It is absent or null.
    Absent,
    /// Equal to this.
    Equal(Operand),
    /// Another than this.
    NotEqual(Operand),
    /// Above this.
    Above(Operand),
    /// Not below this.
    AtLeast(Operand),
    /// Below this.
    Below(Operand),
    /// Not above this.
    AtMost(Operand),
    /// From the first to the second, both included.
    Between(Operand, Operand),
    /// Equal to one of these.
    In(Vec<Operand>),
    /// Equal to none of these.
    NotIn(Vec<Operand>),
    /// Its text is one of these lines.
    InFile(Lines),
    /// The expression is found in its text, anywhere.
    Matches(String),
    /// Its text begins so.
    StartsWith(String),
    /// Its text ends so.
    EndsWith(String),
    /// Characters of its text, at least.
    LengthMin(u64),
    /// Characters of its text, at most.
    LengthMax(u64),
    /// A JSON value of this type.
    Type(JsonType),
    /// 8-4-4-4-12 hex digits.
    IsUuid,
    /// An address of mail.
    IsEmail,
    /// An address of IPv4 or IPv6.
    IsIp,
    /// A scheme, `://` and a host.
    IsUrl,
    /// The product of these fields.
    EqualsProduct(Computed),
    /// Their sum.
    EqualsSum(Computed),
    /// The field at this path: numbers up to the tolerance, texts exactly.
    EqualsField {
        /// Where it is.
        path: String,
        /// As of what is computed.
        tolerance: String,
    },
}

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// The text of a JSON number.
    Number(String),
    /// A text; `now`, `now-7d` and RFC 3339 are times.
    Text(String),
}

/// The lines of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Lines {
    /// The same for the same lines: what stands for them where conditions are compared as texts.
    pub digest: String,
    /// What it has.
    pub lines: Arc<HashSet<Box<str>>>,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lines({})", self.digest)
    }
}

/// Fields that are computed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    /// Where they are.
    pub paths: Vec<String>,
    /// How far the field may be from the result, itself included: the text of a JSON number.
    pub tolerance: String,
}

/// The types of JSON; an integer is a number without fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonType {
    /// A string.
    String,
    /// A number.
    Number,
    /// A number without fraction, `1.0` among them.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// An object.
    Object,
    /// An array.
    Array,
}
