//! One caller per replica, who asks that replica and no other, whatever the name server says: two primaries in one
//! epoch, and a deposed one that still answers, are seen by nobody as surely.
//!
//! They write and read one value, the message of the day, which nobody else touches.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use bytes::Bytes;
use common::clock::{Clock, Moment};
use common::ids::ClusterId;
use common::replication::{Epoch, LogPoint, RequestIdSource, VectorTimestamp};
use common::rpc;
use common::rpc::limits::REPLICA;
use common::rpc::replica::{
    Consistency, Position, QueryError, ReplicaClient, ReplicaRequest, ReplicaResponse,
};
use common::rpc::transport::{Reconnecting, within};
use common::services::just_hungry::NAME;
use common::services::just_hungry::command::Command;
use common::services::just_hungry::query::{Answer, Query};
use common::services::{decode, encode};
use futures::future::join_all;
use tokio::time::{MissedTickBehavior, interval};

use crate::shop::run;

/// Between a caller's calls: often enough that some are under way at every moment of a fault, rare enough to leave
/// the machine to the customers.
const EVERY: Duration = Duration::from_millis(25);
/// How long a caller waits for an answer: longer than any change of primary on a good day.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a caller asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Write(String),
    Read,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// At this place in the log; with the value, if it was read.
    Answered(LogPoint, Option<String>),
    /// Surely without effect.
    Refused,
    Unknown,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    replica: usize,
    asked: Asked,
    begun: Moment,
    ended: Moment,
    outcome: Outcome,
}

/// Callers at work.
#[derive(Debug)]
pub struct Callers {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Call>>>,
}

impl Callers {
    /// Begins to call each of `replicas`, dated by `clock`.
    pub fn start(replicas: Vec<SocketAddr>, clock: Clock) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            run(async move {
                let callers = replicas.iter().enumerate().map(|(number, address)| Caller {
                    number,
                    replica: ReplicaClient::from(Reconnecting::new(
                        (*address).into(),
                        REPLICA,
                        ClusterId::UNSTATED,
                    )),
                    ids: RequestIdSource::default(),
                    clock,
                });
                Ok(join_all(callers.map(|caller| caller.call(&until))).await.concat())
            })
        });
        Self { stop, thread }
    }

    /// Lets them finish, and gives what they heard.
    ///
    /// # Errors
    /// When they could not call at all.
    pub fn stop(self) -> Result<Vec<Call>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the callers panicked"))?
    }
}

struct Caller {
    number: usize,
    replica: ReplicaClient<Reconnecting<ReplicaRequest, ReplicaResponse>>,
    ids: RequestIdSource,
    clock: Clock,
}

impl Caller {
    async fn call(mut self, until: &AtomicBool) -> Vec<Call> {
        let mut rhythm = interval(EVERY);
        rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut calls = Vec::new();
        for count in 0_u64.. {
            if until.load(Ordering::Relaxed) {
                break;
            }
            rhythm.tick().await;
            let asked = match count % 2 {
                0 => Asked::Write(format!("message {count} through {}", self.number)),
                _ => Asked::Read,
            };
            let begun = self.clock.now();
            let outcome = match &asked {
                Asked::Write(text) => self.write(text).await,
                Asked::Read => self.read().await,
            };
            calls.push(Call { replica: self.number, asked, begun, ended: self.clock.now(), outcome });
        }
        calls
    }

    async fn write(&mut self, text: &str) -> Outcome {
        let id = self.ids.next(Clock::wall(), rand::random());
        let payload = encode(&Command::SetMotd { text: text.to_owned() });
        let service = NAME.parse().expect("a service of ours has a good name");
        let context = within(REPLICA, PATIENCE);
        match self
            .replica
            .execute(context, service, id, VectorTimestamp::default(), Bytes::new(), payload)
            .await
        {
            Ok(Ok(done)) => {
                let Position::Log(at) = done.position else { panic!("a passive group has a log") };
                Outcome::Answered(at, None)
            }
            Ok(Err(error)) if error.outcome() == rpc::Outcome::NoEffect => Outcome::Refused,
            Ok(Err(_)) | Err(_) => Outcome::Unknown,
        }
    }

    async fn read(&self) -> Outcome {
        let service = NAME.parse().expect("a service of ours has a good name");
        let (context, payload) = (within(REPLICA, PATIENCE), encode(&Query::Motd));
        let asked = self.replica.query(
            context,
            service,
            VectorTimestamp::default(),
            Consistency::Linearizable,
            payload,
        );
        match asked.await {
            Ok(Ok(answer)) => {
                let Position::Log(at) = answer.position else { panic!("a passive group has a log") };
                match decode(&answer.answer) {
                    Ok(Answer::Motd(text)) => Outcome::Answered(at, Some(text)),
                    _ => Outcome::Unknown,
                }
            }
            Ok(Err(QueryError::NotPrimary { .. })) => Outcome::Refused,
            Ok(Err(_)) | Err(_) => Outcome::Unknown,
        }
    }
}

/// The epochs in which calls were answered.
pub fn epochs(calls: &[Call]) -> BTreeSet<Epoch> {
    let epoch = |call: &Call| match &call.outcome {
        Outcome::Answered(at, _) => Some(at.epoch),
        Outcome::Refused | Outcome::Unknown => None,
    };
    calls.iter().filter_map(epoch).collect()
}

/// How many calls were answered.
pub fn answered(calls: &[Call]) -> usize {
    calls.iter().filter(|call| matches!(call.outcome, Outcome::Answered(..))).count()
}

/// The longest time in which no write was answered, among those after `from` and before `to`.
pub fn longest_silence(calls: &[Call], from: Moment, to: Moment) -> Duration {
    let written = calls.iter().filter(|call| matches!(call.outcome, Outcome::Answered(_, None)));
    let mut moments: Vec<_> =
        written.map(|call| call.ended).filter(|&at| at > from && at < to).chain([from, to]).collect();
    moments.sort();
    moments.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap_or_default()
}

/// One replica answers in an epoch; one write stands at a place; a read shows the newest write at or below its place,
/// and its place is not below what was answered before it began; what was refused is never seen.
///
/// # Errors
/// With the first thing that is wrong.
pub fn judge(calls: &[Call]) -> Result<()> {
    let mut primaries = BTreeMap::new();
    let mut written = BTreeMap::new();
    for call in calls {
        let Outcome::Answered(at, _) = &call.outcome else { continue };
        let primary = *primaries.entry(at.epoch).or_insert(call.replica);
        ensure!(primary == call.replica, "in {} both {primary} and {} answered", at.epoch, call.replica);
        if let Asked::Write(text) = &call.asked {
            let other = written.insert(at.index, text.as_str());
            ensure!(other.is_none(), "two writes at {}: {other:?} and {text:?}", at.index);
        }
    }
    let mut answered: Vec<_> = calls
        .iter()
        .filter_map(|call| match &call.outcome {
            Outcome::Answered(at, _) => Some((call.ended, at.index)),
            _ => None,
        })
        .collect();
    answered.sort();
    let refused = |text: &str| {
        calls
            .iter()
            .any(|call| call.outcome == Outcome::Refused && call.asked == Asked::Write(text.to_owned()))
    };
    // How far the answers up to each moment reached.
    let mut reached = Vec::new();
    for (ended, index) in answered {
        let most = reached.last().map_or(index, |(_, most)| index.max(*most));
        reached.push((ended, most));
    }
    for call in calls {
        let Outcome::Answered(at, read) = &call.outcome else { continue };
        let before = reached.partition_point(|(ended, _)| *ended < call.begun);
        if let Some((_, most)) = before.checked_sub(1).map(|last| reached[last]) {
            ensure!(at.index >= most, "{call:?} is older than {most}, answered before it began");
        }
        let Some(text) = read else { continue };
        ensure!(!refused(text), "{call:?} shows what was refused");
        let newest = written.range(..=at.index).next_back();
        match (newest, written.iter().find(|(_, written)| *written == text)) {
            // Written at an unknown place, by a call whose outcome is not known, or before the first of these calls.
            (_, None) => {}
            (Some((_, newest)), Some(_)) if newest == text => {}
            (newest, _) => bail!("{call:?} shows not the newest write, {newest:?}"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use common::replication::LogIndex;

    use super::*;

    fn call(replica: usize, asked: Asked, from: u64, outcome: Outcome) -> Call {
        let at = |millis| Moment::ORIGIN + Duration::from_millis(millis);
        Call { replica, asked, begun: at(from), ended: at(from + 5), outcome }
    }

    fn write(replica: usize, text: &str, from: u64, epoch: u64, index: u64) -> Call {
        let at = LogPoint { epoch: Epoch(epoch), index: LogIndex(index) };
        call(replica, Asked::Write(text.to_owned()), from, Outcome::Answered(at, None))
    }

    fn read(replica: usize, text: &str, from: u64, epoch: u64, index: u64) -> Call {
        let at = LogPoint { epoch: Epoch(epoch), index: LogIndex(index) };
        call(replica, Asked::Read, from, Outcome::Answered(at, Some(text.to_owned())))
    }

    #[test]
    fn each_planted_wrong_is_heard_by_the_callers() {
        let said = |calls: &[Call]| judge(calls).map_or_else(|error| error.to_string(), |()| String::new());
        let good =
            [write(0, "a", 0, 1, 1), read(0, "a", 10, 1, 1), write(1, "b", 20, 2, 3), read(1, "b", 30, 2, 4)];
        assert_eq!(said(&good), "");
        let plus = |call: Call| said(&[&good[..], &[call]].concat());
        assert!(plus(write(0, "c", 40, 2, 5)).contains("both 1 and 0 answered"));
        assert!(plus(write(1, "c", 40, 2, 3)).contains("two writes at"));
        assert!(plus(read(0, "a", 40, 1, 2)).contains("is older than"));
        assert!(plus(read(1, "a", 40, 2, 6)).contains("not the newest write"));
        let refused = call(0, Asked::Write("c".into()), 40, Outcome::Refused);
        let calls = [&good[..], &[refused, read(1, "c", 50, 2, 6)]].concat();
        assert!(said(&calls).contains("what was refused"));
        assert_eq!(longest_silence(&good, Moment::ORIGIN, good[3].ended).as_millis(), 20);
    }
}
