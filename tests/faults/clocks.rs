//! A wall clock that is off by an hour, and one that jumps while a rollout goes on: pauses, deadlines and watches take as long as
//! they should.

use jiff::SignedDuration;

use crate::sim::documents::App;
use crate::sim::judge::unsettled;
use crate::sim::positions::pushed;

const SLOW: &str =
    "{ canary: { steps: [ { weight: 20 }, { pause: 10m }, { weight: 60 }, { pause: 10m } ], scaleDownDelay: 5s } }";

/// How long a rollout takes by the true clock while the wall clock is set by so many seconds at each of some moments.
fn takes(jumps: &[(i64, i64)], kill: bool) -> i64 {
    let app = App::new("web", SLOW, 3);
    let mut machine = pushed(&app, "g2");
    let began = machine.now();
    for (after, by) in jumps {
        machine.run_for(*after);
        machine.outside().skew += SignedDuration::from_secs(*by);
        if kill {
            machine.kill();
        }
    }
    let unit = app.unit();
    let done = machine.run_to(10_000, |machine| {
        let outside = machine.outside();
        machine.judge.told.get(&unit).is_some_and(|told| unsettled(&outside, told, &unit, "g2", 3).is_none())
    });
    assert!(done, "{:#?}", machine.outside().trace);
    assert!(machine.judge.decided.is_empty(), "a deadline passed early");
    machine.now().duration_since(began).as_secs()
}

#[test]
fn fault_07_a_clock_that_is_off_or_jumps_moves_no_timer() {
    let undisturbed = takes(&[], false);
    assert!((1_200..1_300).contains(&undisturbed), "{undisturbed}");
    for kill in [false, true] {
        for jumps in [
            &[(0, 3_600)][..],
            &[(0, -3_600)],
            &[(100, 3_600), (400, -3_600)],
            &[(100, -3_600), (400, 7_200), (300, -3_600)],
            &[(1, 3_600), (1, 3_600), (1, -7_200)],
        ] {
            let took = takes(jumps, kill);
            let off = (took - undisturbed).abs();
            // It catches up by a hundredth, and each kill costs a start.
            assert!(off <= undisturbed / 100 + 15, "{jumps:?}: {took} s, not {undisturbed}");
        }
    }
}
