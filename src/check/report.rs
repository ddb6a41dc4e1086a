//! The findings, for people and for machines.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Finding, Verdict};

/// Everything that was found, in the order in which it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The worst of them.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let verdicts = self.findings.iter().map(|found| found.verdict);
        verdicts.max().unwrap_or(Verdict::Ok)
    }

    fn count(&self, verdict: Verdict) -> usize {
        let found = self
            .findings
            .iter()
            .filter(|found| found.verdict == verdict);
        found.count()
    }
}

/// One line for each finding, and one for all.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    for found in &report.findings {
        let (verdict, topic) = (found.verdict.as_str(), found.topic.as_str());
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{verdict:<7}  {topic:<11}  {}", found.text);
    }
    let (failures, warnings) = (
        report.count(Verdict::Failure),
        report.count(Verdict::Warning),
    );
    let _ = writeln!(
        out,
        "{}, {}",
        counted(failures, "failure"),
        counted(warnings, "warning")
    );
    out
}

/// So many things, in words.
pub(super) fn counted(n: usize, thing: &str) -> String {
    match n {
        0 => format!("no {thing}"),
        1 => format!("1 {thing}"),
        n => format!("{n} {thing}s"),
    }
}

/// One object: `result`, and `findings` with `topic`, `result` and `text` each.
#[must_use]
pub fn json(report: &Report) -> Value {
    let findings = report.findings.iter().map(|found| {
        json!({
            "topic": found.topic.as_str(),
            "result": found.verdict.as_str(),
            "text": found.text,
        })
    });
    json!({ "result": report.verdict().as_str(), "findings": findings.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Topic;

    fn report() -> Report {
        Report {
            findings: vec![
                Topic::Cluster.ok("answers"),
                Topic::Accounts.warning("is broken; mend it"),
            ],
        }
    }

    #[test]
    fn each_finding_is_a_line_and_the_last_line_counts() {
        let lines = [
            "ok       cluster      answers",
            "warning  accounts     is broken; mend it",
            "no failure, 1 warning",
            "",
        ];
        assert_eq!(text(&report()), lines.join("\n"));
    }

    #[test]
    fn the_json_says_the_same() {
        let said = json(&report());
        assert_eq!(said["result"], "warning");
        assert_eq!(said["findings"][1]["topic"], "accounts");
        assert_eq!(said["findings"][0]["result"], "ok");
    }
}
