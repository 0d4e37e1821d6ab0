//! What is on its way, in lanes from one place to another. Whatever takes from a lane may take from its middle.

use std::collections::VecDeque;

use common::replication::{GroupConfig, Member, ReplicaId};
use common::rpc::peer::{Message, Reply};
use replica::passive::SendTicket;

/// Replicas at most; the place after them is the authority's.
pub const NODES_MAX: usize = 4;
/// Where the authority is.
pub const AUTHORITY: usize = NODES_MAX;
const PLACES: usize = NODES_MAX + 1;

/// One life of a process with one identity: what was asked in one is not answered in the next.
pub type Life = u32;

/// What the authority says.
#[derive(Clone, Debug)]
pub enum Word {
    /// This stands.
    Stands(Option<GroupConfig>),
    /// Nothing: it did not answer.
    Silence,
    /// It has an older record than the asker.
    Regressed,
}

/// Something on its way.
#[derive(Clone, Debug)]
pub enum Flying {
    /// To a peer.
    Request {
        /// Of the sender.
        life: Life,
        /// To whom, by identity: another one may be at that place when it arrives.
        to: ReplicaId,
        /// For the reply.
        ticket: SendTicket,
        /// What.
        message: Message,
    },
    /// From a peer.
    Reply {
        /// Of who asked.
        life: Life,
        /// To what.
        ticket: SendTicket,
        /// `None`: the caller learns that none will come.
        reply: Option<Reply>,
    },
    /// To the authority.
    Ask {
        /// Of the sender.
        life: Life,
        /// Who proposes.
        by: Member,
        /// What it knows, when it only reads.
        known: u64,
        /// `None`: it reads.
        change: Option<GroupConfig>,
    },
    /// From the authority.
    Told {
        /// Of who asked.
        life: Life,
        /// What.
        word: Word,
    },
    /// That a socket refuses.
    Refused(Member),
}

/// All lanes.
#[derive(Clone, Debug)]
pub struct Network {
    lanes: Vec<VecDeque<Flying>>,
    /// A bit for each lane that is not empty.
    busy: u64,
    len: usize,
}

impl Network {
    /// Nothing on its way.
    pub fn new() -> Self {
        Self { lanes: vec![VecDeque::new(); PLACES * PLACES], busy: 0, len: 0 }
    }

    /// The number of the way from here to there.
    pub const fn way(from: usize, to: usize) -> usize {
        from * PLACES + to
    }

    /// How much is on its way.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sends.
    pub fn push(&mut self, from: usize, to: usize, flying: Flying) {
        let lane = Self::way(from, to);
        self.lanes[lane].push_back(flying);
        self.busy |= 1 << lane;
        self.len += 1;
    }

    /// Takes the `nth` of a lane, or the last one.
    pub fn take(&mut self, from: usize, to: usize, nth: usize) -> Option<Flying> {
        let lane = Self::way(from, to);
        let queue = &mut self.lanes[lane];
        let nth = nth.min(queue.len().checked_sub(1)?);
        let flying = if nth == 0 { queue.pop_front() } else { queue.remove(nth) };
        if queue.is_empty() {
            self.busy &= !(1 << lane);
        }
        self.len -= 1;
        flying
    }

    /// The `nth` of a lane, or the last one.
    pub fn peek(&mut self, from: usize, to: usize, nth: usize) -> Option<&mut Flying> {
        let queue = &mut self.lanes[Self::way(from, to)];
        let nth = nth.min(queue.len().checked_sub(1)?);
        queue.get_mut(nth)
    }

    /// The lane that is the `which`th of those that are not empty (counted around), and how much is in it.
    pub fn lane(&self, which: usize) -> Option<(usize, usize, usize)> {
        let mut busy = self.busy;
        for _ in 0..which % (busy.count_ones().max(1) as usize) {
            busy &= busy - 1;
        }
        let lane = (busy != 0).then(|| busy.trailing_zeros() as usize)?;
        Some((lane / PLACES, lane % PLACES, self.lanes[lane].len()))
    }

    /// Lanes that are not empty.
    pub fn lanes(&self) -> usize {
        self.busy.count_ones() as usize
    }

    /// Removes what is between a replica and the authority: its connection is dropped.
    pub fn drop_connection(&mut self, n: usize) {
        for lane in [Self::way(n, AUTHORITY), Self::way(AUTHORITY, n)] {
            self.len -= self.lanes[lane].len();
            self.lanes[lane].clear();
            self.busy &= !(1 << lane);
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}
