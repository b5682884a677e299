//! Watches for what units lack, so that it is seen at once when it comes. Each lasts while something of its sort is lacking; where it
//! may not be opened, the looks from time to time tell the same.

use std::time::Duration;

use serde_json::Value;

use super::changes::Changes;
use super::client::{Call, METADATA, METADATA_LIST};
use super::cluster::Cluster;
use super::fault::Fault;
use super::lacks::Lack;

/// How long the server is asked to tell of changes before it is asked anew.
const WATCH_SECONDS: u32 = 290;
/// From one watch to the next.
const AGAIN: Duration = Duration::from_secs(1);
/// The same where it could not be opened.
const LATER: Duration = Duration::from_secs(30);

/// What comes and goes by itself or by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Namespaces.
    Namespaces,
    /// Definitions of kinds.
    Definitions,
}

impl Sort {
    fn collection(self) -> &'static str {
        match self {
            Sort::Namespaces => "/api/v1/namespaces",
            Sort::Definitions => "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        }
    }

    /// Whether an object of this sort decides of something that is lacking; without a name, whether any may.
    fn decides(self, lack: &Lack, name: Option<&str>) -> bool {
        let is = |other: &str| name.is_none_or(|name| name == other);
        match (self, lack) {
            (Sort::Namespaces, Lack::Namespace(namespace) | Lack::End(namespace)) => is(namespace),
            (Sort::Definitions, Lack::Kind(version, _)) => {
                // A definition is called `PLURAL.GROUP`.
                let group = version.rsplit_once('/').map_or("", |(group, _)| group);
                name.and_then(|name| name.split_once('.')).is_none_or(|(_, of)| of == group)
            }
            _ => false,
        }
    }
}

impl Cluster {
    /// Tells of each change that may have brought what is lacking.
    pub(super) async fn hear_of(&self, sort: Sort) {
        let mut noted = self.lacks.noted();
        loop {
            noted.borrow_and_update();
            let lacking = self.lacks.all().iter().any(|lack| sort.decides(lack, None));
            if !lacking {
                if noted.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let pause = if self.hear(sort).await.is_ok() { AGAIN } else { LATER };
            tokio::time::sleep(pause).await;
        }
    }

    /// Watches once, from now on.
    async fn hear(&self, sort: Sort) -> Result<(), Fault> {
        let server = self.server().await?;
        let collection = sort.collection();
        let listed = server.call(&Call::get(format!("{collection}?limit=1")).accept(METADATA_LIST)).await?;
        let version = listed.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
        let path = format!(
            "{collection}?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}"
        );
        let answer = server.open(&Call::get(path).accept(METADATA)).await?;
        // What came before that is not told.
        self.lacks.stir();
        let mut changes = Changes::of(answer.into_body());
        while let Ok(events) = changes.next().await {
            let lacking = self.lacks.all();
            let name = |event: &Value| Some(event.pointer("/object/metadata/name")?.as_str()?.to_owned());
            let mut names = events.iter().filter_map(name);
            if names.any(|name| lacking.iter().any(|lack| sort.decides(lack, Some(&name)))) {
                self.lacks.stir();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_bring_what_is_lacking_is_known_by_its_name() {
        let widget = Lack::Kind("example.org/v1".into(), "Widget".into());
        let (here, end) = (Lack::Namespace("shop".into()), Lack::End("shop".into()));
        for (sort, lack, name, decides) in [
            (Sort::Definitions, &widget, Some("widgets.example.org"), true),
            (Sort::Definitions, &widget, Some("gadgets.example.com"), false),
            (Sort::Definitions, &widget, None, true),
            (Sort::Definitions, &here, None, false),
            (Sort::Namespaces, &widget, None, false),
            (Sort::Namespaces, &here, Some("shop"), true),
            (Sort::Namespaces, &end, Some("shop"), true),
            (Sort::Namespaces, &end, Some("shops"), false),
        ] {
            assert_eq!(sort.decides(lack, name), decides, "{sort:?} {lack:?} {name:?}");
        }
    }
}
