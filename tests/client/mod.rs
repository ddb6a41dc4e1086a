//! What the client makes of a platform: over real HTTP to a sandbox, and, where the wire does not matter, through the
//! sandbox's door as well. No test here needs Kubernetes.
//!
//! | file | thought |
//! |---|---|
//! | `calls` | the calls, in both dialects |
//! | `lists` | pages, and lists that change or lie |
//! | `failures` | what a bad answer means, and whether the call has taken effect |
//! | `connections` | what goes wrong before, between and instead of answers |
//! | `requests` | the bytes that go out, and where they go |
//! | `raw` | a server that says whatever a test wants |

mod calls;
mod connections;
mod failures;
mod lists;
mod raw;
mod requests;

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use platform_token_operator::api::{Credential, TokenValue, UserId};
use platform_token_operator::clock::Clock;
use platform_token_operator::platform::{Client, Error, Http, Transport};
use platform_token_operator::sandbox::{
    self, Account, Config, Door, Fault, Match, Route, Rule, Shared, Verb,
};

/// When every platform here begins.
const BEGIN: &str = "2026-01-02T03:04:05Z";

/// The ways to a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Http,
    Door,
}

const WAYS: [Way; 2] = [Way::Http, Way::Door];

/// A sandbox, and a way to it.
struct Platform {
    shared: Arc<Shared>,
    transport: Arc<dyn Transport>,
    clock: Clock,
    /// Where it listens, if HTTP is the way.
    base_url: String,
}

impl Platform {
    /// Two platforms of today, one on each way.
    async fn both() -> [(Way, Self); 2] {
        let [http, door] = WAYS.map(|way| async move {
            let platform = Self::new(way, Config::default()).await;
            (way, platform)
        });
        [http.await, door.await]
    }

    async fn new(way: Way, config: Config) -> Self {
        let begin: Timestamp = BEGIN.parse().unwrap();
        let clock = Clock::simulated(begin);
        let shared = Shared::new(config, Arc::new(move || clock.now().wall));
        let (transport, base_url): (Arc<dyn Transport>, _) = match way {
            Way::Door => (Arc::new(Door::new(shared.clone())), String::new()),
            Way::Http => {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let base_url = format!("http://{}", listener.local_addr().unwrap());
                let forever = std::future::pending::<()>();
                tokio::spawn(sandbox::http::serve(listener, shared.clone(), forever));
                (http(&base_url), base_url)
            }
        };
        Self {
            shared,
            transport,
            clock,
            base_url,
        }
    }

    /// A client with the credential of the account.
    fn client(&self) -> Client {
        self.client_with(&self.admin())
    }

    fn client_with(&self, value: &TokenValue) -> Client {
        Client::new(self.transport.clone(), value.into(), self.clock)
    }

    fn admin(&self) -> TokenValue {
        self.shared
            .with(|sandbox, _| sandbox.model.admin(&user()).unwrap().clone())
    }

    /// From here on, one call of this kind goes wrong, and nothing else.
    fn once(&self, method: Verb, route: Route, fault: Fault) {
        let rule = Rule::once(Match::on(method, route), fault);
        self.shared.script(vec![rule]);
    }

    /// From here on, every call of this kind goes wrong, and nothing else.
    fn always(&self, method: Verb, route: Route, fault: Fault) {
        let rule = Rule::always(Match::on(method, route), fault);
        self.shared.script(vec![rule]);
    }

    /// How many calls of this method came.
    fn calls(&self, method: Verb) -> u64 {
        self.shared.with(|sandbox, _| {
            let calls = sandbox.calls().iter();
            let of_method = calls.filter(|(call, _)| call.method == method);
            of_method.map(|(_, times)| times).sum()
        })
    }

    /// How many POSTs took effect.
    fn minted(&self) -> u64 {
        self.shared.with(|sandbox, _| sandbox.model.minted())
    }

    /// The class of an error that shows none of the platform's values.
    fn class(&self, error: &Error) -> &'static str {
        let shown = format!("{error} {error:?}");
        self.shared.with(|sandbox, _| {
            for token in sandbox.model.live() {
                let value = sandbox.model.value(&token.id).unwrap().expose();
                let secret = value.strip_prefix("platform-v1-").unwrap();
                assert!(!shown.contains(secret), "a token in: {shown}");
            }
        });
        error.class()
    }
}

/// The transport of production.
fn http(base_url: &str) -> Arc<dyn Transport> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Arc::new(Http::new(Http::pool().unwrap(), base_url))
}

/// A client of whatever is there, with a credential of no platform.
fn client_of(base_url: &str) -> Client {
    let credential = Credential::parse(CREDENTIAL).unwrap();
    Client::new(http(base_url), credential, Clock::system())
}

const CREDENTIAL: &str =
    "platform-v1-00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// The user of a sandbox's one account.
fn user() -> UserId {
    Account::default().user_id
}
