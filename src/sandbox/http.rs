//! The front for sockets: plain HTTP/1.1, the API under `/api/v1/`, and admin routes for whoever runs the sandbox:
//!
//! | route | does |
//! |---|---|
//! | GET `/_sandbox/state` | shows dialect, accounts, live tokens (hashes, no values), counts of calls |
//! | PUT `/_sandbox/faults` | replaces the fault script, a list of rules |
//! | POST `/_sandbox/strangers` | `{"user_id", "tags"?}`: a stranger makes a token in the console |
//! | DELETE `/_sandbox/tokens/{id}` | someone revokes a token in the console |
//!
//! Admin routes ask for no credential: it is a fake.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{delete, get, post, put};
use bytes::Bytes;
use futures::future::pending;
use futures::stream::{self, Stream, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Answer, Answered, Delivery, Exchange, LiveToken, Reply, Rule, Shared};
use crate::api::{TokenId, UserId};

/// Into how many pieces a slow body is divided.
const PIECES: u32 = 8;

/// Serves the sandbox until `shutdown`; calls that still wait for an answer are then reset.
///
/// # Errors
/// None that the listener does not have: accepting is retried.
pub async fn serve(
    listener: TcpListener,
    sandbox: Arc<Shared>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let closing = CancellationToken::new();
    let front = Front {
        sandbox,
        closing: closing.clone(),
    };
    axum::serve(listener, router(front))
        .with_graceful_shutdown(async move {
            shutdown.await;
            closing.cancel();
        })
        .await
}

#[derive(Clone)]
struct Front {
    sandbox: Arc<Shared>,
    /// Ends all waiting, so that the server can stop.
    closing: CancellationToken,
}

fn router(front: Front) -> Router {
    Router::new()
        .route("/_sandbox/state", get(state))
        .route("/_sandbox/faults", put(faults))
        .route("/_sandbox/strangers", post(strangers))
        .route("/_sandbox/tokens/{id}", delete(revoke))
        .fallback(call)
        .with_state(front)
}

async fn call(
    State(front): State<Front>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let exchange = Exchange::new((&method).into(), target, &headers, body);
    let answer = front.sandbox.exchange(&exchange);
    tokio::select! {
        response = carry_out(answer) => response,
        () = front.closing.cancelled() => reset(),
    }
}

async fn carry_out(Answer { delay, delivery }: Answer) -> Response {
    if !delay.is_zero() {
        sleep(delay).await;
    }
    match delivery {
        Delivery::Whole(reply) => {
            let body = Body::from(reply.body.clone());
            response(&reply, body)
        }
        Delivery::Slow(reply, lasts) => {
            let body = Body::from_stream(dribble(&reply.body, lasts));
            response(&reply, body)
        }
        Delivery::Cut(reply) => {
            let half = reply.body.slice(..reply.body.len() / 2);
            response(&reply, Body::from_stream(half_then_close(half)))
        }
        Delivery::Reset => reset(),
        Delivery::Never => pending().await,
    }
}

/// The head of a reply over any body. The length is that of the whole body, also where less is sent.
fn response(reply: &Reply, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    if let Some(content_type) = reply.content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CONTENT_LENGTH, reply.body.len().into());
    }
    let retry_after = reply.retry_after.as_deref().map(HeaderValue::from_str);
    if let Some(Ok(retry_after)) = retry_after {
        headers.insert(RETRY_AFTER, retry_after);
    }
    response
}

/// hyper asks for the body before it flushes the head, and closes the connection when the body fails.
fn reset() -> Response {
    let broken = stream::iter([Err::<Bytes, _>(closed())]);
    Response::new(Body::from_stream(broken))
}

/// Being pending once makes hyper flush what it has, before the failure closes the connection.
fn half_then_close(half: Bytes) -> impl Stream<Item = io::Result<Bytes>> {
    let failure = stream::once(async {
        tokio::task::yield_now().await;
        Err(closed())
    });
    stream::iter([Ok(half)]).chain(failure)
}

fn dribble(body: &Bytes, lasts: Duration) -> impl Stream<Item = io::Result<Bytes>> + use<> {
    let size = body.len().div_ceil(PIECES as usize).max(1);
    let pieces: Vec<_> = body
        .chunks(size)
        .map(|piece| body.slice_ref(piece))
        .collect();
    stream::iter(pieces).then(move |piece| async move {
        sleep(lasts / PIECES).await;
        Ok(piece)
    })
}

fn closed() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

async fn state(State(front): State<Front>) -> Json<Value> {
    let state = front.sandbox.with(|sandbox, _| {
        let model = &sandbox.model;
        let count = |(call, times): (&Answered, &u64)| json!({"call": call, "times": times});
        json!({
            "dialect": model.config.dialect,
            "accounts": model.config.accounts,
            "tokens": model.live().collect::<Vec<_>>(),
            "calls": sandbox.calls().iter().map(count).collect::<Vec<_>>(),
            "minted": model.minted(),
            "revoked": model.revoked(),
        })
    });
    Json(state)
}

async fn faults(State(front): State<Front>, Json(rules): Json<Vec<Rule>>) -> StatusCode {
    front.sandbox.script(rules);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stranger {
    user_id: UserId,
    #[serde(default)]
    tags: Vec<String>,
}

async fn strangers(State(front): State<Front>, Json(stranger): Json<Stranger>) -> Response {
    let Stranger { user_id, tags } = stranger;
    let made: Option<LiveToken> = front
        .sandbox
        .with(|sandbox, now| sandbox.model.stranger(&user_id, tags, now));
    match made {
        Some(token) => (StatusCode::CREATED, Json(token)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn revoke(State(front): State<Front>, Path(id): Path<TokenId>) -> StatusCode {
    if front.sandbox.with(|sandbox, _| sandbox.model.revoke(&id)) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test owns its tasks")]

    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use k8s_openapi::jiff::Timestamp;
    use reqwest::{Client, RequestBuilder};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::super::{Account, Config, Fault, Match, Verb, When};
    use super::*;

    const TOKENS: &str = "/api/v1/platform-tokens/";

    struct Server {
        address: SocketAddr,
        client: Client,
        sandbox: Arc<Shared>,
        stop: oneshot::Sender<()>,
        serving: JoinHandle<io::Result<()>>,
    }

    impl Server {
        async fn start(faults: Vec<Fault>) -> Self {
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            let sandbox = Shared::new(Config::default(), Arc::new(|| Timestamp::UNIX_EPOCH));
            let once = |fault| Rule::once(Match::default(), fault);
            sandbox.script(faults.into_iter().map(once).collect());
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (stop, stopped) = oneshot::channel();
            let shutdown = async {
                let _ = stopped.await;
            };
            Self {
                address,
                client: Client::builder().no_proxy().build().unwrap(),
                serving: tokio::spawn(serve(listener, Arc::clone(&sandbox), shutdown)),
                sandbox,
                stop,
            }
        }

        fn request(&self, method: Method, target: &str) -> RequestBuilder {
            let url = format!("http://{}{target}", self.address);
            self.client.request(method, url)
        }

        /// A call of the API with the account's credential.
        fn call(&self, method: Method, target: &str) -> RequestBuilder {
            self.request(method, target)
                .bearer_auth(self.admin())
                .header("accept", "application/json")
        }

        fn admin(&self) -> String {
            self.sandbox.with(|sandbox, _| {
                let user_id = Account::default().user_id;
                sandbox.model.admin(&user_id).unwrap().expose().to_owned()
            })
        }

        fn minted(&self) -> u64 {
            self.sandbox.with(|sandbox, _| sandbox.model.minted())
        }

        /// Everything that comes back for a GET before the connection closes.
        async fn raw(&self) -> String {
            let (address, admin) = (self.address, self.admin());
            let exchange = move || {
                let mut socket = TcpStream::connect(address).unwrap();
                let request = format!(
                    "GET {TOKENS}?user_id=sandbox HTTP/1.1\r\nhost: x\r\naccept: application/json\r\n\
                     authorization: Bearer {admin}\r\n\r\n"
                );
                socket.write_all(request.as_bytes()).unwrap();
                let mut answer = Vec::new();
                // A reset ends the answer as well as a closed connection does.
                let _ = socket.read_to_end(&mut answer);
                String::from_utf8(answer).unwrap()
            };
            tokio::task::spawn_blocking(exchange).await.unwrap()
        }
    }

    async fn json(request: RequestBuilder) -> (u16, Value) {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn tokens_are_made_listed_and_deleted_over_http() {
        let server = Server::start(Vec::new()).await;
        let order = server
            .call(Method::POST, TOKENS)
            .body(r#"{"tags": ["a b"]}"#);
        let (status, made) = json(order.header("content-type", "application/json")).await;
        assert_eq!((status, &made["tags"]), (201, &json!(["a b"])));
        let query = format!("{TOKENS}?user_id=sandbox&tag=a%20b");
        let (status, list) = json(server.call(Method::GET, &query)).await;
        assert_eq!((status, &list["items"][0]["token"]), (200, &made["token"]));
        let one = format!("{TOKENS}{}/", made["id"].as_str().unwrap());
        let gone = server.call(Method::DELETE, &one).send().await.unwrap();
        assert_eq!(gone.status(), StatusCode::NO_CONTENT);
        let html = server
            .request(Method::GET, TOKENS)
            .header("accept", "text/html");
        assert_eq!(json(html).await.0, 406);
    }

    #[tokio::test]
    async fn a_reset_closes_the_connection_without_a_byte() {
        let reset = Fault::Reset { when: When::After };
        let server = Server::start(vec![reset.clone(), reset]).await;
        assert_eq!(server.raw().await, "");
        let error = server.call(Method::POST, TOKENS).send().await.unwrap_err();
        assert!(!error.is_timeout() && !error.is_connect(), "{error:?}");
        assert_eq!(server.minted(), 1);
    }

    #[tokio::test]
    async fn a_cut_answer_has_a_head_and_half_of_its_body() {
        let server = Server::start(vec![Fault::Cut, Fault::Cut]).await;
        let raw = server.raw().await;
        let (head, half) = raw.split_once("\r\n\r\n").unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.unwrap().parse().unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(half.len(), length / 2);
        let response = server.call(Method::POST, TOKENS).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        assert!(response.bytes().await.is_err());
        assert_eq!(server.minted(), 1);
    }

    #[tokio::test]
    async fn a_hanging_call_ends_with_the_patience_of_the_client() {
        let server = Server::start(vec![Fault::Hang { when: When::Before }]).await;
        let impatient = server
            .call(Method::POST, TOKENS)
            .timeout(Duration::from_millis(50));
        assert!(impatient.send().await.unwrap_err().is_timeout());
        assert_eq!(server.minted(), 0);
    }

    #[tokio::test]
    async fn a_slow_answer_arrives_whole() {
        let server = Server::start(vec![Fault::Slow { ms: 8 }]).await;
        let (status, made) = json(server.call(Method::POST, TOKENS)).await;
        assert_eq!((status, made["token"].is_string()), (201, true));
    }

    #[tokio::test]
    async fn the_server_stops_though_a_call_hangs() {
        let server = Server::start(vec![Fault::Hang { when: When::After }]).await;
        let hanging = tokio::spawn(server.call(Method::POST, TOKENS).send());
        while server.minted() == 0 {
            tokio::task::yield_now().await;
        }
        server.stop.send(()).unwrap();
        assert!(!hanging.await.unwrap().unwrap_err().is_timeout());
        server.serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_script_is_set_over_http_and_a_wrong_one_is_refused() {
        let server = Server::start(Vec::new()).await;
        let script = json!([{
            "call": {"method": "GET", "route": "/applications/"},
            "fault": {"status": {"status": 429, "retry_after": "7"}},
        }]);
        for (script, status) in [(script, 204), (json!([{"fault": "burn"}]), 422)] {
            let put = server.request(Method::PUT, "/_sandbox/faults");
            let put = put.header("content-type", "application/json");
            assert_eq!(
                json(put.body(script.to_string())).await.0,
                status,
                "{script}"
            );
        }
        let refused = server
            .call(Method::GET, "/api/v1/applications/")
            .send()
            .await
            .unwrap();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()["retry-after"], "7");
    }

    #[tokio::test]
    async fn strangers_come_and_go_and_the_state_shows_no_value() {
        let server = Server::start(Vec::new()).await;
        let stranger = |user_id| {
            let body = json!({"user_id": user_id, "tags": ["theirs"]}).to_string();
            server
                .request(Method::POST, "/_sandbox/strangers")
                .header("content-type", "application/json")
                .body(body)
        };
        assert_eq!(json(stranger("nobody")).await.0, 404);
        let (status, theirs) = json(stranger("sandbox")).await;
        assert_eq!((status, &theirs["tags"]), (201, &json!(["theirs"])));
        json(server.call(Method::GET, "/api/v1/applications/")).await;

        let (_, state) = json(server.request(Method::GET, "/_sandbox/state")).await;
        assert_eq!(state["dialect"], "current");
        assert_eq!(state["accounts"][0]["user_id"], "sandbox");
        assert_eq!(state["tokens"].as_array().unwrap().len(), 2);
        let call = json!({"method": Verb::Get, "route": "/applications/", "status": 200});
        assert_eq!(state["calls"], json!([{"call": call, "times": 1}]));
        assert_eq!(
            (&state["minted"], &state["revoked"]),
            (&json!(0), &json!([]))
        );
        assert!(!state.to_string().contains("platform-v1-"));

        let token = format!("/_sandbox/tokens/{}", theirs["id"].as_str().unwrap());
        for status in [204, 404] {
            assert_eq!(json(server.request(Method::DELETE, &token)).await.0, status);
        }
    }
}
