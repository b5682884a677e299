//! From single checks to a verdict: so many successes in a row make healthy, so many failures in a row unhealthy.

use crate::domain::workload::Probe;

/// The verdict of one probe on one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    healthy: bool,
    in_a_row: u32,
    healthy_after: u32,
    unhealthy_after: u32,
}

impl Verdict {
    /// The verdict before the first check.
    pub fn new(probe: &Probe, healthy: bool) -> Self {
        Verdict {
            healthy,
            in_a_row: 0,
            healthy_after: probe.healthy_after.max(1),
            unhealthy_after: probe.unhealthy_after.max(1),
        }
    }

    /// Whether it counts as healthy.
    pub fn healthy(&self) -> bool {
        self.healthy
    }

    /// Takes the outcome of one check; whether the verdict changed.
    pub fn observe(&mut self, success: bool) -> bool {
        if success == self.healthy {
            self.in_a_row = 0;
            return false;
        }
        self.in_a_row += 1;
        let enough = if success { self.healthy_after } else { self.unhealthy_after };
        if self.in_a_row < enough {
            return false;
        }
        self.healthy = success;
        self.in_a_row = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{span::Span, workload::Check};

    fn verdicts(start: bool, healthy_after: u32, unhealthy_after: u32, checks: &str) -> String {
        let (interval, timeout) = (Span::from_secs(1), Span::from_secs(1));
        let probe = Probe { check: Check::Tcp {}, interval, timeout, healthy_after, unhealthy_after };
        let mut verdict = Verdict::new(&probe, start);
        let mut seen = |check| {
            verdict.observe(check == '+');
            if verdict.healthy() { '+' } else { '-' }
        };
        checks.chars().map(&mut seen).collect()
    }

    #[test]
    fn it_takes_so_many_in_a_row_to_change() {
        for (start, healthy_after, unhealthy_after, checks, expected) in [
            (false, 2, 3, "++---+-++", "-+++----+"),
            (false, 1, 1, "+-+-", "+-+-"),
            (false, 2, 3, "+-+-+-", "------"),
            (true, 2, 3, "--+--+---", "++++++++-"),
            (true, 0, 0, "-+", "-+"),
        ] {
            assert_eq!(verdicts(start, healthy_after, unhealthy_after, checks), expected, "{checks}");
        }
    }
}
