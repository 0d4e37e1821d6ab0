//! Carries calls out: reads from the shelf, changes through the writer. A shell: it decides nothing that a
//! Pyro program could tell from the outside but how long others wait.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use common::ids::InstanceId;
use common::names::{
    AnyName, BadName, Entry, Expect, Holder, Lifetime, NameEpoch, PackedRecord, Patch, Readiness, Sharing,
    Tags, Target, Weight,
};
use common::rpc::name_service::{RegisterError, StoreError, UpdateError};
use common::rpc::transport::Place;
use futures::future::join_all;
use tokio::task::yield_now;

use super::answer::{ANSWER_MAX, Answer};
use super::frame::Dialect;
use super::name_server::{Call, Filter, NAME_SERVER, Register};
use super::refusal::{Class, Refusal};
use super::session::House;
use super::uri::Uri;
use super::value::Value;
use super::view::{View, uri_value};
use crate::config::PyroMode;
use crate::registry::{Kept, Registration, Same};
use crate::writer::{self, Message};

/// Names looked at, or written, before others get the thread: some 50 microseconds.
const SLICE: usize = 128;
/// Removals that wait for one commit.
const REMOVED_AT_ONCE: usize = 256;
/// One listing's share of the thread for matching an expression.
const MATCHING_MAX: Duration = Duration::from_secs(5);
/// And before others get it: a name may cost a hundred thousand steps.
const MATCHING_SLICE: Duration = Duration::from_micros(500);
/// A registration that changes while it is being changed is looked at again this often.
const TRIES: usize = 4;

/// One connection's way to the names.
pub(super) struct Desk {
    pub(super) house: Rc<House>,
    pub(super) caller: IpAddr,
    /// Our own URI, as this client reaches us.
    pub(super) own: String,
    pub(super) place: Place,
}

impl Desk {
    /// Carries `call` out, and writes its result.
    pub(super) async fn carry_out(&self, call: Call, answer: &mut Answer) -> Result<(), Refusal> {
        match call {
            Call::Count => answer.value(&number(self.house.shared.shelf.names())),
            Call::Lookup { name, tagged } => self.lookup(&name, tagged, answer)?,
            Call::Register(register) => {
                self.register(&[register]).await.1?;
                answer.value(&Value::None);
            }
            Call::SetTags { name, tags } => {
                self.set_tags(&name, tags).await?;
                answer.value(&Value::None);
            }
            Call::Remove { name, filter } => {
                let removed = self.remove(name.as_deref(), filter, answer.dialect()).await?;
                answer.value(&number(removed));
            }
            Call::List { filter, tagged } => self.list(&filter, tagged, answer).await?,
            Call::Info => {
                let names = self.house.shared.shelf.names();
                let line = format!("nameserver {} as {}, {names} names", env!("CARGO_PKG_VERSION"), self.own);
                answer.value(&Value::text(line));
            }
            Call::Known(value) => answer.value(&value),
        }
        Ok(())
    }

    fn lookup(&self, name: &str, tagged: bool, answer: &mut Answer) -> Result<(), Refusal> {
        let records = self.house.shared.shelf.get(name);
        let Some(records) = records else {
            let warming = self.house.shared.warm_at.get() > self.house.shared.clock.now();
            let hint = if warming { " (name server is warming up, try again)" } else { "" };
            return Err(Refusal::naming(format!("unknown name: {name}{hint}")));
        };
        let dialect = answer.dialect();
        let chance = if records.len() > 1 { rand::random_range(0..records.len()) } else { 0 };
        let view =
            View::chosen(&records, dialect, &self.own, chance).expect("a name on the shelf has records");
        let uri: Uri = view.uri().parse().map_err(|why: super::uri::BadUri| {
            // A native service whose address or object Pyro has no form for.
            Refusal::new(Class::Pyro, why.to_string())
        })?;
        let uri = uri_value(&uri, dialect);
        answer.value(&if tagged { Value::Tuple(vec![uri, view.tags_value()]) } else { uri });
        Ok(())
    }

    /// Registers one after the other, up to the first that is refused; all together wait for one commit. Returns how many
    /// were registered, and why no more.
    pub(super) async fn register(&self, wanted: &[Register]) -> (usize, Result<(), Refusal>) {
        let mut done = 0;
        while let [next, ..] = &wanted[done..] {
            // A name that is none ends the batch, but not before it is its turn.
            let requests: Vec<Registration> =
                wanted[done..].iter().map_while(|register| self.request(register).ok()).collect();
            if requests.is_empty() {
                return (done, self.request(next).map(drop));
            }
            let answer = writer::ask(&self.house.mailbox, |to| Message::RegisterAll { requests, to }).await;
            let (registered, refused) = match answer.and_then(|answer| answer) {
                Ok(answer) => answer.value,
                Err(error) => return (done, Err(cannot_store(error))),
            };
            done += registered;
            match refused {
                None => {}
                Some(RegisterError::Reserved) if !wanted[done].safe => {
                    tracing::warn!(peer = %self.caller, "a Pyro program registers the name server's own name: not done");
                    done += 1;
                }
                Some(error) => return (done, Err(refusal(&wanted[done], error))),
            }
        }
        (done, Ok(()))
    }

    /// What is asked of the writer.
    fn request(&self, register: &Register) -> Result<Registration, Refusal> {
        self.may_change()?;
        let Register { name, uri, safe, tags } = register;
        let entry = Entry {
            sharing: Sharing::Exclusive,
            target: Target::Pyro { uri: uri.clone() },
            tags: tags.clone(),
            readiness: Readiness::Up,
            weight: Weight::default(),
        };
        Ok(Registration {
            caller: self.caller,
            name: key(name)?,
            entry,
            expect: if *safe { Expect::Free } else { Expect::Whatever },
            lease: None,
            fresh: InstanceId::random(),
            same: Same::Anew,
        })
    }

    async fn set_tags(&self, name: &str, tags: Tags) -> Result<(), Refusal> {
        self.may_change()?;
        if name == NAME_SERVER {
            tracing::warn!(peer = %self.caller, "a Pyro program tags the name server's own name: not done");
            return Ok(());
        }
        for _ in 0..TRIES {
            let (key, epochs) = self.permanent(name)?;
            let update = epochs.into_iter().map(|epoch| {
                let patch = Patch { tags: Some(tags.clone()), ..Patch::default() };
                let (caller, holder, name) = (self.caller, Holder::Epoch(epoch), key.clone());
                writer::ask(&self.house.mailbox, move |to| Message::Update {
                    caller,
                    holder,
                    name,
                    patch,
                    to,
                })
            });
            let answers: Result<Vec<_>, StoreError> = join_all(update).await.into_iter().collect();
            let answers: Result<Vec<_>, UpdateError> = answers.map_err(cannot_store)?.into_iter().collect();
            match answers {
                Ok(_) => return Ok(()),
                Err(UpdateError::EpochMismatch { .. } | UpdateError::NotFound) => {}
                Err(UpdateError::Store(error)) => return Err(cannot_store(error)),
                Err(other) => return Err(Refusal::naming(other.to_string())),
            }
        }
        Err(Refusal::naming(format!("the registration changes too often: {name}")))
    }

    /// How many names went.
    async fn remove(
        &self,
        name: Option<&str>,
        filter: Option<Filter>,
        dialect: Dialect,
    ) -> Result<usize, Refusal> {
        self.may_change()?;
        if let Some(name) = name
            && self.house.shared.shelf.get(name).is_some()
        {
            let (key, epochs) = self.permanent(name)?;
            return Ok(self.unregister(epochs.into_iter().map(|epoch| (key.clone(), epoch))).await?.min(1));
        }
        let Some(filter) = filter else { return Ok(0) };
        let mut removed = 0;
        let mut chosen = Vec::new();
        for records in self.matching(&filter, dialect).await? {
            // What lives by its lease is passed over.
            if is_permanent(&records) && records.name() != NAME_SERVER {
                chosen.extend(records.iter().map(|record| (record.view().to_name(), record.epoch())));
            }
        }
        for some in chosen.chunks(REMOVED_AT_ONCE) {
            removed += self.unregister(some.iter().cloned()).await?;
        }
        Ok(removed)
    }

    /// Removes registrations that are still the same; returns how many.
    async fn unregister(
        &self,
        registrations: impl Iterator<Item = (AnyName, NameEpoch)>,
    ) -> Result<usize, Refusal> {
        let asked = registrations.map(|(name, epoch)| {
            let (caller, holder) = (self.caller, Holder::Epoch(epoch));
            writer::ask(&self.house.mailbox, move |to| Message::Unregister { caller, holder, name, to })
        });
        let mut removed = 0;
        for answer in join_all(asked).await {
            match answer.map_err(cannot_store)? {
                Ok(_) => removed += 1,
                Err(UpdateError::Store(error)) => return Err(cannot_store(error)),
                // Somebody else was faster.
                Err(_) => {}
            }
        }
        Ok(removed)
    }

    async fn list(&self, filter: &Filter, tagged: bool, answer: &mut Answer) -> Result<(), Refusal> {
        let dialect = answer.dialect();
        let found = self.matching(filter, dialect).await?;
        answer.open_listing(found.len());
        // Given back name by name, too: all hundred thousand at once take milliseconds.
        for (place, records) in found.into_iter().enumerate() {
            if place % SLICE == SLICE - 1 {
                self.place.holds(answer.bytes());
                if answer.bytes() > ANSWER_MAX {
                    break; // It is not sent: the answer's end says why.
                }
                yield_now().await;
            }
            if let Some(view) = View::listed(&records, dialect, &self.own) {
                answer.entry(records.name(), &view, tagged);
            }
        }
        answer.close_listing();
        Ok(())
    }

    /// The names that `filter` takes, as they stood in one revision: looked at a slice at a time, and what changed
    /// meanwhile once more.
    async fn matching(&self, filter: &Filter, dialect: Dialect) -> Result<BTreeSet<Kept>, Refusal> {
        let mut found = BTreeSet::new();
        if matches!(filter, Filter::Nothing) {
            return Ok(found);
        }
        // What is gathered lies in memory: some do it, others wait for their turn. An expression may take seconds.
        let turns = match filter {
            Filter::Matching(_) => &self.house.matchings,
            _ => &self.house.listings,
        };
        let _turn = turns.acquire().await;
        let shelf = &self.house.shared.shelf;
        let clock = self.house.shared.clock;
        let prefix = if let Filter::Prefix(prefix) = filter { prefix } else { "" };
        let taken = |records: &Kept| match View::listed(records, dialect, &self.own) {
            Some(view) => view.is_taken(filter).map_err(|_| Refusal::naming("invalid regex: too expensive")),
            None => Ok(false),
        };
        let mut spent = Duration::ZERO;
        'again: loop {
            let since = shelf.stamp().rev;
            let mut after: Option<Kept> = None;
            found.clear();
            loop {
                let slice = shelf.slice(prefix, after.as_ref().map(Kept::name), SLICE);
                let last = slice.len() < SLICE;
                after = slice.last().cloned().or(after);
                let mut began = clock.now();
                for records in slice {
                    if taken(&records)? {
                        found.insert(records);
                    }
                    if matches!(filter, Filter::Matching(_)) && clock.now().since(began) > MATCHING_SLICE {
                        spent += clock.now().since(began);
                        if spent > MATCHING_MAX {
                            return Err(Refusal::naming("invalid regex: too expensive"));
                        }
                        yield_now().await;
                        began = clock.now();
                    }
                }
                if last {
                    break;
                }
                yield_now().await;
            }
            let ring = self.house.shared.ring.borrow();
            let Ok(changed) = ring.names_since(since) else {
                // More happened than is remembered, or the clock of revisions jumped.
                continue 'again;
            };
            for name in changed {
                found.remove(name.as_bytes());
                if let Some(records) = shelf.get(name)
                    && name.starts_with(prefix)
                    && taken(&records)?
                {
                    found.insert(records);
                }
            }
            return Ok(found);
        }
    }

    /// The registrations under `name`, which must all be permanent.
    fn permanent(&self, name: &str) -> Result<(AnyName, Vec<NameEpoch>), Refusal> {
        let unknown = || Refusal::naming(format!("unknown name: {name}"));
        let key: AnyName = name.parse().map_err(|_| unknown())?;
        let records = self.house.shared.shelf.get(name).ok_or_else(unknown)?;
        if !is_permanent(&records) {
            return Err(leased(name));
        }
        Ok((key, records.iter().map(PackedRecord::epoch).collect()))
    }

    fn may_change(&self) -> Result<(), Refusal> {
        match self.house.mode {
            PyroMode::On => Ok(()),
            PyroMode::ReadOnly | PyroMode::Off => {
                Err(Refusal::naming("name server is read-only for Pyro clients"))
            }
        }
    }
}

fn refusal(register: &Register, error: RegisterError) -> Refusal {
    let name = &register.name;
    match error {
        RegisterError::Held { .. } | RegisterError::SharingMismatch { .. } | RegisterError::Reserved
            if register.safe =>
        {
            Refusal::naming(format!("name already registered: {name}"))
        }
        RegisterError::Held { .. } | RegisterError::SharingMismatch { .. } => leased(name),
        RegisterError::QuotaFull { limit } => Refusal::naming(format!("name server is full: {limit} names")),
        RegisterError::Store(error) => cannot_store(error),
        other => Refusal::naming(other.to_string()),
    }
}

fn is_permanent(records: &[PackedRecord]) -> bool {
    records.iter().all(|record| record.view().lifetime == Lifetime::Permanent)
}

fn key(name: &str) -> Result<AnyName, Refusal> {
    name.parse().map_err(|why| match why {
        BadName::Length { .. } => Refusal::naming(why.to_string()),
        BadName::Character { .. } => Refusal::naming("a name holds no NUL"),
    })
}

fn number(count: usize) -> Value<'static> {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn leased(name: &str) -> Refusal {
    Refusal::naming(format!("name is held by a lease: {name}"))
}

fn cannot_store(error: StoreError) -> Refusal {
    let StoreError::Down { why, .. } = error;
    Refusal::naming(format!("name server cannot store: {why}"))
}
