//! What users, strangers and other programs do. They speak to the API server and the platform without delay, and what
//! they do is no effect of ours.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use platform_token_operator::api::{Entry, Owner, TokenId, UserId, names};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::apiserver::{Key, Kind, Request, Store, Verb, is_deleting};
use super::queue::RESYNC;
use super::world::{BASE_URL, NAMESPACE, World};

/// How long everything may take to be paid that needs nobody.
const LONG_ENOUGH: Duration = Duration::from_mins(10);

/// How long users wait for what they wait for; then they go on.
const PATIENCE: Duration = Duration::from_hours(1);

impl World {
    /// Does something to an object of the namespace. What the server refuses is not done.
    fn ask(&self, kind: Kind, name: &str, verb: Verb) {
        let told = match &verb {
            Verb::Patch { patch, .. } => format!(" {patch}"),
            _ => String::new(),
        };
        let namespace = NAMESPACE.to_owned();
        let request = Request {
            kind,
            namespace,
            name: name.to_owned(),
            verb,
            metadata_only: false,
        };
        let what = request.describe();
        self.remark(format!("user: {what}{told}"));
        if let Err(refusal) = self.change(|store, now| store.handle(&request, now)) {
            self.remark(format!("user: refused: {}", refusal.message));
        }
        self.watch_promises();
    }

    /// Creates an object.
    pub(crate) fn create(&self, kind: Kind, object: Value) {
        let dry_run = false;
        self.ask(kind, "", Verb::Create { object, dry_run });
    }

    /// Patches an object.
    pub(crate) fn patch(&self, kind: Kind, name: &str, patch: Value) {
        let status = false;
        self.ask(kind, name, Verb::Patch { status, patch });
    }

    /// Deletes an object.
    pub(crate) fn delete(&self, kind: Kind, name: &str) {
        let (uid, version) = (None, None);
        self.ask(kind, name, Verb::Delete { uid, version });
    }

    /// An object of the namespace.
    pub(crate) fn object(&self, kind: Kind, name: &str) -> Option<Arc<Value>> {
        let key = Key::new(kind, NAMESPACE, name);
        self.store().object(&key).cloned()
    }

    /// Puts the credential of a user's account into the credentials Secret.
    pub(crate) fn credentials_of(&self, user: &str) {
        let user = UserId::parse(user).expect("a word is an id");
        let value = self.platform.with(|sandbox, _| {
            sandbox
                .model
                .admin(&user)
                .map(|value| value.expose().to_owned())
        });
        self.credentials(&value.expect("the account exists"));
    }

    /// Puts any text into the credentials Secret.
    pub(crate) fn credentials(&self, text: &str) {
        let data = json!({ names::TOKEN_VARIABLE: base64(text) });
        if self.object(Kind::Secret, "credentials").is_some() {
            self.patch(Kind::Secret, "credentials", json!({ "data": data }));
        } else {
            let object = json!({ "metadata": { "name": "credentials" }, "data": data });
            self.create(Kind::Secret, object);
        }
    }

    /// Creates the account `main`, with credentials of Alice.
    pub(crate) fn account(&self) {
        self.credentials_of("alice");
        self.create(
            Kind::Account,
            json!({
                "metadata": { "name": "main" },
                "spec": {
                    "baseURL": BASE_URL, "resyncInterval": format!("{}s", RESYNC.as_secs()),
                    "exclusive": self.setup.exclusive,
                    "sweep": if self.setup.sweeps { "Revoke" } else { "Report" },
                    "revocationsPerMinute": 2,
                    "credentialsSecretRef": { "name": "credentials", "key": names::TOKEN_VARIABLE },
                },
            }),
        );
    }

    /// Creates a PlatformToken on the account `main`.
    pub(crate) fn token(&self, name: &str) {
        self.token_with(name, json!({ "secret": {} }));
    }

    /// The same, with more in its spec.
    pub(crate) fn token_with(&self, name: &str, mut spec: Value) {
        spec["accountRef"] = json!({ "kind": "PlatformAccount", "name": "main" });
        self.create(
            Kind::Token,
            json!({ "metadata": { "name": name }, "spec": spec }),
        );
    }

    /// A stranger makes a token on an account.
    pub(crate) fn stranger(&self, user: &str) -> TokenId {
        let user = UserId::parse(user).expect("a word is an id");
        let made = self
            .platform
            .with(|sandbox, now| sandbox.model.stranger(&user, Vec::new(), now));
        let id = made.expect("the account exists").id;
        self.remark(format!("a stranger makes token {id}"));
        self.state().strangers.insert(id.clone());
        id
    }

    /// What a PlatformToken has left that an etcd from a backup does not know: it has to be revoked.
    pub(crate) fn lost(&self) {
        let key = Key::new(Kind::Namespace, "", "kube-system");
        let cluster = self
            .store()
            .object(&key)
            .map(|system| system["metadata"]["uid"].clone());
        let cluster = cluster.and_then(|uid| uid.as_str().map(str::to_owned));
        let owner = format!(
            "{}/{NAMESPACE}/former/nobody",
            cluster.expect("it has a uid")
        );
        let owner = Owner::parse(&owner).expect("an owner");
        let tags = vec![owner.cluster_tag(), owner.namespace_tag(), owner.uid_tag()];
        let user = UserId::parse("alice").expect("a word is an id");
        let made = self
            .platform
            .with(|sandbox, now| sandbox.model.stranger(&user, tags, now));
        self.remark(format!(
            "token {} is lost",
            made.expect("the account exists").id
        ));
    }

    /// Someone revokes the token of a PlatformToken in the console.
    pub(crate) fn revoke_in_the_console(&self, name: &str) {
        if let Some(id) = self.token_id(name) {
            self.remark(format!("someone revokes token {id} in the console"));
            self.platform.with(|sandbox, _| sandbox.model.revoke(&id));
        }
    }

    /// Waits until something holds, within reason.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let held = async {
            loop {
                let change = self.next_change();
                if holds(self) {
                    return;
                }
                change.await;
            }
        };
        if timeout(PATIENCE, held).await.is_err() {
            self.remark(format!("user: waited in vain until {what}"));
        }
    }

    /// Waits until a PlatformToken is Ready.
    pub(crate) async fn until_ready(&self, name: &str) {
        self.until(&format!("{name} is Ready"), |world| world.is_ready(name))
            .await;
    }

    /// Waits until an object is gone.
    pub(crate) async fn until_gone(&self, kind: Kind, name: &str) {
        self.until(&format!("{name} is gone"), |world| {
            world.object(kind, name).is_none()
        })
        .await;
    }

    /// Whether a PlatformToken says Ready of the spec that it has.
    pub(crate) fn is_ready(&self, name: &str) -> bool {
        self.object(Kind::Token, name)
            .is_some_and(|token| is_ready(&token))
    }

    /// The reason of its condition Ready.
    pub(crate) fn reason(&self, name: &str) -> Option<String> {
        let token = self.object(Kind::Token, name)?;
        let reason = token["status"]["conditions"][0]["reason"].as_str();
        reason.map(str::to_owned)
    }

    /// The name of the Secret that a PlatformToken wants.
    pub(crate) fn secret_of(&self, name: &str) -> String {
        let token = self.object(Kind::Token, name);
        let wanted = token.as_ref().map(|token| &token["spec"]["secret"]["name"]);
        wanted.and_then(Value::as_str).unwrap_or(name).to_owned()
    }

    /// The Secret of someone else that a PlatformToken would have to write.
    pub(crate) fn secret_in_the_way_of(&self, name: &str) -> Option<String> {
        let refused = self.reason(name).as_deref() == Some("SecretNotWritable");
        refused.then(|| self.secret_of(name))
    }

    /// Whether a PlatformToken is Ready, and its status names what its Secret holds.
    pub(crate) fn is_settled(&self, name: &str) -> bool {
        let secret = self.object(Kind::Secret, name);
        let stored = secret
            .as_ref()
            .map(|secret| &secret["metadata"]["annotations"][names::TOKEN_ID]);
        let stored = stored.and_then(Value::as_str);
        let named = self.token_id(name);
        self.is_ready(name) && stored.is_some() && named.as_ref().map(TokenId::as_str) == stored
    }

    /// The id that a PlatformToken's status names.
    pub(crate) fn token_id(&self, name: &str) -> Option<TokenId> {
        let token = self.object(Kind::Token, name)?;
        TokenId::parse(token["status"]["tokenID"].as_str()?).ok()
    }

    /// Someone deletes the namespace, and the namespace controller does what it does.
    pub(crate) async fn delete_namespace(&self) {
        let namespace = Key::new(Kind::Namespace, "", NAMESPACE);
        self.remark("user: deletes the namespace");
        let request = Request {
            kind: Kind::Namespace,
            namespace: String::new(),
            name: NAMESPACE.to_owned(),
            verb: Verb::Delete {
                uid: None,
                version: None,
            },
            metadata_only: false,
        };
        let deleted = self.change(|store, now| store.handle(&request, now));
        deleted.expect("a namespace can be deleted");
        let begun = self.elapsed();
        loop {
            // Kind by kind, in no order that anyone promises.
            for kind in [Kind::Secret, Kind::Event, Kind::Account, Kind::Token] {
                let names: Vec<String> = {
                    let store = self.store();
                    let here = store
                        .all(kind)
                        .filter(|(key, object)| key.namespace == NAMESPACE && !is_deleting(object));
                    here.map(|(key, _)| key.name.clone()).collect()
                };
                for name in names {
                    self.delete(kind, &name);
                }
            }
            let empty = [Kind::Secret, Kind::Event, Kind::Account, Kind::Token]
                .into_iter()
                .all(|kind| {
                    let store = self.store();
                    !store.all(kind).any(|(key, _)| key.namespace == NAMESPACE)
                });
            if empty {
                break;
            }
            if self.elapsed() > begun + PATIENCE {
                self.remark("the namespace hangs");
                return;
            }
            sleep(Duration::from_secs(5)).await;
        }
        self.remark("the namespace controller is done");
        self.change(|store, _| {
            if let Some(object) = store.object(&namespace).cloned() {
                store.remove(&namespace, (*object).clone());
            }
        });
    }
}

impl World {
    /// The tokens that live on without a PlatformToken, as the ledger says.
    pub(crate) fn released(&self) -> BTreeSet<TokenId> {
        let released = entries(&self.store()).into_iter();
        let released = released.filter_map(|entry| match entry {
            Entry::Released(token) => Some(token.token_id),
            _ => None,
        });
        released.collect()
    }

    /// Whether the ledger has something that only an account can pay, and there is none any more. What had its value when
    /// its PlatformToken went needs none.
    pub(crate) async fn waits_for_an_account(&self) -> bool {
        if self.store().all(Kind::Account).next().is_some() {
            return false;
        }
        for _ in 0..LONG_ENOUGH.as_secs() / 10 {
            if owed(&self.store()).is_empty() {
                return false;
            }
            sleep(Duration::from_secs(10)).await;
        }
        let owed = owed(&self.store());
        for id in owed.iter().filter_map(Entry::token_id) {
            self.violated(format!("token {id} waits in the ledger for an account"));
        }
        true
    }

    /// Someone makes the namespace and the account again.
    pub(crate) fn found_anew(&self) {
        self.state().refounded = true;
        let object = json!({ "metadata": { "name": NAMESPACE } });
        let request = Request {
            kind: Kind::Namespace,
            namespace: String::new(),
            name: String::new(),
            verb: Verb::Create {
                object,
                dry_run: false,
            },
            metadata_only: false,
        };
        // It may be there still.
        let _ = self.change(|store, now| store.handle(&request, now));
        self.account();
    }
}

/// What the ledger has that has to be paid.
fn owed(store: &Store) -> Vec<Entry> {
    let entries = entries(store).into_iter();
    let owed = entries.filter(|entry| !matches!(entry, Entry::Released(_)));
    owed.collect()
}

/// What the ledger has.
fn entries(store: &Store) -> Vec<Entry> {
    let entries = store.all(Kind::Secret).filter_map(|(_, secret)| {
        let entry = secret["metadata"]["annotations"][names::LEDGER_ENTRY].as_str()?;
        serde_json::from_str(entry).ok()
    });
    entries.collect()
}

/// Whether a PlatformToken says Ready of the spec that it has.
pub(crate) fn is_ready(token: &Value) -> bool {
    let conditions = token["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready");
    ready.is_some_and(|ready| {
        ready["status"] == "True" && ready["observedGeneration"] == token["metadata"]["generation"]
    })
}

/// What is under a key of a Secret.
pub(crate) fn text_of(secret: &Value, key: &str) -> Option<String> {
    let data: k8s_openapi::ByteString = serde_json::from_value(secret["data"][key].clone()).ok()?;
    String::from_utf8(data.0).ok()
}

/// As it stands in the data of a Secret.
pub(crate) fn base64(text: &str) -> Value {
    json!(k8s_openapi::ByteString(text.as_bytes().to_vec()))
}

/// The patch that takes the value out of a generated Secret.
pub(crate) fn no_value() -> Value {
    let nothing = base64("x");
    json!({ "data": { names::TOKEN_KEY: nothing, names::TOKEN_VARIABLE: nothing } })
}
