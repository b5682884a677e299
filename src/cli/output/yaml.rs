//! JSON values as YAML in block style.

use serde_json::Value;

use crate::domain::manifest::problem::is_hidden;

/// One document, with a line break at its end.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(value, 0, &mut out),
        Value::Array(list) if !list.is_empty() => block(value, 0, &mut out),
        _ => {
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
    out
}

/// The lines of a map or list that holds something.
fn block(value: &Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                out.push_str(&format!("{pad}{}:", plain(key)));
                entry(value, indent + 2, out);
            }
        }
        Value::Array(list) => {
            for value in list {
                if is_empty(value) {
                    out.push_str(&format!("{pad}- {}\n", scalar(value)));
                    continue;
                }
                // The first line of what is in the list stands behind its dash.
                let mut inner = String::new();
                block(value, indent + 2, &mut inner);
                out.push_str(&format!("{pad}- {}", inner.trim_start_matches(' ')));
            }
        }
        _ => {}
    }
}

fn entry(value: &Value, indent: usize, out: &mut String) {
    if let Some((mark, lines)) = value.as_str().and_then(literal) {
        out.push_str(&format!(" {mark}\n"));
        for line in lines {
            out.push_str(&if line.is_empty() { "\n".to_owned() } else { format!("{:indent$}{line}\n", "") });
        }
    } else if is_empty(value) {
        out.push_str(&format!(" {}\n", scalar(value)));
    } else {
        out.push('\n');
        block(value, indent, out);
    }
}

/// A text of several lines, to be written as they are: its mark and lines. None where nothing else than quotes says it exactly.
fn literal(text: &str) -> Option<(&'static str, std::str::Lines<'_>)> {
    let (mark, body) = text.strip_suffix('\n').map_or(("|-", text), |body| ("|", body));
    let plain = |c: char| c == '\n' || c == '\t' || (!c.is_control() && !is_hidden(c));
    let fits = body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with(['\n', ' ', '\t'])
        && body.chars().all(plain)
        && body.lines().all(|line| !line.ends_with([' ', '\t']));
    fits.then(|| (mark, body.lines()))
}

/// Whether a value fits behind its key: a scalar, or a collection of nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => true,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        // Also what is empty, which looks the same in both.
        other => other.to_string(),
    }
}

/// A text as it is where nothing else can be read from it, otherwise in double quotes, which escape as JSON's do.
fn plain(text: &str) -> String {
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let harmless = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./@+".contains(&byte));
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if first && harmless && !words.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_everything() {
        let value = serde_json::json!({
            "name": "hello", "no": [], "version": "1.10", "count": 3, "text": "a: b\n", "map": {"on": true, "none": null},
            "list": [{"a": 1, "b": ["x", ["y"]]}, "no", {}],
        });
        let expected = "count: 3\nlist:\n  - a: 1\n    b:\n      - x\n      - - \"y\"\n  - \"no\"\n  - {}\n\
                        map:\n  none: null\n  \"on\": true\nname: hello\n\"no\": []\ntext: \"a: b\\n\"\nversion: \"1.10\"\n";
        let mut told: Vec<&str> = expected.lines().collect();
        let text = text(&value);
        let mut lines: Vec<&str> = text.lines().collect();
        told.sort_unstable();
        lines.sort_unstable();
        assert_eq!(lines, told, "{text}");
        assert_eq!(super::text(&Value::Array(Vec::new())), "[]\n");
        let lines =
            serde_json::json!({"script": "set -e\n\n\techo\n", "cut": "a\nb", "odd": " a\nb", "end": "a\nb\n\n"});
        let expected = "cut: |-\n  a\n  b\nend: \"a\\nb\\n\\n\"\nodd: \" a\\nb\"\nscript: |\n  set -e\n\n  \techo\n";
        assert_eq!(super::text(&lines), expected);
    }
}
