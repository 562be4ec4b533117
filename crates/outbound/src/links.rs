//! The links of one application at work: leave, attempts, and what comes of them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::Request;
use http_body_util::Full;
use parking_lot::Mutex;
use plexspaces_actor::{HttpResponse, Outbound, Outgoing};
use plexspaces_types::{Code, Failure, Name};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::circuit::{Circuit, Permit, Position, Verdict};
use crate::client::Trouble;
use crate::meters::Meters;
use crate::retry::{Policy, may_pass};
use crate::route::Route;
use crate::{Client, Error, Link, Rate};

/// Each has metrics of its own, so there must not be any number of them.
const MAX_LINKS: usize = 64;

/// Whose links they are.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Whose secrets they use.
    pub tenant: &'a Name,
    /// Where the application is.
    pub namespace: &'a Name,
    /// The application.
    pub app: &'a Name,
}

/// The links of one application. When they are dropped, what they know of their services is forgotten.
pub struct Links(BTreeMap<String, Live>);

struct Live {
    name: String,
    client: Client,
    route: Route,
    timeout: Duration,
    policy: Policy,
    circuit: Mutex<Circuit>,
    slots: Semaphore,
    max_concurrent: usize,
    rate: Option<DefaultDirectRateLimiter>,
    max_response: usize,
    meters: Meters,
}

/// One sending of a request.
enum Attempt {
    /// There is a response.
    Answered(HttpResponse),
    /// It was not tried.
    Refused(Failure),
    /// The service saw nothing of it.
    NotSent(Failure),
    /// The service may have applied it.
    Lost(Failure),
    /// Another one could not end better.
    Final(Failure),
}

/// Leave to send; it tells the circuit how it ended, also when the future is dropped half-way.
struct Leave<'a> {
    live: &'a Live,
    _slot: SemaphorePermit<'a>,
    permit: Option<Permit>,
}

impl Client {
    /// Opens the links of an application: what is wrong with one and a secret that is not there are errors.
    pub fn open(&self, owner: Owner<'_>, links: &[Link]) -> Result<Links, Error> {
        let mut opened = BTreeMap::new();
        for link in links {
            link.check()?;
            let secret = match link.secret() {
                Some((field, name)) => {
                    Some(self.secrets.find(owner.tenant, name).map_err(|message| Error::link(&link.name, field, message))?)
                }
                None => None,
            };
            let route = link.route(secret.as_ref())?;
            if route.is_encrypted() && !self.has_roots {
                let message = "is encrypted, but this machine trusts no certificates: install ca-certificates or set service_links.ca_file";
                return Err(Error::link(&link.name, "base_url", message));
            }
            if opened.len() == MAX_LINKS {
                return Err(Error::link(&link.name, "name", format!("is one too many: an application may have {MAX_LINKS} service links")));
            }
            let live = Live {
                name: link.name.clone(),
                client: self.clone(),
                route,
                timeout: link.timeout,
                policy: link.retry,
                circuit: Mutex::new(Circuit::new(link.circuit)),
                slots: Semaphore::new(link.max_concurrent),
                max_concurrent: link.max_concurrent,
                rate: link.rate.and_then(limiter),
                max_response: link.max_response,
                meters: Meters::new(owner, &link.name),
            };
            if opened.insert(link.name.clone(), live).is_some() {
                return Err(Error::link(&link.name, "name", "is given to two service links"));
            }
        }
        Ok(Links(opened))
    }
}

fn limiter(rate: Rate) -> Option<DefaultDirectRateLimiter> {
    let quota = Quota::with_period(rate.per.checked_div(rate.requests)?.max(Duration::from_nanos(1)))?;
    Some(RateLimiter::direct(quota.allow_burst(NonZeroU32::new(rate.burst.unwrap_or(rate.requests))?)))
}

#[async_trait]
impl Outbound for Links {
    fn links(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    async fn fetch(&self, link: &str, outgoing: Outgoing) -> Result<HttpResponse, Failure> {
        let Some(live) = self.0.get(link) else {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            let message = format!("unknown service link {link:?}; the application has {}", known.join(", "));
            return Err(Failure::not_found(message).with_field("link"));
        };
        let started = now();
        let result = live.fetch(&outgoing).await;
        live.meters.note(&result, started.elapsed());
        result
    }
}

impl Live {
    async fn fetch(&self, outgoing: &Outgoing) -> Result<HttpResponse, Failure> {
        let request = self.route.prepare(&self.name, outgoing)?;
        let may_repeat = self.policy.may_repeat(request.method(), outgoing.request.idempotency_key.is_some());
        let limit = self.max_response.min(outgoing.max_response);
        let mut delays = self.policy.delays();
        let mut last = self.attempt(&request, limit, outgoing.deadline).await;
        while let Some(least) = last.again(may_repeat)
            && least <= self.policy.max_delay
            && let Some(delay) = delays.next()
        {
            let delay = delay.max(least);
            if outgoing.deadline.is_some_and(|deadline| now() + delay >= deadline) {
                break;
            }
            tokio::time::sleep(delay).await;
            match self.attempt(&request, limit, outgoing.deadline).await {
                // What is known of the attempt before says more than that there was no leave for another.
                Attempt::Refused(_) => break,
                next => last = next,
            }
            self.meters.retries.increment(1);
        }
        match last {
            Attempt::Answered(response) => Ok(response),
            Attempt::Refused(failure) | Attempt::NotSent(failure) | Attempt::Lost(failure) | Attempt::Final(failure) => Err(failure),
        }
    }

    async fn attempt(&self, request: &Request<Full<Bytes>>, limit: usize, deadline: Option<Instant>) -> Attempt {
        let mut leave = match self.leave(deadline).await {
            Ok(leave) => leave,
            Err(failure) => return Attempt::Refused(failure),
        };
        let own = now() + self.timeout;
        let until = deadline.map_or(own, |deadline| deadline.min(own));
        let sent = tokio::time::timeout_at(until.into(), self.client.send(request.clone(), limit)).await;
        let name = &self.name;
        let (verdict, attempt) = match sent {
            Ok(Ok(response)) => {
                let verdict = if response.status >= 500 { Verdict::Failure } else { Verdict::Success };
                (verdict, Attempt::Answered(response))
            }
            Ok(Err(Trouble::NotSent(why))) => {
                let message = format!("service link {name:?} cannot connect: {why}");
                (Verdict::Failure, Attempt::NotSent(Failure::new(Code::Unavailable, message)))
            }
            Ok(Err(Trouble::Lost(why))) => {
                let message = format!("service link {name:?} lost the connection: {why}; the request may have been applied");
                (Verdict::Failure, Attempt::Lost(Failure::new(Code::Unavailable, message)))
            }
            Ok(Err(Trouble::TooLarge)) => {
                let message = format!("the response over service link {name:?} is larger than the limit of {limit} bytes");
                (Verdict::Success, Attempt::Final(Failure::new(Code::PayloadTooLarge, message)))
            }
            Err(_) if until == own => {
                let message = format!("service link {name:?} had no response within {:?}; the request may have been applied", self.timeout);
                (Verdict::Failure, Attempt::Lost(Failure::new(Code::DeadlineExceeded, message)))
            }
            // That a caller was in a hurry says nothing of the service.
            Err(_) => {
                let message = format!("service link {name:?} had no response before the deadline; the request may have been applied");
                (Verdict::Unknown, Attempt::Final(Failure::new(Code::DeadlineExceeded, message)))
            }
        };
        tracing::debug!(link = name, method = %request.method(), outcome = attempt.text(), "a request over a service link");
        leave.settle(verdict);
        attempt
    }

    /// Waits for a slot and asks circuit and rate. The circuit comes after the wait: the one request that it tries should not wait.
    async fn leave(&self, deadline: Option<Instant>) -> Result<Leave<'_>, Failure> {
        let name = &self.name;
        let open = |wait: Duration| {
            let message = format!("the circuit of service link {name:?} is open after failures; try again in {wait:.1?}");
            Failure::new(Code::Unavailable, message).with_retry_after(wait)
        };
        let began = now();
        if deadline.is_some_and(|deadline| deadline <= began) {
            let message = format!("the deadline passed before the request over service link {name:?} was sent");
            return Err(Failure::new(Code::DeadlineExceeded, message));
        }
        let wait = self.circuit.lock().wait(began);
        if !wait.is_zero() {
            return Err(open(wait));
        }
        let patience = began + self.timeout;
        let until = deadline.map_or(patience, |deadline| deadline.min(patience));
        let Ok(Ok(slot)) = tokio::time::timeout_at(until.into(), self.slots.acquire()).await else {
            let message = format!("all {} requests that service link {name:?} may have at a time are under way", self.max_concurrent);
            return Err(Failure::new(Code::Overloaded, message));
        };
        let mut leave = Leave { live: self, _slot: slot, permit: None };
        leave.permit = Some(self.change(|circuit| circuit.admit(now())).map_err(open)?);
        if let Some(Err(refused)) = self.rate.as_ref().map(RateLimiter::check) {
            let wait = refused.wait_time_from(DefaultClock::default().now());
            let message = format!("service link {name:?} is over its rate_limit; try again in {wait:.1?}");
            return Err(Failure::new(Code::Overloaded, message).with_retry_after(wait));
        }
        Ok(leave)
    }

    /// Does something with the circuit and shows what became of it.
    fn change<T>(&self, what: impl FnOnce(&mut Circuit) -> T) -> T {
        let mut circuit = self.circuit.lock();
        let before = circuit.position();
        let result = what(&mut circuit);
        let after = circuit.position();
        if before != after {
            self.meters.turn(before, after);
            if after == Position::Open {
                tracing::warn!(link = self.name, "the circuit of a service link is open: requests are refused for a while");
            }
        }
        result
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.meters.turn(self.circuit.get_mut().position(), Position::Closed);
    }
}

impl Leave<'_> {
    fn settle(&mut self, verdict: Verdict) {
        if let Some(permit) = self.permit.take() {
            self.live.change(|circuit| circuit.settle(permit, verdict, now()));
        }
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.settle(Verdict::Unknown);
    }
}

impl Attempt {
    /// Whether it makes sense to try again, and how long the service wants to be left alone.
    fn again(&self, may_repeat: bool) -> Option<Duration> {
        match self {
            Self::Answered(response) if may_repeat && may_pass(response.status) => Some(retry_after(response)),
            Self::NotSent(_) => Some(Duration::ZERO),
            Self::Lost(_) if may_repeat => Some(Duration::ZERO),
            Self::Answered(_) | Self::Lost(_) | Self::Refused(_) | Self::Final(_) => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Answered(response) => response.status.to_string(),
            Self::Refused(failure) | Self::NotSent(failure) | Self::Lost(failure) | Self::Final(failure) => failure.code.to_string(),
        }
    }
}

/// The time by which deadlines are set, also where a test pauses it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// `Retry-After` in seconds; its other form, a date, depends on two clocks.
fn retry_after(response: &HttpResponse) -> Duration {
    let header = response.headers.iter().find(|(name, _)| name == "retry-after");
    header.and_then(|(_, value)| value.trim().parse().ok()).map_or(Duration::ZERO, Duration::from_secs)
}
