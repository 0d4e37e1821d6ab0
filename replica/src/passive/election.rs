//! Suspicion and candidacy. Safety needs no waiting: any in-sync member may send the election's compare-and-set
//! whenever it likes. What stands here only keeps it rare and quick.

use std::collections::BTreeMap;
use std::time::Duration;

use common::clock::Moment;
use common::replication::{GroupConfig, ReplicaId};
use common::rpc::peer::{Message, Reply, ReplyBody};

use super::{ASK_WITHIN, Core, Effect, Fault, Now, RECORD_RETRY, SUSPECT_AFTER, SendTicket, Standing};

/// Between two ranks: about a compare-and-set, so that the first is through before the second begins.
const RANK_STEP: Duration = Duration::from_millis(10);
/// After a process start: a cold start of all replicas should not shed the one that led and is only a little later.
const AFTER_START: Duration = Duration::from_secs(1);
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
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    started: Moment,
    /// Whether a candidacy was begun, or a primary heard, since the process started.
    settled_in: bool,
    /// Silence counts from here at the earliest.
    calm_since: Moment,
    began_epochs: Vec<Moment>,
    look_at: Moment,
    stage: Option<Stage>,
    began: Moment,
    hard: bool,
    postponed: u32,
    asked: BTreeMap<SendTicket, ReplicaId>,
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
        Self {
            started: now,
            settled_in: false,
            calm_since: now,
            began_epochs: Vec::new(),
            look_at: now,
            stage: None,
            began: now,
            hard: false,
            postponed: 0,
            asked: BTreeMap::new(),
            heard_by_others: false,
        }
    }

    /// Ends a candidacy: another record stands; silence counts from now.
    pub(super) fn stand_down(&mut self, now: Moment) {
        self.calm_since = now;
        self.drop_candidacy();
        self.postponed = 0;
    }

    /// Silence counts from now.
    pub(super) fn calm(&mut self, now: Moment) {
        self.calm_since = now;
    }

    /// Another epoch began.
    pub(super) fn epoch_began(&mut self, now: Moment) {
        self.began_epochs.retain(|&at| now.since(at) < FLAPPING_WINDOW);
        self.began_epochs.push(now);
        let excess = self.began_epochs.len().saturating_sub(FLAPPING_DOUBLINGS_MAX + 1);
        self.began_epochs.drain(..excess);
    }

    fn drop_candidacy(&mut self) {
        self.stage = None;
        self.hard = false;
        self.asked.clear();
        self.heard_by_others = false;
    }

    /// The name server says that the record we know still stands.
    pub(super) fn record_stands(&mut self) {
        if self.stage == Some(Stage::Reading) {
            self.stage = Some(Stage::Stands);
        }
    }

    pub(super) fn wake_at(&self) -> Option<Moment> {
        match self.stage? {
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
    pub(super) fn suspect_hard(&mut self, now: Now) {
        if self.candidacy.stage.is_none() {
            self.begin_candidacy(now, true);
        } else {
            self.candidacy.hard = true;
        }
    }

    fn begin_candidacy(&mut self, now: Now, hard: bool) {
        let Some(config) = self.config.as_ref() else { return };
        let own_disk_led = config.primary.id == self.me();
        let rank = config.in_sync.iter().filter(|&id| id != config.primary.id && id < self.me()).count();
        let rank = if own_disk_led { 0 } else { u32::try_from(rank).unwrap_or(u32::MAX) };
        let suspicion = &mut self.candidacy;
        let mut until = now.at + RANK_STEP * rank;
        if !suspicion.settled_in && !own_disk_led {
            until = until.max(suspicion.started + AFTER_START + RANK_STEP * rank);
        }
        suspicion.stage = Some(Stage::Waiting { until });
        suspicion.began = now.at;
        suspicion.hard = hard;
    }

    /// Looks at the primary's socket: a front end came here instead.
    pub(super) fn look(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let Some(config) = &self.config
            && config.primary.id != self.me()
            && now.at >= self.candidacy.look_at
        {
            self.candidacy.look_at = now.at + LOOK_EVERY;
            effects.push(Effect::Look(config.primary));
        }
    }

    /// Goes on with a candidacy as far as it is due; begins one after long silence.
    pub(super) fn suspect(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.create(effects);
        if self.config.as_ref().is_some_and(|config| config.epoch < self.epoch) && self.leading.is_none() {
            // We met a later epoch than the record that we know.
            self.ask_again_at = self.ask_again_at.or(Some(now.at + RECORD_RETRY));
        }
        let Some(config) = self.config.clone().filter(|config| self.may_elect(config)) else {
            if self.candidacy.stage != Some(Stage::Casting) {
                self.candidacy.drop_candidacy();
            }
            return;
        };
        if let Some(heard) = self.heard {
            self.candidacy.settled_in = true;
            if self.candidacy.stage.is_some() && heard > self.candidacy.began {
                self.candidacy.drop_candidacy();
            }
        }
        let silent_since = self.heard.unwrap_or_default().max(self.candidacy.calm_since);
        if self.candidacy.stage.is_none() && now.at.since(silent_since) >= self.candidacy.patience(now.at) {
            self.begin_candidacy(now, false);
        }
        match self.candidacy.stage {
            Some(Stage::Waiting { until }) if now.at >= until => {
                self.candidacy.settled_in = true;
                self.candidacy.stage = Some(Stage::Reading);
                self.ask_again_at = None;
                effects.push(Effect::ReadRecord { known: Some(config.version) });
            }
            Some(Stage::Stands) if self.candidacy.hard => self.cast(&config, effects),
            Some(Stage::Stands) => self.ask_the_others(now, &config, effects),
            Some(Stage::Asking { until }) if now.at >= until || self.candidacy.asked.is_empty() => {
                if self.candidacy.heard_by_others
                    && self.candidacy.postponed < POSTPONED_MAX
                    && !self.candidacy.hard
                {
                    self.candidacy.postponed += 1;
                    self.candidacy.drop_candidacy();
                    self.candidacy.calm_since = now.at;
                } else {
                    self.cast(&config, effects);
                }
            }
            // Settled, and somebody else's record did not come with it: begin afresh.
            Some(Stage::Casting) if self.pending_cas.is_none() => self.candidacy.drop_candidacy(),
            _ => {}
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

    fn ask_the_others(&mut self, now: Now, config: &GroupConfig, effects: &mut Vec<Effect>) {
        let others = config.in_sync.iter().filter(|&id| id != self.me() && id != config.primary.id);
        for to in others.collect::<Vec<_>>() {
            let ticket = SendTicket(self.next_ticket());
            self.candidacy.asked.insert(ticket, to);
            let message = Message::HeardPrimary { epoch: config.epoch };
            effects.push(Effect::Send { to, ticket, message, within: ASK_WITHIN });
        }
        if self.candidacy.asked.is_empty() {
            return self.cast(config, effects);
        }
        self.candidacy.stage = Some(Stage::Asking { until: now.at + ASK_FOR });
    }

    /// Takes in what another member, or a primary that we want to join, says.
    pub(super) fn candidate_replied(
        &mut self,
        now: Now,
        ticket: SendTicket,
        reply: Option<Reply>,
        effects: &mut Vec<Effect>,
    ) {
        let body = reply.map(|reply| reply.body);
        if self.candidacy.asked.remove(&ticket).is_some() {
            let recently = |ago: Duration| ago < SUSPECT_AFTER / 2;
            self.candidacy.heard_by_others |=
                matches!(body, Some(ReplyBody::Heard { ago: Some(ago) }) if recently(ago));
        } else if let Some(ReplyBody::NotPrimary { config: Some(config) }) = body {
            self.hear_of(now, config, effects);
        }
    }

    fn cast(&mut self, config: &GroupConfig, effects: &mut Vec<Effect>) {
        let next = GroupConfig {
            version: config.version.next(),
            epoch: config.epoch.next(),
            primary: self.setup.me,
            in_sync: config.in_sync.without(config.primary.id).with(self.me()),
            ..config.clone()
        };
        self.candidacy.stage = Some(Stage::Casting);
        self.candidacy.asked.clear();
        self.propose(next, effects);
    }
}
