//! Output: to files of bounded size, and from there to whoever asks.

use std::fs;

use trimtab::net::client::segment;

use super::bed::{Bed, group_path};
use crate::support::{PATIENCE, eventually, read};

#[test]
fn a_log_never_grows_beyond_its_limit() {
    let bed = Bed::start();
    let mut spec = bed.group(
        r#"i=0; while [ $i -lt 20000 ]; do echo "line $i of many"; i=$((i+1)); done; touch "$OUT/done"; sleep 1000"#,
    );
    spec.process.log_limit = Some(64 << 10);
    bed.put(&spec, 1);
    eventually(PATIENCE, "it has written", || bed.out("done").exists());
    let slot = bed.state().join("groups").join(segment(&spec.key)).join("slots/0");
    let text = || read(slot.join("stdout.log")).unwrap_or_default();
    eventually(PATIENCE, "the last line is there", || text().ends_with("line 19999 of many\n"));
    let size: u64 =
        ["stdout.log", "stdout.log.1"].iter().map(|name| fs::metadata(slot.join(name)).unwrap().len()).sum();
    assert!(size <= 64 << 10, "{size}");
    let shown = bed.text(&format!("{}/logs?tail=2", group_path(&spec.key)));
    assert_eq!(shown, "g1-0 stdout line 19998 of many\ng1-0 stdout line 19999 of many\n");
}

#[test]
fn logs_can_be_followed_until_the_group_goes() {
    let bed = Bed::start();
    let spec = bed
        .group(r#"echo first; echo oops >&2; while [ ! -e "$OUT/go" ]; do sleep 0.02; done; echo second; sleep 1000"#);
    bed.put(&spec, 1);
    bed.until_runs(&spec);
    eventually(PATIENCE, "it wrote", || bed.text(&format!("{}/logs", group_path(&spec.key))).lines().count() == 2);
    let (sender, receiver) = std::sync::mpsc::channel();
    let path = format!("{}/logs?follow=true&instance=g1-0", group_path(&spec.key));
    let mut text = String::new();
    std::thread::scope(|scope| {
        scope.spawn(|| bed.follow(&path, move |chunk| sender.send(chunk.to_owned()).unwrap()));
        text += &receiver.recv_timeout(PATIENCE).expect("what is there comes at once");
        fs::write(bed.out("go"), "").unwrap();
        while !text.contains("second") {
            text += &receiver.recv_timeout(PATIENCE).expect("what is written later comes, too");
        }
        bed.delete(&spec);
        // The answer ends with the group, else this would not.
        text.extend(receiver.iter());
    });
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["g1-0 stderr oops", "g1-0 stdout first", "g1-0 stdout second"]);
}

#[test]
fn logs_of_an_unknown_instance_are_told() {
    let bed = Bed::start();
    let spec = bed.group("sleep 1000");
    bed.put(&spec, 1);
    let error = bed.get::<()>(&format!("{}/logs?instance=g1-9", group_path(&spec.key))).unwrap_err();
    assert!(error.to_string().contains("no instance g1-9, but g1-0"), "{error}");
}
