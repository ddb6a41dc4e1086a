//! A table of two columns, with what is aimed at beside them.

use std::fmt::{Display, Write as _};

/// Text under construction.
pub(crate) struct Table(String);

impl Table {
    /// A table with this title over columns of these names.
    pub(crate) fn new(title: &str, columns: [&str; 2]) -> Self {
        let mut table = Self(format!("\n{title}\n"));
        table.row("", columns, "aim");
        table
    }

    /// A blank line, and what the rows below are about.
    pub(crate) fn head(&mut self, about: &str) {
        let _ = writeln!(self.0, "\n{about}");
    }

    pub(crate) fn row(&mut self, name: &str, figures: [impl Display; 2], note: &str) {
        let [left, right] = figures.map(|figure| figure.to_string());
        let row = format!("{name:<46} {left:>12} {right:>12}   {note}");
        let _ = writeln!(self.0, "{}", row.trim_end());
    }

    /// A row that passes or does not.
    pub(crate) fn judged(
        &mut self,
        name: &str,
        figures: [impl Display; 2],
        aim: &str,
        passes: bool,
    ) {
        let mark = if passes { "✓" } else { "✗" };
        self.row(name, figures, &format!("{mark} {aim}"));
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The figure in the middle; of two, the higher one.
pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
