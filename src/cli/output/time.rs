//! Times as people read them: relative, with one or two units.

use jiff::Timestamp;

/// How long ago, or how soon: `just now`, `42s ago`, `3m ago`, `in 2h 5m`.
pub fn relative(then: Timestamp, now: Timestamp) -> String {
    let millis = now.as_millisecond() - then.as_millisecond();
    match millis {
        -999..=999 => "just now".into(),
        1_000.. => format!("{} ago", length(millis.unsigned_abs())),
        _ => format!("in {}", length(millis.unsigned_abs())),
    }
}

/// A length of time of so many milliseconds: `250ms`, `1.4s`, `42s`, `3m`, `2h 5m`, `3d 4h`.
pub fn length(millis: u64) -> String {
    let secs = millis / 1_000;
    match secs {
        0 => format!("{millis}ms"),
        1..=9 => format!("{}.{}s", secs, millis % 1_000 / 100).replace(".0s", "s"),
        10..=59 => format!("{secs}s"),
        60..=3_599 if secs < 600 && !secs.is_multiple_of(60) => format!("{}m {}s", secs / 60, secs % 60),
        60..=3_599 => format!("{}m", secs / 60),
        3_600..=86_399 => two(secs / 3_600, "h", secs % 3_600 / 60, "m"),
        _ => two(secs / 86_400, "d", secs % 86_400 / 3_600, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{large}{large_unit}") } else { format!("{large}{large_unit} {small}{small_unit}") }
}

/// The time between two moments; a negative one is none.
pub fn between(from: Timestamp, to: Timestamp) -> String {
    length(u64::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_well() {
        let cases = [
            (0, "0ms"),
            (250, "250ms"),
            (1_000, "1s"),
            (1_449, "1.4s"),
            (42_900, "42s"),
            (180_000, "3m"),
            (185_000, "3m 5s"),
            (1_205_000, "20m"),
            (7_500_000, "2h 5m"),
            (7_200_000, "2h"),
            (273_600_000, "3d 4h"),
        ];
        for (millis, text) in cases {
            assert_eq!(length(millis), text);
        }
    }

    #[test]
    fn the_past_and_the_future_differ() {
        let now = Timestamp::from_millisecond(1_000_000_000).unwrap();
        let at = |millis: i64| Timestamp::from_millisecond(1_000_000_000 + millis).unwrap();
        assert_eq!(relative(at(-180_000), now), "3m ago");
        assert_eq!(relative(at(12_000), now), "in 12s");
        assert_eq!(relative(at(300), now), "just now");
    }
}
