//! Which part of a cluster is followed: all of it, or the namespaces that the daemon is confined to.

use std::collections::BTreeMap;

use super::discovery::Kind;
use super::fault::Fault;
use super::inventory::Parent;
use crate::domain::workload::kubernetes::ObjectId;

/// Why something is not known that nobody has looked at.
const UNREAD: &str = "they have not been read yet";

/// What one watch sees of a kind: the objects of a namespace, or all.
pub type Part = Option<String>;

/// The namespaces that the daemon is confined to; none: it is not.
#[derive(Clone, Debug, Default)]
pub struct Scope(Vec<String>);

impl Scope {
    /// Of these namespaces; without any, of the whole cluster.
    pub fn new(namespaces: &[String]) -> Self {
        Scope(namespaces.to_vec())
    }

    /// The parts that together are all objects of a kind.
    pub fn parts(&self, namespaced: bool) -> Vec<Part> {
        match namespaced && !self.0.is_empty() {
            true => self.0.iter().cloned().map(Some).collect(),
            false => vec![None],
        }
    }

    /// Refuses what lies outside.
    ///
    /// # Errors
    ///
    /// The namespace is none of those, or the kind belongs to no namespace.
    pub fn admits(&self, id: &ObjectId, kind: &Kind) -> Result<(), Fault> {
        match &id.namespace {
            _ if self.0.is_empty() => Ok(()),
            Some(namespace) if kind.namespaced => {
                self.admits_namespace(namespace).map_err(|fault| fault.about(&id.to_string(), ""))
            }
            _ => Err(Fault::Refused(format!(
                "{id} belongs to no namespace, and the daemon is confined to {}: make it by other means, or let the daemon see the \
                 whole cluster",
                self.0.join(", ")
            ))),
        }
    }

    /// Refuses a unit whose parent would lie outside.
    ///
    /// # Errors
    ///
    /// The namespace is none of those.
    pub fn admits_parent(&self, parent: &Parent) -> Result<(), Fault> {
        if self.0.is_empty() { Ok(()) } else { self.admits_namespace(&parent.namespace) }
    }

    fn admits_namespace(&self, namespace: &str) -> Result<(), Fault> {
        match self.0.iter().any(|known| known == namespace) {
            true => Ok(()),
            false => Err(Fault::Refused(format!(
                "the daemon is confined to the namespaces {}: add {namespace} to `namespaces` of its cluster's configuration",
                self.0.join(", ")
            ))),
        }
    }
}

/// Of which parts everything is known.
#[derive(Clone, Debug, Default)]
pub struct Known(BTreeMap<Part, Result<(), String>>);

impl Known {
    /// Of none of these parts; why.
    pub fn nothing(parts: Vec<Part>, why: &str) -> Self {
        Known(parts.into_iter().map(|part| (part, Err(why.to_owned()))).collect())
    }

    /// All is known when each of these parts is, whatever others were before.
    pub fn expect(&mut self, parts: &[Part]) {
        self.0.retain(|part, _| parts.contains(part));
        for part in parts {
            self.0.entry(part.clone()).or_insert_with(|| Err(UNREAD.into()));
        }
    }

    /// Says of a part whether it is known, or why not. Answers whether that is new.
    pub fn set(&mut self, part: &Part, known: Result<(), String>) -> bool {
        self.0.insert(part.clone(), known.clone()) != Some(known)
    }

    /// Whether all is known.
    ///
    /// # Errors
    ///
    /// Why a part is not.
    pub fn all(&self) -> Result<(), String> {
        match self.0.is_empty() {
            true => Err(UNREAD.into()),
            false => self.0.values().find(|known| known.is_err()).cloned().unwrap_or(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_known_when_each_part_is() {
        let scope = Scope::new(&["a".into(), "b".into()]);
        let mut known = Known::nothing(scope.parts(true), "not read yet");
        assert!(known.set(&Some("a".into()), Ok(())) && known.all().is_err());
        assert!(known.set(&Some("b".into()), Ok(())) && known.all().is_ok());
        assert!(!known.set(&Some("b".into()), Ok(())));
        assert!(known.set(&Some("a".into()), Err("forbidden".into())));
        assert_eq!(known.all(), Err("forbidden".into()));
    }

    #[test]
    fn what_lies_outside_is_refused_with_a_remedy() {
        let kind = |plural: &str, namespaced| Kind { api_version: "v1".into(), plural: plural.into(), namespaced };
        let id = |kind: &str, namespace: Option<&str>| ObjectId {
            group: String::new(),
            kind: kind.into(),
            namespace: namespace.map(str::to_owned),
            name: "one".into(),
        };
        let confined = Scope::new(&["shop".into()]);
        for (id, kind, word) in [
            (id("ConfigMap", Some("shop")), kind("configmaps", true), None),
            (id("ConfigMap", Some("other")), kind("configmaps", true), Some("shop: add other to `namespaces`")),
            (id("Namespace", None), kind("namespaces", false), Some("belongs to no namespace")),
        ] {
            assert!(Scope::default().admits(&id, &kind).is_ok());
            match (confined.admits(&id, &kind), word) {
                (Ok(()), None) => {}
                (Err(Fault::Refused(why)), Some(word)) => {
                    assert!(why.contains(word) && why.contains(&id.to_string()), "{why}");
                }
                (answer, _) => panic!("{id}: {answer:?}"),
            }
        }
        assert_eq!(confined.parts(false), [None]);
    }
}
