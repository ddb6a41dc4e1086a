//! The front for code in this process: no socket between a client and the platform.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, pending};
use tokio::time::{sleep, timeout};

use super::{Answer, Delivery, Reply, Shared};
use crate::platform::transport::{MAX_BODY, Request, Response, SendError, Transport};

/// A transport that ends in a sandbox. A call takes effect when its future is first polled; all waiting is tokio's.
#[derive(Debug, Clone)]
pub struct Door {
    shared: Arc<Shared>,
}

impl Door {
    /// A door to this sandbox.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    async fn pass(&self, request: &Request) -> Result<Response, SendError> {
        let Answer { delay, delivery } = self.shared.exchange(&request.into());
        if !delay.is_zero() {
            sleep(delay).await;
        }
        match delivery {
            Delivery::Whole(reply) => received(reply),
            Delivery::Slow(reply, lasts) => {
                sleep(lasts).await;
                received(reply)
            }
            Delivery::Cut(_) => Err(lost("the connection closed within the body")),
            Delivery::Reset => Err(lost("the connection closed before an answer")),
            Delivery::Never => pending().await,
        }
    }
}

impl Transport for Door {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, SendError>> {
        async move {
            timeout(request.deadline, self.pass(&request))
                .await
                .unwrap_or_else(|_| Err(lost("no complete answer before the deadline")))
        }
        .boxed()
    }
}

fn received(reply: Reply) -> Result<Response, SendError> {
    if reply.body.len() > MAX_BODY {
        return Err(lost("the body is too long"));
    }
    Ok(Response {
        status: reply.status,
        content_type: reply.content_type.map(str::to_owned),
        retry_after: reply.retry_after,
        body: reply.body,
    })
}

fn lost(why: &str) -> SendError {
    SendError::Lost(why.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::jiff::Timestamp;

    use super::super::tests::request;
    use super::super::{Account, Config, Fault, Match, Rule, Shape, When};
    use super::*;
    use crate::platform::transport::Method;

    /// The answer to a POST that one fault befalls, and whether it took effect.
    async fn posted(fault: Option<Fault>, deadline: Duration) -> (Result<u16, SendError>, bool) {
        let shared = Shared::new(Config::default(), Arc::new(|| Timestamp::UNIX_EPOCH));
        let rule = fault.map(|fault| Rule::once(Match::default(), fault));
        shared.script(rule.into_iter().collect());
        let admin = shared.with(|sandbox, _| {
            let user_id = Account::default().user_id;
            sandbox.model.admin(&user_id).cloned().unwrap()
        });
        let post = request(
            Method::Post,
            "/api/v1/platform-tokens/",
            &(&admin).into(),
            None,
        );
        let answer = Door::new(Arc::clone(&shared))
            .send(Request { deadline, ..post })
            .await;
        let minted = shared.with(|sandbox, _| sandbox.model.minted());
        (answer.map(|response| response.status), minted == 1)
    }

    #[tokio::test]
    async fn an_answer_arrives_whole_or_is_lost() {
        let when = When::After;
        let status = Fault::Status {
            when: When::Before,
            status: 503,
            body: Shape::Html,
            retry_after: None,
        };
        for (fault, status, took_effect) in [
            (None, Some(201), true),
            (Some(status), Some(503), false),
            (Some(Fault::Latency { ms: 1 }), Some(201), true),
            (Some(Fault::Slow { ms: 1 }), Some(201), true),
            (Some(Fault::Cut), None, true),
            (Some(Fault::Reset { when }), None, true),
        ] {
            let answered = posted(fault.clone(), Duration::from_mins(1)).await;
            match answered.0 {
                Ok(answer) => assert_eq!(Some(answer), status, "{fault:?}"),
                Err(SendError::Lost(_)) => assert_eq!(None, status, "{fault:?}"),
                Err(error @ SendError::NotSent(_)) => panic!("{fault:?}: {error}"),
            }
            assert_eq!(answered.1, took_effect, "{fault:?}");
        }
    }

    #[tokio::test]
    async fn whoever_waits_in_vain_loses_the_answer_at_the_deadline() {
        let when = When::After;
        let hour = 3_600_000;
        for (fault, took_effect) in [
            (Fault::Hang { when }, true),
            (Fault::Late { ms: hour }, false),
            (Fault::Latency { ms: hour }, true),
            (Fault::Slow { ms: hour }, true),
        ] {
            let (answer, effect) = posted(Some(fault.clone()), Duration::from_millis(5)).await;
            assert!(matches!(answer, Err(SendError::Lost(_))), "{fault:?}");
            assert_eq!(effect, took_effect, "{fault:?}");
        }
    }
}
