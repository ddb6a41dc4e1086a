//! Guards that are taken away, to show that the promises would notice.

use platform_token_operator::api::names;
use platform_token_operator::platform::transport::Response;
use serde_json::{Value, json};

use super::apiserver::{Kind, Lax, Request, Verb};
use super::parallel::first;
use super::random::run_seed;
use super::run::Outcome;
use super::sweep;

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
    /// Those that are noticed within seconds.
    pub(crate) const PLAIN: [Self; 4] = [
        Self::NoCompareAndSwap,
        Self::CreatesOverwrite,
        Self::PostRepeated,
        Self::StaleReads,
    ];

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

/// How many seeds are tried until a missing guard has to be noticed.
const SEEDS: u64 = 400;

#[test]
fn each_guard_matters() {
    // Some are noticed in one run out of thousands: they are looked for only where there is time.
    let thorough = std::env::var_os("ALL").is_some();
    let seeds: Vec<u64> = (0..SEEDS).collect();
    let (calm, all) = (sweep::calm_cases(), sweep::cases());
    let wanted = if thorough {
        &Sabotage::ALL[..]
    } else {
        &Sabotage::PLAIN
    };
    for sabotage in wanted.iter().copied() {
        // What is red anyway shows nothing.
        let by_chance = || {
            first(&seeds, |seed| {
                let broken = lost_or_stolen(run_seed(*seed, Some(sabotage)))?;
                let otherwise = run_seed(*seed, None).broken;
                (otherwise.is_empty()).then(|| format!("SEED={seed}: {broken}"))
            })
        };
        let by_story = |stories: &[sweep::Case]| {
            first(stories, |case| {
                let broken = lost_or_stolen(case.run(Some(sabotage)))?;
                let otherwise = case.run(None).broken;
                (otherwise.is_empty()).then(|| format!("{case}: {broken}"))
            })
        };
        let noticed = by_story(&calm)
            .or_else(by_chance)
            .or_else(|| by_story(&all));
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
