//! The way of every request of ours: numbered, delayed, and perhaps befallen by a fault. What is on its way belongs to
//! nobody: it takes effect whether or not the process that sent it still waits, or lives.

use std::collections::BTreeSet;
use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Client;
use kube::client::Body;
use platform_token_operator::api::{TokenId, names};
use platform_token_operator::platform::Transport;
use platform_token_operator::platform::transport::{Method, Request, Response, SendError};
use platform_token_operator::sandbox::Door;
use serde_json::Value;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use super::apiserver::{self, Lax, Verb};
use super::chance::Chance;
use super::fault::{Fate, Fault};
use super::sabotage::{self, Sabotage};
use super::trace::Effect;
use super::world::{Post, World};

/// One life of a process, from its start to its crash.
pub(crate) struct Life {
    pub process: usize,
    pub number: u32,
    crashed: AtomicBool,
    crash: Notify,
}

impl Life {
    pub(crate) fn new(process: usize, number: u32) -> Arc<Self> {
        Arc::new(Self {
            process,
            number,
            crashed: AtomicBool::new(false),
            crash: Notify::new(),
        })
    }

    /// Ends it: from now on it sends nothing.
    pub(crate) fn crash(&self) {
        self.crashed.store(true, Ordering::Relaxed);
        self.crash.notify_one();
    }

    pub(crate) async fn crashed(&self) {
        self.crash.notified().await;
    }

    fn is_over(&self) -> bool {
        self.crashed.load(Ordering::Relaxed)
    }

    /// Its name in traces.
    fn name(&self) -> String {
        let letter = char::from(b'a' + u8::try_from(self.process).unwrap_or(25));
        format!("{letter}{}", self.number)
    }
}

/// How long our calls to the API server may take; as in `controller/kubernetes.rs`.
const KUBERNETES_DEADLINE: Duration = Duration::from_secs(15);

/// Purpose of the chance that decides the fate of effects.
const FATE: u64 = 1;

/// Why there is no answer.
enum Broken {
    /// It was never sent.
    Unsent,
    /// It may have taken effect.
    Lost,
}

impl World {
    /// Sends one request. `act` takes effect when it is first polled; its result becomes the answer.
    async fn send<A: Send + 'static>(
        self: &Arc<Self>,
        life: &Arc<Life>,
        what: String,
        deadline: Duration,
        act: impl Future<Output = A> + Send + 'static,
        told: fn(&A) -> String,
    ) -> Result<A, Broken> {
        if life.is_over() {
            return pending().await;
        }
        self.watch_the_lease(life.process, &what);
        let (place, fate) = self.depart(life, what, deadline);
        match fate.fault {
            Some(Fault::CrashBefore) => {
                life.crash();
                return pending().await;
            }
            Some(Fault::Hang) => return pending().await,
            Some(Fault::Unsent) => {
                sleep(fate.there).await;
                return Err(Broken::Unsent);
            }
            _ => {}
        }
        let (answer, answered) = oneshot::channel();
        let (world, sender) = (self.clone(), life.clone());
        self.state().travelling += 1;
        tokio::spawn(async move {
            sleep(fate.there).await;
            let mut act = Box::pin(act);
            let first = futures::poll!(&mut act);
            world.state().travelling -= 1;
            if fate.fault == Some(Fault::CrashAfter) {
                sender.crash();
            }
            let result = match first {
                std::task::Poll::Ready(result) => result,
                std::task::Poll::Pending => {
                    world.arrived(place, "no answer yet".into());
                    act.await
                }
            };
            world.arrived(place, told(&result));
            if fate.fault.is_none() {
                let _ = answer.send(result);
            }
        });
        match fate.fault {
            None => {
                let result = answered.await.map_err(|_| Broken::Lost);
                sleep(fate.back).await;
                result
            }
            Some(Fault::Lost) => {
                sleep(fate.there + fate.back).await;
                Err(Broken::Lost)
            }
            Some(_) => pending().await,
        }
    }

    /// Numbers an effect, decides its fate and notes it; where in the trace.
    fn depart(&self, life: &Life, what: String, deadline: Duration) -> (usize, Fate) {
        let sent = self.elapsed();
        let mut state = self.state();
        state.number += 1;
        let number = state.number;
        let mut chance = Chance::of(self.setup.seed, &[FATE, u64::from(number)]);
        let mut fate = state.weather.decide(number, sent, deadline, &mut chance);
        if self.setup.sabotage == Some(Sabotage::PostsTravel) && what.starts_with("POST ") {
            fate.there *= 5;
        }
        let place = state.trace.sent(Effect {
            number,
            sent,
            who: life.name(),
            what,
            fault: fate.fault,
            done: None,
            answer: String::new(),
        });
        (place, fate)
    }

    fn arrived(&self, place: usize, answer: String) {
        let at = self.elapsed();
        self.state().trace.done(place, at, answer);
    }

    /// A client of the API server, for one life of a process.
    pub(crate) fn kubernetes(self: &Arc<Self>, life: &Arc<Life>) -> Client {
        let (world, life) = (self.clone(), life.clone());
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (world, life) = (world.clone(), life.clone());
            async move { world.call(&life, request).await }
        });
        Client::new(service, "default")
    }

    async fn call(
        self: &Arc<Self>,
        life: &Arc<Life>,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, std::io::Error> {
        let request = match apiserver::read(request).await {
            Ok(request) => request,
            Err(refusal) => {
                self.violated(refusal.message.clone());
                return Ok(apiserver::write(&Err(refusal)));
            }
        };
        let what = request.describe();
        if self.is_cut_off(life.process) {
            return pending().await;
        }
        let world = self.clone();
        let act = async move { world.serve(request) };
        let told = |answer: &Result<Value, apiserver::Refusal>| match answer {
            Ok(object) => match object["metadata"]["resourceVersion"].as_str() {
                Some(version) => format!("ok, version {version}"),
                None => "ok".to_owned(),
            },
            Err(refusal) => format!("{} {}", refusal.code, refusal.reason),
        };
        let sent = self.send(life, what, KUBERNETES_DEADLINE, act, told).await;
        let broken = |why| std::io::Error::new(std::io::ErrorKind::ConnectionReset, why);
        match sent {
            Ok(answer) => Ok(apiserver::write(&answer)),
            Err(Broken::Unsent) => Err(broken("no connection")),
            Err(Broken::Lost) => Err(broken("the connection broke")),
        }
    }

    fn serve(&self, mut request: apiserver::Request) -> Result<Value, apiserver::Refusal> {
        if let Some(sabotage) = self.setup.sabotage {
            sabotage.twist(&mut request);
        }
        if request.only_reads() {
            if self.setup.sabotage == Some(Sabotage::StaleReads) {
                return self.store().handle_stale(&request, self.now());
            }
            return self.store().handle(&request, self.now());
        }
        let answer = self.change(|store, now| {
            store.lax = self.setup.sabotage.map_or_else(Lax::default, Sabotage::lax);
            let answer = store.handle(&request, now);
            store.lax = Lax::default();
            answer
        });
        if let (Ok(_), Verb::Patch { patch, .. }) = (&answer, &request.verb) {
            let attempt = patch["metadata"]["annotations"][names::ATTEMPT].as_str();
            let attempt: Option<Value> = attempt.and_then(|text| serde_json::from_str(text).ok());
            let id = attempt.and_then(|attempt| attempt["id"].as_str().map(str::to_owned));
            self.state().opened.extend(id);
        }
        self.watch_promises();
        answer
    }
}

/// The way to the platform, for one life of a process.
pub(crate) struct Wire {
    pub world: Arc<World>,
    pub life: Arc<Life>,
}

impl Transport for Wire {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, SendError>> {
        async move {
            let deadline = request.deadline;
            let lost = |why: &str| SendError::Lost(why.to_owned());
            match timeout(deadline, self.exchange(request)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(Broken::Unsent)) => Err(SendError::NotSent("no connection".into())),
                Ok(Err(Broken::Lost)) => Err(lost("the connection broke")),
                Err(_) => Err(lost("no complete answer before the deadline")),
            }
        }
        .boxed()
    }
}

impl Wire {
    async fn exchange(&self, request: Request) -> Result<Result<Response, SendError>, Broken> {
        let (world, life) = (&self.world, &self.life);
        let what = format!("{} {}", request.method.as_str(), request.target);
        let deadline = request.deadline;
        let post = (request.method == Method::Post).then(|| world.posting(&request));
        let act = {
            let world = world.clone();
            async move { world.platform_answers(request, post).await }
        };
        let told = |answer: &Result<Response, SendError>| match answer {
            Ok(response) => response.status.to_string(),
            Err(error) => error.to_string(),
        };
        let answer = world.send(life, what, deadline, act, told).await;
        if let (Some(post), Ok(Ok(response))) = (post, &answer)
            && tells_of_a_token(response)
        {
            world.state().posts[post].answered = Some((life.process, life.number));
        }
        answer
    }
}

/// Whether an answer to a POST tells which token it made; a page of a proxy does not.
fn tells_of_a_token(response: &Response) -> bool {
    let row: Option<Value> = serde_json::from_slice(&response.body).ok();
    response.status < 300 && row.is_some_and(|row| row["id"].is_string())
}

impl World {
    /// Notes a POST before it is sent.
    fn posting(&self, request: &Request) -> usize {
        let body: Value = request
            .body
            .as_ref()
            .and_then(|body| serde_json::from_slice(body).ok())
            .unwrap_or_default();
        let tags = body["tags"].as_array().into_iter().flatten();
        let tags: Vec<String> = tags.filter_map(Value::as_str).map(str::to_owned).collect();
        let attempt = tags.iter().find(|tag| tag.starts_with("attempt=")).cloned();
        let mut state = self.state();
        let again = attempt
            .as_ref()
            .is_some_and(|attempt| state.posts.iter().any(|post| post.tags.contains(attempt)));
        state.posts.push(Post {
            tags,
            made: Vec::new(),
            answered: None,
        });
        let place = state.posts.len() - 1;
        drop(state);
        if let Some(attempt) = attempt {
            let id = attempt.trim_start_matches("attempt=");
            if again {
                self.violated(format!("a second POST of {attempt}"));
            }
            if !self.state().opened.contains(id) {
                self.violated(format!("a POST of {attempt}, which is not written down"));
            }
        }
        place
    }

    async fn platform_answers(
        self: &Arc<Self>,
        mut request: Request,
        post: Option<usize>,
    ) -> Result<Response, SendError> {
        let door = Door::new(self.platform.clone());
        let Some(post) = post else {
            let asked = (self.setup.sabotage == Some(Sabotage::TagsUnchecked))
                .then(|| sabotage::ask_for_all(&mut request.target));
            let mut answer = door.send(request).await;
            self.watch_promises();
            if let (Some(Some(asked)), Ok(response)) = (asked, &mut answer) {
                let state = self.state();
                let post = state.posts.iter().find(|post| post.tags.contains(&asked));
                if let Some(post) = post {
                    sabotage::tag_all(response, &post.tags);
                }
            }
            return answer;
        };
        let live = || -> BTreeSet<TokenId> {
            self.platform
                .with(|sandbox, _| sandbox.model.live().map(|token| token.id.clone()).collect())
        };
        let before = live();
        if self.setup.sabotage == Some(Sabotage::PostRepeated) {
            self.posting(&request);
            let _ = door.send(request.clone()).await;
        }
        let mut sending = door.send(request);
        let first = futures::poll!(&mut sending);
        self.state().posts[post].made = live().difference(&before).cloned().collect();
        self.watch_promises();
        match first {
            std::task::Poll::Ready(answer) => answer,
            std::task::Poll::Pending => sending.await,
        }
    }
}
