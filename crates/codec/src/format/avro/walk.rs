//! How a schema's records are walked: what is passed over, and what is kept for a slot.
//!
//! The steps are compiled once a schema. Those that lead to wanted values are a tree along the wanted
//! paths, with unions resolved branch by branch; everything beside it is passed over by its type.

use super::convert::Take;
use super::cursor::{Cursor, Read};
use super::schema::{Field, Node, NodeId, Schema, SchemaError};
use super::{Found, Wanted};
use crate::decode::Reason;
use crate::decode::json::DEPTH_MAX;

/// What to do with the value that comes next.
#[derive(Debug)]
pub(super) enum Walk {
    /// Nothing in it is wanted.
    Pass(NodeId),
    /// It is null: these slots are.
    Null(Box<[usize]>),
    /// A string that one slot takes.
    String {
        take: u32,
    },
    /// It is wanted whole.
    Take {
        node: NodeId,
        takes: Box<[u32]>,
    },
    /// Parts of a record are wanted, and maybe the record itself.
    Record {
        node: NodeId,
        takes: Box<[u32]>,
        fields: Box<[Walk]>,
    },
    /// Values of a map are wanted by their names, and maybe the map itself.
    Map {
        value: NodeId,
        takes: Box<[u32]>,
        members: Box<[(Box<str>, Walk)]>,
    },
    Union(Box<[Walk]>),
    /// A branch of a union that its column cannot hold: why.
    Misfit(Box<str>),
}

/// The steps of one schema for the slots of one plan.
#[derive(Debug)]
pub(super) struct Steps {
    pub(super) root: Walk,
    pub(super) takes: Vec<Take>,
    /// Slots that some record of the schema has a value for.
    pub(super) reached: Vec<bool>,
}

/// A slot, and the names that are left of its path.
type Left<'w> = (usize, &'w [String]);

impl Steps {
    /// Compiles the steps.
    ///
    /// # Errors
    /// A field that its column cannot hold, whatever its value and whichever the branch of its union.
    pub(super) fn new(schema: &Schema, wanted: &[Wanted]) -> Result<Steps, SchemaError> {
        let mut steps = Steps {
            root: Walk::Pass(schema.root()),
            takes: vec![],
            reached: vec![false; wanted.len()],
        };
        let left: Vec<Left<'_>> = wanted
            .iter()
            .enumerate()
            .map(|(slot, wanted)| (slot, &wanted.names[..]))
            .collect();
        steps.root = steps.walk(schema, schema.root(), wanted, &left)?;
        Ok(steps)
    }

    /// The fields of the record that no slot takes anything of.
    pub(super) fn unknown_names(&self, schema: &Schema) -> Vec<String> {
        match (&self.root, schema.node(schema.root())) {
            (Walk::Record { takes, fields, .. }, Node::Record(of_schema)) if takes.is_empty() => {
                let walks = of_schema.iter().zip(fields);
                let passed = walks.filter(|(_, walk)| matches!(walk, Walk::Pass(_)));
                passed.map(|(field, _)| field.name.to_string()).collect()
            }
            _ => vec![],
        }
    }

    fn walk(
        &mut self,
        schema: &Schema,
        node: NodeId,
        wanted: &[Wanted],
        left: &[Left<'_>],
    ) -> Result<Walk, SchemaError> {
        if left.is_empty() {
            return Ok(Walk::Pass(node));
        }
        let here = left.iter().filter(|(_, names)| names.is_empty());
        let slots: Vec<usize> = here.map(|(slot, _)| *slot).collect();
        match schema.node(node) {
            Node::Null => return Ok(Walk::Null(slots.into())),
            Node::Union(branches) => {
                return self.union(schema, branches, wanted, left);
            }
            _ => {}
        }
        let takes = self.take(schema, node, wanted, &slots)?;
        let behind = |name: &str| -> Vec<Left<'_>> {
            let of_name = left
                .iter()
                .filter(|(_, names)| names.first().is_some_and(|first| first == name));
            of_name.map(|(slot, names)| (*slot, &names[1..])).collect()
        };
        match schema.node(node) {
            Node::Record(fields) if slots.len() < left.len() => {
                let mut walks = vec![];
                for field in fields {
                    let mut left = behind(&field.name);
                    for alias in own_aliases(field, fields) {
                        left.extend(behind(alias));
                    }
                    walks.push(self.walk(schema, field.node, wanted, &left)?);
                }
                Ok(Walk::Record {
                    node,
                    takes,
                    fields: walks.into(),
                })
            }
            Node::Map(value) if slots.len() < left.len() => {
                let mut names: Vec<&String> =
                    left.iter().filter_map(|(_, names)| names.first()).collect();
                names.sort_unstable();
                names.dedup();
                let mut members = vec![];
                for name in names {
                    let walk = self.walk(schema, *value, wanted, &behind(name))?;
                    members.push((name.as_str().into(), walk));
                }
                Ok(Walk::Map {
                    value: *value,
                    takes,
                    members: members.into(),
                })
            }
            _ if takes.is_empty() => Ok(Walk::Pass(node)),
            Node::String if takes.len() == 1 => Ok(Walk::String { take: takes[0] }),
            _ => Ok(Walk::Take { node, takes }),
        }
    }

    /// A branch that no record may have is no reason to stop: those that have it are refused.
    fn union(
        &mut self,
        schema: &Schema,
        branches: &[NodeId],
        wanted: &[Wanted],
        left: &[Left<'_>],
    ) -> Result<Walk, SchemaError> {
        let mut walks = vec![];
        let (mut fitting, mut misfit) = (0, None);
        for branch in branches {
            let walk = match self.walk(schema, *branch, wanted, left) {
                Ok(walk) => {
                    fitting += usize::from(!matches!(schema.node(*branch), Node::Null));
                    walk
                }
                Err(error) => {
                    let why = error.to_string().into();
                    misfit.get_or_insert(error);
                    Walk::Misfit(why)
                }
            };
            walks.push(walk);
        }
        match misfit {
            Some(error) if fitting == 0 => Err(error),
            _ => Ok(Walk::Union(walks.into())),
        }
    }

    fn take(
        &mut self,
        schema: &Schema,
        node: NodeId,
        wanted: &[Wanted],
        slots: &[usize],
    ) -> Result<Box<[u32]>, SchemaError> {
        let mut numbers = vec![];
        for &slot in slots {
            self.reached[slot] = true;
            numbers.push(self.takes.len() as u32);
            self.takes
                .push(Take::new(schema, node, slot, &wanted[slot])?);
        }
        Ok(numbers.into())
    }
}

/// The aliases of a field that no field has for a name.
fn own_aliases<'f>(field: &'f Field, fields: &'f [Field]) -> impl Iterator<Item = &'f str> {
    let aliases = field.aliases.iter().map(|alias| &**alias);
    aliases.filter(|alias| !fields.iter().any(|other| &*other.name == *alias))
}

/// One record while it is walked.
pub(super) struct Walking<'w> {
    pub(super) schema: &'w Schema,
    pub(super) takes: &'w [Take],
    pub(super) found: &'w mut [Found],
    pub(super) text: &'w mut String,
}

impl Walking<'_> {
    pub(super) fn walk(&mut self, walk: &Walk, cursor: &mut Cursor<'_>) -> Read<()> {
        match walk {
            Walk::Pass(node) => self.schema.pass(*node, cursor, 0),
            Walk::Misfit(why) => Err(cursor.fault_for(Reason::InvalidValue, why.to_string())),
            Walk::Null(slots) => {
                cursor.begin_value()?;
                for &slot in slots {
                    self.found[slot] = Found::Null;
                }
                Ok(())
            }
            Walk::Take { node, takes } => {
                let at = cursor.at();
                for &number in takes {
                    cursor.go_back(at);
                    self.keep(number, cursor)?;
                }
                // A text was made of the value, and validated it.
                match cursor.at() == at {
                    true => self.schema.pass(*node, cursor, 0),
                    false => Ok(()),
                }
            }
            Walk::String { take } => self.string(*take, cursor),
            Walk::Union(branches) => {
                cursor.begin_value()?;
                let index = cursor.index(branches.len(), "branch")?;
                self.walk(&branches[index], cursor)
            }
            Walk::Record {
                node,
                takes,
                fields,
            } => {
                self.keep_whole(takes, cursor)?;
                cursor.begin_value()?;
                for (index, field) in fields.iter().enumerate() {
                    let walked = match field {
                        Walk::String { take } => self.string(*take, cursor),
                        other => self.walk(other, cursor),
                    };
                    if let Err(fault) = walked {
                        return Err(self.in_field(*node, index, fault));
                    }
                }
                Ok(())
            }
            Walk::Map {
                value,
                takes,
                members,
            } => {
                self.keep_whole(takes, cursor)?;
                cursor.begin_value()?;
                while let Some(count) = cursor.block()? {
                    for _ in 0..count {
                        let name = cursor.string()?;
                        let member = members.iter().find(|(wanted, _)| **wanted == *name);
                        match member {
                            Some((_, walk)) => self.walk(walk, cursor),
                            None => self.schema.pass(*value, cursor, 0),
                        }
                        .map_err(|fault| fault.within(name))?;
                    }
                }
                Ok(())
            }
        }
    }

    #[cold]
    fn in_field(
        &self,
        node: NodeId,
        index: usize,
        fault: Box<super::cursor::Fault>,
    ) -> Box<super::cursor::Fault> {
        match self.schema.node(node) {
            Node::Record(fields) => fault.within(&fields[index].name),
            _ => fault,
        }
    }

    /// A string that one slot takes.
    #[inline(always)]
    fn string(&mut self, number: u32, cursor: &mut Cursor<'_>) -> Read<()> {
        let take = &self.takes[number as usize];
        let at = cursor.at();
        cursor.begin_value()?;
        let string = cursor.string()?;
        self.found[take.slot] = match take.has_text {
            false => Found::Value { take: number, at },
            true => Found::Text {
                take: number,
                at,
                natural: take.keep_string(string, cursor.at(), self.text),
            },
        };
        Ok(())
    }

    /// Values that are taken whole and in parts.
    fn keep_whole(&mut self, takes: &[u32], cursor: &mut Cursor<'_>) -> Read<()> {
        let at = cursor.at();
        for &number in takes {
            self.keep(number, cursor)?;
            cursor.go_back(at);
        }
        Ok(())
    }

    /// Notes where a wanted value lies. Where its text is asked for, that is made and validates the value, and
    /// the cursor moves behind it.
    fn keep(&mut self, number: u32, cursor: &mut Cursor<'_>) -> Read<()> {
        let take = &self.takes[number as usize];
        let at = cursor.at();
        self.found[take.slot] = match take.has_text {
            false => Found::Value { take: number, at },
            true => Found::Text {
                take: number,
                at,
                natural: take.append_natural(self.schema, cursor, self.text)?,
            },
        };
        Ok(())
    }
}

impl Schema {
    /// Moves behind a value, and validates it.
    pub(super) fn pass(&self, node: NodeId, cursor: &mut Cursor<'_>, depth: usize) -> Read<()> {
        cursor.begin_value()?;
        match self.node(node) {
            Node::Null => {}
            Node::Boolean => _ = cursor.boolean()?,
            Node::Int | Node::Date => _ = cursor.int()?,
            Node::Long | Node::Timestamp { .. } => _ = cursor.long()?,
            Node::TimeOfDay(unit) => _ = super::text::time_of_day(*unit, cursor)?,
            Node::Float => _ = cursor.fixed(4)?,
            Node::Double => _ = cursor.fixed(8)?,
            Node::Duration => _ = cursor.fixed(12)?,
            Node::Bytes | Node::BigDecimal | Node::Decimal { size: None, .. } => {
                _ = cursor.bytes()?;
            }
            Node::Decimal {
                size: Some(size), ..
            }
            | Node::Fixed(size) => _ = cursor.fixed(*size)?,
            Node::UuidBytes { size } => _ = super::text::uuid(*size, cursor)?,
            Node::String => _ = cursor.string()?,
            Node::Enum(symbols) => _ = cursor.index(symbols.len(), "symbol")?,
            Node::Array(_) | Node::Map(_) | Node::Record(_) | Node::Union(_)
                if depth >= DEPTH_MAX =>
            {
                return Err(cursor.fault_for(Reason::TooDeep, "more than 256 levels"));
            }
            Node::Array(item) => {
                while let Some(count) = cursor.block()? {
                    for _ in 0..count {
                        self.pass(*item, cursor, depth + 1)?;
                    }
                }
            }
            Node::Map(value) => {
                while let Some(count) = cursor.block()? {
                    for _ in 0..count {
                        cursor.string()?;
                        self.pass(*value, cursor, depth + 1)?;
                    }
                }
            }
            Node::Union(branches) => {
                let index = cursor.index(branches.len(), "branch")?;
                self.pass(branches[index], cursor, depth + 1)?;
            }
            Node::Record(fields) => {
                for field in fields {
                    let passed = self.pass(field.node, cursor, depth + 1);
                    passed.map_err(|fault| fault.within(&field.name))?;
                }
            }
        }
        Ok(())
    }
}
