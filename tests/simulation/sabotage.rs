//! Guards that are taken away, to show that the promises would notice.

use platform_token_operator::api::names;
use platform_token_operator::platform::transport::Response;
use serde_json::{Value, json};

use super::apiserver::{Kind, Lax, Request, Verb};
use super::parallel::first;
use super::run::Outcome;
use super::sweep::{self, Case, Strikes};
use super::world::Ground;

/// One guard that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// The API server carries out patches and deletions whatever they were based on.
    NoCompareAndSwap,
    /// A create writes over a Secret that is there.
    CreatesOverwrite,
    /// A lost POST is sent again, as by a client that repeats.
    PostRepeated,
    /// The API server answers reads from a cache.
    StaleReads,
    /// The finalizer is not written with the attempt.
    NoFinalizer,
    /// The attempt is not written before the POST.
    NoAttempt,
    /// The finalizer is not written to the Secret.
    NoSecretFinalizer,
    /// Whatever the platform lists counts as a row of the attempt.
    TagsUnchecked,
    /// A POST may take effect minutes after it was sent: longer than others wait.
    PostsTravel,
}

impl Sabotage {
    pub(crate) const ALL: [Self; 9] = [
        Self::NoCompareAndSwap,
        Self::CreatesOverwrite,
        Self::PostRepeated,
        Self::StaleReads,
        Self::NoFinalizer,
        Self::NoAttempt,
        Self::NoSecretFinalizer,
        Self::TagsUnchecked,
        Self::PostsTravel,
    ];

    /// The rules that the API server leaves out.
    pub(crate) fn lax(self) -> Lax {
        Lax {
            no_preconditions: self == Self::NoCompareAndSwap,
            creates_overwrite: self == Self::CreatesOverwrite,
        }
    }

    /// The story in which it loses or steals a token.
    fn noticed_in(self) -> (&'static str, Ground) {
        match self {
            Self::NoCompareAndSwap => ("stale_reads", Ground::Documented),
            Self::CreatesOverwrite => ("a_strangers_secret", Ground::Current),
            Self::PostRepeated | Self::NoAttempt => ("issue", Ground::Current),
            Self::StaleReads => ("the_account_changes", Ground::Current),
            Self::NoFinalizer => ("the_account_breaks_and_heals", Ground::Documented),
            Self::NoSecretFinalizer | Self::PostsTravel => ("the_namespace_goes", Ground::Current),
            Self::TagsUnchecked => ("the_platform_fails", Ground::Current),
        }
    }

    /// What becomes of a request of ours to the API server.
    pub(crate) fn twist(self, request: &mut Request) {
        match (self, request.kind, &mut request.verb) {
            (Self::NoFinalizer, Kind::Token, Verb::Patch { patch, .. }) => {
                remove(patch, "finalizers");
            }
            (Self::NoAttempt, Kind::Token, Verb::Patch { patch, .. }) => {
                if let Some(annotations) = patch["metadata"]["annotations"].as_object_mut() {
                    annotations.remove(names::ATTEMPT);
                }
            }
            (Self::NoSecretFinalizer, Kind::Secret, Verb::Create { object, .. }) => {
                remove(object, "finalizers");
            }
            _ => {}
        }
    }
}

/// Takes the tag out of what is asked for; which one it was.
pub(crate) fn ask_for_all(target: &mut String) -> Option<String> {
    let (path, query) = target.split_once('?')?;
    let (tags, rest): (Vec<_>, Vec<_>) = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .partition(|(key, _)| key == "tag");
    let rest = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(rest)
        .finish();
    *target = format!("{path}?{rest}");
    tags.into_iter().next().map(|(_, tag)| tag)
}

/// A list of tokens, as if every row bore these tags.
pub(crate) fn tag_all(response: &mut Response, tags: &[String]) {
    let Ok(mut page) = serde_json::from_slice::<Value>(&response.body) else {
        return;
    };
    for row in page["items"].as_array_mut().into_iter().flatten() {
        row["tags"] = json!(tags);
    }
    response.body = page.to_string().into();
}

fn remove(object: &mut Value, field: &str) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove(field);
    }
}

#[test]
fn each_guard_matters() {
    let cases = sweep::cases(Strikes::All);
    for sabotage in Sabotage::ALL {
        let (story, ground) = sabotage.noticed_in();
        let told: Vec<Case> = cases
            .iter()
            .filter(|case| case.scenario.name == story && case.ground == ground)
            .copied()
            .collect();
        let noticed = first(&told, |case| {
            let broken = lost_or_stolen(case.run(Some(sabotage)))?;
            // What is red anyway shows nothing.
            let otherwise = case.run(None).broken;
            otherwise.is_empty().then(|| format!("{case}: {broken}"))
        });
        match noticed {
            Some(noticed) => println!("{sabotage:?}: {noticed}"),
            None => panic!("{sabotage:?} breaks no promise: the guard or the promises are idle"),
        }
    }
}

/// A broken promise about tokens. That it only goes on and on would be noticed by anyone.
fn lost_or_stolen(outcome: Outcome) -> Option<String> {
    let mut broken = outcome.broken.into_iter();
    broken.find(|text| {
        text.starts_with("token ") || text.contains("POST") || text.contains("written")
    })
}
