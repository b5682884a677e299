//! The audit log.

use axum::Json as AxumJson;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Answer, Query, Shared};
use crate::api::page::{MOST, Page, PageQuery, Position, cursor};
use crate::api::problem::invalid;
use crate::api::types::Problem;
use crate::domain::audit::AuditRecord;

/// One record of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditView {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When it was written; for what the daemon did by itself, when it happened.
    pub at: Timestamp,
    /// Who: a user of the machine, `token NAME`, `git NAME <ADDRESS>` for the author of a commit, or `trimtab` for the
    /// daemon itself.
    pub actor: String,
    /// What: a route, `commit`, or what the daemon did by itself: `abort`, `quarantine`, `revert`, `rollback`, `stop`.
    pub action: String,
    /// To what: a path, a commit, or a unit.
    pub subject: String,
    /// What was asked for, or why it was done, as JSON text.
    pub detail: String,
    /// `asked` before it is done; then `done`, or why not.
    pub outcome: String,
    /// The record of the asking that this is the outcome of.
    pub of: Option<u64>,
    /// The hash of the record before and of everything in this one.
    pub hash: String,
}

impl From<AuditRecord> for AuditView {
    fn from(record: AuditRecord) -> Self {
        let AuditRecord { seq, at, entry, hash } = record;
        let crate::domain::audit::Entry { actor, action, subject, detail, outcome, of } = entry;
        AuditView { seq, at, actor, action, subject, detail, outcome, of, hash }
    }
}

/// Whether the audit log is as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditVerdict {
    /// It is.
    pub intact: bool,
    /// Why not.
    pub problem: Option<String>,
    /// The number of the last record, where it is intact.
    pub records: u64,
    /// The hash of the last record. Kept elsewhere, it proves later that nothing up to it was changed.
    pub hash: String,
}

/// Which records.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// The last so many, instead of a page from the beginning.
    #[param(minimum = 1, maximum = 1000)]
    last: Option<u32>,
}

/// Records of the audit log, the oldest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(AuditQuery, PageQuery), responses(
    (status = 200, description = "A page of them.", body = Page<AuditView>),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn records(
    State(operations): State<Shared>,
    Query(query): Query<AuditQuery>,
    Query(page): Query<PageQuery>,
) -> Answer<Page<AuditView>> {
    let at = Position::try_from(page)?;
    let (after, limit) = match query.last {
        None => (number(at.after.as_deref()), at.limit),
        Some(last) if last == 0 || last > MOST => {
            return Err(invalid(format!("last is {last}: ask for 1 to {MOST} records")));
        }
        Some(last) => (operations.audit_length().await?.saturating_sub(u64::from(last)), last as usize),
    };
    let mut records = operations.audit(after, limit + 1).await?;
    let more = records.len() > limit;
    records.truncate(limit);
    let next = records.last().filter(|_| more).map(|record| cursor(&record.seq.to_be_bytes()));
    Ok(AxumJson(Page { items: records.into_iter().map(AuditView::from).collect(), next }))
}

/// The number that a cursor stands for. Whatever it holds, it stands for some place.
pub fn number(key: Option<&[u8]>) -> u64 {
    let mut bytes = [0; 8];
    for (byte, given) in bytes.iter_mut().zip(key.unwrap_or_default()) {
        *byte = *given;
    }
    u64::from_be_bytes(bytes)
}

/// Follows the chain of the audit log from its beginning to its end.
#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "audit", responses(
    (status = 200, description = "What was found.", body = AuditVerdict),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn verify(State(operations): State<Shared>) -> Answer<AuditVerdict> {
    operations.audit_verdict().await.map(AxumJson)
}
