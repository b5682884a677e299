//! Bounds of an analysis as people write them: `<= 1%`, `<= 250ms`, `<= 1.5 * stable`.

use super::decode::Context;
use super::node::Node;
use super::values::decimal;
use crate::domain::analysis::Bound;

/// What a bound is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// A share of requests, in millionths.
    Rate,
    /// A time, in microseconds.
    Latency,
}

const MILLION: u64 = 1_000_000;

/// Reads an upper bound. `<` is taken as at most the next smaller value.
pub fn bound(cx: &Context, node: &Node, of: Of) -> Option<Bound> {
    let text = cx.text(node)?;
    match parse(text, of) {
        Ok(bound) => Some(bound),
        Err(reason) => {
            let example = match of {
                Of::Rate => "\"<= 1%\"",
                Of::Latency => "\"<= 250ms\"",
            };
            let remedy = format!("write {example} or \"<= 1.5 * stable\", in quotes");
            cx.schema(&node.at, format!("`{text}` is not a bound: {reason}"), remedy);
            None
        }
    }
}

/// Parses a bound; the error says what is wrong with it.
pub fn parse(text: &str, of: Of) -> Result<Bound, &'static str> {
    let text = text.trim();
    let (limit, strict) = match (text.strip_prefix("<="), text.strip_prefix('<')) {
        (Some(rest), _) => (rest.trim(), false),
        (None, Some(rest)) => (rest.trim(), true),
        _ => return Err("it begins with `<=` or `<`, as only upper bounds exist"),
    };
    let value = |value: u64| {
        if strict { value.checked_sub(1).ok_or("nothing is below zero") } else { Ok(value) }
    };
    if let Some(factor) = limit.strip_suffix("stable") {
        let factor = match factor.trim().strip_suffix('*') {
            Some(factor) => decimal(factor.trim(), MILLION).ok_or("before `* stable` stands a number")?,
            None if factor.is_empty() => MILLION,
            None => return Err("a number is multiplied with stable: `1.5 * stable`"),
        };
        if factor > 1_000 * MILLION {
            return Err("the factor is at most 1000");
        }
        return Ok(Bound::TimesStable(value(factor)?));
    }
    let limit = match of {
        Of::Rate => rate(limit)?,
        Of::Latency => latency(limit)?,
    };
    Ok(Bound::AtMost(value(limit)?))
}

fn rate(text: &str) -> Result<u64, &'static str> {
    let millionths = match text.strip_suffix('%') {
        Some(percent) => decimal(percent.trim(), 10_000),
        None => decimal(text, MILLION),
    };
    match millionths {
        Some(millionths) if millionths <= MILLION => Ok(millionths),
        Some(_) => Err("a share is at most 100%"),
        None => Err("a share is wanted, such as 1% or 0.01"),
    }
}

fn latency(text: &str) -> Result<u64, &'static str> {
    let units = [("us", 1), ("ms", 1_000), ("s", MILLION)];
    let found = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?.trim(), *scale)));
    let (number, scale) = found.ok_or("a time is wanted, in us, ms or s")?;
    // `10ms` ends in `s` too, so the units are tried from the longest.
    let micros = decimal(number, scale).ok_or("a time is wanted, such as 250ms or 1.5s, down to 1us")?;
    if micros > 3_600 * MILLION { Err("it is at most an hour") } else { Ok(micros) }
}

/// A bound as it is written, in its shortest form.
pub fn show(bound: Bound, of: Of) -> String {
    let number = |value: u64, scale: u64| {
        let places = scale.ilog10() as usize;
        let text = format!("{}.{:0places$}", value / scale, value % scale);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match (bound, of) {
        (Bound::TimesStable(factor), _) => format!("<= {} * stable", number(factor, MILLION)),
        (Bound::AtMost(rate), Of::Rate) => format!("<= {}%", number(rate, 10_000)),
        (Bound::AtMost(micros), Of::Latency) => format!("<= {}ms", number(micros, 1_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_exact() {
        let cases = [
            ("<= 1%", Of::Rate, Bound::AtMost(10_000)),
            ("<=0.5%", Of::Rate, Bound::AtMost(5_000)),
            ("<= 0.01", Of::Rate, Bound::AtMost(10_000)),
            ("< 1%", Of::Rate, Bound::AtMost(9_999)),
            ("<= 0%", Of::Rate, Bound::AtMost(0)),
            ("<= 250ms", Of::Latency, Bound::AtMost(250_000)),
            ("<= 1.5s", Of::Latency, Bound::AtMost(1_500_000)),
            ("<= 800us", Of::Latency, Bound::AtMost(800)),
            ("<= 1.5 * stable", Of::Latency, Bound::TimesStable(1_500_000)),
            ("<= stable", Of::Rate, Bound::TimesStable(1_000_000)),
            ("<2*stable", Of::Rate, Bound::TimesStable(1_999_999)),
        ];
        for (text, of, bound) in cases {
            assert_eq!(parse(text, of), Ok(bound), "{text}");
        }
    }

    #[test]
    fn what_is_no_bound_is_refused() {
        for text in [
            "",
            "1%",
            ">= 1%",
            "<= 101%",
            "<= 1.00001%",
            "< 0%",
            "<= x",
            "<= 1ms",
            "<= -1%",
            "<= 1.5 stable",
            "<= 1e3 * stable",
        ] {
            assert!(parse(text, Of::Rate).is_err(), "{text} was taken");
        }
        for text in ["<= 5%", "<= 5", "<= 2h", "<= 3601s", "<= 1.5us"] {
            assert!(parse(text, Of::Latency).is_err(), "{text} was taken");
        }
    }

    #[test]
    fn bounds_read_what_they_write() {
        for (text, of) in
            [("<= 1%", Of::Rate), ("<= 0.9999%", Of::Rate), ("<= 1.5 * stable", Of::Rate), ("<= 0.8ms", Of::Latency)]
        {
            assert_eq!(show(parse(text, of).unwrap(), of), text);
        }
    }
}
