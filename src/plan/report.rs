//! What the user is told: conditions after kstatus, and the status as one piece.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::{Moment, Reaction, SecretFacts, Snapshot, Trouble, Verdict, printable};
use crate::api::{ConditionType, PlatformTokenStatus, Reason};

/// The longest message that a condition takes, in characters.
const MAX_MESSAGE: usize = 1024;

/// The status of a PlatformToken after a run; none if there is nothing to tell.
#[must_use]
pub fn report(s: &Snapshot, verdict: &Verdict, now: Moment) -> Option<PlatformTokenStatus> {
    let mut status = PlatformTokenStatus {
        uid: Some(s.token.owner.uid.clone()),
        observed_generation: s.token.generation,
        ..s.token.status.clone()
    };
    if let Some(issued) = s.present() {
        status.attempt = Some(issued.attempt);
        status.token_id = Some(issued.token_id);
        status.token_hash = Some(issued.hash);
        status.user_id = Some(issued.user_id);
        status.base_url = Some(issued.base_url);
        status.issued_at = Some(Time(issued.issued_at));
    }
    match s.wanted() {
        SecretFacts::Own(own) => {
            // A former one stays on record until it is gone: without its labels no watch shows it.
            let former = status.secret_name.take_if(|former| {
                let mut strays = s.strays();
                strays.any(|(name, _)| name == former)
            });
            let wanted = &s.token.secret_name;
            status.secret_name = former.or_else(|| Some(wanted.clone()));
            let current = s.is_whole(own) && status.secret_name.as_ref() == Some(wanted);
            status.secret_resource_version = current.then(|| own.version.resource_version.clone());
        }
        SecretFacts::Absent
        | SecretFacts::Foreign { .. }
        | SecretFacts::Left(_)
        | SecretFacts::Retained(_) => {
            status.secret_resource_version = None;
        }
        SecretFacts::Unread { .. } => {}
    }
    let now_is = match verdict {
        Verdict::Ready => Ok(Told {
            reason: Reason::Issued,
            message: format!("the token is in Secret {}", s.token.secret_name),
        }),
        Verdict::Trouble(trouble) => Err(trouble),
        Verdict::Silent | Verdict::Gone => return None,
    };
    status.conditions = conditions(&s.token.status.conditions, now_is, s.token.generation, now);
    Some(status)
}

/// The status of a PlatformToken or account whose spec cannot be read: only its conditions.
#[must_use]
pub fn report_invalid(
    error: &str,
    former: &[Condition],
    generation: Option<i64>,
    now: Moment,
) -> Vec<Condition> {
    let text = format!(
        "the object cannot be read: {error}; correct it, or apply the CRDs of this version"
    );
    conditions(
        former,
        Err(&Trouble::stalled(Reason::InvalidSpec, text)),
        generation,
        now,
    )
}

/// Whether a status says Ready.
pub(super) fn is_ready(status: &PlatformTokenStatus) -> bool {
    status
        .conditions
        .iter()
        .any(|c| c.type_ == ConditionType::Ready.as_str() && c.status == "True")
}

/// Good news.
pub(super) struct Told {
    /// One word for it.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
}

/// The one place where conditions are made. `Ready` is always there; `Reconciling` or `Stalled` only while true.
pub(super) fn conditions(
    former: &[Condition],
    now_is: Result<Told, &Trouble>,
    generation: Option<i64>,
    now: Moment,
) -> Vec<Condition> {
    let condition = |kind: ConditionType, is: bool, reason: Reason, message: &str| {
        let status = if is { "True" } else { "False" };
        let same = former
            .iter()
            .find(|c| c.type_ == kind.as_str() && c.status == status);
        Condition {
            type_: kind.as_str().into(),
            status: status.into(),
            reason: reason.as_str().into(),
            message: printable(message).chars().take(MAX_MESSAGE).collect(),
            observed_generation: generation,
            last_transition_time: same.map_or_else(
                || Time(whole_seconds(now.wall)),
                |c| c.last_transition_time.clone(),
            ),
        }
    };
    match now_is {
        Ok(told) => vec![condition(
            ConditionType::Ready,
            true,
            told.reason,
            &told.message,
        )],
        Err(trouble) => {
            let second = match trouble.reaction {
                Reaction::Stalled => ConditionType::Stalled,
                Reaction::Transient | Reaction::Waiting(_) => ConditionType::Reconciling,
            };
            vec![
                condition(
                    ConditionType::Ready,
                    false,
                    trouble.reason,
                    &trouble.message,
                ),
                condition(second, true, trouble.reason, &trouble.message),
            ]
        }
    }
}

/// The API server keeps whole seconds; a finer time would differ from what is read back.
pub(super) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
