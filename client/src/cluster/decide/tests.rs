use std::time::Duration;

use common::clock::Timestamp;
use common::ids::ClusterId;
use common::replication::{BootId, InSyncSet, LogIndex, Member, RequestId};
use common::rpc::replica::{KnownMember, Role};

use super::*;

const SCREEN: Screen = Screen { width: None, color: false };

fn group() -> GroupName {
    "just.hungry".parse().unwrap()
}

fn disk(no: u128) -> ReplicaId {
    ReplicaId::from_u128(no)
}

fn name(no: u128) -> LogicalName {
    format!("replica.{no}").parse().unwrap()
}

/// The group at this version and epoch, led by replica.1, with these in sync.
fn record(version: u64, epoch: u64, in_sync: &[u128]) -> GroupConfig {
    let primary = Member { id: disk(in_sync[0]), boot: BootId::from_u128(1) };
    GroupConfig {
        version: ConfigVersion(version),
        epoch: Epoch(epoch),
        in_sync: InSyncSet::new(in_sync.iter().copied().map(disk)),
        ..GroupConfig::first(ClusterId::from_bytes([1; 16]), group(), primary, 1)
    }
}

/// A replica that knows this record, and whose log has this many entries of this epoch.
fn voice(no: u128, config: &GroupConfig, epoch: u64, last: u64) -> Voice {
    let known = |other: u128| KnownMember {
        member: Member { id: disk(other), boot: BootId::from_u128(other) },
        name: name(other),
        address: "127.0.0.1:1".parse().unwrap(),
        heard: None,
    };
    let said = MemberStatus {
        service: group(),
        name: name(no),
        member: Member { id: disk(no), boot: BootId::from_u128(no) },
        role: Role::Backup,
        config: Some(config.clone()),
        last: LogPoint { epoch: Epoch(epoch), index: LogIndex(last) },
        epoch: Epoch(epoch),
        committed: LogIndex(last - 1),
        applied: LogIndex(last - 1),
        durable: LogIndex(last),
        state_hash: 0,
        floor: RequestId::LEAST,
        config_version: config.version,
        trouble: String::new(),
        waits: Some(Waits::Contradicted),
        uptime: Duration::ZERO,
        now: Timestamp::default(),
        known: (1..=3).filter(|&other| other != no).map(known).collect(),
    };
    Voice { name: name(no), address: "127.0.0.1:1".parse().unwrap(), id: Some(disk(no)), said: Ok(said) }
}

fn restored(mut voice: Voice) -> Voice {
    voice.said.as_mut().unwrap().waits = Some(Waits::Restored);
    voice
}

fn heard(stored: Stored, voices: Vec<Voice>) -> Heard {
    Heard { group: group(), stored, voices }
}

/// The name server was wiped; replica.1 led version 9, of which replica.3 has not heard.
fn wiped() -> Heard {
    let (newest, older) = (record(9, 7, &[1, 2]), record(8, 7, &[1, 2, 3]));
    let stored = Stored::OlderThan { stored: None, seen: ConfigVersion(9) };
    heard(stored, vec![voice(1, &newest, 7, 42), voice(2, &newest, 7, 42), voice(3, &older, 7, 40)])
}

fn ids(config: &GroupConfig) -> Vec<ReplicaId> {
    config.in_sync.iter().collect()
}

#[test]
fn the_newest_record_that_anybody_shows_is_adopted_above_all_that_was_seen() {
    let wiped = wiped();
    assert!(wiped.needs_adoption());
    let Decision { newest, next } = wiped.decide(&Wish::Adopt).unwrap();
    assert_eq!(newest.version, ConfigVersion(9));
    assert_eq!((next.version, next.epoch, ids(&next)), (ConfigVersion(10), Epoch(8), vec![disk(1), disk(2)]));
    assert_eq!(next.primary, Member { id: disk(1), boot: BootId::NOBODY });
    assert_eq!(wiped.expect(), None);
    assert_eq!(
        wiped.losses(&Wish::Adopt, &wiped.decide(&Wish::Adopt).unwrap()),
        ["Everybody in sync was heard: nothing is lost."]
    );
}

#[test]
fn an_epoch_or_version_counts_however_it_was_shown() {
    let mut wiped = wiped();
    // It was elected, and told nobody yet; and the name server was shown more than anybody says now.
    wiped.voices[2].said.as_mut().unwrap().epoch = Epoch(20);
    wiped.stored = Stored::OlderThan { stored: Some(ConfigVersion(3)), seen: ConfigVersion(15) };
    let next = wiped.decide(&Wish::Adopt).unwrap().next;
    assert_eq!((next.version, next.epoch), (ConfigVersion(16), Epoch(21)));
    assert_eq!(wiped.expect(), Some(ConfigVersion(3)));
}

#[test]
fn who_leads_first_is_in_sync_and_has_the_most() {
    let newest = record(9, 7, &[1, 2, 3]);
    let stored = Stored::OlderThan { stored: None, seen: ConfigVersion(9) };
    let mut voices = vec![voice(1, &newest, 7, 42), voice(2, &newest, 7, 44), voice(4, &newest, 9, 99)];
    let first = |voices: &Vec<Voice>| {
        heard(stored.clone(), voices.clone()).decide(&Wish::Adopt).unwrap().next.primary.id
    };
    assert_eq!(first(&voices), disk(2), "replica.4 is not in sync");
    voices[1] = voice(2, &newest, 7, 42);
    assert_eq!(first(&voices), disk(1), "among equals the one that led");
    voices[0] = voice(1, &newest, 6, 90);
    assert_eq!(first(&voices), disk(2), "a later epoch is more than a longer log");
}

#[test]
fn a_restored_disk_is_left_out_while_a_whole_one_answers() {
    let newest = record(9, 7, &[1, 2, 3]);
    let stored = Stored::Record(Some(newest.clone()));
    let voices = vec![voice(1, &newest, 7, 42), restored(voice(2, &newest, 7, 30)), voice(3, &newest, 7, 42)];
    let partly = heard(stored.clone(), voices);
    let decision = partly.decide(&Wish::Adopt).unwrap();
    assert_eq!(ids(&decision.next), [disk(1), disk(3)]);
    assert_eq!(
        partly.losses(&Wish::Adopt, &decision),
        ["replica.2 was restored from an older copy: it is fed anew by the others."]
    );
    // All that there is left are copies: then the copy with the most leads.
    let voices = vec![restored(voice(1, &newest, 7, 20)), restored(voice(2, &newest, 7, 30))];
    let all = heard(stored, voices);
    assert!(all.needs_adoption());
    let decision = all.decide(&Wish::Adopt).unwrap();
    assert_eq!((ids(&decision.next).len(), decision.next.primary.id), (3, disk(2)));
    assert!(all.losses(&Wish::Adopt, &decision)[0].starts_with("Not heard, though in sync: replica.3."));
}

#[test]
fn whoever_is_not_heard_is_named_and_what_may_be_lost_is_said() {
    let newest = record(9, 7, &[1, 2, 3]);
    let stored = Stored::Record(Some(record(4, 3, &[1, 2, 3])));
    let away = Voice { said: Err("connection refused".into()), ..voice(3, &newest, 7, 1) };
    let heard = heard(stored, vec![voice(1, &newest, 7, 42), voice(2, &newest, 7, 44), away]);
    let wish = Wish::Force(name(1));
    let decision = heard.decide(&wish).unwrap();
    assert_eq!(ids(&decision.next), [disk(1)]);
    let (version, epoch) = (ConfigVersion(1009), Epoch(1007));
    let next = &decision.next;
    assert_eq!((next.version, next.epoch, next.forced), (version, epoch, version));
    assert_eq!(
        heard.account(SCREEN, &wish, &decision),
        "just.hungry: the name server has version 4, epoch 3.\n\
         The newest record seen is version 9, epoch 7; in sync: replica.1, replica.2, replica.3.\n\
         REPLICA    ADDRESS      IN SYNC  VERSION  EPOCH  LAST  COMMITTED  DETAIL\n\
         replica.1  127.0.0.1:1  yes            9      7    42         41\n\
         replica.2  127.0.0.1:1  yes            9      7    44         43\n\
         replica.3  127.0.0.1:1  yes            -      -     -          -  does not answer: connection refused\n\
         To be installed: version 1009, epoch 1007; in sync: replica.1. replica.1 may elect itself first.\n\
         Not heard, though in sync: replica.3. If one of them knows a newer record, what was acknowledged under it is \
         lost.\n\
         replica.2's log reaches 44@e7, beyond 42@e7 of replica.1: what lies between may be lost.\n\
         Only the disk of replica.1 counts from then on: the others put their files aside and start anew from it."
    );
}

#[test]
fn a_replica_that_is_not_there_cannot_be_forced() {
    let mut wiped = wiped();
    let refused = |heard: &Heard, no| heard.decide(&Wish::Force(name(no))).unwrap_err().code;
    assert_eq!(refused(&wiped, 9), Code::ReplicaUnknown);
    wiped.voices[1].said = Err("no answer".into());
    assert_eq!(refused(&wiped, 2), Code::NotReady);
    let nobody = heard(Stored::Record(None), vec![]);
    assert_eq!(nobody.decide(&Wish::Adopt).unwrap_err().code, Code::GroupUnknown);
}

#[test]
fn a_record_that_nobody_contradicts_needs_no_operator() {
    let newest = record(9, 7, &[1, 2]);
    let mut calm = voice(1, &newest, 7, 42);
    calm.said.as_mut().unwrap().waits = None;
    let stands = |version| Stored::Record(Some(record(version, 7, &[1, 2])));
    assert!(!heard(stands(9), vec![calm.clone()]).needs_adoption());
    assert!(!heard(stands(10), vec![calm.clone()]).needs_adoption(), "a replica hears of it a little later");
    assert!(heard(stands(8), vec![calm.clone()]).needs_adoption());
    assert!(heard(Stored::Record(None), vec![calm]).needs_adoption());
    assert!(heard(stands(9), vec![voice(1, &newest, 7, 42)]).needs_adoption());
}
