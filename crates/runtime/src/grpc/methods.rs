//! The limits of each method's calls: the sizes of a request and of an answer, and the deadlines.

use dac_types::limits::{MESSAGE_MAX_BYTES, PROOF_MAX_BYTES, STORED_ROW_BYTES};

/// The most bytes of a request that only names what it asks for. Services without uploads use it as
/// their `max_decoding_message_size`.
pub const SMALL_REQUEST_MAX_BYTES: usize = 8 << 10;
/// The most bytes of a request with a proof, its signature and its claim.
const PROOF_REQUEST_MAX_BYTES: usize = PROOF_MAX_BYTES + SMALL_REQUEST_MAX_BYTES;
/// The bytes reserved for an answer without a list, and for what a call costs beside its messages.
const SMALL_ANSWER_BYTES: usize = 16 << 10;
/// The bytes reserved for a batch with the state of each of 256 members, or for its record.
const RECORD_ANSWER_BYTES: usize = 96 << 10;
/// The bytes reserved for a page of a listing, or for 64 chunks with their Merkle paths.
const LARGE_ANSWER_BYTES: usize = 320 << 10;

/// The form of a method's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The call has one request and one answer.
    Unary,
    /// Pieces arrive until the deadline of an upload, and then there is one answer.
    Upload,
    /// The call has one request, and its answer comes in pieces for as long as the client reads
    /// them.
    Download,
    /// The call has one request, and its answer goes on until the client or this process ends it.
    Watch,
    /// Requests and answers alternate until the deadline of a unary call.
    Conversation,
}

/// A method and the limits of one of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Method {
    /// The method's path, without the slash in front.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    /// The most bytes of one request message.
    pub(super) request_max_bytes: usize,
    /// The bytes that are reserved for the answer until its size is known.
    pub(super) answer_bytes: usize,
    /// Whether a call may take as long as an upload although it is not one.
    pub(super) is_slow: bool,
}

const fn small(path: &'static str, kind: Kind) -> Method {
    Method {
        path,
        kind,
        request_max_bytes: SMALL_REQUEST_MAX_BYTES,
        answer_bytes: SMALL_ANSWER_BYTES,
        is_slow: false,
    }
}

const fn upload(path: &'static str) -> Method {
    Method { request_max_bytes: MESSAGE_MAX_BYTES, ..small(path, Kind::Upload) }
}

const fn answers(answer_bytes: usize, method: Method) -> Method {
    Method { answer_bytes, ..method }
}

/// All methods of all ports in the project.
const METHODS: &[Method] = &[
    small("dac.v1.AggregatorService/GetAggregator", Kind::Unary),
    upload("dac.v1.BatchService/SubmitBatch"),
    Method {
        request_max_bytes: PROOF_REQUEST_MAX_BYTES,
        is_slow: true,
        ..small("dac.v1.BatchService/SubmitValidityProof", Kind::Unary)
    },
    answers(RECORD_ANSWER_BYTES, small("dac.v1.BatchService/GetBatch", Kind::Unary)),
    small("dac.v1.BatchService/WatchBatch", Kind::Watch),
    answers(LARGE_ANSWER_BYTES, small("dac.v1.BatchService/ListBatches", Kind::Unary)),
    small("dac.v1.BatchService/GetCertificate", Kind::Unary),
    upload("dac.v1.DispersalService/StoreShard"),
    // The member first looks at every settled batch of a rollup.
    Method { is_slow: true, ..small("dac.v1.DispersalService/SignRenewal", Kind::Unary) },
    small("dac.v1.MemberService/GetMember", Kind::Unary),
    answers(RECORD_ANSWER_BYTES, small("dac.v1.RetrievalService/GetBatchRecord", Kind::Unary)),
    answers(STORED_ROW_BYTES, small("dac.v1.RetrievalService/GetShard", Kind::Download)),
    answers(LARGE_ANSWER_BYTES, small("dac.v1.RetrievalService/GetChunks", Kind::Unary)),
    answers(LARGE_ANSWER_BYTES, small("dac.v1.RetrievalService/ListBatches", Kind::Unary)),
    small("grpc.health.v1.Health/Check", Kind::Unary),
    small("grpc.health.v1.Health/Watch", Kind::Watch),
    answers(
        2 * SMALL_ANSWER_BYTES,
        small("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Kind::Conversation),
    ),
    answers(
        2 * SMALL_ANSWER_BYTES,
        small("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Kind::Conversation),
    ),
];

/// A method that no port has: the call is answered at once.
const UNKNOWN: Method = small("", Kind::Unary);

/// The limits of the method that a request's path names.
pub(super) fn method(path: &str) -> Method {
    let path = path.strip_prefix('/').unwrap_or(path);
    METHODS.iter().find(|method| method.path == path).copied().unwrap_or(UNKNOWN)
}

/// Whether any method of a service receives pieces.
pub(super) fn has_uploads(service: &str) -> bool {
    METHODS.iter().any(|method| {
        method.kind == Kind::Upload && method.path.split('/').next().is_some_and(|name| name == service)
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_method_is_here_with_the_streams_that_it_has() {
        let sets = [
            dac_proto::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut found = 0;
        for file in sets.iter().flat_map(|set| FileDescriptorSet::decode(*set).unwrap().file) {
            for service in &file.service {
                for described in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), described.name());
                    let method = method(&path);
                    assert_eq!(format!("/{}", method.path), path, "{path} is not in the table");
                    let streams = match method.kind {
                        Kind::Unary => (false, false),
                        Kind::Upload => (true, false),
                        Kind::Download | Kind::Watch => (false, true),
                        Kind::Conversation => (true, true),
                    };
                    assert_eq!(
                        (described.client_streaming(), described.server_streaming()),
                        streams,
                        "{path}"
                    );
                    found += 1;
                }
            }
        }
        assert_eq!(found, METHODS.len(), "the table names a method that no service has");
    }
}
