//! The kinds of values a key can have: what is allowed, in words that follow "must be".

use std::net::SocketAddr;

use super::tree::Value;

/// Reads one value. `Out` is what the program gets, `canonical` its one spelling in the effective
/// configuration.
pub(super) trait Kind {
    type Out;
    /// What is allowed, with range and unit, to follow "must be".
    fn allowed(&self) -> String;
    fn read(&self, value: &Value) -> Option<Self::Out>;
    fn canonical(&self, out: &Self::Out) -> String;
    /// What a message may say about a wrong value.
    fn found(&self, value: &Value) -> String {
        value.to_string()
    }
}

/// The text of a value, quoted or from a variable.
pub(super) fn text_of(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) | Value::Variable(text) => Some(text),
        _ => None,
    }
}

pub(super) struct Boolean;

impl Kind for Boolean {
    type Out = bool;

    fn allowed(&self) -> String {
        "true or false".to_owned()
    }

    fn read(&self, value: &Value) -> Option<bool> {
        match value {
            Value::Boolean(boolean) => Some(*boolean),
            Value::Variable(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn canonical(&self, out: &bool) -> String {
        out.to_string()
    }
}

/// One of a few names.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Kind for Choice<T> {
    type Out = T;

    fn allowed(&self) -> String {
        let names: Vec<String> = self.0.iter().map(|(name, _)| format!("{name:?}")).collect();
        format!("one of {}", names.join(", "))
    }

    fn read(&self, value: &Value) -> Option<T> {
        let text = text_of(value)?;
        self.0
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, choice)| *choice)
    }

    fn canonical(&self, out: &T) -> String {
        let name = self
            .0
            .iter()
            .find(|(_, choice)| choice == out)
            .map(|(name, _)| *name);
        name.expect("every choice has a name").to_owned()
    }
}

/// A text that passes a check.
pub(super) struct Text {
    pub(super) allowed: &'static str,
    pub(super) check: fn(&str) -> bool,
}

impl Kind for Text {
    type Out = String;

    fn allowed(&self) -> String {
        self.allowed.to_owned()
    }

    fn read(&self, value: &Value) -> Option<String> {
        text_of(value)
            .filter(|text| (self.check)(text))
            .map(str::to_owned)
    }

    fn canonical(&self, out: &String) -> String {
        super::secret::redacted(out)
    }
}

/// Any scalar by its text: what a column can be filled with.
pub(super) struct Scalar;

impl Kind for Scalar {
    type Out = String;

    fn allowed(&self) -> String {
        "a text, a number or a boolean".to_owned()
    }

    fn read(&self, value: &Value) -> Option<String> {
        match value {
            Value::Text(text) | Value::Variable(text) => Some(text.clone()),
            Value::Integer(integer) => Some(integer.to_string()),
            Value::Float(float) if float.is_finite() => Some(format!("{float:?}")),
            Value::Boolean(boolean) => Some(boolean.to_string()),
            _ => None,
        }
    }

    fn canonical(&self, out: &String) -> String {
        super::secret::redacted(out)
    }
}

/// A list, in a variable separated by commas.
pub(super) struct List<K> {
    pub(super) of: K,
    pub(super) may_be_empty: bool,
}

impl<K: Kind> Kind for List<K> {
    type Out = Vec<K::Out>;

    fn allowed(&self) -> String {
        let size = if self.may_be_empty {
            "list"
        } else {
            "list of at least one"
        };
        format!("a {size}, each element {}", self.of.allowed())
    }

    fn read(&self, value: &Value) -> Option<Vec<K::Out>> {
        let list: Vec<K::Out> = match value {
            Value::List(list) => list
                .iter()
                .map(|node| self.of.read(&node.value))
                .collect::<Option<_>>()?,
            Value::Variable(text) if text.trim().is_empty() => Vec::new(),
            Value::Variable(text) => text
                .split(',')
                .map(|part| self.of.read(&Value::Variable(part.trim().to_owned())))
                .collect::<Option<_>>()?,
            _ => return None,
        };
        (self.may_be_empty || !list.is_empty()).then_some(list)
    }

    fn canonical(&self, out: &Vec<K::Out>) -> String {
        let parts: Vec<String> = out
            .iter()
            .map(|element| self.of.canonical(element))
            .collect();
        format!("[{}]", parts.join(", "))
    }

    fn found(&self, value: &Value) -> String {
        match value {
            Value::List(list) if list.is_empty() => "an empty list".to_owned(),
            Value::List(list) => {
                let wrong = list.iter().find(|node| self.of.read(&node.value).is_none());
                wrong.map_or("a list".to_owned(), |node| self.of.found(&node.value))
            }
            value => value.to_string(),
        }
    }
}

/// One value, or a list of them.
pub(super) struct OneOrMore<K>(pub(super) K);

impl<K: Kind> Kind for OneOrMore<K> {
    type Out = Vec<K::Out>;

    fn allowed(&self) -> String {
        format!("{}, or a list of such", self.0.allowed())
    }

    fn read(&self, value: &Value) -> Option<Vec<K::Out>> {
        let list = |list: &[super::tree::Node]| -> Option<Vec<K::Out>> {
            list.iter().map(|node| self.0.read(&node.value)).collect()
        };
        match value {
            Value::List(nodes) => list(nodes).filter(|list| !list.is_empty()),
            one => Some(vec![self.0.read(one)?]),
        }
    }

    fn canonical(&self, out: &Vec<K::Out>) -> String {
        let parts: Vec<String> = out.iter().map(|one| self.0.canonical(one)).collect();
        parts.join(", ")
    }
}

pub(super) struct ListenAddress;

impl Kind for ListenAddress {
    type Out = SocketAddr;

    fn allowed(&self) -> String {
        "an IP address and a port from 0 to 65,535, such as \"127.0.0.1:9187\" or \"[::1]:9187\""
            .to_owned()
    }

    fn read(&self, value: &Value) -> Option<SocketAddr> {
        let text = text_of(value)?;
        // The one name everybody writes; others would need a resolver, and so the network.
        let text = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        text.parse().ok()
    }

    fn canonical(&self, out: &SocketAddr) -> String {
        out.to_string()
    }
}
