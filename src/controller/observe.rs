//! From caches to a snapshot: what a run rests on.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::Context;
use super::accounts::{Session, account_key};
use super::kubernetes::version;
use super::memory::{Basis, Written};
use super::secrets::Cached;
use crate::api::{Attempt, Owner, PlatformToken, names};
use crate::plan::{Admission, Memory, Moment, Policy, SecretFacts, Snapshot, TokenFacts};

/// What the caches know of a PlatformToken.
pub(super) struct Observed {
    /// What a run would rest on.
    pub basis: Basis,
    /// The session that its account stands for.
    pub session: Option<Arc<Session>>,
    /// The caches have not seen our own last writes yet.
    pub behind: bool,
    /// They are to be waited for.
    pub lags: bool,
}

/// Looks at the caches.
pub(super) fn observe(
    context: &Context,
    token: &PlatformToken,
    written: Written,
    now: Moment,
) -> Observed {
    let seen = version(token.meta().resource_version.as_ref());
    let name = (token.namespace().unwrap_or_default(), token.name_any());
    let key = account_key(token);
    // The session first: where the selector is newer, no permit is taken with it. The other way round, what an old
    // selector admits would be minted with a session of the new spec.
    let (account, session) = context.accounts.look_up(&key);
    let admission = context
        .accounts
        .admission(&key, &name.0, &context.namespaces);
    let secrets = context.secrets.of(&name);
    let newest = context.secrets.newest(&name.0);
    let behind = written.is_ahead(seen, newest, now);
    let lags = written.outruns(seen, newest, now);
    let basis = Basis {
        token: seen,
        account,
        admission,
        secrets,
        missing: context
            .accounts
            .missing(&key, token.metadata.uid.as_deref()),
    };
    Observed {
        basis,
        session,
        behind,
        lags,
    }
}

/// What a run begins with.
pub(super) fn snapshot(
    context: &Context,
    token: &PlatformToken,
    basis: Basis,
    memory: Memory,
    now: Moment,
) -> Snapshot {
    let holds_secrets = context.served.holds_secrets();
    let facts = TokenFacts {
        holds_secrets,
        admission: basis.admission,
        ..token_facts(token, &context.cluster)
    };
    let secrets = secrets(&facts, basis.secrets);
    let credentials = context.accounts.credentials();
    let key = account_key(token);
    let memory = Memory {
        leftovers: context.accounts.leftovers(&key, &facts.owner.uid),
        missing: basis.missing,
        ..memory
    };
    let mut snapshot = Snapshot::new(
        facts,
        basis.account,
        secrets,
        memory,
        credentials,
        (context.fresh)(),
        now,
    );
    snapshot.silent = context.silences.all();
    snapshot
}

fn token_facts(token: &PlatformToken, cluster: &str) -> TokenFacts {
    let name = token.name_any();
    TokenFacts {
        generation: token.metadata.generation,
        resource_version: token.resource_version().unwrap_or_default(),
        created_at: token
            .creation_timestamp()
            .map_or(Timestamp::MIN, |created| created.0),
        deleted_at: token.metadata.deletion_timestamp.as_ref().map(|at| at.0),
        finalizers: token.finalizers().to_vec(),
        secret_name: token
            .spec
            .secret
            .name
            .clone()
            .unwrap_or_else(|| name.clone()),
        policy: Policy {
            token: token.spec.deletion_policy,
            secret: token.spec.secret.deletion_policy,
        },
        adopts: token.spec.adopt_token_id.clone(),
        holds_secrets: true,
        admission: Admission::Unknown,
        take_over: token.annotations().get(names::TAKE_OVER).cloned(),
        attempt: token
            .annotations()
            .get(names::ATTEMPT)
            .map(|text| Attempt::parse(text))
            .transpose(),
        status: token
            .status
            .clone()
            .filter(|status| status.is_of(token.metadata.uid.as_deref().unwrap_or_default()))
            .unwrap_or_default(),
        owner: Owner {
            cluster: cluster.to_owned(),
            namespace: token.namespace().unwrap_or_default(),
            name,
            uid: token.uid().unwrap_or_default(),
        },
    }
}

/// Every Secret that may be this PlatformToken's. A cache that knows none is believed only where nothing says that
/// there ever was one; a create proves it then.
fn secrets(token: &TokenFacts, cached: BTreeMap<String, Cached>) -> BTreeMap<String, SecretFacts> {
    let recorded = token.status.token_id.is_some()
        || !matches!(token.attempt, Ok(None))
        || token.is_deleting();
    let unread = |version| SecretFacts::Unread {
        resource_version: version,
    };
    let former = token.status.secret_name.clone().filter(|_| recorded);
    let uncached = [Some(token.secret_name.clone()), former]
        .into_iter()
        .flatten()
        .map(|name| {
            let facts = if recorded {
                unread(None)
            } else {
                SecretFacts::Absent
            };
            (name, facts)
        });
    uncached
        .chain(
            cached
                .into_iter()
                // One that bears our finalizer and should not, or the other way round, cannot be as we write it.
                .map(|(name, secret)| {
                    let fits = secret.held == token.holds_secrets;
                    (name, unread(fits.then_some(secret.version)))
                }),
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::PlatformTokenSpec;

    #[test]
    fn the_version_of_a_secret_is_believed_only_if_its_finalizer_is_as_it_has_to_be() {
        for (held, holds_secrets, believed) in [
            (true, true, true),
            (false, false, true),
            (true, false, false),
            (false, true, false),
        ] {
            let token = TokenFacts {
                holds_secrets,
                ..token_facts(
                    &PlatformToken::new("token", PlatformTokenSpec::default()),
                    "cluster",
                )
            };
            let cached = Cached {
                version: "7".into(),
                held,
            };
            let known = secrets(&token, [("token".to_owned(), cached)].into());
            let SecretFacts::Unread { resource_version } = &known["token"] else {
                panic!("{known:?}");
            };
            assert_eq!(
                resource_version.is_some(),
                believed,
                "{held} {holds_secrets}"
            );
        }
    }
}
