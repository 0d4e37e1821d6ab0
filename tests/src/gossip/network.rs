//! What is on its way, in lanes from one place to another. Whatever takes from a lane may take from its middle.

use std::collections::VecDeque;

use common::clock::Moment;
use common::replication::{GossipConfig, ReplicaId};
use common::rpc::gossip::{Message, Reply};
use replica::gossip::SendTicket;

/// Replicas at most; the place after them is the name server's.
pub const NODES_MAX: usize = 7;
/// Where the name server is.
pub const NAME_SERVER: usize = NODES_MAX;
const PLACES: usize = NODES_MAX + 1;

/// One life of a process with one identity: what was asked in one is not answered in the next.
pub type Life = u32;

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
    /// To the name server.
    Ask {
        /// Of the sender.
        life: Life,
        /// Who proposes.
        by: ReplicaId,
        /// `None`: it reads.
        change: Option<GossipConfig>,
        /// When it waits no more, by its own clock.
        until: Moment,
    },
    /// From the name server.
    Told {
        /// Of who asked.
        life: Life,
        /// `None`: it did not answer.
        members: Option<Option<GossipConfig>>,
        /// When it waits no more; `None`: it has not asked.
        until: Option<Moment>,
    },
}

/// All lanes.
#[derive(Clone, Debug)]
pub struct Network {
    lanes: Vec<VecDeque<Flying>>,
    /// A bit for each lane that is not empty.
    busy: u64,
    len: usize,
}

impl Default for Network {
    fn default() -> Self {
        Self { lanes: vec![VecDeque::new(); PLACES * PLACES], busy: 0, len: 0 }
    }
}

impl Network {
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
        let lane = from * PLACES + to;
        self.lanes[lane].push_back(flying);
        self.busy |= 1 << lane;
        self.len += 1;
    }

    /// Takes the `nth` of a lane, or the last one.
    pub fn take(&mut self, from: usize, to: usize, nth: usize) -> Option<Flying> {
        let lane = from * PLACES + to;
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
    pub fn peek(&self, from: usize, to: usize, nth: usize) -> Option<&Flying> {
        let queue = &self.lanes[from * PLACES + to];
        queue.get(nth.min(queue.len().checked_sub(1)?))
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
}
