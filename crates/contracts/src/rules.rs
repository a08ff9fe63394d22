//! The table of the contracts' rules: each error of their ABI, its effect, and its words.

use std::collections::HashMap;
use std::sync::LazyLock;

use alloy::primitives::keccak256;

use self::Effect::{Done, Final, MayPass, Unclear};
use self::Kind::{Address, Bytes32, FreezeReason, U8, U64, U256};

/// What a refusal means for the call that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The purpose of the call was achieved earlier.
    Done,
    /// The same call may succeed later. Something else must happen first, without a new call from
    /// this caller.
    MayPass,
    /// The call will never succeed, however long the caller waits.
    Final,
    /// The refusal names no rule of the contracts, so it is not known what was refused and for how
    /// long.
    Unclear,
}

/// The type of an error's value, which decides how it is written in the ABI, in stored rows and in
/// words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    U64,
    U256,
    Address,
    Bytes32,
    /// A `uint8` that is displayed in words.
    FreezeReason,
}

impl Kind {
    /// The type's name in an ABI signature.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::U8 | Self::FreezeReason => "uint8",
            Self::U64 => "uint64",
            Self::U256 => "uint256",
            Self::Address => "address",
            Self::Bytes32 => "bytes32",
        }
    }

    /// The number of last bytes of a word that carry the value.
    pub(super) const fn width(self) -> usize {
        match self {
            Self::U8 | Self::FreezeReason => 1,
            Self::U64 => 8,
            Self::Address => 20,
            Self::U256 | Self::Bytes32 => 32,
        }
    }
}

/// A rule of the contracts, named by the error with which a call that breaks it is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) name: &'static str,
    /// The error's values, under the names used in stored rows.
    pub(super) values: &'static [(&'static str, Kind)],
    pub(super) effect: Effect,
    /// The rule's message, with a value's name in braces in the value's place.
    pub(super) words: &'static str,
}

impl Rule {
    /// The error's signature in the ABI.
    pub(super) fn signature(&self) -> String {
        let kinds: Vec<_> = self.values.iter().map(|(_, kind)| kind.name()).collect();
        format!("{}({})", self.name, kinds.join(","))
    }

    pub(super) fn selector(&self) -> [u8; 4] {
        let hash = keccak256(self.signature());
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// The rule whose error has this selector.
    pub(super) fn by_selector(selector: [u8; 4]) -> Option<&'static Self> {
        static SELECTORS: LazyLock<HashMap<[u8; 4], &'static Rule>> =
            LazyLock::new(|| RULES.iter().map(|rule| (rule.selector(), rule)).collect());
        SELECTORS.get(&selector).copied()
    }

    /// The rule with this name.
    pub(super) fn by_name(name: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.name == name)
    }
}

const fn rule(
    name: &'static str,
    values: &'static [(&'static str, Kind)],
    effect: Effect,
    words: &'static str,
) -> Rule {
    Rule { name, values, effect, words }
}

/// Every error of the registry, the log, the settlement contract and the verifier. An error that
/// several contracts have is listed once.
#[rustfmt::skip]
pub(super) static RULES: &[Rule] = &[
    // Rules on certificates and renewals, in every contract that checks them.
    rule("AbsentSeatOutOfRange", &[("seat", U256), ("n", U256)], Final,
        "absent seat {seat} does not exist in a committee of {n}"),
    rule("AbsentSeatsNotAscending", &[("seat", U256), ("previous", U256)], Final,
        "absent seats must ascend strictly: {seat} after {previous}"),
    rule("AlreadyRecorded", &[("digest", Bytes32)], Done,
        "{digest} is recorded already"),
    rule("CalldataLength", &[("got", U256), ("expected", U256)], Final,
        "the call has {got} bytes, its canonical encoding {expected}"),
    rule("EpochNoLongerPostable", &[("epoch", U64), ("postable_until", U64)], Final,
        "certificates of epoch {epoch} were accepted until {postable_until}"),
    rule("EpochNotYetActive", &[("epoch", U64), ("active_from", U64)], MayPass,
        "epoch {epoch} becomes active at {active_from}"),
    rule("Expired", &[("expires_at", U64), ("timestamp", U256)], Final,
        "the batch expires at {expires_at}, it is {timestamp} on L1"),
    rule("InvalidSignaturePoint", &[], Final,
        "the signature is no point of the group"),
    rule("OutOfGas", &[], Unclear,
        "there was too little gas for the check of the signature"),
    rule("PayloadFingerprintLength", &[("got", U256), ("expected", U256)], Final,
        "payloadFingerprint has {got} bytes, {expected} are due in this committee"),
    rule("PayloadLength", &[("got", U64), ("limit", U64)], Final,
        "a payload has 1 to {limit} bytes, the header says {got}"),
    rule("PrecompileFailed", &[("precompile", U256)], Unclear,
        "precompile {precompile} failed: does this chain have EIP-2537?"),
    rule("RecordingPaused", &[], MayPass,
        "recording is paused by the registry's owner"),
    rule("SignatureIsInfinity", &[], Final,
        "the signature is the point at infinity"),
    rule("SignatureLength", &[("got", U256), ("expected", U256)], Final,
        "a signature has {expected} bytes, got {got}"),
    rule("SignatureMismatch", &[("digest", Bytes32)], Final,
        "the signers' keys did not make this signature over {digest}"),
    rule("SignersKeyIsInfinity", &[], Final,
        "the signers' keys add up to infinity"),
    rule("TooFewSigners", &[("got", U256), ("quorum", U256)], Final,
        "{got} members signed, the quorum is {quorum}"),
    rule("UnknownHashKind", &[("got", U8)], Final,
        "hashKind {got} is unknown"),

    // Rules on bundles, and on proofs that a batch is in one.
    rule("DigestsNotAscending", &[("index", U256), ("digest", Bytes32)], Final,
        "a bundle's digests must ascend: {digest} at {index} is below the one before it"),
    rule("DuplicateDigest", &[("index", U256), ("digest", Bytes32)], Final,
        "the bundle has {digest} twice, at {index} the second time"),
    rule("EmptyBundle", &[], Final,
        "a bundle has at least one batch"),
    rule("IndexOutOfRange", &[("index", U256), ("count", U256)], Final,
        "a bundle of {count} batches has none at index {index}"),
    rule("PathLength", &[("got", U256), ("expected", U256)], Final,
        "the proof of a place in the bundle has {got} hashes, {expected} are due"),
    rule("TooManyBatches", &[("got", U256), ("limit", U256)], Final,
        "a bundle has at most {limit} batches, got {got}"),

    // Rules of the registry.
    rule("DelayTooLong", &[("got", U64), ("limit", U64)], Final,
        "a delay has at most {limit} seconds, got {got}"),
    rule("DuplicateKey", &[("operator", Address), ("seat", U256)], Final,
        "the key of operator {operator} (seat {seat}) sits in an earlier seat too"),
    rule("DuplicateOperator", &[("operator", Address), ("seat", U256)], Final,
        "operator {operator} (seat {seat}) sits in an earlier seat too"),
    rule("EnforcedPause", &[], MayPass,
        "the contract is paused"),
    rule("EpochPending", &[("epoch", U64), ("active_from", U64)], MayPass,
        "epoch {epoch} was opened and becomes active at {active_from}: no other can be opened before"),
    rule("ExpectedPause", &[], Final,
        "the contract is not paused"),
    rule("Geometry", &[("n", U256), ("k", U256), ("q", U256)], Final,
        "a committee needs 2 ≤ n ≤ 256, 1 ≤ k < n and k ≤ q ≤ n, got n = {n}, k = {k}, q = {q}"),
    rule("IncompleteRollup", &[], Final,
        "a rollup's address, poster, retention and daily bytes must not be zero"),
    rule("InvalidPoint", &[], Final,
        "key or proof of possession is no point of its group"),
    rule("KeyIsInfinity", &[], Final,
        "the point at infinity is nobody's key"),
    rule("KeyLength", &[("got", U256), ("expected", U256)], Final,
        "a key has {expected} bytes, got {got}"),
    rule("NotPauser", &[("account", Address)], Final,
        "{account} is neither the owner nor the pauser"),
    rule("OwnableInvalidOwner", &[("owner", Address)], Final,
        "{owner} cannot own the registry"),
    rule("OwnableUnauthorizedAccount", &[("account", Address)], Final,
        "{account} does not own the registry"),
    rule("PossessionIsInfinity", &[], Final,
        "the point at infinity proves nothing"),
    rule("PossessionLength", &[("got", U256), ("expected", U256)], Final,
        "a proof of possession has {expected} bytes, got {got}"),
    rule("PossessionMismatch", &[], Final,
        "the proof of possession was not made by this key for this operator, registry and chain"),
    rule("TooLong", &[("got", U256), ("limit", U256)], Final,
        "{got} bytes are too long for contract code, the limit is {limit}"),
    rule("TooManySeatsReplaced", &[("got", U256), ("limit", U256)], Final,
        "{got} seats change hands, at most {limit} may while n and k stay"),
    rule("UnknownEpoch", &[("epoch", U64), ("epoch_count", U64)], MayPass,
        "epoch {epoch} does not exist, the newest is {epoch_count}"),
    rule("UnknownOperator", &[("operator", Address)], Final,
        "operator {operator} is not registered"),
    rule("UnknownRollup", &[("rollup", Address)], Final,
        "rollup {rollup} is not admitted"),
    rule("UrlLength", &[("got", U256), ("limit", U256)], Final,
        "a URL has 1 to {limit} bytes, got {got}"),
    rule("WriteFailed", &[], Final,
        "data could not be written as contract code"),

    // Rules of a rollup's settlement contract.
    rule("BatchAlreadySettled", &[("got", U64), ("batch_count", U64)], Done,
        "batch {got} is settled already: {batch_count} are"),
    rule("BatchNumberSkipped", &[("got", U64), ("expected", U64)], MayPass,
        "batch {got} waits: batch {expected} is the next to settle"),
    rule("CoverageTooShort", &[("coverage_until", U64), ("needed", U64)], MayPass,
        "former batches are kept until {coverage_until}, to settle it must be until {needed}: members have to renew"),
    rule("DelayTooShort", &[("got", U64), ("must_exceed", U64)], Final,
        "a committee's and a verifier's change must wait longer than freeze delay and exit window: {got} s is not above {must_exceed} s"),
    rule("InputsGoBack", &[("got", U64), ("consumed", U64)], Final,
        "the batch consumes {got} inputs in all, {consumed} are consumed already"),
    rule("InputsNotThere", &[("got", U64), ("limit", U64)], Final,
        "the batch consumes {got} inputs in all, L1 has {limit}"),
    rule("IsFrozen", &[("reason", FreezeReason)], Final,
        "the rollup is frozen: {reason}"),
    rule("LifetimeTooShort", &[("expires_at", U64), ("needed", U64)], Final,
        "the batch is kept until {expires_at}, to settle it must be until {needed}"),
    rule("NoProposal", &[], Final,
        "no change of the verifier is proposed"),
    rule("NoReasonToFreeze", &[], Final,
        "there is no reason to freeze: batches settle, inputs are served, data is covered"),
    rule("NotFrozen", &[], Final,
        "the rollup is not frozen"),
    rule("NotRecorded", &[("digest", Bytes32)], MayPass,
        "the certificate log has no record of {digest}"),
    rule("NotInBundle", &[("got", Bytes32), ("root", Bytes32)], Final,
        "the batch is not in the bundle: its proof leads to {got}, the bundle's root is {root}"),
    rule("NotOfBundlesEpoch", &[("got", U64), ("bundle_epoch", U64)], Final,
        "the batch is of epoch {got}, its bundle of epoch {bundle_epoch}"),
    rule("NothingRenewed", &[("coverage_until", U64)], Done,
        "nothing is renewed: all is covered until {coverage_until} and what the renewal speaks of for as long as it says"),
    rule("ProposalLapsed", &[("acceptable_until", U64), ("timestamp", U256)], Final,
        "the proposed verifier could be accepted until {acceptable_until}, it is {timestamp} on L1"),
    rule("ProposalNotDue", &[("acceptable_from", U64), ("timestamp", U256)], Final,
        "the proposed verifier can be accepted from {acceptable_from} on, it is {timestamp} on L1"),
    rule("RenewalAhead", &[("last_batch", U64), ("batch_count", U64)], MayPass,
        "the renewal speaks of {last_batch} batches, {batch_count} are settled"),
    rule("RenewalGeometry", &[("n", U256), ("k", U256), ("covered_n", U256), ("covered_k", U256)], Final,
        "a committee of n = {n} and k = {k} holds no shards of batches of n = {covered_n} and k = {covered_k} (0: of several), and cannot renew them"),
    rule("RenewalQuorum", &[("signers", U256), ("needed", U256)], MayPass,
        "{signers} members signed the renewal, {needed} must: as many as the quorum that certified the batches"),
    rule("RenewalTooOld", &[("last_batch", U64), ("mark", U64)], Final,
        "the renewal speaks of {last_batch} batches, those up to {mark} are renewed together"),
    rule("VerifierCodeChanged", &[("verifier", Address)], Final,
        "the code of verifier {verifier} is not what was proposed"),
    rule("WrongRollup", &[("got", Address), ("expected", Address)], Final,
        "the batch is rollup {got}'s, the contract is {expected}"),
    rule("ZeroDelay", &[], Final,
        "freeze delay and exit window must not be zero"),

    // Rules of a ledger, and of the factory that deploys it.
    rule("BundleLengths", &[("headers", U256), ("indices", U256), ("positions", U256)], Final,
        "{headers} headers, {indices} indices and {positions} positions: there must be as many of each"),
    rule("IndicesNotAscending", &[("index", U256), ("previous", U256)], Final,
        "indices in a bundle must ascend strictly: {index} after {previous}"),
    rule("LifetimeOutOfRange", &[("got", U64), ("least", U64), ("most", U64)], Final,
        "a ledger's minimum lifetime has {least} to {most} seconds, got {got}"),
    rule("NoBatches", &[], Final,
        "there is no batch to accept"),
    rule("NoLookups", &[], Final,
        "the ledger was deployed without look-ups by hash"),
    rule("PositionOutOfRange", &[("position", U256), ("headers", U256)], Final,
        "there are {headers} headers, none at position {position}"),

    // Rules of a verifier of validity proofs.
    rule("ClaimLengths", &[("points", U256), ("fingerprint", U256)], Final,
        "the claim has {points} bytes of points and {fingerprint} of fingerprint"),
    rule("HashKindNotAllowed", &[("got", U8)], Final,
        "the rollup's verifier does not allow hash kind {got}"),
    rule("InputNotInField", &[("index", U256), ("value", U256)], Final,
        "public input {index} is not below the field's order: {value}"),
    rule("InvalidProof", &[], Final,
        "the proof does not show that the batch leads from the present state to the new one"),
    // A rule of the adapters' library, which the interface does not list.
    rule("PayloadLengthNotPacked", &[("got", U64)], Final,
        "a payload of {got} bytes has no room in the public inputs"),
    rule("PointsNotSupported", &[("t", U256)], Final,
        "the rollup's verifier has no key for {t} points"),
    rule("ProofLength", &[("got", U256), ("expected", U256)], Final,
        "a proof has {expected} bytes, got {got}"),
];

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn abi(name: &str) -> Vec<Value> {
        let path = format!("{}/../../contracts/abi/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let document: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        document["abi"].as_array().unwrap().clone()
    }

    /// Solidity's spelling of a name in stored rows.
    fn camel(name: &str) -> String {
        let mut words = name.split('_');
        let first = words.next().unwrap().to_owned();
        words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
    }

    #[test]
    fn every_error_of_the_contracts_is_in_the_table_as_the_compiler_wrote_it() {
        let mut found = std::collections::HashSet::new();
        for contract in [
            "CommitteeRegistry",
            "CertificateLog",
            "ISettlement",
            "IValidityVerifier",
            "IBatchLedger",
            "IBatchLedgerFactory",
        ] {
            for error in abi(contract).iter().filter(|entry| entry["type"] == "error") {
                let name = error["name"].as_str().unwrap();
                let rule = Rule::by_name(name).unwrap_or_else(|| panic!("{contract}.{name} is not in it"));
                let expected: Vec<(String, &str)> = error["inputs"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|input| {
                        (input["name"].as_str().unwrap().to_owned(), input["type"].as_str().unwrap())
                    })
                    .collect();
                let values: Vec<_> =
                    rule.values.iter().map(|(name, kind)| (camel(name), kind.name())).collect();
                assert_eq!(values, expected, "{contract}.{name}");
                found.insert(name.to_owned());
            }
        }
        // Of libraries: the interfaces do not name them.
        for (contract, name) in
            [("Groth16Adapter", "PayloadLengthNotPacked"), ("BatchLedger", "IndicesNotAscending")]
        {
            assert!(abi(contract).iter().any(|entry| entry["name"] == name), "{contract}.{name}");
            found.insert(name.to_owned());
        }
        for rule in RULES {
            assert!(found.contains(rule.name), "{} is no error of the contracts", rule.name);
        }
        assert_eq!(found.len(), RULES.len(), "each is in it once");
    }

    #[test]
    fn words_name_values_that_the_error_has() {
        for rule in RULES {
            for piece in rule.words.split('{').skip(1) {
                let (name, _) = piece.split_once('}').unwrap();
                assert!(rule.values.iter().any(|(value, _)| *value == name), "{}: {name}", rule.name);
            }
        }
    }
}
