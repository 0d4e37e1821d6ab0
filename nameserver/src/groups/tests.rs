use common::replication::{BootId, GossipConfig, GroupConfig, InSyncSet, Member, ReplicaId};

use super::*;

fn cluster() -> ClusterId {
    ClusterId::from_bytes([1; 16])
}

fn group() -> GroupName {
    "just.hungry".parse().unwrap()
}

fn member(id: u128) -> Member {
    Member { id: ReplicaId::from_u128(id), boot: BootId::from_u128(id * 10) }
}

fn creation(by: Member) -> GroupChange {
    let new = Config::Passive(GroupConfig::first(cluster(), group(), by, 1));
    GroupChange { expect: None, new, by: Proposer::Member(by) }
}

/// The set of `old` with one more, by its primary.
fn growth(old: &GroupConfig, id: u128) -> GroupChange {
    let new = GroupConfig {
        version: old.version.next(),
        in_sync: old.in_sync.with(ReplicaId::from_u128(id)),
        ..old.clone()
    };
    GroupChange { expect: Some(old.version), new: Config::Passive(new), by: Proposer::Member(old.primary) }
}

fn accepted(groups: &mut Groups, change: GroupChange) -> GroupConfig {
    assert!(matches!(groups.propose(change), Ok(Proposal::Staged(_))));
    groups.install(&group()).passive().expect("what was proposed is a passive group's")
}

fn refusal(groups: &mut Groups, change: GroupChange) -> GroupError {
    groups.propose(change).unwrap_err()
}

#[test]
fn a_change_is_seen_by_nobody_before_it_is_durable() {
    let mut groups = Groups::new(cluster(), []);
    assert!(matches!(groups.propose(creation(member(1))), Ok(Proposal::Staged(_))));
    assert_eq!(groups.read(&group(), None), Ok(None));
    assert_eq!(groups.propose(creation(member(1))), Ok(Proposal::Later));
    let config = groups.install(&group());
    assert_eq!(groups.read(&group(), None), Ok(Some(config)));
}

#[test]
fn the_same_change_by_the_same_proposer_is_answered_again() {
    let mut groups = Groups::new(cluster(), []);
    let first = accepted(&mut groups, creation(member(1)));
    let repeated = groups.propose(creation(member(1)));
    assert_eq!(repeated, Ok(Proposal::Standing(Config::Passive(first.clone()))));
    // Who comes second, learns what stands.
    let current = Some(Config::Passive(first));
    assert_eq!(refusal(&mut groups, creation(member(2))), GroupError::Conflict { current });
}

#[test]
fn only_one_of_two_changes_of_the_same_version_stands() {
    let mut groups = Groups::new(cluster(), []);
    let first = accepted(&mut groups, creation(member(1)));
    let second = accepted(&mut groups, growth(&first, 2));
    let current = Some(Config::Passive(second));
    assert_eq!(refusal(&mut groups, growth(&first, 3)), GroupError::Conflict { current });
}

#[test]
fn the_rules_of_the_group_are_asked() {
    let mut groups = Groups::new(cluster(), []);
    let first = accepted(&mut groups, creation(member(1)));
    let by_another = GroupChange { by: Proposer::Member(member(2)), ..growth(&first, 2) };
    assert_eq!(refusal(&mut groups, by_another), GroupError::Refused(ConfigError::NotYours));
    let elsewhere = GroupConfig { cluster: ClusterId::from_bytes([2; 16]), ..first };
    let change =
        GroupChange { expect: None, new: Config::Passive(elsewhere), by: Proposer::Member(member(1)) };
    assert_eq!(refusal(&mut groups, change), GroupError::WrongCluster { ours: cluster() });
}

#[test]
fn an_old_copy_takes_no_change_until_an_operator_adopts() {
    let mut groups = Groups::new(cluster(), []);
    let first = accepted(&mut groups, creation(member(1)));
    // A replica comes with version 5: the store was restored from an old copy.
    let regressed = GroupError::Regressed { stored: Some(ConfigVersion(1)), seen: ConfigVersion(5) };
    assert_eq!(groups.read(&group(), Some(ConfigVersion(5))), Err(regressed.clone()));
    // A restart does not forget it.
    let mut groups = Groups::new(cluster(), groups.take_news());
    assert_eq!(groups.read(&group(), Some(ConfigVersion(1))), Err(regressed.clone()));
    assert_eq!(refusal(&mut groups, growth(&first, 2)), regressed);

    let adopted = |version| GroupConfig {
        version: ConfigVersion(version),
        epoch: common::replication::Epoch(version),
        primary: Member { id: ReplicaId::from_u128(3), boot: BootId::NOBODY },
        in_sync: InSyncSet::new([ReplicaId::from_u128(3)]),
        ..first.clone()
    };
    let by_operator = |version| GroupChange {
        expect: Some(ConfigVersion(1)),
        new: Config::Passive(adopted(version)),
        by: Proposer::Operator,
    };
    assert_eq!(refusal(&mut groups, by_operator(5)), GroupError::Refused(ConfigError::Version));
    accepted(&mut groups, by_operator(6));
    assert_eq!(groups.read(&group(), Some(ConfigVersion(5))), Ok(Some(Config::Passive(adopted(6)))));
}

#[test]
fn a_forgotten_group_is_not_created_again() {
    let mut groups = Groups::new(cluster(), []);
    let regressed = GroupError::Regressed { stored: None, seen: ConfigVersion(3) };
    assert_eq!(groups.read(&group(), Some(ConfigVersion(3))), Err(regressed.clone()));
    assert_eq!(refusal(&mut groups, creation(member(1))), regressed);
}

#[test]
fn an_operator_adopts_where_nothing_is_stored_and_the_group_goes_on_from_there() {
    let was = GroupConfig {
        version: ConfigVersion(9),
        epoch: common::replication::Epoch(7),
        ..GroupConfig::first(cluster(), group(), member(1), 1)
    };
    let adopted = was.adopted((was.version, was.epoch), member(1).id);
    let by = |by, expect: Option<u64>| GroupChange {
        expect: expect.map(ConfigVersion),
        new: Config::Passive(adopted.clone()),
        by,
    };
    // Whether its members have shown it yet or not.
    for shown in [None, Some(ConfigVersion(9))] {
        let mut groups = Groups::new(cluster(), []);
        assert_eq!(groups.read(&group(), shown).is_err(), shown.is_some());
        assert!(groups.propose(by(Proposer::Member(member(1)), None)).is_err());
        let expected = refusal(&mut groups, by(Proposer::Operator, Some(9)));
        assert_eq!(expected, GroupError::Conflict { current: None });
        accepted(&mut groups, by(Proposer::Operator, None));
        let elected = GroupConfig {
            version: ConfigVersion(11),
            epoch: common::replication::Epoch(9),
            primary: member(1),
            ..adopted.clone()
        };
        let election = GroupChange {
            expect: Some(ConfigVersion(10)),
            new: Config::Passive(elected.clone()),
            by: Proposer::Member(member(1)),
        };
        assert_eq!(accepted(&mut groups, election), elected);
    }
}

#[test]
fn strangers_group_names_do_not_fill_the_memory() {
    let mut groups = Groups::new(cluster(), []);
    for n in 0..2 * GROUPS_MAX {
        let group = format!("g{n}").parse().unwrap();
        assert!(groups.read(&group, Some(ConfigVersion(1))).is_err());
    }
    assert_eq!(groups.rows.len(), GROUPS_MAX);
    assert_eq!(groups.read(&group(), Some(ConfigVersion(u64::MAX))), Err(GroupError::Denied));
}

#[test]
fn a_gossip_group_is_kept_by_its_own_rules_and_never_becomes_a_passive_one() {
    let mut groups = Groups::new(cluster(), []);
    let by = Proposer::Member(member(1));
    let first = GossipConfig::first(cluster(), group(), member(1).id);
    let propose = |groups: &mut Groups, expect: Option<u64>, new: Config| {
        groups.propose(GroupChange { expect: expect.map(ConfigVersion), new, by })
    };
    let staged = propose(&mut groups, None, Config::Gossip(first.clone()));
    assert!(matches!(staged, Ok(Proposal::Staged(_))));
    assert_eq!(groups.install(&group()), Config::Gossip(first.clone()));
    let second = first.joined_by(member(2).id);
    let leap = Config::Gossip(second.joined_by(member(3).id));
    assert_eq!(propose(&mut groups, Some(1), leap), Err(ConfigError::Version.into()));
    let passive =
        GroupConfig { version: ConfigVersion(2), ..GroupConfig::first(cluster(), group(), member(1), 1) };
    assert_eq!(propose(&mut groups, Some(1), Config::Passive(passive)), Err(ConfigError::Identity.into()));
    assert!(matches!(propose(&mut groups, Some(1), Config::Gossip(second)), Ok(Proposal::Staged(_))));
}
