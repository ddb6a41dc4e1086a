//! Waiting until PlatformTokens are Ready, by one watch: looking at them in turns would load the very server that is
//! measured.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use platform_token_operator::api::PlatformToken;
use tokio::time::{Instant, timeout};

/// How long nothing may become Ready before we give up.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often to say how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

/// A watch of all PlatformTokens, caught up with the present.
pub(crate) struct ReadyWatch {
    events: BoxStream<'static, Result<Event<PlatformToken>, watcher::Error>>,
    /// Since when each is.
    ready: HashMap<String, Instant>,
}

/// When PlatformTokens became Ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Became {
    pub(crate) first: Instant,
    pub(crate) last: Instant,
}

impl ReadyWatch {
    /// Returns once the watch has seen what there is; none of it is Ready.
    pub(crate) async fn begin(client: kube::Client) -> anyhow::Result<Self> {
        let mut events = watcher(Api::all(client), watcher::Config::default()).boxed();
        while let Some(event) = events.try_next().await? {
            if matches!(event, Event::InitDone) {
                break;
            }
        }
        Ok(Self {
            events,
            ready: HashMap::new(),
        })
    }

    /// Waits until `all` are Ready.
    pub(crate) async fn until(&mut self, all: usize) -> anyhow::Result<Became> {
        self.until_such(all, |_| true).await
    }

    /// When each became so.
    pub(crate) fn moments(&self) -> impl Iterator<Item = Instant> {
        self.ready.values().copied()
    }

    /// Waits until so many of those that are `such` are Ready, and looks at no others.
    pub(crate) async fn until_such(
        &mut self,
        all: usize,
        such: impl Fn(&PlatformToken) -> bool,
    ) -> anyhow::Result<Became> {
        let (mut first, mut progress) = (None, Instant::now() + PROGRESS);
        loop {
            let next = timeout(PATIENCE, self.next(&such)).await.with_context(|| {
                let ready = self.ready.len();
                format!("{ready} of {all} PlatformTokens are Ready, and for {PATIENCE:?} no more became so")
            });
            next??;
            let last = Instant::now();
            let first = *first.get_or_insert(last);
            if self.ready.len() == all {
                return Ok(Became { first, last });
            }
            if last > progress {
                eprintln!("    {} of {all} are Ready", self.ready.len());
                progress = last + PROGRESS;
            }
        }
    }

    /// Waits for one more.
    async fn next(&mut self, such: impl Fn(&PlatformToken) -> bool) -> anyhow::Result<()> {
        while let Some(event) = self.events.try_next().await? {
            if let Event::Apply(token) | Event::InitApply(token) = event
                && is_ready(&token)
                && such(&token)
            {
                let known = self.ready.len();
                self.ready
                    .entry(token.name_any())
                    .or_insert_with(Instant::now);
                if self.ready.len() > known {
                    return Ok(());
                }
            }
        }
        anyhow::bail!("the watch of PlatformTokens ended")
    }
}

fn is_ready(token: &PlatformToken) -> bool {
    let conditions = token.status.iter().flat_map(|status| &status.conditions);
    conditions
        .filter(|condition| condition.type_ == "Ready")
        .any(|condition| condition.status == "True")
}
