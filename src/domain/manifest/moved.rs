//! `moved: { from: old-name }`: what something was called before, so that its state follows the new name.

use super::decode::{Context, list_of};
use super::document::Identity;
use super::node::{Located, Node, Value};
use super::problem::{Layer, Problem};
use super::set::DocumentSet;
use super::{Document, values};
use crate::domain::id::Name;

/// The most former names of one thing.
const MOST: usize = 16;

/// Reads the former names: one, or a list of them, the newest first.
pub fn decode(cx: &Context, node: &Node, name: Option<&Located<Name>>) -> Option<Vec<Located<Name>>> {
    let fields = cx.fields(node, "moved")?;
    let from = fields.required("from", "old-name", |node| names(cx, node));
    fields.finish();
    let from = from?;
    if let Some(same) = from.iter().find(|from| name.is_some_and(|name| name.value == from.value)) {
        cx.schema(&same.at, "this is the name that it has now", "write the old name, or delete `moved`");
        return None;
    }
    Some(from)
}

fn names(cx: &Context, node: &Node) -> Option<Vec<Located<Name>>> {
    let read = |node: &Node| Some(Located::new(&node.at, values::name(cx, node)?));
    if !matches!(node.value, Value::List(_)) {
        return Some(vec![read(node)?]);
    }
    let all = cx.list(node, read)?;
    if all.is_empty() || all.len() > MOST {
        let message = format!("{} former names are given", all.len());
        cx.schema(&node.at, message, format!("write one to {MOST} of them, the newest first, or delete `moved`"));
        return None;
    }
    Some(all)
}

/// Former names that are still, or again, in use: it can't be told whose the state is.
pub fn problems(documents: &DocumentSet, document: &Document) -> Vec<Problem> {
    document.moved_from.iter().filter_map(|from| problem(documents, document, from)).collect()
}

fn problem(documents: &DocumentSet, document: &Document, from: &Located<Name>) -> Option<Problem> {
    let before = match &document.identity {
        Identity::Environment(_) => Identity::Environment(from.value.clone()),
        Identity::App(_) => Identity::App(from.value.clone()),
        Identity::Script(_) => return None,
        Identity::Release { environment, .. } => {
            Identity::Release { app: from.value.clone(), environment: environment.clone() }
        }
    };
    let other = documents.find(&before)?;
    Some(Problem::new(
        Layer::Dependency,
        &from.at,
        format!("{before} still exists, at {}, so nothing can have moved from it", other.name_at.short()),
        "delete the old document, or `moved`",
    ))
}

/// Two units that both say that they are the one that was renamed.
pub fn contested(at: &super::Location, units: &[String], from: &str) -> Problem {
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    let message = format!("{} were all renamed from {from}", list_of(&units));
    Problem::new(Layer::Dependency, at, message, "keep `moved` where the state of the old name belongs")
}
