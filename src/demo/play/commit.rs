//! Proves the revert: exactly one commit, which says what it is, and changes what it must and nothing else.

use super::timeline::Timeline;
use crate::demo::error::DemoError;
use crate::demo::git::Git;
use crate::domain::id::UnitId;

/// What the revert must be.
#[derive(Clone, Debug)]
pub struct Expected<'e> {
    /// For this unit.
    pub unit: &'e UnitId,
    /// On top of this commit, which it undoes.
    pub bad: &'e str,
    /// With the documents of this one.
    pub good: &'e str,
}

/// Looks at what the remote has beyond the bad commit; the revert.
pub async fn prove(clone: &Git, expected: &Expected<'_>, timeline: &mut Timeline) -> Result<Option<String>, DemoError> {
    clone.run(&["fetch", "--quiet", "origin"]).await?;
    let range = format!("{}..origin/main", expected.bad);
    let commits = clone.run(&["rev-list", &range]).await?;
    let commits: Vec<&str> = commits.lines().collect();
    if !timeline.check(
        "exactly one commit is on the remote",
        commits.len() == 1,
        format!("of {} on top of the bad one", commits.len()),
    ) {
        return Ok(None);
    }
    let revert = commits[0];
    let message = clone.run(&["show", "--no-patch", "--format=%B", revert]).await?;
    for (key, value) in [
        ("Rollback-Id", None),
        ("Reverts", Some(expected.bad)),
        ("App", Some(expected.unit.app.as_str())),
        ("Environment", Some(expected.unit.environment.as_str())),
    ] {
        let values = trailers(&message, key);
        let fits = match (values.as_slice(), value) {
            ([one], None) => !one.is_empty(),
            ([one], Some(value)) => one == value,
            _ => false,
        };
        timeline.check(format!("its trailer {key} says what it is"), fits, values.join(", "));
    }
    let files = clone.run(&["diff", "--name-only", expected.bad, revert]).await?;
    let left = clone.run(&["diff", "--name-only", expected.good, revert]).await?;
    timeline.check(
        "it restores the good version's documents and nothing else",
        left.is_empty() && files.lines().count() == 1,
        if left.is_empty() { files } else { format!("still differs in {left}") },
    );
    Ok(Some(revert.to_owned()))
}

/// The values of a trailer: of the lines `Key: value` in the last paragraph.
fn trailers(message: &str, key: &str) -> Vec<String> {
    let last = message.trim_end().rsplit("\n\n").next().unwrap_or_default();
    let value = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(key).then(|| value.trim().to_owned())
    };
    last.lines().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_are_in_the_last_paragraph() {
        let message = "Roll back hello\n\nApp: not this one\n\nRollback-Id: rb-1\nApp: hello\n";
        assert_eq!(trailers(message, "App"), ["hello"]);
        assert_eq!(trailers(message, "rollback-id"), ["rb-1"]);
        assert!(trailers(message, "Reverts").is_empty());
    }
}
