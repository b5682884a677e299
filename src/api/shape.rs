//! Whether a body has the shape that it is read as. Readers of JSON take a list where an object is meant, its items as the fields in
//! their order; a client that sends one means something else.

use serde::Serialize;
use serde_json::Value;

/// Where `given` has a list and what was read from it is written as an object: the place as a JSON pointer.
pub fn list_for_object(given: &Value, read: &impl Serialize) -> Option<String> {
    let meant = serde_json::to_value(read).ok()?;
    let mut path = String::new();
    differs(given, &meant, &mut path).then_some(path)
}

/// Leaves the place in `path`.
fn differs(given: &Value, meant: &Value, path: &mut String) -> bool {
    let below = |path: &mut String, part: &str, given: &Value, meant: &Value| {
        let length = path.len();
        path.push('/');
        path.push_str(&part.replace('~', "~0").replace('/', "~1"));
        let found = differs(given, meant, path);
        if !found {
            path.truncate(length);
        }
        found
    };
    match (given, meant) {
        (Value::Array(_), Value::Object(_)) => true,
        (Value::Object(given), Value::Object(meant)) => given
            .iter()
            .filter_map(|(name, value)| Some((name, value, meant.get(name)?)))
            .any(|(name, value, meant)| below(path, name, value, meant)),
        (Value::Array(given), Value::Array(meant)) => {
            let mut pairs = given.iter().zip(meant).enumerate();
            pairs.any(|(index, (given, meant))| below(path, &index.to_string(), given, meant))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Deserialize, Serialize)]
    struct Inner {
        name: String,
        size: u32,
    }

    #[derive(Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        one: Inner,
        #[serde(rename = "a/b")]
        all: Vec<Inner>,
        pair: (u32, u32),
    }

    #[test]
    fn a_list_is_found_where_an_object_is_meant_and_nowhere_else() {
        let inner = json!({ "name": "x", "size": 1 });
        for (given, place) in [
            (json!({ "one": inner, "a/b": [inner], "pair": [1, 2] }), None),
            (json!({ "one": ["x", 1], "a/b": [inner], "pair": [1, 2] }), Some("/one")),
            (json!({ "one": inner, "a/b": [inner, ["x", 1]], "pair": [1, 2] }), Some("/a~1b/1")),
            (json!([["x", 1], [["x", 1]], [1, 2]]), Some("")),
        ] {
            let read: Outer = serde_json::from_value(given.clone()).unwrap();
            assert_eq!(list_for_object(&given, &read).as_deref(), place, "{given}");
        }
    }
}
