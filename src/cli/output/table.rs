//! Tables for people: columns without borders, as wide as the terminal lets them be.

use comfy_table::{Attribute, Cell as Drawn, ContentArrangement, Table as Drawing, presets};

use super::View;
use super::style::Tone;

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell that means something.
    pub fn toned(tone: Tone, text: impl Into<String>) -> Self {
        Cell { text: text.into(), tone }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::toned(Tone::Plain, text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::toned(Tone::Plain, text)
    }
}

/// A table that is filled row by row.
#[derive(Clone, Debug)]
pub struct Table {
    headers: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these columns.
    pub fn new(headers: &[&'static str]) -> Self {
        Table { headers: headers.to_vec(), rows: Vec::new() }
    }

    /// Adds a row. A row that is too short is filled up.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Draws it. Only on a terminal are lines folded to its width: what goes into a file or a pipe keeps a row a line.
    pub fn draw(&self, view: &View) -> String {
        let mut drawing = Drawing::new();
        drawing.load_style(presets::NOTHING);
        match view.width {
            Some(width) => {
                drawing.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
            }
            None => {
                drawing.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        if view.colour {
            drawing.enforce_styling();
        } else {
            drawing.force_no_tty();
        }
        drawing.set_header(self.headers.iter().map(|header| Drawn::new(header).add_attribute(Attribute::Dim)));
        for row in &self.rows {
            drawing.add_row(row.iter().map(|cell| {
                let drawn = Drawn::new(view.clean(&cell.text));
                match cell.tone.colour() {
                    Some(colour) => drawn.fg(colour),
                    None => drawn,
                }
            }));
        }
        for column in drawing.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut text = String::new();
        for line in drawing.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}
