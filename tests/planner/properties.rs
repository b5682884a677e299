//! What holds for every plan from every state: executed, it converges; no request is lost on the way; what is allowed to
//! be missing is all that is; planned again, nothing is left; the same inputs give the same bytes.

use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use trimtab::adapters::platform::fake::Behaviour;
use trimtab::domain::action::{Action, TrafficSet, Which};
use trimtab::domain::capabilities::Split;
use trimtab::domain::desired::DesiredUnit;
use trimtab::domain::observed::{ObservedBackend, Seen};
use trimtab::domain::plan::GroupSource;
use trimtab::domain::route::RouteSettings;
use trimtab::domain::span::Span;
use trimtab::domain::strategy::{Amount, BlueGreen, Canary, Promote, Rolling, Step, Strategy};

use crate::saga::bed::*;

fn amount(most: u32) -> impl proptest::strategy::Strategy<Value = Amount> {
    prop_oneof![(0..=most).prop_map(Amount::Count), (0..=100_u32).prop_map(Amount::Percent)]
}

fn step() -> impl proptest::strategy::Strategy<Value = Step> {
    prop_oneof![
        4 => (0..=100_u32).prop_map(Step::Weight),
        2 => (1..100_u64).prop_map(|span| Step::Pause(Some(secs(span)))),
        1 => Just(Step::Analysis(name("errors"))),
        1 => amount(4).prop_map(Step::Scale),
    ]
}

fn strategy() -> impl proptest::strategy::Strategy<Value = Strategy> {
    prop_oneof![
        1 => Just(recreate()),
        3 => (amount(3), amount(3)).prop_filter_map("both are zero", |(max_surge, max_unavailable)| {
            let zero = |amount| matches!(amount, Amount::Count(0) | Amount::Percent(0));
            (!zero(max_surge) || !zero(max_unavailable))
                .then_some(Strategy::Rolling(Rolling { max_surge, max_unavailable }))
        }),
        2 => (1..6_u32, any::<bool>(), 0..60_u64).prop_map(|(shown, analysed, delay)| Strategy::BlueGreen(BlueGreen {
            preview_host: analysed.then(|| "preview.localhost".into()),
            preview_replicas: Some(shown),
            pre_promotion: if analysed { vec![name("errors")] } else { Vec::new() },
            promote: Promote::Auto,
            post_promotion: if analysed { vec![name("errors")] } else { Vec::new() },
            scale_down_delay: secs(delay),
        })),
        4 => (prop::collection::vec(step(), 0..6), any::<bool>(), 0..60_u64).prop_map(|(steps, gated, delay)| {
            let gate = if gated { vec![name("errors")] } else { Vec::new() };
            Strategy::Canary(Canary { steps, gate, scale_down_delay: secs(delay) })
        }),
    ]
}

prop_compose! {
    fn unit(version: &'static str)(
        replicas in 0..6_u32,
        strategy in strategy(),
        routed in prop::bool::weighted(0.85),
        window in prop_oneof![Just(0_u64), Just(60)],
    ) -> DesiredUnit {
        let mut unit = desired(version, replicas, strategy);
        unit.rollback.window = secs(window);
        if !routed {
            unit.route = None;
        }
        unit
    }
}

fn split() -> impl proptest::strategy::Strategy<Value = Split> {
    prop_oneof![3 => Just(Split::Weights(1_000_000)), 1 => Just(Split::Weights(16)), 1 => Just(Split::Replicas)]
}

/// How many instances may serve at least while one version takes over from another, both healthy.
fn floor(old: &DesiredUnit, new: &DesiredUnit, split: Split) -> u32 {
    if old.route.is_none() || new.route.is_none() {
        return 0;
    }
    let fewest = old.replicas.min(new.replicas);
    match &new.strategy {
        Strategy::Recreate(_) => 0,
        Strategy::Rolling(settings) => {
            let missing = settings.max_unavailable.down(new.replicas);
            let missing = if settings.max_surge.up(new.replicas) == 0 { missing.max(1) } else { missing };
            fewest.min(new.replicas.saturating_sub(missing))
        }
        Strategy::BlueGreen(_) => fewest,
        // The canary alone may have everything at the end of its steps, be it as small as it was scaled.
        Strategy::Canary(settings) => {
            let all = settings.steps.iter().any(|step| matches!(step, Step::Weight(100)));
            if all || matches!(split, Split::Replicas) { fewest.min(1) } else { fewest }
        }
    }
}

/// Runs to the end, and looks at every step whether enough serve.
fn run(bed: &mut Bed, floor: u32) -> Result<(), TestCaseError> {
    for _ in 0..3_000 {
        let effects = bed.fake.effects.len();
        let next = bed.step().unwrap();
        if bed.fake.effects.len() > effects {
            prop_assert!(
                bed.fake.serving() >= floor,
                "{} of {floor} serve after {}",
                bed.fake.serving(),
                bed.fake.effects.last().unwrap()
            );
        }
        match next {
            Some(next) => bed.fake.pass_to(next),
            None if bed.is_idle() => return Ok(()),
            None => {}
        }
    }
    Err(TestCaseError::fail(format!("no end: {} in {}", bed.waits, bed.phase())))
}

fn converged(bed: &Bed, unit: &DesiredUnit) -> Result<(), TestCaseError> {
    prop_assert_eq!(bed.verified(), Some(unit.version.clone()), "{} in {}", bed.waits, bed.phase());
    let sizes: Vec<_> = bed.fake.sizes().into_iter().collect();
    let group = (unit.group_id(0), (unit.replicas, unit.replicas));
    prop_assert_eq!(sizes, if unit.replicas > 0 { vec![group] } else { vec![] });
    let second = bed.make_plan(&bed.fake.observe()).unwrap();
    prop_assert!(second.is_empty(), "{:#?}", second);
    prop_assert!(bed.fake.violations.is_empty(), "{:#?}\n{:#?}", bed.fake.violations, bed.fake.effects);
    Ok(())
}

/// 300 cases of fresh seeds in each run; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// From one healthy version to another, and a third that interrupts.
    #[test]
    fn a_rollout_converges_and_keeps_serving(
        old in unit("1"),
        new in unit("2"),
        third in unit("3"),
        interrupt in prop::option::of(0..60_usize),
        split in split(),
        confirm in prop_oneof![Just(0_u64), Just(700)],
        drain in prop_oneof![Just(0_u64), Just(5)],
    ) {
        let mut bed = Bed::running(&old);
        bed.capabilities.split = split;
        bed.fake.confirm = Span::from_millis(confirm);
        bed.fake.drain = secs(drain);
        bed.want(&new);
        let mut last = &new;
        let mut least = floor(&old, &new, split);
        if let Some(steps) = interrupt {
            for _ in 0..steps {
                if let Some(next) = bed.step().unwrap() {
                    bed.fake.pass_to(next);
                }
            }
            bed.want(&third);
            last = &third;
            least = least.min(floor(&old, &third, split)).min(floor(&new, &third, split)).min(floor(&third, &old, split));
        }
        run(&mut bed, least)?;
        converged(&bed, last)?;
    }

    /// From whatever runs, with or without a memory of it.
    #[test]
    fn any_state_converges(
        old in unit("1"),
        new in unit("2"),
        remembered in any::<bool>(),
        groups in prop::collection::vec((0..4_usize, 1..5_u32, 0..100_u32, any::<bool>()), 0..4),
        routed in any::<bool>(),
        broken in prop::bool::weighted(0.2),
    ) {
        let mut bed = if remembered { Bed::running(&old) } else { Bed::new() };
        let stray = desired("stray", 2, rolling());
        let units = [&old, &new, &stray, &stray];
        for (which, replicas, _, ready) in &groups {
            let unit = units[*which];
            let source = GroupSource { rendered: unit.digest(), restarts: 0, version: unit.version.clone() };
            let group = if *which == 3 { "3".into() } else { unit.group_id(0) };
            bed.fake.perform(&Action::EnsureGroup { group, source, replicas: *replicas }).unwrap();
            if *ready {
                bed.fake.pass(secs(3));
            }
        }
        if routed && let Some(settings) = RouteSettings::of(&stray, Which::Main) {
            let seen = bed.fake.observe();
            let Seen::Known(seen) = seen.groups else { unreachable!() };
            let backends = seen
                .iter()
                .filter(|group| !group.retiring)
                .map(|group| {
                    let ready = group.instances.iter().filter(|one| one.ready);
                    let endpoints = ready.map(|one| (one.id.clone(), one.address.unwrap())).collect();
                    (group.group.clone(), ObservedBackend { weight: 1 + group.replicas, endpoints, testers: false })
                })
                .filter(|(_, backend)| !backend.endpoints.is_empty())
                .collect();
            let traffic = TrafficSet { route: stray.digest(), settings: settings.digest(), backends, hold: None };
            bed.fake.perform(&Action::SetTraffic { which: Which::Main, traffic }).unwrap();
        }
        if broken {
            bed.fake.behaviours.insert("1".into(), Behaviour { ready_after: None, ..Behaviour::default() });
            bed.fake.behaviours.insert("stray".into(), Behaviour { ready_after: None, ..Behaviour::default() });
            bed.fake.reboot();
        }
        // What the making of this state stopped has ended; nothing else has become ready yet.
        bed.fake.pass(secs(1));
        bed.fake.violations.clear();
        bed.fake.effects.clear();
        bed.want(&new);
        run(&mut bed, 0)?;
        converged(&bed, &new)?;
    }

    /// The same inputs give the same bytes, and looking changes nothing.
    #[test]
    fn plans_are_deterministic(old in unit("1"), new in unit("2"), split in split()) {
        let mut bed = Bed::running(&old);
        bed.capabilities.split = split;
        bed.want(&new);
        bed.step().unwrap();
        let observed = bed.fake.observe();
        let (first, second) = (bed.make_plan(&observed).unwrap(), bed.make_plan(&observed).unwrap());
        prop_assert_eq!(serde_json::to_vec(&first).unwrap(), serde_json::to_vec(&second).unwrap());
        let text = serde_json::to_string(&first).unwrap();
        let read: trimtab::domain::plan::Plan = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read.digest(), first.digest(), "a stored plan reads back as it was");
    }
}
