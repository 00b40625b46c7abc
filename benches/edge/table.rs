//! Rows of what was measured, each with its target and a verdict.

use std::fmt;

#[derive(Debug)]
pub(crate) struct Table {
    judged: bool,
    /// What stands over the three columns between the title and the target.
    columns: [&'static str; 3],
    rows: Vec<Row>,
    notes: Vec<String>,
}

/// One line; an empty cell is nothing to be said.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) title: String,
    pub(crate) ours: String,
    pub(crate) theirs: String,
    pub(crate) ratio: String,
    pub(crate) target: String,
    /// Whether the target was reached; `None` where there is none.
    pub(crate) passed: Option<bool>,
}

impl Table {
    pub(crate) fn new(judged: bool, columns: [&'static str; 3]) -> Self {
        Self { judged, columns, rows: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Adds a line to what stands below the table.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Whether every target was reached; true where none was to be judged.
    pub(crate) fn passed(&self) -> bool {
        !self.judged || self.rows.iter().all(|row| row.passed != Some(false))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, cells: [&str; 6]| {
            let [title, ours, theirs, ratio, target, verdict] = cells;
            writeln!(f, "{title:<36} {ours:>17} {theirs:>17}   {ratio:<20} {target:<11} {verdict}")
        };
        let [ours, theirs, ratio] = self.columns;
        line(f, ["", ours, theirs, ratio, "target", ""])?;
        for row in &self.rows {
            let verdict = match (row.passed, self.judged) {
                (None, _) => "",
                (_, false) => "not judged",
                (Some(true), true) => "pass",
                (Some(false), true) => "FAIL",
            };
            line(f, [&row.title, &row.ours, &row.theirs, &row.ratio, &row.target, verdict])?;
        }
        writeln!(f)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}
