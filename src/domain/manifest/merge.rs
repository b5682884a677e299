//! What a Release sets: maps are merged, lists and texts replaced, `null` removes.

use super::node::{Entry, Node, Value};

/// The base with what differs laid over it. Every part keeps the place it was written at.
pub fn merge(base: &Node, over: &Node) -> Node {
    let (Value::Map(base_entries), Value::Map(over_entries)) = (&base.value, &over.value) else {
        return without_nulls(over);
    };
    let mut entries = Vec::with_capacity(base_entries.len());
    for entry in base_entries {
        match over_entries.iter().find(|over| over.key == entry.key) {
            None => entries.push(entry.clone()),
            Some(over) if over.value.is_null() => {}
            Some(over) => entries.push(Entry { value: merge(&entry.value, &over.value), ..over.clone() }),
        }
    }
    let added = over_entries.iter().filter(|over| base_entries.iter().all(|entry| entry.key != over.key));
    entries.extend(
        added
            .filter(|over| !over.value.is_null())
            .map(|over| Entry { value: without_nulls(&over.value), ..over.clone() }),
    );
    Node { at: base.at.clone(), value: Value::Map(entries) }
}

/// What removes something that is not there removes nothing.
pub(super) fn without_nulls(node: &Node) -> Node {
    let value = match &node.value {
        Value::Map(entries) => Value::Map(
            entries
                .iter()
                .filter(|entry| !entry.value.is_null())
                .map(|entry| Entry { value: without_nulls(&entry.value), ..entry.clone() })
                .collect(),
        ),
        other => other.clone(),
    };
    Node { at: node.at.clone(), value }
}
