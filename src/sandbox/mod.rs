//! A platform of our own: the public API in both dialects, with a script of what goes wrong.
//!
//! It serves whoever tries the operator without an account (`platform-token-operator sandbox`) and every test that
//! needs a platform. What it holds lives in memory and ends with it.
//!
//! | file | thought |
//! |---|---|
//! | `exchange` | one call and its answer, as plain data |
//! | `config` | whose tokens it holds and which of the possible platforms it is |
//! | `model` | accounts and tokens; what strangers do in the console |
//! | `rules` | how each call is answered |
//! | `fault` | which calls go wrong, when and how |
//! | here | [`Sandbox`]: the model behind the script. [`Shared`]: one sandbox for many connections |
//! | `http` | the front for sockets, with admin routes under `/_sandbox/` |
//! | `door` | the front for code in this process: a `Transport` |
//!
//! All but the last two are pure: no I/O, no clock, no chance. The fronts carry out an [`Answer`] and decide nothing.

pub mod config;
pub mod door;
pub mod exchange;
pub mod fault;
pub mod http;
pub mod model;
mod rules;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

pub use config::{Account, Config};
pub use door::Door;
pub use exchange::{Exchange, Reply, Route, Target, Verb};
pub use fault::{Call, Fault, Match, Rule, Script, Shape, When};
pub use model::{LiveToken, Model};

/// The model behind the fault script.
#[derive(Debug)]
pub struct Sandbox {
    /// What the platform holds.
    pub model: Model,
    /// What goes wrong from here on.
    pub script: Script,
    /// Calls that are still on their way, with the time at which they take effect.
    late: Vec<(Timestamp, Exchange)>,
    calls: BTreeMap<Answered, u64>,
}

/// A kind of call and how it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Answered {
    /// The method.
    pub method: Verb,
    /// The template of its path.
    pub route: Route,
    /// The status that was sent; `None`: there was no answer.
    pub status: Option<u16>,
}

impl Sandbox {
    /// A fresh platform where nothing goes wrong.
    #[must_use]
    pub fn new(config: Config, now: Timestamp) -> Self {
        Self {
            model: Model::new(config, now),
            script: Script::default(),
            late: Vec::new(),
            calls: BTreeMap::new(),
        }
    }

    /// Carries out one call, or what the script makes of it.
    pub fn exchange(&mut self, exchange: &Exchange, now: Timestamp) -> Answer {
        self.settle(now);
        let fault = self.script.decide(&self.model.describe(exchange));
        let mut delay = self.model.config.latency;
        if let Some(Fault::Latency { ms }) = fault {
            delay += Duration::from_millis(ms);
        }
        let delivery = self.deliver(fault, exchange, now);
        let answered = Answered {
            method: exchange.verb,
            route: exchange.target.route(),
            status: delivery.status(),
        };
        *self.calls.entry(answered).or_default() += 1;
        Answer { delay, delivery }
    }

    fn deliver(&mut self, fault: Option<Fault>, call: &Exchange, now: Timestamp) -> Delivery {
        match fault {
            None | Some(Fault::Latency { .. }) => Delivery::Whole(self.model.handle(call, now)),
            Some(Fault::Cut) => match self.model.handle(call, now) {
                reply if reply.body.is_empty() => Delivery::Reset,
                reply => Delivery::Cut(reply),
            },
            Some(Fault::Twice { lost }) => {
                self.model.handle(call, now);
                match self.model.handle(call, now) {
                    _ if lost => Delivery::Reset,
                    reply => Delivery::Whole(reply),
                }
            }
            Some(Fault::Slow { ms }) => {
                Delivery::Slow(self.model.handle(call, now), Duration::from_millis(ms))
            }
            Some(Fault::Late { ms }) => {
                let at = now.checked_add(Duration::from_millis(ms));
                self.late.push((at.unwrap_or(Timestamp::MAX), call.clone()));
                Delivery::Never
            }
            Some(Fault::Reset { when }) => {
                self.take_effect(when, call, now);
                Delivery::Reset
            }
            Some(Fault::Hang { when }) => {
                self.take_effect(when, call, now);
                Delivery::Never
            }
            Some(Fault::Status {
                when,
                status,
                body,
                retry_after,
            }) => {
                self.take_effect(when, call, now);
                Delivery::Whole(body.reply(status, retry_after))
            }
            Some(Fault::Garbage { when, status, text }) => {
                self.take_effect(when, call, now);
                Delivery::Whole(Reply::text(status, "application/json", text))
            }
        }
    }

    fn take_effect(&mut self, when: When, call: &Exchange, now: Timestamp) {
        if when == When::After {
            self.model.handle(call, now);
        }
    }

    /// Lets all calls that were late take effect up to now.
    pub fn settle(&mut self, now: Timestamp) {
        let mut due: Vec<_> = self.late.extract_if(.., |(at, _)| *at <= now).collect();
        due.sort_by_key(|(at, _)| *at);
        for (at, call) in due {
            self.model.handle(&call, at);
        }
    }

    /// How many calls came, by kind and answer.
    #[must_use]
    pub fn calls(&self) -> &BTreeMap<Answered, u64> {
        &self.calls
    }
}

/// What a front has to do for one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How long to wait first.
    pub delay: Duration,
    /// What to send then.
    pub delivery: Delivery,
}

/// How an answer gets to the client, or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// At once.
    Whole(Reply),
    /// The body takes this long.
    Slow(Reply, Duration),
    /// Half of the body, then the connection closes.
    Cut(Reply),
    /// The connection closes without a word.
    Reset,
    /// The connection stays open without a word.
    Never,
}

impl Delivery {
    fn status(&self) -> Option<u16> {
        match self {
            Self::Whole(reply) | Self::Slow(reply, _) | Self::Cut(reply) => Some(reply.status),
            Self::Reset | Self::Never => None,
        }
    }
}

/// Tells the sandbox the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// One sandbox and its clock, shared by connections, doors and tests.
pub struct Shared {
    clock: Clock,
    sandbox: Mutex<Sandbox>,
}

impl Shared {
    /// A fresh sandbox.
    #[must_use]
    pub fn new(config: Config, clock: Clock) -> Arc<Self> {
        let sandbox = Mutex::new(Sandbox::new(config, clock()));
        Arc::new(Self { clock, sandbox })
    }

    /// Carries out one call.
    pub fn exchange(&self, exchange: &Exchange) -> Answer {
        self.with(|sandbox, now| sandbox.exchange(exchange, now))
    }

    /// Looks at the sandbox, or changes it, as it is now.
    pub fn with<T>(&self, visit: impl FnOnce(&mut Sandbox, Timestamp) -> T) -> T {
        let mut sandbox = self.sandbox.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.clock)();
        sandbox.settle(now);
        visit(&mut sandbox, now)
    }

    /// Replaces the fault script.
    pub fn script(&self, rules: Vec<Rule>) {
        self.with(|sandbox, _| sandbox.script = rules.into());
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("sandbox", &self.sandbox)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::api::Credential;
    use crate::platform::transport::{Method, Request};

    pub(super) fn request(
        method: Method,
        target: &str,
        who: &Credential,
        body: Option<&str>,
    ) -> Request {
        Request {
            method,
            target: target.to_owned(),
            credential: who.clone(),
            body: body.map(|body| Bytes::copy_from_slice(body.as_bytes())),
            deadline: Duration::from_secs(10),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn post(sandbox: &Sandbox) -> Exchange {
        let admin = sandbox.model.admin(&Account::default().user_id).unwrap();
        let target = "/api/v1/platform-tokens/";
        (&request(Method::Post, target, &admin.into(), None)).into()
    }

    /// What a fault makes of one POST.
    fn played(fault: Fault) -> (Sandbox, Answer) {
        let mut sandbox = Sandbox::new(Config::default(), at(0));
        sandbox.script = vec![Rule::once(Match::default(), fault)].into();
        let answer = sandbox.exchange(&post(&sandbox), at(1));
        (sandbox, answer)
    }

    #[test]
    fn a_fault_before_the_effect_prevents_it_and_one_after_hides_it() {
        for (when, minted) in [(When::Before, 0), (When::After, 1)] {
            let body = Shape::Gateway;
            let retry_after = None;
            let text = "not json".to_owned();
            for fault in [
                Fault::Reset { when },
                Fault::Hang { when },
                Fault::Status {
                    when,
                    status: 502,
                    body,
                    retry_after,
                },
                Fault::Garbage {
                    when,
                    status: 201,
                    text,
                },
            ] {
                let (sandbox, answer) = played(fault.clone());
                assert_eq!(sandbox.model.minted(), minted, "{fault:?}");
                assert!(!format!("{answer:?}").contains("platform-v1"), "{fault:?}");
            }
        }
    }

    #[test]
    fn a_late_call_takes_effect_when_it_arrives_and_not_before() {
        let (mut sandbox, answer) = played(Fault::Late { ms: 30_000 });
        assert_eq!(answer.delivery, Delivery::Never);
        sandbox.settle(at(30));
        assert_eq!(sandbox.model.minted(), 0);
        sandbox.settle(at(90));
        assert_eq!(sandbox.model.minted(), 1);
        assert!(sandbox.model.live().any(|token| token.created_at == at(31)));
    }

    #[test]
    fn a_call_that_a_proxy_repeats_takes_effect_twice() {
        for lost in [false, true] {
            let (sandbox, answer) = played(Fault::Twice { lost });
            assert_eq!(sandbox.model.minted(), 2);
            assert_eq!(answer.delivery == Delivery::Reset, lost);
        }
    }

    #[test]
    fn faults_of_the_way_back_carry_the_real_answer() {
        let (_, plain) = played(Fault::Latency { ms: 0 });
        let Delivery::Whole(reply) = plain.delivery else {
            panic!("{plain:?}");
        };
        assert_eq!(reply.status, 201);
        let tenth = Duration::from_millis(100);
        let none = Duration::ZERO;
        for (fault, delay, delivery) in [
            (
                Fault::Latency { ms: 100 },
                tenth,
                Delivery::Whole(reply.clone()),
            ),
            (
                Fault::Slow { ms: 100 },
                none,
                Delivery::Slow(reply.clone(), tenth),
            ),
            (Fault::Cut, none, Delivery::Cut(reply.clone())),
        ] {
            let (sandbox, answer) = played(fault);
            assert_eq!(answer, Answer { delay, delivery });
            assert_eq!(sandbox.model.minted(), 1);
        }
    }

    #[test]
    fn an_answer_without_a_body_is_cut_off_whole() {
        let mut sandbox = Sandbox::new(Config::default(), at(0));
        sandbox.script = vec![Rule::once(Match::default(), Fault::Cut)].into();
        let id = sandbox.model.live().next().unwrap().id.clone();
        let delete = Exchange {
            verb: Verb::Delete,
            target: Target::Token(id.clone()),
            ..post(&sandbox)
        };
        let answer = sandbox.exchange(&delete, at(1));
        assert_eq!(answer.delivery, Delivery::Reset);
        assert_eq!(sandbox.model.revoked(), [id]);
    }

    #[test]
    fn errors_come_in_every_shape_of_the_field() {
        for (shape, content_type, part) in [
            (
                Shape::Detail,
                "application/json",
                r#"{"detail":"Too Many Requests"}"#,
            ),
            (Shape::Gateway, "application/json", r#""trace_id""#),
            (Shape::Html, "text/html", "<h1>429 Too Many Requests</h1>"),
        ] {
            let reply = shape.reply(429, Some("soon".into()));
            let body = String::from_utf8(reply.body.to_vec()).unwrap();
            assert!(body.contains(part), "{body}");
            assert_eq!(reply.content_type, Some(content_type));
            assert_eq!(reply.retry_after.as_deref(), Some("soon"));
        }
    }

    #[test]
    fn calls_are_counted_by_what_was_answered() {
        let (mut sandbox, _) = played(Fault::Reset { when: When::After });
        for _ in 0..2 {
            sandbox.exchange(&post(&sandbox), at(2));
        }
        let count = |status| {
            let (method, route) = (Verb::Post, Route::Tokens);
            sandbox.calls()[&Answered {
                method,
                route,
                status,
            }]
        };
        assert_eq!((count(None), count(Some(201))), (1, 2));
        assert_eq!(sandbox.model.minted(), 3);
    }

    #[test]
    fn equal_seeds_and_calls_give_equal_answers() {
        let answers = || {
            let mut sandbox = Sandbox::new(Config::default(), at(0));
            [1, 2, 3].map(|second| sandbox.exchange(&post(&sandbox), at(second)))
        };
        assert_eq!(answers(), answers());
    }
}
