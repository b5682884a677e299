//! A week in the middle of a canary: everything happens, then somebody promotes.

use trimtab::domain::rollout::command::Command;
use trimtab::domain::strategy::Step;

use super::bed::*;

#[test]
fn a_paused_week() {
    let steps = canary(vec![Step::Weight(20), Step::Pause(None), Step::Weight(60), Step::Pause(None)]);
    let (old, new) = (desired("1", 4, steps.clone()), desired("2", 4, steps.clone()));
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.run_to("paused", |bed| bed.waits.contains("waits until promoted"));
    let (phase, weights) = (bed.phase(), bed.fake.weights());
    for day in 0..7_u32 {
        // Instances of both crash, now and then all of one; groups are lost; the machine and the daemon start anew.
        bed.fake.crash(&old.group_id(0), day % 4);
        bed.run_for(secs(6 * 3_600));
        bed.fake.crash(&new.group_id(0), 0);
        bed.run_for(secs(6 * 3_600));
        match day % 3 {
            0 => bed.fake.reboot(),
            1 => bed.fake.lose(&old.group_id(0)),
            _ => bed.fake.doubt(secs(5)),
        }
        bed.resume();
        // The same configuration comes again in other commits (history was rewritten, unrelated files changed).
        bed.want(&new);
        bed.run_for(secs(12 * 3_600));
        assert_eq!(bed.phase(), phase, "day {day}");
        assert_eq!(bed.fake.weights(), weights, "day {day}");
        assert_eq!((bed.size(&old), bed.fake.serving()), (4, 5), "day {day}: what was lost is healed");
        assert!(bed.command(Command::Resume).unwrap_err().to_string().contains("pause step"));
    }
    bed.fake.violations.clear();
    bed.command(Command::Promote { full: false }).unwrap();
    bed.run_to("at 60%", |bed| bed.weight(&new) == 60 && bed.waits.contains("waits until promoted"));
    bed.command(Command::Promote { full: false }).unwrap();
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"));
    assert!(bed.journal.len() < 2_000, "the journal of a week has {} entries", bed.journal.len());
}

#[test]
fn a_change_of_configuration_in_the_middle_begins_anew_from_the_stable_version() {
    let steps = canary(vec![Step::Weight(20), Step::Pause(None)]);
    let (old, new) = (desired("1", 4, steps.clone()), desired("2", 4, steps.clone()));
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.run_to("paused", |bed| bed.waits.contains("waits until promoted"));
    bed.run_for(secs(7 * 86_400));
    let mut changed = new.clone();
    let trimtab::domain::workload::Workload::Process(process) = &mut changed.workload else {
        panic!("it is a process")
    };
    process.env.insert("LOG_LEVEL".into(), "debug".into());
    bed.want(&changed);
    bed.settle();
    assert_eq!((bed.weight(&old), bed.weight(&new), bed.weight(&changed)), (80, 0, 20));
    assert_eq!(bed.plan().stable, Some(old.group_id(0)), "the baseline stays the old stable version");
    bed.command(Command::Promote { full: false }).unwrap();
    bed.settle();
    assert_eq!(bed.state.last_verified.as_ref().unwrap().rendered, changed.digest());
}
