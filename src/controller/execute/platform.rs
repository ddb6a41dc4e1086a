//! The steps on the platform: in the name of the account, or of the token itself.

use std::time::Duration;

use super::Executor;
use super::kubernetes::stale_or;
use crate::api::{Attempt, Credential, Dialect, Issued, Reason, TokenId, TokenValue};
use crate::controller::accounts::Session;
use crate::controller::trouble::of_kubernetes;
use crate::plan::{
    Identity, Outcome, Recovery, RevokeWith, Shown, Snapshot, Trouble, claim, suspects,
};
use crate::platform::{Client, Denied, Error, Found};

/// How long new work may wait for a permit before it gives its place to other accounts' work.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How long the end of work that has begun may wait for a permit.
const FOLLOW_UP: Duration = Duration::from_secs(30);

impl Executor<'_> {
    pub(super) async fn mint(&self, attempt: &Attempt) -> Outcome {
        let Some(session) = &self.session else {
            return Outcome::NotMinted(no_session());
        };
        // It may have been replaced since the permit.
        if !self.context.accounts.is_current(session) {
            return Outcome::NotMinted(no_session());
        }
        match session
            .client
            .create(attempt.dialect, &attempt.tags())
            .await
        {
            Ok(row) => {
                if session.identity.user_id.is_none() {
                    // Only now the platform has told the user.
                    self.context.accounts.doubt(&session.key);
                }
                Shown::from(row)
                    .minted()
                    .map_or_else(|id| Outcome::MintedWithheld(vec![id]), Outcome::Minted)
            }
            Err(error) => {
                let trouble = self.platform_trouble("creating a token", &error);
                if error.is_definite() {
                    Outcome::NotMinted(trouble)
                } else {
                    Outcome::MintUnknown(trouble)
                }
            }
        }
    }

    pub(super) async fn find_minted(&self, s: &Snapshot, attempt: &Attempt) -> Outcome {
        let session = match self.permit(PATIENCE).await {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        let user = session.identity.user_id.as_ref();
        let (client, dialect) = (&session.client, attempt.dialect);
        let failed = |error| {
            let doing = "looking for the token of an open attempt";
            Outcome::Failed(self.platform_trouble(doing, &error))
        };
        if dialect == Dialect::Current {
            let keep = |row| Some(Shown::from(row));
            let rows = client.list(dialect, user, Some(&attempt.tag()), keep).await;
            return rows.map_or_else(failed, |rows| claim(rows, attempt));
        }
        let keep = |row| Some(Shown::from(row).listed(&self.context.cluster));
        let rows = match client.list(dialect, user, None, keep).await {
            Ok(rows) => rows,
            Err(error) => return failed(error),
        };
        let ids = suspects(rows, attempt, &self.context.named(), &s.credentials);
        match self.context.write_down(&session.key, &ids).await {
            Ok(()) => {
                self.context.telemetry.unclaimed(ids.len());
                Outcome::Suspects(ids)
            }
            Err(error) => stale_or(error, of_kubernetes),
        }
    }

    pub(super) async fn recover(&self, issued: &Issued) -> Outcome {
        let session = match self.permit(PATIENCE).await {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        let Identity {
            dialect, user_id, ..
        } = &session.identity;
        match session
            .client
            .find(*dialect, user_id.as_ref(), &issued.token_id)
            .await
        {
            Ok(Found::Nothing) => Outcome::Recovered(Recovery::Gone),
            Ok(Found::Row(row)) => {
                let value = row.token.filter(|value| value.hash() == issued.hash);
                Outcome::Recovered(value.map_or(Recovery::Withheld, Recovery::Value))
            }
            Err(error) => {
                Outcome::Failed(self.platform_trouble("asking for the value of the token", &error))
            }
        }
    }

    pub(super) async fn verify(
        &self,
        s: &Snapshot,
        issued: &Issued,
        value: &TokenValue,
    ) -> Outcome {
        let doing = format!("proving token {}", issued.token_id);
        let Some(client) = self.with_own_value(&issued.base_url, value) else {
            return Outcome::Failed(self.not_allowed(&issued.base_url));
        };
        let dialect = match &self.session {
            Some(_) => match self.permit(FOLLOW_UP).await {
                Ok(session) => session.identity.dialect,
                Err(outcome) => return outcome,
            },
            None => Dialect::Documented,
        };
        match client.probe(dialect).await {
            Ok(()) => Outcome::Verified,
            Err(error @ (Error::Unauthorized(_) | Error::Forbidden(_))) => {
                let text = format!(
                    "{doing}: {error}; it is kept in its Secret and proven again with back-off"
                );
                let trouble = Trouble::transient(Reason::VerificationFailed, text);
                if matches!(error, Error::Unauthorized(_)) {
                    // A list is compared with what statuses name.
                    let told = s.token.status.token_id.as_ref() == Some(&issued.token_id);
                    if let Some(session) = self.session.as_ref().filter(|_| told) {
                        let now = self.context.clock.now();
                        self.context.accounts.doubt_token(&session.key, now);
                    }
                    Outcome::ValueUnknown(trouble)
                } else {
                    Outcome::Failed(trouble)
                }
            }
            Err(error) => Outcome::Failed(self.platform_trouble(&doing, &error)),
        }
    }

    pub(super) async fn revoke(
        &self,
        s: &Snapshot,
        token_id: &TokenId,
        base_url: &str,
        with: &RevokeWith,
    ) -> Outcome {
        let doing = format!("revoking token {token_id}");
        // Another PlatformToken may have taken it over, or adopted it, since this one came to owe it.
        if self.context.is_held_by_another(token_id, &s.token.owner) {
            return Outcome::NotOurs;
        }
        let answer = match with {
            RevokeWith::ItsValue(value) => match self.with_own_value(base_url, value) {
                Some(client) => client.delete(token_id).await,
                None => return Outcome::Failed(self.not_allowed(base_url)),
            },
            RevokeWith::Account | RevokeWith::AccountIfOurs { .. } => {
                // A line that is too long is no silence of the platform.
                let patience = s.patience(self.context.clock.now());
                let patience = patience.map_or(FOLLOW_UP, |patience| FOLLOW_UP.min(patience / 2));
                let session = match self.permit(patience).await {
                    Ok(session) => session,
                    Err(outcome) => return outcome,
                };
                if let RevokeWith::AccountIfOurs { hash, .. } = with {
                    let Identity {
                        dialect, user_id, ..
                    } = &session.identity;
                    let found = session
                        .client
                        .find(*dialect, user_id.as_ref(), token_id)
                        .await;
                    match found {
                        Ok(Found::Nothing) => return Outcome::NotListed,
                        Ok(Found::Row(row)) => {
                            let row = Shown::from(*row);
                            let credential = row.has_value_of(&s.credentials);
                            if credential || !row.is_of(&s.token.owner, hash.as_ref()) {
                                return Outcome::NotOurs;
                            }
                        }
                        Err(error) => {
                            return Outcome::Failed(self.platform_trouble(&doing, &error));
                        }
                    }
                }
                session.client.delete(token_id).await
            }
        };
        let error = match answer {
            Ok(()) | Err(Error::NotFound(_)) => return Outcome::Revoked,
            Err(error) => error,
        };
        let own = matches!(with, RevokeWith::ItsValue(_));
        match error {
            Error::Unauthorized(_) if own => Outcome::SelfUnknown,
            Error::Forbidden(_) if own => Outcome::SelfRefused,
            error if error.is_definite() => Outcome::Failed(self.platform_trouble(&doing, &error)),
            error => Outcome::RevokeUnknown(self.platform_trouble(&doing, &error)),
        }
    }

    pub(super) async fn take_permit(&self) -> Outcome {
        match self.permit(PATIENCE).await {
            Ok(_) => Outcome::Permitted,
            Err(outcome) => outcome,
        }
    }

    /// The one way to the account: a permit of its throttle, and the session that the snapshot rests on, if it still is
    /// what the account is.
    pub(super) async fn permit(&self, patience: Duration) -> Result<&Session, Outcome> {
        let Some(session) = &self.session else {
            return Err(Outcome::Failed(no_session()));
        };
        match session.throttle.permit(patience).await {
            Ok(()) if self.context.accounts.is_current(session) => Ok(session),
            Ok(()) | Err(Denied::Busy) => Err(Outcome::Stale),
            Err(denied @ Denied::Paused(_)) => Err(Outcome::Failed(denied.into())),
        }
    }

    /// A client that acts as the token itself, if its platform is allowed.
    pub(super) fn with_own_value(&self, base_url: &str, value: &TokenValue) -> Option<Client> {
        let transport = self.context.platforms.connect(base_url)?;
        Some(Client::new(
            transport,
            Credential::from(value),
            self.context.clock,
        ))
    }

    fn not_allowed(&self, base_url: &str) -> Trouble {
        Trouble::stalled(
            Reason::BaseURLNotAllowed,
            self.context.platforms.refusal(base_url),
        )
    }

    /// What a failure means; one that concerns the whole account is told to it as well.
    pub(super) fn platform_trouble(&self, doing: &str, error: &Error) -> Trouble {
        let session = self.session.as_deref();
        let accounts = &self.context.accounts;
        match (session, error) {
            (Some(session), Error::Unauthorized(_) | Error::Forbidden(_)) => {
                accounts.doubt(&session.key);
            }
            (Some(session), Error::NotSent(_) | Error::Lost(_) | Error::Unavailable { .. }) => {
                accounts.doubt_silence(&session.key, self.context.clock.now());
            }
            _ => {}
        }
        let throttle = session.map(|session| &*session.throttle);
        self.context.call_failed(throttle, doing, error)
    }
}

fn no_session() -> Trouble {
    Trouble::transient(
        Reason::AccountPending,
        "the account is not proven at the moment",
    )
}
