//! What people see, word for word. `INSTA_UPDATE=always` writes it anew.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use trimtab::api::types::{CheckResult, QuarantineEntry, RolloutSummary, UnitHealth, UnitPlan, UnitStatus};
use trimtab::cli::output::{Format, View};
use trimtab::cli::{check, plan, quarantine, rollout, status, why};
use trimtab::domain::desired::DesiredUnit;
use trimtab::domain::difference::Difference;
use trimtab::domain::digest::Digest;
use trimtab::domain::id::GroupId;
use trimtab::domain::plan::{Condition, FORMAT, GroupSource, Phase, Plan, PlanKind};
use trimtab::domain::prediction::{ASKED, Outcome, Predicted, Prediction};
use trimtab::domain::span::Span;

use super::canned::{ago, canary, daemon, group, held, noon, rolled_back, unit, version};

pub fn plain() -> View {
    View { format: Format::Table, colour: false, width: None, now: noon() }
}

/// Units in every state that needs an explanation.
fn units() -> Vec<UnitStatus> {
    let mut progressing = unit("hello/staging/default", "1.4.1");
    progressing.health = UnitHealth::Progressing;
    progressing.message = "canary at 10%: waits for analysis errors".into();
    progressing.candidate = Some(version("1.4.2", "3f"));
    progressing.effective = Some(version("1.4.2", "3f"));
    progressing.groups.push(group("bbbbbbbbbbbb", "1.4.2", 1, 0, Some(10.0)));
    progressing.groups[0].share = Some(90.0);
    progressing.rollout = Some(canary("running"));
    let mut second = unit("hello/production/second", "1.4.1");
    second.health = UnitHealth::Held;
    second.candidate = Some(version("1.4.2", "3f"));
    second.message = "1.4.2 waits for wave 1".into();
    second.held = vec![held("wave", "waits for target first (wave 1) to be verified", "")];
    let mut first = unit("hello/production/first", "1.4.1");
    first.health = UnitHealth::Held;
    first.candidate = Some(version("1.4.2", "3f"));
    first.message = "1.4.2 waits for store".into();
    first.held = vec![held("dependsOn", "waits for store to be verified", "")];
    let mut store = unit("store/production/first", "9.0.0");
    store.health = UnitHealth::Stuck;
    store.candidate = Some(version("9.1.0", "3f"));
    store.message = "the rollout to 9.1.0 is stuck: nobody knows how hook migrate ended".into();
    store.groups[0] = group("cccccccccccc", "9.0.0", 2, 1, None);
    vec![unit("hello/dev/default", "1.4.2"), progressing, first, second, store]
}

#[test]
fn status_of_everything() {
    let mut daemon = daemon();
    daemon.source_error = Some("Connection timed out".into());
    daemon.document_errors =
        vec!["schema: unknown field `replica`\n  --> apps/hello.yaml:7:3\n  help: did you mean `replicas`?".into()];
    daemon.suspended = vec!["dev".parse().unwrap()];
    let all = status::Status { daemon, units: units() };
    assert_snapshot!("status", status::text(&all, false, &plain()));
    let narrow = View { width: Some(90), ..plain() };
    assert_snapshot!("status_narrow", status::text(&all, false, &narrow));
    let coloured = View { colour: true, ..plain() };
    assert_snapshot!("status_coloured", status::text(&all, false, &coloured).replace('\u{1b}', "^"));
}

#[test]
fn status_of_one_unit() {
    let mut one = units().remove(1);
    one.rollback = Some(rolled_back());
    one.held = vec![held("quarantined", "1.4.2 was taken back", "fix it, or `trimtab quarantine clear hello`")];
    assert_snapshot!("status_full", status::full(&one, &plain()));
    assert_snapshot!("status_full_json", serde_json::to_string_pretty(&one).unwrap());
}

#[test]
fn why_follows_what_is_waited_for_to_the_root() {
    let all = units();
    let chain = why::chain(&all[3], &all);
    assert_snapshot!("why", why::text(&all[3].unit, &chain, &plain()));
    let places: Vec<_> = chain.iter().map(|cause| cause.unit.as_ref().unwrap().to_string()).collect();
    assert_eq!(places, ["store/production/first", "hello/production/first", "hello/production/second"]);
    assert_snapshot!("why_nothing", why::text(&all[0].unit, &why::chain(&all[0], &all), &plain()));
}

#[test]
fn why_ends_where_units_wait_for_each_other() {
    let mut a = unit("a/dev/default", "1");
    a.health = UnitHealth::Held;
    a.held = vec![held("dependsOn", "waits for b to be verified", "")];
    let mut b = unit("b/dev/default", "1");
    b.health = UnitHealth::Held;
    b.held = vec![held("dependsOn", "waits for a to be verified", "")];
    assert_eq!(why::chain(&a, &[a.clone(), b]).len(), 2);
}

#[test]
fn rollouts() {
    let all = units();
    assert_snapshot!("rollout", rollout::text(&all[1], &plain()));
    assert_snapshot!("rollout_none", rollout::text(&all[0], &plain()));
    let summary = |status: &str, reason: Option<&str>| RolloutSummary {
        status: status.into(),
        reason: reason.map(str::to_owned),
        ended: Some(ago(10)),
        ..canary(status).summary
    };
    let history =
        [canary("running").summary, summary("rolledBack", Some("analysis errors failed")), summary("verified", None)];
    assert_snapshot!("history", rollout::history::text(&history, &plain()));
}

#[test]
fn checks_and_quarantine() {
    let check = |part: &str, ok, message: &str| CheckResult {
        part: part.into(),
        ok,
        message: message.into(),
        limitations: Vec::new(),
    };
    let mut supervisor = check("supervisor", true, "answers, version 0.1.0, pid 4711");
    supervisor.limitations = vec!["memory limits are not enforced: no cgroup controller `memory`".into()];
    let router = check("router", false, "the router at /run/trimtab/router.sock can't be reached: No such file");
    assert_snapshot!(
        "check",
        check::text(&[check("git", true, "main is at 1a1a1a1a1a"), supervisor, router], &plain())
    );
    let entry = QuarantineEntry {
        unit: "hello/staging/default".parse().unwrap(),
        rendered: Digest::of("r1", "1.4.2"),
        version: Some("1.4.2".into()),
        reason: "analysis errors failed\ndetails".into(),
        since: ago(7_500),
    };
    assert_snapshot!("quarantine", quarantine::text(&[entry], &plain()));
}

fn difference(path: &str, before: &str, after: &str, effect: &str) -> Difference {
    Difference { path: path.into(), before: Some(before.into()), after: Some(after.into()), effect: effect.into() }
}

/// What a cluster would say; a unit has either instances or objects, and here it is shown beside the others.
fn prediction() -> Prediction {
    let one = |object: &str, outcome| Predicted { object: object.into(), outcome };
    let fields = vec![
        difference(".spec.image", "web:1", "web:2", ASKED),
        Difference { before: None, ..difference(".spec.policy", "", "Always", "by the cluster") },
    ];
    let denied = "admission webhook \"policy.example.com\" denied the request: no".to_owned();
    let objects = vec![
        one("ConfigMap/new", Outcome::New),
        one("ConfigMap/old", Outcome::Removed),
        one("Database.example.com/db", Outcome::Unpredictable { reason: "its kind comes with the same change".into() }),
        one("Deployment.apps/web", Outcome::Changed { fields }),
        one("Job.batch/once", Outcome::Recreated { reason: "field is immutable".into() }),
        one("Service/web", Outcome::Refused { reason: denied }),
    ];
    Prediction { objects, unpredictable: Some("the cluster went away".into()) }
}

fn desired(version: &str, motd: &str) -> DesiredUnit {
    let unit = serde_json::json!({
        "unit": "hello/staging/default",
        "version": version,
        "workload": { "process": { "command": ["hello"], "env": { "MOTD": motd, "LOG_LEVEL": "info" } } },
        "replicas": 3,
        "health": { "within": "1m" },
        "strategy": { "canary": { "steps": [{ "weight": 10 }], "scaleDownDelay": "0s" } },
        "rollback": { "on": ["analysis"], "window": "5m" },
        "prune": true,
    });
    serde_json::from_value(unit).unwrap()
}

/// A canary that is planned, a unit that is as it should be, and one that can't be planned.
pub fn plans() -> Vec<UnitPlan> {
    let (before, after) = (desired("1.4.1", "one\ntwo\nthree\n"), desired("1.4.2", "one\n2\nthree\n"));
    let (stable, canary) = (GroupId::from("aaaaaaaaaaaa"), GroupId::from("bbbbbbbbbbbb"));
    // Read from their stored form, so that fields which are added with a default leave this test alone.
    let phase = |id: u32, name: &str, sizes: (u32, u32), new: u32, advance: Vec<Condition>| -> Phase {
        let stored = serde_json::json!({
            "id": id,
            "name": name,
            "groups": { stable.as_str(): sizes.0, canary.as_str(): sizes.1 },
            "traffic": {
                "route": after.digest(),
                "settings": "s1:0",
                "backends": {
                    stable.as_str(): { "weight": 100 - new, "slots": 3 },
                    canary.as_str(): { "weight": new, "slots": 3 },
                },
            },
            "advance": advance,
            "deadline": "1m",
            "onFailure": { "phase": { "phase": 9, "on": ["analysis"] } },
        });
        serde_json::from_value(stored).unwrap()
    };
    let source =
        |unit: &DesiredUnit| GroupSource { rendered: unit.digest(), restarts: 0, version: unit.version.clone() };
    let plan = Plan {
        format: FORMAT,
        unit: before.unit.clone(),
        kind: PlanKind::Rollout,
        from: Some(before.digest()),
        to: Some(after.digest()),
        groups: BTreeMap::from([(stable.clone(), source(&before)), (canary.clone(), source(&after))]),
        stable: Some(stable.clone()),
        target: Some(canary.clone()),
        phases: vec![
            phase(
                0,
                "canary at 10%",
                (3, 1),
                10,
                vec![Condition::Pause(Some(Span::from_secs(30))), Condition::Analysis("errors".parse().unwrap())],
            ),
            phase(1, "all on 1.4.2", (0, 3), 100, vec![Condition::Watch(Span::from_secs(300))]),
        ],
        gradual: 0,
        settle: vec![phase(9, "back to 1.4.1", (3, 0), 0, Vec::new())],
        analyses: BTreeMap::new(),
        differences: vec![
            difference("version", "1.4.1", "1.4.2", "starts new instances"),
            difference("workload.process.env.MOTD", "one\ntwo\nthree\n", "one\n2\nthree\n", "starts new instances"),
        ],
        approximations: vec!["10% of 3 instances is less than one: one is started".into()],
        left_out: vec!["Pod web-test (helm.sh/hook: test)".into()],
        predicted: prediction(),
    };
    let same = UnitPlan {
        unit: "same/staging/default".parse().unwrap(),
        plan: Some(Plan {
            phases: Vec::new(),
            differences: Vec::new(),
            approximations: Vec::new(),
            left_out: Vec::new(),
            predicted: Prediction::default(),
            ..plan.clone()
        }),
        digest: None,
        blocked: None,
        held: Vec::new(),
        before: Some(before.clone()),
        after: Some(before.clone()),
        left: vec!["ConfigMap/settings: mallory changed .data.word".into()],
        leaving: vec!["ConfigMap/old: being deleted; waits for finalizer example.com/hold".into()],
    };
    let blocked = UnitPlan {
        unit: "blocked/staging/default".parse().unwrap(),
        plan: None,
        digest: None,
        blocked: Some("the supervisor can't be reached: No such file".into()),
        held: Vec::new(),
        before: None,
        after: None,
        left: Vec::new(),
        leaving: Vec::new(),
    };
    let planned = UnitPlan {
        unit: before.unit.clone(),
        digest: Some(Digest::from_text("p1:0123456789abcdef")),
        plan: Some(plan),
        blocked: None,
        held: vec![held("quarantined", "1.4.2 was taken back", "`trimtab quarantine clear hello`")],
        before: Some(before),
        after: Some(after),
        left: Vec::new(),
        leaving: Vec::new(),
    };
    vec![planned, same, blocked]
}

#[test]
fn plans_and_differences() {
    assert_snapshot!("plan", plan::text::text(&plans(), &plain()));
    assert_snapshot!("diff", plan::diff::text(&plans(), &plain()));
    assert_snapshot!("plan_nothing", plan::text::text(&plans()[1..2], &plain()));
    let coloured = View { colour: true, ..plain() };
    assert_snapshot!("diff_coloured", plan::diff::text(&plans()[..1], &coloured).replace('\u{1b}', "^"));
}
