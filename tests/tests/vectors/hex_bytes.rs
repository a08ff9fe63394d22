//! Bytes in the form that the vectors have: hexadecimal digits after 0x.

use serde::{Deserialize, Deserializer, de::Error};

/// A string of any number of bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl std::fmt::Debug for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{}", hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").ok_or_else(|| D::Error::custom("no 0x before hexadecimal"))?;
        hex::decode(digits).map(Hex).map_err(D::Error::custom)
    }
}

impl Hex {
    /// Returns exactly N bytes.
    pub(crate) fn array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().unwrap_or_else(|_| panic!("{N} bytes are needed, got {}", self.0.len()))
    }
}

/// Calls `see` with every copy of `value` in which one number or hexadecimal string was changed,
/// and with the place of the change.
pub(crate) fn for_each_changed(value: &serde_json::Value, see: &mut dyn FnMut(&str, &serde_json::Value)) {
    let mut pointers = Vec::new();
    leaves(value, String::new(), &mut pointers);
    for pointer in pointers {
        let mut changed = value.clone();
        let leaf = changed.pointer_mut(&pointer).expect("the pointer was made from this value");
        *leaf = match &*leaf {
            serde_json::Value::Number(number) => {
                (number.as_u64().expect("vectors hold unsigned numbers") + 1).into()
            }
            serde_json::Value::String(text) if text.len() > 2 => {
                let (head, last) = text.split_at(text.len() - 1);
                format!("{head}{}", if last == "0" { "1" } else { "0" }).into()
            }
            serde_json::Value::String(_) => "0x00".into(),
            other => panic!("vectors hold no {other}"),
        };
        see(&pointer, &changed);
    }
}

fn leaves(value: &serde_json::Value, pointer: String, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                leaves(field, format!("{pointer}/{name}"), found);
            }
        }
        serde_json::Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                leaves(element, format!("{pointer}/{index}"), found);
            }
        }
        _ => found.push(pointer),
    }
}
