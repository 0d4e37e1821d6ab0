//! Linearizable reads without a clock: a read is answered once every member of the ackset has said, in a round begun
//! after the read came, that this primary's epoch is still its own. (Ongaro 2014, §6.4, with all of the set in the
//! place of a majority.) One round serves all reads that came before it began.

use std::time::Duration;

use bytes::Bytes;
use common::clock::Moment;
use common::rpc::replica::{Answer, Consistency, Position, QueryError};

use super::{Core, Effect, Fault, Waiter};

/// Reads waiting; beyond it, busy. A second's worth at the rate we aim at.
const READS_MAX: usize = 16_384;
/// When a refused read may come again.
const BUSY_RETRY: Duration = Duration::from_millis(20);

/// The reads that wait, and the rounds that serve them.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    /// The last round begun.
    pub(super) round: u64,
    pub(super) waiting: Vec<Read>,
}

#[derive(Clone, Debug)]
pub(super) struct Read {
    waiter: Waiter,
    payload: Bytes,
    /// The first round begun after it came.
    pub(super) needs: u64,
    since: Moment,
    deadline: Moment,
}

impl Reads {
    pub(super) fn waiters(self) -> impl Iterator<Item = Waiter> {
        self.waiting.into_iter().map(|read| read.waiter)
    }
}

impl Core {
    /// Takes in a query.
    pub(super) fn query(
        &mut self,
        waiter: Waiter,
        consistency: Consistency,
        payload: Bytes,
        deadline: Moment,
    ) {
        let joins = self.planted(Fault::ConfirmBeforeArrival) && self.is_round_in_flight();
        let since = self.now.at;
        let result = match consistency {
            Consistency::StaleOk { max_age } => {
                let since = self.fresh_at();
                let fresh = since.is_some_and(|at| self.now.at.since(at) <= max_age);
                if fresh { self.read(&payload) } else { Err(QueryError::Behind) }
            }
            Consistency::Linearizable => match self.reads() {
                Ok(reads) => {
                    let needs = reads.round + u64::from(!joins);
                    return reads.waiting.push(Read { waiter, payload, needs, since, deadline });
                }
                Err(refusal) => Err(refusal),
            },
        };
        self.effects.push(Effect::Queried { waiter, result });
    }

    /// Where linearizable reads wait.
    fn reads(&mut self) -> Result<&mut Reads, QueryError> {
        if self.leading.is_none() {
            self.look();
            return Err(self.not_primary_query());
        }
        if let Some((in_sync, needed)) = self.too_few() {
            return Err(QueryError::TooFewInSync { in_sync, needed });
        }
        let reads = self.leading.as_mut().map(|primary| &mut primary.reads);
        let busy = QueryError::Busy { retry_in: BUSY_RETRY };
        reads.filter(|reads| reads.waiting.len() < READS_MAX).ok_or(busy)
    }

    /// When the state was certainly the newest there was. A primary that was stopped, or cut off, may be none any more:
    /// it knows by its peers' word, as a backup does by its primary's.
    fn fresh_at(&self) -> Option<Moment> {
        let Some(primary) = &self.leading else { return self.caught_up };
        let confirmed = |id| primary.peers.get(&id).and_then(|peer| peer.confirmed_at);
        self.others().iter().map(confirmed).min().unwrap_or(Some(self.now.at))
    }

    fn read(&self, payload: &[u8]) -> Result<Answer, QueryError> {
        let ahead = || self.state.ahead(&self.log.batch_from(self.committed.next(), usize::MAX));
        let uncommitted = self.planted(Fault::ReadUncommitted).then(ahead);
        let state = uncommitted.as_ref().unwrap_or(&self.state);
        let answer = state.query(payload).ok_or(QueryError::Behind)?;
        Ok(Answer { answer, position: Position::Log(state.applied()) })
    }

    /// The last round that all others have confirmed; for ever, when there are none.
    fn confirmed_round(&self) -> u64 {
        let known = self.config.as_ref().filter(|_| self.planted(Fault::ConfirmKnownOnly));
        let others = known.map_or_else(|| self.others(), |config| config.in_sync.without(self.me()));
        let peers = self.leading.as_ref().map(|primary| &primary.peers);
        let round = |id| peers.and_then(|peers| peers.get(&id)).map_or(0, |peer| peer.confirmed_round);
        let rounds = others.iter().map(round);
        let all = if self.planted(Fault::ConfirmNotAll) { rounds.max() } else { rounds.min() };
        all.filter(|_| !self.planted(Fault::NoConfirm)).unwrap_or(u64::MAX)
    }

    fn is_round_in_flight(&self) -> bool {
        self.leading.as_ref().is_some_and(|primary| self.confirmed_round() < primary.reads.round)
    }

    /// Releases the reads whose round is complete, and begins the next round for the others.
    pub(super) fn confirm_reads(&mut self) {
        if self.leading.as_ref().is_none_or(|primary| primary.reads.waiting.is_empty()) {
            return;
        }
        let (now, too_few, in_flight) = (self.now.at, self.too_few(), self.is_round_in_flight());
        let (confirmed, early) = (self.confirmed_round(), self.planted(Fault::ReadBeforeBarrier));
        let Some(primary) = &mut self.leading else { return };
        let reads = &mut primary.reads;
        let begins = !in_flight && reads.waiting.iter().any(|read| read.needs > reads.round);
        reads.round += u64::from(begins);
        let active = self.committed >= primary.barrier || early;
        let upto = confirmed.min(reads.round);
        // A later read never needs an earlier round; one whose time is over is answered wherever it stands.
        let due = reads.waiting.extract_if(.., |read| (active && read.needs <= upto) || now >= read.deadline);
        for read in due.collect::<Vec<_>>() {
            let result = match too_few {
                _ if !active || read.needs > upto => {
                    Err(QueryError::Unacknowledged { waited: now.since(read.since) })
                }
                Some((in_sync, needed)) => Err(QueryError::TooFewInSync { in_sync, needed }),
                None => self.read(&read.payload),
            };
            self.effects.push(Effect::Queried { waiter: read.waiter, result });
        }
        if begins {
            for to in self.others().iter() {
                self.send_confirm(to);
            }
        }
    }
}
