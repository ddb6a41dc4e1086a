//! Looking at a token that is to be adopted, and at all that speaks against that: other PlatformTokens, the ledger, the
//! account, and the Secret of the wanted name.

use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use super::Executor;
use super::platform::PATIENCE;
use crate::api::{Attempt, Entry, Owner, PlatformToken, Reason, TokenId, names};
use crate::controller::kubernetes::{KubeError, call_opt, each};
use crate::controller::ledger::standing;
use crate::controller::tokens::Watched;
use crate::controller::trouble::of_kubernetes;
use crate::plan::{Adoption, Outcome, Rival, Shown, Snapshot, Trouble, adopt, recorded_value};
use crate::platform::{Error, Found};

impl Executor<'_> {
    pub(super) async fn adopt(&self, s: &Snapshot, attempt: &Attempt, id: &TokenId) -> Outcome {
        let session = match self.permit(PATIENCE).await {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        let identity = &session.identity;
        // The rivals first: what one that is gone owes is in the ledger by then.
        let looked = async {
            let rivals = self.rivals(s, id).await?;
            let standing = standing(self.context, &attempt.account.base_url, id).await?;
            let owed = matches!(standing, Some((_, Entry::Owed(_))));
            let secret = call_opt(self.secrets(s).get(&s.token.secret_name)).await?;
            Ok((rivals, owed, secret))
        };
        let (rivals, owed, secret) = match looked.await {
            Ok(looked) => looked,
            Err(error) => return Outcome::Failed(of_kubernetes(&error)),
        };
        let user_id = identity.user_id.as_ref();
        let row = match session.client.find(identity.dialect, user_id, id).await {
            Ok(Found::Row(row)) => Some(Shown::from(*row)),
            Ok(Found::Nothing) => None,
            Err(error) => {
                let doing = format!("looking for token {id}, which is to be adopted");
                return Outcome::Failed(self.platform_trouble(&doing, &error));
            }
        };
        if row.is_none()
            && let Some(value) = secret
                .as_ref()
                .and_then(|secret| recorded_value(secret, id))
            && let Some(client) = self.with_own_value(&attempt.account.base_url, &value)
            && !matches!(
                client.probe(identity.dialect).await,
                Err(Error::Unauthorized(_))
            )
        {
            // A list may lag. That there is no such token takes two to say.
            let text = format!("token {id}, which is to be adopted, is not listed yet");
            return Outcome::Failed(Trouble::transient(Reason::ValueUnavailable, text));
        }
        adopt(&Adoption {
            token_id: id,
            owner: &s.token.owner,
            created_at: s.token.created_at,
            rivals: &rivals,
            owed,
            row,
            user_id,
            secret_name: &s.token.secret_name,
            secret: secret.as_ref(),
            credentials: &s.credentials,
        })
    }

    /// Every other PlatformToken, of whichever namespace, that holds a token or is about to adopt it.
    async fn rivals(&self, s: &Snapshot, id: &TokenId) -> Result<Vec<Rival>, KubeError> {
        let context = self.context;
        let api: Api<Watched> = Api::all(context.client.clone());
        let mut rivals = Vec::new();
        for field in ["status.tokenID", "spec.adoptTokenID"] {
            let scope = ListParams::default().fields(&format!("{field}={id}"));
            let list = |scope| async {
                let scope = scope;
                api.list(&scope).await
            };
            each(scope, list, |token: Watched| {
                rivals.extend(rival(&token, id, &context.cluster));
            })
            .await?;
        }
        // Those that have stored it, and whose status does not say so yet; and those that came to it by a Secret, which
        // have stored it, or let go of it, in a moment.
        let stored = context.secrets.naming(id).into_iter();
        let stored = stored.filter_map(|((namespace, _), owner)| {
            let reference = ObjectRef::new(&owner?).within(&namespace);
            context.tokens.get(&reference)
        });
        let all = context.tokens.state().into_iter();
        let claimed = all.filter(|token| token.0.as_ref().is_ok_and(|token| claims(token, id)));
        rivals.extend(stored.chain(claimed).map(|token| Rival {
            holds: true,
            ..facts(&token, &context.cluster)
        }));
        rivals.retain(|rival| rival.owner.uid != s.token.owner.uid);
        Ok(rivals)
    }
}

/// What a PlatformToken has to do with a token; none if nothing. One that does not read may hold it.
fn rival(token: &Watched, id: &TokenId, cluster: &str) -> Option<Rival> {
    let Ok(read) = &token.0 else {
        return Some(Rival {
            holds: true,
            ..facts(token, cluster)
        });
    };
    let uid = read.metadata.uid.as_deref().unwrap_or_default();
    let status = read.status.as_ref().filter(|status| status.is_of(uid));
    let holds = status.and_then(|status| status.token_id.as_ref()) == Some(id);
    (holds || is_about_to_adopt(read, id)).then(|| Rival {
        holds,
        ..facts(token, cluster)
    })
}

/// Whether its spec says so, and no token is issued to it yet.
fn is_about_to_adopt(token: &PlatformToken, id: &TokenId) -> bool {
    let issued = token
        .status
        .as_ref()
        .is_some_and(|status| status.token_id.is_some());
    !issued && token.spec.adopt_token_id.as_ref() == Some(id)
}

/// Whether it adopts a token that its spec does not name, or owes it.
fn claims(token: &PlatformToken, id: &TokenId) -> bool {
    let by_spec = token.spec.adopt_token_id.as_ref() == Some(id);
    let text = token.annotations().get(names::ATTEMPT);
    let text = text.filter(|text| !by_spec && text.contains(id.as_str()));
    let attempt = text.and_then(|text| Attempt::parse(text).ok());
    attempt.is_some_and(|attempt| {
        let names = attempt.adopts.as_ref() == Some(id) || attempt.given_up.contains(id);
        names && Some(&attempt.owner.uid) == token.uid().as_ref()
    })
}

fn facts(token: &Watched, cluster: &str) -> Rival {
    let metadata = token.meta();
    Rival {
        owner: Owner {
            cluster: cluster.to_owned(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
        },
        created_at: metadata
            .creation_timestamp
            .as_ref()
            .map_or(Timestamp::MIN, |created| created.0),
        holds: false,
    }
}
