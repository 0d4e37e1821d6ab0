//! Updates and queries. Either waits until what its caller has seen is applied here; then a query is answered, and an
//! update is logged, unless its id is known by then.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use common::clock::Moment;
use common::replication::{Kind, RequestId, Update, VectorTimestamp};

use super::{Answer, Core, Done, Effect, Fault, Refused, Standing, Status, Waiter, requests};

/// Calls that wait at the same time.
const WAITING_MAX: usize = 1_024;
/// The largest update.
const UPDATE_BYTES_MAX: usize = 4 * 1_024;

/// A call that is not answered yet.
#[derive(Clone, Debug)]
pub(super) struct Call {
    waiter: Waiter,
    asks: Asks,
    prev: VectorTimestamp,
    since: Moment,
    deadline: Moment,
    /// How many pulls had been begun when it came.
    pulls: u64,
}

/// What a call wants.
#[derive(Clone, Debug)]
enum Asks {
    Update { request: RequestId, payload: Bytes },
    Query { payload: Bytes },
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    /// For what their callers have seen.
    waiting: Vec<Call>,
    /// For the disk, by the id that they are logged under.
    logged: BTreeMap<RequestId, Logged>,
    /// For enough disks.
    unconfirmed: Vec<Call>,
}

/// An update of ours that is on its way to the disk.
#[derive(Clone, Debug)]
struct Logged {
    counter: u64,
    digest: u64,
    calls: Vec<Call>,
}

/// What is known of an update's id.
enum Judged {
    /// It took effect, or another record with it did.
    Known,
    /// It is on its way to the disk.
    Logged,
    /// Nothing.
    Fresh,
}

impl Calls {
    fn len(&self) -> usize {
        let logged: usize = self.logged.values().map(|logged| logged.calls.len()).sum();
        self.waiting.len() + self.unconfirmed.len() + logged
    }

    /// When the first one gives up.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.waiting.iter().chain(&self.unconfirmed).map(|call| call.deadline).min()
    }

    /// The youngest pull that some waiting call came after; `None`: none waits.
    pub(super) fn wants_pull_after(&self) -> Option<u64> {
        self.waiting.iter().map(|call| call.pulls).max()
    }

    /// One of our own records is on the disk, and applied.
    pub(super) fn is_logged(&mut self, record: &Update) {
        if self.logged.get(&record.id).is_some_and(|logged| logged.counter == record.counter) {
            let logged = self.logged.remove(&record.id).expect("it was just there");
            self.unconfirmed.extend(logged.calls);
        }
    }
}

impl Core {
    /// Takes in an update.
    pub(super) fn execute(
        &mut self,
        waiter: Waiter,
        request: RequestId,
        prev: VectorTimestamp,
        payload: Bytes,
        deadline: Moment,
    ) {
        let call = self.call(waiter, Asks::Update { request, payload }, prev, deadline);
        let judged = match &call.asks {
            Asks::Update { payload, .. } if payload.len() > UPDATE_BYTES_MAX => {
                Err(Refused::TooLarge { limit: UPDATE_BYTES_MAX })
            }
            Asks::Update { payload, .. } => self.judge(request, payload).map(|_| ()),
            Asks::Query { .. } => Ok(()),
        };
        match self.door().and(judged) {
            Ok(()) => self.run_or_wait(call),
            Err(refused) => self.refuse(&call, refused),
        }
    }

    /// Takes in a query.
    pub(super) fn query(&mut self, waiter: Waiter, prev: VectorTimestamp, payload: Bytes, deadline: Moment) {
        let call = self.call(waiter, Asks::Query { payload }, prev, deadline);
        match self.door() {
            Ok(()) => self.run_or_wait(call),
            Err(refused) => self.refuse(&call, refused),
        }
    }

    fn call(&self, waiter: Waiter, asks: Asks, prev: VectorTimestamp, deadline: Moment) -> Call {
        Call { waiter, asks, prev, since: self.now.at, deadline, pulls: self.pulls }
    }

    /// Whether calls are taken in at all.
    fn door(&mut self) -> Result<(), Refused> {
        let rate = u64::from(self.setup.limits.overload_rate);
        match (&self.standing, self.status) {
            _ if self.stopping.is_some() => Err(Refused::Draining),
            (Standing::Serving, Status::Overloaded) => Err(Refused::Overloaded),
            (Standing::Serving, Status::Online) if self.pressed => Err(Refused::Overloaded),
            (Standing::Serving, Status::Online) if rate > 0 && self.chance.below(1_000_000) < rate => {
                Err(Refused::Overloaded)
            }
            (Standing::Serving, Status::Online) if self.calls.len() >= WAITING_MAX => Err(Refused::Busy),
            (Standing::Serving, Status::Online) => Ok(()),
            _ => Err(Refused::Offline),
        }
    }

    fn judge(&self, request: RequestId, payload: &[u8]) -> Result<Judged, Refused> {
        let digest = requests::digest(payload);
        let same = |other: u64| if other == digest { Ok(()) } else { Err(Refused::Reused) };
        if let Some(known) = self.requests.get(request)
            && !self.planted(Fault::NoDedup)
        {
            return same(known.digest).map(|()| Judged::Known);
        }
        if let Some(logged) = self.calls.logged.get(&request) {
            return same(logged.digest).map(|()| Judged::Logged);
        }
        if request.time() < self.floor {
            return Err(Refused::Expired { floor: self.floor });
        }
        if self.requests.is_from_the_future(request, self.now.wall) {
            return Err(Refused::FromTheFuture { now: self.now.wall });
        }
        Ok(Judged::Fresh)
    }

    fn covers(&self, prev: &VectorTimestamp) -> bool {
        let whatever_version = self.planted(Fault::VectorWithoutVersion);
        (whatever_version && self.applied.covers_entries(prev, &self.members))
            || self.applied.covers(prev, &self.members)
    }

    fn run_or_wait(&mut self, call: Call) {
        let blind = match call.asks {
            Asks::Update { .. } => self.planted(Fault::LogBeforePrev) || self.planted(Fault::IgnorePrev),
            Asks::Query { .. } => self.planted(Fault::IgnorePrev),
        };
        if self.covers(&call.prev) || blind {
            return self.run(call, false);
        }
        let newer = call.prev.version > self.members.version;
        if newer || call.prev.seen.keys().any(|id| !self.members.knows(*id)) {
            // Somebody has seen members that we do not know.
            self.refresh_members();
        }
        self.calls.waiting.push(call);
    }

    /// Runs a call whose caller has seen nothing that is not applied here.
    fn run(&mut self, call: Call, has_waited: bool) {
        match &call.asks {
            Asks::Query { payload } => {
                let answer = self.value.query(payload);
                let (vector, latest) = (self.answer_vector(&call), self.requests.latest);
                let result = Ok(Answer { answer, vector, latest });
                self.effects.push(Effect::Queried { waiter: call.waiter, result });
            }
            Asks::Update { request, payload } => {
                let unchecked = has_waited && self.planted(Fault::NoSecondCheck);
                // The id may have come meanwhile, or the floor may have risen.
                let judged = if unchecked { Ok(Judged::Fresh) } else { self.judge(*request, payload) };
                match judged {
                    Ok(Judged::Known) => self.calls.unconfirmed.push(call),
                    Ok(Judged::Logged) => {
                        let logged = self.calls.logged.get_mut(request);
                        logged.expect("it was just judged so").calls.push(call);
                    }
                    Ok(Judged::Fresh) => self.log_own(call),
                    Err(refused) => self.refuse(&call, refused),
                }
            }
        }
    }

    fn log_own(&mut self, call: Call) {
        let Asks::Update { request, payload } = &call.asks else { return };
        if self.disk_full {
            return self.refuse(&call, Refused::DiskFull);
        }
        if let Some(reply) = self.value.full() {
            return self.refuse(&call, Refused::Full { reply });
        }
        let me = self.me();
        let (counter, digest) = (self.taken.get(me) + 1, requests::digest(payload));
        let record = Update {
            origin: me,
            counter,
            prev: call.prev.under(&self.members),
            id: *request,
            kind: Kind::Causal,
            payload: payload.clone(),
        };
        self.calls.logged.insert(*request, Logged { counter, digest, calls: vec![call] });
        self.stage(Arc::new(record));
    }

    fn answer_vector(&self, call: &Call) -> VectorTimestamp {
        let honest = !self.planted(Fault::IgnorePrev)
            && !self.planted(Fault::LogBeforePrev)
            && !self.planted(Fault::VectorWithoutVersion);
        let covered = self.applied.covers(&call.prev, &self.members);
        assert!(covered || !honest, "G8: an answer at {}, its caller has seen {}", self.applied, call.prev);
        self.applied.clone()
    }

    /// Serves the calls that wait no longer in vain, and gives up those that do.
    pub(super) fn serve_waiting(&mut self) {
        let now = self.now.at;
        for call in std::mem::take(&mut self.calls.waiting) {
            if self.covers(&call.prev) {
                self.run(call, true);
            } else if now >= call.deadline || self.all_answered_after(call.pulls) {
                // Or nobody has what it has seen: somebody has made that up.
                let missing = self.applied.lacking(&call.prev, &self.members);
                self.refuse(&call, Refused::Behind { missing });
            } else {
                self.calls.waiting.push(call);
            }
        }
        self.pull_for_waiting();
    }

    /// Answers the updates that are on enough disks, and gives up those that are not in time.
    pub(super) fn confirm(&mut self) {
        let now = self.now.at;
        for logged in self.calls.logged.values_mut() {
            let late = logged.calls.extract_if(.., |call| now >= call.deadline);
            self.calls.unconfirmed.extend(late);
        }
        for call in std::mem::take(&mut self.calls.unconfirmed) {
            let Asks::Update { request, .. } = &call.asks else { continue };
            let known = self.requests.get(*request).filter(|known| {
                // All that a retired origin's final covers is on every disk that was active then, and on its copies.
                let retired = self.members.retired.contains_key(&known.origin);
                let settled = |id| self.table.get(id).is_some_and(|row| row.members >= self.members.version);
                let holds = |id| self.table.has(id, known.origin, known.counter);
                let has = |id: &_| if retired { settled(*id) } else { holds(*id) };
                let disks = 1 + self.members.others(self.me()).filter(has).count();
                disks >= self.setup.limits.ack_after
            });
            if let Some(known) = known {
                let (reply, latest, floor) = (known.reply.clone(), self.requests.latest, self.floor);
                let result = Ok(Done { reply, vector: self.answer_vector(&call), latest, floor });
                self.effects.push(Effect::Executed { waiter: call.waiter, result });
            } else if now >= call.deadline {
                let waited = now.since(call.since);
                self.refuse(&call, Refused::Unacknowledged { waited });
            } else {
                self.calls.unconfirmed.push(call);
            }
        }
    }

    /// Nobody is left without an answer when this replica gives up.
    pub(super) fn refuse_all(&mut self) {
        let Calls { waiting, logged, unconfirmed } = std::mem::take(&mut self.calls);
        for call in waiting {
            self.refuse(&call, Refused::Offline);
        }
        for call in logged.into_values().flat_map(|logged| logged.calls).chain(unconfirmed) {
            let waited = self.now.at.since(call.since);
            self.refuse(&call, Refused::Unacknowledged { waited });
        }
    }

    fn refuse(&mut self, call: &Call, refused: Refused) {
        let waiter = call.waiter;
        self.effects.push(match call.asks {
            Asks::Update { .. } => Effect::Executed { waiter, result: Err(refused) },
            Asks::Query { .. } => Effect::Queried { waiter, result: Err(refused) },
        });
    }
}
