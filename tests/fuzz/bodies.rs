//! What is done with an input, and what must hold of it.

use std::collections::BTreeMap;

use serde_json::Value;
use trimtab::cli::output::yaml;
use trimtab::domain::digest::Digest;
use trimtab::domain::documents;
use trimtab::domain::id::{Revision, RollbackId};
use trimtab::domain::installation::{InstallationEvent, InstallationState};
use trimtab::domain::manifest::{self, DocumentSet};
use trimtab::domain::objects::finish::{Finish, finish};
use trimtab::domain::objects::kustomize;
use trimtab::domain::objects::native::Reading;
use trimtab::domain::render::render;
use trimtab::domain::revert::{ROLLBACK_ID, RevertMessage, Reverted, trailer, trailers};
use trimtab::domain::unit::event::upcast;
use trimtab::domain::unit::state::UnitState;
use trimtab::secrets::plain::Format;
use trimtab::secrets::{Identities, sops};

use std::sync::Arc;

/// What shall stand beside the fuzzed document, so that it comes as far as being rendered.
const BESIDE: &str = "apiVersion: trimtab/v1\nkind: Environment\nmetadata: { name: staging }\nspec: { platform: { host: {} }, \
     listeners: { web: 127.0.0.1:8080 } }\n---\napiVersion: trimtab/v1\nkind: Script\nmetadata: { name: migrate }\n\
     spec: { run: \"true\" }\n---\napiVersion: trimtab/v1\nkind: App\nmetadata: { name: beside }\n\
     spec: { workload: { process: { command: [x] } } }\n---\napiVersion: trimtab/v1\nkind: Release\n\
     metadata: { name: hello, environment: staging }\nspec: { version: 1.0.0 }\n";

/// A document file: parsed, put together with others, rendered, and edited as a revert does it.
pub fn manifest(input: &[u8]) {
    let parsed = manifest::parse_file("fuzzed.yaml", input);
    printable(parsed.problems.iter().map(ToString::to_string));
    let beside = manifest::parse_file("beside.yaml", BESIDE.as_bytes());
    let set = DocumentSet::assemble(vec![Arc::new(parsed), Arc::new(beside)]);
    printable(set.problems().iter().map(ToString::to_string));
    for rendered in render(&set, &|path| Some(Digest::of_bytes("t1", path.as_bytes()).as_str()[3..43].to_owned())) {
        match rendered.outcome {
            Err(problems) => printable(problems.iter().map(ToString::to_string)),
            Ok(desired) => {
                // What is rendered is stored and read back as the same.
                let text = serde_json::to_string(desired.as_ref()).unwrap();
                let again = serde_json::from_str::<trimtab::domain::desired::DesiredUnit>(&text).unwrap();
                assert_eq!(again.digest(), desired.digest());
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(input) {
        edits(text);
    }
}

/// A file of objects: read, finished as a unit's are, and shown as YAML that says the same.
pub fn objects(input: &[u8]) {
    if let Err(problems) = kustomize::references("a/kustomization.yaml", input) {
        printable(problems.iter().map(ToString::to_string));
    }
    let mut reading = Reading::default();
    reading.file("fuzzed.yaml", input);
    let written = match reading.finish() {
        Ok(written) => written,
        Err(problems) => return printable(problems.iter().map(ToString::to_string)),
    };
    let labels = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
    let (namespace, patches, images, generated) = ("shop", &[], &[], &[]);
    let ask = Finish { namespace, one_namespace: false, patches, labels: &labels, images, generated };
    for object in finish(&written, ask).unwrap_or_default() {
        let value = Value::from(object);
        let text = yaml::text(&value);
        let odd = |c: char| {
            (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')
        };
        if text.contains(odd) {
            continue;
        }
        let mut again = Reading::default();
        again.file("again.yaml", text.as_bytes());
        let read = again.finish().unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
        assert_eq!(read.into_iter().map(|one| Value::from(one.object)).collect::<Vec<_>>(), [value], "{text}");
    }
}

/// Putting a document back as it is changes nothing; taking one out leaves the others as they were.
fn edits(text: &str) {
    let all = documents::texts(text);
    for (id, document) in &all {
        if let Ok(same) = documents::replace(text, id, Some(document)) {
            assert_eq!(documents::texts(&same), all, "{id} was put back as it was");
        }
        if let Ok(without) = documents::replace(text, id, None) {
            let mut rest: BTreeMap<_, _> = all.clone();
            rest.remove(id);
            let left = documents::texts(&without);
            assert_eq!(left.keys().collect::<Vec<_>>(), rest.keys().collect::<Vec<_>>(), "{id} was taken out");
        }
    }
}

/// A stored event of a unit or of the installation.
pub fn event(input: &[u8]) {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(input) else { return };
    let at = jiff::Timestamp::UNIX_EPOCH;
    if let Ok(event) = upcast(1, value.clone()) {
        let mut state = UnitState::default();
        let before = state.clone();
        if state.apply(&event, at).is_err() {
            assert_eq!(state, before, "what is refused changes nothing");
        }
        let text = serde_json::to_value(&event).unwrap();
        assert_eq!(upcast(1, text).unwrap(), event, "an event reads what it writes");
    }
    if let Ok(event) = serde_json::from_value::<InstallationEvent>(value) {
        let mut state = InstallationState::default();
        let _ = state.apply(&event, at);
        serde_json::to_string(&state).unwrap();
    }
}

/// A commit message that somebody wrote, and one of ours that quotes it.
pub fn message(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for (key, value) in trailers(&text) {
        assert!(!key.contains(':') && !value.contains('\n'));
    }
    let id = RollbackId("0198a7f2-0000-7000-8000-000000000000".into());
    let revision = Revision("a".repeat(40));
    let ours = RevertMessage {
        id: &id,
        app: &"web".parse().unwrap(),
        environment: &"staging".parse().unwrap(),
        reverts: &revision,
        restores: &revision,
        why: &text,
        reverted: Reverted { restored: &[text.clone().into_owned()], set: &[text.clone().into_owned()] },
    };
    let found = trailers(&ours.text());
    assert_eq!(trailer(&found, ROLLBACK_ID), Some(id.as_str()), "nothing that is quoted passes for a trailer");
    let ids = found.iter().filter(|(key, _)| key.eq_ignore_ascii_case(ROLLBACK_ID)).count();
    assert_eq!(ids, 1, "{found:?}");
}

/// A file of SOPS in each of its forms, for somebody else: read as far as its data key.
pub fn sops(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for format in [Format::Yaml, Format::Json, Format::Dotenv, Format::Ini] {
        let _ = sops::is_sops(&text, Some(format));
        if let Err(error) = sops::recipients(&text, format) {
            assert!(error.to_string().len() < 100_000);
        }
        assert!(sops::open(&text, format, &Identities::default()).is_err(), "nobody here can read it");
    }
}

/// What is told can be shown on a terminal and in a browser as it is.
fn printable(texts: impl Iterator<Item = String>) {
    for text in texts {
        assert!(text.len() < 100_000, "{} bytes are told of one problem", text.len());
        let bad = text.chars().find(|c| {
            (c.is_control() && !matches!(c, '\n' | '\t'))
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        });
        assert_eq!(bad, None, "{text:?}");
    }
}
