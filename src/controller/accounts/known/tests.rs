//! Accounts whose credentials Secret changes, and what is left of those that go.

use futures::future::BoxFuture;
use kube::runtime::watcher::Event;
use serde_json::json;

use super::*;
use crate::api::UserId;
use crate::api::{AttemptId, Credential, Dialect};
use crate::clock::Clock;
use crate::controller::{Caches, Operator, Platforms, Settings};
use crate::plan::Identity;
use crate::platform::transport::{Request, Response, SendError};
use crate::platform::{Client, Transport};

struct Nobody;

impl Transport for Nobody {
    fn send(&self, _: Request) -> BoxFuture<'_, Result<Response, SendError>> {
        unreachable!("no call is made")
    }
}

/// An operator whose caches have the account `main`, in this generation.
fn operator() -> (Operator, Caches) {
    let nobody = |_: http::Request<kube::client::Body>| async {
        Err::<http::Response<axum::body::Body>, _>(std::io::Error::other("no call is made"))
    };
    let settings = Settings {
        platforms: Platforms::new([], |_| unreachable!("no call is made")),
        served: Served::Everywhere,
        concurrency: 1,
        namespace: "ours".into(),
        instance: "test".into(),
        clock: Clock::system(),
        fresh: Box::new(AttemptId::fresh),
    };
    let client = kube::Client::new(tower::service_fn(nobody), "default");
    let (operator, caches, _) = Operator::new(client, "cluster".into(), settings, Arc::default());
    (operator, caches)
}

fn account(generation: i64) -> PlatformAccount {
    let account = json!({
        "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformAccount",
        "metadata": { "namespace": "ns", "name": "main", "uid": "u", "generation": generation },
        "spec": { "credentialsSecretRef": { "name": "credentials" } },
    });
    serde_json::from_value(account).unwrap()
}

fn secret() -> SecretName {
    ("ns".into(), "credentials".into())
}

/// A proof with the credential that this version of the Secret holds.
fn proof(version: u32, credential: &str) -> Proven {
    let credential = Credential::parse(credential).unwrap();
    let hash = credential.hash();
    let clock = Clock::system();
    let identity = Identity {
        base_url: "https://platform".into(),
        user_id: UserId::parse("user").ok(),
        username: None,
        dialect: Dialect::Current,
        credential: hash.clone(),
        verify: true,
        exclusive: None,
    };
    Proven {
        session: Ok(Arc::new(Session {
            key: account(1).key(),
            identity,
            client: Client::new(Arc::new(Nobody), credential, clock),
            throttle: Arc::new(Throttle::new(RateLimit::default())),
        })),
        secret: Some(version.to_string()),
        credential: Some(hash),
        warning: None,
        odd: false,
    }
}

fn failed(read: Option<(u32, &str)>, reason: Reason) -> Proven {
    Proven {
        session: Err(Trouble::stalled(reason, "x")),
        secret: read.map(|(version, _)| version.to_string()),
        credential: read.map(|(_, text)| Credential::parse(text).unwrap().hash()),
        warning: None,
        odd: false,
    }
}

/// Tells a story: the account is proven, changes and goes. How it stands at the end.
fn end(story: impl FnOnce(&Accounts, &mut Caches, &dyn Fn(i64, Proven))) -> &'static str {
    let (operator, mut caches) = operator();
    let see = Event::Apply(DeserializeGuard(Ok(account(1))));
    caches.namespaced.apply_watcher_event(&see);
    let context = &operator.context;
    let remember = |generation: i64, proven: Proven| {
        remember(
            &account(generation),
            context,
            proven,
            0,
            Inventory::default(),
        );
    };
    story(&context.accounts, &mut caches, &remember);
    match context.accounts.look_up(&account(1).key()).0 {
        AccountFacts::Pending => "pending",
        AccountFacts::Ready(_) => "ready",
        AccountFacts::Left(..) => "left",
        AccountFacts::Broken(_) => "broken",
    }
}

fn tell(accounts: &Accounts, version: Option<u32>) {
    let version = version.map(|version| version.to_string());
    accounts.credentials_changed(&secret(), version.as_ref());
}

#[tokio::test]
async fn a_change_that_is_told_while_the_secret_is_read_is_never_forgotten() {
    let unknown = end(|accounts, _, remember| {
        tell(accounts, Some(2));
        remember(1, proof(1, "old"));
    });
    assert_eq!(unknown, "pending", "nothing was known of the account");
    let other_spec = end(|accounts, caches, remember| {
        remember(1, proof(1, "old"));
        let see = Event::Apply(DeserializeGuard(Ok(account(2))));
        caches.namespaced.apply_watcher_event(&see);
        tell(accounts, Some(2));
        remember(2, proof(1, "old"));
    });
    assert_eq!(other_spec, "pending", "another spec was known");
    let read = end(|accounts, _, remember| {
        tell(accounts, Some(2));
        remember(1, proof(1, "old"));
        remember(1, proof(2, "new"));
    });
    assert_eq!(read, "ready");
    let late = end(|accounts, _, remember| {
        remember(1, proof(2, "new"));
        tell(accounts, Some(1));
        tell(accounts, Some(2));
    });
    assert_eq!(late, "ready", "it was read before it was told");
}

#[tokio::test]
async fn what_an_account_leaves_is_its_last_credential_unless_another_took_its_place() {
    let go = |caches: &mut Caches| {
        let gone = Event::Delete(DeserializeGuard(Ok(account(1))));
        caches.namespaced.apply_watcher_event(&gone);
    };
    let account_gone = end(|_, caches, remember| {
        remember(1, proof(1, "a"));
        go(caches);
    });
    assert_eq!(account_gone, "left");
    let secret_gone = end(|accounts, _, remember| {
        remember(1, proof(1, "a"));
        tell(accounts, None);
        remember(1, failed(None, Reason::CredentialsMissing));
    });
    assert_eq!(secret_gone, "left");
    let edited = end(|accounts, caches, remember| {
        remember(1, proof(1, "a"));
        tell(accounts, Some(2));
        go(caches);
    });
    assert_eq!(edited, "broken");
    let replaced = end(|_, _, remember| {
        remember(1, proof(1, "a"));
        remember(1, failed(Some((2, "b")), Reason::Unauthorized));
        remember(1, failed(None, Reason::CredentialsMissing));
    });
    assert_eq!(replaced, "broken");
}
