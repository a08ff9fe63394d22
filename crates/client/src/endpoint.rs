//! URLs of members. They come from the registry and are checked before anything connects to them.
//!
//! An operator who registers chooses two URLs. A client inside a private network must not be
//! sent to its own network by them, so addresses that are not public are refused unless the caller
//! allows them. Addresses in URLs are checked here, and addresses to which a name resolves are
//! checked when the client connects.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use dac_types::limits::ENDPOINT_URL_MAX_BYTES;
use thiserror::Error;
use tonic::transport::Uri;

/// Why a URL is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// The URL is longer than the registry allows.
    #[error("a URL has at most {ENDPOINT_URL_MAX_BYTES} bytes, got {got}")]
    TooLong {
        /// Length received.
        got: usize,
    },
    /// The URL is not `http://host[:port]` or `https://host[:port]`.
    #[error("expected http://host:port or https://host:port, got {got:?}: {problem}")]
    Malformed {
        /// The URL, shortened if it is long.
        got: String,
        /// What is wrong with the URL.
        problem: &'static str,
    },
    /// The address belongs to a private, loopback or otherwise special network.
    #[error("{host} is {kind} address ({address}); allow private endpoints if that is meant")]
    NotPublic {
        /// The host as the URL names it.
        host: String,
        /// The address that the host is or resolves to.
        address: IpAddr,
        /// The kind of network that the address belongs to, with an article.
        kind: &'static str,
    },
}

/// Which addresses may be connected to.
///
/// # Example
///
/// ```
/// use dac_client::EndpointPolicy;
///
/// let address = "10.0.0.7".parse()?;
/// assert!(EndpointPolicy::PublicOnly.check_address("member.example.org", address).is_err());
/// // A chain on this machine has its members on this machine.
/// let policy = EndpointPolicy::for_rpc(false, "http://127.0.0.1:8545");
/// assert!(policy.check_address("member.example.org", address).is_ok());
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EndpointPolicy {
    /// Public addresses only.
    #[default]
    PublicOnly,
    /// Any address: local networks, tests.
    AllowPrivate,
}

impl EndpointPolicy {
    /// Allows private endpoints if the caller asks for it, or if L1 itself is reached over
    /// loopback, since then the whole chain is a local one.
    pub fn for_rpc(allow_private: bool, rpc_url: &str) -> Self {
        if allow_private || is_loopback_url(rpc_url) { Self::AllowPrivate } else { Self::PublicOnly }
    }

    /// Checks whether `address`, to which `host` resolved, may be connected to.
    pub fn check_address(self, host: &str, address: IpAddr) -> Result<(), EndpointError> {
        match (self, special_kind(address)) {
            (Self::AllowPrivate, _) | (Self::PublicOnly, None) => Ok(()),
            (Self::PublicOnly, Some(kind)) => {
                Err(EndpointError::NotPublic { host: host.to_owned(), address, kind })
            }
        }
    }
}

/// A well-formed URL of a gRPC service. The policy is applied when a client connects to it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EndpointUrl {
    text: String,
    host: String,
    port: u16,
    is_tls: bool,
}

impl EndpointUrl {
    /// The name or address to connect to.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The URL's port, or the default port of its scheme.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is an `https` URL.
    pub const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The whole URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host as an address, if it is one.
    pub fn literal_address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Refuses an address in the URL that the policy does not allow. Names are checked when they
    /// are resolved.
    pub fn check_literal(&self, policy: EndpointPolicy) -> Result<(), EndpointError> {
        self.literal_address().map_or(Ok(()), |address| policy.check_address(&self.host, address))
    }
}

impl FromStr for EndpointUrl {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.len() > ENDPOINT_URL_MAX_BYTES {
            return Err(EndpointError::TooLong { got: text.len() });
        }
        let malformed = |problem| EndpointError::Malformed { got: crate::text::printable(text), problem };
        let uri: Uri = text.parse().map_err(|_| malformed("it is no URL"))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(malformed("the scheme must be http or https")),
        };
        let authority = uri.authority().ok_or_else(|| malformed("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(malformed("user names and passwords do not belong in it"));
        }
        if uri.path_and_query().is_some_and(|rest| !matches!(rest.as_str(), "" | "/")) {
            return Err(malformed("nothing may follow the port"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(malformed("it names no host"));
        }
        let port = match authority.port() {
            Some(port) if port.as_u16() != 0 => port.as_u16(),
            Some(_) => return Err(malformed("the port must be 1 to 65535")),
            // The parser skips a port that is not a number.
            None if authority.as_str() != authority.host() => {
                return Err(malformed("the port must be 1 to 65535"));
            }
            None if is_tls => 443,
            None => 80,
        };
        Ok(Self { text: text.trim_end_matches('/').to_owned(), host, port, is_tls })
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointUrl({})", self.text)
    }
}

/// Whether the host of a URL is `localhost` or a loopback address.
pub fn is_loopback_url(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let Some(host) = uri.host() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| canonical(address).is_loopback())
}

/// Unwraps an IPv4 address that is embedded in an IPv6 address, so that it is judged as IPv4.
fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            // 64:ff9b::/96 (NAT64) and 2002::/16 (6to4) lead to the IPv4 address that they embed.
            if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
                return IpAddr::V4(embedded(segments[6], segments[7]));
            }
            if segments[0] == 0x2002 {
                return IpAddr::V4(embedded(segments[1], segments[2]));
            }
            v6.to_ipv4_mapped().map_or(address, IpAddr::V4)
        }
        IpAddr::V4(_) => address,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}

/// The kind of special network that an address belongs to; `None` for a public one.
fn special_kind(address: IpAddr) -> Option<&'static str> {
    match canonical(address) {
        IpAddr::V4(v4) => special_kind_v4(v4),
        IpAddr::V6(v6) => special_kind_v6(v6),
    }
}

fn special_kind_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = address.octets();
    if address.is_loopback() {
        Some("a loopback")
    } else if address.is_private() {
        Some("a private")
    } else if address.is_link_local() {
        Some("a link-local")
    } else if a == 100 && (64..128).contains(&b) {
        Some("a carrier-grade NAT")
    } else if address.is_unspecified() || a == 0 {
        Some("an unspecified")
    } else if address.is_multicast() || a >= 240 {
        Some("a multicast or reserved")
    } else if address.is_documentation()
        || (a == 198 && (b == 18 || b == 19))
        || (a == 192 && b == 0 && c == 0)
    {
        Some("a documentation or test")
    } else if (a, b, c) == (192, 88, 99) {
        // RFC 7526 withdrew the relays of 6to4: no server is at these addresses.
        Some("a withdrawn relay")
    } else {
        None
    }
}

fn special_kind_v6(address: Ipv6Addr) -> Option<&'static str> {
    let first = address.segments()[0];
    if address.is_loopback() {
        Some("a loopback")
    } else if address.is_unspecified() {
        Some("an unspecified")
    } else if first & 0xfe00 == 0xfc00 {
        Some("a private")
    } else if first & 0xffc0 == 0xfe80 || first & 0xffc0 == 0xfec0 {
        Some("a link-local")
    } else if address.is_multicast() {
        Some("a multicast")
    } else if first & 0xe000 != 0x2000 {
        Some("a reserved")
    } else if (first == 0x2001 && address.segments()[1] == 0x0db8)
        || (first == 0x3fff && address.segments()[1] < 0x1000)
    {
        Some("a documentation")
    } else if first == 0x2001 && address.segments()[1] < 0x0200 {
        // 2001::/23 holds Teredo's tunnels, benchmarks, and identifiers that are not addresses. No
        // server is there.
        Some("an IETF protocol's")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls_are_taken_apart() {
        let url: EndpointUrl = "https://member.example.org".parse().unwrap();
        assert_eq!((url.host(), url.port(), url.is_tls()), ("member.example.org", 443, true));
        let url: EndpointUrl = "http://[2606:4700::1]:7002/".parse().unwrap();
        assert_eq!((url.host(), url.port(), url.is_tls()), ("2606:4700::1", 7002, false));
        assert_eq!(url.as_str(), "http://[2606:4700::1]:7002");
    }

    #[test]
    fn what_is_no_plain_origin_is_refused() {
        for bad in [
            "",
            "member",
            "ftp://a:1",
            "http://",
            "http://user:pw@a:1",
            "http://a:1/path",
            "http://a:1?q",
            "unix:/run/x",
            "file:///etc/passwd",
            "http://a:99999",
            "http://a:0",
            "http://a:",
            "http://a b",
        ] {
            assert!(bad.parse::<EndpointUrl>().is_err(), "{bad:?} was taken");
        }
        let long = format!("http://{}:1", "a".repeat(300));
        assert!(matches!(long.parse::<EndpointUrl>(), Err(EndpointError::TooLong { .. })));
    }

    #[test]
    fn special_addresses_are_refused_and_public_ones_are_not() {
        for special in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "ff02::1",
            "192.88.99.1",
            "2002:c058:6301::",
            "2001::1",
            "2001:0:7f00:1::",
            "2001:2::1",
            "2001:1ff::1",
            "2001:db8::1",
            "3fff::1",
            "3fff:fff::1",
        ] {
            let address: IpAddr = special.parse().unwrap();
            assert!(EndpointPolicy::PublicOnly.check_address("x", address).is_err(), "{special} passed");
            assert!(EndpointPolicy::AllowPrivate.check_address("x", address).is_ok());
        }
        for public in [
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "192.88.98.1",
            "192.88.100.1",
            "2606:4700::1111",
            "64:ff9b::101:101",
            "2001:200::1",
            "2001:4860:4860::8888",
            "3fff:1000::1",
        ] {
            let address: IpAddr = public.parse().unwrap();
            assert_eq!(EndpointPolicy::PublicOnly.check_address("x", address), Ok(()), "{public}");
        }
    }

    #[test]
    fn a_local_chain_allows_local_members() {
        for (rpc, allowed) in [
            ("http://127.0.0.1:8545", true),
            ("http://localhost:8545", true),
            ("http://[::1]:8545/", true),
            ("https://rpc.example.org", false),
            ("http://localhost.example.org", false),
            ("nonsense", false),
        ] {
            assert_eq!(EndpointPolicy::for_rpc(false, rpc) == EndpointPolicy::AllowPrivate, allowed, "{rpc}");
        }
        assert_eq!(EndpointPolicy::for_rpc(true, "https://rpc.example.org"), EndpointPolicy::AllowPrivate);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC*") {
            if let Ok(url) = text.parse::<EndpointUrl>() {
                prop_assert_eq!(url.as_str().parse::<EndpointUrl>().unwrap(), url);
            }
        }
    }
}
