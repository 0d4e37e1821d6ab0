//! A record of ours as Pyro programs see it: a URI and tags.

use std::borrow::Cow;
use std::collections::BTreeSet;

use common::names::{PackedRecord, Readiness, RecordRef, Standing, TargetRef};

use super::frame::Dialect;
use super::name_server::{Filter, NAME_SERVER};
use super::pattern::TooExpensive;
use super::uri::Uri;
use super::value::Value;

/// What stands under one name.
#[derive(Clone, Debug)]
pub struct View<'r> {
    record: RecordRef<'r>,
    dialect: Dialect,
    /// Our own URI, as this client reaches us.
    own: &'r str,
}

impl<'r> View<'r> {
    /// Of the record that a listing shows: under a shared name always the same one, the lowest instance.
    pub fn listed(records: &'r [PackedRecord], dialect: Dialect, own: &'r str) -> Option<Self> {
        let record = records.iter().min_by_key(|record| record.instance())?;
        Some(Self { record: record.view(), dialect, own })
    }

    /// Of the record that a lookup shows: under a shared name any of the best, by `chance`.
    pub fn chosen(
        records: &'r [PackedRecord],
        dialect: Dialect,
        own: &'r str,
        chance: usize,
    ) -> Option<Self> {
        // Those that are up and confirmed come first.
        let rank = |record: &RecordRef<'_>| (record.readiness, record.standing);
        let first = records.first()?.view();
        if records.len() == 1 {
            return Some(Self { record: first, dialect, own });
        }
        let best = records.iter().take_while(|record| rank(&record.view()) == rank(&first)).count();
        Some(Self { record: records[chance % best].view(), dialect, own })
    }

    fn is_ours(&self) -> bool {
        self.record.name == NAME_SERVER
    }

    /// Its URI's text.
    pub fn uri(&self) -> Cow<'r, str> {
        match &self.record.target {
            _ if self.is_ours() => self.own.into(),
            TargetRef::Pyro { uri } => (*uri).into(),
            TargetRef::Service { address, object, .. } => {
                // A URI must name an object; a service that is the only one at its address has no name for it.
                let object = if object.is_empty() { self.record.name } else { object };
                format!("PYRO:{object}@{address}").into()
            }
        }
    }

    /// Its tags, in their order.
    pub fn tags(&self) -> BTreeSet<Cow<'r, str>> {
        let record = &self.record;
        if self.is_ours() {
            let class = match self.dialect {
                Dialect::Four => "class:Pyro4.naming.NameServer",
                Dialect::Five => "class:Pyro5.nameserver.NameServer",
            };
            return BTreeSet::from([class.into()]);
        }
        let mut tags: BTreeSet<Cow<'r, str>> = record.tags.iter().copied().map(Cow::from).collect();
        if let TargetRef::Service { contract, .. } = &record.target {
            tags.insert(format!("contract:{contract}").into());
        }
        if record.readiness == Readiness::Draining {
            tags.insert("state:draining".into());
        }
        if record.standing == Standing::Unconfirmed {
            tags.insert("state:unconfirmed".into());
        }
        tags
    }

    /// The tags as this dialect's clients take them.
    pub fn tags_value(&self) -> Value<'r> {
        let tags = self.tags().into_iter().map(Value::Text).collect();
        match self.dialect {
            Dialect::Four => Value::List(tags),
            Dialect::Five => Value::Set(tags),
        }
    }

    /// Whether `filter` takes it.
    ///
    /// # Errors
    /// When that takes too long to find out.
    pub fn is_taken(&self, filter: &Filter) -> Result<bool, TooExpensive> {
        Ok(match filter {
            Filter::All => true,
            Filter::Nothing => false,
            Filter::Prefix(prefix) => self.record.name.starts_with(&**prefix),
            Filter::Matching(pattern) => pattern.matches(self.record.name)?,
            Filter::AllOf(wanted) => {
                let tags = self.tags();
                wanted.iter().all(|tag| tags.contains(&**tag))
            }
            Filter::AnyOf(wanted) => {
                let tags = self.tags();
                wanted.iter().any(|tag| tags.contains(&**tag))
            }
        })
    }
}

/// A URI as clients rebuild it.
pub fn uri_value(uri: &Uri, dialect: Dialect) -> Value<'_> {
    let class = match dialect {
        Dialect::Four => "Pyro4.core.URI",
        Dialect::Five => "Pyro5.core.URI",
    };
    Value::Map(vec![(Value::text("__class__"), Value::text(class)), (Value::text("state"), uri.to_state())])
}
