//! Proves one account: what stands between its spec and a session.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};

use super::{Account, CredentialsKey, Session};
use crate::api::{Credential, Dialect, Reason, TokenHash, names};
use crate::controller::Context;
use crate::controller::kubernetes::call_opt;
use crate::controller::silences;
use crate::controller::trouble::of_kubernetes;
use crate::plan::{Identity, Proof, Trouble};
use crate::platform::{Client, Denied};

/// What one proof has brought.
#[derive(Clone)]
pub(super) struct Proven {
    pub session: Result<Arc<Session>, Trouble>,
    /// resourceVersion of the credentials Secret that was used.
    pub secret: Option<String>,
    /// The hash of the credential that was used; of the last one, if there is none now.
    pub credential: Option<TokenHash>,
    /// What the user should know although it works.
    pub warning: Option<&'static str>,
    /// The platform answered in the documented dialect, and had answered in the current one before.
    pub odd: bool,
}

impl Proven {
    fn broken(trouble: Trouble) -> Self {
        Self {
            session: Err(trouble),
            secret: None,
            credential: None,
            warning: None,
            odd: false,
        }
    }

    /// What it tells tokens.
    pub(super) fn facts(&self) -> Proof {
        self.session
            .as_ref()
            .map(|session| session.identity.clone())
            .map_err(Trouble::clone)
    }
}

/// Asks the platform who the credential belongs to.
pub(super) async fn prove<K: Account>(account: &K, context: &Context) -> Proven {
    let settings = account.settings();
    let Some(transport) = context.platforms.connect(&settings.base_url) else {
        let text = context.platforms.refusal(&settings.base_url);
        return Proven::broken(Trouble::stalled(Reason::BaseURLNotAllowed, text));
    };
    let key = account.credentials();
    if !names::is_name(&key.name) || !names::is_namespace(&key.namespace) {
        // The schema refuses it, and an older one did not.
        let text = "credentialsSecretRef names no Secret; write the name of the one that holds the credential";
        return Proven::broken(Trouble::stalled(Reason::CredentialsMissing, text));
    }
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &key.namespace);
    let secret = match call_opt(secrets.get(&key.name)).await {
        Ok(secret) => secret,
        Err(error) => return Proven::broken(of_kubernetes(&error)),
    };
    let version = secret.as_ref().and_then(ResourceExt::resource_version);
    let credential = match credential(secret, &key) {
        Ok(credential) => credential,
        Err(trouble) => {
            return Proven {
                secret: version,
                ..Proven::broken(trouble)
            };
        }
    };
    let hash = credential.hash();
    let warning = (!credential.is_platform_token()).then_some(
        "the credential is not a platform token (platform-…): a user token expires, and tokens can then be neither \
         created nor revoked",
    );
    let client = Client::new(transport, credential, context.clock);
    let throttle = context
        .accounts
        .throttle(&account.key(), settings.rate_limit);
    // A proof waits for no backlog, since everything else waits for it; a pause is a pause.
    if let Err(denied @ Denied::Paused(_)) = throttle.permit(Duration::ZERO).await {
        return Proven {
            secret: version,
            credential: Some(hash),
            ..Proven::broken(denied.into())
        };
    }
    let doing = format!(
        "asking {} who the credential in Secret {}/{} belongs to",
        settings.base_url, key.namespace, key.name
    );
    let answer = client.whoami().await;
    let odd = answer
        .as_ref()
        .is_ok_and(|who| denies_current(account, who.dialect));
    let session = match answer {
        Ok(_) if odd && !context.accounts.was_odd_enough(&account.key()) => {
            Err(Trouble::transient(
                Reason::BrokenAnswer,
                format!(
                    "{doing}: the answer is in the documented dialect, and former ones were in the current; asking again"
                ),
            ))
        }
        Ok(who) => {
            let status = account.status().filter(|_| settings.exclusive);
            let baseline = status.and_then(|status| status.baseline(who.user_id.as_ref()));
            let identity = Identity {
                base_url: settings.base_url.clone(),
                user_id: who.user_id.clone(),
                username: who.username,
                dialect: who.dialect,
                credential: hash.clone(),
                verify: settings.verify,
                exclusive: baseline.map(|baseline| baseline.created_at),
            };
            Ok(Arc::new(Session {
                key: account.key(),
                identity,
                client,
                throttle,
            }))
        }
        Err(error) => Err(context.call_failed(Some(&throttle), &doing, &error)),
    };
    note(context, &settings.base_url, session.as_ref().err());
    Proven {
        session,
        secret: version,
        credential: Some(hash),
        warning,
        odd,
    }
}

/// Whoever waits for a platform hears from every proof whether it answers: perhaps nobody else asks it.
fn note(context: &Context, base_url: &str, trouble: Option<&Trouble>) {
    let answered = trouble.map_or(Some(true), silences::answered);
    if let Some(answered) = answered {
        context.hear(base_url, answered);
    }
}

/// The status knows this very platform to speak the current dialect.
fn denies_current<K: Account>(account: &K, dialect: Dialect) -> bool {
    let known = account.status().is_some_and(|status| {
        status.dialect == Some(Dialect::Current)
            && status.observed_generation == account.meta().generation
    });
    known && dialect == Dialect::Documented
}

fn credential(secret: Option<Secret>, key: &CredentialsKey) -> Result<Credential, Trouble> {
    let CredentialsKey {
        namespace,
        name,
        key,
    } = key;
    let Some(secret) = secret else {
        let text = format!(
            "there is no Secret {name} in namespace {namespace}; create it with the key {key}"
        );
        return Err(Trouble::stalled(Reason::CredentialsMissing, text));
    };
    let data = secret.data.unwrap_or_default();
    let Some(bytes) = data.get(key) else {
        let there: Vec<&str> = data.keys().map(String::as_str).take(10).collect();
        let text = format!(
            "Secret {namespace}/{name} has no key {key} (it has: {}); add it, or name another in credentialsSecretRef.key",
            if there.is_empty() {
                "none".to_owned()
            } else {
                there.join(", ")
            }
        );
        return Err(Trouble::stalled(Reason::CredentialsKeyMissing, text));
    };
    let invalid = |why: &str| {
        let text =
            format!("the key {key} of Secret {namespace}/{name} {why}; put a platform token there");
        Trouble::stalled(Reason::CredentialsInvalid, text)
    };
    let text =
        std::str::from_utf8(&bytes.0).map_err(|_| invalid("is not one line of printable ASCII"))?;
    Credential::parse(text).map_err(|unusable| invalid(&unusable.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use futures::future::BoxFuture;
    use k8s_openapi::ByteString;
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::api::{AttemptId, PlatformAccount};
    use crate::clock::Clock;
    use crate::controller::{Operator, Platforms, Served, Settings};
    use crate::platform::Transport;
    use crate::platform::transport::{Request, Response, SendError};

    /// Answers in turn: not at all, 401, and 500.
    #[derive(Default)]
    struct Moody(AtomicUsize);

    impl Transport for Moody {
        fn send(&self, _: Request) -> BoxFuture<'_, Result<Response, SendError>> {
            let answer = |status| {
                Ok(Response {
                    status,
                    content_type: Some("application/json".into()),
                    retry_after: Some("0".into()),
                    body: r#"{"detail":"no"}"#.into(),
                })
            };
            let answer = match self.0.fetch_add(1, Relaxed) {
                0 => Err(SendError::Lost("late".into())),
                1 => answer(401),
                _ => answer(500),
            };
            Box::pin(async { answer })
        }
    }

    #[tokio::test]
    async fn every_proof_tells_whether_the_platform_answers() {
        let secret = tower::service_fn(|_: http::Request<Body>| async {
            let credential = "platform-0123456789abcdef";
            let secret = json!({
                "metadata": { "namespace": "team", "name": "credentials" },
                "data": { "ACEDATACLOUD_PLATFORM_TOKEN": ByteString(credential.into()) },
            });
            Ok::<_, std::io::Error>(http::Response::new(Body::from(
                secret.to_string().into_bytes(),
            )))
        });
        let moody: Arc<dyn Transport> = Arc::new(Moody::default());
        let settings = Settings {
            platforms: Platforms::new(["https://platform".parse().unwrap()], move |_| {
                moody.clone()
            }),
            concurrency: 1,
            served: Served::Everywhere,
            namespace: "ours".into(),
            instance: "test".into(),
            clock: Clock::system(),
            fresh: Box::new(AttemptId::fresh),
        };
        let client = kube::Client::new(secret, "default");
        let operator = Operator::new(client, "cluster".into(), settings, Arc::default()).0;
        let account: PlatformAccount = serde_json::from_value(json!({
            "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformAccount",
            "metadata": { "namespace": "team", "name": "main" },
            "spec": {
                "baseURL": "https://platform",
                "credentialsSecretRef": { "name": "credentials" },
            },
        }))
        .unwrap();
        let context = &*operator.context;
        for silent in [true, false, true] {
            let proven = prove(&account, context).await;
            let trouble = proven.session.err();
            let known = context.silences.all().contains("https://platform");
            assert_eq!(known, silent, "{trouble:?}");
        }
    }
}
