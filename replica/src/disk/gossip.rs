//! What the gossip engine writes into its group's file, and finds there.
//!
//! `meta` holds besides: members, floor, truncated, and whose log is kept; `log` is keyed by a running number, whose
//! order is the causal one; the snapshot that counts is the checkpoint; `old` is the log of an identity before this
//! one, kept until this one has logged again what the others lack of it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use common::clock::Clock;
use common::machine::fs;
use common::replication::{ReplicaId, Update};
use redb::{ReadTransaction, Table, TableDefinition, WriteTransaction};

use super::directory::Directory;
use super::file::{
    Batch, FileError, GroupFile, Identity, LOG, META, Place, Readable, Unreadable, file_time, get, put, seal,
    unseal,
};
use super::snapshot::{Kept, Shelf};
use crate::gossip::{OldLog, Stored, WriteBatch};

const OLD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("old");

impl Batch for WriteBatch {
    fn put(&self, transaction: &WriteTransaction, shelf: &mut Shelf) -> Result<Option<Kept>, redb::Error> {
        let mut log = transaction.open_table(LOG)?;
        let mut meta = transaction.open_table(META)?;
        if self.replace {
            log.retain(|_, _| false)?;
            transaction.open_table(OLD)?.retain(|_, _| false)?;
            for key in ["members", "floor", "truncated", "was"] {
                meta.remove(key)?;
            }
        }
        for (number, record) in &self.append {
            add(&mut log, "log", *number, record)?;
        }
        for number in &self.gone {
            log.remove(number)?;
        }
        if let Some(truncated) = &self.truncated {
            put(&mut meta, "truncated", truncated)?;
        }
        if let Some(floor) = &self.floor {
            put(&mut meta, "floor", floor)?;
        }
        if let Some(members) = &self.members {
            put(&mut meta, "members", members)?;
        }
        self.checkpoint.as_ref().map(|checkpoint| shelf.choose(transaction, checkpoint)).transpose()
    }

    fn entries(&self) -> (usize, usize) {
        (self.append.len(), self.append.iter().map(|(_, record)| record.weight()).sum())
    }
}

fn add(
    log: &mut Table<'_, u64, &'static [u8]>,
    table: &str,
    number: u64,
    record: &Update,
) -> Result<(), redb::Error> {
    log.insert(number, &*seal(table, &number.to_be_bytes(), record))?;
    Ok(())
}

impl Readable for Stored {
    /// That none of an origin's records is missing is what the core looks at.
    fn read(transaction: &ReadTransaction, checkpoint: Option<Bytes>) -> Result<Self, Unreadable> {
        let meta = transaction.open_table(META)?;
        let old = match get(&meta, "was")? {
            None => None,
            Some(was) => {
                let records = records(transaction, OLD, "old").collect::<Result<Vec<_>, _>>()?;
                Some(OldLog { was, log: records.into_iter().map(|(_, record)| record).collect() })
            }
        };
        Ok(Self {
            members: get(&meta, "members")?,
            floor: get(&meta, "floor")?.unwrap_or_default(),
            checkpoint,
            truncated: get(&meta, "truncated")?.unwrap_or_default(),
            log: records(transaction, LOG, "log").collect::<Result<_, _>>()?,
            old,
        })
    }
}

/// The records of a table, in its order.
fn records(
    transaction: &ReadTransaction,
    table: TableDefinition<'static, u64, &'static [u8]>,
    name: &'static str,
) -> impl Iterator<Item = Result<(u64, Arc<Update>), Unreadable>> {
    let rows =
        transaction.open_table(table).map_err(Unreadable::from).and_then(|table| Ok(table.range(0..)?));
    let (rows, failed) = match rows {
        Ok(rows) => (Some(rows), None),
        Err(error) => (None, Some(Err(error))),
    };
    let read = rows.into_iter().flatten().map(move |row| {
        let (number, value) = row?;
        let number = number.value();
        let record = unseal(name, &number.to_be_bytes(), value.value(), || format!("{name} {number}"))?;
        Ok((number, Arc::new(record)))
    });
    failed.into_iter().chain(read)
}

impl Place {
    /// Makes a file for a new identity, which keeps the log of the one before it.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn format_after(&self, identity: Identity, old: Option<&OldLog>) -> Result<GroupFile, FileError> {
        self.format_with(identity, |transaction| {
            let mut kept = transaction.open_table(OLD)?;
            let Some(OldLog { was, log }) = old else { return Ok(()) };
            put(&mut transaction.open_table(META)?, "was", was)?;
            for (number, record) in (1..).zip(log) {
                add(&mut kept, "old", number, record)?;
            }
            Ok(())
        })
    }

    /// What can still be read of a damaged file's log: each record up to the first that cannot.
    pub fn salvage(&self) -> Option<OldLog> {
        self.look_past_damage(|transaction| {
            let meta = transaction.open_table(META).ok()?;
            let was: ReplicaId = get(&meta, "replica").ok()??;
            let log =
                records(transaction, LOG, "log").map_while(Result::ok).map(|(_, record)| record).collect();
            Some(OldLog { was, log })
        })
    }
}

/// Writes updates down for a person, one JSON object a line, in a file of their own beside the group's.
///
/// # Errors
/// [`FileError::Directory`].
pub fn strand(directory: &Directory, updates: &[Arc<Update>]) -> Result<PathBuf, FileError> {
    let name = format!("{STRANDED}{}{LINES}", file_time(Clock::wall()));
    directory.make_file(&name, |file| {
        updates.iter().try_for_each(|update| {
            let Update { origin, counter, id, payload, .. } = &**update;
            // Numbers and hexadecimal digits need no quoting.
            let payload = payload.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            });
            writeln!(file, r#"{{"id":"{id}","origin":"{origin}","counter":{counter},"payload":"{payload}"}}"#)
        })
    })?;
    Ok(directory.path().join(name))
}

/// How many updates were put aside in this directory and are still there.
pub fn stranded(directory: &Directory) -> u64 {
    let names = fs::names_in(directory.path()).unwrap_or_default();
    let ours = names.into_iter().filter(|name| name.starts_with(STRANDED) && name.ends_with(LINES));
    let texts = ours.filter_map(|name| fs::read_to_string(directory.path().join(name)).ok());
    texts.map(|text| text.lines().count() as u64).sum()
}

const STRANDED: &str = "stranded-";
const LINES: &str = ".jsonl";

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use common::ids::ClusterId;
    use common::replication::{GossipConfig, Kind, RequestId, VectorTimestamp};

    use super::super::file::Found;
    use super::*;

    const IDENTITY: Identity =
        Identity { cluster: ClusterId::from_bytes([7; 16]), replica: ReplicaId::from_u128(1) };

    fn place(folder: &std::path::Path) -> Place {
        Place {
            directory: Some(Arc::new(Directory::open(folder).unwrap())),
            group: "ratings".parse().unwrap(),
        }
    }

    fn record(counter: u64) -> Arc<Update> {
        let id = RequestId::from_parts(Timestamp::from_millis(counter), 0, 0);
        let (origin, prev) = (IDENTITY.replica, VectorTimestamp::default());
        let payload = Bytes::from(format!("update {counter}"));
        Arc::new(Update { origin, counter, prev, id, kind: Kind::Causal, payload })
    }

    fn first() -> WriteBatch {
        WriteBatch {
            append: (1..=3).map(|n| (n, record(n))).collect(),
            floor: Some(Timestamp::from_millis(5)),
            members: Some(GossipConfig::first(
                IDENTITY.cluster,
                "ratings".parse().unwrap(),
                IDENTITY.replica,
            )),
            ..WriteBatch::default()
        }
    }

    fn opened(place: &Place) -> (GroupFile, Stored) {
        match place.open::<Stored>().unwrap() {
            Found::Member(file, contents) => (file, contents.stored),
            other => panic!("not a member: {other:?}"),
        }
    }

    #[test]
    fn what_the_engine_wrote_is_what_it_finds() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let mut file = place.format_after(IDENTITY, None).unwrap();
        file.write(&first()).unwrap();
        let mut truncated = VectorTimestamp::default();
        truncated.raise(IDENTITY.replica, 2);
        let checkpoint = Some(Bytes::from_static(b"all up to here"));
        let later = WriteBatch {
            gone: vec![1, 2],
            truncated: Some(truncated.clone()),
            checkpoint: checkpoint.clone(),
            append: vec![(4, record(4))],
            ..WriteBatch::default()
        };
        file.write(&later).unwrap();
        drop(file);
        let (_, stored) = opened(&place);
        assert_eq!(stored.log, [(3, record(3)), (4, record(4))]);
        assert_eq!((stored.truncated, stored.checkpoint), (truncated, checkpoint));
        assert_eq!((stored.floor, stored.members), (Timestamp::from_millis(5), first().members));
        assert_eq!(stored.old, None);
    }

    #[test]
    fn an_identitys_log_is_kept_for_the_next_until_that_one_has_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let old = OldLog { was: ReplicaId::from_u128(9), log: vec![record(1), record(2)] };
        drop(place.format_after(IDENTITY, Some(&old)).unwrap());
        let (mut file, stored) = opened(&place);
        assert_eq!((stored.old, stored.members), (Some(old), None));
        file.write(&WriteBatch { replace: true, ..first() }).unwrap();
        drop(file);
        let (_, stored) = opened(&place);
        assert_eq!((stored.old, stored.log.len()), (None, 3));
    }

    #[test]
    fn of_a_damaged_log_all_before_the_damage_is_saved() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let mut file = place.format_after(IDENTITY, None).unwrap();
        file.write(&first()).unwrap();
        drop(file);
        let database = redb::Database::open(folder.path().join("ratings.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(LOG).unwrap().insert(2, &b"what a failing disk gives"[..]).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let found = place.open::<Stored>().unwrap();
        assert!(matches!(&found, Found::Damaged(why) if why.contains("log 2")), "{found:?}");
        drop(found);
        assert_eq!(place.salvage(), Some(OldLog { was: IDENTITY.replica, log: vec![record(1)] }));
    }

    #[test]
    fn stranded_updates_are_written_down_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        assert_eq!(stranded(&directory), 0);
        let path = strand(&directory, &[record(1), record(2)]).unwrap();
        assert_eq!(stranded(&directory), 2);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.lines().all(|line| line.contains("\"payload\":\"757064617465")), "{text}");
    }
}
