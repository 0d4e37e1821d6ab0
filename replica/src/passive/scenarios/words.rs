//! How messages, records and answers read.

use std::collections::BTreeMap;

use common::replication::{BootId, Entry, GroupConfig, LogIndex, Member, ReplicaId};
use common::rpc::peer::{Message, Reply, ReplyBody};
use common::rpc::replica::{Answer, Done, Position, QueryError, SubmitError};

use super::super::WriteBatch;

/// What disks and boots are called.
#[derive(Default)]
pub(super) struct Names {
    disks: BTreeMap<ReplicaId, String>,
    /// The second boot and later ones.
    boots: BTreeMap<BootId, u32>,
}

impl Names {
    /// A disk of the process `host`: its first, or a later one.
    pub(super) fn call_disk(&mut self, id: ReplicaId, host: &str, nth: usize) {
        self.disks.insert(id, format!("{host}{}", "'".repeat(nth)));
    }

    pub(super) fn call_boot(&mut self, boot: BootId, nth: u32) {
        self.boots.insert(boot, nth);
    }

    pub(super) fn disk(&self, id: ReplicaId) -> String {
        self.disks.get(&id).cloned().unwrap_or_else(|| format!("{id:?}"))
    }

    fn member(&self, member: Member) -> String {
        match self.boots.get(&member.boot) {
            Some(1) => self.disk(member.id),
            Some(nth) => format!("{}/{nth}", self.disk(member.id)),
            None => "nobody".to_owned(),
        }
    }

    /// `v4 e2 r2 {r2 r3}`.
    pub(super) fn record(&self, record: &GroupConfig) -> String {
        let set: Vec<String> = record.in_sync.iter().map(|id| self.disk(id)).collect();
        let GroupConfig { version, epoch, primary, forced, .. } = record;
        let forced = if *forced == *version { " forced" } else { "" };
        format!("{version} {epoch} {} {{{}}}{forced}", self.member(*primary), set.join(" "))
    }

    /// What a message says. The first word tells its kind.
    pub(super) fn message(&self, message: &Message) -> String {
        match message {
            Message::Hello(hello) => format!("hello, here {} with {}", self.member(hello.me), hello.last),
            Message::Append { epoch, prev, entries, .. } => match span(entries) {
                None => format!("append nothing after {prev} in {epoch}"),
                Some(span) if prev.epoch == *epoch => format!("append {span} in {epoch}"),
                Some(span) => format!("append {span} after {prev} in {epoch}"),
            },
            Message::Confirm { epoch, round, .. } => format!("confirm round {round} of {epoch}"),
            Message::SnapshotChunk { last, offset, whole, epoch, .. } => {
                let end = if whole.is_some() { ", the last" } else { "" };
                format!("chunk of the snapshot to {last} from byte {offset} in {epoch}{end}")
            }
            Message::Join { me, last, config_version } => {
                format!("join, here {} with {last}, {config_version}", self.member(*me))
            }
            Message::TakeOver { config } => format!("take-over {}", self.record(config)),
            Message::HeardPrimary { epoch } => format!("heard the primary of {epoch}?"),
        }
    }

    /// What a reply says.
    pub(super) fn reply(&self, reply: &Reply) -> String {
        let epoch = reply.epoch;
        match &reply.body {
            ReplyBody::Hello(_) => "hello".to_owned(),
            ReplyBody::Ack { durable } => format!("ack {durable}"),
            ReplyBody::Nak { hint } => format!("nak, try after {hint}"),
            ReplyBody::Fenced => format!("fenced, epoch is {epoch}"),
            ReplyBody::Confirmed { round, .. } => format!("confirmed round {round}"),
            ReplyBody::Next { offset } => format!("next from byte {offset}"),
            ReplyBody::Accepted => "accepted".to_owned(),
            ReplyBody::NotPrimary { config } => match config {
                Some(record) => format!("not primary, {} stands", self.record(record)),
                None => "not primary, no record".to_owned(),
            },
            ReplyBody::Heard { ago } => match ago {
                Some(ago) => format!("heard it {} ms ago", ago.as_millis()),
                None => "heard nothing in that epoch".to_owned(),
            },
            ReplyBody::Refused { why } => format!("refused: {why}"),
        }
    }

    /// What a client is told of its order.
    pub(super) fn submitted(&self, result: &Result<Done, SubmitError>) -> String {
        match result {
            Ok(done) => format!("order {} at {}", number(&done.reply), place(&done.position)),
            Err(SubmitError::NotPrimary { config, .. }) => self.elsewhere(config.as_deref()),
            Err(SubmitError::Unacknowledged { .. }) => "unacknowledged".to_owned(),
            Err(SubmitError::Expired { .. }) => "expired".to_owned(),
            Err(SubmitError::Reused) => "reused".to_owned(),
            Err(SubmitError::FromTheFuture { .. }) => "from the future".to_owned(),
            Err(
                SubmitError::TooFewInSync { in_sync, needed }
                | SubmitError::TooFewToAdmit { in_sync, needed },
            ) => too_few(*in_sync, *needed),
            Err(other) => other.to_string(),
        }
    }

    /// What a client is told of its query.
    pub(super) fn queried(&self, result: &Result<Answer, QueryError>) -> String {
        match result {
            Ok(answer) => {
                let (count, at) = (number(&answer.answer), place(&answer.position));
                let plural = if count == 1 { "" } else { "s" };
                format!("sees {count} order{plural} at {at}")
            }
            Err(QueryError::NotPrimary { config, .. }) => self.elsewhere(config.as_deref()),
            Err(QueryError::TooFewInSync { in_sync, needed }) => too_few(*in_sync, *needed),
            Err(QueryError::Unacknowledged { .. }) => "not confirmed".to_owned(),
            Err(other) => other.to_string(),
        }
    }

    fn elsewhere(&self, config: Option<&GroupConfig>) -> String {
        match config {
            Some(config) => format!("sent to {}, primary of {}", self.member(config.primary), config.epoch),
            None => "sent away, no primary is known".to_owned(),
        }
    }
}

/// What goes to a disk.
pub(super) fn batch_in_words(batch: &WriteBatch) -> String {
    let parts = [
        batch.truncate_from.map(|from| format!("cut from {from}")),
        batch.base.map(|base| format!("base {}", base.point)),
        span(&batch.append),
        batch.snapshot.as_ref().map(|_| "a snapshot".to_owned()),
        batch.config.as_ref().map(|config| config.version.to_string()),
    ];
    format!("persist {}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn number(bytes: &[u8]) -> u64 {
    common::services::decode(bytes).expect("the kitchen replies with a number")
}

fn place(position: &Position) -> String {
    let Position::Log(at) = position else { panic!("a passive group has a log") };
    at.to_string()
}

fn too_few(in_sync: u8, needed: u8) -> String {
    format!("too few in sync: {in_sync} of {needed}")
}

/// `2`, or `2-5`.
fn span(entries: &[std::sync::Arc<Entry>]) -> Option<String> {
    let (first, last): (LogIndex, LogIndex) = (entries.first()?.index, entries.last()?.index);
    Some(if first == last { first.to_string() } else { format!("{first}-{last}") })
}
