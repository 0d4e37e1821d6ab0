//! Suspicion and candidacy. Safety needs no waiting: any in-sync member may send the election's compare-and-set
//! whenever it likes. What stands here only keeps it rare and quick.

use std::collections::BTreeSet;
use std::time::Duration;

use common::clock::Moment;
use common::replication::{GroupConfig, ReplicaId};
use common::rpc::peer::{Message, Reply, ReplyBody};

use super::{ASK_WITHIN, Core, Effect, Fault, SUSPECT_AFTER, SendTicket, Standing};

/// Between two ranks: about a compare-and-set, so that the first is through before the second begins.
const RANK_STEP: Duration = Duration::from_millis(10);
/// After a process start: a cold start of all replicas should not shed the one that led and is only a little later.
const AFTER_START: Duration = Duration::from_secs(1);
/// Who stamps entries by a wrong clock stands last; if nobody else does, it still stands.
const CLOCK_OFF_WAITS: Duration = Duration::from_secs(1);
/// How long the other members are asked whether they hear the primary.
const ASK_FOR: Duration = Duration::from_millis(50);
/// How often their word postpones a candidacy: then the primary's shrink has decided.
const POSTPONED_MAX: u32 = 3;
/// Between two looks at a primary's socket.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Epochs begun within this time make soft suspicion slower: twice per epoch.
const FLAPPING_WINDOW: Duration = Duration::from_mins(1);
const FLAPPING_DOUBLINGS_MAX: usize = 5;

/// What a replica thinks of its primary.
#[derive(Clone, Debug, Default)]
pub(super) struct Suspicion {
    started: Moment,
    /// Whether a candidacy was begun, or a primary heard, since the process started.
    settled_in: bool,
    /// Silence counts from here at the earliest.
    pub(super) calm_since: Moment,
    began_epochs: Vec<Moment>,
    look_at: Moment,
    /// How often others' word has postponed a candidacy since the record changed.
    postponed: u32,
    candidacy: Option<Candidacy>,
}

#[derive(Clone, Debug)]
struct Candidacy {
    began: Moment,
    /// Whether the primary is certainly not there.
    hard: bool,
    stage: Stage,
    asked: BTreeSet<SendTicket>,
    heard_by_others: bool,
}

/// How far a candidacy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waiting for its rank's turn.
    Waiting { until: Moment },
    /// Reading the record once more.
    Reading,
    /// The record still stands: ask the others, or go ahead.
    Stands,
    /// Asking the others whether they hear the primary.
    Asking { until: Moment },
    /// The compare-and-set is under way.
    Casting,
}

impl Suspicion {
    pub(super) fn after_start(now: Moment) -> Self {
        Self { started: now, calm_since: now, look_at: now, ..Self::default() }
    }

    /// Ends a candidacy: another record stands; silence counts from now.
    pub(super) fn stand_down(&mut self, now: Moment) {
        self.calm_since = now;
        self.candidacy = None;
        self.postponed = 0;
    }

    /// Another epoch began.
    pub(super) fn epoch_began(&mut self, now: Moment) {
        self.began_epochs.push(now);
        let excess = self.began_epochs.len().saturating_sub(FLAPPING_DOUBLINGS_MAX + 1);
        self.began_epochs.drain(..excess);
    }

    /// The name server says that the record we know still stands.
    pub(super) fn record_stands(&mut self) {
        if let Some(Candidacy { stage: stage @ Stage::Reading, .. }) = &mut self.candidacy {
            *stage = Stage::Stands;
        }
    }

    pub(super) fn wake_at(&self) -> Option<Moment> {
        match self.candidacy.as_ref()?.stage {
            Stage::Waiting { until } | Stage::Asking { until } => Some(until),
            Stage::Reading | Stage::Stands | Stage::Casting => None,
        }
    }

    /// Silence that makes a member doubt: longer while epochs follow each other.
    fn patience(&self, now: Moment) -> Duration {
        let recent = self.began_epochs.iter().filter(|&&at| now.since(at) < FLAPPING_WINDOW).count();
        // The one that stands is no sign of flapping.
        SUSPECT_AFTER * (1 << recent.saturating_sub(1).min(FLAPPING_DOUBLINGS_MAX))
    }
}

impl Core {
    /// The primary that the record names is certainly not there.
    pub(super) fn suspect_hard(&mut self) {
        match &mut self.suspicion.candidacy {
            Some(candidacy) => candidacy.hard = true,
            None => self.begin_candidacy(true),
        }
    }

    fn begin_candidacy(&mut self, hard: bool) {
        let Some(config) = self.config.as_ref().filter(|_| self.standing == Standing::Known) else { return };
        let (now, suspicion) = (self.now.at, &mut self.suspicion);
        let own_disk_led = config.primary.id == self.setup.me.id;
        let before = config.in_sync.without(config.primary.id);
        let rank = before.iter().filter(|&id| id < self.setup.me.id && !own_disk_led).count();
        let last = if self.clock_off { CLOCK_OFF_WAITS } else { Duration::ZERO };
        let wait = RANK_STEP * u32::try_from(rank).unwrap_or(u32::MAX) + last;
        let fresh = !suspicion.settled_in && !own_disk_led;
        let until = if fresh { now.max(suspicion.started + AFTER_START) + wait } else { now + wait };
        let stage = Stage::Waiting { until };
        let (asked, heard_by_others) = (BTreeSet::new(), false);
        suspicion.candidacy = Some(Candidacy { began: now, hard, stage, asked, heard_by_others });
    }

    /// Looks at the primary's socket: a front end came here instead.
    pub(super) fn look(&mut self) {
        if let Some(config) = &self.config
            && config.primary.id != self.setup.me.id
            && self.now.at >= self.suspicion.look_at
        {
            self.suspicion.look_at = self.now.at + LOOK_EVERY;
            self.effects.push(Effect::Look(config.primary));
        }
    }

    /// Goes on with a candidacy as far as it is due; begins one after long silence.
    pub(super) fn suspect(&mut self) {
        let now = self.now.at;
        if self.newest_config().is_some_and(|config| config.epoch < self.epoch) && self.leading.is_none() {
            // We met a later epoch than the record that we know.
            self.ask_soon();
        }
        if !self.config.as_ref().is_some_and(|config| self.may_elect(config)) {
            self.suspicion.candidacy.take_if(|candidacy| candidacy.stage != Stage::Casting);
            return;
        }
        if let Some(heard) = self.heard {
            self.suspicion.settled_in = true;
            self.suspicion.candidacy.take_if(|candidacy| heard > candidacy.began);
        }
        let silent_since = self.heard.unwrap_or_default().max(self.suspicion.calm_since);
        if self.suspicion.candidacy.is_none() && now.since(silent_since) >= self.suspicion.patience(now) {
            self.begin_candidacy(false);
        }
        let known = self.newest_version();
        let Some(candidacy) = &mut self.suspicion.candidacy else { return };
        match candidacy.stage {
            Stage::Waiting { until } if now >= until => {
                candidacy.stage = Stage::Reading;
                self.suspicion.settled_in = true;
                self.ask_again_at = None;
                self.effects.push(Effect::ReadRecord { known: Some(known) });
            }
            Stage::Stands if candidacy.hard => self.cast(),
            Stage::Stands => self.ask_the_others(),
            Stage::Asking { until } if now >= until || candidacy.asked.is_empty() => {
                let heard = candidacy.heard_by_others && !candidacy.hard;
                if heard && self.suspicion.postponed < POSTPONED_MAX {
                    self.suspicion.postponed += 1;
                    self.suspicion.candidacy = None;
                    self.suspicion.calm_since = now;
                } else {
                    self.cast();
                }
            }
            // Settled, and somebody else's record did not come with it: begin afresh.
            Stage::Casting => self.suspicion.candidacy = None,
            Stage::Waiting { .. } | Stage::Reading | Stage::Asking { .. } => {}
        }
    }

    /// Whether this member may elect itself at all.
    fn may_elect(&self, config: &GroupConfig) -> bool {
        self.standing == Standing::Known
            && self.leading.is_none()
            && self.stopping.is_none()
            && self.adopting.is_none()
            && self.pending_cas.is_none()
            && (config.in_sync.contains(self.me()) || self.planted(Fault::UncleanElect))
            && !self.is_led_from_here(config)
            && config.epoch == self.epoch
    }

    fn ask_the_others(&mut self) {
        let Some(config) = &self.config else { return };
        let others: Vec<ReplicaId> =
            config.in_sync.without(config.primary.id).without(self.me()).iter().collect();
        let epoch = config.epoch;
        let ask = |to| self.send(to, Message::HeardPrimary { epoch }, ASK_WITHIN);
        let asked: BTreeSet<SendTicket> = others.into_iter().map(ask).collect();
        if asked.is_empty() {
            return self.cast();
        }
        if let Some(candidacy) = &mut self.suspicion.candidacy {
            candidacy.asked = asked;
            candidacy.stage = Stage::Asking { until: self.now.at + ASK_FOR };
        }
    }

    /// Takes in what another member, or a primary that we want to join, says.
    pub(super) fn candidate_replied(&mut self, ticket: SendTicket, reply: Option<Reply>) {
        let candidacy = self.suspicion.candidacy.as_mut();
        let asked = candidacy.filter(|candidacy| candidacy.asked.contains(&ticket));
        match (asked, reply.map(|reply| reply.body)) {
            (Some(candidacy), body) => {
                candidacy.asked.remove(&ticket);
                let ago = if let Some(ReplyBody::Heard { ago }) = body { ago } else { None };
                candidacy.heard_by_others |= ago.is_some_and(|ago| ago < SUSPECT_AFTER / 2);
            }
            (None, Some(ReplyBody::NotPrimary { config: Some(config) })) => self.hear_of(&config),
            (None, _) => {}
        }
    }

    fn cast(&mut self) {
        let (Some(config), Some(candidacy)) = (&self.config, &mut self.suspicion.candidacy) else { return };
        candidacy.stage = Stage::Casting;
        let next = config.elected(self.setup.me);
        self.propose(next);
    }
}
