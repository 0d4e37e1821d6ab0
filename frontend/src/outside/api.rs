//! A web service that is asked politely: so many calls at once, so long each, and not at all while it is ill.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::clock::{Clock, Moment};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;
use tracing::{debug, info, warn};
use url::Url;

use super::breaker::{Breaker, Change, Failure, Leave};
use super::web::{Broken, Page, Web};
use crate::meters;

/// How a service may be used.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// One call takes no longer, a second try after a cut connection included.
    pub call_time: Duration,
    /// Calls at once.
    pub calls_max: usize,
    /// Callers that wait for their turn; the next one is told at once that there is no answer.
    pub waiting_max: usize,
}

/// A call that was cut short by its caller's own deadline says nothing about the service, unless it had this long.
const PATIENT: Duration = Duration::from_millis(500);

/// What came is no answer of this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer of this service: {why}")]
pub struct NoAnswer {
    /// What is wrong with it.
    pub why: &'static str,
}

/// A web service.
#[derive(Debug)]
pub struct Api<W> {
    name: &'static str,
    base: Url,
    manners: Manners,
    web: Rc<W>,
    clock: Clock,
    breaker: RefCell<Breaker>,
    room: Semaphore,
    waiting: Cell<usize>,
}

impl<W: Web> Api<W> {
    /// The service `name` at `base`.
    pub fn new(name: &'static str, base: Url, manners: Manners, web: Rc<W>, clock: Clock) -> Self {
        meters::web_service_known(name);
        let room = Semaphore::new(manners.calls_max);
        let breaker = RefCell::default();
        Self { name, base, manners, web, clock, breaker, room, waiting: Cell::new(0) }
    }

    /// The service's own address.
    pub const fn base(&self) -> &Url {
        &self.base
    }

    /// The address below the service's own that these segments make, each of them percent-encoded whole.
    pub fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("http and https have paths").pop_if_empty().extend(segments);
        url
    }

    /// Asks for `url` until `deadline`, and reads the answer; `None`: the service is not available.
    pub async fn ask<T>(
        &self,
        url: &Url,
        deadline: Moment,
        read: impl FnOnce(&Page) -> Result<T, NoAnswer>,
    ) -> Option<T> {
        let _turn = timeout_at(self.clock.instant(deadline), self.turn()).await.ok()??;
        let begun = self.clock.now();
        let until = deadline.min(begun + self.manners.call_time);
        if until <= begun {
            return None;
        }
        let call = Call { api: self, leave: Some(self.breaker.borrow_mut().leave(begun)?) };
        let got = timeout_at(self.clock.instant(until), self.get(url)).await;
        let outcome = match &got {
            Ok(Ok(_)) => "answered",
            Ok(Err(_)) => "broken",
            Err(_) => "timed_out",
        };
        meters::web_service_asked(self.name, outcome, self.clock.now().since(begun));
        match got {
            Ok(Ok(page)) => match read(&page) {
                Ok(answer) => {
                    call.answered();
                    Some(answer)
                }
                Err(error) => {
                    debug!(api = self.name, status = page.status, %error, "not understood");
                    call.failed(Failure::Broken, &error.to_string())
                }
            },
            Ok(Err(error)) => call.failed(Failure::Broken, &error.to_string()),
            // Our caller had no time; the call is given up.
            Err(_) if until.since(begun) < PATIENT => None,
            Err(_) => call.failed(Failure::TimedOut, "timed out"),
        }
    }

    /// One more try after a cut connection: an idle one may have been closed under our feet.
    async fn get(&self, url: &Url) -> Result<Page, Broken> {
        match self.web.get(url).await {
            Err(Broken::Connection { .. }) => self.web.get(url).await,
            other => other,
        }
    }

    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(turn) = self.room.try_acquire() {
            return Some(turn);
        }
        let _place = Place::behind(&self.waiting, self.manners.waiting_max)?;
        self.room.acquire().await.ok()
    }

    fn note(&self, change: Option<Change>, why: &str) {
        match change {
            Some(Change::Rests) => {
                meters::web_service_rests(self.name, true);
                warn!(api = self.name, error = why, "a web service rests");
            }
            Some(Change::Works) => {
                meters::web_service_rests(self.name, false);
                info!(api = self.name, "a web service works again");
            }
            None => {}
        }
    }
}

/// A call under way. Dropped in the middle of it, it is given up.
struct Call<'a, W: Web> {
    api: &'a Api<W>,
    leave: Option<Leave>,
}

impl<W: Web> Call<'_, W> {
    fn answered(mut self) {
        let change = self.leave.take().and_then(|leave| self.api.breaker.borrow_mut().answered(&leave));
        self.api.note(change, "");
    }

    fn failed<T>(mut self, failure: Failure, why: &str) -> Option<T> {
        let now = self.api.clock.now();
        let change =
            self.leave.take().and_then(|leave| self.api.breaker.borrow_mut().failed(now, &leave, failure));
        self.api.note(change, why);
        None
    }
}

impl<W: Web> Drop for Call<'_, W> {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            self.api.breaker.borrow_mut().given_up(self.api.clock.now(), &leave);
        }
    }
}

/// A place in the queue.
struct Place<'a>(&'a Cell<usize>);

impl<'a> Place<'a> {
    fn behind(waiting: &'a Cell<usize>, max: usize) -> Option<Self> {
        let before = waiting.get();
        (before < max).then(|| {
            waiting.set(before + 1);
            Self(waiting)
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outside::scripted::World;

    #[test]
    fn a_segment_stays_one_segment_whatever_is_in_it() {
        let manners = Manners { call_time: Duration::ZERO, calls_max: 1, waiting_max: 0 };
        let url = |base: &str, segment: &str| {
            let world = Rc::new(World::silent());
            let api = Api::new("x", base.parse().unwrap(), manners, world, Clock::start());
            api.url(&["postcodes", segment]).to_string()
        };
        for (segment, escaped) in [
            ("DH1 3LE", "DH1%203LE"),
            ("a/../b", "a%2F..%2Fb"),
            ("?x=1", "%3Fx=1"),
            ("#", "%23"),
            ("%2f", "%252f"),
            ("\0\n", "%00"),
            ("\u{202e}", "%E2%80%AE"),
        ] {
            assert_eq!(url("http://127.0.0.1:1", segment), format!("http://127.0.0.1:1/postcodes/{escaped}"));
            assert_eq!(url("http://[::1]:1/io/", segment), format!("http://[::1]:1/io/postcodes/{escaped}"));
        }
    }
}
