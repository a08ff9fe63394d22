//! Why a call to a member failed, and what follows from it.

use std::time::Duration;

use dac_client::{ConnectionCause, MemberFault, printable};
use dac_proto::reason::Reason;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::batch::DeliveryFailure;

/// The failure reason if the transport, a proxy or a fault of the member ended a call.
const TRANSPORT: &str = "TRANSPORT";
/// The reason if TLS, or the lack of a certificate, ended a call.
const TLS: &str = "TLS";
/// The reason if a call took too long.
const NO_ANSWER: &str = Reason::TimedOut.as_str();
/// The reason if no connection was made.
pub(super) const UNREACHABLE: &str = "UNREACHABLE";

/// The TLS settings of this side of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct TlsSide {
    /// Whether the member's URL demands TLS.
    pub(super) is_tls: bool,
    /// Whether a client certificate is shown to members that ask for one.
    pub(super) shows_certificate: bool,
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFailure {
    /// What follows from it.
    pub kind: DeliveryFailure,
    /// Machine-readable: a [`Reason`], or what the transport met.
    pub reason: String,
    /// The cause, in words for people.
    pub detail: String,
    /// The pause after which, in the member's opinion, the call may succeed.
    pub retry_after: Option<Duration>,
}

impl CallFailure {
    pub(crate) fn retryable(reason: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: DeliveryFailure::Retryable,
            reason: reason.to_owned(),
            detail: detail.into(),
            retry_after: None,
        }
    }

    pub(crate) fn lied(reason: &str, detail: String) -> Self {
        Self { kind: DeliveryFailure::Lied, reason: reason.to_owned(), detail, retry_after: None }
    }

    /// Makes the failure from a member's gRPC status. A status without a reason of the protocol
    /// comes from the transport, a proxy or a fault of the member, and the call is repeated.
    pub(super) fn from_status(status: &Status, side: TlsSide) -> Self {
        let detail = printable(status.message());
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let failure = match Reason::of(status) {
            Some(reason) if !may_pass(reason) => Self {
                kind: DeliveryFailure::Refused,
                reason: reason.as_str().to_owned(),
                detail,
                retry_after: None,
            },
            Some(reason) => Self::retryable(reason.as_str(), detail),
            None if status.code() == Code::DeadlineExceeded => Self::retryable(NO_ANSWER, detail),
            None => Self::unreachable(TRANSPORT, &MemberFault::from_status(status), side),
        };
        Self { retry_after, ..failure }
    }

    /// Makes the failure of a call that took too long.
    pub(super) fn no_answer(timeout: Duration) -> Self {
        Self::retryable(NO_ANSWER, format!("no answer within {timeout:?}"))
    }

    /// Returns whether the failure leaves it in doubt whether the member can be reached at all.
    pub(super) fn is_of_connection(&self) -> bool {
        [TRANSPORT, TLS, NO_ANSWER].contains(&&self.reason[..])
    }

    /// Returns whether the member itself refused for now, with a reason of the protocol. It may
    /// then be asked first, before the shard is sent again.
    pub fn is_refusal(&self) -> bool {
        self.kind == DeliveryFailure::Retryable
            && Reason::ALL.iter().any(|reason| reason.as_str() == self.reason && *reason != Reason::TimedOut)
    }

    /// Makes the failure of a connection that was not made or that broke. If TLS failed, the reason
    /// says so, and the text names the part of this side's configuration that may be the cause.
    pub(super) fn unreachable(reason: &str, fault: &MemberFault, side: TlsSide) -> Self {
        let of_tls = |cause: &ConnectionCause| {
            cause.is_tls() || (*cause == ConnectionCause::BrokenOff && reason == TRANSPORT && side.is_tls)
        };
        match fault.cause().filter(of_tls) {
            // The hint follows the cause directly, because the end of a long text is cut.
            Some(cause) => {
                let (cause, own) = (cause.to_string(), own_part(cause, side.shows_certificate));
                Self::retryable(TLS, fault.to_string().replacen(&cause, &format!("{cause}{own}"), 1))
            }
            None => Self::retryable(reason, fault.to_string()),
        }
    }
}

/// Returns a hint at the part of this side's configuration that may be the cause of a TLS failure.
const fn own_part(cause: ConnectionCause, shows_certificate: bool) -> &'static str {
    match (cause, shows_certificate) {
        (ConnectionCause::ServerAuthority, _) => {
            "; [dispersal.tls] ca names the authorities that are trusted"
        }
        (cause, false) if cause.concerns_client_certificate() => {
            "; [dispersal.tls.identity] is not set, so no client certificate is shown"
        }
        (cause, true) if cause.concerns_client_certificate() => {
            "; the certificate shown is that of [dispersal.tls.identity]"
        }
        _ => "",
    }
}

/// Returns whether a member that refuses for this reason may take the same batch later. An unknown
/// rollup counts as such a reason: a member that has not read the newest blocks does not know a
/// rollup that was admitted a moment ago.
fn may_pass(reason: Reason) -> bool {
    reason.is_retryable() || reason == Reason::UnknownRollup
}
