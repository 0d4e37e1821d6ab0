use common::ids::InstanceId;
use common::names::{Lifetime, NameEpoch, Readiness, RecordRef, Sharing, Standing, TargetRef, Weight};
use common::replication::{BootId, ConfigVersion, GroupConfig, Member, Proposer, ReplicaId};

use super::*;
use crate::leases::Heard;

fn lease(n: u64) -> Write {
    let row = LeaseRow {
        ttl: Duration::from_millis(n),
        instance: InstanceId::from_u128(n.into()),
        owner: None,
        heard: Heard::In(BootCount(n)),
    };
    Write::Lease { lease: LeaseId::from_random(n), row: Some(row) }
}

fn name(text: &str, n: u64) -> Write {
    let record = RecordRef {
        name: text,
        sharing: Sharing::Shared,
        instance: InstanceId::from_u128(n.into()),
        epoch: NameEpoch(Revision(n)),
        target: TargetRef::Service {
            address: "127.0.0.1:1".parse().unwrap(),
            object: "",
            contract: "replica",
        },
        tags: vec!["a=b"],
        readiness: Readiness::Up,
        standing: Standing::Confirmed,
        weight: Weight::default(),
        lifetime: Lifetime::Permanent,
    };
    let row = NameRow { lease: Some(LeaseId::from_random(n)), record: PackedRecord::from(&record) };
    Write::Name { name: record.to_name(), instance: record.instance, row: Some(row) }
}

fn group(n: u64) -> Write {
    let member = Member { id: ReplicaId::from_u128(n.into()), boot: BootId::from_u128(n.into()) };
    let group: common::replication::GroupName = format!("g{n}").parse().unwrap();
    let config = GroupConfig::first(ClusterId::from_bytes([1; 16]), group.clone(), member, 1);
    Write::Group(GroupRow {
        group,
        standing: Some((common::rpc::name_service::Config::Passive(config), Proposer::Member(member))),
        seen: ConfigVersion(n),
    })
}

/// What an image holds, as text to compare.
fn shown(image: &Image) -> String {
    format!("{image:?}")
}

#[test]
fn what_was_committed_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/names.redb");
    let cluster = ClusterId::from_bytes([1; 16]);
    let (mut store, image) = open(&path, Some(cluster)).unwrap();
    assert_eq!((image.cluster, image.boot, image.names.len()), (cluster, BootCount(0), 0));
    store.commit(&[Write::Boot(BootCount(1)), Write::Reserved(Revision(7)), lease(1), lease(2)]).unwrap();
    store.commit(&[name("b", 1), name("a.b", 2), name("a", 9), name("a", 3), group(1)]).unwrap();
    let gone = Write::Lease { lease: LeaseId::from_random(1), row: None };
    store.commit(&[gone, group(1), Write::Alive(Duration::from_millis(200))]).unwrap();
    drop(store);

    let (_store, image) = open(&path, None).unwrap();
    assert_eq!((image.cluster, image.boot, image.reserved), (cluster, BootCount(1), Revision(7)));
    assert_eq!(image.alive, Duration::from_millis(200));
    let rows: Vec<_> = image.names.iter().map(|row| (row.record.name(), row.record.epoch().0.0)).collect();
    assert_eq!(rows, [("a", 3), ("a", 9), ("a.b", 2), ("b", 1)], "in the order of names");
    let kept =
        image.leases.iter().map(|(id, row)| Write::Lease { lease: *id, row: Some(*row) }).collect::<Vec<_>>();
    assert_eq!(kept, [lease(2)]);
    assert_eq!(Write::Group(image.groups[0].clone()), group(1));
}

/// Field failure: a crash between two writes left halves of a change behind. The machine dies after each commit, and
/// once without any goodbye: what is found is what had been acknowledged.
#[test]
fn f20_any_crash_is_a_prefix() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("names.redb");
    let (mut store, _) = open(&path, None).unwrap();
    let mut copies = Vec::new();
    for n in 1..=12 {
        // A registration is several rows: all or none.
        store.commit(&[lease(n), name(&format!("n{n}"), n), Write::Reserved(Revision(n)), group(n)]).unwrap();
        let copy = directory.path().join(format!("after-{n}.redb"));
        std::fs::copy(&path, &copy).unwrap();
        copies.push((n, copy));
    }
    std::mem::forget(store);
    for (n, copy) in copies {
        let (_store, image) = open(&copy, None).unwrap();
        let count = usize::try_from(n).unwrap();
        assert_eq!(
            (image.leases.len(), image.names.len(), image.groups.len()),
            (count, count, count),
            "after {n}"
        );
        assert_eq!(image.reserved, Revision(n));
    }
}

#[test]
fn a_closed_store_is_opened_again_with_all_it_had() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("names.redb");
    let (mut store, _) = open(&path, None).unwrap();
    store.commit(&[lease(1)]).unwrap();
    store.database = None;
    assert!(store.commit(&[lease(2)]).is_err());
    store.reopen().unwrap();
    store.commit(&[lease(2)]).unwrap();
    drop(store);
    let (_store, image) = open(&path, None).unwrap();
    assert_eq!(image.leases.len(), 2);
}

#[test]
fn a_row_in_the_wrong_place_shows() {
    let row = BootCount(7);
    let sealed = seal("meta", b"boot", &row);
    assert_eq!(unseal::<BootCount>("meta", b"boot", &sealed), Ok(row));
    assert!(unseal::<BootCount>("meta", b"reserved", &sealed).is_err());
    assert!(unseal::<BootCount>("groups", b"boot", &sealed).is_err());
    for bit in 0..sealed.len() * 8 {
        let mut flipped = sealed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(unseal::<BootCount>("meta", b"boot", &flipped).is_err(), "bit {bit}");
    }
}

/// So files written by a program that kept whole records are read, and the other way round.
#[test]
fn a_packed_record_lies_in_its_row_as_a_whole_one_did() {
    let Write::Name { row: Some(row), .. } = name("a.b", 7) else { unreachable!("a name") };
    let whole = (row.lease, row.record.read());
    assert_eq!(seal("names", b"k", &row), seal("names", b"k", &whole));
    assert_eq!(unseal_by("names", b"k", &seal("names", b"k", &whole), name_row), Ok(row));
}

#[test]
fn what_is_no_store_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("names.redb");
    std::fs::write(&path, b"a poem").unwrap();
    assert!(matches!(open(&path, None), Err(OpenError::Damaged { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"a poem");
}

#[test]
fn one_process_at_a_time_and_one_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("names.redb");
    let (store, image) = open(&path, None).unwrap();
    let in_use = open(&path, None).unwrap_err().to_string();
    assert!(in_use.ends_with(&format!("is in use by process {}", std::process::id())), "{in_use}");
    drop(store);
    let other = ClusterId::from_bytes([2; 16]);
    assert!(matches!(open(&path, Some(other)), Err(OpenError::OtherCluster { .. })));
    let again = open(&path, Some(image.cluster)).unwrap();
    assert_eq!(shown(&again.1), shown(&image));
}

/// redb takes a damaged newest state for a commit that was cut short, and goes back to the one before.
#[test]
fn a_file_left_by_a_kill_never_opens_as_it_was_before_its_last_commit() {
    // In memory where possible: it is opened hundreds of times.
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let path = directory.path().join("names.redb");
    let (mut store, _) = open(&path, None).unwrap();
    for n in 1..=8 {
        store.commit(&[lease(n), name(&format!("n{n}"), n), group(n)]).unwrap();
    }
    let whole = std::fs::read(&path).unwrap();
    let copy = directory.path().join("copy.redb");
    std::fs::copy(directory.path().join("names.redb.mark"), directory.path().join("copy.redb.mark")).unwrap();
    drop(store);
    let mut refused = 0;
    let mut judge = |bytes: &[u8], what: &str| {
        std::fs::write(&copy, bytes).unwrap();
        match open(&copy, None) {
            Ok((_, image)) => {
                assert_eq!((image.leases.len(), image.names.len(), image.groups.len()), (8, 8, 8), "{what}");
            }
            Err(OpenError::Damaged { .. }) => refused += 1,
            Err(other) => panic!("{what}: {other}"),
        }
    };
    judge(&whole, "nothing");
    let flip = |at: usize| [&whole[..at], &[whole[at] ^ 1], &whole[at + 1..]].concat();
    let needle = b"n8";
    let rows = whole.windows(needle.len()).enumerate().filter(|(_, window)| window == needle);
    for at in (0..320).chain(rows.map(|(at, _)| at)) {
        judge(&flip(at), &format!("byte {at} changed"));
    }
    assert!(refused > 50, "{refused}");
}
