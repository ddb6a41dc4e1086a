//! The credential of an account: what is wrong with it is named, a change is noticed at once, and nothing is done with
//! one that was replaced, nor with one that is not proven. Tokens that were issued keep serving meanwhile.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, PostParams};
use platform_token_operator::api::{
    AccountStatus, ClusterPlatformAccount, Credential, PlatformAccount, PlatformToken, TokenId,
    UserId, names,
};
use platform_token_operator::sandbox::{self, Config, Fault, Match, Route, Rule, Verb};
use serde_json::{Value, json};

use crate::support::{World, eventually, is_ready, no_value};

/// The two kinds of account, each with its credential in the Secret `credentials` of the world's namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Namespaced,
    Cluster,
}

const KINDS: [Kind; 2] = [Kind::Namespaced, Kind::Cluster];

/// An account, and PlatformTokens on it.
struct Account<'a> {
    world: &'a World,
    kind: Kind,
    name: String,
}

impl<'a> Account<'a> {
    async fn create(world: &'a World, kind: Kind, name: &str, spec: Value) -> Self {
        let name = match kind {
            Kind::Namespaced => name.to_owned(),
            Kind::Cluster => format!("{}-{name}", world.namespace),
        };
        let account = Self { world, kind, name };
        account.apply(spec).await;
        account
    }

    async fn apply(&self, spec: Value) {
        if self.kind == Kind::Namespaced {
            self.world.account(&self.name, spec).await;
            return;
        }
        let reference = json!({ "namespace": self.world.namespace, "name": "credentials" });
        let mut whole =
            json!({ "baseURL": self.world.base_url, "credentialsSecretRef": reference });
        if let Value::Object(spec) = spec {
            whole.as_object_mut().unwrap().extend(spec);
        }
        let object = json!({
            "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "ClusterPlatformAccount",
            "metadata": { "name": self.name }, "spec": whole,
        });
        let object = serde_json::from_value(object).unwrap();
        let api = self.cluster_api();
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    fn cluster_api(&self) -> Api<ClusterPlatformAccount> {
        Api::all(self.world.client.clone())
    }

    async fn status(&self) -> Option<AccountStatus> {
        match self.kind {
            Kind::Namespaced => {
                let api = self.world.api::<PlatformAccount>();
                api.get(&self.name).await.unwrap().status
            }
            Kind::Cluster => self.cluster_api().get(&self.name).await.unwrap().status,
        }
    }

    /// Waits until Ready has this reason; its message.
    async fn until(&self, reason: &str) -> String {
        let what = format!("{:?} account has the reason {reason}", self.kind);
        eventually(&what, || async {
            let conditions = self.status().await?.conditions;
            let ready = conditions.into_iter().find(|c| c.type_ == "Ready")?;
            (ready.reason == reason).then_some(ready.message)
        })
        .await
    }

    /// Waits until it is proven to be this user's.
    async fn until_user(&self, user: &UserId) {
        eventually(&format!("the account is {user}'s"), || async {
            (self.status().await?.user_id.as_ref() == Some(user)).then_some(())
        })
        .await;
    }

    async fn token(&self, name: &str) {
        let kind = match self.kind {
            Kind::Namespaced => "PlatformAccount",
            Kind::Cluster => "ClusterPlatformAccount",
        };
        let spec = json!({ "accountRef": { "kind": kind, "name": self.name } });
        self.world.token(name, spec).await;
    }

    async fn ready_token(&self, name: &str) -> PlatformToken {
        self.token(name).await;
        self.world.until_ready(name).await
    }

    /// Accounts of the cluster outlive the namespace.
    async fn delete(self) {
        match self.kind {
            Kind::Namespaced => self.world.delete::<PlatformAccount>(&self.name).await,
            Kind::Cluster => {
                let parameters = DeleteParams::default();
                let api = self.cluster_api();
                api.delete(&self.name, &parameters).await.unwrap();
            }
        }
    }
}

/// Writes another credential into the Secret.
async fn replace(world: &World, credential: &str) {
    let data = json!({ "stringData": { names::TOKEN_VARIABLE: credential } });
    world.patch::<Secret>("credentials", data).await;
}

/// Whether a PlatformToken is Ready at this moment.
async fn serves(world: &World, name: &str) -> bool {
    is_ready(&world.api::<PlatformToken>().get(name).await.unwrap())
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

/// A platform with the accounts of Alice and Bob.
async fn of_two_users() -> World {
    let accounts = ["alice", "bob"].map(|name| sandbox::Account::named(user(name)));
    let config = Config {
        accounts: accounts.into(),
        ..Config::default()
    };
    World::bare(config).await
}

/// The credential of a user's account.
fn credential_of(world: &World, name: &str) -> String {
    let value = |sandbox: &mut sandbox::Sandbox, _| {
        let admin = sandbox.model.admin(&user(name)).unwrap();
        admin.expose().to_owned()
    };
    world.platform.with(value)
}

fn token_id(token: &PlatformToken) -> TokenId {
    let status = token.status.as_ref().unwrap();
    status.token_id.clone().unwrap()
}

const STRANGER: &str =
    "platform-v1-0000000000000000000000000000000000000000000000000000000000000000";

#[tokio::test]
async fn a_broken_credential_is_named_and_heals_when_its_secret_changes() {
    let under = |key: &str, bytes: &[u8]| Some(json!({ key: ByteString(bytes.to_vec()) }));
    let variable = names::TOKEN_VARIABLE;
    let rows = [
        (None, "CredentialsMissing", "there is no Secret credentials"),
        (
            under("other", b"x"),
            "CredentialsKeyMissing",
            "it has: other",
        ),
        (Some(json!({})), "CredentialsKeyMissing", "it has: none"),
        (under(variable, b""), "CredentialsInvalid", "is empty"),
        (under(variable, b" \n"), "CredentialsInvalid", "is empty"),
        (
            under(variable, b"a\x01b"),
            "CredentialsInvalid",
            "printable",
        ),
        (
            under(variable, b"\xff\xfe"),
            "CredentialsInvalid",
            "printable",
        ),
        (
            under(variable, b"platform-a\nplatform-b"),
            "CredentialsInvalid",
            "not one line",
        ),
        (under(variable, STRANGER.as_bytes()), "Unauthorized", "401"),
    ];
    for kind in KINDS {
        let world = World::bare(Config::default()).await;
        let account = Account::create(&world, kind, "main", json!({})).await;
        for (n, (data, reason, says)) in rows.iter().enumerate() {
            let before = world.secret("credentials").await;
            if before.is_some() {
                world.delete::<Secret>("credentials").await;
            }
            if let Some(data) = data {
                let secret = json!({ "metadata": { "name": "credentials" }, "data": data });
                world.create::<Secret>(secret).await;
            }
            let message = account.until(reason).await;
            assert!(message.contains(says), "{kind:?} {reason}: {message}");
            let waiting = format!("waiting-{n}");
            account.token(&waiting).await;
            let message = world.until_trouble(&waiting, reason).await;
            let whole = message.contains(says) && message.contains(&account.name);
            assert!(whole, "{kind:?} {reason}: {message}");
            // White space around it is no part of it.
            let good = format!(" {}\n", world.admin_credential());
            if data.is_some() {
                replace(&world, &good).await;
            } else {
                world.credentials("credentials", &good).await;
            }
            world.until_ready(&waiting).await;
            account.until("Proven").await;
            assert_eq!(world.minted(), n as u64 + 1, "{kind:?} {reason}");
        }
        account.delete().await;
    }
}

#[tokio::test]
async fn a_user_token_works_with_a_warning() {
    let user_token = "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl";
    let mut config = Config::default();
    config.accounts[0].user_token = Some(Credential::parse(user_token).unwrap());
    let world = World::bare(config).await;
    world.credentials("credentials", user_token).await;
    world.account("main", json!({})).await;
    let message = world.until_account("main", "Proven").await;
    assert!(message.contains("a user token expires"), "{message}");
    world.ready_token("made").await;
}

#[tokio::test]
async fn nothing_is_minted_with_a_credential_that_was_replaced_nor_with_one_that_is_not_proven() {
    for kind in KINDS {
        let world = of_two_users().await;
        let alice = credential_of(&world, "alice");
        world.credentials("credentials", &alice).await;
        let account = Account::create(&world, kind, "main", json!({})).await;
        account.ready_token("first").await;
        // The proof of Bob's credential takes its time.
        let me = Match {
            user_id: Some(user("bob")),
            ..Match::on(Verb::Get, Route::Me)
        };
        let slow = Fault::Latency { ms: 4000 };
        world.platform.script(vec![Rule::once(me, slow)]);
        let proofs = world.calls(Verb::Get, Route::Me);
        replace(&world, &credential_of(&world, "bob")).await;
        eventually("the change is noticed", || async {
            (world.calls(Verb::Get, Route::Me) > proofs).then_some(())
        })
        .await;
        account.token("second").await;
        let second = world.until_ready("second").await;
        let owner = second.status.unwrap().user_id;
        assert_eq!(owner, Some(user("bob")), "{kind:?}: minted meanwhile");
        assert_eq!(world.minted(), 2);
        assert!(serves(&world, "first").await);
        account.delete().await;
    }
}

#[tokio::test]
async fn the_credential_of_another_user_changes_nothing_for_tokens_that_do_not_need_the_account() {
    for kind in KINDS {
        let world = of_two_users().await;
        let alice = credential_of(&world, "alice");
        world.credentials("credentials", &alice).await;
        let account = Account::create(&world, kind, "main", json!({})).await;
        account.ready_token("serving").await;
        let needy = token_id(&account.ready_token("needy").await);
        replace(&world, &credential_of(&world, "bob")).await;
        account.until_user(&user("bob")).await;
        world.patch::<Secret>("needy", no_value()).await;
        let message = world.until_trouble("needy", "AccountChanged").await;
        assert!(message.contains("belongs to user alice"), "{message}");
        assert!(serves(&world, "serving").await, "{kind:?}");
        replace(&world, &alice).await;
        let needed = world.until_ready("needy").await;
        assert_eq!((token_id(&needed), world.minted()), (needy, 2), "{kind:?}");
        account.delete().await;
    }
}

#[tokio::test]
async fn a_credential_that_is_revoked_while_it_is_used_is_noticed_and_a_new_one_heals() {
    // At the next proof, or at the next call before that.
    for (kind, resync, called) in [
        (Kind::Namespaced, "10s", false),
        (Kind::Cluster, "10s", false),
        (Kind::Namespaced, "10m", true),
        (Kind::Cluster, "10m", true),
    ] {
        let world = World::bare(Config::default()).await;
        let (used, value) = world.platform.with(|sandbox, now| {
            let made = sandbox.model.stranger(&world.user, Vec::new(), now);
            let id = made.unwrap().id;
            let value = sandbox.model.value(&id).unwrap().expose().to_owned();
            (id, value)
        });
        world.credentials("credentials", &value).await;
        let spec = json!({ "resyncInterval": resync });
        let account = Account::create(&world, kind, "main", spec).await;
        account.ready_token("serving").await;
        let revoked = world
            .platform
            .with(|sandbox, _| sandbox.model.revoke(&used));
        assert!(revoked);
        if called {
            account.token("waiting").await;
        }
        account.until("Unauthorized").await;
        if !called {
            account.token("waiting").await;
        }
        world.until_trouble("waiting", "Unauthorized").await;
        assert!(serves(&world, "serving").await, "{kind:?}");
        assert_eq!(world.minted(), 1);
        replace(&world, &world.admin_credential()).await;
        account.until("Proven").await;
        world.until_ready("waiting").await;
        assert!(serves(&world, "serving").await, "{kind:?}");
        assert_eq!(world.minted(), 2);
        account.delete().await;
    }
}

#[tokio::test]
async fn a_credentials_secret_may_be_deleted_and_created_anew() {
    for kind in KINDS {
        let world = World::bare(Config::default()).await;
        let credential = world.admin_credential();
        world.credentials("credentials", &credential).await;
        let account = Account::create(&world, kind, "main", json!({})).await;
        account.ready_token("serving").await;
        for _ in 0..2 {
            world.delete::<Secret>("credentials").await;
            let message = account.until("CredentialsMissing").await;
            assert!(message.contains(&world.namespace), "{message}");
            assert!(serves(&world, "serving").await, "{kind:?}");
            world.credentials("credentials", &credential).await;
            account.until("Proven").await;
        }
        assert!(serves(&world, "serving").await, "{kind:?}");
        assert_eq!(world.minted(), 1);
        account.delete().await;
    }
}

#[tokio::test]
async fn accounts_may_share_a_credentials_secret_and_each_change_reaches_all_that_are_there() {
    let world = World::bare(Config::default()).await;
    let credential = world.admin_credential();
    world.credentials("credentials", &credential).await;
    let first = Account::create(&world, Kind::Namespaced, "first", json!({})).await;
    let second = Account::create(&world, Kind::Namespaced, "second", json!({})).await;
    let shared = Account::create(&world, Kind::Cluster, "shared", json!({})).await;
    for (text, reason) in [(STRANGER, "Unauthorized"), (&*credential, "Proven")] {
        replace(&world, text).await;
        for account in [&first, &second, &shared] {
            account.until(reason).await;
        }
    }
    second.delete().await;
    shared.delete().await;
    replace(&world, STRANGER).await;
    first.until("Unauthorized").await;
    first.delete().await;
    // Nobody uses it: what becomes of it is no concern of anyone.
    for text in [credential.as_str(), STRANGER, credential.as_str()] {
        replace(&world, text).await;
    }
    let anew = Account::create(&world, Kind::Namespaced, "anew", json!({})).await;
    anew.until("Proven").await;
    replace(&world, STRANGER).await;
    anew.until("Unauthorized").await;
}
