//! Expressions in CEL over one object.
//!
//! An expression can only read; it has no clock and no functions but those of a short list. Before one is evaluated it is known what it
//! can cost at most on the object at hand (the module `cost`), so that none can keep anybody busy.

mod cost;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, IdedExpr, operators};
use cel::objects::Key;
use cel::parser::PrattParser;
use cel::{Context, Env, ExecutionError};
use serde_json::Value;

/// The longest expression, in bytes.
pub const MAX_BYTES: usize = 2_048;
/// The deepest nesting.
const MAX_DEPTH: u16 = 32;
/// The most parts of an expression.
const MAX_PARTS: usize = 600;
/// The most comprehensions (`exists`, `map`, ...) within each other.
const MAX_LOOPS: u32 = 3;
/// The largest object that is looked at, in parts and bytes of text.
const MAX_OBJECT: u64 = 2 << 20;
/// The longest word of an error that is passed on.
const MAX_WORDS: usize = 200;

/// What an expression may call.
const FUNCTIONS: [&str; 11] =
    ["size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string", "type", "dyn"];
/// What it may write between its parts.
const OPERATORS: [&str; 18] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
];
/// The whole object, and the parts of it that can be named without it.
const VARIABLES: [&str; 4] = ["object", "metadata", "spec", "status"];

/// The standard functions: the same for all expressions.
static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// An expression that can be evaluated.
#[derive(Debug)]
pub struct Expression {
    parsed: IdedExpr,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with the place within it where that is known.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("it has {} bytes, and at most {MAX_BYTES} are read", text.len()));
        }
        let parser = PrattParser::new().max_recursion_depth(MAX_DEPTH).max_expression_node_count(MAX_PARTS);
        let parsed = parser.parse(text).map_err(|errors| match errors.errors.first() {
            Some(error) => format!("{} (line {}, column {})", shortened(&error.msg), error.pos.0, error.pos.1),
            None => "it can't be read".into(),
        })?;
        checked(&parsed, &mut Vec::new(), 0)?;
        Ok(Expression { parsed })
    }

    /// Whether it holds.
    ///
    /// # Errors
    ///
    /// Why it can't be told: a field is missing, the answer is no truth value, or it could cost too much on this object.
    pub fn holds(&self, subject: &Subject<'_>) -> Result<bool, String> {
        cost::affordable(&self.parsed, subject.object)?;
        let mut context = Context::with_env(STANDARD.clone());
        let named = self.parsed.references();
        for name in VARIABLES.into_iter().filter(|name| named.has_variable(name)) {
            let value = match (name, &subject.value) {
                ("object", value) => Some(value),
                (name, cel::Value::Map(members)) => members.get(&Key::from(name)),
                _ => None,
            };
            if let Some(value) = value {
                context.add_variable_from_value(name, value.clone());
            }
        }
        match cel::Value::resolve(&self.parsed, &context) {
            Ok(cel::Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("it is {}, neither true nor false", other.type_of())),
            Err(error) => Err(words(&error)),
        }
    }
}

/// An object in the form that expressions read.
pub struct Subject<'a> {
    object: &'a Value,
    value: cel::Value,
}

impl<'a> Subject<'a> {
    /// An object.
    ///
    /// # Errors
    ///
    /// It is too large.
    pub fn of(object: &'a Value) -> Result<Self, String> {
        match cost::weight(object) {
            weight if weight > MAX_OBJECT => Err("the object is too large to be looked at by an expression".into()),
            _ => Ok(Subject { object, value: value(object) }),
        }
    }
}

fn value(json: &Value) -> cel::Value {
    match json {
        Value::Null => cel::Value::Null,
        Value::Bool(truth) => cel::Value::Bool(*truth),
        // Whole numbers are ints wherever they fit, so that they can be calculated with each other.
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => cel::Value::Int(number),
            (None, Some(number)) => cel::Value::UInt(number),
            (None, None) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(value).collect())),
        Value::Object(members) => {
            let members: HashMap<Key, cel::Value> =
                members.iter().map(|(name, member)| (Key::from(name.as_str()), value(member))).collect();
            cel::Value::Map(cel::objects::Map { map: Arc::new(members) })
        }
    }
}

/// Whether an expression names only what there is. `names` are those of the comprehensions around it.
fn checked<'a>(expr: &'a IdedExpr, names: &mut Vec<&'a str>, loops: u32) -> Result<(), String> {
    match &expr.expr {
        Expr::Unspecified => Err("it is not complete".into()),
        Expr::Literal(_) => Ok(()),
        Expr::Ident(name) if VARIABLES.contains(&name.as_str()) || names.contains(&name.as_str()) => Ok(()),
        Expr::Ident(name) => Err(format!("there is nothing called `{}`: the object is `object`", shortened(name))),
        Expr::Select(select) => checked(&select.operand, names, loops),
        Expr::List(list) if list.optional_indices.is_empty() => {
            list.elements.iter().try_for_each(|element| checked(element, names, loops))
        }
        Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) if !entry.optional => {
                checked(&entry.key, names, loops)?;
                checked(&entry.value, names, loops)
            }
            _ => Err("optional entries are not known here".into()),
        }),
        Expr::List(_) | Expr::Struct(_) => Err("only lists and maps can be written here".into()),
        Expr::Call(call) => {
            let name = call.func_name.as_str();
            // What macros are made of begins with an `@`, which nobody can write.
            if !FUNCTIONS.contains(&name) && !OPERATORS.contains(&name) && !name.starts_with('@') {
                return Err(format!("there is no function `{}`", shortened(name)));
            }
            call.target.iter().map(AsRef::as_ref).chain(&call.args).try_for_each(|part| checked(part, names, loops))
        }
        Expr::Comprehension(found) => {
            if loops >= MAX_LOOPS {
                return Err(format!("more than {MAX_LOOPS} of `exists`, `map` and the like stand within each other"));
            }
            checked(&found.iter_range, names, loops)?;
            checked(&found.accu_init, names, loops)?;
            let before = names.len();
            names.extend([found.iter_var.as_str(), found.accu_var.as_str()]);
            names.extend(found.iter_var2.as_deref());
            for part in [&found.loop_cond, &found.loop_step, &found.result] {
                checked(part, names, loops + 1)?;
            }
            names.truncate(before);
            Ok(())
        }
    }
}

/// What went wrong, without values of the object.
fn words(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("there is no field `{}`", shortened(key)),
        ExecutionError::UndeclaredReference(name) => format!("there is no field `{}`", shortened(name)),
        ExecutionError::NoSuchOverload(overload) => {
            let types = overload.argument_types().join(", ");
            format!("`{}` can't be done with {types}", shortened(overload.function()))
        }
        ExecutionError::UnexpectedType { got, want } => {
            format!("there is {} where {} is wanted", shortened(got), shortened(want))
        }
        ExecutionError::IndexOutOfBounds(_) => "a list has fewer items than that".into(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "a number is divided by zero".into(),
        ExecutionError::Overflow(..) => "a number is too large".into(),
        _ => "it can't be evaluated on this object".into(),
    }
}

fn shortened(text: &str) -> String {
    let mut line: String = text.chars().take(MAX_WORDS).collect();
    if line.len() < text.len() {
        line.push_str("...");
    }
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn ask(text: &str, object: &Value) -> Result<bool, String> {
        Expression::read(text)?.holds(&Subject::of(object)?)
    }

    fn certificate() -> Value {
        json!({
            "metadata": { "name": "web", "generation": 3, "annotations": { "a.b/c": "d" } },
            "spec": { "replicas": 3, "weight": 0.5 },
            "status": { "phase": "Ready", "ready": 2, "conditions": [
                { "type": "Issuing", "status": "False" }, { "type": "Ready", "status": "True", "observedGeneration": 3 },
            ] },
        })
    }

    #[test]
    fn what_people_write_for_other_tools_holds_here_too() {
        for text in [
            "object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')",
            "status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')",
            "has(object.status.phase) && object.status.phase in ['Ready', 'Running']",
            "object.status.conditions.exists_one(c, c.status == 'True')",
            "object.status.conditions.map(c, c.type).exists(t, t == 'Issuing')",
            "!has(object.status.failure)",
            "object.spec.replicas - object.status.ready == 1",
            "object.spec.replicas > 2 ? object.status.ready > 1 : object.status.ready == 1",
            "size(object.status.conditions) == 2 && object.status.phase.startsWith('Re')",
            "object.status.phase.matches('^(Ready|Running)$')",
            "object.metadata.annotations['a.b/c'] == 'd'",
            "object.status.conditions[1].observedGeneration == object.metadata.generation",
            "int(string(object.spec.replicas)) == 3 && object.spec.weight < 1.0",
            "object.status.conditions.exists(c, c.observedGeneration == 3)",
        ] {
            assert_eq!(ask(text, &certificate()), Ok(true), "{text}");
        }
        assert_eq!(ask("object.status.phase == 'Failed'", &certificate()), Ok(false));
    }

    #[test]
    fn what_can_not_be_told_is_an_error_in_words() {
        for (text, word) in [
            ("object.status.missing == 1", "`missing`"),
            ("object.status.phase", "string"),
            ("object.status.phase > 3", "can't be done"),
            ("object.status.conditions[7].type == 'a'", "fewer items"),
            ("1 / (object.status.ready - 2) == 1", "zero"),
        ] {
            let error = ask(text, &certificate()).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(ask("status.phase == 'a'", &json!({})).unwrap_err().contains("`status`"));
    }

    #[test]
    fn what_is_no_expression_is_refused_when_it_is_read() {
        for (text, word) in [
            ("object.status.", "line 1"),
            ("obj.status", "`obj`"),
            ("now() > 1", "`now`"),
            ("object.spec.list.sum() > 1", "`sum`"),
            ("", "line"),
            ("Foo{a: 1} == 1", "lists and maps"),
        ] {
            let error = Expression::read(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        let long = format!("object.a == '{}'", "x".repeat(MAX_BYTES));
        assert!(Expression::read(&long).unwrap_err().contains("bytes"));
        let nested = "object.a.all(a, object.a.all(b, object.a.all(c, object.a.all(d, true))))";
        assert!(Expression::read(nested).unwrap_err().contains("within each other"));
    }

    #[test]
    fn depth_is_bounded_by_the_reader() {
        for (open, close) in [("(", ")"), ("[", "]"), ("!", ""), ("-", ""), ("object.a(", ")"), ("{1:", "}")] {
            let text = format!("{}1{}", open.repeat(180), close.repeat(180));
            let _ = Expression::read(&text);
        }
        for chain in ["object.a", "1"] {
            for between in [".b", "+1", "&&true", "?1:2", "[0]", "==1"] {
                let text = format!("{chain}{}", between.repeat(250));
                if let Ok(expression) = Expression::read(&text) {
                    let _ = Subject::of(&json!({})).map(|subject| expression.holds(&subject));
                }
            }
        }
    }

    #[test]
    fn a_loop_over_a_large_list_is_not_begun() {
        let items: Vec<Value> =
            (0..3_000).map(|index| json!({ "name": format!("n{index}"), "index": index })).collect();
        let object = json!({ "spec": { "items": items } });
        assert_eq!(ask("object.spec.items.exists(i, i.index == 2999)", &object), Ok(true));
        for text in [
            "object.spec.items.all(a, object.spec.items.all(b, object.spec.items.all(c, a.name != b.name + c.name)))",
            "object.spec.items.map(a, object.spec.items.map(b, [a, b])).size() > 0",
            "[object.spec.items].map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + \
             a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).size() > 0",
        ] {
            let error = ask(text, &object).unwrap_err();
            assert!(error.contains("too much"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
            if let Ok(expression) = Expression::read(&text) {
                let object = certificate();
                let _ = expression.holds(&Subject::of(&object).unwrap());
            }
        }

        #[test]
        fn any_parts_are_read_or_refused(parts in prop::collection::vec(prop::sample::select(vec![
            "object", ".status", ".conditions", "[0]", "[", "]", "(", ")", ".exists(c, ", ".map(x, ", "==", "&&", "!", "-", "1", "1.5",
            "'a'", "\"b\"", "has(", "?", ":", "+", "{", "}", ",", "in ", "null", "true", "size(", ".matches(", "r'\\d+'", "*", "/", "0",
        ]), 0..24)) {
            let text: String = parts.concat();
            if let Ok(expression) = Expression::read(&text) {
                let object = certificate();
                let _ = expression.holds(&Subject::of(&object).unwrap());
            }
        }
    }
}
