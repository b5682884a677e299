//! Offering a commit to the remote.

use super::classify::{Told, classify, detail};
use super::command::Git;
use super::names;
use super::store::{full_oid, shortened};
use crate::domain::id::Revision;
use crate::ports::source::{PushOutcome, SourceError};

/// See [`crate::ports::source::Source::push`]. The caller has checked that `commit` descends from `expect`, so that the
/// lease, which alone would allow a force, is a comparison and nothing else.
pub(super) async fn push(
    git: &Git,
    told: &Told,
    commit: &Revision,
    branch: &str,
    expect: Option<&Revision>,
) -> Result<PushOutcome, SourceError> {
    names::branch(branch)?;
    for revision in expect.into_iter().chain([commit]) {
        full_oid(revision.as_str())
            .ok_or_else(|| SourceError::Unknown { what: "commit", name: shortened(revision.as_str()) })?;
    }
    let lease = format!("--force-with-lease=refs/heads/{branch}:{}", expect.map_or("", Revision::as_str));
    let refspec = format!("{commit}:refs/heads/{branch}");
    let args = [
        "push",
        "--porcelain",
        "--quiet",
        "--no-verify",
        "--no-follow-tags",
        "--recurse-submodules=no",
        &lease,
        "--",
        git.address().as_str(),
        &refspec,
    ];
    let ran = git.run(&told.mirror, &args, None).await?;
    outcome(&ran.stdout, &ran.stderr, ran.success).unwrap_or_else(|| Err(classify(&ran.stderr, told)))
}

/// What git reports of the one branch; `None` when it did not get that far.
fn outcome(stdout: &str, stderr: &str, success: bool) -> Option<Result<PushOutcome, SourceError>> {
    let line = stdout.lines().find(|line| line.split('\t').count() == 3 && line.as_bytes().get(1) == Some(&b'\t'));
    let Some(line) = line else {
        // With --quiet nothing is reported of what is as it should be.
        return success.then_some(Ok(PushOutcome::Pushed));
    };
    let summary = line.rsplit('\t').next().unwrap_or_default();
    if !line.starts_with('!') {
        return Some(Ok(PushOutcome::Pushed));
    }
    let lost = [
        "[rejected] (stale info)",
        "[rejected] (fetch first)",
        "[rejected] (non-fast-forward)",
        "[rejected] (needs force)",
        "[rejected] (remote ref updated since checkout)",
        "(failed to update ref)",
        "(failed to lock)",
        "(cannot lock ref",
        "(incorrect old value provided)",
        "(reference already exists)",
    ];
    if lost.iter().any(|words| summary.contains(words)) {
        return Some(Ok(PushOutcome::Lost));
    }
    if summary.contains("[remote failure]") {
        return None;
    }
    let reason = summary.trim_start_matches("[remote rejected]").trim();
    let said = stderr.lines().filter_map(|line| line.strip_prefix("remote:")).map(str::trim);
    let said: Vec<&str> = said.filter(|line| !line.is_empty() && !line.chars().all(|c| "=->*".contains(c))).collect();
    let text = if said.is_empty() { reason.to_owned() } else { format!("{reason} {}", detail(&said.join(" "))) };
    Some(Ok(PushOutcome::Refused(text)))
}

/// See [`crate::ports::source::Source::remote_branch`].
pub(super) async fn remote_branch(git: &Git, told: &Told, branch: &str) -> Result<Option<Revision>, SourceError> {
    names::branch(branch)?;
    let name = format!("refs/heads/{branch}");
    let ran = git.run(&told.mirror, &["ls-remote", "--quiet", "--", git.address().as_str(), &name], None).await?;
    if !ran.success {
        return Err(classify(&ran.stderr, told));
    }
    let found = ran.stdout.lines().find_map(|line| {
        let (oid, found) = line.split_once('\t')?;
        (found == name && full_oid(oid).is_some()).then(|| Revision(oid.to_owned()))
    });
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports() {
        let to = "To /srv/x.git\n";
        for (line, stderr, success, want) in [
            (" \tabc:refs/heads/main\t1..2", "", true, Some(PushOutcome::Pushed)),
            ("=\tabc:refs/heads/main\t[up to date]", "", true, Some(PushOutcome::Pushed)),
            ("", "", true, Some(PushOutcome::Pushed)),
            ("!\tabc:refs/heads/main\t[rejected] (stale info)", "", false, Some(PushOutcome::Lost)),
            ("!\tabc:refs/heads/main\t[rejected] (fetch first)", "", false, Some(PushOutcome::Lost)),
            ("!\tabc:refs/heads/main\t[remote rejected] (failed to update ref)", "", false, Some(PushOutcome::Lost)),
            (
                "!\tabc:refs/heads/main\t[remote rejected] (pre-receive hook declined)",
                "remote: ====\nremote: no friday pushes\nerror: failed to push",
                false,
                Some(PushOutcome::Refused("(pre-receive hook declined) no friday pushes".into())),
            ),
            (
                "!\tabc:refs/heads/main\t[remote rejected] (protected branch hook declined)",
                "",
                false,
                Some(PushOutcome::Refused("(protected branch hook declined)".into())),
            ),
            ("!\tabc:refs/heads/main\t[remote failure] (remote failed to report status)", "", false, None),
            ("", "fatal: unable to access", false, None),
        ] {
            let got = outcome(&format!("{to}{line}\nDone\n"), stderr, success);
            assert_eq!(got.transpose().unwrap(), want, "{line}");
        }
    }
}
