//! Leases and their end: the core that decides when a process counts as dead (C. Gray, D. Cheriton, *Leases*,
//! SOSP 1989).
//!
//! **The lease clock** is monotonic time minus all pauses of this process, and never more than [`PAUSE`] ahead of
//! the last tick: when *we* stood still, nobody could renew, so no lease grew older.
//!
//! **Never early.** A [`LeaseCell`] holds one number, the deadline. A renewal moves it by compare-and-swap, from any
//! thread, and never asks the writer; expiry swaps the very deadline that it found past for `DEAD`. Whoever comes
//! second fails, so "renewed" implies "there until that deadline" without a lock. A renewal judges by the last
//! *published* tick, not by a clock of its own, whose knowledge of pauses may be stale.
//!
//! **Lazy.** The `wheel` visits a lease once per time-to-live, however often it is renewed.

mod wheel;

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use common::clock::Moment;
use common::ids::InstanceId;
use common::names::{BootCount, LeaseId, OwnerKey};
use common::rpc::name_service::{GrantError, RenewError, Renewed};
use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use self::wheel::{Place, Wheel};

/// The shortest time-to-live: renewals every third of it still leave room for a lost packet.
pub const TTL_MIN: Duration = Duration::from_millis(100);
/// The longest time-to-live; whoever needs more registers without a lease.
pub const TTL_MAX: Duration = Duration::from_hours(24);
/// Leases held at most.
pub const LEASES_MAX: usize = 1_000_000;
/// How finely time is told. A lease ends at the first tick at or after its deadline.
pub const TICK: Duration = Duration::from_millis(10);
/// A tick that comes this late was not late: the process was paused.
pub const PAUSE: Duration = Duration::from_millis(50);
/// Between ticks while there is no lease; the timer stays armed, which spares a wake-up per call.
const IDLE_TICK: Duration = Duration::from_millis(500);

/// The deadline of a lease that has ended. Before every time that the lease clock tells.
const DEAD: u64 = 0;

/// A point on the lease clock, in microseconds; 0 is before its start.
type LeaseTime = u64;

/// What is kept of an [`OwnerKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerHash([u8; 32]);

impl OwnerHash {
    /// The hash of `key`.
    pub fn of(key: OwnerKey) -> Self {
        Self(Sha256::digest(key.bits().to_be_bytes()).into())
    }

    /// Whether both are of the same key; in the same time whatever the answer.
    pub fn same(self, other: Self) -> bool {
        let differing = self.0.iter().zip(other.0).fold(0, |seen, (a, b)| seen | (a ^ b));
        std::hint::black_box(differing) == 0
    }
}

/// What the store keeps of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRow {
    /// Its time-to-live.
    pub ttl: Duration,
    /// Whose it is.
    pub instance: InstanceId,
    /// Who may succeed its holder.
    pub owner: Option<OwnerHash>,
    /// What is known of its holder.
    pub heard: Heard,
}

/// When the holder of a lease was last heard, so that restarts do not keep the dead alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Heard {
    /// In this boot: the next one gives it a whole time-to-live to come back.
    In(BootCount),
    /// Not since an earlier boot; in this one it had that much time left.
    Left(BootCount, Duration),
}

impl LeaseRow {
    /// How long the holder has to come back after a restart, when the boot before this one, `previous`, served for
    /// `alive` that we know of.
    pub fn grace(&self, previous: BootCount, alive: Duration) -> Duration {
        match self.heard {
            Heard::In(boot) if boot == previous => self.ttl,
            Heard::In(_) => self.ttl.saturating_sub(alive),
            Heard::Left(boot, left) if boot == previous => left.saturating_sub(alive),
            // Written by a boot that is not the last one: it cannot be, rows are rewritten at each start.
            Heard::Left(..) => Duration::ZERO,
        }
    }
}

/// One lease, as its holder's renewals and the writer share it.
#[derive(Debug)]
pub struct LeaseCell {
    /// Its id.
    pub id: LeaseId,
    /// Its time-to-live.
    pub ttl: Duration,
    /// Whose it is.
    pub instance: InstanceId,
    /// Who may succeed its holder; most have named nobody.
    owner: Option<Box<OwnerHash>>,
    deadline: AtomicU64,
    names: AtomicU32,
    unconfirmed: AtomicBool,
    /// Where in the wheel it is: the writer's note to itself.
    place: AtomicU16,
}

impl LeaseCell {
    /// How many names stand under it.
    pub fn names(&self) -> u32 {
        self.names.load(Ordering::Acquire)
    }

    /// Tells renewals how many names stand under it.
    pub fn set_names(&self, names: u32) {
        self.names.store(names, Ordering::Release);
    }

    /// Whether its holder was not heard since the restart.
    pub fn is_unconfirmed(&self) -> bool {
        self.unconfirmed.load(Ordering::Acquire)
    }

    /// What the store keeps of it.
    pub fn row(&self, heard: Heard) -> LeaseRow {
        LeaseRow { ttl: self.ttl, instance: self.instance, owner: self.owner.as_deref().copied(), heard }
    }

    /// Whether the same owner stands behind both.
    pub fn same_owner(&self, other: &Self) -> bool {
        matches!((&self.owner, &other.owner), (Some(a), Some(b)) if a.same(**b))
    }

    /// Moves the deadline to a time-to-live after `now`; never back.
    fn renew(&self, now: LeaseTime, ticked: LeaseTime) -> Result<(), RenewError> {
        let later = now + micros(self.ttl);
        let mut seen = self.deadline.load(Ordering::Acquire);
        while let Some(deadline) = renewal(seen, later, ticked)? {
            match self.swap(seen, deadline) {
                Ok(()) => break,
                Err(moved) => seen = moved,
            }
        }
        Ok(())
    }

    /// Ends it when its deadline is past, and tells that; else says when to look again.
    fn expire(&self, ticked: LeaseTime) -> Result<LeaseTime, LeaseTime> {
        let mut seen = self.deadline.load(Ordering::Acquire);
        while is_past(seen, ticked) {
            match self.swap(seen, DEAD) {
                Ok(()) => return Ok(seen),
                Err(moved) => seen = moved,
            }
        }
        Err(seen)
    }

    /// Puts a deadline in the place of the one seen; else tells which one is there.
    fn swap(&self, seen: LeaseTime, deadline: LeaseTime) -> Result<(), LeaseTime> {
        let swapped =
            self.deadline.compare_exchange_weak(seen, deadline, Ordering::AcqRel, Ordering::Acquire);
        swapped.map(drop)
    }
}

/// What a renewal up to `later` makes of the deadline that it sees; `None`: nothing, it is later already.
fn renewal(seen: LeaseTime, later: LeaseTime, ticked: LeaseTime) -> Result<Option<LeaseTime>, RenewError> {
    if is_past(seen, ticked) {
        return Err(RenewError::UnknownLease);
    }
    Ok((later > seen).then_some(later))
}

/// Whether a lease has run out by the last published tick.
fn is_past(deadline: LeaseTime, ticked: LeaseTime) -> bool {
    deadline <= ticked
}

/// What every thread may know of the leases: enough to renew one.
#[derive(Debug)]
pub struct LeaseBook {
    cells: DashMap<ById, ()>,
    /// The lease clock at the last tick.
    ticked: AtomicU64,
    /// All pauses together.
    paused: AtomicU64,
}

/// A lease, found by the id that is in it: a key beside it would be kept twice for each of a million.
#[derive(Debug)]
struct ById(Arc<LeaseCell>);

impl Borrow<LeaseId> for ById {
    fn borrow(&self) -> &LeaseId {
        &self.0.id
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

/// A renewal that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The answer.
    pub renewed: Renewed,
    /// The first word from its holder since a restart: the writer must hear of it.
    pub confirms: bool,
}

impl LeaseBook {
    /// Extends a lease by its own time-to-live, counted from `now`.
    ///
    /// # Errors
    /// [`RenewError::UnknownLease`] when it was revoked or had run out at the last tick.
    pub fn renew(&self, now: Moment, lease: LeaseId) -> Result<Renewal, RenewError> {
        let cell = self.get(lease).ok_or(RenewError::UnknownLease)?;
        let ticked = self.ticked.load(Ordering::Acquire);
        cell.renew(self.time(now), ticked)?;
        let renewed = Renewed { ttl: cell.ttl, names: cell.names() };
        Ok(Renewal { renewed, confirms: cell.is_unconfirmed() })
    }

    fn get(&self, lease: LeaseId) -> Option<Arc<LeaseCell>> {
        self.cells.get(&lease).map(|found| Arc::clone(&found.key().0))
    }

    /// `now` on the lease clock: not before the last tick, nor more than [`PAUSE`] after it.
    fn time(&self, now: Moment) -> LeaseTime {
        let ticked = self.ticked.load(Ordering::Acquire);
        self.unpaused(now).clamp(ticked, ticked + micros(PAUSE))
    }

    fn unpaused(&self, now: Moment) -> LeaseTime {
        // The clock starts a tick late, so that no time equals `DEAD`.
        (micros(now.since_origin()) + micros(TICK)).saturating_sub(self.paused.load(Ordering::Acquire))
    }
}

/// All leases: the writer's side.
#[derive(Debug)]
pub struct Leases {
    book: Arc<LeaseBook>,
    count: usize,
    wheel: Wheel,
    /// Visited by the wheel, not looked at yet.
    visited: VecDeque<LeaseId>,
    /// Deadlines of those swept since somebody asked how late that was.
    ended: Vec<LeaseTime>,
    unconfirmed: usize,
    pauses: u64,
    limit: usize,
}

impl Leases {
    /// No leases yet; at most `limit`.
    pub fn new(now: Moment, limit: usize) -> Self {
        let start = micros(now.since_origin()) + micros(TICK);
        let book =
            LeaseBook { cells: DashMap::new(), ticked: AtomicU64::new(start), paused: AtomicU64::new(0) };
        Self {
            book: Arc::new(book),
            count: 0,
            wheel: Wheel::new(start / micros(TICK)),
            visited: VecDeque::new(),
            ended: Vec::new(),
            unconfirmed: 0,
            pauses: 0,
            limit,
        }
    }

    /// The side that renewals use.
    pub fn book(&self) -> Arc<LeaseBook> {
        Arc::clone(&self.book)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// How many there may be.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many holders were not heard since the restart.
    pub fn unconfirmed(&self) -> usize {
        self.unconfirmed
    }

    /// How often this process was paused, and for how long in all.
    pub fn pauses(&self) -> (u64, Duration) {
        (self.pauses, Duration::from_micros(self.book.paused.load(Ordering::Acquire)))
    }

    /// Gives a lease; `id` is fresh random bits.
    ///
    /// # Errors
    /// [`GrantError::TtlOutOfRange`] and [`GrantError::TooManyLeases`].
    pub fn grant(
        &mut self,
        now: Moment,
        id: LeaseId,
        ttl: Duration,
        instance: InstanceId,
        owner: Option<OwnerKey>,
    ) -> Result<Arc<LeaseCell>, GrantError> {
        if !(TTL_MIN..=TTL_MAX).contains(&ttl) {
            return Err(GrantError::TtlOutOfRange { min: TTL_MIN, max: TTL_MAX });
        }
        if self.count >= self.limit {
            return Err(GrantError::TooManyLeases { limit: self.limit as u64 });
        }
        let deadline = self.book.time(now) + micros(ttl);
        Ok(self.admit(id, ttl, instance, owner.map(OwnerHash::of), deadline, false))
    }

    /// Takes in a lease from the store, whose holder has `grace` to be heard.
    pub fn restore(&mut self, now: Moment, id: LeaseId, row: &LeaseRow, grace: Duration) {
        let deadline = self.book.time(now) + micros(grace);
        self.admit(id, row.ttl, row.instance, row.owner, deadline, true);
        self.unconfirmed += 1;
    }

    fn admit(
        &mut self,
        id: LeaseId,
        ttl: Duration,
        instance: InstanceId,
        owner: Option<OwnerHash>,
        deadline: LeaseTime,
        unconfirmed: bool,
    ) -> Arc<LeaseCell> {
        let place = self.wheel.insert(id, due(deadline));
        let cell = Arc::new(LeaseCell {
            id,
            ttl,
            instance,
            owner: owner.map(Box::new),
            deadline: AtomicU64::new(deadline),
            names: AtomicU32::new(0),
            unconfirmed: AtomicBool::new(unconfirmed),
            place: AtomicU16::new(place.0),
        });
        let old = self.book.cells.insert(ById(Arc::clone(&cell)), ());
        assert!(old.is_none(), "63 random bits do not repeat");
        self.count += 1;
        cell
    }

    /// The lease, when it had not run out at the last tick.
    pub fn living(&self, id: LeaseId) -> Option<Arc<LeaseCell>> {
        let ticked = self.book.ticked.load(Ordering::Acquire);
        let cell = self.get(id)?;
        (cell.deadline.load(Ordering::Acquire) > ticked).then_some(cell)
    }

    /// The lease, also one that has run out and was not swept yet.
    pub fn get(&self, id: LeaseId) -> Option<Arc<LeaseCell>> {
        self.book.get(id)
    }

    /// Every lease: it is in the wheel, or was visited and waits to be looked at.
    fn all(&self) -> impl Iterator<Item = Arc<LeaseCell>> {
        let ids = self.wheel.leases().chain(self.visited.iter().copied());
        // One that was revoked since its visit is none.
        ids.filter_map(|id| self.get(id))
    }

    /// What is left of a lease.
    pub fn left(&self, now: Moment, id: LeaseId) -> Duration {
        let deadline = self.get(id).map_or(DEAD, |cell| cell.deadline.load(Ordering::Acquire));
        Duration::from_micros(deadline.saturating_sub(self.book.time(now)))
    }

    /// The longest time-to-live given.
    pub fn longest(&self) -> Duration {
        self.all().map(|cell| cell.ttl).max().unwrap_or_default()
    }

    /// Nobody counts as heard any more. Returns what the store keeps of each lease in boot `boot`, which has served for
    /// `alive`.
    pub fn doubt(&mut self, now: Moment, boot: BootCount, alive: Duration) -> Vec<(LeaseId, LeaseRow)> {
        self.unconfirmed = self.count;
        let doubted = self.all().map(|cell| {
            cell.unconfirmed.store(true, Ordering::Release);
            // What a later start takes off for this boot's life is put on here.
            let heard = Heard::Left(boot, self.left(now, cell.id) + alive);
            (cell.id, cell.row(heard))
        });
        doubted.collect()
    }

    /// Marks a holder as heard; false when it was, or the lease is gone.
    pub fn confirm(&mut self, id: LeaseId) -> bool {
        let heard = self.get(id).is_some_and(|cell| cell.unconfirmed.swap(false, Ordering::AcqRel));
        self.unconfirmed -= usize::from(heard);
        heard
    }

    /// Ends a lease now.
    pub fn revoke(&mut self, id: LeaseId) -> Option<Arc<LeaseCell>> {
        let cell = self.get(id)?;
        // Dead before its names go: from here on no renewal says yes.
        cell.deadline.store(DEAD, Ordering::Release);
        self.wheel.remove(id, Place(cell.place.load(Ordering::Relaxed)));
        self.forget(&cell);
        Some(cell)
    }

    /// Tells the time: publishes it to renewals, and finds out who may have run out by then.
    pub fn tick(&mut self, now: Moment) {
        let ticked = self.book.ticked.load(Ordering::Acquire);
        let time = self.book.unpaused(now).max(ticked);
        let gap = time - ticked;
        if gap > micros(PAUSE) && !self.is_empty() {
            self.book.paused.fetch_add(gap, Ordering::AcqRel);
            self.pauses += 1;
            return;
        }
        self.book.ticked.store(time, Ordering::Release);
        self.visited.extend(self.wheel.advance(time / micros(TICK)));
    }

    /// Ends those who ran out by the last tick, looking at no more than `slice` leases: call again while it finds
    /// [`Self::has_visited`].
    pub fn sweep(&mut self, slice: usize) -> Vec<Arc<LeaseCell>> {
        let ticked = self.book.ticked.load(Ordering::Acquire);
        let mut expired = Vec::new();
        for _ in 0..slice {
            let Some(id) = self.visited.pop_front() else { break };
            // Revoked since it was visited.
            let Some(cell) = self.get(id) else { continue };
            match cell.expire(ticked) {
                Ok(deadline) => {
                    self.ended.push(deadline);
                    self.forget(&cell);
                    expired.push(cell);
                }
                Err(deadline) => {
                    let Place(place) = self.wheel.insert(id, due(deadline));
                    cell.place.store(place, Ordering::Relaxed);
                }
            }
        }
        expired
    }

    /// How long after their deadlines those ended that were swept since the last time.
    pub fn lateness(&mut self, now: Moment) -> impl Iterator<Item = Duration> {
        let now = self.book.unpaused(now);
        std::mem::take(&mut self.ended)
            .into_iter()
            .map(move |end| Duration::from_micros(now.saturating_sub(end)))
    }

    /// Whether a sweep has something to look at.
    pub fn has_visited(&self) -> bool {
        !self.visited.is_empty()
    }

    /// How long to wait for the next tick: until the wheel's own next one, or a lease that has run out would wait for that
    /// and then for ours.
    pub fn next_tick(&self, now: Moment) -> Duration {
        if self.is_empty() {
            return IDLE_TICK;
        }
        let tick = micros(TICK);
        Duration::from_micros(tick - self.book.unpaused(now) % tick)
    }

    fn forget(&mut self, cell: &LeaseCell) {
        self.unconfirmed -= usize::from(cell.is_unconfirmed());
        self.count -= 1;
        self.book.cells.remove(&cell.id);
    }
}

fn micros(duration: Duration) -> LeaseTime {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 4)
}

/// The tick at which a deadline is surely past.
fn due(deadline: LeaseTime) -> u64 {
    deadline.div_ceil(micros(TICK))
}

#[cfg(test)]
mod tests;
