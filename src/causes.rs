//! What an error says together with what stands behind it.

/// The texts of an error and of its causes: libraries often name only the request, and what went wrong
/// stands behind it. A cause that is said already is not repeated.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
