//! Where requests that a document asks for may go: artifacts and HTTP measurements, whose addresses anybody who may push to the
//! configuration repository chooses.
//!
//! Never to the cloud's metadata services and other link-local addresses, and to this machine's loopback only where the
//! document itself says so (`127.0.0.1`, `[::1]`, `localhost`): not by a redirect from elsewhere, and not by a name that resolves to
//! it. Names are judged after they are resolved, and the judged addresses are the ones that are connected to, so that a second
//! answer of the DNS changes nothing. What the operator lists in `[outgoing] allow` may be reached regardless.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A block of addresses: `10.0.0.0/8`, `fd00::/8`, or a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    network: u128,
    bits: u8,
}

impl FromStr for Block {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address and no block of addresses such as \"10.0.0.0/8\"");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let (most, offset) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let bits = bits.unwrap_or(most);
        if bits > most {
            return Err(wrong());
        }
        let bits = bits + offset;
        Ok(Block { network: number(address) & mask(bits), bits })
    }
}

impl Block {
    fn contains(&self, address: IpAddr) -> bool {
        number(address) & mask(self.bits) == self.network
    }
}

/// An address as 128 bits; IPv4 as its mapped IPv6 address.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

/// What keeps a request from an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// This machine.
    Loopback,
    /// Link-local, metadata, unspecified, multicast: nothing that a document should ask for.
    Forbidden,
}

/// Metadata services that are not link-local: of AWS over IPv6, of Alibaba, of Oracle.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

fn kind(address: IpAddr) -> Option<Kind> {
    let address = embedded(address);
    if METADATA.contains(&address) {
        return Some(Kind::Forbidden);
    }
    match address {
        IpAddr::V4(v4) if v4.is_loopback() => Some(Kind::Loopback),
        IpAddr::V6(v6) if v6.is_loopback() => Some(Kind::Loopback),
        // "This host" is reached as the loopback by most systems.
        IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() => {
            Some(Kind::Forbidden)
        }
        IpAddr::V6(v6) if v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_multicast() => {
            Some(Kind::Forbidden)
        }
        _ => None,
    }
}

/// The IPv4 address that an IPv6 address leads to: mapped, compatible, NAT64 or 6to4.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address.to_canonical() else { return address.to_canonical() };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match [a, b, c, d, e, f] {
        [0x64, 0xff9b, 0, 0, 0, 0] => v4(g, h),
        [0, 0, 0, 0, 0, 0] if g != 0 => v4(g, h),
        [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

/// Why a request is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place} is {what}, where no document may send the daemon; an operator can allow it with `[outgoing] allow`")]
pub struct Forbidden {
    place: String,
    what: &'static str,
}

/// The rule, with what the operator allows beyond it.
#[derive(Clone, Debug, Default)]
pub struct Destinations {
    allow: Arc<Vec<Block>>,
}

impl Destinations {
    /// The rule with these blocks allowed.
    ///
    /// # Errors
    ///
    /// One of them is none.
    pub fn new(allow: &[String]) -> Result<Self, String> {
        let blocks: Result<Vec<Block>, String> = allow.iter().map(|text| text.parse()).collect();
        Ok(Destinations { allow: Arc::new(blocks.map_err(|error| format!("[outgoing] allow: {error}"))?) })
    }

    fn judge(&self, address: IpAddr, loopback: bool) -> Result<(), Forbidden> {
        let what = match kind(address) {
            None => return Ok(()),
            Some(_) if self.allow.iter().any(|block| block.contains(address.to_canonical())) => return Ok(()),
            Some(Kind::Loopback) if loopback => return Ok(()),
            Some(Kind::Loopback) => "on this machine's loopback",
            Some(Kind::Forbidden) => "link-local, a metadata service or no host",
        };
        Err(Forbidden { place: address.to_string(), what })
    }

    /// Whether a document may name this address.
    ///
    /// # Errors
    ///
    /// It may not.
    pub fn check(&self, url: &Url) -> Result<(), Forbidden> {
        match host(url) {
            Host::Address(address) => self.judge(address, true),
            Host::Here | Host::Name => Ok(()),
        }
    }

    /// Whether a redirect may lead there; `from` is the address that the document names.
    ///
    /// # Errors
    ///
    /// It may not.
    pub fn check_redirect(&self, from: &Url, to: &Url) -> Result<(), Forbidden> {
        // Who was sent to this machine by the document itself may stay here.
        let here = match host(from) {
            Host::Address(address) => kind(address) == Some(Kind::Loopback),
            Host::Here => true,
            Host::Name => false,
        };
        match host(to) {
            Host::Address(address) => self.judge(address, here),
            Host::Here if !here => Err(Forbidden { place: "localhost".into(), what: "on this machine's loopback" }),
            Host::Here | Host::Name => Ok(()),
        }
    }

    /// The resolver for HTTP clients: gives only addresses that may be connected to.
    pub fn resolver(&self) -> Arc<Guard> {
        self.resolver_over(Arc::new(System))
    }

    /// [`resolver`](Self::resolver) over another source of addresses than the system's.
    pub fn resolver_over(&self, names: Arc<dyn Resolve>) -> Arc<Guard> {
        Arc::new(Guard { destinations: self.clone(), names })
    }
}

enum Host {
    Address(IpAddr),
    /// `localhost`, which resolvers answer themselves.
    Here,
    Name,
}

fn host(url: &Url) -> Host {
    let text = url.host_str().unwrap_or_default();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => Host::Address(address),
        Err(_) if is_here(bare) => Host::Here,
        Err(_) => Host::Name,
    }
}

fn is_here(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// A resolver that gives only addresses that may be connected to.
pub struct Guard {
    destinations: Destinations,
    names: Arc<dyn Resolve>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("destinations", &self.destinations).finish_non_exhaustive()
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let here = is_here(name.as_str());
        let destinations = self.destinations.clone();
        let resolving = self.names.resolve(name);
        Box::pin(async move {
            let mut refused = None;
            let mut good = Vec::new();
            for address in resolving.await? {
                match destinations.judge(address.ip(), here) {
                    Ok(()) => good.push(address),
                    Err(forbidden) => refused = Some(forbidden),
                }
            }
            match refused {
                // One bad address is enough: a name that means both is none to trust.
                Some(forbidden) => Err(forbidden.into()),
                None => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}

/// The system's resolver.
struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Vec<SocketAddr> = found.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// An error with what is behind it: `error sending request` alone helps nobody.
pub(in crate::adapters) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn metadata_and_link_local_are_refused_in_every_spelling() {
        let rule = Destinations::default();
        for host in [
            "169.254.169.254",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:a9fe:a9fe::1]",
            "[::169.254.169.254]",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "[fe80::1]",
            "[fd00:ec2::254]",
            "100.100.100.200",
            "192.0.0.192",
            "0.0.0.0",
            "[::]",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            let target = url(&format!("http://{host}/latest/meta-data"));
            assert!(rule.check(&target).is_err(), "{host}");
            assert!(rule.check_redirect(&url("https://example.org"), &target).is_err(), "redirect to {host}");
        }
    }

    #[test]
    fn loopback_is_reached_only_where_the_document_says_so() {
        let rule = Destinations::default();
        for host in ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "LOCALHOST", "[::ffff:127.0.0.1]"] {
            let target = url(&format!("http://{host}:8080/x"));
            assert!(rule.check(&target).is_ok(), "{host}");
            assert!(rule.check_redirect(&url("https://example.org"), &target).is_err(), "redirect to {host}");
            assert!(rule.check_redirect(&url("http://localhost:1/"), &target).is_ok(), "from here to {host}");
        }
        assert!(rule.check(&url("http://10.1.2.3/")).is_ok(), "private networks are where services are");
        assert!(rule.check(&url("https://example.org/")).is_ok());
    }

    #[test]
    fn what_the_operator_allows_is_reached() {
        let rule = Destinations::new(&["169.254.10.0/24".into(), "127.0.0.1".into(), "fe80::/10".into()]).unwrap();
        assert!(rule.check(&url("http://169.254.10.7/")).is_ok());
        assert!(rule.check(&url("http://169.254.11.7/")).is_err());
        assert!(rule.check(&url("http://[fe80::2]/")).is_ok());
        assert!(rule.check_redirect(&url("https://example.org"), &url("http://127.0.0.1/")).is_ok());
        assert!(rule.check_redirect(&url("https://example.org"), &url("http://127.0.0.2/")).is_err());
        for wrong in ["", "x", "10.0.0.0/33", "10.0.0/8", "fe80::/129"] {
            assert!(Destinations::new(&[wrong.into()]).is_err(), "{wrong:?}");
        }
        assert!("0.0.0.0/0".parse::<Block>().unwrap().contains("192.0.2.1".parse().unwrap()));
        assert!(!"0.0.0.0/0".parse::<Block>().unwrap().contains("2001:db8::1".parse().unwrap()));
    }
}
