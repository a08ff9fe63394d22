//! Finds out from the types of errors why a connection was not made, or broke, and says it in
//! words.

use std::error::Error;
use std::{fmt, io};

use rustls::{AlertDescription, CertificateError};
use tonic::Status;

/// What ended a connection, as the side that opened it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionCause {
    /// No process listens at the address.
    Refused,
    /// The server demands a client certificate, and none was shown.
    NoClientCertificate,
    /// The server does not trust the authority of the client certificate.
    ClientAuthority,
    /// The client certificate has expired.
    ClientExpired,
    /// The server rejects the client certificate for another reason.
    ClientCertificate,
    /// The server's certificate is of an authority that this client does not trust.
    ServerAuthority,
    /// The server's certificate has expired, or is not valid yet.
    ServerExpired,
    /// The server's certificate is for another name.
    ServerName,
    /// The server's certificate is not valid for another reason.
    ServerCertificate,
    /// This client spoke TLS (`https`), and the server's answer is not TLS.
    NotTls,
    /// The server's answer is not HTTP/2. If this client spoke plain `http`, the server may expect
    /// TLS.
    NotHttp2,
    /// Another failure of TLS.
    Tls,
    /// The server closed the connection after it was made.
    BrokenOff,
}

/// The alerts of RFC 8446, section 6, with which servers refuse a client certificate.
const ALERTS: [(AlertDescription, ConnectionCause); 10] = [
    (AlertDescription::CertificateRequired, ConnectionCause::NoClientCertificate),
    // TLS 1.2 and older have no alert of its own for a missing certificate.
    (AlertDescription::NoCertificate, ConnectionCause::NoClientCertificate),
    (AlertDescription::UnknownCA, ConnectionCause::ClientAuthority),
    // The server knows an authority of this name, with another key.
    (AlertDescription::DecryptError, ConnectionCause::ClientAuthority),
    (AlertDescription::CertificateExpired, ConnectionCause::ClientExpired),
    (AlertDescription::BadCertificate, ConnectionCause::ClientCertificate),
    (AlertDescription::UnsupportedCertificate, ConnectionCause::ClientCertificate),
    (AlertDescription::CertificateRevoked, ConnectionCause::ClientCertificate),
    (AlertDescription::CertificateUnknown, ConnectionCause::ClientCertificate),
    (AlertDescription::AccessDenied, ConnectionCause::ClientCertificate),
];

impl ConnectionCause {
    /// Returns the cause of a transport error; `None` if none of its sources is a known one.
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        causes(error).filter_map(Self::of_one).last()
    }

    fn of_one(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(Self::of_tls(error));
        }
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let is_no_frame = error.is_library() && error.reason() == Some(h2::Reason::FRAME_SIZE_ERROR);
            return is_no_frame.then_some(Self::NotHttp2);
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            // The connection ended while a request waited for it or was on its way.
            let is_over = error.is_canceled() || error.is_closed() || error.is_incomplete_message();
            return is_over.then_some(Self::BrokenOff);
        }
        let error = error.downcast_ref::<io::Error>()?;
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Some(Self::Refused),
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::UnexpectedEof => Some(Self::BrokenOff),
            _ => Self::of_told_alert(error),
        }
    }

    /// Finds a TLS alert by its text: HTTP/2 keeps the text of the error that ends its connection,
    /// and drops its type. TLS 1.3 sends the alert that refuses a client after the handshake, so
    /// that it arrives this way.
    fn of_told_alert(error: &io::Error) -> Option<Self> {
        let told = error.to_string();
        let is_told = |alert| rustls::Error::AlertReceived(alert).to_string() == told;
        ALERTS.into_iter().find_map(|(alert, cause)| is_told(alert).then_some(cause))
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::AlertReceived(alert) => ALERTS
                .into_iter()
                .find_map(|(known, cause)| (known == *alert).then_some(cause))
                .unwrap_or(Self::Tls),
            rustls::Error::InvalidCertificate(error) => match error {
                // The client trusts an authority of this name, with another key.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::ServerAuthority,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::ServerExpired,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::ServerName
                }
                _ => Self::ServerCertificate,
            },
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            _ => Self::Tls,
        }
    }

    /// Whether TLS ended the connection.
    pub const fn is_tls(self) -> bool {
        !matches!(self, Self::Refused | Self::NotHttp2 | Self::BrokenOff)
    }

    /// Whether the client certificate, or the lack of one, may be at fault. The alert that says so
    /// is often lost with the connection.
    pub const fn concerns_client_certificate(self) -> bool {
        matches!(
            self,
            Self::NoClientCertificate
                | Self::ClientAuthority
                | Self::ClientExpired
                | Self::ClientCertificate
                | Self::BrokenOff
        )
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Refused => "nothing listens at this address and port",
            Self::NoClientCertificate => "the server demands a client certificate, and none was shown",
            Self::ClientAuthority => "the server does not trust the authority of our client certificate",
            Self::ClientExpired => "our client certificate has expired",
            Self::ClientCertificate => "the server does not take our client certificate",
            Self::ServerAuthority => "the server's certificate is of an authority that is not trusted here",
            Self::ServerExpired => "the server's certificate has expired, or is not valid yet",
            Self::ServerName => "the server's certificate is for another name",
            Self::ServerCertificate => "the server's certificate is not valid",
            Self::NotTls => "the server does not answer in TLS: is it served over http?",
            Self::NotHttp2 => "the server does not answer in HTTP/2: is it served over https?",
            Self::Tls => "TLS failed",
            Self::BrokenOff => {
                "the server broke the connection off: over TLS it may demand a client certificate"
            }
        }
    }
}

impl fmt::Display for ConnectionCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.meaning())
    }
}

/// An error and all its sources, including those that I/O errors and HTTP/2 errors hold but do not
/// return from `source()`.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        let error = *error;
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(inner) = inner {
            return Some(inner as &(dyn Error + 'static));
        }
        if let Some(inner) = error.downcast_ref::<h2::Error>().and_then(h2::Error::get_io) {
            return Some(inner as &(dyn Error + 'static));
        }
        error.source()
    })
}

/// Writes an error and its causes in one line. Of a status only the message is shown: the rest is
/// the code and the causes again, which would fill a line of limited length.
pub(crate) fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    for cause in causes(error) {
        let text = said(cause);
        if line.is_empty() {
            line = text;
        } else if !line.contains(&text) {
            line = line + ": " + &text;
        }
    }
    line
}

fn said(error: &(dyn Error + 'static)) -> String {
    let message = error.downcast_ref::<Status>().map(Status::message);
    message.filter(|message| !message.is_empty()).map_or_else(|| error.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_its_message_and_its_causes() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let status = Status::from_error(Box::new(io::Error::other(refused)));
        let line = in_one_line(&status);
        assert!(line.contains("connection refused"), "{line}");
        assert!(!line.contains("source") && !line.contains("code"), "{line}");
        assert_eq!(in_one_line(&Status::unavailable("gone for lunch")), "gone for lunch");
        assert!(!in_one_line(&Status::unavailable("")).is_empty());
    }

    fn inside_io(kind: io::ErrorKind, error: impl Into<Box<dyn Error + Send + Sync>>) -> io::Error {
        io::Error::new(kind, error)
    }

    #[test]
    fn causes_are_found_below_other_errors() {
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = inside_io(io::ErrorKind::Other, inside_io(io::ErrorKind::InvalidData, unknown));
        assert_eq!(ConnectionCause::of(&wrapped), Some(ConnectionCause::ServerAuthority));
        assert_eq!(in_one_line(&wrapped), "invalid peer certificate: UnknownIssuer");
        let refused = inside_io(io::ErrorKind::ConnectionRefused, "nobody at 10.0.0.1:7");
        assert_eq!(ConnectionCause::of(&refused), Some(ConnectionCause::Refused));
        assert_eq!(ConnectionCause::of(&io::Error::other("something else")), None);
    }

    #[tokio::test]
    async fn a_request_whose_connection_ends_before_it_is_sent_is_broken_off() {
        let (near, _far) = tokio::io::duplex(1024);
        let executor = hyper_util::rt::TokioExecutor::new();
        let near = hyper_util::rt::TokioIo::new(near);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(executor, near).await.expect("the far end is there");
        drop(connection);
        let request = tonic::codegen::http::Request::new(String::new());
        let error = sender.send_request(request).await.expect_err("nobody drives the connection");
        assert!(error.is_canceled(), "{error:?}");
        assert_eq!(ConnectionCause::of(&error), Some(ConnectionCause::BrokenOff));
    }

    /// Text about certificates in an error is no proof that the error is about certificates.
    #[test]
    fn alerts_are_known_by_their_whole_text_where_their_type_is_lost() {
        for (alert, cause) in ALERTS {
            let typed = rustls::Error::AlertReceived(alert);
            let told = io::Error::new(io::ErrorKind::InvalidData, typed.to_string());
            assert_eq!(ConnectionCause::of(&told), Some(cause), "{typed}");
            assert_eq!(ConnectionCause::of(&typed), Some(cause), "{typed}");
        }
        let words = "a text about a certificate, TLS, CertificateRequired and a broken pipe";
        assert_eq!(ConnectionCause::of(&io::Error::new(io::ErrorKind::InvalidData, words)), None);
    }
}
