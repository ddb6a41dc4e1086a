//! How the platform answers each call, in both dialects: the public API as executable rules.

use bytes::Bytes;
use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::exchange::{Exchange, Reply, Target, Verb};
use super::fault::Call;
use super::model::{Caller, Model, Token};
use crate::api::{Dialect, TokenId};

impl Model {
    /// Carries out one call and answers it.
    pub fn handle(&mut self, exchange: &Exchange, now: Timestamp) -> Reply {
        self.answer(exchange, now).unwrap_or_else(|refusal| refusal)
    }

    /// What a call is about, as the fault script sees it; nothing is carried out.
    #[must_use]
    pub fn describe(&self, exchange: &Exchange) -> Call {
        let tags = match &exchange.target {
            Target::Token(id) => self.tokens.get(id).map(|token| token.seen.tags.clone()),
            Target::Tokens if exchange.verb == Verb::Post => {
                Order::read(&exchange.body).map(|order| order.tags).ok()
            }
            _ => exchange.parameter("tag").map(|tag| vec![tag.to_owned()]),
        };
        Call {
            verb: exchange.verb,
            route: exchange.target.route(),
            user_id: self.caller(exchange).map(|caller| caller.user_id.clone()),
            tags: tags.unwrap_or_default(),
        }
    }

    /// `Err` is an answer too: a refusal.
    fn answer(&mut self, exchange: &Exchange, now: Timestamp) -> Result<Reply, Reply> {
        if exchange.target == Target::Unknown {
            return Err(not_found());
        }
        exchange.negotiate()?;
        let caller = self.caller(exchange).cloned().ok_or_else(unauthorized)?;
        self.touch(&caller, now);
        match (exchange.verb, &exchange.target) {
            (_, Target::Me) if self.config.dialect == Dialect::Documented => Err(not_found()),
            (Verb::Get, Target::Me) => self.me(&caller),
            (Verb::Get, Target::Applications) => Ok(self.page(0, &[])),
            (Verb::Get, Target::Tokens) => self.list(&caller, exchange, now),
            (Verb::Post, Target::Tokens) => self.mint(caller, &exchange.body, now),
            (Verb::Get, Target::Token(id)) => self.read(&caller, id),
            (Verb::Delete, Target::Token(id)) => self.delete(&caller, id),
            _ => Err(Reply::detail(405, "Method not allowed.")),
        }
    }

    fn caller(&self, exchange: &Exchange) -> Option<&Caller> {
        self.bearers.get(&exchange.credential.as_ref()?.hash())
    }

    /// Every call that a token is good for moves its `used_at`, also one that is then refused.
    fn touch(&mut self, caller: &Caller, now: Timestamp) {
        let token = caller.token.as_ref();
        if let Some(token) = token.and_then(|id| self.tokens.get_mut(id)) {
            token.seen.used_at = Some(now);
        }
    }

    fn me(&self, caller: &Caller) -> Result<Reply, Reply> {
        let account = self.account(&caller.user_id).ok_or_else(not_found)?;
        let me = json!({
            "id": account.user_id,
            "username": account.username,
            "email": account.email,
        });
        Ok(Reply::json(200, &me))
    }

    fn list(&self, caller: &Caller, exchange: &Exchange, now: Timestamp) -> Result<Reply, Reply> {
        let filter = Filter::of(self.config.dialect, caller, exchange);
        let listed = |token: &Token| {
            let age = now.duration_since(token.seen.created_at).unsigned_abs();
            age >= self.config.list_lag && filter.admits(token)
        };
        let mut rows: Vec<_> = self.tokens.values().filter(|token| listed(token)).collect();
        rows.sort_by_key(|token| (token.seen.created_at, token.number));
        if filter.newest_first {
            rows.reverse();
        }
        let number = |name| exchange.parameter(name)?.parse().ok();
        let cap = self.config.page_cap;
        let limit = number("limit").filter(|limit| (1..cap).contains(limit));
        let page = rows
            .iter()
            .skip(number("offset").unwrap_or(0))
            .take(limit.unwrap_or(cap));
        if page
            .clone()
            .any(|token| token.seen.user_id != caller.user_id)
        {
            return Err(forbidden());
        }
        let shown: Vec<_> = page.map(|token| self.row(token)).collect();
        Ok(self.page(rows.len(), &shown))
    }

    fn mint(&mut self, caller: Caller, body: &Bytes, now: Timestamp) -> Result<Reply, Reply> {
        let dialect = self.config.dialect;
        let order = match dialect {
            Dialect::Documented => Order::default(),
            Dialect::Current => Order::read(body)?,
        };
        let asked = order.user_id.as_deref();
        if asked.is_some_and(|asked| asked != caller.user_id.as_str()) {
            return Err(forbidden());
        }
        self.minted += 1;
        let token = self.make(caller.user_id, order.tags, order.metadata, now);
        Ok(Reply::json(201, &row(token, dialect, false)))
    }

    fn read(&self, caller: &Caller, id: &TokenId) -> Result<Reply, Reply> {
        let token = self.own(caller, id)?;
        Ok(Reply::json(200, &self.row(token)))
    }

    fn delete(&mut self, caller: &Caller, id: &TokenId) -> Result<Reply, Reply> {
        self.own(caller, id)?;
        if self.config.refuse_self_deletion && caller.token.as_ref() == Some(id) {
            return Err(Reply::detail(403, "A token cannot delete itself."));
        }
        self.revoke(id);
        self.revoked.push(id.clone());
        Ok(Reply::no_content())
    }

    /// The token of this id, if it belongs to the caller's account.
    fn own(&self, caller: &Caller, id: &TokenId) -> Result<&Token, Reply> {
        let token = self.tokens.get(id).ok_or_else(not_found)?;
        if token.seen.user_id == caller.user_id {
            Ok(token)
        } else {
            Err(forbidden())
        }
    }

    /// A row as it is shown after the POST that made it.
    fn row(&self, token: &Token) -> Value {
        row(token, self.config.dialect, self.config.mask_values)
    }

    fn page(&self, count: usize, rows: &[Value]) -> Reply {
        let rows_are = match self.config.dialect {
            Dialect::Documented => "results",
            Dialect::Current => "items",
        };
        Reply::json(200, &json!({ "count": count, rows_are: rows }))
    }
}

fn row(token: &Token, dialect: Dialect, masked: bool) -> Value {
    let seen = &token.seen;
    let value = if masked {
        "platform-v1-****"
    } else {
        token.value.expose()
    };
    let mut row = json!({
        "id": seen.id,
        "user_id": seen.user_id,
        "token": value,
        "expiration": null,
        "used_at": seen.used_at.map(iso),
        "created_at": iso(seen.created_at),
        "updated_at": iso(seen.created_at),
    });
    if dialect == Dialect::Current {
        row["tags"] = json!(seen.tags);
        row["metadata"] = json!(token.metadata);
    }
    row
}

/// ISO 8601 in UTC with six digits of a second.
fn iso(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// Which rows a list asks for, and in which order.
struct Filter<'a> {
    user_id: Option<&'a str>,
    tag: Option<&'a str>,
    newest_first: bool,
}

impl<'a> Filter<'a> {
    /// The documented dialect shows the caller's own rows and knows no filter.
    fn of(dialect: Dialect, caller: &'a Caller, exchange: &'a Exchange) -> Self {
        match dialect {
            Dialect::Documented => Self {
                user_id: Some(caller.user_id.as_str()),
                tag: None,
                newest_first: false,
            },
            Dialect::Current => Self {
                user_id: exchange.parameter("user_id"),
                tag: exchange.parameter("tag"),
                newest_first: exchange.parameter("ordering") == Some("-created_at"),
            },
        }
    }

    fn admits(&self, token: &Token) -> bool {
        let seen = &token.seen;
        self.user_id
            .is_none_or(|user| user == seen.user_id.as_str())
            && self
                .tag
                .is_none_or(|tag| seen.tags.iter().any(|own| own == tag))
    }
}

/// What the body of a POST asks for.
#[derive(Default)]
struct Order {
    tags: Vec<String>,
    metadata: Map<String, Value>,
    user_id: Option<String>,
}

impl Order {
    /// No body asks for nothing special, and unknown fields are ignored.
    fn read(body: &Bytes) -> Result<Self, Reply> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let body = serde_json::from_slice(body);
        let body = body.map_err(|_| Reply::detail(400, "JSON parse error."))?;
        let Value::Object(mut body) = body else {
            return Err(Reply::field("non_field_errors", "Not an object."));
        };
        Ok(Self {
            tags: take(&mut body, "tags", "Not a list of strings.")?.unwrap_or_default(),
            metadata: take(&mut body, "metadata", "Not an object.")?.unwrap_or_default(),
            user_id: take(&mut body, "user_id", "Not a string.")?,
        })
    }
}

fn take<T: DeserializeOwned>(
    body: &mut Map<String, Value>,
    field: &str,
    otherwise: &str,
) -> Result<Option<T>, Reply> {
    let parse = |value| serde_json::from_value(value).map_err(|_| Reply::field(field, otherwise));
    body.remove(field).map(parse).transpose()
}

fn unauthorized() -> Reply {
    Reply::detail(401, "Authentication credentials are invalid.")
}

fn forbidden() -> Reply {
    Reply::detail(403, "You do not have permission to perform this action.")
}

fn not_found() -> Reply {
    Reply::detail(404, "Not found.")
}

#[cfg(test)]
mod tests;
