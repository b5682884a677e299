//! The parent object of a group: which objects it has, which group they are, and who acted last. It is what survives when a
//! daemon loses everything else. A unit that is replaced in place has one; one with versions side by side has one for each.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::labels;
use crate::domain::digest::Digest;
use crate::domain::id::{Epoch, GroupId, UnitId};
use crate::domain::workload::kubernetes::{Drift, HealthRule, Ignore, ObjectId};

/// Marks a parent: a label.
pub const PARENT: &str = "trimtab.dev/parent";

/// What stands in an inventory for what was applied, where an object goes with the requests and not with the group.
pub const ROUTED: &str = "routed";

/// What stands in an inventory for what was applied, where an object is of a wave that has yet to come: it is left as it is.
pub const LATER: &str = "later";

/// What stands in an inventory for what was applied, where an object is a hook's.
pub const HOOK: &str = "hook";
/// The same where an object is as it was found.
pub const FOUND: &str = "found";

/// The largest inventory, in bytes: an object of a cluster has 1 MiB at most.
const MOST_BYTES: usize = 900 << 10;

/// What a group's parent object says.
#[derive(Clone, Debug, PartialEq)]
pub struct Parent {
    /// Where it is.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its version on the server, which a write must name; none for one that is to be made.
    pub resource_version: Option<String>,
    /// Whose it is.
    pub unit: UnitId,
    /// The group that is in force.
    pub group: GroupId,
    /// What that is made from.
    pub rendered: Digest,
    /// Its version.
    pub version: String,
    /// The highest epoch that acted here.
    pub epoch: Epoch,
    /// Everything is to go.
    pub retiring: bool,
    /// The later group of two of one unit has the higher: what both ask for is as that one asks for it.
    pub serial: u64,
    /// The version that it is one of several of; none: it is replaced in place.
    pub version_of: Option<Version>,
    /// Whoever the objects are applied as.
    pub account: Option<String>,
    /// Its objects, by what they are called.
    pub objects: BTreeMap<ObjectId, Entry>,
    /// What looking at them needs to know.
    pub settings: Settings,
}

/// What is known of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its API version.
    pub version: String,
    /// What shall have been applied; none: it is to go.
    pub applied: Option<String>,
    /// It shall rest.
    pub rests: bool,
    /// Its wave: those of a higher one go first.
    pub wave: i32,
}

impl Entry {
    /// That of an object of a hook.
    pub fn hook(version: &str, wave: i32) -> Self {
        Entry { version: version.to_owned(), applied: Some(HOOK.into()), rests: false, wave }
    }

    /// Whether it is an object of a hook.
    pub fn is_hook(&self) -> bool {
        self.applied.as_deref() == Some(HOOK)
    }
}

/// One version of a Deployment.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// The value of its pods' label.
    pub group: String,
    /// How many pods were asked for.
    pub replicas: u32,
    /// Its Deployment.
    pub deployment: ObjectId,
    /// An autoscaler keeps the number from there on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scaled: bool,
}

/// What looking at a unit's objects needs to know of its desired state.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// What is done about objects that somebody else changed.
    #[serde(default)]
    pub drift: Drift,
    /// Fields that belong to others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<Ignore>,
    /// How objects tell that they are well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthRule>,
}

/// The key of a unit: the same for the same name, and short enough for a label.
pub fn key(installation: &str, unit: &UnitId) -> String {
    Digest::of_bytes("u1", format!("{installation}\n{unit}").as_bytes()).short().to_owned()
}

impl Parent {
    /// What its objects are labelled with.
    pub fn key(&self) -> &str {
        self.name.strip_prefix("trimtab-").unwrap_or(&self.name)
    }

    /// The objects of the group in force, in their order.
    pub fn wanted(&self) -> impl Iterator<Item = (&ObjectId, &Entry)> {
        let wanted =
            |entry: &Entry| entry.applied.as_deref().is_some_and(|text| ![ROUTED, LATER, HOOK].contains(&text));
        self.objects.iter().filter(move |(_, entry)| wanted(entry))
    }

    /// The objects of hooks: they need not be there, and go with the unit alone.
    pub fn hooks(&self) -> impl Iterator<Item = (&ObjectId, &Entry)> {
        self.objects.iter().filter(|(_, entry)| entry.is_hook())
    }

    /// The key of the whole unit, which is that of its hooks too.
    pub fn unit_key(&self) -> &str {
        let group = self.version_of.as_ref().and_then(|version| self.key().strip_suffix(&version.group));
        group.and_then(|key| key.strip_suffix('-')).unwrap_or_else(|| self.key())
    }

    /// Whether waves have yet to come.
    pub fn rises(&self) -> bool {
        self.objects.values().any(|entry| entry.applied.as_deref() == Some(LATER))
    }

    /// The objects that are to go.
    pub fn leftover(&self) -> impl Iterator<Item = (&ObjectId, &Entry)> {
        self.objects.iter().filter(|(_, entry)| entry.applied.is_none())
    }

    /// Reads what a server has; `None` where it is no parent.
    pub fn read(object: &Value) -> Option<Parent> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let note =
            |name: &str| object.get("metadata")?.get("annotations")?.get(format!("trimtab.dev/{name}"))?.as_str();
        let settings = text("/data/settings").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        Some(Parent {
            namespace: text("/metadata/namespace")?.to_owned(),
            name: text("/metadata/name")?.to_owned(),
            resource_version: text("/metadata/resourceVersion").map(str::to_owned),
            unit: note("unit-name")?.parse().ok()?,
            group: GroupId(note("group")?.to_owned()),
            rendered: Digest::from_text(note("rendered")?),
            version: note("version").unwrap_or_default().to_owned(),
            epoch: Epoch(note("epoch")?.parse().ok()?),
            retiring: note("retiring") == Some("true"),
            serial: note("serial").and_then(|text| text.parse().ok()).unwrap_or_default(),
            version_of: text("/data/version").and_then(|text| serde_json::from_str(text).ok()),
            account: note("account").map(str::to_owned),
            objects: text("/data/inventory").unwrap_or_default().lines().filter_map(entry).collect(),
            settings,
        })
    }

    /// What is sent to the server.
    ///
    /// # Errors
    ///
    /// It has too many objects for one parent.
    pub fn write(&self, installation: &str) -> Result<Value, String> {
        let mut inventory = String::new();
        for (id, entry) in &self.objects {
            let applied = entry.applied.as_deref().unwrap_or("-");
            let rests = if entry.rests { " rests" } else { "" };
            let wave = if entry.wave == 0 { String::new() } else { format!(" wave={}", entry.wave) };
            let namespace = id.namespace.as_deref().unwrap_or_default();
            // Writing to a text can't fail.
            let _ = writeln!(inventory, "{}|{}|{namespace}|{}|{applied}{rests}{wave}", entry.version, id.kind, id.name);
        }
        if inventory.len() > MOST_BYTES {
            let count = self.objects.len();
            return Err(format!("{count} objects are too many for one app: divide it into several"));
        }
        let mut annotations = json!({
            "trimtab.dev/unit-name": self.unit.to_string(),
            "trimtab.dev/group": self.group.as_str(),
            "trimtab.dev/rendered": self.rendered.as_str(),
            "trimtab.dev/version": self.version,
            "trimtab.dev/epoch": self.epoch.0.to_string(),
        });
        if self.retiring {
            annotations["trimtab.dev/retiring"] = "true".into();
        }
        if self.serial > 0 {
            annotations["trimtab.dev/serial"] = self.serial.to_string().into();
        }
        if let Some(account) = &self.account {
            annotations["trimtab.dev/account"] = account.as_str().into();
        }
        let mut metadata = json!({
            "name": self.name,
            "namespace": self.namespace,
            "labels": {
                labels::MANAGED_BY: labels::MANAGER,
                PARENT: "true",
                labels::INSTALLATION: installation,
            },
            "annotations": annotations,
        });
        if let Some(version) = &self.resource_version {
            metadata["resourceVersion"] = version.as_str().into();
        }
        let settings = serde_json::to_string(&self.settings).map_err(|error| error.to_string())?;
        let mut data = json!({ "inventory": inventory, "settings": settings });
        if let Some(version) = &self.version_of {
            data["version"] = serde_json::to_string(version).map_err(|error| error.to_string())?.into();
        }
        Ok(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data }))
    }
}

fn entry(line: &str) -> Option<(ObjectId, Entry)> {
    let mut parts = line.splitn(5, '|');
    let (version, kind, namespace) = (parts.next()?, parts.next()?, parts.next()?);
    let (name, state) = (parts.next()?, parts.next()?);
    let mut words = state.split(' ');
    let applied = words.next()?;
    let (mut rests, mut wave) = (false, 0);
    for word in words {
        rests |= word == "rests";
        wave = word.strip_prefix("wave=").and_then(|text| text.parse().ok()).unwrap_or(wave);
    }
    let id = ObjectId {
        group: version.rsplit_once('/').map_or("", |(group, _)| group).to_owned(),
        kind: kind.to_owned(),
        namespace: Some(namespace).filter(|text| !text.is_empty()).map(str::to_owned),
        name: name.to_owned(),
    };
    let applied = Some(applied).filter(|text| *text != "-").map(str::to_owned);
    Some((id, Entry { version: version.to_owned(), applied, rests, wave }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent() -> Parent {
        let id = |kind: &str, namespace: Option<&str>, name: &str| ObjectId {
            group: if kind == "Deployment" { "apps".into() } else { String::new() },
            kind: kind.into(),
            namespace: namespace.map(str::to_owned),
            name: name.into(),
        };
        let entry = |version: &str, applied: Option<&str>, rests| Entry {
            version: version.into(),
            applied: applied.map(str::to_owned),
            rests,
            wave: if rests { -3 } else { 0 },
        };
        Parent {
            namespace: "shop".into(),
            name: "trimtab-0123456789ab".into(),
            resource_version: Some("17".into()),
            unit: "web/production/default".parse().expect("a unit"),
            group: GroupId("g1".into()),
            rendered: Digest::from_text("r1:00"),
            version: "1.2.3".into(),
            epoch: Epoch(7),
            retiring: false,
            serial: 3,
            version_of: Some(Version {
                group: "0a1b2c3d".into(),
                replicas: 2,
                deployment: id("Deployment", Some("shop"), "web"),
                scaled: false,
            }),
            account: Some("shop/deployer".into()),
            objects: [
                (id("Deployment", Some("shop"), "web"), entry("apps/v1", Some("aa"), true)),
                (id("ConfigMap", Some("shop"), "old"), entry("v1", None, false)),
                (id("Namespace", None, "shop"), entry("v1", Some("bb"), false)),
            ]
            .into(),
            settings: Settings { drift: Drift::Report, ..Settings::default() },
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let parent = parent();
        let written = parent.write("default").expect("it is small");
        assert_eq!(Parent::read(&written), Some(parent.clone()));
        assert_eq!(parent.wanted().count(), 2);
        assert_eq!(parent.leftover().count(), 1);
        assert_eq!(parent.key(), "0123456789ab");
    }

    #[test]
    fn another_config_map_is_no_parent() {
        assert_eq!(Parent::read(&json!({ "metadata": { "name": "a", "namespace": "b" } })), None);
    }

    #[test]
    fn too_many_objects_are_refused() {
        let mut parent = parent();
        for index in 0..20_000 {
            let name = format!("a-name-that-is-not-short-{index}");
            let id = ObjectId { group: String::new(), kind: "ConfigMap".into(), namespace: None, name };
            parent.objects.insert(id, Entry { version: "v1".into(), applied: None, rests: false, wave: 0 });
        }
        assert!(parent.write("default").unwrap_err().contains("too many"));
    }
}
