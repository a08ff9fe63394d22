//! URLs of HTTP services. RPC providers put access keys into paths, so only scheme and host are
//! ever shown.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;
use url::{Host, Url};

/// The text is not an HTTP or HTTPS URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected a URL like https://host:port/path")]
pub struct HttpUrlError;

/// A URL that begins with `http://` or `https://`, shown without user, path and query.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(Url);

impl HttpUrl {
    /// The whole URL, for connecting.
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether the connection stays on this machine.
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }
}

impl FromStr for HttpUrl {
    type Err = HttpUrlError;

    fn from_str(text: &str) -> Result<Self, HttpUrlError> {
        let url = Url::parse(text).map_err(|_| HttpUrlError)?;
        if matches!(url.scheme(), "http" | "https") && url.host().is_some() {
            Ok(Self(url))
        } else {
            Err(HttpUrlError)
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpUrl({self})")
    }
}

impl<'de> Deserialize<'de> for HttpUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_urls_with_a_host_are_taken() {
        for good in ["http://127.0.0.1:8545", "https://rpc.example/v2/key", "http://[::1]:1"] {
            assert!(good.parse::<HttpUrl>().is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:8545", "ftp://host", "http://", "file:///etc/passwd", "ws://host"] {
            assert_eq!(bad.parse::<HttpUrl>(), Err(HttpUrlError), "{bad}");
        }
    }

    #[test]
    fn access_keys_are_not_shown() {
        let url: HttpUrl = "https://me:hunter2@rpc.example:444/v2/hunter2?key=hunter2".parse().unwrap();
        assert_eq!(url.to_string(), "https://rpc.example:444");
        assert!(!format!("{url:?}").contains("hunter2"));
        assert_eq!(url.expose().path(), "/v2/hunter2");
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        for (text, loopback) in [
            ("http://localhost:1", true),
            ("http://127.8.0.1", true),
            ("http://[::1]", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example", false),
        ] {
            assert_eq!(text.parse::<HttpUrl>().unwrap().is_loopback(), loopback, "{text}");
        }
    }
}
