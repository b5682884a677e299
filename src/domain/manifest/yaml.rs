//! From the text of a file to its documents' trees, within limits.

use std::sync::Arc;

use granit_parser::{Event, Marker, Parser, ScanError, Span, options};

use super::build::Builder;
use super::node::Node;
use super::problem::{Layer, Problem};
use super::source::{Location, SourceFile};

/// What a file may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Documents.
    pub documents: usize,
    /// Levels of lists and mappings.
    pub depth: usize,
    /// Parts (texts, lists, mappings), those behind aliases counted each time.
    pub nodes: usize,
    /// Of a key that is given again the last one counts; otherwise that is an error.
    pub last_of_keys: bool,
}

/// What a file of documents may hold.
const OURS: Limits = Limits { documents: 2_000, depth: 64, nodes: 50_000, last_of_keys: false };

/// One document of a file.
pub struct RawDocument {
    /// Its tree; `None` where its syntax is wrong.
    pub root: Option<Node>,
    /// All of its lines.
    pub at: Location,
    /// What is wrong with it as YAML.
    pub problems: Vec<Problem>,
}

/// Reads all documents of a file. A syntax error ends its document only; a limit ends the file, with one document without
/// a tree for the rest of it.
pub fn read(file: &Arc<SourceFile>) -> Vec<RawDocument> {
    read_within(file, OURS)
}

/// [`read`] within other limits.
pub fn read_within(file: &Arc<SourceFile>, limits: Limits) -> Vec<RawDocument> {
    let options = options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        flow_nesting_limit: limits.depth,
        block_nesting_limit: limits.depth,
    };
    let mut parser = Parser::new_from_str_with_options(&file.text, options);
    let mut builder = Builder::new(file, limits);
    let mut documents = Vec::new();
    let mut first = 1;
    while let Some(next) = parser.next_event() {
        match next {
            Ok((Event::StreamEnd, _)) => break,
            Ok((Event::DocumentStart(..), span)) => first = line(&span.start),
            Ok((Event::DocumentEnd, span)) => {
                let (root, problems) = builder.finish();
                let at = Location { line: first, column: 1, ..locate(file, &Span::empty(span.end)) };
                first = at.end_line;
                documents.push(RawDocument { root, at, problems });
            }
            Ok((event, span)) => {
                if let Err(message) = builder.take(event, &span) {
                    documents.push(limit(&locate(file, &span), &message));
                    break;
                }
            }
            Err(error) => {
                let (_, problems) = builder.finish();
                documents.push(broken(file, first, &error, problems));
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
        if documents.len() > limits.documents {
            let end = Location { line: first, ..Location::start_of(file.clone()) };
            documents.push(limit(&end, &format!("a file holds at most {} documents", limits.documents)));
            break;
        }
    }
    documents
}

fn line(marker: &Marker) -> u32 {
    u32::try_from(marker.line()).unwrap_or(u32::MAX).max(1)
}

fn column(marker: &Marker) -> u32 {
    u32::try_from(marker.col()).map_or(u32::MAX, |column| column.saturating_add(1))
}

/// The parser's position as a place in the file.
pub fn locate(file: &Arc<SourceFile>, span: &Span) -> Location {
    Location {
        file: file.clone(),
        line: line(&span.start),
        column: column(&span.start),
        end_line: line(&span.end),
        end_column: column(&span.end),
    }
}

/// A document that ended in a syntax error: it reaches to the next line that begins with `---`.
fn broken(file: &Arc<SourceFile>, first: u32, error: &ScanError, mut problems: Vec<Problem>) -> RawDocument {
    let at = locate(file, &Span::empty(*error.marker()));
    let skip = usize::try_from(at.line).unwrap_or(usize::MAX);
    let rest = file.text.lines().skip(skip).take_while(|text| !text.starts_with("---")).count();
    let last = at.line.saturating_add(u32::try_from(rest).unwrap_or(u32::MAX));
    problems.push(Problem::new(
        Layer::Schema,
        &at,
        format!("this is not YAML: {}", error.info()),
        "look here and in the lines before for a bracket or quote that is not closed, or an indentation that is off; a text \
         that holds `: ` or ` #`, or begins with one of { [ * & ! % @ `, needs quotes",
    ));
    let whole = Location { line: first.min(at.line), column: 1, end_line: last, end_column: 1, ..at };
    RawDocument { root: None, at: whole, problems }
}

/// The rest of a file after a limit was passed.
fn limit(at: &Location, message: &str) -> RawDocument {
    let remedy = "a configuration of this size is rarely meant: write it smaller, or in several files";
    let problems = vec![Problem::new(Layer::Security, at, message, remedy)];
    RawDocument { root: None, at: Location { line: 1, column: 1, end_line: u32::MAX, ..at.clone() }, problems }
}
