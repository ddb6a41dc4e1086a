//! The fault script: which calls go wrong, when and how. It only decides; [`Sandbox`](super::Sandbox) acts.
//!
//! As JSON a script is a list of rules. This one loses the answer of the second POST, which takes effect all the
//! same, and then answers two lists with the page of a proxy:
//!
//! ```json
//! [
//!   {"call": {"method": "POST"}, "skip": 1, "fault": {"reset": {"when": "after"}}},
//!   {"call": {"method": "GET", "route": "/platform-tokens/"}, "times": 2,
//!    "fault": {"status": {"status": 503, "body": "html", "retry_after": "7"}}}
//! ]
//! ```

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::exchange::{Reply, Route, Verb};
use crate::api::UserId;

/// Rules in order. A call goes to the first one that is due, but every rule counts the calls that it matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    rules: Vec<Armed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Armed {
    rule: Rule,
    /// Calls that matched so far, up to `rule.skip`.
    skipped: u32,
    /// Calls that went wrong so far.
    fired: u32,
}

impl Script {
    /// What happens to this call; `None`: nothing unusual.
    pub fn decide(&mut self, call: &Call) -> Option<Fault> {
        let mut verdict = None;
        for armed in &mut self.rules {
            if !armed.rule.call.matches(call) {
                continue;
            }
            if armed.skipped < armed.rule.skip {
                armed.skipped += 1;
            } else if verdict.is_none() && armed.rule.times.is_none_or(|times| armed.fired < times)
            {
                armed.fired = armed.fired.saturating_add(1);
                verdict = Some(armed.rule.fault.clone());
            }
        }
        verdict
    }
}

impl From<Vec<Rule>> for Script {
    fn from(rules: Vec<Rule>) -> Self {
        let arm = |rule| Armed {
            rule,
            skipped: 0,
            fired: 0,
        };
        Self {
            rules: rules.into_iter().map(arm).collect(),
        }
    }
}

/// A call as rules see it.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its method.
    pub verb: Verb,
    /// Its path's template.
    pub route: Route,
    /// Whose credential it bears, if it is a live one.
    pub user_id: Option<UserId>,
    /// The tags that it is about: of the token to be made, of the list asked for, or of the token named.
    pub tags: Vec<String>,
}

/// One rule of the script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The calls that it is about.
    #[serde(default)]
    pub call: Match,
    /// How many of them pass unharmed first.
    #[serde(default)]
    pub skip: u32,
    /// How many go wrong after that; `null` is all of them, absent is one.
    #[serde(default = "once")]
    pub times: Option<u32>,
    /// What goes wrong.
    pub fault: Fault,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the default of a field that is optional"
)]
fn once() -> Option<u32> {
    Some(1)
}

impl Rule {
    /// The first call of this kind goes wrong once.
    #[must_use]
    pub fn once(call: Match, fault: Fault) -> Self {
        Self {
            call,
            skip: 0,
            times: once(),
            fault,
        }
    }

    /// Every call of this kind goes wrong.
    #[must_use]
    pub fn always(call: Match, fault: Fault) -> Self {
        Self {
            times: None,
            ..Self::once(call, fault)
        }
    }
}

/// A pattern of calls; what is absent matches anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// Only this method.
    pub method: Option<Verb>,
    /// Only this template of a path.
    pub route: Option<Route>,
    /// Only calls that bear a live credential of this account.
    pub user_id: Option<UserId>,
    /// Only calls about a token with exactly this tag.
    pub tag: Option<String>,
}

impl Match {
    /// All calls of one method to one route.
    #[must_use]
    pub fn on(method: Verb, route: Route) -> Self {
        Self {
            method: Some(method),
            route: Some(route),
            ..Self::default()
        }
    }

    fn matches(&self, call: &Call) -> bool {
        self.method.is_none_or(|method| method == call.verb)
            && self.route.is_none_or(|route| route == call.route)
            && (self.user_id.is_none() || self.user_id == call.user_id)
            && self.tag.as_ref().is_none_or(|tag| call.tags.contains(tag))
    }
}

/// What goes wrong. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Another answer than the platform's.
    Status {
        /// Before: refused without effect. After: the effect hides behind an error.
        #[serde(default)]
        when: When,
        /// The status to send.
        status: u16,
        /// The shape of its body.
        #[serde(default)]
        body: Shape,
        /// The text of the header `retry-after`.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// A body that no client expects, sent as `application/json`.
    Garbage {
        /// Before: nothing took effect behind it.
        #[serde(default)]
        when: When,
        /// The status to send, 200 if absent.
        #[serde(default = "ok")]
        status: u16,
        /// The body, word for word.
        text: String,
    },
    /// The connection is closed without an answer.
    Reset {
        /// Before: nothing took effect.
        #[serde(default)]
        when: When,
    },
    /// No answer comes until the client gives up.
    Hang {
        /// Before: nothing took effect.
        #[serde(default)]
        when: When,
    },
    /// No answer comes, and the call takes effect this long after it came: longer perhaps than its client waits.
    Late {
        /// How long it is on its way.
        ms: u64,
    },
    /// A proxy sends the call a second time, and passes on the second answer.
    Twice {
        /// The connection closes instead, without a word.
        #[serde(default)]
        lost: bool,
    },
    /// Half of the answer's body, then the connection is closed; an answer without a body is lost whole.
    Cut,
    /// The answer, but this much later.
    Latency {
        /// How much later.
        ms: u64,
    },
    /// The answer, its body dribbling out.
    Slow {
        /// From the first byte of the body to the last one.
        ms: u64,
    },
}

fn ok() -> u16 {
    200
}

/// Whether the call takes effect before it goes wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// It does not take effect.
    #[default]
    Before,
    /// It does, and its answer is lost or changed.
    After,
}

/// The shape of an error's body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The management API: `{"detail": …}`.
    #[default]
    Detail,
    /// The gateway: `{"error": {"code", "message"}, "trace_id"}`.
    Gateway,
    /// A proxy in between: a page of HTML.
    Html,
}

impl Shape {
    /// An error in this shape.
    #[must_use]
    pub fn reply(self, status: u16, retry_after: Option<String>) -> Reply {
        let says = http::StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Scripted fault");
        let reply = match self {
            Self::Detail => Reply::detail(status, says),
            Self::Gateway => {
                let error = json!({"code": "scripted_fault", "message": says});
                Reply::json(status, &json!({"error": error, "trace_id": "sandbox"}))
            }
            Self::Html => Reply::text(
                status,
                "text/html",
                format!("<html><body><h1>{status} {says}</h1></body></html>"),
            ),
        };
        Reply {
            retry_after,
            ..reply
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Fault = Fault::Cut;
    const RESET: Fault = Fault::Reset { when: When::After };

    fn call(verb: Verb) -> Call {
        Call {
            verb,
            route: Route::Tokens,
            user_id: Some(UserId::parse("alice").unwrap()),
            tags: vec!["attempt=1".into(), "uid=2".into()],
        }
    }

    /// What happens to this many POSTs.
    fn verdicts(rules: Vec<Rule>, calls: usize) -> Vec<Option<Fault>> {
        let mut script = Script::from(rules);
        std::iter::repeat_with(|| script.decide(&call(Verb::Post)))
            .take(calls)
            .collect()
    }

    #[test]
    fn a_rule_lets_some_pass_then_fires_its_number_of_times() {
        let cut = |skip, times| Rule {
            skip,
            times,
            ..Rule::once(Match::default(), CUT)
        };
        for (rule, fires) in [
            (cut(0, Some(1)), [true, false, false, false]),
            (cut(1, Some(2)), [false, true, true, false]),
            (cut(2, None), [false, false, true, true]),
            (cut(0, Some(0)), [false; 4]),
        ] {
            let expected = fires.map(|fires| fires.then_some(CUT));
            assert_eq!(verdicts(vec![rule.clone()], 4), expected, "{rule:?}");
        }
    }

    #[test]
    fn the_first_rule_that_is_due_takes_the_call_and_later_ones_count_it() {
        let cut = Rule::once(Match::default(), CUT);
        let second = Rule {
            skip: 1,
            ..Rule::once(Match::default(), RESET)
        };
        assert_eq!(
            verdicts(vec![cut, second], 3),
            [Some(CUT), Some(RESET), None]
        );
    }

    #[test]
    fn a_match_is_met_in_every_part() {
        let matching = |json| serde_json::from_value::<Match>(json).unwrap();
        for (pattern, met) in [
            (json!({}), true),
            (json!({"method": "POST"}), true),
            (json!({"method": "GET"}), false),
            (
                json!({"method": "POST", "route": "/platform-tokens/"}),
                true,
            ),
            (json!({"route": "/platform-tokens/{id}/"}), false),
            (json!({"user_id": "alice", "tag": "uid=2"}), true),
            (json!({"user_id": "bob", "tag": "uid=2"}), false),
            (json!({"tag": "uid="}), false),
        ] {
            let rule = matching(pattern.clone());
            assert_eq!(rule.matches(&call(Verb::Post)), met, "{pattern}");
        }
    }

    #[test]
    fn every_fault_survives_json() {
        let when = When::After;
        for fault in [
            Fault::Status {
                when,
                status: 429,
                body: Shape::Html,
                retry_after: Some("soon".into()),
            },
            Fault::Garbage {
                when,
                status: 201,
                text: "not json".into(),
            },
            Fault::Reset { when },
            Fault::Hang { when },
            Fault::Late { ms: 1 },
            Fault::Twice { lost: true },
            Fault::Cut,
            Fault::Latency { ms: 2 },
            Fault::Slow { ms: 3 },
        ] {
            let rule = Rule::always(Match::on(Verb::Delete, Route::Token), fault);
            let json = serde_json::to_string(&rule).unwrap();
            assert_eq!(serde_json::from_str::<Rule>(&json).unwrap(), rule, "{json}");
        }
    }

    #[test]
    fn a_short_rule_means_the_next_call_and_an_unknown_word_is_refused() {
        let parse = serde_json::from_value::<Rule>;
        let reset = Fault::Reset { when: When::Before };
        assert_eq!(
            parse(json!({"fault": {"reset": {}}})).unwrap(),
            Rule::once(Match::default(), reset)
        );
        let always = parse(json!({"times": null, "fault": "cut"})).unwrap();
        assert_eq!(always, Rule::always(Match::default(), CUT));
        for wrong in [
            json!({"fault": {"reset": {}}, "time": 1}),
            json!({"fault": {"reset": {"wen": "after"}}}),
            json!({"fault": {"latency": {"ms": 1, "s": 1}}}),
            json!({"fault": {"cut": {"when": "before"}}}),
            json!({"fault": "burn"}),
            json!({"call": {"method": "get"}, "fault": "cut"}),
            json!({"call": {"path": "/x"}, "fault": "cut"}),
            json!({"call": {"route": "/platform-tokens"}, "fault": "cut"}),
            json!({}),
        ] {
            assert!(parse(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_documented_script_parses() {
        let script = r#"[
          {"call": {"method": "POST"}, "skip": 1, "fault": {"reset": {"when": "after"}}},
          {"call": {"method": "GET", "route": "/platform-tokens/"}, "times": 2,
           "fault": {"status": {"status": 503, "body": "html", "retry_after": "7"}}}
        ]"#;
        assert_eq!(serde_json::from_str::<Vec<Rule>>(script).unwrap().len(), 2);
    }
}
