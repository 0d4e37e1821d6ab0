//! Linearizable reads without a clock: a read is answered once every member of the ackset has said, in a round begun
//! after the read came, that this primary's epoch is still its own. (Ongaro 2014, §6.4, with all of the set in the
//! place of a majority.) One round serves all reads that came before it began.

use std::collections::VecDeque;

use bytes::Bytes;
use common::clock::Moment;
use common::replication::ReplicaId;
use common::rpc::replica::{Answer, Consistency, Position, QueryError};

use super::{Core, Effect, Fault, Now, Waiter};

/// Reads waiting; beyond it, busy. A second's worth at the rate we aim at.
const READS_MAX: usize = 16_384;
/// When a refused read may come again.
const BUSY_RETRY: std::time::Duration = std::time::Duration::from_millis(20);

/// The reads that wait, and the rounds that serve them.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    /// The last round begun.
    round: u64,
    waiting: VecDeque<Read>,
}

#[derive(Clone, Debug)]
struct Read {
    waiter: Waiter,
    payload: Bytes,
    /// The first round begun after it came.
    needs: u64,
    since: Moment,
    deadline: Moment,
}

impl Reads {
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    pub(super) fn waiters(self) -> impl Iterator<Item = Waiter> {
        self.waiting.into_iter().map(|read| read.waiter)
    }
}

impl Core {
    /// Takes in a query.
    pub(super) fn query(
        &mut self,
        now: Now,
        waiter: Waiter,
        consistency: Consistency,
        payload: Bytes,
        deadline: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let joins = self.planted(Fault::ConfirmBeforeArrival) && self.round_in_flight();
        let result = match consistency {
            Consistency::StaleOk { max_age } => {
                let fresh = self.heard.is_some_and(|heard| now.at.since(heard) <= max_age);
                if fresh || self.leading.is_some() {
                    self.answer_now(&payload)
                } else {
                    Err(QueryError::Behind)
                }
            }
            Consistency::Linearizable => match self.admit_read(now, effects) {
                Ok(reads) => {
                    let needs = if joins { reads.round } else { reads.round + 1 };
                    reads.waiting.push_back(Read { waiter, payload, needs, since: now.at, deadline });
                    return;
                }
                Err(error) => Err(error),
            },
        };
        effects.push(Effect::Queried { waiter, result });
    }

    fn admit_read(&mut self, now: Now, effects: &mut Vec<Effect>) -> Result<&mut Reads, QueryError> {
        if self.leading.is_none() {
            self.look(now, effects);
            return Err(self.not_primary_query());
        }
        if let Some((in_sync, needed)) = self.too_few() {
            return Err(QueryError::TooFewInSync { in_sync, needed });
        }
        let primary = self.leading.as_mut().expect("seen above");
        if primary.reads.waiting.len() >= READS_MAX {
            return Err(QueryError::Busy { retry_in: BUSY_RETRY });
        }
        Ok(&mut primary.reads)
    }

    fn answer_now(&self, payload: &[u8]) -> Result<Answer, QueryError> {
        let uncommitted = self.planted(Fault::ReadUncommitted).then(|| self.state_uncommitted());
        let state = uncommitted.as_ref().unwrap_or(&self.state);
        let answer = state.query(payload).ok_or(QueryError::Behind)?;
        Ok(Answer { answer, position: Position::Log(state.applied()) })
    }

    /// Whether a round is begun, and not complete.
    fn round_in_flight(&self) -> bool {
        let ackset = self.ackset();
        self.leading.as_ref().is_some_and(|primary| {
            let mut peers = primary.peers.iter().filter(|(id, _)| ackset.contains(**id));
            peers.any(|(_, peer)| peer.confirmed_round < primary.reads.round)
        })
    }

    /// Releases the reads whose round is complete, and begins the next round for the others.
    pub(super) fn confirm_reads(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let planted = self.setup.planted;
        let ackset = match &self.config {
            Some(config) if planted.is(Fault::ConfirmKnownOnly) => config.in_sync.clone(),
            _ => self.ackset(),
        };
        let others: Vec<ReplicaId> = ackset.iter().filter(|&id| id != self.me()).collect();
        let too_few = self.too_few();
        let Some(primary) = &mut self.leading else { return };
        if primary.reads.waiting.is_empty() {
            return;
        }
        let peers = &primary.peers;
        let confirmed = |round| {
            let rounds = others.iter().map(|id| peers.get(id).map_or(0, |peer| peer.confirmed_round));
            let least = if planted.is(Fault::ConfirmNotAll) { rounds.max() } else { rounds.min() };
            least.unwrap_or(round)
        };
        let reads = &mut primary.reads;
        let mut begun = false;
        if confirmed(reads.round) >= reads.round && reads.waiting.iter().any(|read| read.needs > reads.round)
        {
            reads.round += 1;
            begun = true;
        }
        let active = self.committed >= primary.barrier || planted.is(Fault::ReadBeforeBarrier);
        let asked = if planted.is(Fault::NoConfirm) { u64::MAX } else { confirmed(reads.round) };
        let upto = if active { asked } else { 0 };
        let mut due = Vec::new();
        // A later read never needs an earlier round; one whose time is over is answered wherever it stands.
        reads.waiting.retain_mut(|read| {
            let released = read.needs <= upto;
            if released || now.at >= read.deadline {
                due.push((
                    read.waiter,
                    std::mem::take(&mut read.payload),
                    released,
                    now.at.since(read.since),
                ));
                return false;
            }
            true
        });
        for (waiter, payload, released, waited) in due {
            let result = match too_few {
                _ if !released => Err(QueryError::Unacknowledged { waited }),
                Some((in_sync, needed)) => Err(QueryError::TooFewInSync { in_sync, needed }),
                None => self.answer_now(&payload),
            };
            effects.push(Effect::Queried { waiter, result });
        }
        if begun {
            for to in others {
                self.send_confirm(now, to, effects);
            }
        }
    }
}
