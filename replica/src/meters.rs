//! What a replica counts. How a group *is* (role, epoch, lag) is written down when somebody asks, and never in between.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use common::clock::{Clock, Moment};
use common::meters::{Came, number};
use common::replication::{GroupName, ReplicaId};
use common::rpc::gossip::{Message, SaidBack};
use common::rpc::peer::{PeerResponse, Reply, ReplyBody};
use common::rpc::replica::{GossipStatus, MemberStatus, ReplicaResponse, Role};
use metrics::{Counter, Histogram, counter, gauge, histogram};

use crate::gossip::DIFFER;

/// A group with a primary.
#[derive(Debug)]
pub(crate) struct Passive {
    service: String,
    commit: Histogram,
    repeats: Counter,
    /// The members whose lag was told last.
    told: RefCell<BTreeSet<String>>,
}

impl Passive {
    pub(crate) fn of(group: &GroupName) -> Self {
        let service = group.to_string();
        Self {
            commit: histogram!("commit_seconds", "service" => service.clone()),
            repeats: counter!("request_repeats_total", "service" => service.clone()),
            told: RefCell::default(),
            service,
        }
    }

    /// A command is committed, after so long.
    pub(crate) fn committed(&self, after: Duration) {
        self.commit.record(after);
    }

    /// So many repeats have come since the start.
    pub(crate) fn repeated(&self, times: u64) {
        self.repeats.absolute(times);
    }

    /// How it is now; `lag`, at a primary: how many entries each other member has not confirmed.
    pub(crate) fn is(&self, status: &MemberStatus, lag: impl Iterator<Item = (ReplicaId, u64)>) {
        let set =
            |name: &'static str, value| gauge!(name, "service" => self.service.clone()).set(number(value));
        set("group_role", u64::from(status.role == Role::Primary));
        set("group_epoch", status.epoch.0);
        set("log_index", status.last.index.0);
        set("in_sync_members", status.config.as_ref().map_or(0, |config| config.in_sync.len() as u64));
        let behind = |member: &str| {
            let labels = [("service", self.service.clone()), ("member", member.to_owned())];
            gauge!("replication_behind_entries", &labels)
        };
        let mut told = BTreeSet::new();
        for (id, entries) in lag {
            let Some(member) = status.known.iter().find(|known| known.member.id == id) else { continue };
            behind(member.name.as_str()).set(number(entries));
            told.insert(member.name.to_string());
        }
        // Of whom nothing is known any more, nothing is said.
        let before = self.told.replace(told);
        before.difference(&self.told.borrow()).for_each(|gone| behind(gone).set(f64::NAN));
    }
}

/// What a group that gossips tells another member.
pub(crate) fn told(message: &Message) {
    if matches!(message, Message::Push { .. }) {
        pushes().increment(1);
    }
}

/// What a group that gossips tells a person.
pub(crate) fn alarmed(why: &str) {
    if why.starts_with(DIFFER) {
        divergence().increment(1);
    }
}

/// How a group that gossips is now.
pub(crate) fn gossip_is(status: &GossipStatus) {
    gauge!("gossip_log_records").set(number(status.log));
    // Also where nothing of it has happened yet.
    pushes().increment(0);
    divergence().increment(0);
}

fn pushes() -> Counter {
    counter!("gossip_rounds_total")
}

fn divergence() -> Counter {
    counter!("gossip_divergence_total")
}

/// A group's disk.
#[derive(Debug)]
pub(crate) struct Disk {
    clock: Clock,
    seconds: Histogram,
    entries: Histogram,
}

impl Disk {
    pub(crate) fn of(group: &GroupName) -> Self {
        let service = group.to_string();
        Self {
            clock: Clock::start(),
            seconds: histogram!("disk_commit_seconds", "service" => service.clone()),
            entries: histogram!("commit_batch_entries", "service" => service),
        }
    }

    /// When a batch begins to be written.
    pub(crate) fn begin(&self) -> Moment {
        self.clock.now()
    }

    /// A batch of so many entries, begun then, is written.
    #[expect(clippy::cast_precision_loss, reason = "a batch has far fewer entries than 2^53")]
    pub(crate) fn wrote(&self, begun: Moment, entries: usize) {
        self.seconds.record(self.clock.now().since(begun));
        self.entries.record(entries as f64);
    }
}

/// How an answer to a front end counts.
pub(crate) fn came(answer: &ReplicaResponse) -> Came {
    match answer {
        ReplicaResponse::Execute(Err(error)) => error.outcome().into(),
        ReplicaResponse::Query(Err(_))
        | ReplicaResponse::PrepareAdoption(Err(_))
        | ReplicaResponse::Adopted(Err(_))
        | ReplicaResponse::SetStatus(Err(_))
        | ReplicaResponse::Leave(Err(_)) => Came::NoEffect,
        _ => Came::Answered,
    }
}

/// How an answer to a peer counts.
pub(crate) fn heard(answer: &PeerResponse) -> Came {
    match answer {
        PeerResponse::Passive(Reply { body: ReplyBody::Refused { .. }, .. })
        | PeerResponse::Gossip(SaidBack::Refused { .. }) => Came::NoEffect,
        PeerResponse::Passive(_) | PeerResponse::Gossip(_) => Came::Answered,
    }
}
