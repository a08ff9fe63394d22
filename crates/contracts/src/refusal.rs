//! Why a contract refused a call: the rule that the call broke, with its values, or the data that
//! came back instead of one.

use std::collections::BTreeMap;
use std::fmt;

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::{Panic, Revert as RevertString, SolError};
use serde::ser::SerializeStructVariant;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::freeze::FreezeReason;
use super::log::CertificateLog;
use super::rules::{Effect, Kind, Rule};

/// The most bytes that are kept of a refusal's text, and of data that is not understood.
const UNEXPLAINED_MAX_BYTES: usize = 256;
/// The bytes of a selector, which precede the values.
const SELECTOR_BYTES: usize = 4;
/// The bytes of one value in an error's data.
const WORD_BYTES: usize = 32;

/// Why a contract refused a call. The poster stores it, so its JSON form must not change.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Refusal {
    /// Nothing is deployed at the address that was called.
    #[error("there is no contract at {address}")]
    NoCode {
        /// The address.
        address: Address,
    },
    /// The contract reverted with `revert("text")` or `require(condition, "text")`.
    #[error("the contract says: {text}")]
    Text {
        /// The text, shortened.
        text: String,
    },
    /// An assertion failed, an addition overflowed or the like: a fault in the contract.
    #[error("the contract panicked with code {code}")]
    Panic {
        /// Solidity's panic code.
        code: U256,
    },
    /// The call stopped without reverting: it ran out of gas, met an invalid instruction, or took
    /// longer than the node runs calls.
    #[error("the call did not finish: {reason}")]
    Halted {
        /// The node's reason, shortened.
        reason: String,
    },
    /// The data that came back is no error of these contracts: another contract is at the address,
    /// or the call failed without a reason.
    #[error("the call failed without a reason that is understood ({data})")]
    Unexplained {
        /// The data that came back, shortened.
        data: Bytes,
    },
    /// The call broke a rule of a contract.
    #[error("{0}")]
    #[serde(untagged)]
    Rule(BrokenRule),
}

impl Refusal {
    /// Decodes the data of a revert. This never fails, since a contract may return any data.
    pub fn decode(data: &[u8]) -> Self {
        if let Some(broken) = BrokenRule::decode(data) {
            return Self::Rule(broken);
        }
        if let Ok(RevertString { reason }) = RevertString::abi_decode(data) {
            return Self::Text {
                text: reason.chars().filter(|c| !c.is_control()).take(UNEXPLAINED_MAX_BYTES).collect(),
            };
        }
        if let Ok(Panic { code }) = Panic::abi_decode(data) {
            return Self::Panic { code };
        }
        Self::Unexplained { data: Bytes::copy_from_slice(&data[..data.len().min(UNEXPLAINED_MAX_BYTES)]) }
    }

    /// The refusal that consists of this contract error.
    pub fn of(error: &impl SolError) -> Self {
        Self::decode(&error.abi_encode())
    }

    /// Whether this is a certain error of a contract, with any values.
    pub fn is<E: SolError>(&self) -> bool {
        matches!(self, Self::Rule(broken) if broken.rule.selector() == E::SELECTOR)
    }

    /// This error of a contract with its values, or `None` if this is another error.
    pub fn get<E: SolError>(&self) -> Option<E> {
        match self {
            Self::Rule(broken) if self.is::<E>() => E::abi_decode(&broken.encode()).ok(),
            _ => None,
        }
    }

    /// What the refusal means for the call.
    pub const fn effect(&self) -> Effect {
        match self {
            Self::Rule(broken) => broken.rule.effect,
            Self::NoCode { .. }
            | Self::Text { .. }
            | Self::Panic { .. }
            | Self::Halted { .. }
            | Self::Unexplained { .. } => Effect::Unclear,
        }
    }

    /// Whether the chain or the address is not ready for the call, which an upgrade or a deployment
    /// mends.
    pub fn is_of_chain(&self) -> bool {
        matches!(self, Self::NoCode { .. }) || self.is::<CertificateLog::PrecompileFailed>()
    }

    /// Whether both name the same rule. Values may differ: an expiry names the block's time, and
    /// nodes use their own words.
    pub fn is_same_rule(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unexplained { data }, Self::Unexplained { data: other }) => {
                data.get(..SELECTOR_BYTES) == other.get(..SELECTOR_BYTES)
            }
            (Self::Rule(broken), Self::Rule(other)) => broken.rule == other.rule,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// A rule of a contract that a call broke, with the values that the contract gave.
///
/// It does not tell which contract refused: several contracts have the same error, with the same
/// data.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokenRule {
    rule: &'static Rule,
    /// As many values as the rule has, each no wider than its kind.
    values: Vec<U256>,
}

impl BrokenRule {
    /// The error's name in the contracts.
    pub const fn name(&self) -> &'static str {
        self.rule.name
    }

    fn decode(data: &[u8]) -> Option<Self> {
        let (selector, words) = data.split_first_chunk::<SELECTOR_BYTES>()?;
        let rule = Rule::by_selector(*selector)?;
        let words = words.get(..rule.values.len() * WORD_BYTES)?.chunks_exact(WORD_BYTES);
        let value =
            |(word, (_, kind)): (&[u8], &(_, Kind))| U256::from_be_slice(&word[WORD_BYTES - kind.width()..]);
        Some(Self { rule, values: words.zip(rule.values).map(value).collect() })
    }

    fn encode(&self) -> Vec<u8> {
        let mut data = self.rule.selector().to_vec();
        self.values.iter().for_each(|value| data.extend(value.to_be_bytes::<WORD_BYTES>()));
        data
    }

    fn values(&self) -> impl Iterator<Item = (&'static str, Value)> {
        self.rule.values.iter().zip(&self.values).map(|((name, kind), value)| (*name, Value(*kind, *value)))
    }
}

/// A value of an error, which can be displayed and serialised.
struct Value(Kind, U256);

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(kind, value) = self;
        match kind {
            Kind::Address => Address::from_word(B256::from(*value)).fmt(f),
            Kind::Bytes32 => B256::from(*value).fmt(f),
            Kind::FreezeReason => match FreezeReason::of(value.to::<u8>()) {
                Some(reason) => f.write_str(reason.describe()),
                None => f.write_str("without a reason"),
            },
            Kind::U8 | Kind::U64 | Kind::U256 => value.fmt(f),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(kind, value) = self;
        match kind {
            Kind::Address => Address::from_word(B256::from(*value)).serialize(serializer),
            Kind::Bytes32 => B256::from(*value).serialize(serializer),
            Kind::U8 | Kind::U64 | Kind::FreezeReason => value.to::<u64>().serialize(serializer),
            Kind::U256 => value.serialize(serializer),
        }
    }
}

impl fmt::Display for BrokenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pieces = self.rule.words.split('{');
        f.write_str(pieces.next().unwrap_or_default())?;
        for piece in pieces {
            let (name, rest) = piece.split_once('}').unwrap_or((piece, ""));
            if let Some((_, value)) = self.values().find(|(known, _)| *known == name) {
                value.fmt(f)?;
            }
            f.write_str(rest)?;
        }
        Ok(())
    }
}

impl fmt::Debug for BrokenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct(self.rule.name);
        for (name, value) in self.values() {
            shown.field(name, &format_args!("{value}"));
        }
        shown.finish()
    }
}

/// The stored form: `"Name"`, or `{"Name": {"value": …}}`.
impl Serialize for BrokenRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = self.rule.name;
        if self.values.is_empty() {
            return serializer.serialize_unit_variant("Refusal", 0, name);
        }
        let mut fields = serializer.serialize_struct_variant("Refusal", 0, name, self.values.len())?;
        for (name, value) in self.values() {
            fields.serialize_field(name, &value)?;
        }
        fields.end()
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Plain(String),
    WithValues(BTreeMap<String, BTreeMap<String, U256>>),
}

impl<'de> Deserialize<'de> for BrokenRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, written) = match Written::deserialize(deserializer)? {
            Written::Plain(name) => (name, BTreeMap::new()),
            Written::WithValues(mut all) => match (all.pop_first(), all.is_empty()) {
                (Some(only), true) => only,
                _ => return Err(serde::de::Error::custom("one rule is broken at a time")),
            },
        };
        let unknown =
            || serde::de::Error::custom(format!("the contracts have no rule {name} with such values"));
        let rule = Rule::by_name(&name).ok_or_else(unknown)?;
        let value = |(name, kind): &(&str, Kind)| {
            written.get(*name).copied().filter(|value| value.byte_len() <= kind.width())
        };
        let values: Option<Vec<U256>> = rule.values.iter().map(value).collect();
        Ok(Self { rule, values: values.ok_or_else(unknown)? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CommitteeRegistry, Settlement};
    use super::*;

    #[test]
    fn errors_are_told_by_name_and_value() {
        let skipped = Refusal::of(&Settlement::BatchNumberSkipped { got: 9, expected: 7 });
        assert_eq!(skipped.to_string(), "batch 9 waits: batch 7 is the next to settle");
        assert_eq!(skipped.effect(), Effect::MayPass);
        let found = skipped.get::<Settlement::BatchNumberSkipped>().unwrap();
        assert_eq!((found.got, found.expected), (9, 7));
        assert!(!skipped.is::<Settlement::RenewalAhead>());
        let frozen = Refusal::of(&Settlement::IsFrozen { reason: 3 });
        let words = FreezeReason::CoverageShort.describe();
        assert_eq!(frozen.to_string(), format!("the rollup is frozen: {words}"));
        let Refusal::Rule(broken) = &frozen else { panic!("{frozen:?}") };
        assert_eq!(broken.name(), "IsFrozen");
    }

    #[test]
    fn the_same_error_of_two_contracts_is_one() {
        let precompile = U256::from(11);
        let of_log = Refusal::of(&CertificateLog::PrecompileFailed { precompile });
        assert_eq!(of_log, Refusal::of(&CommitteeRegistry::PrecompileFailed { precompile }));
        assert_eq!(of_log.effect(), Effect::Unclear);
    }

    #[test]
    fn junk_is_never_a_rule() {
        let mut data = Settlement::BatchNumberSkipped { got: 9, expected: 7 }.abi_encode();
        data.pop();
        assert!(matches!(Refusal::decode(&data), Refusal::Unexplained { .. }), "too short");
        for written in [
            r#""BatchNumberSkipped""#,
            r#"{"BatchNumberSkipped":{"got":9}}"#,
            r#"{"HashKindNotAllowed":{"got":256}}"#,
            r#"{"NoSuchRule":{"got":1}}"#,
            r#""NoSuchRule""#,
        ] {
            assert!(serde_json::from_str::<Refusal>(written).is_err(), "{written}");
        }
    }
}
