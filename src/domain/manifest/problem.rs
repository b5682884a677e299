//! What is wrong with a document: where, why, and what to do about it.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use super::source::Location;

/// The layer of validation that found a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Layer {
    /// The document itself: its syntax, its fields, their types and ranges.
    Schema,
    /// What would leave the tree, run what was not named, or mislead a reader.
    Security,
    /// What the target cannot do.
    Compatibility,
    /// What refers to other documents.
    Dependency,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Layer::Schema => "schema",
            Layer::Security => "security",
            Layer::Compatibility => "compatibility",
            Layer::Dependency => "dependency",
        })
    }
}

/// One problem. Its order is by file, line and column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The file, from the root of the repository.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1 in characters.
    pub column: u32,
    /// The layer that found it.
    pub layer: Layer,
    /// What is wrong.
    pub message: String,
    /// The offending lines with their numbers, and a mark under the first one.
    pub snippet: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    /// A problem at a place.
    pub fn new(layer: Layer, at: &Location, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Problem {
            file: at.file.path.clone(),
            line: at.line,
            column: at.column,
            layer,
            message: shortened(message.into()),
            snippet: snippet(at),
            remedy: remedy.into(),
        }
    }
}

impl Problem {
    /// Tells it of another file whose line this is.
    pub fn move_to(&mut self, file: &str, line: u32) {
        let numbered = |row: &str| {
            let (number, text) = row.split_once(" | ")?;
            let moved = match number.trim() {
                "" => String::new(),
                number => (number.parse::<u32>().ok()?.checked_sub(self.line)? + line).to_string(),
            };
            Some((moved, text.to_owned()))
        };
        let rows: Vec<(String, String)> = self.snippet.lines().filter_map(numbered).collect();
        let digits = rows.iter().map(|(number, _)| number.len()).max().unwrap_or_default();
        self.snippet = rows.iter().map(|(number, text)| format!("  {number:>digits$} | {text}\n")).collect();
        (self.file, self.line) = (file.to_owned(), line);
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.layer, visible(&self.message))?;
        writeln!(f, "  --> {}:{}:{}", visible(&self.file), self.line, self.column)?;
        f.write_str(&self.snippet)?;
        write!(f, "  help: {}", visible(&self.remedy))
    }
}

impl std::error::Error for Problem {}

/// The most problems that are told of one document, one unit.
const MAX_PROBLEMS: usize = 50;

/// Problems as they are found. A document that is wrong from end to end is not told from end to end.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    found: Vec<Problem>,
}

impl Problems {
    /// Adds a problem, unless there are too many.
    pub fn push(&mut self, layer: Layer, at: &Location, message: impl Into<String>, remedy: impl Into<String>) {
        if self.found.len() < MAX_PROBLEMS {
            self.found.push(Problem::new(layer, at, message, remedy));
        } else if self.found.len() == MAX_PROBLEMS {
            let remedy = "mend those that are told, then look again";
            self.found.push(Problem::new(layer, at, "there are more problems from here on than are told", remedy));
        }
    }

    /// Adds problems found elsewhere.
    pub fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        self.found.extend(problems);
    }

    /// Those that were found after so many.
    pub fn from(&mut self, after: usize) -> &mut [Problem] {
        self.found.get_mut(after..).unwrap_or_default()
    }

    /// How many were found.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them.
    pub fn into_vec(self) -> Vec<Problem> {
        self.found
    }
}

/// The longest message, in characters: it may repeat what stands in the file.
const LONGEST: usize = 1_000;

fn shortened(mut message: String) -> String {
    if let Some((at, _)) = message.char_indices().nth(LONGEST) {
        message.truncate(at);
        message.push_str(" ... (cut)");
    }
    message
}

/// The longest line of a snippet, in characters.
const WIDTH: usize = 120;

/// Up to three lines of the file with a mark under the first.
fn snippet(at: &Location) -> String {
    let mut out = String::new();
    if at.file.text.is_empty() {
        // What concerns a file as a whole has no line to show.
        return out;
    }
    let first = at.line;
    let last = at.end_line.clamp(first, first.saturating_add(2));
    let digits = last.to_string().len();
    for number in first..=last {
        let Some(line) = at.file.line(number) else { break };
        if number > first && line.trim().is_empty() {
            continue;
        }
        let (shown, mark) = if number == first { marked(line, at) } else { (clip(line), None) };
        let _ = writeln!(out, "  {number:>digits$} | {shown}");
        if let Some(mark) = mark {
            let _ = writeln!(out, "  {:>digits$} | {mark}", "");
        }
    }
    out
}

fn clip(line: &str) -> String {
    visible(&line.chars().take(WIDTH).collect::<String>())
}

/// The line and the mark under the located part, both with what cannot be seen written out.
fn marked(line: &str, at: &Location) -> (String, Option<String>) {
    let start = usize::try_from(at.column).unwrap_or(usize::MAX).saturating_sub(1);
    let total = line.chars().count();
    let end =
        if at.end_line > at.line { total } else { usize::try_from(at.end_column).unwrap_or(total).saturating_sub(1) };
    // A line that is too long is cut at its beginning, so that the located part is always seen.
    let skip = if start > WIDTH { start - WIDTH / 2 } else { 0 };
    let shown: Vec<char> = line.chars().skip(skip).take(WIDTH).collect();
    let before: String = shown.iter().take(start.saturating_sub(skip)).collect();
    let within: String = shown.iter().skip(start - skip).take(end.max(start + 1) - start).collect();
    let pad = visible(&before).chars().count();
    let width = visible(&within).trim_end().chars().count().max(1);
    let text: String = shown.into_iter().collect();
    (visible(&text), Some(format!("{}{}", " ".repeat(pad), "^".repeat(width))))
}

/// Whether a character has no shape of its own or changes how others are shown: control characters (line breaks and tabs
/// included), directions of writing, zero widths.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a character changes the direction of writing, so that a text reads as something else than it is.
pub fn is_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text with hidden characters written out, safe for a terminal. Line breaks stay only as `\n`.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push(' '),
            c if is_hidden(c) => {
                let _ = write!(out, "{}", c.escape_default());
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::source::SourceFile;
    use super::*;

    #[test]
    fn a_problem_is_told_of_the_file_that_it_came_from() {
        let file = Arc::new(SourceFile::new("out", "a\nb\nc\nd\ne\nf\ng\nh\ni\nbad: x\nmore\n"));
        let at = Location { file, line: 10, column: 1, end_line: 11, end_column: 5 };
        let mut problem = Problem::new(Layer::Schema, &at, "m", "r");
        assert_eq!(problem.snippet, "  10 | bad: x\n     | ^^^^^^\n  11 | more\n");
        problem.move_to("templates/a.yaml", 2);
        assert_eq!((problem.file.as_str(), problem.line), ("templates/a.yaml", 2));
        assert_eq!(problem.snippet, "  2 | bad: x\n    | ^^^^^^\n  3 | more\n");
    }

    #[test]
    fn what_concerns_a_file_as_a_whole_has_no_frame() {
        let at = Location::start_of(Arc::new(SourceFile::new("a.yaml", "")));
        assert_eq!(Problem::new(Layer::Schema, &at, "m", "r").to_string(), "schema: m\n  --> a.yaml:1:1\n  help: r");
    }

    #[test]
    fn what_repeats_a_long_text_is_cut() {
        let at = Location::start_of(Arc::new(SourceFile::new("a.yaml", "x")));
        let told = |length: usize| Problem::new(Layer::Schema, &at, "ü".repeat(length), "").message;
        assert_eq!(told(LONGEST), "ü".repeat(LONGEST));
        assert_eq!(told(100_000), format!("{} ... (cut)", "ü".repeat(LONGEST)));
    }
}
