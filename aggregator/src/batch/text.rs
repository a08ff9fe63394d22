//! The length of texts from outside.

use dac_types::limits::REASON_MAX_BYTES;

/// Cuts text that came from a member or from L1 to the length that is stored.
pub(super) fn cut(mut text: String) -> String {
    if text.len() > REASON_MAX_BYTES {
        let end = (0..=REASON_MAX_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}
