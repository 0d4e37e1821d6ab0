//! What a cluster's state is, given what everybody said of it.

use std::collections::BTreeMap;
use std::time::Duration;

use common::names::{Address, LogicalName};
use common::replication::{GossipConfig, GroupConfig, GroupName, ReplicaId};
use common::rpc::replica::{GossipStatus, MemberStatus, Role, Waits};

use super::gossip;
use crate::objects::{FrontEnd, Group, Health, Member, Status};

/// What everybody said.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Every group with a primary, with the configuration that the name server knows.
    pub(super) groups: Vec<(GroupName, Option<GroupConfig>)>,
    /// Every gossip group, likewise.
    pub(super) gossip: Vec<(GroupName, Option<GossipConfig>)>,
    /// Every registered front end.
    pub(super) front_ends: Vec<FrontEnd>,
    /// Every registered replica.
    pub(super) replicas: Vec<Asked>,
}

/// A registered replica, and what it said.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Its name.
    pub(super) name: LogicalName,
    /// Where it listens.
    pub(super) address: Address,
    /// Whether it is leaving.
    pub(super) draining: bool,
    /// Its disks, by group.
    pub(super) ids: BTreeMap<GroupName, ReplicaId>,
    /// `None`: nothing.
    pub(super) answer: Option<Vec<MemberStatus>>,
    /// Of its gossip groups; `None`: nothing.
    pub(super) gossip: Option<Vec<GossipStatus>>,
}

/// The state of everything; the name servers are left out.
pub(super) fn assess(seen: &Seen) -> Status {
    let passive = seen.groups.iter().map(|(name, config)| group(name, config.as_ref(), seen));
    let gossip = seen.gossip.iter().map(|(name, config)| gossip::group(name, config.as_ref(), seen));
    let groups: Vec<Group> = passive.chain(gossip).collect();
    Status {
        health: groups.iter().map(|group| group.health).max().unwrap_or(Health::Unavailable),
        name_servers: vec![],
        front_ends: seen.front_ends.clone(),
        groups,
    }
}

/// Whether every group serves with `replicas` members in sync (all known ones when `None`), all of which have applied
/// what was committed when this was first asked; `wanted` remembers that.
pub(super) fn ready(status: &Status, replicas: Option<usize>, wanted: &mut BTreeMap<String, u64>) -> bool {
    // Every group is looked at, so that each one's index is remembered from the first look.
    let ready = status.groups.iter().map(|group| {
        if group.kind == "gossip" {
            let good = group.members.iter().filter(|member| member.is_good()).count();
            // Whoever wants one wants no other to have been heard.
            let one = replicas == Some(1) && group.health != Health::Unavailable;
            return one || good >= replicas.unwrap_or(group.members.len()).max(1);
        }
        let Some(committed) = group.committed else { return false };
        let wanted = *wanted.entry(group.service.clone()).or_insert(committed);
        let good =
            |member: &&Member| member.in_sync && member.status == "online" && member.applied >= Some(wanted);
        let good = group.members.iter().filter(good).count();
        group.health != Health::Unavailable && good >= replicas.unwrap_or(group.members.len()).max(1)
    });
    ready.filter(|ready| !ready).count() == 0 && !status.groups.is_empty()
}

fn group(name: &GroupName, config: Option<&GroupConfig>, seen: &Seen) -> Group {
    let answers: Vec<(&Asked, &MemberStatus)> = seen
        .replicas
        .iter()
        .flat_map(|asked| asked.answer.iter().flatten().map(move |member| (asked, member)))
        .filter(|(_, member)| member.service == *name)
        .collect();
    // A replica may know of an election before the name server has told us.
    let configs = answers.iter().filter_map(|(_, member)| member.config.as_ref()).chain(config);
    let config = configs.max_by_key(|config| config.version);
    let primary = answers.iter().map(|(_, member)| *member).find(|member| {
        member.role == Role::Primary && config.is_some_and(|config| config.primary == member.member)
    });

    let in_sync = |id: ReplicaId| config.is_some_and(|config| config.in_sync.contains(id));
    let mut members: BTreeMap<ReplicaId, Member> = BTreeMap::new();
    for (asked, member) in &answers {
        let id = member.member.id;
        members.insert(id, present(asked, member, in_sync(id), primary));
    }
    let heard = |id: ReplicaId| {
        let known = answers.iter().flat_map(|(_, member)| &member.known);
        known.filter(|known| known.member.id == id).filter_map(|known| known.heard).min()
    };
    let gone = |id: ReplicaId, name: &str, address: Option<String>| Member {
        name: name.into(),
        replica_id: Some(id.to_string()),
        status: "gone",
        address,
        in_sync: in_sync(id),
        seen_ms: heard(id).map(millis),
        ..Member::default()
    };
    for asked in seen.replicas.iter().filter(|asked| asked.answer.is_none()) {
        if let Some(&id) = asked.ids.get(name) {
            members
                .entry(id)
                .or_insert_with(|| gone(id, asked.name.as_str(), Some(asked.address.to_string())));
        }
    }
    for known in answers.iter().flat_map(|(_, member)| &member.known) {
        let id = known.member.id;
        // A wiped disk is a new member under the same name; the old one is missed only while it is in sync.
        let replaced = members.values().any(|member| member.name == known.name.as_str());
        if !replaced || in_sync(id) {
            members.entry(id).or_insert_with(|| gone(id, known.name.as_str(), None));
        }
    }
    for id in config.iter().flat_map(|config| config.in_sync.iter()) {
        members.entry(id).or_insert_with(|| gone(id, "-", None));
    }
    let mut members: Vec<Member> = members.into_values().collect();
    members.sort_by(|a, b| by_name(&a.name).cmp(&by_name(&b.name)));

    let serves = primary.zip(config).is_some_and(|(primary, config)| primary.serves(config));
    let health = match () {
        () if !serves => Health::Unavailable,
        () if members.iter().all(Member::is_good) => Health::Healthy,
        () => Health::Degraded,
    };
    Group {
        service: name.to_string(),
        kind: "passive",
        health,
        version: config.map(|config| config.version.0),
        epoch: config.map(|config| config.epoch.0),
        min_in_sync: config.map(|config| config.min_in_sync),
        members,
        needs_adoption: answers.iter().any(|(_, member)| member.waits == Some(Waits::Contradicted)),
        committed: primary.map(|primary| primary.committed.0),
    }
}

fn present(asked: &Asked, member: &MemberStatus, in_sync: bool, primary: Option<&MemberStatus>) -> Member {
    Member {
        name: asked.name.to_string(),
        replica_id: Some(member.member.id.to_string()),
        role: match member.role {
            Role::Primary => Some("primary"),
            Role::Backup => Some("backup"),
            Role::Learner => Some("learner"),
            Role::Waiting => None,
        },
        status: if asked.draining { "draining" } else { "online" },
        address: Some(asked.address.to_string()),
        in_sync,
        index: Some(member.last.index.0),
        applied: Some(member.applied.0),
        behind: primary.map(|primary| primary.committed.0.saturating_sub(member.applied.0)),
        state_hash: Some(format!("{:016x}", member.state_hash)),
        uptime_ms: Some(millis(member.uptime)),
        trouble: member.trouble.clone(),
        epoch: member.config.as_ref().map(|config| config.epoch.0),
        ..Member::default()
    }
}

/// `replica.2` comes before `replica.10`.
pub(super) fn by_name(name: &str) -> (&str, u64, &str) {
    let digits = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
    (&name[..digits], name[digits..].parse().unwrap_or(0), name)
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
