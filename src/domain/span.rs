//! Lengths of time as people write them: `250ms`, `30s`, `5m`, `1h30m`, `2d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time with millisecond precision. Its text form is canonical (largest units first,
/// no zero parts), so that digests over it do not depend on how the user wrote it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

/// Why a text is not a [`Span`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a length of time: write a number and a unit, such as 250ms, 30s, 5m, 1h30m or 2d")]
pub struct SpanError(pub String);

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// A span of whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Span(millis)
    }

    /// A span of whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Span(secs * 1_000)
    }

    /// The length in milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The same length as the standard library's type.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, size) in UNITS {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError(text.to_owned());
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(error());
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| error())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (_, size) = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters]).ok_or_else(error)?;
            rest = &rest[letters..];
            total = number.checked_mul(*size).and_then(|part| total.checked_add(part)).ok_or_else(error)?;
        }
        Ok(Span(total))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_canonically() {
        for (text, canonical) in [("250ms", "250ms"), ("90s", "1m30s"), ("1h30m", "1h30m"), ("7d", "7d"), ("0s", "0s")]
        {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn refuses_what_is_no_length() {
        for text in ["", "30", "s", "5 m", "-1s", "1y", "99999999999999999999s", "1.5s"] {
            assert!(text.parse::<Span>().is_err(), "{text} was taken");
        }
    }
}
