//! The group's record, asked of the name server: calls in, events out.

use std::time::Duration;

use common::directory::{NameError, Names};
use common::replication::{ConfigVersion, GossipConfig, GroupName, Member, Proposer};
use common::rpc::name_service::{Config, GroupChange, GroupError};
use tokio::sync::watch;

use super::Event;

/// How long the name server has for an answer; it may have to fsync.
const WITHIN: Duration = Duration::from_secs(1);

/// Waits for the next record that the watch shows; for ever when it has ended.
pub(super) async fn newer(records: &mut watch::Receiver<Option<Config>>) -> GossipConfig {
    loop {
        if records.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        let config = records.borrow_and_update().clone();
        if let Some(config) = config.and_then(Config::gossip) {
            return config;
        }
    }
}

/// Waits until the name server's record has become older than ours, or is so no more; for ever when nobody can tell.
pub(super) async fn turned(regressed: &mut watch::Receiver<bool>) {
    if regressed.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Asks which record stands.
pub(super) async fn read(names: &Names, group: GroupName, known: Option<ConfigVersion>) -> Event {
    match names.read_group(group, known, WITHIN).await {
        Ok(record) => Event::Members(record.and_then(Config::gossip)),
        Err(error) => told(error),
    }
}

/// Proposes `next`.
pub(super) async fn propose(names: &Names, by: Member, next: GossipConfig) -> Event {
    let expect = Some(ConfigVersion(next.version.0 - 1)).filter(|version| version.0 > 0);
    let change = GroupChange { expect, new: Config::Gossip(next), by: Proposer::Member(by) };
    match names.change_group(change, WITHIN).await {
        Ok(record) => Event::Members(record.gossip()),
        Err(error) => told(error),
    }
}

/// What an error about the group's record tells.
fn told(error: NameError<GroupError>) -> Event {
    match error {
        NameError::Answer(GroupError::Conflict { current }) => {
            Event::Members(current.and_then(Config::gossip))
        }
        NameError::Answer(error @ (GroupError::Regressed { .. } | GroupError::WrongCluster { .. })) => {
            tracing::warn!(%error, "the name server's record is not the one that this disk belongs to");
            // Its group is not ours, as if there were none.
            Event::Members(None)
        }
        error => {
            tracing::debug!(%error, "the name server did not say who the members are");
            Event::NoMembers
        }
    }
}
