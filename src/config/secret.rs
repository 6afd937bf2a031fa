//! Secrets: a key, or its `_file` twin that names a file holding it.

use secrecy::{ExposeSecret, SecretString};

use super::section::Section;
use super::value::text_of;

/// The text without the credentials of a URL in it: `redis://***@host` for
/// `redis://user:secret@host`. Text without any is unchanged.
#[must_use]
pub fn redacted(text: &str) -> String {
    let Some(scheme_end) = text.find("://").map(|at| at + 3) else {
        return text.to_owned();
    };
    let (scheme, rest) = text.split_at(scheme_end);
    // The last '@' before path, query or fragment ends the credentials. A raw '/' in a password
    // ends the authority early, so an '@' behind it counts as well: rather too little than too much.
    match rest.rfind('@') {
        Some(at) => format!("{scheme}***{}", &rest[at..]),
        None => text.to_owned(),
    }
}

/// Whether a URL holds a user or a password.
pub(super) fn has_credentials(text: &str) -> bool {
    redacted(text) != text
}

impl Section<'_> {
    /// The secret under `key`, or in the file that `<key>_file` names (an empty name: none), less
    /// one line break at its end. Messages hold neither the secret nor what the file holds.
    pub(super) fn take_secret(&mut self, key: &str) -> Option<SecretString> {
        let twin = format!("{key}_file");
        let inline = self.take_inline_secret(key);
        let from_file = self.take_secret_file(&twin);
        match (inline, from_file) {
            (Some(_), Some(_)) => {
                self.problem(
                    &twin,
                    format!("cannot be set together with {key}: keep one of them"),
                );
                None
            }
            (inline, from_file) => inline.or(from_file),
        }
    }

    /// Which of the key and its twin was written, for problems with the secret itself.
    pub(super) fn written_secret(&self, key: &'static str) -> String {
        if self.was_written(key) {
            key.to_owned()
        } else {
            format!("{key}_file")
        }
    }

    fn take_inline_secret(&mut self, key: &str) -> Option<SecretString> {
        let node = self.take_node(key)?;
        match text_of(&node.value) {
            Some(text) => Some(SecretString::from(text)),
            None => {
                let found = node.value.type_name();
                let message = format!("must be a text, found {found} (not shown: it is a secret)");
                self.reader.problem(&node.key_path, message);
                None
            }
        }
    }

    fn take_secret_file(&mut self, key: &str) -> Option<SecretString> {
        let node = self.take_node(key)?;
        let Some(name) = text_of(&node.value) else {
            let found = node.value.type_name();
            let message = format!("must be the path of a file or \"\" for none, found {found}");
            self.reader.problem(&node.key_path, message);
            return None;
        };
        if name.is_empty() {
            return None;
        }
        let path = self.reader.directory.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                if text.is_empty() {
                    let path = path.display();
                    self.problem(
                        key,
                        format!("must name a file that holds a secret: {path} is empty"),
                    );
                }
                Some(SecretString::from(text))
            }
            Err(error) => {
                let path = path.display();
                self.problem(
                    key,
                    format!("must name a file that can be read: {path}: {error}"),
                );
                None
            }
        }
    }
}

/// Whether a secret could travel in an HTTP header as it is.
pub(super) fn is_visible_ascii(secret: &SecretString) -> bool {
    secret
        .expose_secret()
        .bytes()
        .all(|byte| byte.is_ascii_graphic())
}

/// Whether a secret can travel in an HTTP header at all.
pub(super) fn has_control_characters(secret: &SecretString) -> bool {
    secret.expose_secret().chars().any(char::is_control)
}
