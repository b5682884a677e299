//! Which endpoint a request goes to. Pure: numbers in, an index out.
//!
//! The group is drawn by weight. Within it the endpoint with the fewest requests in flight gets the next one, among those
//! that are up; one that was not seen yet only when none is up. A group without either hands over to another weighted
//! group, so that a dying version costs no request; one that is down is tried when nothing else is left.

use crate::protocol::router::EndpointHealth;

/// What the choice looks at in an endpoint.
pub trait Target {
    /// Whether it can serve.
    fn health(&self) -> EndpointHealth;
    /// Requests in flight.
    fn in_flight(&self) -> u64;
}

/// A group as the choice sees it.
pub trait Weighted {
    /// Its endpoints.
    type Target: Target;
    /// Its share.
    fn weight(&self) -> u32;
    /// Its endpoints.
    fn targets(&self) -> &[Self::Target];
}

/// An endpoint that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The group's index.
    pub group: usize,
    /// The endpoint's index in its group.
    pub target: usize,
    /// What its health was.
    pub health: EndpointHealth,
}

/// The group that a point between zero and the largest `u64` falls on: each group has a part of that range as large as its
/// share of the weights. `None` when all weights are zero.
pub fn draw<G: Weighted>(groups: &[G], point: u64) -> Option<usize> {
    let total: u64 = groups.iter().map(|group| u64::from(group.weight())).sum();
    // Below `total`, because the product is below 2^64 * total.
    let mut rest = ((u128::from(point) * u128::from(total)) >> 64) as u64;
    for (index, group) in groups.iter().enumerate() {
        let weight = u64::from(group.weight());
        if rest < weight {
            return Some(index);
        }
        rest -= weight;
    }
    None
}

/// The point of the n-th request. Multiples of the golden ratio fill the range evenly, so that shares come out exact
/// after few requests (a canary's first requests come early and steadily), without a pattern that a client's own rhythm
/// could fall into.
pub fn point(ticket: u64) -> u64 {
    ticket.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Chooses an endpoint, preferring the drawn group. `turn` decides ties; endpoints for which `tried` holds are passed over.
pub fn choose<G: Weighted>(
    groups: &[G],
    drawn: usize,
    turn: usize,
    tried: impl Fn(&G::Target) -> bool,
) -> Option<Pick> {
    let others = || (1..groups.len()).map(|step| (drawn + step) % groups.len()).filter(|&g| groups[g].weight() > 0);
    let best = |group: usize, health| {
        least(groups[group].targets(), health, turn, &tried).map(|target| Pick { group, target, health })
    };
    let usable = |group: usize| best(group, EndpointHealth::Up).or_else(|| best(group, EndpointHealth::Unknown));
    usable(drawn)
        .or_else(|| others().find_map(|group| best(group, EndpointHealth::Up)))
        .or_else(|| others().find_map(usable))
        .or_else(|| best(drawn, EndpointHealth::Down))
        .or_else(|| others().find_map(|group| best(group, EndpointHealth::Down)))
}

/// The least loaded target of one health; ties go round.
fn least<T: Target>(targets: &[T], health: EndpointHealth, turn: usize, tried: &impl Fn(&T) -> bool) -> Option<usize> {
    let count = targets.len();
    let mut best: Option<(u64, usize)> = None;
    for step in 0..count {
        let index = (turn % count + step) % count;
        let target = &targets[index];
        if target.health() != health || tried(target) {
            continue;
        }
        let load = target.in_flight();
        if best.is_none_or(|(least, _)| load < least) {
            best = Some((load, index));
        }
    }
    best.map(|(_, index)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use EndpointHealth::{Down, Unknown, Up};

    struct Fake(EndpointHealth, u64);

    impl Target for Fake {
        fn health(&self) -> EndpointHealth {
            self.0
        }
        fn in_flight(&self) -> u64 {
            self.1
        }
    }

    struct Group(u32, Vec<Fake>);

    impl Weighted for Group {
        type Target = Fake;
        fn weight(&self) -> u32 {
            self.0
        }
        fn targets(&self) -> &[Fake] {
            &self.1
        }
    }

    fn picked(groups: &[Group], drawn: usize, turn: usize) -> Option<(usize, usize)> {
        choose(groups, drawn, turn, |_| false).map(|pick| (pick.group, pick.target))
    }

    #[test]
    fn shares_follow_the_weights() {
        for weights in [vec![1], vec![9, 1], vec![99, 1], vec![0, 5, 5], vec![3, 0, 4, 1_000_000]] {
            let groups: Vec<Group> = weights.iter().map(|&weight| Group(weight, vec![])).collect();
            let total: u32 = weights.iter().sum();
            let mut counts = vec![0_u64; weights.len()];
            let requests = 20_000;
            let start = 0xDEAD_BEEF_u64;
            for ticket in start..start + requests {
                counts[draw(&groups, point(ticket)).unwrap()] += 1;
            }
            for (weight, count) in weights.iter().zip(counts) {
                let share = f64::from(*weight) / f64::from(total);
                let sigma = (requests as f64 * share * (1.0 - share)).sqrt();
                let off = (count as f64 - requests as f64 * share).abs();
                assert!(off <= 3.0 * sigma + 1.0, "{weights:?}: weight {weight} got {count}");
            }
        }
    }

    #[test]
    fn all_zero_draws_nothing() {
        assert_eq!(draw(&[Group(0, vec![]), Group(0, vec![])], 7), None);
        assert_eq!(draw::<Group>(&[], 7), None);
    }

    #[test]
    fn ends_of_the_range_fall_on_a_group() {
        let groups = [Group(0, vec![]), Group(1, vec![]), Group(2, vec![]), Group(0, vec![])];
        assert_eq!(draw(&groups, 0), Some(1));
        assert_eq!(draw(&groups, u64::MAX), Some(2));
    }

    #[test]
    fn a_canary_of_one_percent_is_seen_within_the_first_two_hundred() {
        let groups = [Group(99, vec![]), Group(1, vec![])];
        for start in [0, 1, 77, u64::MAX - 3] {
            let hits = (0..200_u64).filter(|n| draw(&groups, point(start.wrapping_add(*n))) == Some(1)).count();
            assert!((1..=4).contains(&hits), "{hits} from {start}");
        }
    }

    #[test]
    fn prefers_up_then_unknown_then_other_groups_then_down() {
        let cases = [
            (vec![Group(1, vec![Fake(Up, 3), Fake(Up, 1), Fake(Unknown, 0)])], Some((0, 1))),
            (vec![Group(1, vec![Fake(Down, 0), Fake(Unknown, 9)])], Some((0, 1))),
            (vec![Group(1, vec![Fake(Down, 0)]), Group(1, vec![Fake(Up, 9)])], Some((1, 0))),
            (vec![Group(1, vec![]), Group(1, vec![Fake(Unknown, 9)])], Some((1, 0))),
            (
                vec![Group(1, vec![Fake(Down, 0)]), Group(1, vec![Fake(Unknown, 0)]), Group(1, vec![Fake(Up, 0)])],
                Some((2, 0)),
            ),
            (vec![Group(1, vec![Fake(Down, 4)]), Group(0, vec![Fake(Up, 0)])], Some((0, 0))),
            (vec![Group(1, vec![]), Group(1, vec![Fake(Down, 0)])], Some((1, 0))),
            (vec![Group(1, vec![]), Group(0, vec![Fake(Up, 0)])], None),
        ];
        for (number, (groups, expected)) in cases.into_iter().enumerate() {
            assert_eq!(picked(&groups, 0, 0), expected, "case {number}");
        }
    }

    #[test]
    fn ties_go_round_and_what_was_tried_is_passed_over() {
        let groups = [Group(1, vec![Fake(Up, 0), Fake(Up, 0), Fake(Up, 0)])];
        let order: Vec<_> = (0..4).map(|turn| picked(&groups, 0, turn).unwrap().1).collect();
        assert_eq!(order, [0, 1, 2, 0]);
        let groups = [Group(1, vec![Fake(Up, 0), Fake(Up, 5)])];
        assert_eq!(choose(&groups, 0, 0, |target| target.1 == 0).map(|pick| pick.target), Some(1));
        assert_eq!(choose(&groups, 0, 0, |_| true), None);
    }
}
