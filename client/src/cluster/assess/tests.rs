use common::clock::Timestamp;
use common::ids::ClusterId;
use common::replication::{
    BootId, ConfigVersion, Epoch, InSyncSet, LogIndex, LogPoint, Member as Disk, RequestId,
};
use common::rpc::replica::KnownMember;

use super::*;
use crate::cluster::text;
use crate::objects::NameServer;
use crate::output::Screen;

const SCREEN: Screen = Screen { width: None, color: false };

fn name() -> GroupName {
    "just.hungry".parse().unwrap()
}

fn disk(no: u128) -> Disk {
    Disk { id: ReplicaId::from_u128(no), boot: BootId::from_u128(no) }
}

/// The group in its seventh epoch, led by replica.1, with these in sync.
fn config(in_sync: &[u128]) -> GroupConfig {
    GroupConfig {
        version: ConfigVersion(9),
        epoch: Epoch(7),
        in_sync: InSyncSet::new(in_sync.iter().map(|&no| ReplicaId::from_u128(no))),
        ..GroupConfig::first(ClusterId::from_bytes([1; 16]), name(), disk(1), 1)
    }
}

fn answer(no: u128, role: Role, applied: u64, config: &GroupConfig) -> MemberStatus {
    let known = |other: u128| KnownMember {
        member: disk(other),
        name: format!("replica.{other}").parse().unwrap(),
        address: "127.0.0.1:1".parse().unwrap(),
        heard: Some(Duration::from_secs(14)),
    };
    MemberStatus {
        service: name(),
        name: format!("replica.{no}").parse().unwrap(),
        member: disk(no),
        role,
        config: Some(config.clone()),
        last: LogPoint { epoch: Epoch(7), index: LogIndex(1042) },
        epoch: Epoch(7),
        committed: LogIndex(1042),
        applied: LogIndex(applied),
        durable: LogIndex(1042),
        state_hash: 0xabc,
        floor: RequestId::LEAST,
        config_version: ConfigVersion(9),
        trouble: String::new(),
        waits: None,
        uptime: Duration::from_secs(252),
        now: Timestamp::from_millis(0),
        known: (1..=3).filter(|&other| other != no).map(known).collect(),
    }
}

fn asked(no: u128, answer: Option<MemberStatus>) -> Asked {
    Asked {
        name: format!("replica.{no}").parse().unwrap(),
        address: format!("127.0.0.1:4100{no}").parse().unwrap(),
        draining: false,
        ids: BTreeMap::from([(name(), ReplicaId::from_u128(no))]),
        answer: answer.map(|answer| vec![answer]),
        gossip: None,
    }
}

fn seen(config: &GroupConfig, replicas: Vec<Asked>) -> Seen {
    let front_ends = vec![FrontEnd { address: "127.0.0.1:41020".into(), http: None }];
    Seen { groups: vec![(name(), Some(config.clone()))], front_ends, replicas, ..Seen::default() }
}

/// Three replicas, all in sync; replica.2 has still to apply two entries.
fn healthy() -> Seen {
    let config = config(&[1, 2, 3]);
    let replica = |no, role, applied| asked(no, Some(answer(no, role, applied, &config)));
    let replicas =
        vec![replica(1, Role::Primary, 1042), replica(2, Role::Backup, 1040), replica(3, Role::Backup, 1042)];
    seen(&config, replicas)
}

/// replica.3 is not in sync any more, and not registered any more.
fn degraded() -> Seen {
    let config = config(&[1, 2]);
    let replica = |no, role| asked(no, Some(answer(no, role, 1042, &config)));
    seen(&config, vec![replica(1, Role::Primary), replica(2, Role::Backup)])
}

#[test]
fn a_status_has_the_fields_of_the_contract() {
    let config = config(&[1]);
    let mut status = assess(&seen(&config, vec![asked(1, Some(answer(1, Role::Primary, 1042, &config)))]));
    status.groups[0].members.truncate(2);
    status.name_servers =
        vec![NameServer { address: "127.0.0.1:9090".into(), boot: Some(3), rev: Some(7), ok: true }];
    assert_eq!(
        crate::output::json(&status),
        r#"{"health":"degraded","name_servers":[{"address":"127.0.0.1:9090","boot":3,"rev":7,"ok":true}],"#
            .to_owned()
            + r#""front_ends":[{"address":"127.0.0.1:41020","http":null}],"groups":[{"service":"just.hungry","#
            + r#""kind":"passive","health":"degraded","version":9,"epoch":7,"min_in_sync":1,"members":["#
            + r#"{"name":"replica.1","replica_id":"00000000-0000-0000-0000-000000000001","role":"primary","#
            + r#""status":"online","address":"127.0.0.1:41001","in_sync":true,"index":1042,"applied":1042,"behind":0,"#
            + r#""state_hash":"0000000000000abc","vector":null,"log":null,"gossip_age_ms":null,"uptime_ms":252000,"#
            + r#""seen_ms":null,"stranded":0},"#
            + r#"{"name":"replica.2","replica_id":"00000000-0000-0000-0000-000000000002","role":null,"#
            + r#""status":"gone","address":null,"in_sync":false,"index":null,"applied":null,"behind":null,"#
            + r#""state_hash":null,"vector":null,"log":null,"gossip_age_ms":null,"uptime_ms":null,"#
            + r#""seen_ms":14000,"stranded":0}],"needs_adoption":false}]}"#
    );
}

#[test]
fn all_in_sync_is_healthy_and_who_lags_is_told_by_how_much() {
    let status = assess(&healthy());
    assert_eq!(status.health, Health::Healthy);
    let behind: Vec<_> = status.groups[0].members.iter().map(|member| member.behind).collect();
    assert_eq!(behind, [Some(0), Some(2), Some(0)]);
    assert_eq!(text::headline(&status), "HEALTHY   just.hungry HEALTHY   front ends 1");
}

#[test]
fn somebody_missing_is_named_with_the_time_it_was_last_heard() {
    let status = assess(&degraded());
    assert_eq!(
        text::status(SCREEN, &status),
        "DEGRADED   just.hungry 2 of 3 in sync (replica.3 gone 14s)   front ends 1\n\
         SERVICE      REPLICA    ROLE     STATUS  ADDRESS          EPOCH  INDEX  BEHIND     UP  DETAIL\n\
         just.hungry  replica.1  primary  online  127.0.0.1:41001      7   1042       0  4m12s\n\
         just.hungry  replica.2  backup   online  127.0.0.1:41002      7   1042       0  4m12s\n\
         just.hungry  replica.3  -        gone    -                    -      -       -      -  seen 14s ago"
    );
}

#[test]
fn without_an_answer_of_the_primary_nobody_serves_and_the_missing_are_to_be_started() {
    let config = config(&[1, 2]);
    let status = assess(&seen(&config, vec![asked(2, Some(answer(2, Role::Backup, 1042, &config)))]));
    assert_eq!(status.health, Health::Unavailable);
    assert_eq!(text::what_to_start(&status), "start replica.1");
    let alone = assess(&seen(&self::config(&[7]), vec![]));
    assert_eq!(
        text::what_to_start(&alone),
        "start the replica whose disk is 00000000-0000-0000-0000-000000000007"
    );
    let none = assess(&Seen { groups: vec![(name(), None)], ..Seen::default() });
    assert_eq!(none.health, Health::Unavailable);
    assert_eq!(text::what_to_start(&none), "no group yet: start one replica with --first");
}

#[test]
fn a_primary_of_an_older_configuration_leads_nobody() {
    let mut after = healthy();
    let newer = GroupConfig { version: ConfigVersion(10), primary: disk(2), ..config(&[2, 3]) };
    after.groups[0].1 = Some(newer);
    assert_eq!(assess(&after).health, Health::Unavailable);
}

#[test]
fn fewer_in_sync_than_promised_serve_nobody() {
    let mut short = degraded();
    for asked in &mut short.replicas {
        for config in asked.answer.iter_mut().flatten().filter_map(|member| member.config.as_mut()) {
            config.min_in_sync = 3;
            config.version = ConfigVersion(10);
        }
    }
    assert_eq!(assess(&short).health, Health::Unavailable);
}

#[test]
fn a_wiped_disk_takes_the_place_of_the_one_before_it() {
    let mut wiped = healthy();
    let third = wiped.replicas[2].answer.as_mut().unwrap();
    third[0].member = disk(33);
    wiped.groups[0].1 = None;
    for member in wiped.replicas.iter_mut().flat_map(|asked| asked.answer.iter_mut().flatten()) {
        member.config = Some(config(&[1, 2, 33]));
    }
    let status = assess(&wiped);
    let names: Vec<&str> = status.groups[0].members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!((names, status.health), (vec!["replica.1", "replica.2", "replica.3"], Health::Healthy));
}

#[test]
fn members_stand_in_the_order_of_their_numbers() {
    let mut names = ["replica.10", "replica.west", "replica.2", "-"];
    names.sort_by(|a, b| by_name(a).cmp(&by_name(b)));
    assert_eq!(names, ["-", "replica.2", "replica.10", "replica.west"]);
}

#[test]
fn waiting_ends_when_as_many_as_wanted_have_applied_what_was_committed_at_its_beginning() {
    let mut wanted = BTreeMap::new();
    assert!(!ready(&assess(&healthy()), None, &mut wanted), "replica.2 lags");
    assert!(ready(&assess(&healthy()), Some(2), &mut wanted));
    assert_eq!(wanted["just.hungry"], 1042);
    let mut later = healthy();
    for member in later.replicas.iter_mut().flat_map(|asked| asked.answer.iter_mut().flatten()) {
        member.committed = LogIndex(2000);
        member.applied = LogIndex(1042);
    }
    assert!(ready(&assess(&later), None, &mut wanted), "what was committed since is not waited for");
    assert!(!ready(&assess(&degraded()), None, &mut wanted), "all known are wanted");
    assert!(ready(&assess(&degraded()), Some(2), &mut wanted));
    assert!(!ready(&assess(&degraded()), Some(3), &mut wanted));
    assert!(!ready(&assess(&Seen::default()), None, &mut wanted), "nothing is not everything");
}
