//! Which replica is asked next, and when: the front end's core.
//!
//! A [`Journey`] takes one call from its arrival to its answer. It asks the primary that the group's record names.
//! When that one refuses, resets or is not the primary (any more), it follows the newer record if one came back;
//! else it asks the other in-sync members in turn, the first at once, so that a backup looks at the dead socket
//! itself, and then further and further apart. A leader that it has not asked yet is asked the moment it is known.
//! Every try carries the same request id, until the caller's deadline.
//!
//! **What a failure may mean.** An error with [`Outcome::NoEffect`] promises the caller that a new id is safe, so
//! it is answered only when *every* try provably had none. One lost connection makes the whole journey's outcome
//! unknown, whatever later tries say.

use std::net::SocketAddr;
use std::time::Duration;

use common::clock::Moment;
use common::replication::{GroupConfig, GroupName};
use common::rpc::Outcome;

use crate::failure::Failure;
use crate::group::{Group, Leader, Target};

/// A fail-over is a matter of milliseconds, so the first members are asked close upon each other …
const PAUSE_FIRST: Duration = Duration::from_millis(5);
/// … and a longer one is announced by the name server, so asking is only a safety net.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// One call on its way through a group's replicas.
#[derive(Clone, Debug)]
pub struct Journey {
    started: Moment,
    deadline: Moment,
    /// The leader that this journey asked last.
    leader: Option<Leader>,
    /// Members asked since then.
    turn: usize,
    pause: Duration,
    not_before: Moment,
    /// Whether a try may have been taken in.
    uncertain: bool,
    /// Whether the last thing heard was that a replica has too much to do.
    busy: Option<Duration>,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this replica.
    Ask(Target),
    /// Wait until then, or until more is known of the group.
    Wait {
        /// When to ask for the next step at the latest.
        until: Moment,
    },
    /// The deadline is here.
    GiveUp,
}

/// A try that leaves the journey going on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setback {
    /// No effect: it does not lead, and knows this record.
    NotPrimary {
        /// The newest record that it knows.
        config: Option<Box<GroupConfig>>,
        /// Where it believes that this record's primary listens.
        address: Option<SocketAddr>,
    },
    /// No effect: nobody there, or not ready, or stopping.
    Away,
    /// No effect: the same replica, later.
    Busy {
        /// When.
        retry_in: Duration,
    },
    /// It may have been taken in.
    Lost,
    /// No effect: a gossip member that takes no calls now, or lacks what the caller has seen.
    Refused,
}

/// How a journey ended that reached nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// For how long it was tried.
    pub waited: Duration,
    /// Whether a try may have been taken in.
    pub uncertain: bool,
    /// The last word of a replica that has too much to do.
    pub busy: Option<Duration>,
}

impl Journey {
    /// The journey of a call that arrived at `now`.
    pub fn new(now: Moment, deadline: Moment) -> Self {
        Self {
            started: now,
            deadline,
            leader: None,
            turn: 0,
            pause: PAUSE_FIRST,
            not_before: now,
            uncertain: false,
            busy: None,
        }
    }

    /// The next step, by what is known of the group at `now`.
    pub fn step(&mut self, now: Moment, group: &Group) -> Step {
        if now >= self.deadline {
            return Step::GiveUp;
        }
        if let Some(leader) = group.leader().filter(|leader| self.leader.as_ref() != Some(leader)) {
            self.leader = Some(leader);
            self.turn = 0;
            self.pause = PAUSE_FIRST;
            self.not_before = now;
        }
        if now < self.not_before {
            return Step::Wait { until: self.not_before.min(self.deadline) };
        }
        match group.members().count() {
            0 => Step::Wait { until: self.deadline },
            count => group.members().nth(self.turn % count).map_or(Step::GiveUp, Step::Ask),
        }
    }

    /// Whether waiting for `asked` has become pointless: the group has another leader by now.
    pub fn overtaken(&self, asked: &Target, group: &Group) -> bool {
        group.leader().is_some_and(|leader| leader.target != *asked && self.leader.as_ref() != Some(&leader))
    }

    /// Takes in that a try failed. What the setback tells of the group has been told to `group` before.
    pub fn failed(&mut self, now: Moment, setback: &Setback, group: &Group) {
        self.busy = None;
        match setback {
            Setback::Busy { retry_in } => {
                self.busy = Some(*retry_in);
                self.not_before = now + (*retry_in).max(PAUSE_FIRST);
                return;
            }
            Setback::Lost => self.uncertain = true,
            Setback::NotPrimary { .. } | Setback::Away | Setback::Refused => {}
        }
        self.turn += 1;
        // The first backup learns at once that its primary does not answer.
        if self.turn > 1 || group.members().count() < 2 {
            self.not_before = now + self.pause;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
    }

    /// What to answer when a replica's own error ends the journey.
    pub fn conclude<E: Failure>(&self, now: Moment, service: &GroupName, error: E) -> E {
        if self.uncertain && error.outcome() == Outcome::NoEffect && !error.speaks_for_all_copies() {
            return E::given_up(service, &self.given_up(now));
        }
        error
    }

    /// How the journey ended, its deadline passed.
    pub fn given_up(&self, now: Moment) -> GivenUp {
        GivenUp { waited: now.since(self.started), uncertain: self.uncertain, busy: self.busy }
    }
}

#[cfg(test)]
mod tests;
