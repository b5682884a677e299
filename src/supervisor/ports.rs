//! Who has which port. A port belongs to an instance from its first start to its removal, and is never handed to two.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The ports to choose from, as `20000-29999`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRange(RangeInclusive<u16>);

/// Why a text is not a [`PortRange`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a range of ports: write the first and the last with a `-`, as in 20000-29999")]
pub struct PortRangeError(String);

impl Default for PortRange {
    fn default() -> Self {
        PortRange(20_000..=29_999)
    }
}

impl FromStr for PortRange {
    type Err = PortRangeError;

    fn from_str(text: &str) -> Result<Self, PortRangeError> {
        let error = || PortRangeError(text.chars().take(40).collect());
        let (first, last) = text.split_once('-').ok_or_else(error)?;
        let (first, last): (u16, u16) = (first.parse().map_err(|_| error())?, last.parse().map_err(|_| error())?);
        if first == 0 || first > last { Err(error()) } else { Ok(PortRange(first..=last)) }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

/// Every port of the range is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no port of {0} is free: retire groups, or give the supervisor a wider --port-range")]
pub struct NoPort(PortRange);

/// The ports that are given out.
#[derive(Debug)]
pub struct Ports {
    range: PortRange,
    taken: BTreeSet<u16>,
    /// Where the next search begins: a port that was just given back is not at once somebody else's.
    next: u16,
}

impl Ports {
    /// None given out yet.
    pub fn new(range: PortRange) -> Self {
        let next = *range.0.start();
        Ports { range, taken: BTreeSet::new(), next }
    }

    /// Notes the port of an instance that was there before this start of the supervisor.
    pub fn keep(&mut self, port: u16) {
        self.taken.insert(port);
    }

    /// Gives out a port that is neither given out nor, by `free`, used by a stranger.
    pub fn take(&mut self, free: impl Fn(u16) -> bool) -> Result<u16, NoPort> {
        let (first, last) = (*self.range.0.start(), *self.range.0.end());
        let order = (self.next..=last).chain(first..self.next);
        let found = order.into_iter().find(|port| !self.taken.contains(port) && free(*port));
        let port = found.ok_or_else(|| NoPort(self.range.clone()))?;
        self.taken.insert(port);
        self.next = if port == last { first } else { port + 1 };
        Ok(port)
    }

    /// Takes a port back.
    pub fn give_back(&mut self, port: u16) {
        self.taken.remove(&port);
    }
}

/// Whether nobody listens on a port of 127.0.0.1.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_to_two_and_a_strangers_is_passed_over() {
        let mut ports = Ports::new("100-103".parse().unwrap());
        ports.keep(101);
        let free = |port| port != 100;
        assert_eq!(ports.take(free), Ok(102));
        assert_eq!(ports.take(free), Ok(103));
        assert_eq!(ports.take(free).unwrap_err().to_string(), NoPort("100-103".parse().unwrap()).to_string());
        ports.give_back(102);
        assert_eq!(ports.take(free), Ok(102));
    }

    #[test]
    fn a_port_given_back_is_the_last_to_be_given_again() {
        let mut ports = Ports::new("100-102".parse().unwrap());
        assert_eq!(ports.take(|_| true), Ok(100));
        ports.give_back(100);
        assert_eq!([0; 3].map(|_| ports.take(|_| true).unwrap()), [101, 102, 100]);
    }

    #[test]
    fn a_listener_makes_its_port_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
    }

    #[test]
    fn ranges_read_what_they_write() {
        assert_eq!(PortRange::default().to_string(), "20000-29999");
        assert_eq!("5-5".parse::<PortRange>().unwrap().to_string(), "5-5");
        for bad in ["", "5", "6-5", "0-5", "1-70000", "a-b"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
    }
}
