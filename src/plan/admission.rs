//! Whether an account gives new tokens to a namespace. It decides of new ones alone: what was issued stays, and is kept,
//! repaired and revoked as if there were no selector.

use std::collections::BTreeMap;

use super::{Halt, Trouble};
use crate::api::{AccountKey, LabelOperator, LabelRequirement, NamespaceSelector, Reason};

/// The labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// Whether a PlatformToken may have a new token of its account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// The account serves its namespace.
    Granted,
    /// The namespace has not been seen yet, and is about to be.
    Unknown,
    /// The account does not serve its namespace.
    Refused(Trouble),
}

impl Admission {
    /// Judges a namespace with these labels; none if it has not been seen.
    #[must_use]
    pub fn of(
        account: &AccountKey,
        selector: Option<&NamespaceSelector>,
        namespace: &str,
        labels: Option<&Labels>,
    ) -> Self {
        let Some(selector) = selector else {
            return Self::Granted;
        };
        let Some(labels) = labels else {
            return Self::Unknown;
        };
        let unmet = unmet(selector, labels);
        if unmet.is_empty() {
            return Self::Granted;
        }
        let text = format!(
            "{account} gives no new token to namespace {namespace}: {}; have the namespace labelled so, or create a \
             PlatformToken that names another account",
            unmet.join(", and ")
        );
        Self::Refused(Trouble::stalled(Reason::NamespaceNotAdmitted, text))
    }

    /// A namespace that no watch shows is given nothing.
    pub(super) fn unseen(namespace: &str) -> Self {
        let text = format!(
            "the account selects namespaces, and the labels of namespace {namespace} are not known yet, so that it gets no \
             new token; check with `platform-token-operator check` that the operator may list and watch namespaces"
        );
        Self::Refused(Trouble::transient(Reason::NamespaceNotAdmitted, text))
    }

    /// What stands in the way of a new token.
    pub(super) fn grant(&self) -> Result<(), Halt> {
        match self {
            Self::Granted => Ok(()),
            Self::Unknown => Err(Halt::Silent),
            Self::Refused(trouble) => Err(trouble.clone().into()),
        }
    }
}

/// What a selector asks for and labels do not have, a clause each.
fn unmet(selector: &NamespaceSelector, labels: &Labels) -> Vec<String> {
    let by_label = selector.match_labels.iter().map(|(key, value)| {
        let values = std::slice::from_ref(value);
        judge(key, LabelOperator::In, values, labels)
    });
    let by_expression = selector.match_expressions.iter().map(|requirement| {
        let LabelRequirement {
            key,
            operator,
            values,
        } = requirement;
        judge(key, *operator, values, labels)
    });
    by_label.chain(by_expression).flatten().collect()
}

/// What is wrong with one label; nothing if it is as it has to be. What no schema lets pass admits nothing.
fn judge(key: &str, operator: LabelOperator, values: &[String], labels: &Labels) -> Option<String> {
    use LabelOperator::{DoesNotExist, Exists, In, NotIn};
    let there = labels.get(key);
    let is = there.map_or_else(|| "is missing".to_owned(), |value| format!("is {value:?}"));
    let has_to = match (operator, values) {
        (In | NotIn, []) | (Exists | DoesNotExist, [_, ..]) => {
            return Some(format!("what the account asks of label {key} is not clear"));
        }
        (In, [value]) => format!("has to be {value:?}"),
        (In, values) => format!("has to be one of {}", quoted(values)),
        (NotIn, _) => "must not be".to_owned(),
        (Exists, []) => "has to be there".to_owned(),
        (DoesNotExist, []) => "must not be there".to_owned(),
    };
    let holds = match operator {
        In => there.is_some_and(|value| values.contains(value)),
        NotIn => there.is_none_or(|value| !values.contains(value)),
        Exists => there.is_some(),
        DoesNotExist => there.is_none(),
    };
    (!holds).then(|| format!("its label {key} {is} and {has_to}"))
}

fn quoted(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    quoted.join(", ")
}
