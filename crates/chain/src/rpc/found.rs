//! Finds a revert's data in a node's error: nodes put it into `data`, into an object in `data`, or
//! into a text.

use alloy::primitives::{Bytes, hex};
use serde_json::Value;

/// The most bytes of revert data that are read; the longest error of the contracts has a few
/// hundred.
const DATA_MAX_BYTES: usize = 4096;
/// The deepest nesting of objects that is searched.
const DEPTH_MAX: usize = 4;
/// The most values of an error's data that are searched.
const VALUES_MAX: usize = 64;

/// Words in errors of calls that reverted. Digits in a text are taken for revert data only beside
/// such a word, since other errors name addresses and calls.
const REVERTED: [&str; 4] = ["revert", "execution error", "vm exception", "err:"];

/// Finds the data of the revert that an error reports: empty if the contract gave none, `None` if
/// the error reports no revert.
///
/// `data` itself and `data.data` are taken as they are, as most nodes write them. Elsewhere, digits
/// are taken only if they have the length of an encoded error: `err: 0x… (supplied gas 36000000)`
/// and `Reverted 0x…` of Nethermind, `{"0x…": {"return": "0x…"}}` of Ganache.
pub(crate) fn find_data(message: &str, data: Option<&Value>) -> Option<Bytes> {
    let plain = data.and_then(|data| data.as_str().or_else(|| data.get("data")?.as_str())).and_then(whole);
    if plain.is_some() {
        return plain;
    }
    let (mut texts, mut left) = (vec![message], VALUES_MAX);
    collect(data, DEPTH_MAX, &mut left, &mut texts);
    let tells = |text: &&str| REVERTED.iter().any(|word| text.to_ascii_lowercase().contains(word));
    if !texts.iter().any(tells) {
        return None;
    }
    // Data beside the message comes from the node itself, while a message may quote anything.
    texts[1..].iter().chain(&texts[..1]).find_map(|text| within(text))
}

fn collect<'a>(value: Option<&'a Value>, depth: usize, left: &mut usize, texts: &mut Vec<&'a str>) {
    let Some(value) = value else { return };
    if *left == 0 {
        return;
    }
    *left -= 1;
    match value {
        Value::String(text) => texts.push(text),
        Value::Object(fields) if depth > 0 => {
            fields.values().for_each(|field| collect(Some(field), depth - 1, left, texts));
        }
        Value::Array(values) if depth > 0 => {
            values.iter().for_each(|value| collect(Some(value), depth - 1, left, texts));
        }
        _ => {}
    }
}

/// Decodes a text that consists of data alone.
fn whole(text: &str) -> Option<Bytes> {
    let digits = text.strip_prefix("0x")?;
    if digits.len() > 2 * DATA_MAX_BYTES {
        return None;
    }
    hex::decode(digits).ok().map(Bytes::from)
}

/// Decodes the first run of digits in a text that can be an encoded error: nothing, or a selector
/// and whole words.
fn within(text: &str) -> Option<Bytes> {
    text.match_indices("0x").find_map(|(start, prefix)| {
        let digits = &text[start + prefix.len()..];
        let length = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
        let is_error = length == 0 || (length % 64 == 8 && length <= 2 * DATA_MAX_BYTES);
        is_error.then(|| hex::decode(&digits[..length]).ok().map(Bytes::from)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;
    use alloy::sol_types::SolError;
    use serde_json::json;

    use super::*;
    use crate::contracts::CertificateLog::AlreadyRecorded;
    use crate::contracts::Refusal;

    #[test]
    fn nodes_write_a_revert_in_many_ways() {
        let digest = B256::repeat_byte(7);
        let data = hex::encode_prefixed(AlreadyRecorded { digest }.abi_encode());
        for (message, said) in [
            ("execution reverted", json!(data)),
            ("VM execution error.", json!(format!("err: {data} (supplied gas 36000000)"))),
            ("VM execution error.", json!(format!("Reverted {data}"))),
            ("Reverted", json!({ "data": data, "message": "x" })),
            (
                "VM Exception while processing transaction: revert",
                json!({ "message": "x", "data": { "data": data } }),
            ),
            (
                "VM Exception",
                json!({ digest.to_string(): { "error": "revert", "return": data }, "name": "s" }),
            ),
            ("VM execution error.", json!([{ "detail": format!("Reverted {data}") }])),
        ] {
            let found = find_data(message, Some(&said)).unwrap_or_else(|| panic!("{message}: {said}"));
            assert_eq!(
                Refusal::decode(&found),
                Refusal::of(&AlreadyRecorded { digest }),
                "{message}: {said}"
            );
        }
        let found = find_data(&format!("execution reverted: {data}"), None).unwrap();
        assert_eq!(Refusal::decode(&found), Refusal::of(&AlreadyRecorded { digest }));
    }

    #[test]
    fn a_revert_without_data_is_one() {
        assert_eq!(find_data("VM execution error.", Some(&json!("Reverted 0x"))), Some(Bytes::new()));
        assert_eq!(find_data("execution reverted", Some(&json!("0x"))), Some(Bytes::new()));
        assert_eq!(find_data("execution reverted", None), None, "the message alone says that");
    }

    #[test]
    fn what_a_node_says_of_itself_is_no_revert() {
        let address = hex::encode_prefixed([3; 20]);
        let call = hex::encode_prefixed([5; 36]);
        for (message, said) in [
            (format!("insufficient funds: address {address}"), None),
            (format!("invalid input {call}"), None),
            ("VM execution error.".to_owned(), Some(json!(format!("err: no funds at {address}")))),
            ("execution reverted".to_owned(), Some(json!({ "txHash": hex::encode_prefixed([9; 32]) }))),
            ("header not found".to_owned(), Some(json!(7))),
        ] {
            assert_eq!(find_data(&message, said.as_ref()), None, "{message}: {said:?}");
        }
    }

    #[test]
    fn what_is_read_is_bounded() {
        let long = format!("Reverted 0x{}", "ab".repeat(4 + 32 * 1024));
        assert_eq!(find_data("VM execution error.", Some(&json!(long))), None);
        let mut deep = json!(format!("Reverted {}", hex::encode_prefixed([1; 36])));
        for _ in 0..100 {
            deep = json!({ "inner": deep });
        }
        assert_eq!(find_data("VM execution error.", Some(&deep)), None);
    }
}
