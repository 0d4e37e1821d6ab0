//! `cluster adopt` and `cluster force-elect`: asks everybody, says what may be lost, and installs a record when a
//! person agrees.
//!
//! Each replica first drops what it asked of the name server and has not read: an answer of a lost future must not
//! arrive when another record of its version stands. What each says after that is what is decided on.

use std::collections::BTreeMap;
use std::time::Duration;

use common::clock::Clock;
use common::directory::NameError;
use common::ids::ClusterId;
use common::names::{Address, LogicalName};
use common::replication::{Epoch, FORCED_AHEAD, GroupConfig, GroupName, Proposer, ReplicaId};
use common::rpc::limits::REPLICA;
use common::rpc::name_service::{Config, GroupChange, GroupError};
use common::rpc::replica::{MemberStatus, ReplicaClient};
use common::rpc::transport::{Reconnecting, within};
use futures::future::join_all;
use serde::Serialize;

use super::decide::{Decision, Heard, Stored, Voice, Wish};
use super::{Lookout, PATIENCE, Replica};
use crate::ask::Prompts;
use crate::errors::{Code, Failure};
use crate::grammar::Global;
use crate::output::{Ended, Output};

/// How often a record is proposed anew, above what stands by then.
const PROPOSED_MAX: u32 = 3;
/// Between two looks for those who are missing.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The record that stands, for whoever reads the result.
#[derive(Debug, Serialize)]
struct Standing {
    service: String,
    version: u64,
    epoch: u64,
    in_sync: Vec<String>,
    min_in_sync: u8,
    forced: u64,
}

/// Installs what `wish` asks for.
///
/// # Errors
/// When nobody agrees, when nobody knows the group, or when the name server refuses.
pub(super) async fn run(
    output: Output,
    lookout: &mut Lookout,
    prompts: &Prompts,
    global: &Global,
    group: GroupName,
    wish: Wish,
) -> Result<(), Ended> {
    let timeout = global.timeout.unwrap_or(Duration::from_secs(5));
    lookout.until_known(timeout).await?;
    let replicas = everybody(lookout, &group, timeout).await?;
    let heard = prepare(lookout, &group, &replicas).await?;
    if wish == Wish::Adopt
        && !heard.needs_adoption()
        && let Some(record) = heard.newest()
    {
        output.note("nothing to adopt: the name server has the newest record, and nobody waits");
        return print(output, record);
    }
    let decision = heard.decide(&wish)?;
    output.plead(|screen| heard.account(screen, &wish, &decision));
    prompts.agree(global, "Install this record?").await?;
    let installed = install(lookout, &heard, decision).await?;
    for (name, told) in tell(&replicas, &installed).await {
        if let Err(why) = told {
            output.note(&format!("{name} was not told ({why}); it reads the record by itself, unless it was started with --restored: then the same command again, once it answers"));
        }
    }
    print(output, &installed)
}

fn print(output: Output, record: &GroupConfig) -> Result<(), Ended> {
    let standing = Standing {
        service: record.group.to_string(),
        version: record.version.0,
        epoch: record.epoch.0,
        in_sync: record.in_sync.iter().map(|id| id.to_string()).collect(),
        min_in_sync: record.min_in_sync,
        forced: record.forced.0,
    };
    output.one(&standing, |_| {
        let (service, version, epoch) = (&standing.service, standing.version, standing.epoch);
        format!("{service}: version {version}, epoch {epoch} stands; {} in sync", standing.in_sync.len())
    })
}

/// A replica to ask.
struct Asked {
    name: LogicalName,
    address: Address,
    id: Option<ReplicaId>,
    replica: Replica,
}

impl Asked {
    async fn prepare(&self, group: &GroupName) -> Voice {
        let answer = self.replica.prepare_adoption(within(REPLICA, PATIENCE), group.clone()).await;
        let said = match answer {
            Ok(answer) => answer.map_err(|refused| refused.to_string()),
            Err(error) => Err(common::rpc::transport::CallError::from(error).to_string()),
        };
        Voice { name: self.name.clone(), address: self.address.clone(), id: self.id, said }
    }
}

/// Everybody who is registered, or whom they know. Waits for those in sync, for as long as there is time: after a
/// name server lost its store, its names come back within a third of their time-to-live.
async fn everybody(
    lookout: &mut Lookout,
    group: &GroupName,
    timeout: Duration,
) -> Result<Vec<Asked>, Failure> {
    let clock = Clock::start();
    let until = clock.now() + timeout;
    loop {
        let seen = lookout.look(timeout).await;
        let of_group =
            |members: &[MemberStatus]| members.iter().find(|member| member.service == *group).cloned();
        let answers: Vec<MemberStatus> =
            seen.replicas.iter().filter_map(|asked| of_group(asked.answer.as_deref()?)).collect();
        let newest = answers.iter().filter_map(|member| member.config.as_ref());
        let newest = newest.max_by_key(|config| config.version);
        let all = newest.is_some_and(|newest| {
            newest.in_sync.iter().all(|id| answers.iter().any(|member| member.member.id == id))
        });
        if !all && clock.now() < until {
            lookout.changed(clock.instant(until.min(clock.now() + LOOK_EVERY))).await;
            continue;
        }
        if seen.replicas.is_empty() {
            return Err(Failure::new(Code::NotReady, "no replica is registered at this name server").hint(
                "if it lost its store: start it with --cluster, the id that replicas tell in their ready line and log",
            ));
        }
        let cluster = lookout.names.known_cluster().unwrap_or(ClusterId::UNSTATED);
        let mut asked: BTreeMap<Address, Asked> = BTreeMap::new();
        let mut put = |name: LogicalName, address: Address, id: Option<ReplicaId>| {
            let replica = ReplicaClient::from(Reconnecting::new(address.clone(), REPLICA, cluster));
            asked.entry(address.clone()).or_insert(Asked { name, address, id, replica });
        };
        for replica in &seen.replicas {
            put(replica.name.clone(), replica.address.clone(), replica.ids.get(group).copied());
        }
        for known in answers.iter().flat_map(|member| &member.known) {
            put(known.name.clone(), known.address.into(), Some(known.member.id));
        }
        let mut asked: Vec<Asked> = asked.into_values().collect();
        asked.sort_by(|a, b| a.name.cmp(&b.name));
        return Ok(asked);
    }
}

async fn prepare(lookout: &Lookout, group: &GroupName, replicas: &[Asked]) -> Result<Heard, Failure> {
    let voices = join_all(replicas.iter().map(|asked| asked.prepare(group))).await;
    let stored = match lookout.names.read_group(group.clone(), None, PATIENCE).await {
        Ok(record) => Stored::Record(record.and_then(Config::passive)),
        Err(NameError::Answer(GroupError::Regressed { stored, seen })) => Stored::OlderThan { stored, seen },
        Err(error) => return Err(not_installed(&error)),
    };
    Ok(Heard { group: group.clone(), stored, voices })
}

/// Proposes the record until it stands, each time above what stands instead.
async fn install(lookout: &Lookout, heard: &Heard, decision: Decision) -> Result<GroupConfig, Failure> {
    let Decision { mut next, newest } = decision;
    let mut expect = heard.expect();
    let mut tries = 0;
    loop {
        tries += 1;
        let change = GroupChange { expect, new: Config::Passive(next.clone()), by: Proposer::Operator };
        let error = match lookout.names.change_group(change, PATIENCE).await {
            Ok(Config::Passive(installed)) => return Ok(installed),
            Ok(other) => NameError::Answer(GroupError::Conflict { current: Some(other) }),
            Err(error) => error,
        };
        match &error {
            // Its answer was lost.
            NameError::Call(_) | NameError::Answer(GroupError::Store(_)) if tries < PROPOSED_MAX => {}
            // A copy older than anybody has shown in full: only now it is known what it holds.
            NameError::Answer(GroupError::Conflict { current: Some(Config::Passive(stands)) })
                if tries < PROPOSED_MAX && stands.version <= newest.version =>
            {
                expect = Some(stands.version);
                next.epoch = next.epoch.max(stands.epoch.next());
            }
            NameError::Answer(GroupError::Refused(common::replication::ConfigError::EpochRule))
                if tries < PROPOSED_MAX =>
            {
                next.epoch = Epoch(next.epoch.0 + FORCED_AHEAD);
            }
            _ => return Err(not_installed(&error)),
        }
    }
}

/// Tells everybody that the record stands.
async fn tell(replicas: &[Asked], installed: &GroupConfig) -> Vec<(LogicalName, Result<(), String>)> {
    let one = async |asked: &Asked| {
        let context = within(REPLICA, PATIENCE);
        let told = asked.replica.adopted(context, installed.group.clone(), installed.version).await;
        let told = match told {
            Ok(told) => told.map_err(|refused| refused.to_string()),
            Err(error) => Err(common::rpc::transport::CallError::from(error).to_string()),
        };
        (asked.name.clone(), told)
    };
    join_all(replicas.iter().map(one)).await
}

fn not_installed(error: &NameError<GroupError>) -> Failure {
    let (code, hint) = match error {
        NameError::Answer(GroupError::Denied) => {
            (Code::Denied, "the same command on the name server's own machine")
        }
        NameError::Answer(GroupError::WrongCluster { .. }) => {
            (Code::Incompatible, "start the name server with --cluster, the id that the replicas tell")
        }
        NameError::Answer(GroupError::Conflict { .. } | GroupError::Refused(_)) => {
            (Code::NotReady, "something changed meanwhile: the same command again")
        }
        NameError::Answer(GroupError::Store(_) | GroupError::Regressed { .. }) => {
            (Code::StoreDown, "the same command again")
        }
        NameError::Call(_) => (Code::NoNameServer, "client ns ping"),
    };
    Failure::new(code, format!("the record was not installed: {error}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use common::replication::ConfigError;
    use common::rpc::name_service::StoreError;
    use common::rpc::transport::CallError;

    use super::*;

    #[test]
    fn a_record_that_was_not_installed_is_told_with_what_to_do() {
        let answer = |error| not_installed(&NameError::Answer(error)).code;
        assert_eq!(answer(GroupError::Denied), Code::Denied);
        assert_eq!(answer(GroupError::WrongCluster { ours: ClusterId::UNSTATED }), Code::Incompatible);
        assert_eq!(answer(GroupError::Conflict { current: None }), Code::NotReady);
        assert_eq!(answer(GroupError::Refused(ConfigError::Version)), Code::NotReady);
        let down = StoreError::Down { why: "full".into(), retry_in: Duration::ZERO };
        assert_eq!(answer(GroupError::Store(down)), Code::StoreDown);
        let call = not_installed(&NameError::Call(CallError::ConnectionLost));
        assert_eq!((call.code, call.hint.as_deref()), (Code::NoNameServer, Some("client ns ping")));
    }
}
