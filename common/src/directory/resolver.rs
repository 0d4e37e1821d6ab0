//! The cache of live queries: one long poll for the whole process, whatever the number of its queries.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracing::{debug, error, warn};

use super::backoff::Backoff;
use super::live_query::LiveQuery;
use super::stub::NameServerStub;
use super::{NameServer, PATIENCE, POLL_HOLD, POLL_PATIENCE, View};
use crate::clock::{Clock, Moment};
use crate::names::{Change, Page, Query, Record, Revision, Stamp, WatchId};
use crate::rpc::limits::NAME_SERVICE;
use crate::rpc::name_service::{ListError, NameServiceClient, WatchError};
use crate::rpc::transport::{CallError, within};

/// What one poll may carry.
const QUERIES_MAX: usize = 256;
/// How soon a name server that warms up is asked for a listing again: it may be ready before it thought.
const WARMING_MAX: Duration = Duration::from_secs(1);
/// And no sooner than this.
const WARMING_MIN: Duration = Duration::from_millis(20);
/// Records of one page: the most that the name server gives.
const PAGE: u16 = 1000;

/// All live queries of a process.
pub(super) struct Resolver {
    stub: NameServerStub,
    clock: Clock,
    queries: Mutex<Queries>,
    /// A query was added.
    added: Notify,
}

#[derive(Default)]
struct Queries {
    live: Vec<Live>,
    next: u32,
    /// Keeps them fresh as long as anybody looks at one.
    task: Option<JoinHandle<()>>,
}

struct Live {
    id: WatchId,
    query: LiveQuery,
    view: watch::Sender<View>,
    /// When the name server is asked for a listing at the earliest.
    list_at: Moment,
}

impl Live {
    /// Shows what it has, as a name server said it at `now`.
    fn publish(&self, now: Moment) {
        let (records, stamp) = (self.query.shown(), self.query.stamp());
        self.view.send_replace(View { records, stamp, heard: Some(now) });
    }

    /// Nothing changed, says a name server: the stamp is kept up, and wakes nobody.
    fn vouch(&self, now: Moment) {
        self.view.send_if_modified(|view| {
            view.stamp = self.query.stamp();
            view.heard = Some(now);
            false
        });
    }
}

impl Resolver {
    pub(super) fn new(stub: NameServerStub) -> Arc<Self> {
        Arc::new(Self { stub, clock: Clock::start(), queries: Mutex::default(), added: Notify::new() })
    }

    /// A live view of `query`; the same as before when somebody looks at the same query already.
    pub(super) fn view(self: &Arc<Self>, query: Query) -> watch::Receiver<View> {
        let mut queries = self.queries();
        if let Some(same) = queries.live.iter().find(|live| *live.query.query() == query) {
            let view = same.view.subscribe();
            // Its last looker may have gone just now, and the task with it.
            self.keep_fresh(&mut queries);
            return view;
        }
        let (sender, view) = watch::channel(View { records: Arc::new([]), stamp: None, heard: None });
        if queries.live.len() >= QUERIES_MAX {
            error!(
                ?query,
                "a process has at most {QUERIES_MAX} live queries; this one stays without an answer"
            );
            return view;
        }
        let id = WatchId(queries.next);
        queries.next = queries.next.wrapping_add(1);
        queries.live.push(Live { id, query: LiveQuery::new(query), view: sender, list_at: Moment::ORIGIN });
        self.keep_fresh(&mut queries);
        self.added.notify_one();
        view
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    fn keep_fresh(self: &Arc<Self>, queries: &mut Queries) {
        if queries.task.as_ref().is_none_or(JoinHandle::is_finished) {
            queries.task = Some(tokio::spawn(Arc::clone(self).follow()));
        }
    }

    fn queries(&self) -> MutexGuard<'_, Queries> {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists what is new, waits for changes, and so on, until nobody looks any more.
    async fn follow(self: Arc<Self>) {
        let server = NameServiceClient::from(self.stub.clone());
        let mut backoff = Backoff::up_to(Backoff::CAP);
        while self.somebody_looks() {
            let outcome = match self.unlisted() {
                Some((id, query)) => self.list(&server, id, query).await,
                None => self.poll(&server).await,
            };
            match outcome {
                Ok(()) => backoff.succeeded(),
                Err(error) => self.stub.wait_after(&error, &mut backoff).await,
            }
        }
    }

    /// Forgets the queries that nobody looks at; says whether one is left. When none is, this task is no more.
    fn somebody_looks(&self) -> bool {
        let mut queries = self.queries();
        queries.live.retain(|live| !live.view.is_closed());
        if queries.live.is_empty() {
            queries.task = None;
        }
        !queries.live.is_empty()
    }

    fn unlisted(&self) -> Option<(WatchId, Query)> {
        let (queries, now) = (self.queries(), self.clock.now());
        let mut unlisted =
            queries.live.iter().filter(|live| live.query.wants_listing() && live.list_at <= now);
        unlisted.next().map(|live| (live.id, live.query.query().clone()))
    }

    /// Reads all pages of one query.
    async fn list(&self, server: &NameServer, id: WatchId, query: Query) -> Result<(), CallError> {
        let mut records: Vec<Arc<Record>> = Vec::new();
        let mut begun: Option<Stamp> = None;
        let mut after = None;
        loop {
            let page = Page { after, limit: PAGE };
            let answer = server.list(within(NAME_SERVICE, PATIENCE), query.clone(), page).await;
            let answer = match answer.map_err(CallError::from)? {
                Ok(answer) => answer,
                Err(ListError::Warming { retry_in }) => {
                    self.warms_up(id, retry_in);
                    return Ok(());
                }
                Err(refused @ (ListError::BadRegex { .. } | ListError::BadPage)) => {
                    warn!(?query, error = %refused, "a live query was refused");
                    self.queries().live.retain(|live| live.id != id);
                    return Ok(());
                }
            };
            // Pages of different lives of the name server are no listing.
            let first = *begun.get_or_insert(answer.stamp);
            if (first.cluster, first.boot) != (answer.stamp.cluster, answer.stamp.boot) {
                return Err(CallError::Busy { retry_in: Duration::ZERO });
            }
            records.extend(answer.value.records.iter().map(|sent| Arc::clone(sent.record())));
            after = answer.value.next;
            if after.is_none() {
                let mut queries = self.queries();
                if let Some(live) = queries.live.iter_mut().find(|live| live.id == id) {
                    if live.query.list(records, first) {
                        live.publish(self.clock.now());
                    } else {
                        live.vouch(self.clock.now());
                    }
                }
                return Ok(());
            }
        }
    }

    /// The name server cannot list yet. What is shown stays, and what registers meanwhile is added to it: nobody who
    /// is there already waits until the last holder could have come back.
    fn warms_up(&self, id: WatchId, retry_in: Duration) {
        let soon = self.clock.now() + retry_in.clamp(WARMING_MIN, WARMING_MAX);
        let from = self.stub.seen().map(|seen| Stamp { rev: Revision(0), ..seen });
        if let Some(live) = self.queries().live.iter_mut().find(|live| live.id == id) {
            live.list_at = soon;
            if let (Some(from), None) = (from, live.query.since()) {
                live.query.follow_from(from);
            }
        }
    }

    /// Waits for changes of any query, for a while, or until one is added or may be listed.
    async fn poll(&self, server: &NameServer) -> Result<(), CallError> {
        let asked: Vec<(WatchId, Query, Stamp)> = {
            let queries = self.queries();
            let since = |live: &Live| Some((live.id, live.query.query().clone(), live.query.since()?));
            queries.live.iter().filter_map(since).collect()
        };
        // Each passes over the changes that it has seen already. The stamps are of one life: a listing of another
        // one makes the name server say `Rebooted`, and all are listed again.
        let since = asked.iter().map(|(_, _, since)| *since).min_by_key(|since| (since.boot, since.rev));
        let asked = asked.into_iter().map(|(id, query, _)| (id, query)).collect();
        let context = within(NAME_SERVICE, POLL_PATIENCE);
        let poll = async {
            match since {
                Some(since) => server.watch(context, asked, since, POLL_HOLD).await,
                None => std::future::pending().await,
            }
        };
        let answer = tokio::select! {
            answer = poll => answer.map_err(CallError::from)?,
            // The poll is dropped, and asked again from the same stamp once there is a listing.
            () = self.added.notified() => return Ok(()),
            () = self.listing_is_due() => return Ok(()),
        };
        match answer {
            Ok(answer) => {
                self.take_in(&answer.value, answer.stamp);
                Ok(())
            }
            Err(WatchError::Compacted { oldest }) => {
                self.resume_from(oldest, |since| since.boot == oldest.boot && since.covers(oldest));
                Ok(())
            }
            Err(WatchError::Rebooted { now }) => {
                self.resume_from(Stamp { rev: Revision(0), ..now }, |_| false);
                Ok(())
            }
            Err(refused @ (WatchError::BadRegex { .. } | WatchError::TooMany)) => {
                Err(CallError::Internal { why: refused.to_string() })
            }
        }
    }

    /// Returns when a query that the name server could not list may be asked for again.
    async fn listing_is_due(&self) {
        let due = {
            let queries = self.queries();
            let unlisted = queries.live.iter().filter(|live| live.query.wants_listing());
            unlisted.map(|live| live.list_at).min()
        };
        match due {
            Some(due) => tokio::time::sleep_until(self.clock.instant(due)).await,
            None => std::future::pending().await,
        }
    }

    /// Changes before `oldest` cannot be had: who misses any is listed again.
    fn resume_from(&self, oldest: Stamp, misses_none: impl Fn(Stamp) -> bool) {
        for live in &mut self.queries().live {
            if live.query.since().is_some_and(&misses_none) {
                continue;
            }
            debug!(query = ?live.query.query(), "changes were missed; it is listed again");
            live.query.lose_track();
            live.query.follow_from(oldest);
        }
    }

    fn take_in(&self, changes: &[Change], stamp: Stamp) {
        let now = self.clock.now();
        for live in &mut self.queries().live {
            let Some(since) = live.query.since().filter(|since| since.boot == stamp.boot) else {
                // Added while the poll was under way; its listing will show all this.
                continue;
            };
            // The poll is from the oldest stamp among all queries: what this one has taken in already is no news, and
            // a name that was removed since would come back.
            let news = |change: &&Change| change.ids.contains(&live.id) && change.rev > since.rev;
            let concerned = changes.iter().filter(news);
            let changed = concerned.fold(false, |changed, change| live.query.apply(change) | changed);
            live.query.advance(stamp);
            if changed {
                live.publish(now);
            } else {
                live.vouch(now);
            }
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("queries", &self.queries().live.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{record, stamp};
    use super::super::stub::Known;
    use super::*;
    use crate::names::{Names, What};

    #[test]
    fn a_name_removed_before_a_listing_does_not_come_back_by_an_older_querys_changes() {
        let servers = Arc::new(["127.0.0.1:1".parse().unwrap()]);
        let resolver = Resolver::new(NameServerStub::new(servers, "test", Known::nothing()));
        let (id, gone) = (WatchId(0), record("a", 1, 5));
        let (view, shown) = watch::channel(View { records: Arc::new([]), stamp: None, heard: None });
        let mut query = LiveQuery::new(Query::by_name(Names::Any));
        query.list([], stamp(1, 6));
        resolver.queries().live.push(Live { id, query, view, list_at: Moment::ORIGIN });
        let registered = |rev| Change {
            ids: vec![id],
            name: gone.name.clone(),
            instance: gone.instance,
            what: What::Registered(Arc::new(gone.clone()).into()),
            rev: Revision(rev),
        };
        resolver.take_in(&[registered(5)], stamp(1, 6));
        assert_eq!(shown.borrow().records.len(), 0);
        resolver.take_in(&[registered(7)], stamp(1, 7));
        assert_eq!(shown.borrow().records.len(), 1, "what is new is shown");
    }
}
