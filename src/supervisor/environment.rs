//! What a process gets in its environment and its command: what the App says, a few defaults, and nothing inherited.
//!
//! | variable | value |
//! |---|---|
//! | those of the App | as they stand, `{{ port }}`, `{{ instance }}` and `{{ slot }}` substituted |
//! | `PATH` | `/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`, unless the App sets it |
//! | `HOME` | the user's home folder, unless the App sets it |
//! | `LANG` | `C.UTF-8`, unless the App sets it |
//! | `PORT` | the instance's port when it has one, unless the App sets it |
//! | `TRIMTAB_UNIT`, `TRIMTAB_VERSION` | whose it is: `app/environment/target`, and the release's version |
//! | `TRIMTAB_INSTANCE` | the instance's id (not for runs) |
//! | `TRIMTAB_RUN` | the run's id (runs only) |
//! | `TRIMTAB_LAUNCH` | a random text, by which the descendants of one start are found |

use std::collections::BTreeMap;
use std::path::Path;

use super::shim::records::TOKEN;
use crate::protocol::Markers;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What only the supervisor knows of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltIns {
    /// Its port.
    pub port: Option<u16>,
    /// Its id.
    pub instance: String,
    /// Its slot.
    pub slot: u32,
}

impl BuiltIns {
    /// Replaces the built-ins in a text. The value stays one scalar; anything else in braces stays as it is.
    pub fn substitute(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            out.push_str(before);
            let found = after.split_once("}}").and_then(|(name, later)| Some((self.value(name.trim())?, later)));
            match found {
                Some((value, later)) => {
                    out.push_str(&value);
                    rest = later;
                }
                None => {
                    out.push_str("{{");
                    rest = after;
                }
            }
        }
        out + rest
    }

    fn value(&self, name: &str) -> Option<String> {
        match name {
            "port" => self.port.map(|port| port.to_string()),
            "instance" => Some(self.instance.clone()),
            "slot" => Some(self.slot.to_string()),
            _ => None,
        }
    }
}

/// Whether a text asks for the port.
pub fn asks_for_port(text: &str) -> bool {
    let nowhere = BuiltIns { port: None, instance: String::new(), slot: 0 };
    nowhere.substitute(text) != BuiltIns { port: Some(1), ..nowhere }.substitute(text)
}

/// The environment of an instance.
pub fn of_instance(
    env: &BTreeMap<String, String>,
    markers: &Markers,
    built_ins: &BuiltIns,
    token: &str,
) -> BTreeMap<String, String> {
    let mut all: BTreeMap<_, _> = env.iter().map(|(name, value)| (name.clone(), built_ins.substitute(value))).collect();
    if let Some(port) = built_ins.port {
        all.entry("PORT".into()).or_insert_with(|| port.to_string());
    }
    all.insert("TRIMTAB_INSTANCE".into(), built_ins.instance.clone());
    mark(all, markers, token)
}

/// The environment of a run.
pub fn of_run(env: &BTreeMap<String, String>, markers: &Markers, id: &str, token: &str) -> BTreeMap<String, String> {
    let mut all = env.clone();
    all.insert("TRIMTAB_RUN".into(), id.into());
    mark(all, markers, token)
}

fn mark(mut env: BTreeMap<String, String>, markers: &Markers, token: &str) -> BTreeMap<String, String> {
    env.insert("TRIMTAB_UNIT".into(), markers.unit.to_string());
    env.insert("TRIMTAB_VERSION".into(), markers.version.clone());
    env.insert(TOKEN.into(), token.into());
    env
}

/// Adds the defaults that the App did not set.
pub fn complete(mut env: BTreeMap<String, String>, home: &Path) -> BTreeMap<String, String> {
    env.entry("PATH".into()).or_insert_with(|| PATH.into());
    env.entry("HOME".into()).or_insert_with(|| home.to_string_lossy().into_owned());
    env.entry("LANG".into()).or_insert_with(|| "C.UTF-8".into());
    env
}

/// The places to try for a program: itself when it has a `/`, else in each folder of PATH.
pub fn programs(program: &str, env: &BTreeMap<String, String>) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let path = env.get("PATH").map_or(PATH, String::as_str);
    path.split(':')
        .filter(|dir| !dir.is_empty())
        .map(|dir| format!("{}/{program}", dir.trim_end_matches('/')))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Digest;

    fn built_ins() -> BuiltIns {
        BuiltIns { port: Some(20_001), instance: "abc-0".into(), slot: 7 }
    }

    #[test]
    fn built_ins_are_scalars_and_the_rest_is_left_alone() {
        for (text, expected) in [
            ("--port={{ port }}", "--port=20001"),
            ("{{port}}/{{ slot }}/{{ instance }}", "20001/7/abc-0"),
            ("{{ other }} {{ port }}", "{{ other }} 20001"),
            ("{{ port", "{{ port"),
            ("a {{ {{ slot }} }}", "a {{ 7 }}"),
            ("", ""),
        ] {
            assert_eq!(built_ins().substitute(text), expected);
        }
        assert!(asks_for_port("x{{port}}") && !asks_for_port("{{ slot }}"));
    }

    #[test]
    fn without_a_port_its_place_is_left_alone() {
        assert_eq!(BuiltIns { port: None, ..built_ins() }.substitute("{{ port }}"), "{{ port }}");
    }

    #[test]
    fn the_apps_own_values_stand_and_markers_cannot_be_forged() {
        let markers = Markers {
            installation: "i".into(),
            unit: "app/env/default".parse().unwrap(),
            rendered: Digest::from_text("r1:0"),
            version: "1.2".into(),
        };
        let own = [("PORT", "1"), ("TRIMTAB_UNIT", "forged"), ("URL", "http://x:{{ port }}"), ("PATH", "/opt")];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let env = complete(of_instance(&own, &markers, &built_ins(), "t"), Path::new("/home/x"));
        let expected = [
            ("HOME", "/home/x"),
            ("LANG", "C.UTF-8"),
            ("PATH", "/opt"),
            ("PORT", "1"),
            ("TRIMTAB_INSTANCE", "abc-0"),
            ("TRIMTAB_LAUNCH", "t"),
            ("TRIMTAB_UNIT", "app/env/default"),
            ("TRIMTAB_VERSION", "1.2"),
            ("URL", "http://x:20001"),
        ];
        assert_eq!(env, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(programs("sh", &env), ["/opt/sh"]);
        assert_eq!(programs("bin/sh", &env), ["bin/sh"]);
    }
}
