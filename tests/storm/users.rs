//! The users of a namespace: they create and delete PlatformTokens all the time, and now and then touch a Secret.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use platform_token_operator::api::{Dialect, TOKEN_PREFIX, names};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::account::Account;
use crate::dice::Dice;
use crate::home::Home;

/// Between so many milliseconds after one act comes the next.
const PACE: (u64, u64) = (50, 500);

/// With fewer they only create, with more they only delete.
const LIVING: std::ops::RangeInclusive<usize> = 6..=20;

/// The users of one account's namespace.
pub(crate) struct Users {
    account: Arc<Account>,
    dice: Dice,
    /// Created and not deleted since.
    pub living: BTreeSet<String>,
    /// Names that are free again, to be used again.
    former: Vec<String>,
    pub created: u64,
    pub deleted: u64,
    /// Secrets that were deleted or edited.
    pub touched: u64,
}

impl Users {
    pub(crate) fn new(account: Arc<Account>, seed: u64) -> Self {
        Self {
            dice: Dice::of(seed, &format!("users of {}", account.home.namespace)),
            account,
            living: BTreeSet::new(),
            former: Vec::new(),
            created: 0,
            deleted: 0,
            touched: 0,
        }
    }

    /// Acts until told to stop.
    pub(crate) async fn act(mut self, stop: CancellationToken) -> Self {
        while !stop.is_cancelled() {
            let create = if self.living.len() < *LIVING.start() {
                100
            } else if self.living.len() > *LIVING.end() {
                0
            } else {
                45
            };
            if self.dice.percent(create) {
                for _ in 0..self.dice.between(1, 3) {
                    self.create().await;
                }
            } else if self.dice.percent(70) {
                let name = self.any();
                self.delete(name).await;
            } else {
                self.touch().await;
            }
            sleep(self.dice.millis(PACE.0, PACE.1)).await;
        }
        self
    }

    /// Deletes the namespace with all that is in it.
    pub(crate) async fn leave(&mut self) {
        self.account.home.delete().await;
        self.deleted += self.living.len() as u64;
        self.living.clear();
    }

    async fn create(&mut self) {
        let again = self.dice.percent(25).then(|| self.former.pop()).flatten();
        let name = again.unwrap_or_else(|| format!("token-{}", self.created));
        let made = self.account.home.make_token(&name, Home::account());
        if made.await.is_some() {
            self.living.insert(name);
            self.created += 1;
        } else {
            self.former.push(name);
        }
    }

    /// Deletes what was read: a plain deletion may remove an object together with a finalizer that is added at the same
    /// moment (kubernetes/kubernetes#77988), which no operator can prevent.
    async fn delete(&mut self, name: String) {
        let tokens = self.account.home.tokens();
        loop {
            let token = tokens.get(&name).await.unwrap();
            let exactly = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: token.uid(),
                    resource_version: token.resource_version(),
                }),
                ..DeleteParams::default()
            };
            match tokens.delete(&name, &exactly).await {
                Ok(_) => break,
                Err(kube::Error::Api(status)) if status.is_conflict() => {}
                Err(error) => panic!("deleting {name}: {error}"),
            }
        }
        self.living.remove(&name);
        self.former.push(name);
        self.deleted += 1;
    }

    /// Does to a Secret what users do to Secrets.
    async fn touch(&mut self) {
        let name = self.any();
        // A token that neither a status nor a Secret names is not found again where there are no tags.
        if self.account.dialect == Dialect::Documented && !self.is_told(&name).await {
            return;
        }
        let junk = json!(format!("{TOKEN_PREFIX}junk"));
        let edit = |keys: &[&str]| {
            let data: Value = keys.iter().map(|&key| (key, junk.clone())).collect();
            json!({ "stringData": data })
        };
        let no_record = json!({ "metadata": { "annotations": { names::ATTEMPT: null } } });
        let no_owner = json!({ "metadata": { "annotations": { names::OWNER: null } } });
        let no_label = json!({ "metadata": { "labels": { names::MANAGED_LABEL: null } } });
        let no_finalizer = json!({ "metadata": { "finalizers": null } });
        let (patch, delete) = match self.dice.between(0, 7) {
            0 => (edit(&[names::TOKEN_KEY]), false),
            1 => (edit(&[names::TOKEN_KEY, names::TOKEN_VARIABLE]), false),
            2 => (no_record, false),
            3 => (no_label, false),
            4 => (no_finalizer, true),
            5 => (no_owner, true),
            _ => (Value::Null, true),
        };
        let secrets = self.account.home.secrets();
        let mut done = false;
        if !patch.is_null() {
            let patch: Patch<Value> = Patch::Merge(patch);
            let patched = secrets.patch(&name, &PatchParams::default(), &patch).await;
            done = exists(patched.map(drop));
        }
        if delete {
            let deleted = secrets.delete(&name, &DeleteParams::default()).await;
            done = exists(deleted.map(drop)) || done;
        }
        self.touched += u64::from(done);
    }

    /// Whether the status names the token.
    async fn is_told(&self, name: &str) -> bool {
        let token = self.account.home.tokens().get_opt(name).await.unwrap();
        let status = token.and_then(|token| token.status);
        status.is_some_and(|status| status.token_id.is_some())
    }

    fn any(&mut self) -> String {
        let living: Vec<_> = self.living.iter().cloned().collect();
        self.dice.pick(&living)
    }
}

/// Whether there was such a Secret; often there is none yet.
fn exists(result: kube::Result<()>) -> bool {
    match result {
        Ok(()) => true,
        Err(kube::Error::Api(status)) if status.is_not_found() => false,
        Err(error) => panic!("touching a Secret: {error}"),
    }
}
