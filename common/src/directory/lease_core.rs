//! What a lease's keeper decides: when to renew, when to begin anew, what to register again. Given `now` and 64 random
//! bits with every event; returns what must happen. At most one call about the lease and one about each name is under
//! way, so an answer needs no other address than its name.

use std::collections::BTreeMap;
use std::time::Duration;

use super::backoff::{Backoff, share};
use super::{LeaseEvent, NameError, PATIENCE};
use crate::clock::Moment;
use crate::names::{BootCount, Entry, LeaseId, LogicalName, Patch, Stamped};
use crate::rpc::name_service::{
    GrantError, Granted, RegisterError, Registered, RenewError, Renewed, StoreError, UpdateError,
};
use crate::rpc::transport::CallError;

/// What must happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Call the name server, and bring the answer.
    Send(Call, Duration),
    /// Tell whoever listens.
    Tell(LeaseEvent),
    /// Answer those who asked for this registration.
    Registered(LogicalName, Result<Registered, RegisterError>),
    /// Answer those who asked for changes of this name.
    Updated(LogicalName, Result<(), NameError<UpdateError>>),
}

/// A call of the name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Grant { ttl: Duration },
    Renew { lease: LeaseId },
    Register { lease: LeaseId, name: LogicalName, entry: Entry },
    Update { lease: LeaseId, name: LogicalName, patch: Patch },
}

/// Its answer.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Granted(Result<Stamped<Granted>, NameError<GrantError>>),
    Renewed(Result<Stamped<Result<Renewed, RenewError>>, CallError>),
    Registered(LogicalName, Result<Stamped<Registered>, NameError<RegisterError>>),
    Updated(LogicalName, Result<Stamped<Registered>, NameError<UpdateError>>),
}

/// How long a name that is refused for good is left alone, once it stood: the reason may pass.
const REFUSED: Duration = Duration::from_secs(1);
/// A rival's lease that ends this much later than when it was first met was renewed since: its holder lives. More
/// than an answer is usually late.
const RENEWED: Duration = Duration::from_millis(100);
/// No name is asked for more often than this.
const SOON: Duration = Duration::from_millis(20);

/// One process's lease, and the names under it.
#[derive(Debug)]
pub(super) struct LeaseCore {
    ttl: Duration,
    lease: Lease,
    names: BTreeMap<LogicalName, Kept>,
    boot: Option<BootCount>,
    /// Whether the end of the lease was told.
    lapsed: bool,
    /// Whether names may have been gone, so that their return is news.
    disturbed: bool,
    /// Registrations sent and answered. A renewal that overlaps one says nothing by its count.
    changes: u64,
    backoff: Backoff,
}

#[derive(Clone, Copy, Debug)]
enum Lease {
    Wanted { at: Moment },
    Granting { sent: Moment },
    Held { id: LeaseId, deadline: Moment, renew_at: Moment, renewing: Option<Renewing> },
}

#[derive(Clone, Copy, Debug)]
struct Renewing {
    /// Before the request left: the lease counts from then at the earliest.
    sent: Moment,
    changes: u64,
}

/// One name.
#[derive(Debug)]
struct Kept {
    /// As the name server acknowledged it last, or as it was asked for.
    entry: Entry,
    /// Changes that it did not acknowledge yet.
    pending: Option<Patch>,
    /// Whether it stands under the present lease.
    stands: bool,
    under_way: Option<UnderWay>,
    not_before: Moment,
    backoff: Backoff,
    /// Whether it never stood yet: then a refusal is an answer.
    first: bool,
    rival: Option<Rival>,
}

#[derive(Debug)]
struct UnderWay {
    /// Under which lease; `None` when its answer does not matter any more.
    lease: Option<LeaseId>,
    carries: Option<Patch>,
}

/// Somebody else who holds the name.
#[derive(Debug)]
struct Rival {
    since: Moment,
    /// When it would have freed the name, as first told; `None`: never.
    frees_at: Option<Moment>,
    /// Whether the loss of the name was told.
    told: bool,
}

impl LeaseCore {
    /// Wants a lease of `ttl`.
    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            lease: Lease::Wanted { at: Moment::ORIGIN },
            names: BTreeMap::new(),
            boot: None,
            lapsed: false,
            disturbed: false,
            changes: 0,
            backoff: Backoff::up_to(ttl / 6),
        }
    }

    /// Keeps `name` from now on; in place of what it kept under that name before.
    pub(super) fn keep(&mut self, now: Moment, name: LogicalName, entry: Entry) -> Vec<Effect> {
        // The answer to a call about what was kept before is not about this.
        let under_way = self.names.remove(&name).and_then(|before| before.under_way);
        let under_way = under_way.map(|_| UnderWay { lease: None, carries: None });
        self.names.insert(
            name,
            Kept {
                entry,
                pending: None,
                stands: false,
                under_way,
                not_before: now,
                backoff: Backoff::up_to(Backoff::CAP),
                first: true,
                rival: None,
            },
        );
        self.tick(now)
    }

    /// Changes what it keeps under `name`.
    pub(super) fn update(&mut self, now: Moment, name: &LogicalName, patch: Patch) -> Vec<Effect> {
        let Some(kept) = self.names.get_mut(name) else {
            return vec![Effect::Updated(name.clone(), Err(NameError::Answer(UpdateError::NotFound)))];
        };
        let before = kept.pending.take().unwrap_or_default();
        kept.pending = Some(Patch {
            tags: patch.tags.or(before.tags),
            readiness: patch.readiness.or(before.readiness),
            weight: patch.weight.or(before.weight),
        });
        self.tick(now)
    }

    /// Looks at the clock.
    pub(super) fn tick(&mut self, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Lease::Held { deadline, .. } = self.lease
            && deadline <= now
        {
            self.lapse(&mut effects);
        }
        match &mut self.lease {
            Lease::Wanted { at } if *at <= now => {
                self.lease = Lease::Granting { sent: now };
                effects.push(Effect::Send(Call::Grant { ttl: self.ttl }, PATIENCE));
            }
            Lease::Held { id, renew_at, renewing: renewing @ None, .. } if *renew_at <= now => {
                *renewing = Some(Renewing { sent: now, changes: self.changes });
                effects.push(Effect::Send(Call::Renew { lease: *id }, self.ttl / 6));
            }
            _ => {}
        }
        if let Lease::Held { id: lease, .. } = self.lease {
            for (name, kept) in &mut self.names {
                if !kept.has_work() || kept.not_before > now {
                    continue;
                }
                let carries = kept.pending.clone();
                let call = match &carries {
                    Some(patch) if kept.stands => {
                        Call::Update { lease, name: name.clone(), patch: patch.clone() }
                    }
                    _ => Call::Register { lease, name: name.clone(), entry: kept.as_wanted() },
                };
                kept.under_way = Some(UnderWay { lease: Some(lease), carries });
                self.changes += 1;
                effects.push(Effect::Send(call, PATIENCE));
            }
        }
        effects
    }

    /// When the clock must be looked at again; `None`: when something happens.
    pub(super) fn wakes_at(&self) -> Option<Moment> {
        match self.lease {
            Lease::Wanted { at } => Some(at),
            Lease::Granting { .. } => None,
            Lease::Held { deadline, renew_at, renewing, .. } => {
                let renewal = renewing.is_none().then_some(renew_at);
                let end = (!self.lapsed).then_some(deadline);
                let work = self.names.values().filter(|kept| kept.has_work()).map(|kept| kept.not_before);
                renewal.into_iter().chain(end).chain(work).min()
            }
        }
    }

    /// The lease to give back.
    pub(super) fn lease(&self) -> Option<LeaseId> {
        match self.lease {
            Lease::Held { id, .. } => Some(id),
            Lease::Wanted { .. } | Lease::Granting { .. } => None,
        }
    }

    /// Takes in an answer.
    pub(super) fn answered(&mut self, now: Moment, chance: u64, answer: Answer) -> Vec<Effect> {
        let mut effects = Vec::new();
        match answer {
            Answer::Granted(result) => self.granted(now, chance, result),
            Answer::Renewed(result) => self.renewed(now, chance, result, &mut effects),
            Answer::Registered(name, result) => self.registered(now, chance, &name, result, &mut effects),
            Answer::Updated(name, result) => self.updated(now, chance, &name, result, &mut effects),
        }
        effects.extend(self.tick(now));
        // After a look at the clock: the answer may have come too late.
        if self.disturbed
            && !self.lapsed
            && self.lease().is_some()
            && self.names.values().all(|kept| kept.stands)
        {
            self.disturbed = false;
            effects.push(Effect::Tell(LeaseEvent::Regained));
        }
        effects
    }

    fn granted(&mut self, now: Moment, chance: u64, result: Result<Stamped<Granted>, NameError<GrantError>>) {
        let Lease::Granting { sent } = self.lease else { return };
        let wait = match result {
            Ok(Stamped { stamp, value: Granted { lease: id, ttl, .. } }) => {
                self.ttl = ttl;
                self.boot = Some(stamp.boot);
                self.backoff = Backoff::up_to(ttl / 6);
                self.lapsed = false;
                let renew_at = sent + self.third(chance);
                self.lease = Lease::Held { id, deadline: sent + ttl, renew_at, renewing: None };
                return;
            }
            Err(NameError::Answer(GrantError::TtlOutOfRange { min, max }))
                if !(min..=max).contains(&self.ttl) =>
            {
                self.ttl = self.ttl.clamp(min, max.max(min));
                Duration::ZERO
            }
            Err(NameError::Answer(error)) => error.retry_in().max(self.backoff.failed(chance)),
            Err(NameError::Call(error)) => patience(&error).max(self.backoff.failed(chance)),
        };
        self.lease = Lease::Wanted { at: now + wait };
    }

    fn renewed(
        &mut self,
        now: Moment,
        chance: u64,
        result: Result<Stamped<Result<Renewed, RenewError>>, CallError>,
        effects: &mut Vec<Effect>,
    ) {
        let third = self.third(chance);
        let Lease::Held { deadline, renew_at, renewing, .. } = &mut self.lease else { return };
        let Some(Renewing { sent, changes }) = renewing.take() else { return };
        match result {
            Ok(Stamped { stamp, value: Ok(Renewed { ttl, names }) }) => {
                self.ttl = ttl;
                *deadline = (*deadline).max(sent + ttl);
                *renew_at = sent + third;
                self.lapsed &= *deadline <= now;
                self.backoff.succeeded();
                let quiet =
                    changes == self.changes && self.names.values().all(|kept| kept.under_way.is_none());
                let standing = self.names.values().filter(|kept| kept.stands).count();
                let short = quiet && usize::try_from(names).ok() != Some(standing);
                self.disturbed |= short;
                // A new boot may have come back from an older copy of its store, with the right count by chance.
                if short || self.boot.replace(stamp.boot) != Some(stamp.boot) {
                    self.register_again(now);
                }
            }
            Ok(Stamped { value: Err(RenewError::UnknownLease), .. }) => self.forgotten(now, chance, effects),
            // For one lease nobody says so; whoever does is asked again like one who failed.
            Ok(Stamped { value: Err(RenewError::TooMany), .. }) => {
                *renew_at = now + self.backoff.failed(chance);
            }
            Err(error) => {
                *renew_at = now + patience(&error).min(self.ttl / 6).max(self.backoff.failed(chance));
            }
        }
    }

    fn registered(
        &mut self,
        now: Moment,
        chance: u64,
        name: &LogicalName,
        result: Result<Stamped<Registered>, NameError<RegisterError>>,
        effects: &mut Vec<Effect>,
    ) {
        self.changes += 1;
        let (lease, ttl) = (self.lease(), self.ttl);
        let Some(kept) = self.names.get_mut(name) else { return };
        let Some(UnderWay { lease: under, carries }) = kept.under_way.take() else { return };
        if under.is_none() || under != lease {
            // Another lease by now: it is registered again under that one.
            return;
        }
        match result {
            Ok(Stamped { value, .. }) => {
                kept.acknowledge(carries.as_ref());
                kept.stands = true;
                kept.rival = None;
                kept.backoff.succeeded();
                if std::mem::take(&mut kept.first) {
                    effects.push(Effect::Registered(name.clone(), Ok(value)));
                }
                if kept.pending.is_none() {
                    effects.push(Effect::Updated(name.clone(), Ok(())));
                }
            }
            Err(NameError::Call(error)) => {
                kept.not_before = now + patience(&error).max(kept.backoff.failed(chance));
            }
            Err(NameError::Answer(RegisterError::UnknownLease)) => self.forgotten(now, chance, effects),
            Err(NameError::Answer(
                error @ (RegisterError::Store(_)
                | RegisterError::Overloaded { .. }
                | RegisterError::EpochMismatch { .. }),
            )) => kept.not_before = now + error.retry_in().max(kept.backoff.failed(chance)),
            Err(NameError::Answer(refusal)) => {
                let for_good = kept.refused(now, ttl, &refusal);
                if kept.first && for_good {
                    self.names.remove(name);
                    effects.push(Effect::Registered(name.clone(), Err(refusal)));
                } else if !kept.first
                    && kept.rival.as_mut().is_some_and(|rival| !std::mem::replace(&mut rival.told, true))
                {
                    self.disturbed = true;
                    effects.push(Effect::Tell(LeaseEvent::Taken { name: name.clone(), by: refusal }));
                }
            }
        }
    }

    fn updated(
        &mut self,
        now: Moment,
        chance: u64,
        name: &LogicalName,
        result: Result<Stamped<Registered>, NameError<UpdateError>>,
        effects: &mut Vec<Effect>,
    ) {
        self.changes += 1;
        let lease = self.lease();
        let Some(kept) = self.names.get_mut(name) else { return };
        let Some(UnderWay { lease: under, carries }) = kept.under_way.take() else { return };
        if under.is_none() || under != lease {
            return;
        }
        match result {
            Ok(_) => {
                kept.acknowledge(carries.as_ref());
                kept.backoff.succeeded();
                if kept.pending.is_none() {
                    effects.push(Effect::Updated(name.clone(), Ok(())));
                }
            }
            // It is not there (any more) as we left it: registering it again carries the change.
            Err(NameError::Answer(
                UpdateError::NotFound | UpdateError::NotYours { .. } | UpdateError::EpochMismatch { .. },
            )) => {
                kept.stands = false;
                self.disturbed = true;
            }
            Err(error) => {
                match &error {
                    // Never: what stands, stands.
                    NameError::Answer(UpdateError::TooLarge { .. } | UpdateError::Denied) => {
                        kept.pending.take_if(|pending| Some(&*pending) == carries.as_ref());
                    }
                    NameError::Answer(error) => {
                        kept.not_before = now + error.retry_in().max(kept.backoff.failed(chance));
                    }
                    NameError::Call(error) => {
                        kept.not_before = now + patience(error).max(kept.backoff.failed(chance));
                    }
                }
                effects.push(Effect::Updated(name.clone(), Err(error)));
            }
        }
    }

    /// The name server does not know the lease: all begins anew.
    fn forgotten(&mut self, now: Moment, chance: u64, effects: &mut Vec<Effect>) {
        let Lease::Held { deadline, .. } = self.lease else { return };
        // When it forgot us before our time, it forgot everybody, and everybody comes back now.
        let wait = if now < deadline { share(self.ttl / 3, chance) } else { Duration::ZERO };
        self.lease = Lease::Wanted { at: now + wait };
        self.lapse(effects);
        self.register_again(now);
    }

    fn lapse(&mut self, effects: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.lapsed, true) {
            self.disturbed = true;
            effects.push(Effect::Tell(LeaseEvent::Lapsed));
        }
    }

    fn register_again(&mut self, now: Moment) {
        for kept in self.names.values_mut() {
            kept.stands = false;
            kept.not_before = kept.not_before.min(now);
        }
    }

    /// A third of the time-to-live, give or take a tenth, so that a thousand holders do not keep step.
    fn third(&self, chance: u64) -> Duration {
        let third = self.ttl / 3;
        third * 9 / 10 + share(third / 5, chance)
    }
}

impl Kept {
    fn has_work(&self) -> bool {
        self.under_way.is_none() && (!self.stands || self.pending.is_some())
    }

    /// With the changes that are not acknowledged yet.
    fn as_wanted(&self) -> Entry {
        let patch = self.pending.clone().unwrap_or_default();
        Entry {
            tags: patch.tags.unwrap_or_else(|| self.entry.tags.clone()),
            readiness: patch.readiness.unwrap_or(self.entry.readiness),
            weight: patch.weight.unwrap_or(self.entry.weight),
            ..self.entry.clone()
        }
    }

    /// `carried` is at the name server now. What was asked for meanwhile stays pending, whole.
    fn acknowledge(&mut self, carried: Option<&Patch>) {
        if self.pending.as_ref() == carried {
            self.entry = self.as_wanted();
            self.pending = None;
        }
    }

    /// Notes a refusal and when to ask again; says whether it is for good, should this be the first registration.
    fn refused(&mut self, now: Moment, ttl: Duration, refusal: &RegisterError) -> bool {
        let RegisterError::Held { frees_in, .. } = refusal else {
            self.rival.get_or_insert(Rival { since: now, frees_at: None, told: false });
            self.not_before = now + REFUSED;
            return true;
        };
        self.not_before = now + frees_in.unwrap_or(ttl).min(ttl).max(SOON);
        let frees_at = frees_in.map(|left| now + left);
        let rival = self.rival.get_or_insert(Rival { since: now, frees_at, told: false });
        let lives = match (rival.frees_at, frees_at) {
            (Some(first), Some(latest)) => latest.since(first) > RENEWED,
            _ => true,
        };
        lives && now.since(rival.since) >= ttl * 2
    }
}

/// How long a call's failure asks to wait.
fn patience(error: &CallError) -> Duration {
    match error {
        CallError::Busy { retry_in } => *retry_in,
        _ => Duration::ZERO,
    }
}

/// How long the name server's own error asks to wait.
trait AsksToWait {
    fn retry_in(&self) -> Duration;
}

impl AsksToWait for GrantError {
    fn retry_in(&self) -> Duration {
        match self {
            Self::Store(StoreError::Down { retry_in, .. }) | Self::Overloaded { retry_in } => *retry_in,
            Self::TtlOutOfRange { .. } | Self::TooManyLeases { .. } => REFUSED,
        }
    }
}

impl AsksToWait for RegisterError {
    fn retry_in(&self) -> Duration {
        match self {
            Self::Store(StoreError::Down { retry_in, .. }) | Self::Overloaded { retry_in } => *retry_in,
            _ => REFUSED,
        }
    }
}

impl AsksToWait for UpdateError {
    fn retry_in(&self) -> Duration {
        match self {
            Self::Store(StoreError::Down { retry_in, .. }) | Self::Overloaded { retry_in } => *retry_in,
            _ => REFUSED,
        }
    }
}

#[cfg(test)]
mod tests;
