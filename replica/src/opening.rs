//! Opening a member of a gossip group: its file, or a new one, and its driver.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use common::clock::Clock;
use common::directory::Names;
use common::ids::{ClusterId, InstanceId};
use common::names::LogicalName;
use common::replication::ReplicaId;
use common::services::CausalServed;

use crate::config::Config;
use crate::disk::file::{Contents, FileError, Found, GroupFile, Identity, Place};
use crate::gossip::driver::mailbox::Group;
use crate::gossip::driver::{Driver, NotStarted, Parts, Shown};
use crate::gossip::{Limits, OldLog, Planted, Setup, Stored};
use crate::links::Links;
use crate::{Failure, put_aside};

/// A member's file as it was found, or what can be kept of a damaged one.
pub(crate) enum Opened {
    Member(GroupFile, Box<Contents<Stored>>),
    Nothing(Option<OldLog>),
}

/// What is the same for all groups of the process.
pub(crate) struct Process<'a> {
    pub(crate) config: &'a Config,
    pub(crate) name: &'a LogicalName,
    pub(crate) address: SocketAddr,
    pub(crate) cluster: ClusterId,
    pub(crate) boot: InstanceId,
    pub(crate) clock: Clock,
    pub(crate) names: &'a Names,
    pub(crate) links: &'a Rc<Links>,
    pub(crate) planted: Planted,
}

impl Opened {
    /// Reads what stands in a group's place; what may not be served is put aside, after its log was saved as far as it
    /// can be read.
    pub(crate) fn look_into(place: &Place) -> Result<Self, FileError> {
        match place.open::<Stored>()? {
            Found::Nothing => Ok(Self::Nothing(None)),
            Found::Member(file, contents) => Ok(Self::Member(file, contents)),
            Found::Damaged(why) => Self::save(place, &why),
        }
    }

    fn save(place: &Place, why: &str) -> Result<Self, FileError> {
        let old = place.salvage();
        put_aside(place, why)?;
        Ok(Self::Nothing(old))
    }

    /// The cluster that its file was formatted for.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        match self {
            Self::Member(_, contents) => Some(contents.identity.cluster),
            Self::Nothing(_) => None,
        }
    }

    /// Starts a driver on it, or on a new file if this one makes no member. Where other members listened when last seen
    /// goes to `hints`.
    pub(crate) fn start(
        self,
        process: &Process<'_>,
        service: CausalServed,
        place: &Place,
        hints: &mut VecDeque<SocketAddr>,
    ) -> Result<(Group, Driver, Shown), Failure> {
        let Process { config, name, address, cluster, boot, clock, names, links, planted } = *process;
        let mut opened = self;
        loop {
            let (file, identity, stored, known) = match opened {
                Self::Member(file, contents) => {
                    let Contents { identity, stored, notes } = *contents;
                    hints.extend(notes.addresses);
                    (file, identity, stored, notes.names)
                }
                Self::Nothing(old) => {
                    let identity = Identity { cluster, replica: ReplicaId::random() };
                    let file = place.format_after(identity, old.as_ref())?;
                    (file, identity, Stored { old, ..Stored::default() }, BTreeMap::new())
                }
            };
            let setup = Setup {
                cluster,
                group: place.group.clone(),
                me: identity.replica,
                address,
                service,
                first: config.first,
                limits: Limits {
                    ack_after: config.ack_after.into(),
                    gossip_every: config.gossip_interval,
                    overload_rate: config.overload_rate,
                    ..Limits::default()
                },
                seed: config.overload_seed.unwrap_or_else(rand::random),
                planted,
            };
            let (group, mailbox) = Group::new(place.group.clone(), clock);
            let (name, names, links) = (name.clone(), names.clone(), links.clone());
            let place = place.clone();
            let parts =
                Parts { setup, name, boot, stored, known, file, place: place.clone(), clock, names, links };
            match Driver::new(parts, mailbox) {
                Ok((driver, shown)) => return Ok((group, driver, shown)),
                Err(NotStarted::NoThread(error)) => return Err(error.into()),
                Err(NotStarted::Damaged { why }) => opened = Self::save(&place, &why)?,
            }
        }
    }
}
