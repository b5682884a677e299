//! What operators may say when, and what they are told where it makes no sense.

use trimtab::domain::rollout::command::Command;
use trimtab::domain::strategy::{Promote, Step};

use super::bed::*;

const PROMOTE: Command = Command::Promote { full: false };

fn refused(bed: &mut Bed, command: Command, words: &str) {
    let refusal = bed.command(command).unwrap_err().to_string();
    assert!(refusal.contains(words), "{refusal}");
}

#[test]
fn each_is_legal_only_where_it_makes_sense() {
    let steps = canary(vec![Step::Weight(20), Step::Pause(None)]);
    let (old, new) = (desired("1", 3, steps.clone()), desired("2", 3, steps));
    let mut bed = Bed::running(&old);
    refused(&mut bed, Command::Pause, "no rollout is under way");
    bed.want(&new);
    bed.run_to("begun", |bed| bed.state.running().is_some_and(|rollout| rollout.phase.is_some()));
    refused(&mut bed, PROMOTE, "nothing to promote");
    refused(&mut bed, Command::Resume, "nothing is paused");
    refused(&mut bed, Command::Retry, "nothing to try again");
    bed.command(Command::Pause).unwrap();
    refused(&mut bed, Command::Pause, "paused already");
    bed.settle();
    assert!(bed.state.running().unwrap().phase.as_ref().unwrap().became_true.is_some(), "the phase is made true still");
    bed.command(Command::Resume).unwrap();
    bed.run_to("at the step", |bed| bed.waits.contains("waits until promoted"));
    refused(&mut bed, Command::Resume, "waits at a pause step");
    bed.command(PROMOTE).unwrap();
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"));
    refused(&mut bed, PROMOTE, "no rollout is under way");
}

#[test]
fn a_pause_holds_at_every_boundary() {
    let (old, new) = (desired("1", 4, rolling()), desired("2", 4, rolling()));
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.run_to("begun", |bed| bed.weight(&new) > 0);
    bed.command(Command::Pause).unwrap();
    bed.settle();
    let (phase, weights) = (bed.phase(), bed.fake.weights());
    bed.run_for(secs(100_000));
    assert_eq!((bed.phase(), bed.fake.weights()), (phase, weights));
    bed.command(Command::Resume).unwrap();
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"));
}

#[test]
fn a_full_promotion_skips_every_step_but_not_the_watch() {
    let (old, new) = (desired("1", 3, canary(usual_steps())), desired("2", 3, canary(usual_steps())));
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.run_to("weighted", |bed| bed.weight(&new) == 10);
    bed.command(Command::Promote { full: true }).unwrap();
    let promoted = bed.fake.now;
    bed.run_to("all", |bed| bed.weight(&new) == 100);
    assert!(bed.fake.now.duration_since(promoted).as_secs() < 10);
    bed.settle();
    assert!(bed.state.history.last().unwrap().ended.duration_since(promoted).as_secs() >= 300);
}

#[test]
fn a_blue_green_switch_by_hand() {
    let strategy = blue_green(Promote::Manual);
    let (old, new) = (desired("1", 3, strategy.clone()), desired("2", 3, strategy));
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.run_to("preview", |bed| bed.waits.contains("waits until promoted"));
    assert_eq!((bed.weight(&old), bed.size(&new)), (100, 1), "one instance is shown, none has traffic");
    bed.command(PROMOTE).unwrap();
    bed.run_to("switched", |bed| bed.weight(&new) == 100);
    assert_eq!((bed.size(&old), bed.size(&new)), (3, 3), "the old group stays for its delay");
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"));
}

/// A newer revision replaces a preview that was not promoted.
#[test]
fn a_newer_revision_replaces_an_unpromoted_preview() {
    let strategy = blue_green(Promote::Manual);
    let mut bed = Bed::running(&desired("1", 3, strategy.clone()));
    bed.want(&desired("2", 3, strategy.clone()));
    bed.settle();
    bed.want(&desired("3", 3, strategy.clone()));
    bed.settle();
    assert_eq!(bed.size(&desired("2", 3, strategy.clone())), 0);
    assert_eq!(bed.size(&desired("3", 3, strategy.clone())), 1);
    assert_eq!(bed.weight(&desired("1", 3, strategy)), 100);
}

/// A version that replaces another while that is watched begins from it, not from the one before.
#[test]
fn a_new_version_while_the_last_is_watched_begins_from_it() {
    let (old, new) = (desired("1", 3, rolling()), desired("2", 3, rolling()));
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.run_to("watched", |bed| bed.waits.contains("watched"));
    bed.want(&desired("3", 3, rolling()));
    bed.run_to("verified", |bed| {
        assert_eq!(bed.size(&old), 0, "nobody goes back to version 1");
        bed.verified().as_deref() == Some("3")
    });
    bed.settle();
}
