//! Makes text from other parties safe to show to people: it removes control characters and cuts
//! long lines.

use dac_types::limits::REASON_MAX_BYTES;

/// Returns at most [`REASON_MAX_BYTES`] of `text`, with every character that could steer a terminal
/// replaced.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(REASON_MAX_BYTES));
    for character in text.chars() {
        let character = if is_harmless(character) { character } else { '\u{fffd}' };
        if shown.len() + character.len_utf8() > REASON_MAX_BYTES - '…'.len_utf8() {
            shown.push('…');
            break;
        }
        shown.push(character);
    }
    shown
}

/// Whether a character is neither a control character nor one that reorders or hides others.
fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn terminals_are_not_steered() {
        assert_eq!(printable("a\x1b[31mb\nc\u{202e}d"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d");
    }

    proptest! {
        #[test]
        fn it_is_short_and_harmless(text in "\\PC*") {
            let shown = printable(&text);
            prop_assert!(shown.len() <= REASON_MAX_BYTES);
            prop_assert!(shown.chars().all(is_harmless));
        }
    }
}
