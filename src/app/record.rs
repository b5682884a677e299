//! What the daemon records in the audit log by itself: the commits that it takes in, with who wrote them.

use crate::api::handlers::audit::AuditVerdict;
use crate::domain::audit::Entry;
use crate::domain::id::Revision;
use crate::ports::audit::{Audit, AuditError};
use crate::ports::source::Walk;

use super::world::World;

/// So many commits of one push are recorded one by one; of a longer one, the newest.
const MOST: usize = 100;

/// Records the commits up to a new head, the oldest first. What is not recorded is not taken in.
///
/// # Errors
///
/// The audit log did not take it.
pub async fn commits(world: &World, last: Option<&Revision>, head: &Revision) -> Result<(), AuditError> {
    // Without an earlier head, what stood there before is nobody's change.
    let limit = if last.is_some() { MOST } else { 1 };
    let found = world.source.log(head, limit, Walk::FirstParent).await.unwrap_or_else(|error| {
        tracing::warn!(%head, %error, "who wrote a commit can't be read");
        Vec::new()
    });
    let new: Vec<_> = found.iter().take_while(|commit| Some(&commit.revision) != last).collect();
    let entry = |actor: String, revision: &Revision, subject: &str| Entry {
        actor,
        action: "commit".into(),
        subject: revision.to_string(),
        detail: serde_json::json!({ "subject": subject }).to_string(),
        outcome: "taken in".into(),
        of: None,
    };
    if new.is_empty() {
        world.audit.append(world.now(), entry("git".into(), head, "")).await?;
    }
    for commit in new.into_iter().rev() {
        let actor = format!("git {} <{}>", commit.author, commit.email);
        world.audit.append(world.now(), entry(actor, &commit.revision, &commit.subject)).await?;
    }
    Ok(())
}

/// Whether an audit log is as it was written.
///
/// # Errors
///
/// It can't be read.
pub async fn verdict(audit: &dyn Audit) -> Result<AuditVerdict, AuditError> {
    match audit.verify().await {
        Ok(head) => Ok(AuditVerdict { intact: true, problem: None, records: head.seq, hash: head.hash }),
        Err(AuditError::Broken(broken)) => {
            let problem = Some(broken.to_string());
            Ok(AuditVerdict { intact: false, problem, records: 0, hash: String::new() })
        }
        Err(error) => Err(error),
    }
}
