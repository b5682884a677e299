//! Names and identities: what a unit, a group, an instance is called everywhere.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a document or of something inside one: lower-case letters, digits and `-`, beginning and ending
/// with a letter or digit, at most 63 characters. The narrow alphabet keeps names safe in paths, host names,
/// headers and labels, and leaves no room for look-alike letters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a text is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a name: use lower-case letters, digits and `-`, beginning and ending with a letter or digit, at most 63 characters"
)]
pub struct NameError(pub String);

impl Name {
    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if bytes.len() <= 63 && bytes.iter().all(inner) && edge(bytes.first()) && edge(bytes.last()) {
            Ok(Name(text.to_owned()))
        } else {
            Err(NameError(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<&str> for Name {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        text.parse()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What state is kept for: one app in one environment on one target. Text form: `app/environment/target`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId {
    /// The App's name.
    pub app: Name,
    /// The Environment's name.
    pub environment: Name,
    /// The target's name within the environment; `default` where there is only one.
    pub target: Name,
}

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.app, self.environment, self.target)
    }
}

impl fmt::Debug for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a [`UnitId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a unit: write app/environment/target")]
pub struct UnitIdError(pub String);

impl FromStr for UnitId {
    type Err = UnitIdError;

    fn from_str(text: &str) -> Result<Self, UnitIdError> {
        let error = || UnitIdError(text.chars().take(200).collect());
        let mut parts = text.split('/').map(|part| part.parse::<Name>().map_err(|_| error()));
        let mut next = || parts.next().unwrap_or_else(|| Err(error()));
        let unit = UnitId { app: next()?, environment: next()?, target: next()? };
        match parts.next() {
            None => Ok(unit),
            Some(_) => Err(error()),
        }
    }
}

impl Serialize for UnitId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnitId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The identity as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name(text.to_owned())
            }
        }
    };
}

text_id! {
    /// A versioned group of instances within a unit: twelve hexadecimal digits of the digest of what makes its
    /// instances differ from another group's (see [`crate::domain::desired::DesiredUnit::group_id`]).
    GroupId
}
text_id! {
    /// A Git commit, as its full hexadecimal object name.
    Revision
}
text_id! {
    /// One run of a hook or script. Derived from what is run for what, so that a rerun after a crash finds the
    /// first run instead of starting another.
    RunId
}
text_id! {
    /// One rollout of one unit, unique over time.
    RolloutId
}
text_id! {
    /// One renaming of a unit, unique over time.
    MoveId
}
text_id! {
    /// One rollback; it stands in the trailer of the commit that records it.
    RollbackId
}

/// The number of a holder of the state. It only grows; whoever acts with a lower one than the highest seen is
/// stale and is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet() {
        for good in ["a", "web-1", "0x", &"a".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good} was refused");
        }
        for bad in ["", "-a", "a-", "A", "a/b", "a.b", "а", "a\u{200b}", &"a".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_unit_reads_what_it_writes() {
        let unit: UnitId = "hello/staging/default".parse().unwrap();
        assert_eq!(unit.to_string(), "hello/staging/default");
        assert!("hello/staging".parse::<UnitId>().is_err());
        assert!("hello/staging/default/x".parse::<UnitId>().is_err());
    }
}
