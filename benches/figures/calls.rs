//! What the API server was asked for, by its own count.

use std::collections::BTreeMap;

use anyhow::Context;

/// The kinds that operator and floor have to do with. Nobody else touches these while we measure, so that their
/// counters are ours.
const KINDS: [&str; 6] = [
    "platformtokens",
    "platformaccounts",
    "clusterplatformaccounts",
    "secrets",
    "events",
    "namespaces",
];

/// One kind of call to the API server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    /// As the server counts them: POST, PATCH, GET, LIST, WATCH…
    verb: String,
    /// With its subresource: `platformtokens/status`.
    resource: String,
    dry_run: bool,
    /// The answer's HTTP status.
    code: String,
}

impl Call {
    /// Whether it changed something.
    fn is_write(&self) -> bool {
        !self.is_read() && !self.dry_run && !self.is_event()
    }

    fn is_read(&self) -> bool {
        matches!(self.verb.as_str(), "GET" | "LIST" | "WATCH")
    }

    fn is_event(&self) -> bool {
        self.resource == "events"
    }
}

/// How often each call was made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls {
    by_call: BTreeMap<Call, u64>,
    /// All requests by the operator's service account, as priority and fairness counts them: nothing escapes it. A
    /// watch counts when it begins, in `by_call` when it ends.
    pub(crate) by_account: u64,
}

impl Calls {
    /// Reads the API server's counters; asking for them is not counted among [`KINDS`].
    pub(crate) async fn so_far(admin: &kube::Client) -> anyhow::Result<Self> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let text = admin
            .request_text(request)
            .await
            .context("cannot read the API server's metrics")?;
        let mut calls = Self::default();
        for line in text.lines() {
            if let Some(labels) = line.strip_prefix("apiserver_request_total") {
                calls.add(labels);
            } else if let Some(labels) =
                line.strip_prefix("apiserver_flowcontrol_dispatched_requests_total")
                && label(labels, "flow_schema") == Some("service-accounts")
            {
                calls.by_account += count(labels);
            }
        }
        Ok(calls)
    }

    fn add(&mut self, labels: &str) {
        let text = |name| label(labels, name).unwrap_or_default().to_owned();
        let (resource, subresource) = (text("resource"), text("subresource"));
        if !KINDS.contains(&resource.as_str()) {
            return;
        }
        let call = Call {
            verb: text("verb"),
            resource: match subresource.as_str() {
                "" => resource,
                _ => format!("{resource}/{subresource}"),
            },
            dry_run: !text("dry_run").is_empty(),
            code: text("code"),
        };
        *self.by_call.entry(call).or_default() += count(labels);
    }

    /// What was called between an earlier reading and this one.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |call| earlier.by_call.get(call).copied().unwrap_or_default();
        let changed = self.by_call.iter().filter_map(|(call, &times)| {
            let times = times - before(call);
            (times > 0).then(|| (call.clone(), times))
        });
        Self {
            by_call: changed.collect(),
            by_account: self.by_account - earlier.by_account,
        }
    }

    /// How many of the calls are such.
    fn count(&self, such: impl Fn(&Call) -> bool) -> u64 {
        let such = self.by_call.iter().filter(|(call, _)| such(call));
        such.map(|(_, times)| times).sum()
    }

    pub(crate) fn writes(&self) -> u64 {
        self.count(Call::is_write)
    }

    pub(crate) fn dry_runs(&self) -> u64 {
        self.count(|call| call.dry_run)
    }

    pub(crate) fn events(&self) -> u64 {
        self.count(Call::is_event)
    }

    pub(crate) fn reads(&self) -> u64 {
        self.count(Call::is_read)
    }

    /// Each call by its name, such as `POST secrets (dry run)`; a code is named only where it is no success.
    pub(crate) fn by_name(&self) -> BTreeMap<String, u64> {
        let mut by_name = BTreeMap::new();
        for (call, times) in &self.by_call {
            let dry_run = if call.dry_run { " (dry run)" } else { "" };
            let code = match call.code.as_str() {
                code if code.starts_with('2') => String::new(),
                code => format!(" -> {code}"),
            };
            let name = format!("{} {}{dry_run}{code}", call.verb, call.resource);
            *by_name.entry(name).or_default() += times;
        }
        by_name
    }
}

/// A label's value in `{a="x",b="y"} 1`. The labels that we ask for hold nothing that is escaped.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(['{', ',']).find_map(|pair| {
        pair.strip_prefix(name)?
            .strip_prefix("=\"")?
            .split('"')
            .next()
    })
}

/// The sample after the labels. A counter is a whole number, which may be written as `1.5e+06`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a counter is a whole number, and far below 2^53"
)]
fn count(labels: &str) -> u64 {
    let sample = labels.rsplit(' ').next();
    sample
        .and_then(|text| text.parse::<f64>().ok())
        .unwrap_or(0.0) as u64
}
