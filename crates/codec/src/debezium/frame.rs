//! What a converter puts before a record for a schema registry.

/// Whether bytes begin with a schema's number: zero and an id of four bytes, or one and an id of sixteen.
/// JSON begins with neither, and ids of real registries are small.
#[must_use]
pub(super) fn is_framed(bytes: &[u8]) -> bool {
    match bytes {
        [0, 0, _, _, _, _, ..] => true,
        [1, rest @ ..] => rest.len() > 16,
        _ => false,
    }
}
