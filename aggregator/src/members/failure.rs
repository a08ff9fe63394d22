//! Why a call to a member failed, and what follows from it.

use std::time::Duration;

use dac_client::{ConnectionCause, MemberFault, printable};
use dac_proto::reason::Reason;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::batch::DeliveryFailure;

/// The reason where the transport, a proxy or a fault of the member's ended a call.
const TRANSPORT: &str = "TRANSPORT";
/// The reason where TLS, or the lack of a certificate, ended it.
const TLS: &str = "TLS";
/// The reason where a call took too long.
const NO_ANSWER: &str = Reason::TimedOut.as_str();
/// The reason where no connection was made.
pub(super) const UNREACHABLE: &str = "UNREACHABLE";

/// What this side of a connection has to do with TLS.
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
    /// For people.
    pub detail: String,
    /// When the member thinks that it may succeed.
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

    /// What a member's status says. Without a reason of ours it is the transport's, a proxy's or a
    /// fault's: it may pass.
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

    /// Whether it leaves in doubt that the member is there at all.
    pub(super) fn is_of_connection(&self) -> bool {
        [TRANSPORT, TLS, NO_ANSWER].contains(&&self.reason[..])
    }

    /// Whether the member itself said no, to what it was told first.
    pub fn is_refusal(&self) -> bool {
        self.kind == DeliveryFailure::Retryable
            && Reason::ALL.iter().any(|reason| reason.as_str() == self.reason && *reason != Reason::TimedOut)
    }

    /// A connection that was not made, or that broke. TLS is named where it is what failed, with
    /// what this side has to do with it.
    pub(super) fn unreachable(reason: &str, fault: &MemberFault, side: TlsSide) -> Self {
        let of_tls = |cause: &ConnectionCause| {
            cause.is_tls() || (*cause == ConnectionCause::BrokenOff && reason == TRANSPORT && side.is_tls)
        };
        match fault.cause().filter(of_tls) {
            // It stands right behind the cause, because the end of a text may be cut.
            Some(cause) => {
                let (cause, own) = (cause.to_string(), own_part(cause, side.shows_certificate));
                Self::retryable(TLS, fault.to_string().replacen(&cause, &format!("{cause}{own}"), 1))
            }
            None => Self::retryable(reason, fault.to_string()),
        }
    }
}

/// What of this side's configuration a failure of TLS may have to do with.
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

/// Whether a member that refuses for this reason may take the same batch later. One that has not
/// read the newest blocks yet does not know a rollup that was admitted a moment ago, which is final
/// where the order is handed in.
fn may_pass(reason: Reason) -> bool {
    reason.is_retryable() || reason == Reason::UnknownRollup
}
