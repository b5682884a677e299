//! Who an app runs as, and with what.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use trimtab::protocol::supervisor::ExitHow;

use super::bed::Bed;
use crate::support::{PATIENCE, eventually, read};

fn root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

#[test]
fn the_environment_is_exactly_what_is_given() {
    let bed = Bed::start();
    let mut spec = bed.group(r#"exec /usr/bin/env > "$OUT/env.new" && mv "$OUT/env.new" "$OUT/env""#);
    spec.process.command[2] = r#"/usr/bin/env > "$OUT/env.new"; mv "$OUT/env.new" "$OUT/env"; sleep 1000"#.into();
    spec.process.env.insert("GREETING".into(), "hello = world".into());
    bed.put(&spec, 1);
    let text = eventually(PATIENCE, "it wrote its environment", || read(bed.out("env")));
    let env: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    // The shell adds the last two by itself.
    let names: Vec<&str> = env.keys().copied().filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name)).collect();
    let expected = [
        "GREETING",
        "HOME",
        "LANG",
        "OUT",
        "PATH",
        "TRIMTAB_INSTANCE",
        "TRIMTAB_LAUNCH",
        "TRIMTAB_UNIT",
        "TRIMTAB_VERSION",
    ];
    assert_eq!(names, expected);
    assert_eq!(env["GREETING"], "hello = world");
    assert_eq!((env["TRIMTAB_UNIT"], env["TRIMTAB_VERSION"]), ("hello/staging/default", "1.4.2"));
    assert_eq!((env["TRIMTAB_INSTANCE"], env["LANG"]), ("g1-0", "C.UTF-8"));
}

#[test]
fn nothing_is_inherited_from_the_supervisor() {
    let bed = Bed::start();
    let spec = bed.group(
        r#"{ ls -l /proc/self/fd | grep -c ' -> '; umask; grep -E 'SigBlk|SigIgn' /proc/self/status; } > "$OUT/new"; mv "$OUT/new" "$OUT/state"; sleep 1000"#,
    );
    bed.put(&spec, 1);
    let text = eventually(PATIENCE, "it wrote", || read(bed.out("state")));
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    // Of `ls`: its three streams and the folder that it reads.
    assert_eq!(lines[..2], ["4", "0022"], "{text}");
    for line in &lines[2..] {
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
}

#[test]
fn an_app_runs_as_the_user_that_is_asked_for() {
    if !root() {
        eprintln!("skipped: only root can start a process as another user");
        return;
    }
    let bed = Bed::start();
    let mut spec = bed.group(r#"{ id -un; id -Gn; echo "$HOME"; touch mine && echo wrote; } > "$OUT/new"; mv "$OUT/new" "$OUT/id"; sleep 1000"#);
    spec.process.user = Some("nobody".into());
    bed.put(&spec, 1);
    let text = eventually(PATIENCE, "it wrote", || read(bed.out("id")));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[1], lines[3]), ("nobody", "nogroup", "wrote"), "{text}");
    assert_eq!(std::fs::metadata(bed.out("id")).unwrap().uid(), 65534);
}

#[test]
fn an_unknown_user_is_told() {
    let bed = Bed::start();
    let mut spec = bed.group("sleep 1000");
    spec.process.user = Some("nobody-of-that-name".into());
    bed.put(&spec, 1);
    let instance = bed.until_first(&spec, "it failed", |instance| instance.last_exit.is_some());
    let ExitHow::NotStarted(reason) = instance.last_exit.unwrap().how else { panic!("it started") };
    assert!(reason.contains("nobody-of-that-name") && reason.contains("create it"), "{reason}");
}
