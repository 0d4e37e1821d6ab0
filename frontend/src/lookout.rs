//! How the groups are, for the page that shows it: every replica is asked itself, and `assess`, which is a plain
//! function, makes rows of what they said. A front end that reaches nobody still tells what it last knew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::clock::{Clock, Timestamp};
use common::names::Address;
use common::replication::{GroupConfig, GroupName, ReplicaId};
use common::rpc::limits::REPLICA;
use common::rpc::replica::{GossipStatus, MemberStatus, Role};
use common::rpc::transport::within;
use futures::future::join_all;

use crate::courier::{Courier, FailOver};

/// A process that lives answers within this; one that does not is gone for whoever looks.
const PATIENCE: Duration = Duration::from_millis(800);

/// How everything is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Those with a primary, by name.
    pub groups: Vec<GroupLook>,
    /// Those that gossip, by name.
    pub gossip: Vec<GossipLook>,
    /// When it was looked.
    pub at: Timestamp,
}

/// How one group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLook {
    /// Its service.
    pub service: GroupName,
    /// In a word.
    pub health: Health,
    /// The newest record that anybody knows.
    pub config: Option<GroupConfig>,
    /// By name.
    pub members: Vec<MemberLook>,
    /// The last change of its primary, as this front end learnt of it.
    pub fail_over: Option<FailOver>,
}

/// How one group that gossips is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipLook {
    /// Its service.
    pub service: GroupName,
    /// In a word.
    pub health: Health,
    /// Those who answer, by name, and where.
    pub members: Vec<(String, GossipStatus)>,
    /// Those who should: by name, or by their disk's when nobody knows it; and how long ago somebody last heard them.
    pub missing: Vec<(String, Option<Duration>)>,
}

/// How one member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberLook {
    /// Its name, or its disk's when nobody knows it.
    pub name: String,
    /// What it says, when it answers.
    pub status: Option<MemberStatus>,
    /// Where it listens, when that is known.
    pub address: Option<String>,
    /// Whether it is in sync, by the record.
    pub in_sync: bool,
    /// How many entries it has yet to apply of what the primary has committed.
    pub behind: Option<u64>,
    /// How long ago somebody last heard it, when it does not answer.
    pub seen: Option<Duration>,
}

/// Whether a group serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// All of its members are in sync.
    Healthy,
    /// It serves, and somebody is missing.
    Degraded,
    /// It serves nobody.
    Unavailable,
}

impl Health {
    /// As the command line says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Degraded => "DEGRADED",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

impl Look {
    /// Of its groups, the worst.
    pub fn health(&self) -> Health {
        let all = self.groups.iter().map(|group| group.health);
        all.chain(self.gossip.iter().map(|group| group.health)).max().unwrap_or(Health::Unavailable)
    }
}

impl GroupLook {
    /// How many members are in sync and answer.
    pub fn in_sync(&self) -> usize {
        self.members.iter().filter(|member| member.is_good()).count()
    }
}

impl MemberLook {
    /// Whether nothing is missing of it.
    pub fn is_good(&self) -> bool {
        self.in_sync && self.status.as_ref().is_some_and(|status| status.trouble.is_empty())
    }

    /// What it is, in a word.
    pub fn role(&self) -> &'static str {
        match self.status.as_ref().map(|status| status.role) {
            Some(Role::Primary) => "primary",
            Some(Role::Backup) => "backup",
            Some(Role::Learner) => "learner",
            Some(Role::Waiting) => "waiting",
            None => "gone",
        }
    }
}

/// Asks every replica that is known.
pub async fn look(courier: &Courier) -> Look {
    let asked: Vec<Address> = courier.addresses();
    let answers = asked.iter().map(async |address| {
        let answer = courier.replica(address).status(within(REPLICA, PATIENCE)).await;
        (address.to_string(), answer.unwrap_or_default())
    });
    let gossip = asked.iter().map(async |address| {
        let answer = courier.replica(address).gossip_status(within(REPLICA, PATIENCE)).await;
        (address.to_string(), answer.unwrap_or_default())
    });
    let (said, gossip) = tokio::join!(join_all(answers), join_all(gossip));
    let groups = courier.known().into_iter().map(|(service, config)| {
        let fail_over = courier.last_fail_over(&service);
        GroupLook { fail_over, ..assess(&service, config.as_ref(), &said) }
    });
    let gossip = courier.causal().map(|service| assess_gossip(service, &gossip));
    Look { groups: groups.collect(), gossip: gossip.collect(), at: Clock::wall() }
}

/// How a group that gossips is, by what the replicas at these addresses said.
fn assess_gossip(service: &GroupName, said: &[(String, Vec<GossipStatus>)]) -> GossipLook {
    let mut members: Vec<(String, GossipStatus)> = said
        .iter()
        .flat_map(|(address, members)| members.iter().map(move |member| (address.clone(), member.clone())))
        .filter(|(_, member)| member.service == *service)
        .collect();
    members.sort_by(|(_, a), (_, b)| {
        let key = |member: &GossipStatus| (member.name.as_str().len(), member.name.to_string());
        key(a).cmp(&key(b))
    });
    let newest = members.iter().map(|(_, member)| &member.members).max_by_key(|config| config.version);
    let there = |id: &ReplicaId| members.iter().any(|(_, member)| member.member.id == *id);
    let known = || members.iter().flat_map(|(_, member)| &member.known);
    let missing = newest.iter().flat_map(|config| config.active.iter()).filter(|id| !there(id)).map(|id| {
        let told = || known().filter(|known| known.member.id == *id);
        let name = told().next().map_or_else(|| id.to_string(), |known| known.name.to_string());
        (name, told().filter_map(|known| known.heard).min())
    });
    let missing: Vec<_> = missing.collect();
    let is_good = |(_, member): &(String, GossipStatus)| {
        member.trouble.is_empty() && newest.is_some_and(|newest| member.is_in_sync(newest))
    };
    let serves = newest.is_some_and(|newest| members.iter().any(|(_, member)| member.serves(newest)));
    let health = match () {
        () if !serves => Health::Unavailable,
        () if members.iter().all(is_good) && missing.is_empty() => Health::Healthy,
        () => Health::Degraded,
    };
    GossipLook { service: service.clone(), health, members, missing }
}

/// How a group is, by what the replicas at these addresses said; `known` is the record that we know.
fn assess(
    service: &GroupName,
    known: Option<&GroupConfig>,
    said: &[(String, Vec<MemberStatus>)],
) -> GroupLook {
    let answers: Vec<(&String, &MemberStatus)> = said
        .iter()
        .flat_map(|(address, members)| members.iter().map(move |member| (address, member)))
        .filter(|(_, member)| member.service == *service)
        .collect();
    // A replica may know of an election before we do.
    let configs = answers.iter().filter_map(|(_, member)| member.config.as_ref()).chain(known);
    let config = configs.max_by_key(|config| config.version);
    let primary = answers.iter().map(|(_, member)| *member).find(|member| {
        member.role == Role::Primary && config.is_some_and(|config| config.primary == member.member)
    });
    let in_sync = |id: ReplicaId| config.is_some_and(|config| config.in_sync.contains(id));

    let mut members: BTreeMap<ReplicaId, MemberLook> = answers
        .iter()
        .map(|(address, member)| {
            let look = MemberLook {
                name: member.name.to_string(),
                status: Some((*member).clone()),
                address: Some((*address).clone()),
                in_sync: in_sync(member.member.id),
                behind: primary.map(|primary| primary.committed.0.saturating_sub(member.applied.0)),
                seen: None,
            };
            (member.member.id, look)
        })
        .collect();
    let there: BTreeSet<String> = members.values().map(|member| member.name.clone()).collect();
    for other in answers.iter().flat_map(|(_, member)| &member.known) {
        let id = other.member.id;
        // A wiped disk is a new member under the same name; the old one is missed only while it is in sync.
        if there.contains(other.name.as_str()) && !in_sync(id) {
            continue;
        }
        let gone = members.entry(id).or_insert_with(|| MemberLook {
            name: other.name.to_string(),
            status: None,
            address: Some(other.address.to_string()),
            in_sync: in_sync(id),
            behind: None,
            seen: None,
        });
        if gone.status.is_none() {
            gone.seen = gone.seen.into_iter().chain(other.heard).min();
        }
    }
    for id in config.iter().flat_map(|config| config.in_sync.iter()) {
        members.entry(id).or_insert_with(|| MemberLook {
            name: id.to_string(),
            status: None,
            address: None,
            in_sync: true,
            behind: None,
            seen: None,
        });
    }
    let mut members: Vec<MemberLook> = members.into_values().collect();
    // replica.2 comes before replica.10.
    members.sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));

    let serves = primary.zip(config).is_some_and(|(primary, config)| primary.serves(config));
    let health = match () {
        () if !serves => Health::Unavailable,
        () if members.iter().all(MemberLook::is_good) => Health::Healthy,
        () => Health::Degraded,
    };
    GroupLook { service: service.clone(), health, config: config.cloned(), members, fail_over: None }
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use common::ids::ClusterId;
    use common::replication::{
        ConfigVersion, Digest, Epoch, GossipConfig, LogIndex, LogPoint, RequestId, VectorTimestamp,
    };
    use common::rpc::gossip::Status;
    use common::rpc::replica::{KnownMember, RECORD_LOST, Waits};

    use super::*;
    use crate::fixtures::{food, led_by, member};

    fn status(number: u16, role: Role, config: &GroupConfig, applied: u64) -> MemberStatus {
        MemberStatus {
            service: food(),
            name: format!("replica.{number}").parse().unwrap(),
            member: member(number),
            role,
            config: Some(config.clone()),
            last: LogPoint { epoch: Epoch(1), index: LogIndex(applied) },
            epoch: Epoch(1),
            committed: LogIndex(applied),
            applied: LogIndex(applied),
            durable: LogIndex(applied),
            state_hash: 7,
            floor: RequestId::LEAST,
            config_version: ConfigVersion(1),
            trouble: String::new(),
            waits: None,
            uptime: Duration::from_secs(9),
            now: Timestamp::default(),
            known: vec![],
        }
    }

    fn said(members: &[MemberStatus]) -> Vec<(String, Vec<MemberStatus>)> {
        members.iter().map(|member| (format!("{}:1", member.name), vec![member.clone()])).collect()
    }

    #[test]
    fn all_in_sync_is_healthy_and_lag_is_counted_from_what_the_primary_committed() {
        let config = led_by(1, 1, &[1, 2]);
        let all = said(&[status(1, Role::Primary, &config, 9), status(2, Role::Backup, &config, 7)]);
        let look = assess(&food(), None, &all);
        assert_eq!((look.health, look.in_sync()), (Health::Healthy, 2));
        assert_eq!(look.members.iter().map(|member| member.behind).collect::<Vec<_>>(), [Some(0), Some(2)]);
    }

    #[test]
    fn whoever_does_not_answer_is_gone_and_was_last_seen_by_the_others() {
        let config = led_by(1, 1, &[1, 2]);
        let mut primary = status(1, Role::Primary, &config, 9);
        primary.known = vec![KnownMember {
            member: member(2),
            name: "replica.2".parse().unwrap(),
            address: "127.0.0.1:2".parse().unwrap(),
            heard: Some(Duration::from_secs(14)),
        }];
        let look = assess(&food(), Some(&config), &said(&[primary]));
        assert_eq!((look.health, look.in_sync()), (Health::Degraded, 1));
        let gone = &look.members[1];
        assert_eq!((gone.role(), gone.seen), ("gone", Some(Duration::from_secs(14))));
    }

    #[test]
    fn a_primary_in_trouble_serves_nobody_unless_it_is_only_contradicted() {
        let config = led_by(1, 1, &[1]);
        let health = |trouble: &str, waits| {
            let primary =
                MemberStatus { trouble: trouble.into(), waits, ..status(1, Role::Primary, &config, 9) };
            assess(&food(), None, &said(&[primary])).health
        };
        assert_eq!(health("", None), Health::Healthy);
        assert_eq!(health("the disk is full", None), Health::Unavailable);
        assert_eq!(health("the record is older", Some(Waits::Contradicted)), Health::Degraded);
    }

    /// One of three members, who last heard another so long ago.
    fn rater(number: u16, heard: Option<Duration>) -> GossipStatus {
        let members = GossipConfig {
            active: (1..=3).map(|number| member(number).id).collect(),
            ..GossipConfig::first(ClusterId::from_bytes([1; 16]), ratings(), member(1).id)
        };
        GossipStatus {
            service: ratings(),
            name: format!("replica.{number}").parse().unwrap(),
            member: member(number),
            status: Status::Online,
            members,
            applied: VectorTimestamp::default(),
            digest: Digest(7),
            log: 0,
            floor: Timestamp::default(),
            heard,
            trouble: String::new(),
            stranded: 0,
            uptime: Duration::from_secs(9),
            known: vec![],
        }
    }

    fn ratings() -> GroupName {
        "ratings".parse().unwrap()
    }

    #[test]
    fn the_last_rater_serves_though_it_hears_nobody_and_one_in_trouble_does_not() {
        let health = |members: &[GossipStatus]| {
            let said: Vec<_> = members.iter().map(|member| (String::new(), vec![member.clone()])).collect();
            assess_gossip(&ratings(), &said).health
        };
        let hears = Some(Duration::from_millis(200));
        let all = [1, 2, 3].map(|number| rater(number, hears));
        assert_eq!(health(&all), Health::Healthy);
        assert_eq!(health(&all[..2]), Health::Degraded, "one is missing");
        assert_eq!(health(&[rater(3, None)]), Health::Degraded);
        let lost = GossipStatus { trouble: RECORD_LOST.into(), ..rater(3, hears) };
        assert_eq!(health(&[lost]), Health::Degraded, "it goes on");
        let old = GossipStatus { trouble: "this disk is an old copy".into(), ..rater(3, hears) };
        assert_eq!(health(&[old]), Health::Unavailable);
        let offline = GossipStatus { status: Status::Offline, ..rater(3, hears) };
        assert_eq!(health(&[offline]), Health::Unavailable);
    }

    #[test]
    fn a_rater_who_is_missing_is_called_by_name_as_the_others_knew_it() {
        let knowing = |heard| GossipStatus {
            known: vec![KnownMember {
                member: member(3),
                name: "replica.3".parse().unwrap(),
                address: "127.0.0.1:3".parse().unwrap(),
                heard,
            }],
            ..rater(1, None)
        };
        let missing = |members: [GossipStatus; 2]| {
            assess_gossip(&ratings(), &members.map(|member| (String::new(), vec![member]))).missing
        };
        let ago = Some(Duration::from_secs(14));
        assert_eq!(missing([knowing(ago), rater(2, None)]), [("replica.3".to_owned(), ago)]);
        assert_eq!(missing([rater(1, None), rater(2, None)]), [(member(3).id.to_string(), None)]);
    }

    #[test]
    fn nobody_who_leads_is_nobody_served_and_the_disks_that_count_are_named() {
        let config = led_by(1, 2, &[1, 3]);
        let look =
            assess(&food(), Some(&config), &said(&[status(2, Role::Learner, &led_by(1, 1, &[1, 2]), 3)]));
        assert_eq!(look.health, Health::Unavailable);
        assert_eq!(look.config, Some(config), "the newer record counts");
        assert_eq!(look.members.len(), 3);
        let nothing = assess(&food(), None, &[]);
        assert_eq!((nothing.health, nothing.members.len()), (Health::Unavailable, 0));
    }
}
