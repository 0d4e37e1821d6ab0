use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::clock::Timestamp;
use common::ids::{ClusterId, InstanceId};
use common::replication::{
    Entry, EntryKind, Epoch, GroupConfig, GroupName, LogIndex, Member, ReplicaId, RequestId,
};
use redb::{ReadableTable as _, TableDefinition};
use tokio::sync::mpsc;

use super::batch::Stored;
use super::directory::{Directory, DirectoryError};
use super::file::{Found, GroupFile, Identity, Place};
use super::*;
use crate::state::LogBase;

const IDENTITY: Identity =
    Identity { cluster: ClusterId::from_bytes([7; 16]), replica: ReplicaId::from_u128(42) };

/// Waits, outside a runtime.
fn block_on(done: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(done);
}

fn group() -> GroupName {
    "just.hungry".parse().unwrap()
}

/// `count` entries after `before`, each following the last.
fn entries(before: Option<&Entry>, epoch: u64, count: u64) -> Vec<Arc<Entry>> {
    let mut crc = before.map_or(0, |entry| entry.crc);
    let first = before.map_or(1, |entry| entry.index.0 + 1);
    let seal = |index| {
        let at = Timestamp::from_millis(1000 + index);
        let kind = EntryKind::Update {
            request: RequestId::from_parts(at, 0, index),
            facts: Bytes::new(),
            payload: Bytes::from(format!("order {index} in {epoch}")),
        };
        let entry = Entry::seal(crc, LogIndex(index), Epoch(epoch), at, kind);
        crc = entry.crc;
        Arc::new(entry)
    };
    (first..first + count).map(seal).collect()
}

fn plain(entries: &[Arc<Entry>]) -> Vec<Entry> {
    entries.iter().map(|entry| (**entry).clone()).collect()
}

fn appending(entries: &[Arc<Entry>]) -> WriteBatch {
    WriteBatch { append: entries.to_vec(), ..WriteBatch::default() }
}

fn place(directory: &Arc<Directory>) -> Place {
    Place { directory: Some(directory.clone()), group: group() }
}

fn open(path: &Path) -> Arc<Directory> {
    Arc::new(Directory::open(path).unwrap())
}

fn loaded(directory: &Arc<Directory>) -> (GroupFile, Stored) {
    match place(directory).open::<Stored>().unwrap() {
        Found::Member(file, contents) => {
            assert_eq!(contents.identity, IDENTITY);
            (file, contents.stored)
        }
        other => panic!("not a member: {other:?}"),
    }
}

fn damage(directory: &Arc<Directory>) -> String {
    match place(directory).open::<Stored>().unwrap() {
        Found::Damaged(why) => why,
        other => panic!("not damaged: {other:?}"),
    }
}

/// A file with three entries, closed.
fn three(directory: &Arc<Directory>) {
    let mut file = place(directory).format(IDENTITY).unwrap();
    file.write(&appending(&entries(None, 1, 3))).unwrap();
}

/// Writes past [`GroupFile`], as a failing disk would.
fn tamper(directory: &Arc<Directory>, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = redb::Database::open(directory.path().join("just.hungry.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}

#[test]
fn what_was_reported_durable_is_there_after_a_crash() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let directory = open(dir.path());
    let (reports, mut inbox) = mpsc::channel(REPORTS_MAX);
    let file = place(&directory).format(IDENTITY).unwrap();
    let disk = CommitThread::start(&group(), file, reports).unwrap();
    let written = entries(None, 1, 5);
    let primary = Member { id: IDENTITY.replica, boot: InstanceId::from_u128(1) };
    let config = GroupConfig::first(IDENTITY.cluster, group(), primary, 1);
    let first = WriteBatch { config: Some(config.clone()), ..appending(&written[..2]) };
    for (ticket, batch) in [(1, first), (2, appending(&written[2..]))] {
        disk.submit(batch, Ticket(ticket));
        assert_eq!(inbox.blocking_recv(), Some(Report::Durable(Ticket(ticket))));
    }
    // Copied while it is open: nothing that closing would write is in the copy.
    fs::copy(dir.path().join("just.hungry.redb"), copy.path().join("just.hungry.redb")).unwrap();
    let (_, stored) = loaded(&open(copy.path()));
    assert_eq!(stored.entries, plain(&written));
    assert_eq!(stored.config, Some(config));
    block_on(disk.close());
}

#[test]
fn a_conflicting_tail_is_replaced_in_one_batch() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    three(&directory);
    let (mut file, stored) = loaded(&directory);
    let other = entries(Some(&stored.entries[0]), 2, 4);
    file.write(&WriteBatch { truncate_from: Some(LogIndex(2)), ..appending(&other) }).unwrap();
    drop(file);
    let expected: Vec<Entry> = [&stored.entries[..1], &plain(&other)].concat();
    assert_eq!(loaded(&directory).1.entries, expected);
}

#[test]
fn a_snapshot_of_several_chunks_replaces_the_one_before_and_the_log_below_it() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    three(&directory);
    let (mut file, stored) = loaded(&directory);
    let long = Bytes::from(vec![5; 2_500_000]);
    let second = &stored.entries[1];
    let base = LogBase { point: second.point(), crc: second.crc, at: second.at };
    file.write(&WriteBatch { snapshot: Some(long.clone()), ..WriteBatch::default() }).unwrap();
    let short = Bytes::from_static(b"all of it");
    for snapshot in [&long, &short] {
        let batch =
            WriteBatch { base: Some(base), snapshot: Some(snapshot.clone()), ..WriteBatch::default() };
        file.write(&batch).unwrap();
    }
    drop(file);
    let (_, found) = loaded(&directory);
    assert_eq!(found.snapshot, Some(short));
    assert_eq!(found.base, base);
    assert_eq!(found.entries, stored.entries[2..]);
}

#[test]
fn a_snapshot_is_staged_between_batches_and_counts_from_its_own_batch_on() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    let (reports, mut inbox) = mpsc::channel(REPORTS_MAX);
    let file = place(&directory).format(IDENTITY).unwrap();
    let disk = CommitThread::start(&group(), file, reports).unwrap();
    let written = entries(None, 1, 4);
    let bytes = Bytes::from(vec![5; 20 * super::snapshot::CHUNK_BYTES]);
    disk.stage(bytes.clone());
    for (ticket, entry) in (1..).zip(&written) {
        disk.submit(appending(std::slice::from_ref(entry)), Ticket(ticket));
    }
    // Whichever comes first.
    let mut reports: Vec<Report> = (0..5).map(|_| inbox.blocking_recv().unwrap()).collect();
    reports.retain(|report| *report != Report::Staged(true));
    assert_eq!(reports, [1, 2, 3, 4].map(|ticket| Report::Durable(Ticket(ticket))));
    // After a crash now it would never have been.
    let copy = tempfile::tempdir().unwrap();
    fs::copy(dir.path().join("just.hungry.redb"), copy.path().join("just.hungry.redb")).unwrap();
    assert_eq!(loaded(&open(copy.path())).1.snapshot, None);
    disk.submit(WriteBatch { snapshot: Some(bytes.clone()), ..WriteBatch::default() }, Ticket(5));
    assert_eq!(inbox.blocking_recv(), Some(Report::Durable(Ticket(5))));
    block_on(disk.close());
    let (_, stored) = loaded(&directory);
    assert_eq!((stored.snapshot, stored.entries), (Some(bytes), plain(&written)));
}

#[test]
fn a_piece_of_a_snapshot_is_followed_by_a_rest_while_batches_are_written() {
    let at = |millis| Moment::after_origin(Duration::from_millis(millis));
    let mut pieces = Pieces::default();
    assert_eq!(pieces.wait(at(0)), Duration::ZERO);
    pieces.worked(at(100), at(104), 7);
    assert_eq!(pieces.wait(at(104)), Duration::from_millis(12));
    assert_eq!(pieces.wait(at(116)), Duration::ZERO);
    // Nobody has written since: nobody waits.
    pieces.worked(at(116), at(120), 7);
    assert_eq!(pieces.wait(at(120)), Duration::ZERO);
}

#[test]
fn a_files_cache_is_dropped_part_by_part_up_to_its_end() {
    let cached = tempfile::NamedTempFile::new().unwrap();
    let part = file::CACHED_PART.get();
    cached.as_file().set_len(2 * part + 1).unwrap();
    let next = |from| file::forget_cached_part(cached.path(), from).unwrap();
    assert_eq!([0, part, 2 * part].map(next), [Some(part), Some(2 * part), None]);
}

#[test]
fn a_snapshot_without_room_is_given_up() {
    assert!(fits(ROOM_MIN + 5, 5));
    assert!(!fits(ROOM_MIN + 4, 5));
}

#[test]
fn a_changed_value_is_found_and_named() {
    const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    three(&directory);
    tamper(&directory, |transaction| {
        let mut log = transaction.open_table(LOG).unwrap();
        let mut value = log.get(2).unwrap().unwrap().value().to_vec();
        value[9] ^= 1;
        log.insert(2, &*value).unwrap();
    });
    assert_eq!(damage(&directory), "log 2: bad checksum");
    // A value under another key is as wrong as a changed one.
    fs::remove_file(dir.path().join("just.hungry.redb")).unwrap();
    three(&directory);
    tamper(&directory, |transaction| {
        let mut log = transaction.open_table(LOG).unwrap();
        let value = log.get(3).unwrap().unwrap().value().to_vec();
        log.insert(2, &*value).unwrap();
    });
    assert_eq!(damage(&directory), "log 2: bad checksum");
}

#[test]
fn a_truncated_file_is_damage_and_never_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    three(&directory);
    let path = dir.path().join("just.hungry.redb");
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, 100, 4096, whole.len() / 2] {
        fs::write(&path, &whole[..length]).unwrap();
        damage(&directory);
    }
}

/// redb takes a damaged newest state for a commit that was cut short, and goes back to the one before.
#[test]
fn a_file_that_went_back_behind_what_was_durable_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    three(&directory);
    let path = dir.path().join("just.hungry.redb");
    let before = fs::read(&path).unwrap();
    let (mut file, stored) = loaded(&directory);
    file.write(&appending(&entries(stored.entries.last(), 1, 1))).unwrap();
    drop(file);
    assert_eq!(loaded(&directory).1.entries.len(), 4);
    fs::write(&path, before).unwrap();
    assert_eq!(damage(&directory), "meta batch: ends with 1, and 2 was durable");
}

#[test]
fn another_groups_file_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    three(&directory);
    fs::rename(dir.path().join("just.hungry.redb"), dir.path().join("movies.redb")).unwrap();
    let movies = Place { group: "movies".parse().unwrap(), ..place(&directory) };
    let found = movies.open::<Stored>().unwrap();
    assert!(matches!(found, Found::Damaged(why) if why.contains("belongs to just.hungry")));
}

#[test]
fn a_damaged_file_is_kept_beside_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    three(&directory);
    let kept = [0, 0].map(|_| {
        let aside = place(&directory).put_damaged_aside().unwrap();
        place(&directory).format(IDENTITY).unwrap();
        aside
    });
    assert!(kept.iter().all(|path| path.exists()) && kept[0] != kept[1], "{kept:?}");
    assert!(kept[0].file_name().unwrap().to_str().unwrap().starts_with("just.hungry.redb.damaged-"));
    assert!(loaded(&directory).1.entries.is_empty());
}

#[test]
fn an_identity_given_up_leaves_its_file_only_if_it_may_matter() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    let files = |dir: &Path| fs::read_dir(dir).unwrap().count();
    three(&directory);
    place(&directory).give_up(false).unwrap();
    assert_eq!(files(dir.path()), 2, "the lock, and the mark for the next file");
    three(&directory);
    place(&directory).give_up(true).unwrap();
    assert_eq!(files(dir.path()), 3);
    assert!(matches!(place(&directory).open::<Stored>().unwrap(), Found::Nothing));
}

#[test]
fn a_second_process_is_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new").join("deeper");
    let held = Directory::open(&path).unwrap();
    let Err(DirectoryError::InUse { pid, .. }) = Directory::open(&path) else { panic!("opened twice") };
    assert_eq!(pid, std::process::id().to_string());
    drop(held);
    Directory::open(&path).unwrap();
}

#[test]
fn directories_and_files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("replica.1");
    let directory = open(&path);
    three(&directory);
    directory.owner_key().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for name in ["lock", "owner.key", "just.hungry.redb"] {
        assert_eq!(mode(&path.join(name)), 0o600, "{name}");
    }
}

#[test]
fn an_owner_key_stays_the_same_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = Directory::open(dir.path()).unwrap().owner_key().unwrap();
    assert_eq!(Directory::open(dir.path()).unwrap().owner_key().unwrap(), first);
}

#[test]
fn in_memory_the_same_is_written_and_nothing_is_left() {
    let (reports, mut inbox) = mpsc::channel(REPORTS_MAX);
    let group = group();
    let nowhere = Place { directory: None, group: group.clone() };
    assert!(matches!(nowhere.open::<Stored>().unwrap(), Found::Nothing));
    let disk = CommitThread::start(&group, nowhere.format(IDENTITY).unwrap(), reports).unwrap();
    disk.submit(appending(&entries(None, 1, 3)), Ticket(9));
    assert_eq!(inbox.blocking_recv(), Some(Report::Durable(Ticket(9))));
    block_on(disk.close());
    assert!(matches!(nowhere.open::<Stored>().unwrap(), Found::Nothing));
}

#[test]
fn what_was_noted_of_others_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    three(&directory);
    let seen = Notes {
        addresses: vec!["127.0.0.1:41003".parse().unwrap(), "[::1]:7".parse().unwrap()],
        names: [(ReplicaId::from_u128(3), "replica.3".parse().unwrap())].into(),
    };
    loaded(&directory).0.note(&seen).unwrap();
    let Found::Member(_, contents) = place(&directory).open::<Stored>().unwrap() else { panic!() };
    assert_eq!(contents.notes, seen);
}

#[test]
fn a_disk_counts_as_full_until_there_is_room_enough_again() {
    let mut full = false;
    let mut seen = Vec::new();
    for free in [ROOM_ENOUGH, ROOM_MIN, ROOM_MIN - 1, ROOM_MIN, ROOM_ENOUGH - 1, ROOM_ENOUGH, ROOM_MIN] {
        if let Some(new) = changed(full, free) {
            full = new;
            seen.push((free, new));
        }
    }
    assert_eq!(seen, [(ROOM_MIN - 1, true), (ROOM_ENOUGH, false)]);
}
