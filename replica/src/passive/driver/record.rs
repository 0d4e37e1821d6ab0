//! The group's record, asked of the name server: calls in, events out.

use std::time::Duration;

use common::directory::{NameError, Names};
use common::replication::{ConfigVersion, GroupConfig, GroupName, Member, Proposer};
use common::rpc::name_service::{Config, GroupChange, GroupError, StoreError};
use tokio::sync::watch;

use super::Event;

/// How long the name server has for an answer; it may have to fsync.
const WITHIN: Duration = Duration::from_secs(1);

/// Waits for the next record that the watch shows; for ever when it has ended.
pub(super) async fn newer(records: &mut watch::Receiver<Option<Config>>) -> GroupConfig {
    loop {
        if records.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        if let Some(Config::Passive(config)) = &*records.borrow_and_update() {
            return config.clone();
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
        Ok(record) => Event::Record(record.and_then(Config::passive)),
        Err(NameError::Answer(error)) => told(error),
        Err(NameError::Call(error)) => {
            tracing::debug!(%error, "the name server did not say which record stands");
            Event::NoRecord
        }
    }
}

/// Proposes `next`.
pub(super) async fn propose(names: &Names, me: Member, next: GroupConfig) -> Event {
    let expect = Some(ConfigVersion(next.version.0 - 1)).filter(|version| version.0 > 0);
    let group = next.group.clone();
    let change = GroupChange { expect, new: Config::Passive(next), by: Proposer::Member(me) };
    match names.change_group(change, WITHIN).await {
        Ok(record) => Event::Record(record.passive()),
        Err(NameError::Answer(error @ (GroupError::Refused(_) | GroupError::Denied))) => {
            tracing::error!(%group, %error, "the name server refuses a change by its rules");
            // What stands now says whether it still matters.
            read(names, group, expect).await
        }
        Err(NameError::Answer(error)) => told(error),
        Err(NameError::Call(error)) => {
            tracing::debug!(%error, "the name server did not say what came of a change");
            Event::NoRecord
        }
    }
}

/// What an error about the group's record tells.
fn told(error: GroupError) -> Event {
    match error {
        GroupError::Conflict { current } => Event::Record(current.and_then(Config::passive)),
        GroupError::Regressed { .. } | GroupError::WrongCluster { .. } => {
            tracing::error!(%error, "the name server's record is not the one that this disk belongs to");
            Event::RecordRegressed
        }
        GroupError::Store(StoreError::Down { ref why, retry_in }) => {
            tracing::warn!(why, "the name server cannot store a change");
            Event::AskAgainIn(retry_in)
        }
        GroupError::Refused(_) | GroupError::Denied => {
            tracing::warn!(%error, "the name server did not settle a change");
            Event::NoRecord
        }
    }
}
