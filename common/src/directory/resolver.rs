//! The cache of live queries: one long poll for the whole process, whatever the number of its queries.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{Either, select};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracing::{debug, error, warn};

use super::backoff::Backoff;
use super::live_query::LiveQuery;
use super::stub::NameServerStub;
use super::{NameServer, PATIENCE, POLL_HOLD, POLL_PATIENCE, View};
use crate::names::{Change, Page, Query, Record, Stamp, WatchId};
use crate::rpc::limits::NAME_SERVICE;
use crate::rpc::name_service::{ListError, NameServiceClient, WatchError};
use crate::rpc::transport::{CallError, within};

/// What one poll may carry.
const QUERIES_MAX: usize = 256;
/// Records of one page: the most that the name server gives.
const PAGE: u16 = 1000;

/// All live queries of a process.
pub(super) struct Resolver {
    stub: NameServerStub,
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
}

impl Live {
    fn publish(&self) {
        self.view.send_replace(View { records: self.query.shown(), stamp: self.query.stamp() });
    }
}

impl Resolver {
    pub(super) fn new(stub: NameServerStub) -> Arc<Self> {
        Arc::new(Self { stub, queries: Mutex::default(), added: Notify::new() })
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
        let (sender, view) = watch::channel(View { records: Arc::new([]), stamp: None });
        if queries.live.len() >= QUERIES_MAX {
            error!(
                ?query,
                "a process has at most {QUERIES_MAX} live queries; this one stays without an answer"
            );
            return view;
        }
        let id = WatchId(queries.next);
        queries.next = queries.next.wrapping_add(1);
        queries.live.push(Live { id, query: LiveQuery::new(query), view: sender });
        self.keep_fresh(&mut queries);
        self.added.notify_one();
        view
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
                Err(Trouble::Call(error)) => self.stub.wait_after(&error, &mut backoff).await,
                Err(Trouble::Later { retry_in }) => {
                    tokio::time::sleep(retry_in.min(Backoff::CAP).max(backoff.failed(rand::random()))).await;
                }
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
        let queries = self.queries();
        let mut unlisted = queries.live.iter().filter(|live| live.query.since().is_none());
        unlisted.next().map(|live| (live.id, live.query.query().clone()))
    }

    /// Reads all pages of one query.
    async fn list(&self, server: &NameServer, id: WatchId, query: Query) -> Result<(), Trouble> {
        let mut records: Vec<Arc<Record>> = Vec::new();
        let mut begun: Option<Stamp> = None;
        let mut after = None;
        loop {
            let page = Page { after, limit: PAGE };
            let answer = server.list(within(NAME_SERVICE, PATIENCE), query.clone(), page).await;
            let answer = match answer.map_err(|error| Trouble::Call(CallError::from(error)))? {
                Ok(answer) => answer,
                // What is shown stays: the name server cannot know yet.
                Err(ListError::Warming { retry_in }) => return Err(Trouble::Later { retry_in }),
                Err(refused @ (ListError::BadRegex { .. } | ListError::BadPage)) => {
                    warn!(?query, error = %refused, "a live query was refused");
                    self.queries().live.retain(|live| live.id != id);
                    return Ok(());
                }
            };
            // Pages of different lives of the name server are no listing.
            let first = *begun.get_or_insert(answer.stamp);
            if (first.cluster, first.boot) != (answer.stamp.cluster, answer.stamp.boot) {
                return Err(Trouble::Later { retry_in: Duration::ZERO });
            }
            records.extend(answer.value.records);
            after = answer.value.next;
            if after.is_none() {
                let mut queries = self.queries();
                if let Some(live) = queries.live.iter_mut().find(|live| live.id == id)
                    && live.query.list(records, first)
                {
                    live.publish();
                }
                return Ok(());
            }
        }
    }

    /// Waits for changes of any query, for a while, or until a query is added.
    async fn poll(&self, server: &NameServer) -> Result<(), Trouble> {
        let asked: Vec<(WatchId, Query, Stamp)> = {
            let queries = self.queries();
            let since = |live: &Live| Some((live.id, live.query.query().clone(), live.query.since()?));
            queries.live.iter().filter_map(since).collect()
        };
        // Each passes over the changes that it has seen already. The stamps are of one life: a listing of another
        // one makes the name server say `Rebooted`, and all are listed again.
        let Some(since) =
            asked.iter().map(|(_, _, since)| *since).min_by_key(|since| (since.boot, since.rev))
        else {
            return Ok(());
        };
        let asked = asked.into_iter().map(|(id, query, _)| (id, query)).collect();
        let context = within(NAME_SERVICE, POLL_PATIENCE);
        let poll = std::pin::pin!(server.watch(context, asked, since, POLL_HOLD));
        let added = std::pin::pin!(self.added.notified());
        let answer = match select(poll, added).await {
            Either::Left((answer, _)) => answer.map_err(|error| Trouble::Call(CallError::from(error)))?,
            // The poll is dropped, and asked again from the same stamp once the new query is listed.
            Either::Right(_) => return Ok(()),
        };
        match answer {
            Ok(answer) => {
                self.take_in(&answer.value, answer.stamp);
                Ok(())
            }
            Err(reason @ (WatchError::Compacted { .. } | WatchError::Rebooted { .. })) => {
                debug!(%reason, "the live queries are listed again");
                self.queries().live.iter_mut().for_each(|live| live.query.lose_track());
                Ok(())
            }
            Err(refused @ (WatchError::BadRegex { .. } | WatchError::TooMany)) => {
                Err(Trouble::Call(CallError::Internal { why: refused.to_string() }))
            }
        }
    }

    fn take_in(&self, changes: &[Change], stamp: Stamp) {
        for live in &mut self.queries().live {
            if live.query.since().is_none() {
                // Added while the poll was under way; its listing will show all this.
                continue;
            }
            let concerned = changes.iter().filter(|change| change.ids.contains(&live.id));
            let changed = concerned.fold(false, |changed, change| live.query.apply(change) | changed);
            live.query.advance(stamp);
            if changed {
                live.publish();
            } else {
                // The stamp is kept up, and wakes nobody.
                live.view.send_if_modified(|view| {
                    view.stamp = live.query.stamp();
                    false
                });
            }
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("queries", &self.queries().live.len()).finish_non_exhaustive()
    }
}

/// Why a round brought nothing.
enum Trouble {
    /// On the way.
    Call(CallError),
    /// The name server asks for patience.
    Later { retry_in: Duration },
}
