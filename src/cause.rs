//! Errors of libraries say what failed in layers; the innermost one tells why.

use std::error::Error;

/// The innermost cause of an error.
#[must_use]
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
