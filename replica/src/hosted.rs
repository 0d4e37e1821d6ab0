//! The groups that a process hosts, of either kind, as far as the rest of it treats them alike.

use std::net::SocketAddr;

use common::names::LogicalName;
use common::replication::{GroupName, Member};
use common::rpc::peer::Hello;

use crate::{gossip, meters, passive};

/// A member, as the name server lists it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Which disk, which boot.
    pub member: Member,
    /// The name it is registered under.
    pub name: LogicalName,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The way to a group's driver.
#[derive(Clone, Debug)]
pub enum Hosted {
    /// One that orders its commands.
    Passive(passive::driver::mailbox::Group),
    /// One that takes updates anywhere.
    Gossip(gossip::driver::mailbox::Group),
}

impl Hosted {
    /// Which group.
    pub fn name(&self) -> &GroupName {
        match self {
            Self::Passive(group) => group.name(),
            Self::Gossip(group) => group.name(),
        }
    }

    /// How this replica presents itself now; `None` when it is closing.
    pub async fn hello(&self) -> Option<Hello> {
        match self {
            Self::Passive(group) => group.hello().await,
            Self::Gossip(group) => group.hello().await,
        }
    }

    /// A connection to a peer is up, and it presented itself so.
    pub async fn met(&self, hello: Hello) {
        match self {
            Self::Passive(group) => group.met(hello).await,
            Self::Gossip(group) => group.met(hello).await,
        }
    }

    /// The socket where this member listened refuses.
    pub async fn refused(&self, member: Member) {
        match self {
            Self::Passive(group) => group.refused(member).await,
            // Nobody is replaced for that; what was sent there has failed.
            Self::Gossip(_) => {}
        }
    }

    /// The name server lists these members.
    pub async fn listed(&self, members: Vec<Listed>) {
        match self {
            Self::Passive(group) => group.listed(members).await,
            Self::Gossip(group) => group.listed(members).await,
        }
    }

    /// Why it does not take part, in words, empty when it does; `None` when it is closing. The numbers of how it is are
    /// written down on the way.
    pub async fn trouble(&self) -> Option<String> {
        match self {
            Self::Passive(group) => group.status().await.map(|status| status.trouble),
            Self::Gossip(group) => {
                let status = group.status().await?;
                meters::gossip_is(&status);
                Some(status.trouble)
            }
        }
    }

    /// Hands over, or gives away what only it has; returns when nothing is left to wait for.
    pub async fn stop(&self) {
        match self {
            Self::Passive(group) => group.stop().await,
            Self::Gossip(group) => group.stop().await,
        }
    }

    /// Closes the disk and ends the driver.
    pub async fn close(&self) {
        match self {
            Self::Passive(group) => group.close().await,
            Self::Gossip(group) => group.close().await,
        }
    }
}
