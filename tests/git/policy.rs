//! The hook of policies/, on a real remote: what it lets in and what it refuses.

use std::path::Path;
use std::process::Output;

use super::bed::{Bed, git};
use crate::support::TRIMTAB;

const VALID: &str =
    "apiVersion: trimtab/v1\nkind: Environment\nmetadata: { name: dev }\nspec: { platform: { host: {} } }\n";
const BROKEN: &str =
    "apiVersion: trimtab/v1\nkind: Environment\nmetadata: { name: dev }\nspec: { platfrom: { host: {} } }\n";

/// A remote with the hook, and a valid commit on its `main`.
fn guarded() -> Bed {
    let bed = Bed::new();
    let hook = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/pre-receive");
    std::fs::copy(hook, bed.remote().join("hooks/pre-receive")).unwrap();
    bed.commit(&[("environment.yaml", VALID)]);
    let pushed = push(&bed, &["HEAD:main"]);
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    bed
}

/// `git push` with trimtab in the PATH.
fn push(bed: &Bed, refs: &[&str]) -> Output {
    let folder = Path::new(TRIMTAB).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    push_with(bed, refs, &path)
}

fn push_with(bed: &Bed, refs: &[&str], path: &str) -> Output {
    git(&bed.work()).args(["push", "origin"]).args(refs).env("PATH", path).output().unwrap()
}

fn refused(bed: &Bed, refs: &[&str], word: &str) {
    let before = bed.git_in(&bed.remote(), &["rev-parse", "main"]);
    let pushed = push(bed, refs);
    let told = String::from_utf8_lossy(&pushed.stderr).into_owned();
    assert!(!pushed.status.success(), "it went through: {told}");
    assert!(told.contains(word), "`{word}` is not in: {told}");
    assert_eq!(before, bed.git_in(&bed.remote(), &["rev-parse", "main"]), "the branch stays where it was");
}

#[test]
fn a_push_that_is_not_valid_is_refused_with_the_place_of_its_error() {
    let bed = guarded();
    bed.commit(&[("environment.yaml", BROKEN)]);
    refused(&bed, &["HEAD:main"], "did you mean `platform`");
    refused(&bed, &["HEAD:main"], "environment.yaml:4:");
    bed.commit(&[("environment.yaml", VALID)]);
    assert!(push(&bed, &["HEAD:main"]).status.success(), "mended, it goes through");
}

#[test]
fn history_is_not_rewritten_and_the_branch_is_not_deleted() {
    let bed = guarded();
    bed.commit(&[("more.txt", "one")]);
    assert!(push(&bed, &["HEAD:main"]).status.success());
    bed.git(&["reset", "-q", "--hard", "HEAD~1"]);
    bed.commit(&[("more.txt", "two")]);
    refused(&bed, &["+HEAD:main"], "rewrites the history of main");
    refused(&bed, &[":main"], "can't be deleted");
}

#[test]
fn other_branches_are_left_alone_and_another_one_can_be_guarded() {
    let bed = guarded();
    bed.commit(&[("environment.yaml", BROKEN)]);
    assert!(push(&bed, &["HEAD:work", "HEAD:trimtab/rollback/1"]).status.success());
    bed.git_in(&bed.remote(), &["config", "trimtab.branch", "production"]);
    refused(&bed, &["HEAD:production"], "is not valid");
    assert!(push(&bed, &["HEAD:main"]).status.success(), "main is not the guarded branch any more");
}

#[test]
fn what_can_t_be_checked_is_refused() {
    let bed = guarded();
    bed.commit(&[("more.txt", "one")]);
    let pushed = push_with(&bed, &["HEAD:main"], "/usr/bin:/bin");
    assert!(!pushed.status.success());
    assert!(String::from_utf8_lossy(&pushed.stderr).contains("no `trimtab` in its PATH"));
}
