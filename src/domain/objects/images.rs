//! Images of containers, replaced by name: what is rolled out need not be written into the objects.

use std::collections::BTreeSet;

use serde_json::Value;

use super::finish::Refused;
use crate::domain::manifest::decode::name_or_add;
use crate::domain::manifest::source::Location;

/// The lists that containers stand in.
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// What becomes of an image.
#[derive(Clone, Debug)]
pub struct ImageOverride {
    /// Where it is written.
    pub at: Location,
    /// The image as the objects name it, without tag and digest.
    pub image: String,
    /// Another name.
    pub name: Option<String>,
    /// Another tag; the digest goes.
    pub tag: Option<String>,
    /// Another digest.
    pub digest: Option<String>,
}

/// Replaces images in all objects.
///
/// # Errors
///
/// An override that fits no image.
pub fn replace(objects: &mut [Value], overrides: &[ImageOverride], refused: &mut Vec<Refused>) {
    if overrides.is_empty() {
        return;
    }
    let mut seen = BTreeSet::new();
    let mut used = vec![false; overrides.len()];
    for object in objects.iter_mut().filter(|object| object["kind"] != "CustomResourceDefinition") {
        walk(object, &mut |image| {
            let (name, tag, digest) = parts(image);
            seen.insert(name.to_owned());
            let index = overrides.iter().position(|one| one.image == name)?;
            used[index] = true;
            Some(replaced(&overrides[index], name, tag, digest))
        });
    }
    let seen: Vec<String> = seen.into_iter().collect();
    for one in overrides.iter().zip(used).filter(|(_, used)| !used).map(|(one, _)| one) {
        refused.push(Refused {
            at: Some(one.at.clone()),
            message: format!("no container has the image `{}`", one.image),
            remedy: name_or_add(&one.image, &seen, "delete it"),
        });
    }
}

/// Calls for the image of every container, and puts another in its place.
fn walk(value: &mut Value, change: &mut dyn FnMut(&str) -> Option<String>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, change)),
        Value::Object(map) => {
            for (key, value) in map {
                if let (true, Value::Array(items)) = (CONTAINERS.contains(&key.as_str()), &mut *value) {
                    for item in items {
                        if let Some(Value::String(image)) = item.get_mut("image")
                            && let Some(other) = change(image)
                        {
                            *image = other;
                        }
                    }
                } else {
                    walk(value, change);
                }
            }
        }
        _ => {}
    }
}

/// Name, tag and digest of an image.
fn parts(image: &str) -> (&str, Option<&str>, Option<&str>) {
    let (rest, digest) = image.split_once('@').map_or((image, None), |(rest, digest)| (rest, Some(digest)));
    // A colon before the last slash belongs to the port of a registry.
    let last = rest.rfind('/').map_or(0, |at| at + 1);
    match rest[last..].rfind(':') {
        Some(at) => (&rest[..last + at], Some(&rest[last + at + 1..]), digest),
        None => (rest, None, digest),
    }
}

fn replaced(one: &ImageOverride, name: &str, tag: Option<&str>, digest: Option<&str>) -> String {
    let name = one.name.as_deref().unwrap_or(name);
    let (tag, digest) = match (one.tag.as_deref(), one.digest.as_deref()) {
        (None, None) => (tag, digest),
        given => given,
    };
    let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
    format!("{name}{tag}{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_fall_into_parts() {
        let cases = [
            ("web", ("web", None, None)),
            ("web:1.0", ("web", Some("1.0"), None)),
            ("host:5000/shop/web", ("host:5000/shop/web", None, None)),
            ("host:5000/web:1@sha256:ab", ("host:5000/web", Some("1"), Some("sha256:ab"))),
            ("web@sha256:ab", ("web", None, Some("sha256:ab"))),
        ];
        for (image, expected) in cases {
            assert_eq!(parts(image), expected, "{image}");
        }
    }
}
