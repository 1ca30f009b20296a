//! The published figures that do not depend on the machine, compared with measured ones.

use std::fmt;

/// One cell of a published table, and what was measured for it.
pub struct Figure {
    /// The beginning of the row, with ` | ` between two cells.
    pub row: String,
    /// The heading of the column.
    pub column: &'static str,
    /// The text that the cell must have.
    pub measured: String,
}

/// A figure that is not published.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    row: String,
    column: &'static str,
    /// `None` where no table has such a row and column.
    published: Option<String>,
    measured: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (row, column) = (&self.row, self.column);
        write!(f, "row \"{row}\", column \"{column}\": ")?;
        match &self.published {
            Some(published) => write!(f, "published \"{published}\"")?,
            None => write!(f, "not published")?,
        }
        write!(f, ", measured \"{}\"", self.measured)
    }
}

/// Finds the figures that differ from the tables of a Markdown text.
pub fn differences(markdown: &str, figures: &[Figure]) -> Vec<Difference> {
    let tables = tables(markdown);
    let mut found = Vec::new();
    for figure in figures {
        let cells: Vec<&str> = tables
            .iter()
            .flat_map(|table| table.cells(&figure.row, figure.column))
            .collect();
        let difference = |published: Option<&str>| Difference {
            row: figure.row.clone(),
            column: figure.column,
            published: published.map(str::to_owned),
            measured: figure.measured.clone(),
        };
        if cells.is_empty() {
            found.push(difference(None));
        }
        let wrong = cells.iter().filter(|cell| **cell != figure.measured);
        found.extend(wrong.map(|cell| difference(Some(cell))));
    }
    found
}

/// A table, row by row. The first row has the headings, the second one only lines.
struct Table<'a>(Vec<Vec<&'a str>>);

impl<'a> Table<'a> {
    /// The cells of a column in the rows that begin like this.
    fn cells(&self, row: &str, column: &str) -> impl Iterator<Item = &'a str> {
        let index = self.0[0].iter().position(|heading| *heading == column);
        let rows = self.0.iter().skip(2);
        rows.filter(move |cells| cells.join(" | ").starts_with(row))
            .filter_map(move |cells| cells.get(index?).copied())
    }
}

fn tables(markdown: &str) -> Vec<Table<'_>> {
    let lines: Vec<&str> = markdown.lines().collect();
    let groups = lines.split(|line| !line.starts_with('|'));
    groups
        .filter(|rows| !rows.is_empty())
        .map(|rows| Table(rows.iter().map(|row| cells(row)).collect()))
        .collect()
}

fn cells(row: &str) -> Vec<&str> {
    let row = row.trim().trim_start_matches('|');
    let row = row.strip_suffix('|').unwrap_or(row);
    row.split('|').map(str::trim).collect()
}
