//! What the user writes: reading, problems, merging, rendering.

mod absence;
mod charts;
mod digests;
pub mod encrypted;
mod example;
mod field;
pub mod kubernetes;
mod limits;
mod merging;
mod offline;
mod pinning;
mod problems;
mod properties;
mod references;
mod schema;
mod sketch;
mod tools;

use trimtab::domain::desired::DesiredUnit;
use trimtab::domain::manifest::{DocumentSet, ParsedFile, Problem, parse_file};
use trimtab::domain::render::{Rendered, render};

/// A set of files, by path and text.
pub fn documents(files: &[(&str, &str)]) -> DocumentSet {
    DocumentSet::from(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
}

/// Renders files in which every artifact whose path begins with `hello` exists.
pub fn rendered(files: &[(&str, &str)]) -> Vec<Rendered> {
    render(&documents(files), &|path| path.starts_with("hello").then(|| "a".repeat(40)))
}

/// All problems of files, once each, by place.
pub fn problems(files: &[(&str, &str)]) -> Vec<Problem> {
    let mut problems = documents(files).problems();
    problems.extend(rendered(files).into_iter().filter_map(|unit| unit.outcome.err()).flatten());
    problems.sort();
    problems.dedup();
    problems
}

/// The one unit of files that are valid.
#[track_caller]
pub fn unit(files: &[(&str, &str)]) -> DesiredUnit {
    assert_eq!(problems(files), []);
    let mut units = rendered(files);
    assert_eq!(units.len(), 1);
    (*units.remove(0).outcome.unwrap()).clone()
}

/// An environment with a listener and some configuration.
pub const STAGING: &str = "\
apiVersion: trimtab/v1
kind: Environment
metadata: { name: staging }
spec:
  platform: host
  listeners: { web: 127.0.0.1:8080 }
  config: { LOG_LEVEL: info, REPLICAS: 4 }
";

/// An App, its spec given in lines indented by two.
pub fn app(spec: &str) -> String {
    format!("apiVersion: trimtab/v1\nkind: App\nmetadata: {{ name: hello }}\nspec:\n{spec}")
}

/// A small App.
pub const HELLO: &str = "\
apiVersion: trimtab/v1
kind: App
metadata: { name: hello }
spec:
  workload: { process: { artifact: hello, command: [bin/hello] } }
  route: { host: hello.localhost }
";

/// A Release of it, its spec in flow style.
pub fn release(spec: &str) -> String {
    format!("apiVersion: trimtab/v1\nkind: Release\nmetadata: {{ name: hello, environment: staging }}\nspec: {spec}\n")
}

/// A file that is refused as a whole, for a reason with this word.
#[track_caller]
pub fn refused(text: &str, word: &str) -> ParsedFile {
    let file = parse_file("x.yaml", text.as_bytes());
    let messages: Vec<&str> = file.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert!(messages.iter().any(|message| message.contains(word)), "{messages:?} do not speak of {word}");
    assert!(file.unreadable);
    file
}
