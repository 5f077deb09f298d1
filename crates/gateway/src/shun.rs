//! What callers get for their conduct: an answer that waits, or none for a while.

use std::{
    net::IpAddr,
    rc::Rc,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use hob_model::{CallerAddress, Conduct, Outcome, TurnedAway};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};

use crate::{
    body::Answer,
    client::Client,
    error::{GatewayError, Refused},
    pace::CallerBody,
};

/// Answers that may wait at a time; more are refused at once, so that waiting costs little.
const WAITING_MAX: usize = 1000;
/// By what browsers say whose page made them ask (Fetch Metadata).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const CROSS_SITE: HeaderValue = HeaderValue::from_static("cross-site");
/// How often a waiting answer looks whether the gateway stops.
const LOOK: Duration = Duration::from_millis(250);

/// Who asks, as far as his conduct is looked at.
pub(crate) struct Asker {
    address: IpAddr,
    /// Whether he says who he is.
    shows_credentials: bool,
    /// Whether a page of somebody else made him ask.
    is_sent: bool,
    asked: Uri,
}

impl Asker {
    /// `None` where nobody minds.
    pub(crate) fn of(
        client: &Client,
        caller: CallerAddress,
        request: &Request<CallerBody>,
    ) -> Option<Self> {
        let address = caller.ip;
        client.minds(address).then(|| Self {
            address,
            is_sent: request.headers().get(&FETCH_SITE) == Some(&CROSS_SITE),
            shows_credentials: request.headers().contains_key(header::AUTHORIZATION),
            asked: request.uri().clone(),
        })
    }

    /// Why nothing that he asks is answered, if so.
    pub(crate) fn refusal(&self, client: &Client) -> Option<GatewayError> {
        client.shuts_out(self.address).then(|| {
            client.door().bans.refuse(TurnedAway::Banned);
            if client.is_of(self.address) {
                client.finish();
            }
            GatewayError::ShutOut(self.address)
        })
    }

    /// Counts what an answer says of him, and has it wait if that is too much.
    pub(crate) async fn weigh(
        &self,
        client: &Rc<Client>,
        mut response: Response<Answer>,
    ) -> Response<Answer> {
        let Some(mut conduct) = response.extensions_mut().remove::<Conduct>() else {
            return response;
        };
        if conduct == Conduct::FailedLogin {
            if !self.shows_credentials {
                conduct = Conduct::Miss;
            } else if response.extensions().get::<Refused>().is_some() {
                // The control plane has written down its own.
                let path = self.asked.path();
                tracing::warn!(address = %self.address, user = "", ?path, "login refused");
            }
        }
        if conduct == Conduct::Miss && self.is_sent {
            // Else any page could have its visitors shut out.
            return response;
        }
        match client.door().bans.note(self.address, conduct) {
            Outcome::Go => {}
            Outcome::Wait(time) => {
                if !wait(client, time).await {
                    return GatewayError::Crowd.into_response();
                }
            }
            Outcome::ShutOut(ban) => {
                let until = ban
                    .until
                    .and_then(|until| until.duration_since(ban.since).ok());
                let seconds = until.unwrap_or_default().as_secs();
                tracing::warn!(
                    address = %ban.address, "for" = format_args!("{seconds}s"), reason = ?ban.reason,
                    "banned"
                );
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
                if client.is_of(self.address) {
                    client.finish();
                }
            }
        }
        response
    }
}

/// What the control plane's answer says of a caller, where it does not say so itself.
pub(crate) fn judge(response: &mut Response<Answer>) {
    let missed = [StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND].contains(&response.status());
    if missed && response.extensions().get::<Conduct>().is_none() {
        response.extensions_mut().insert(Conduct::Miss);
    }
}

/// `false` when too many wait already.
async fn wait(client: &Client, time: Duration) -> bool {
    let waiting = &client.door().waiting;
    let took = waiting.fetch_add(1, Ordering::Relaxed);
    let _gone = Gone(client);
    if took >= WAITING_MAX {
        return false;
    }
    let until = Instant::now() + time;
    while Instant::now() < until && !client.worker().is_stopping() {
        let next = until.min(Instant::now() + LOOK);
        tokio::time::sleep_until(next.into()).await;
    }
    true
}

/// One that does not wait any more, also when its caller has left.
struct Gone<'a>(&'a Client);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.door().waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
