//! Where something stands in a file of the repository.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A file's path in the repository and its text, shared by everything that was read from it.
#[derive(PartialEq, Eq)]
pub struct SourceFile {
    /// The path from the root of the repository, parts joined by `/`.
    pub path: String,
    /// The whole text.
    pub text: String,
    /// Where each line begins, in bytes.
    starts: Vec<usize>,
}

impl SourceFile {
    /// A file with its text.
    pub fn new(path: &str, text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(index, _)| index + 1);
        let starts = std::iter::once(0).chain(ends).collect();
        SourceFile { path: path.to_owned(), text: text.to_owned(), starts }
    }

    /// The folder that holds the file, without a slash at its end; empty for the root.
    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The line with a number counted from 1, without its line end.
    pub fn line(&self, number: u32) -> Option<&str> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let start = *self.starts.get(index)?;
        let end = self.starts.get(index + 1).copied().unwrap_or(self.text.len());
        self.text.get(start..end).map(|line| line.trim_end_matches(['\n', '\r']))
    }

    /// Where a line and a column (from 1, in characters) are in the text, in bytes.
    pub fn offset(&self, line: u32, column: u32) -> Option<usize> {
        let start = *self.starts.get(usize::try_from(line).ok()?.checked_sub(1)?)?;
        let skip = usize::try_from(column).ok()?.checked_sub(1)?;
        let rest = self.text.get(start..)?;
        rest.char_indices().map(|(at, _)| at).chain([rest.len()]).nth(skip).map(|at| start + at)
    }
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

/// A stretch of a file. Lines and columns are counted from 1, columns in characters.
#[derive(Clone, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The first line.
    pub line: u32,
    /// The first column.
    pub column: u32,
    /// The last line.
    pub end_line: u32,
    /// The column after the last character.
    pub end_column: u32,
}

impl Location {
    /// The very beginning of a file, for what concerns all of it.
    pub fn start_of(file: Arc<SourceFile>) -> Self {
        Location { file, line: 1, column: 1, end_line: 1, end_column: 1 }
    }

    /// `path:line:column`, as editors and terminals follow it.
    pub fn short(&self) -> String {
        format!("{}:{}:{}", self.file.path, self.line, self.column)
    }

    fn key(&self) -> (&str, u32, u32) {
        (&self.file.path, self.line, self.column)
    }
}

impl PartialOrd for Location {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Location {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key()
            .cmp(&other.key())
            .then_with(|| (self.end_line, self.end_column).cmp(&(other.end_line, other.end_column)))
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}
