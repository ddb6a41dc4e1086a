//! A proxy before an API: it delays every request, names those that change something, holds back or loses what it was
//! told to, and writes down what came of them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::response;
use kube::Client;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::account::Account;
use crate::deed::Deed;
use crate::lookout::Lookout;
use crate::plan::Fate;

/// No request of the operator's is longer.
const MAX_BODY: usize = 1 << 20;

/// How long an upstream may take to begin its answer: longer than any client waits for it.
const PATIENCE: Duration = Duration::from_secs(25);

/// Which API the proxy stands before.
pub(crate) enum Side {
    /// The API server, for the namespaces of these accounts.
    Kubernetes(Vec<Arc<Account>>),
    /// The platform of this account.
    Platform(Arc<Account>),
}

struct Proxy {
    upstream: Client,
    side: Side,
    lookout: Arc<Lookout>,
}

/// Serves until the process ends. Requests bear the identity of `upstream`, if it has one.
pub(crate) fn serve(listener: TcpListener, upstream: Client, side: Side, lookout: Arc<Lookout>) {
    let proxy = Arc::new(Proxy {
        upstream,
        side,
        lookout,
    });
    let router = Router::new().fallback(entry).with_state(proxy);
    tokio::spawn(async move { axum::serve(listener, router).await });
}

/// What was sent goes on its way even if its sender is killed meanwhile; hyper would drop it here.
async fn entry(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    let passed = tokio::spawn(async move { proxy.pass(request).await });
    passed.await.unwrap_or_else(|_| reset())
}

/// A deed, the account that it is about, and the process that sent it.
struct Sighting<'a> {
    deed: Deed,
    account: &'a Account,
    life: u32,
}

impl Proxy {
    async fn pass(&self, request: Request) -> Response {
        let passage = self.lookout.passage();
        let (parts, body) = request.into_parts();
        // A sender that is killed within its request has sent nothing.
        let Ok(body) = to_bytes(body, MAX_BODY).await else {
            return reset();
        };
        let sighting = self.sighting(&parts, &body, passage.life);
        sleep(passage.there).await;
        let Some(sighting) = sighting else {
            let response = self.forward(parts, body).await;
            sleep(passage.back).await;
            return response.map_or_else(reset, |(head, body)| Response::from_parts(head, body));
        };
        let _moving = self.lookout.moving();
        let hit = self
            .lookout
            .sighted(sighting.account.index, sighting.deed.kind());
        let Some(hit) = hit else {
            let answer = self.carry_out(&sighting, parts, body).await;
            let loses = matches!(self.side, Side::Kubernetes(_)) && self.lookout.loses();
            if loses || answer.is_lost() {
                sighting.account.log().lost += 1;
            }
            sleep(passage.back).await;
            return if loses { reset() } else { answer.send() };
        };
        match hit.fate {
            Fate::Dropped => hit.kill().await,
            Fate::Late(by) => {
                hit.kill().await;
                sleep(by).await;
                self.carry_out(&sighting, parts, body).await;
            }
            Fate::Withheld => {
                self.carry_out(&sighting, parts, body).await;
                hit.kill().await;
            }
            Fate::Answered => {
                let answer = self.carry_out(&sighting, parts, body).await;
                sleep(passage.back).await;
                hit.strike();
                return answer.send();
            }
        }
        reset()
    }

    fn sighting(&self, parts: &Parts, body: &Bytes, life: u32) -> Option<Sighting<'_>> {
        let (account, deed) = match &self.side {
            Side::Platform(account) => {
                let deed = Deed::of_platform(&parts.method, &parts.uri, body)?;
                (account, deed)
            }
            Side::Kubernetes(accounts) => {
                let (place, deed) = Deed::of_kubernetes(&parts.method, &parts.uri, body)?;
                let mut accounts = accounts.iter();
                (accounts.find(|account| account.has(&place))?, deed)
            }
        };
        Some(Sighting {
            deed,
            account,
            life,
        })
    }

    /// Forwards a deed, and writes down what came of it.
    async fn carry_out(&self, sighting: &Sighting<'_>, parts: Parts, body: Bytes) -> Answer {
        let Sighting {
            deed,
            account,
            life,
        } = sighting;
        match deed {
            Deed::Post(tags) => account.log().posted(tags),
            Deed::Delete(id) => {
                let tags = account.tags_of(id);
                let theirs = account.strangers().contains(id);
                let mut log = account.log();
                log.revoked(&tags);
                if theirs {
                    log.touched
                        .push(format!("DELETE of the stranger's token {id}"));
                }
            }
            _ => {}
        }
        if let Deed::Post(tags) = deed
            && account.tells_doubles()
            && self.lookout.doubles()
        {
            account.log().doubled(tags);
            self.forward(parts.clone(), body.clone()).await;
        }
        let answer = Answer::gather(self.forward(parts, body).await).await;
        if answer.is_success() {
            match deed {
                Deed::Open(attempt) => account.log().opened(*life, &attempt.at),
                Deed::Store(attempt) => account.log().stored(*life, attempt),
                _ => {}
            }
        }
        answer
    }

    /// Sends a request on, with our identity where we have one; the answer, if one begins.
    async fn forward(&self, parts: Parts, body: Bytes) -> Option<(response::Parts, Body)> {
        let mut request = http::Request::new(kube::client::Body::from(body));
        *request.method_mut() = parts.method;
        *request.uri_mut() = parts.uri;
        *request.headers_mut() = parts.headers;
        for ours in [HOST, CONNECTION, CONTENT_LENGTH] {
            request.headers_mut().remove(ours);
        }
        if matches!(self.side, Side::Kubernetes(_)) {
            request.headers_mut().remove(AUTHORIZATION);
        }
        let answer = timeout(PATIENCE, self.upstream.send(request)).await;
        let (mut head, body) = answer.ok()?.ok()?.into_parts();
        for ours in [CONNECTION, TRANSFER_ENCODING] {
            head.headers.remove(ours);
        }
        Some((head, Body::new(body)))
    }
}

/// The answer to a deed, as far as it came.
struct Answer {
    /// None: not even a head came.
    head: Option<response::Parts>,
    chunks: Vec<Bytes>,
    /// The body is whole.
    whole: bool,
}

impl Answer {
    async fn gather(answer: Option<(response::Parts, Body)>) -> Self {
        let mut chunks = Vec::new();
        let Some((head, body)) = answer else {
            return Self {
                head: None,
                chunks,
                whole: false,
            };
        };
        let mut body = body.into_data_stream();
        let whole = loop {
            match body.next().await {
                Some(Ok(chunk)) => chunks.push(chunk),
                Some(Err(_)) => break false,
                None => break true,
            }
        };
        Self {
            head: Some(head),
            chunks,
            whole,
        }
    }

    fn is_success(&self) -> bool {
        let status = self.head.as_ref().map(|head| head.status);
        status.is_some_and(|status| status.is_success())
    }

    /// Its reader cannot know what was done.
    fn is_lost(&self) -> bool {
        let status = self.head.as_ref().map(|head| head.status);
        !self.whole || status.is_none_or(|status| status.is_server_error())
    }

    fn send(self) -> Response {
        let Some(head) = self.head else {
            return reset();
        };
        let chunks = stream::iter(self.chunks.into_iter().map(Ok));
        let body = if self.whole {
            Body::from_stream(chunks)
        } else {
            // Being pending once makes hyper flush what it has, before the failure closes the connection.
            let failure = stream::once(async {
                tokio::task::yield_now().await;
                Err(closed())
            });
            Body::from_stream(chunks.chain(failure))
        };
        Response::from_parts(head, body)
    }
}

/// hyper closes the connection, without a byte, when the body fails first.
fn reset() -> Response {
    let broken = stream::iter([Err::<Bytes, _>(closed())]);
    Response::new(Body::from_stream(broken))
}

fn closed() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
