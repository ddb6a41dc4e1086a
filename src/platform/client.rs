//! The calls that the operator makes, in whichever dialect the platform speaks.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use url::form_urlencoded;

use super::transport::{Method, Request, Response, SendError};
use super::wire::{self, Me, Page};
use super::{Error, Row, Transport};
use crate::api::{Credential, Dialect, TokenId, UserId};
use crate::clock::Clock;

/// How long a POST may take in all; the rule for lost answers waits longer than this.
const POST_DEADLINE: Duration = Duration::from_secs(20);

/// How long any other call may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Rows to ask for at once; the platform may send fewer.
const PAGE: usize = 100;

/// The most pages that one list may take: a list that never ends is a broken one.
const MAX_PAGES: usize = 2000;

/// How often a list that changes under us is begun anew.
const MAX_PASSES: usize = 5;

const TOKENS: &str = "/api/v1/platform-tokens/";
const APPLICATIONS: &str = "/api/v1/applications/";

/// A client of one platform with one credential.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    credential: Credential,
    clock: Clock,
}

/// What a credential proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whoami {
    /// The dialect that the platform answered in.
    pub dialect: Dialect,
    /// The user; unknown on a documented platform whose list is empty.
    pub user_id: Option<UserId>,
    /// The user's name, in the current dialect.
    pub username: Option<String>,
}

/// What the platform knows of one id.
#[derive(Debug, Clone)]
pub enum Found {
    /// It lives.
    Row(Box<Row>),
    /// There is no such token.
    Nothing,
}

impl Client {
    /// A client that speaks over `transport`, which knows the platform's address.
    pub fn new(transport: Arc<dyn Transport>, credential: Credential, clock: Clock) -> Self {
        Self {
            transport,
            credential,
            clock,
        }
    }

    /// Asks who the credential belongs to, and learns the dialect from the answer.
    pub async fn whoami(&self) -> Result<Whoami, Error> {
        let answer = self.get(format!("{TOKENS}me/")).await?;
        if answer.status != 404 {
            let me: Me = self.read(&answer)?;
            return Ok(Whoami {
                dialect: Dialect::Current,
                user_id: Some(me.id),
                username: me.username.as_deref().map(wire::redact),
            });
        }
        // The documented dialect has no `me`, whatever its 404 looks like; a row of its list tells the user. A list in
        // the current dialect says that the 404 was somebody else's.
        let page: Page = self.read(&self.get(format!("{TOKENS}?limit=1&offset=0")).await?)?;
        if page.dialect == Dialect::Current {
            let text =
                "404 for platform-tokens/me/ from a platform that speaks the current dialect";
            return Err(Error::Broken(text.into()));
        }
        let user_id = page.rows.into_iter().next().map(|row| row.user_id);
        Ok(Whoami {
            dialect: Dialect::Documented,
            user_id,
            username: None,
        })
    }

    /// Proves that the credential works, as cheaply as the dialect allows.
    pub async fn probe(&self, dialect: Dialect) -> Result<(), Error> {
        let target = match dialect {
            Dialect::Current => format!("{TOKENS}me/"),
            Dialect::Documented => APPLICATIONS.to_owned(),
        };
        let answer: serde_json::Value = self.read(&self.get(target).await?)?;
        if answer.is_object() {
            Ok(())
        } else {
            Err(Error::Broken("JSON that is no object".into()))
        }
    }

    /// Mints a token: one POST, never repeated. On an error ask [`Error::is_definite`] before anything else. The answer
    /// may withhold the value.
    pub async fn create(&self, dialect: Dialect, tags: &[String]) -> Result<Row, Error> {
        let body = match dialect {
            Dialect::Current => Some(Bytes::from(json!({ "tags": tags }).to_string())),
            Dialect::Documented => None,
        };
        let response = self
            .send(Method::Post, TOKENS.to_owned(), body, POST_DEADLINE)
            .await?;
        self.read(&response)
    }

    /// What `keep` makes of every token of the user, or of those with a tag (current dialect), in no certain order. The
    /// list is read page by page, and nothing else of it is kept: a value that `keep` drops is wiped.
    ///
    /// Rows that come and go between pages shift the others, so only a complete pass counts: one whose pages join, and
    /// whose distinct ids are as many as every page of it said. It has every row that lived throughout. What was kept of
    /// a pass that turns out incomplete is thrown away. A list that never holds still that long is an error.
    pub async fn list<T>(
        &self,
        dialect: Dialect,
        user: Option<&UserId>,
        tag: Option<&str>,
        keep: impl Fn(Row) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        // The server's filter is a hint.
        let tagged = |row: &Row| tag.is_none_or(|tag| row.tags.iter().any(|t| t == tag));
        for _ in 0..MAX_PASSES {
            let mut kept = Vec::new();
            let each = |row| kept.extend(Some(row).filter(tagged).and_then(&keep));
            if self.pass(dialect, user, tag, each).await? {
                return Ok(kept);
            }
        }
        Err(changing())
    }

    /// One pass over a list, each row once; whether it was complete. Each page begins with the last row of the one
    /// before it, so that rows which slip past us, because others before them went, are noticed.
    async fn pass(
        &self,
        dialect: Dialect,
        user: Option<&UserId>,
        tag: Option<&str>,
        mut each: impl FnMut(Row),
    ) -> Result<bool, Error> {
        let mut seen: HashSet<TokenId> = HashSet::new();
        let mut last: Option<TokenId> = None;
        let mut count = None;
        for _ in 0..MAX_PAGES {
            let offset = seen.len().saturating_sub(1);
            let page = self.page(dialect, user, tag, offset).await?;
            let held_still = *count.get_or_insert(page.count) == page.count;
            let joins = last.is_none() || page.rows.first().map(|row| &row.id) == last.as_ref();
            let known = seen.len();
            last = page.rows.last().map(|row| row.id.clone());
            for row in page.rows {
                if seen.insert(row.id.clone()) {
                    each(row);
                }
            }
            let ended = seen.len() >= page.count || seen.len() == known;
            if ended || !held_still || !joins {
                return Ok(held_still && joins && seen.len() == page.count);
            }
        }
        Err(Error::Broken(format!(
            "the list does not end after {MAX_PAGES} pages"
        )))
    }

    async fn page(
        &self,
        dialect: Dialect,
        user: Option<&UserId>,
        tag: Option<&str>,
        offset: usize,
    ) -> Result<Page, Error> {
        let mut query = vec![
            ("limit", PAGE.to_string()),
            ("offset", offset.to_string()),
            ("ordering", "-created_at".into()),
        ];
        if dialect == Dialect::Current {
            query.extend(user.map(|user| ("user_id", user.to_string())));
            query.extend(tag.map(|tag| ("tag", tag.to_owned())));
        }
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(query)
            .finish();
        self.read(&self.get(format!("{TOKENS}?{query}")).await?)
    }

    /// Looks for one token by its id. That there is none always rests on a complete list: a 404 alone may be a proxy's,
    /// or a replica's that lags.
    pub async fn find(
        &self,
        dialect: Dialect,
        user: Option<&UserId>,
        id: &TokenId,
    ) -> Result<Found, Error> {
        if dialect == Dialect::Current {
            let answer = self.get(format!("{TOKENS}{id}")).await?;
            match self.read::<Row>(&answer) {
                Ok(row) if row.id == *id => return Ok(Found::Row(Box::new(row))),
                Ok(row) => {
                    let text = format!("asked for token {id}, got token {}", row.id);
                    return Err(Error::Broken(text));
                }
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        for _ in 0..MAX_PASSES {
            let mut found = None;
            let each = |row: Row| found = found.take().or_else(|| (row.id == *id).then_some(row));
            let complete = self.pass(dialect, user, None, each).await?;
            match found {
                Some(row) => return Ok(Found::Row(Box::new(row))),
                None if complete => return Ok(Found::Nothing),
                None => {}
            }
        }
        Err(changing())
    }

    /// Revokes a token. [`Error::NotFound`] says that there is no such token any more.
    pub async fn delete(&self, id: &TokenId) -> Result<(), Error> {
        let response = self
            .send(Method::Delete, format!("{TOKENS}{id}/"), None, DEADLINE)
            .await?;
        wire::deleted(&response, &self.credential, self.clock.now().wall)
    }

    async fn get(&self, target: String) -> Result<Response, Error> {
        self.send(Method::Get, target, None, DEADLINE).await
    }

    async fn send(
        &self,
        method: Method,
        target: String,
        body: Option<Bytes>,
        deadline: Duration,
    ) -> Result<Response, Error> {
        let request = Request {
            method,
            target,
            credential: self.credential.clone(),
            body,
            deadline,
        };
        self.transport
            .send(request)
            .await
            .map_err(|error| match error {
                SendError::NotSent(why) => Error::NotSent(why),
                SendError::Lost(why) => Error::Lost(why),
            })
    }

    fn read<T: for<'de> serde::Deserialize<'de>>(&self, response: &Response) -> Result<T, Error> {
        wire::read(response, &self.credential, self.clock.now().wall)
    }
}

fn changing() -> Error {
    Error::Broken(format!(
        "the list changed during each of {MAX_PASSES} passes"
    ))
}
