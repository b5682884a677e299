//! Taking fields of an object from others: additions that go with the next apply, and what tools had that declared it before.

use http::Method;
use serde_json::{Value, json};

use super::apply::{ROUNDS, hidden};
use super::client::{Call, METADATA, STEPS};
use super::cluster::Cluster;
use super::compose::Composed;
use super::discovery::Kind;
use super::fault::Fault;
use super::heals::{Healing, fights};
use super::labels;
use super::live::{Form, Live};
use super::prepare::Work;
use super::strays::{self, Stray};

impl Cluster {
    /// Makes what somebody added by hand this object's own, so that the apply removes it.
    pub(super) async fn take_strays(
        &self,
        work: &Work<'_>,
        composed: &Composed,
        kind: &Kind,
        live: &Live,
        healing: &mut Healing<'_>,
    ) -> Result<(), Fault> {
        let settings = &work.parent.settings;
        let added = |live: &Live| {
            let all = live.strays(&composed.id, settings).into_iter();
            all.filter(|stray| !stray.is_in(composed.body())).cloned().collect::<Vec<Stray>>()
        };
        let Some(first) = added(live).into_iter().next() else { return Ok(()) };
        if !healing.allow() {
            return Err(Fault::Failed(fights(&first.owner.manager, &first.field())));
        }
        let taken = |managed: &Value, live: &Live| {
            let added = added(live);
            let added: Vec<&Stray> = added.iter().collect();
            (!added.is_empty()).then(|| strays::taken(managed, &added))
        };
        self.account_anew(work, composed, kind, &taken).await
    }

    /// Leaves nothing of an object that was taken over to the tools that declared it before: what Git drops later goes then.
    pub(super) async fn disown_others(&self, work: &Work<'_>, composed: &Composed, kind: &Kind) -> Result<(), Fault> {
        self.account_anew(work, composed, kind, &|managed, _| strays::disowned(managed)).await
    }

    /// Writes anew who has which fields of an object, as it is now.
    async fn account_anew(
        &self,
        work: &Work<'_>,
        composed: &Composed,
        kind: &Kind,
        anew: &(dyn Fn(&Value, &Live) -> Option<Value> + Sync),
    ) -> Result<(), Fault> {
        let (path, account, server) = (kind.object(&composed.id), work.parent.account.as_deref(), self.server().await?);
        for _ in 0..ROUNDS {
            let found = server.call(&Call::get(&path).accept(METADATA).account(account)).await?;
            let at = |pointer: &str| found.pointer(pointer).cloned().unwrap_or_default();
            let Some((_, live)) = Live::read(&found, Form::Metadata) else { return Ok(()) };
            let Some(managed) = anew(&at("/metadata/managedFields"), &live) else { return Ok(()) };
            let steps = json!([
                { "op": "replace", "path": "/metadata/managedFields", "value": managed },
                // What somebody else writes meanwhile is looked at first.
                { "op": "replace", "path": "/metadata/resourceVersion", "value": at("/metadata/resourceVersion") },
            ]);
            let call = Call::new(Method::PATCH, format!("{path}?fieldManager={}", labels::MANAGER));
            match server.call(&call.with(STEPS, &steps).accept(METADATA).account(account)).await {
                Err(error) if error.code() == Some(409) => {}
                Err(error) => return Err(hidden(composed, work.secrets, error)),
                Ok(_) => return Ok(()),
            }
        }
        Err(Fault::Failed("others change it again and again while it is applied".into()))
    }
}
