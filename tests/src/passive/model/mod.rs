//! Every state of a small group: what the seeded walks reach by chance, this visits without exception, as far as its
//! bounds go. The cores are the real ones, in the world of the walks, under the same laws; a library keeps the book of
//! states (`stateright`).
//!
//! Reading order: [`moves`], what can happen · [`group`], and how · `laws`, what holds of every state ·
//! [`fingerprint`], which states are one · [`start`], the first one.
//!
//! # What may happen
//! At any time, in any order: an append or its reply arrives, late, overtaken or never; a disk writes; a process dies,
//! with what was not on its disk, and starts again; what its dead life has sent still arrives. A member that has read
//! the record proposes itself; a primary proposes to drop a peer, dead or alive; several proposals may be under way,
//! and each arrives, late or never, also those of the dead. A replica is told any record that ever stood and is newer
//! than what it knows, or it is told nothing: one that has just started acts before it has read the record. Clients
//! send updates and reads, and updates again, to whoever believes that it leads.
//!
//! # What was left out, and why that hides nothing
//! * **Time.** No clock takes part in safety: timeouts say only when something is tried. Here all of it may be tried at
//!   any time, each as a move. Where a core must find something due, time jumps by minutes, which it takes for a pause
//!   of its own process: nobody's silence counts. The wall clock stands, since stamps would make equal states differ.
//! * **Candidacies** are one move, from doubt to proposal. Between the two a candidate does what any member does.
//! * **Confirmations** are one move, both ways: a reply that comes later only delays the read, and one that is lost is
//!   asked for again. Beacons are the same messages.
//! * **Sending** is a move of its own. What a core sends at once is lost, it learns that, and it sends what the peer lacks
//!   when the model has it do so: which includes at once. At most as many exchanges as the bounds say are under way when
//!   another begins; a lost one makes room.
//! * **The name server** answers nothing: that it did, late or twice, is a replica being told a record. A proposal of
//!   a version that has passed can only be refused, and is forgotten. A proposal beyond the bounds never arrives.
//! * **Greetings** are for primaries: of a peer's new process they learn in one move, or not yet. What others
//!   learn by them begins candidacies, which begin anyway. A *late* greeting of an earlier process is left to the walks.
//! * **The last record** that the bounds allow is told to a backup that stays one when it hears from its new primary: to
//!   know it earlier would only have it refuse the old one, and what is refused might as well have been lost.
//! * **A reply to one who leads no more** is forgotten: it would be dropped.
//! * **Names.** Replicas are alike: a state is known by the least digest over all ways to call them. A primary that may
//!   let in two learners at the same moment takes the first by name; the other order is left to the walks.
//! * Hand-over, operators, snapshots, full or slow disks, forgetful request tables, wall clocks: left to the walks.
//!
//! What a core's digest leaves out, and why, stands with it, in `replica::passive::digest`.

mod fingerprint;
mod group;
mod laws;
mod moves;
mod start;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use replica::passive::{Fault, Planted};
use stateright::{Model, Property};

pub use self::group::Group;
pub use self::moves::Move;

/// How much may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct Bounds {
    /// Updates that clients send.
    #[arg(long, default_value_t = 1)]
    pub updates: u8,
    /// Second copies of the first of them.
    #[arg(long, default_value_t = 0)]
    pub copies: u8,
    /// Processes that die.
    #[arg(long, default_value_t = 1)]
    pub crashes: u8,
    /// Changes of the record that are granted.
    #[arg(long, default_value_t = 1)]
    pub changes: u8,
    /// Reads.
    #[arg(long, default_value_t = 1)]
    pub reads: u8,
    /// Appends under way at once, each until its reply has arrived.
    #[arg(long, default_value_t = 1)]
    pub in_flight: u8,
    /// Replicas in sync in the beginning, of three.
    #[arg(long, default_value_t = 3)]
    pub in_sync: u8,
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { updates, copies, crashes, changes, reads, in_flight, in_sync } = self;
        write!(
            f,
            "{updates} updates, {copies} copies, {crashes} crashes, {changes} changes, {reads} reads, {in_flight} in \
             flight, {in_sync} in sync"
        )
    }
}

/// What the model must see at least: rules that it finds broken within these bounds.
pub fn visible() -> Vec<(Fault, Bounds)> {
    let small = Bounds { updates: 1, copies: 0, crashes: 0, changes: 1, reads: 0, in_flight: 1, in_sync: 3 };
    let crash = Bounds { crashes: 1, ..small };
    let reads = Bounds { reads: 1, ..small };
    vec![
        (Fault::SendBeforeDurable, small),
        (Fault::SameEpochRestart, crash),
        (Fault::NoFence, small),
        (Fault::UncleanElect, Bounds { in_sync: 2, ..small }),
        (Fault::ShrinkEarly, small),
        (Fault::AckBeforeFsync, small),
        (Fault::ReadUncommitted, Bounds { changes: 0, ..reads }),
        (Fault::NoConfirm, reads),
    ]
}

/// All that may happen to a group within these bounds.
#[derive(Clone)]
pub struct Within {
    bounds: Bounds,
    start: Group,
    seen: Arc<Seen>,
}

/// What was seen already.
#[derive(Default)]
struct Seen {
    /// A broken law: the first one counts, and no more states are visited.
    breach: AtomicBool,
    /// An update that is acknowledged after a fail-over.
    update: AtomicBool,
    /// A read that is answered after one.
    read: AtomicBool,
}

impl Within {
    /// A calm group of three, to which all of that may happen.
    pub fn new(bounds: Bounds, faults: &[Fault]) -> Self {
        Self { bounds, start: Group::in_calm(bounds, planted(faults)), seen: Arc::default() }
    }

    /// What must happen somewhere within the bounds, and was not seen: if anything, the model has lost it.
    pub fn never(&self) -> impl Iterator<Item = &'static str> {
        let fails_over = self.bounds.changes > 0 && self.bounds.in_sync > 1;
        let update = (fails_over && self.bounds.updates > 0, &self.seen.update);
        let read = (fails_over && self.bounds.reads > 0, &self.seen.read);
        let names = ["an update is acknowledged after a fail-over", "a read is answered after a fail-over"];
        let unseen = |(must, seen): &(bool, &AtomicBool)| *must && !seen.load(Ordering::Relaxed);
        names.into_iter().zip([update, read]).filter(move |(_, what)| unseen(what)).map(|(name, _)| name)
    }

    /// What happens on this way, told.
    pub fn story(&self, moves: &[Move]) -> Vec<String> {
        let mut group = self.start.told();
        for to_come in moves {
            group = group.after(*to_come);
        }
        group.lines()
    }
}

#[cfg(feature = "planted")]
fn planted(faults: &[Fault]) -> Planted {
    faults.iter().fold(Planted::default(), |planted, &fault| planted.with(fault))
}

#[cfg(not(feature = "planted"))]
fn planted(faults: &[Fault]) -> Planted {
    assert!(faults.is_empty(), "to break rules, build with --features planted");
    Planted::default()
}

impl Model for Within {
    type State = Group;
    type Action = Move;

    fn init_states(&self) -> Vec<Group> {
        vec![self.start.clone()]
    }

    fn actions(&self, group: &Group, moves: &mut Vec<Move>) {
        group.moves(moves);
    }

    fn next_state(&self, group: &Group, to_come: Move) -> Option<Group> {
        Some(group.after(to_come))
    }

    fn within_boundary(&self, group: &Group) -> bool {
        if group.has_shown_a_later_epoch() {
            let counts = &group.world.counts;
            for (happened, seen) in
                [(counts.acknowledged, &self.seen.update), (counts.reads, &self.seen.read)]
            {
                seen.fetch_or(happened > 0, Ordering::Relaxed);
            }
        }
        let seen = match group.broken() {
            Some(_) => self.seen.breach.swap(true, Ordering::Relaxed),
            None => self.seen.breach.load(Ordering::Relaxed),
        };
        !seen
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(LAWS, |_, group: &Group| group.broken().is_none())]
    }
}

/// The property that all laws hold.
pub const LAWS: &str = "all laws hold";
impl Hash for Group {
    fn hash<H: Hasher>(&self, to: &mut H) {
        to.write_u64(self.fingerprint());
    }
}

impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }
}
