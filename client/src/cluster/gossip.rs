//! How a gossip group is, given what everybody said of it; and what an operator may change in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::directory::NameError;
use common::names::LogicalName;
use common::replication::{ConfigVersion, GossipConfig, GroupName, Proposer, ReplicaId, VectorTimestamp};
use common::rpc::gossip::Status;
use common::rpc::limits::REPLICA;
use common::rpc::name_service::{Config, GroupChange, GroupError};
use common::rpc::replica::{GossipStatus, OLD_COPY, OperatorError};
use common::rpc::transport::within;
use tarpc::client::RpcError;

use super::assess::{Asked, Seen, by_name, millis};
use super::{Lookout, PATIENCE};
use crate::ask::Prompts;
use crate::errors::{Code, Failure};
use crate::grammar::{Global, replica_name};
use crate::objects::{self, Group, Health, Member};
use crate::output::{Ended, Output};

/// A member that is taken out gives away first what only it has.
const REMOVED_WITHIN: Duration = Duration::from_secs(10);

/// The state of one group.
pub(super) fn group(name: &GroupName, config: Option<&GossipConfig>, seen: &Seen) -> Group {
    let answers: Vec<(&Asked, &GossipStatus)> = seen
        .replicas
        .iter()
        .flat_map(|asked| asked.gossip.iter().flatten().map(move |member| (asked, member)))
        .filter(|(_, member)| member.service == *name)
        .collect();
    // A replica may know of a change before the name server has told us.
    let configs = answers.iter().map(|(_, member)| &member.members).filter(|config| config.version.0 > 0);
    let config = configs.chain(config).max_by_key(|config| config.version);
    let active: BTreeSet<ReplicaId> = config.map(|config| config.active.clone()).unwrap_or_default();
    let mut most = VectorTimestamp::default();
    for (_, member) in &answers {
        most.merge(&member.applied);
    }

    let mut members: BTreeMap<ReplicaId, Member> = BTreeMap::new();
    for (asked, member) in &answers {
        let id = member.member.id;
        members.insert(id, present(asked, member, config, &most));
    }
    let known = || answers.iter().flat_map(|(_, member)| &member.known);
    for &id in &active {
        let silent = seen.replicas.iter().find(|asked| asked.ids.get(name) == Some(&id));
        let told = known().find(|known| known.member.id == id).map(|known| known.name.to_string());
        members.entry(id).or_insert_with(|| Member {
            name: silent.map(|asked| asked.name.to_string()).or(told).unwrap_or_else(|| "-".into()),
            replica_id: Some(id.to_string()),
            status: "gone",
            address: silent.map(|asked| asked.address.to_string()),
            seen_ms: known()
                .filter(|known| known.member.id == id)
                .filter_map(|known| known.heard)
                .min()
                .map(millis),
            ..Member::default()
        });
    }
    let mut members: Vec<Member> = members.into_values().collect();
    members.sort_by(|a, b| by_name(&a.name).cmp(&by_name(&b.name)));
    let serves = config.is_some_and(|config| answers.iter().any(|(_, member)| member.serves(config)));
    let health = match () {
        () if !serves => Health::Unavailable,
        () if members.iter().all(Member::is_good) => Health::Healthy,
        () => Health::Degraded,
    };
    Group {
        service: name.to_string(),
        kind: "gossip",
        health,
        version: config.map(|config| config.version.0),
        epoch: None,
        min_in_sync: None,
        needs_adoption: members.iter().any(|member| member.trouble.contains("cluster adopt")),
        members,
        committed: None,
    }
}

fn present(
    asked: &Asked,
    member: &GossipStatus,
    config: Option<&GossipConfig>,
    most: &VectorTimestamp,
) -> Member {
    let active = config.is_some_and(|config| config.active.contains(&member.member.id));
    let all: u64 = most.seen.values().sum();
    let have: u64 = most.seen.iter().map(|(id, most)| member.applied.get(*id).min(*most)).sum();
    Member {
        name: asked.name.to_string(),
        replica_id: Some(member.member.id.to_string()),
        role: active.then_some("member"),
        status: if asked.draining { "draining" } else { member.status.as_str() },
        address: Some(asked.address.to_string()),
        in_sync: config.is_some_and(|config| member.is_in_sync(config)),
        behind: Some(all - have),
        state_hash: Some(member.digest.to_string()),
        vector: Some(member.applied.seen.iter().map(|(id, count)| (id.to_string(), *count)).collect()),
        log: Some(member.log),
        gossip_age_ms: member.heard.map(millis),
        uptime_ms: Some(millis(member.uptime)),
        stranded: member.stranded,
        trouble: member.trouble.clone(),
        ..Member::default()
    }
}

/// Sets whether a replica takes calls about ratings.
pub(super) async fn set(
    output: Output,
    lookout: &mut Lookout,
    name: &LogicalName,
    status: Status,
) -> Result<(), Ended> {
    lookout.until_known(PATIENCE * 5).await?;
    let replica = lookout.replica(name).ok_or_else(|| unknown(name.as_str()))?;
    let before = settled(name, replica.set_status(within(REPLICA, PATIENCE * 2), status).await)?;
    let (from, to) = (before.as_str(), status.as_str());
    let object = objects::StatusSet { name: name.to_string(), from, to };
    output.one(&object, |_| {
        if before == status {
            format!("Server status was {to} already: {name}")
        } else {
            format!("Server status changed from {from} to {to}: {name}")
        }
    })
}

/// Takes a member out of every gossip group for good; the replica ends, if it lives.
pub(super) async fn remove(
    output: Output,
    lookout: &mut Lookout,
    prompts: &Prompts,
    global: &Global,
    wanted: &str,
) -> Result<(), Ended> {
    lookout.until_known(PATIENCE * 5).await?;
    let seen = lookout.look(PATIENCE * 2).await;
    let mut leaving = Vec::new();
    for (group, _) in &seen.gossip {
        let members = self::group(group, None, &seen).members;
        let named = replica_name(wanted).map(|name| name.to_string()).unwrap_or_default();
        let is_meant = |member: &Member| {
            member.name == named || member.replica_id.as_deref() == Some(wanted) || member.name == wanted
        };
        leaving.extend(members.into_iter().filter(is_meant).map(|member| (group.clone(), member)));
    }
    let Some((_, first)) = leaving.first() else { return Err(unknown(wanted).into()) };
    let alive = first.status != "gone";
    let last =
        if alive { "It gives away what only it has, and ends." } else { "What only its disk has is lost." };
    let question = format!("Take {wanted} out of the ratings for good? {last}");
    prompts.agree(global, &question).await?;
    for (group, member) in leaving {
        let id: ReplicaId =
            member.replica_id.as_deref().and_then(|id| id.parse().ok()).expect("we printed it");
        // Who lives goes itself; of who is gone another one tells.
        let others = seen.replicas.iter().filter(|asked| asked.gossip.is_some());
        let by = others
            .filter(|asked| (asked.ids.get(&group) == Some(&id)) == alive)
            .find_map(|asked| Some((asked.name.clone(), lookout.replica(&asked.name)?)));
        let Some((name, replica)) = by else {
            return Err(Failure::new(Code::NoPrimary, "no other member answers").into());
        };
        settled(&name, replica.leave(within(REPLICA, REMOVED_WITHIN), group, id).await)?;
    }
    output.one(&objects::Done::YES, |_| format!("{wanted} was taken out of the ratings for good."))
}

/// Has a name server that lost the group's record, or has an old one, keep the newest that its members know.
pub(super) async fn adopt(
    output: Output,
    lookout: &mut Lookout,
    prompts: &Prompts,
    global: &Global,
    group: &GroupName,
) -> Result<(), Ended> {
    lookout.until_known(PATIENCE * 5).await?;
    let seen = lookout.look(PATIENCE * 2).await;
    let members = seen.replicas.iter().flat_map(|asked| asked.gossip.iter().flatten());
    let members: Vec<&GossipStatus> = members.filter(|member| member.service == *group).collect();
    let known = members.iter().map(|member| &member.members).filter(|config| config.version.0 > 0);
    let Some(newest) = known.max_by_key(|config| config.version) else {
        let failure =
            Failure::new(Code::GroupUnknown, format!("no replica that answers is a member of {group}"));
        return Err(failure.hint("start those that were, with their data directories").into());
    };
    let (stored, shown) = match lookout.names.read_group(group.clone(), None, PATIENCE).await {
        Ok(record) => {
            let version = record.map(|record| record.version());
            (version, version.unwrap_or_default())
        }
        Err(NameError::Answer(GroupError::Regressed { stored, seen })) => (stored, seen),
        Err(error) => return Err(not_installed(&error.to_string()).into()),
    };
    if let Some(stored) = stored.filter(|stored| *stored >= newest.version.max(shown)) {
        let old: Vec<&LogicalName> =
            members.iter().filter(|member| member.trouble == OLD_COPY).map(|member| &member.name).collect();
        if !old.is_empty() {
            return accept(output, lookout, prompts, global, (group, stored), &old).await;
        }
        let text = format!("The name server's record of {group} is the newest already.");
        return output.one(&objects::Done::YES, |_| text);
    }
    let heard = |id: &&ReplicaId| members.iter().any(|member| member.member.id == **id);
    let silent: Vec<String> = newest.active.iter().filter(|id| !heard(id)).map(ToString::to_string).collect();
    output.plead(|_| match silent.as_slice() {
        [] => format!("All {} members of {group} answer.", newest.active.len()),
        silent => format!(
            "Not heard: {}. If one of them knows of later changes, they are undone.",
            silent.join(", ")
        ),
    });
    prompts.agree(global, &format!("Keep the record that they know ({})?", newest.version)).await?;
    let version = newest.version.max(shown).next();
    let next = GossipConfig { version, ..newest.clone() };
    let change = GroupChange { expect: stored, new: Config::Gossip(next), by: Proposer::Operator };
    match lookout.names.change_group(change, PATIENCE).await {
        Ok(_) => {
            output.one(&objects::Done::YES, |_| format!("The name server keeps the record of {group} again."))
        }
        Err(error) => Err(not_installed(&error.to_string()).into()),
    }
}

/// Has members serve whose disks are old copies, since nobody is left who has more.
async fn accept(
    output: Output,
    lookout: &mut Lookout,
    prompts: &Prompts,
    global: &Global,
    (group, stored): (&GroupName, ConfigVersion),
    old: &[&LogicalName],
) -> Result<(), Ended> {
    let names = old.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    output.plead(|_| {
        format!("{names} lacks updates of {group} that were acknowledged; they are lost with this.")
    });
    prompts.agree(global, &format!("Go on with what {names} has?")).await?;
    for &name in old {
        let replica = lookout.replica(name).ok_or_else(|| unknown(name.as_str()))?;
        settled(name, replica.adopted(within(REPLICA, PATIENCE * 2), group.clone(), stored).await)?;
    }
    output.one(&objects::Done::YES, |_| format!("{names} serves {group} again."))
}

fn not_installed(why: &str) -> Failure {
    Failure::new(Code::StoreDown, format!("the record was not installed: {why}"))
        .hint("client cluster adopt again")
}

fn unknown(name: &str) -> Failure {
    Failure::new(Code::ReplicaUnknown, format!("no replica {name}")).hint("client cluster status")
}

fn settled<T>(name: &LogicalName, told: Result<Result<T, OperatorError>, RpcError>) -> Result<T, Failure> {
    match told {
        Ok(Ok(told)) => Ok(told),
        Ok(Err(error @ OperatorError::Denied)) => {
            Err(Failure::new(Code::Denied, error.to_string()).hint("the same command on that machine"))
        }
        Ok(Err(error @ (OperatorError::UnknownMember { .. } | OperatorError::UnknownService { .. }))) => {
            Err(Failure::new(Code::ReplicaUnknown, format!("{name}: {error}")).hint("client cluster status"))
        }
        Ok(Err(error @ OperatorError::Draining)) => {
            Err(Failure::new(Code::NoPrimary, format!("{name}: {error}")).hint("client cluster status"))
        }
        Err(error) => Err(Failure::new(Code::NoPrimary, format!("{name} does not answer: {error}"))
            .hint("client cluster status")),
    }
}
