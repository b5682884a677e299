//! What evaluating an expression on an object can cost at most: known before it is done, from the expression and the object alone.

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use serde_json::Value;

/// The most that one evaluation may cost, in parts looked at and bytes of text.
const MOST: u64 = 20_000_000;
/// What a word more than its parts a call can answer with: a number as text, for example.
const SMALL: u64 = 32;
/// What reading a pattern costs, a byte.
const PATTERN: u64 = 1_000;

/// Refuses what could cost too much.
///
/// # Errors
///
/// It could.
pub fn affordable(expr: &IdedExpr, object: &Value) -> Result<(), String> {
    let mut scope = Scope { object, names: Vec::new() };
    let (cost, _) = bound(expr, &mut scope);
    match cost > MOST {
        true => Err("evaluating it on an object of this size could cost too much: look at less of it".into()),
        false => Ok(()),
    }
}

/// How large a value is: its parts, and the bytes of its texts.
pub fn weight(value: &Value) -> u64 {
    let length = |text: &str| text.len() as u64;
    1 + match value {
        Value::String(text) => length(text),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(members) => members.iter().map(|(name, member)| length(name) + weight(member)).sum(),
        _ => 0,
    }
}

/// What is known of the result of a part.
#[derive(Clone, Copy)]
enum Extent<'a> {
    /// It is this part of the object.
    Part(&'a Value),
    /// It is not larger than this.
    UpTo(u64),
}

impl Extent<'_> {
    fn size(self) -> u64 {
        match self {
            Extent::Part(part) => weight(part),
            Extent::UpTo(size) => size,
        }
    }

    /// How many items it has at most, and how large each is at most.
    fn items(self) -> (u64, u64) {
        match self {
            Extent::Part(Value::Array(items)) => {
                (items.len() as u64, items.iter().map(weight).max().unwrap_or_default())
            }
            Extent::Part(Value::Object(members)) => {
                let sizes = members.iter().map(|(name, member)| name.len() as u64 + weight(member));
                (members.len() as u64, sizes.max().unwrap_or_default())
            }
            Extent::Part(_) => (0, 0),
            Extent::UpTo(size) => (size, size),
        }
    }
}

struct Scope<'a, 'e> {
    object: &'a Value,
    names: Vec<(&'e str, Extent<'a>)>,
}

/// The cost of a part, and the extent of what it answers.
fn bound<'a, 'e>(expr: &'e IdedExpr, scope: &mut Scope<'a, 'e>) -> (u64, Extent<'a>) {
    match &expr.expr {
        Expr::Unspecified | Expr::Struct(_) => (1, Extent::UpTo(1)),
        Expr::Literal(LiteralValue::String(text)) => (1, Extent::UpTo(1 + text.inner().len() as u64)),
        Expr::Literal(_) => (1, Extent::UpTo(SMALL)),
        Expr::Ident(name) => (1, named(name, scope)),
        Expr::Select(select) => {
            let (cost, operand) = bound(&select.operand, scope);
            let extent = match operand {
                Extent::Part(part) => part.get(&select.field).map_or(Extent::UpTo(1), Extent::Part),
                up_to => up_to,
            };
            (cost.saturating_add(1), if select.test { Extent::UpTo(1) } else { extent })
        }
        Expr::List(list) => sum(list.elements.iter(), scope),
        Expr::Map(map) => {
            let parts = map.entries.iter().filter_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => Some([&entry.key, &entry.value]),
                EntryExpr::StructField(_) => None,
            });
            sum(parts.flatten(), scope)
        }
        Expr::Call(call) => {
            let parts = call.target.iter().map(AsRef::as_ref).chain(&call.args);
            let extents: Vec<(u64, Extent<'a>)> = parts.map(|part| bound(part, scope)).collect();
            let cost = extents.iter().fold(1_u64, |all, (cost, _)| all.saturating_add(*cost));
            let sizes = || extents.iter().fold(SMALL, |all, (_, extent)| all.saturating_add(extent.size()));
            let largest = || extents.iter().map(|(_, extent)| extent.size()).max().unwrap_or(1);
            match call.func_name.as_str() {
                // They look at no more than whether their parts hold.
                operators::LOGICAL_AND
                | operators::LOGICAL_OR
                | operators::LOGICAL_NOT
                | operators::NOT_STRICTLY_FALSE => (cost, Extent::UpTo(1)),
                operators::CONDITIONAL => (cost, Extent::UpTo(largest())),
                operators::INDEX => (cost.saturating_add(SMALL), Extent::UpTo(largest())),
                "matches" => {
                    let pattern = extents.last().map_or(1, |(_, extent)| extent.size());
                    let work = pattern.saturating_mul(largest().saturating_add(PATTERN));
                    (cost.saturating_add(work), Extent::UpTo(1))
                }
                _ => {
                    let sizes = sizes();
                    (cost.saturating_add(sizes), Extent::UpTo(sizes))
                }
            }
        }
        Expr::Comprehension(found) => comprehension(found, scope),
    }
}

fn named<'a>(name: &str, scope: &Scope<'a, '_>) -> Extent<'a> {
    match scope.names.iter().rev().find(|(known, _)| *known == name) {
        Some((_, extent)) => *extent,
        None if name == "object" => Extent::Part(scope.object),
        None => scope.object.get(name).map_or(Extent::UpTo(1), Extent::Part),
    }
}

fn sum<'a, 'e>(parts: impl Iterator<Item = &'e IdedExpr>, scope: &mut Scope<'a, 'e>) -> (u64, Extent<'a>) {
    let (mut cost, mut size) = (1_u64, 1_u64);
    for part in parts {
        let (more, extent) = bound(part, scope);
        cost = cost.saturating_add(more).saturating_add(extent.size());
        size = size.saturating_add(extent.size());
    }
    (cost, Extent::UpTo(size))
}

/// A loop. What it gathers grows by the same in each round at most, and is not copied: that is what the macros are, and nobody can
/// write another.
fn comprehension<'a, 'e>(found: &'e ComprehensionExpr, scope: &mut Scope<'a, 'e>) -> (u64, Extent<'a>) {
    let (range_cost, range) = bound(&found.iter_range, scope);
    let (init_cost, init) = bound(&found.accu_init, scope);
    let (rounds, largest) = range.items();
    let before = scope.names.len();
    let item = Extent::UpTo(largest);
    scope.names.push((&found.iter_var, item));
    if let Some(name) = &found.iter_var2 {
        scope.names.push((name, item));
    }
    scope.names.push((&found.accu_var, Extent::UpTo(0)));
    let (step_cost, step) = bound(&found.loop_step, scope);
    let (cond_cost, _) = bound(&found.loop_cond, scope);
    scope.names.pop();
    let gathered = init.size().saturating_add(rounds.saturating_mul(step.size()));
    scope.names.push((&found.accu_var, Extent::UpTo(gathered)));
    let (result_cost, result) = bound(&found.result, scope);
    scope.names.truncate(before);
    let round = cond_cost.saturating_add(step_cost).saturating_add(largest);
    let cost = range_cost.saturating_add(init_cost).saturating_add(result_cost);
    (cost.saturating_add(rounds.saturating_mul(round)), result)
}
