//! `ns watch`: a line for each change, as it happens.

use std::collections::BTreeMap;
use std::time::Duration;

use common::directory::Names;
use common::ids::InstanceId;
use common::names::{AnyName, Change, Names as Which, Query, Record, Removal, Stamp, WatchId, What};
use common::rpc::limits::NAME_SERVICE;
use common::rpc::name_service::WatchError;
use common::rpc::transport::{CallError, within};

use super::{list, table_of};
use crate::errors::{self, Failure};
use crate::objects;
use crate::output::{Ended, Output, escaped};

/// As long as the name server holds a poll.
const HOLD: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(9);
/// Between two tries while no name server answers.
const AGAIN: Duration = Duration::from_millis(200);

/// What stands, as far as it was told.
type Standing = BTreeMap<(AnyName, InstanceId), Record>;

/// Tells changes until it is interrupted; through restarts of the name server too.
pub(super) async fn run(
    output: Output,
    names: &Names,
    timeout: Duration,
    prefix: Option<String>,
) -> Result<(), Ended> {
    let query = Query::by_name(prefix.map_or(Which::Any, |prefix| Which::Prefix(prefix.into())));
    let (mut standing, mut since) = listing(names, timeout, &query).await?;
    output.note("waiting for changes; Ctrl-C ends it");
    loop {
        let asked = vec![(WatchId(0), query.clone())];
        let answer = names.server().watch(within(NAME_SERVICE, PATIENCE), asked, since, HOLD).await;
        match answer.map_err(CallError::from) {
            Ok(Ok(answer)) => {
                since = answer.stamp;
                for change in &answer.value {
                    tell(output, &mut standing, change)?;
                }
            }
            Ok(Err(WatchError::Rebooted { .. } | WatchError::Compacted { .. })) => {
                let (now, stamp) = listing(names, timeout, &query).await?;
                tell_differences(output, &standing, &now, stamp)?;
                (standing, since) = (now, stamp);
            }
            Ok(Err(error)) => return Err(errors::invalid("prefix", error).into()),
            // Changes are told when one answers again.
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// What stands, and since when changes are news.
async fn listing(names: &Names, timeout: Duration, query: &Query) -> Result<(Standing, Stamp), Failure> {
    // Asked first: what changes while pages are read is told twice rather than never.
    let status =
        super::patiently(timeout, async |call| names.server().status(within(NAME_SERVICE, call)).await);
    let stamp = status.await.map_err(|error| crate::service::no_name_server(names, &error))?.stamp;
    let records = list(names, timeout, query).await?;
    Ok((records.into_iter().map(|record| (key(&record), record)).collect(), stamp))
}

fn key(record: &Record) -> (AnyName, InstanceId) {
    (record.name.clone(), record.instance)
}

fn tell(output: Output, standing: &mut Standing, change: &Change) -> Result<(), Ended> {
    let key = (change.name.clone(), change.instance);
    let rev = change.rev.0;
    match &change.what {
        What::Registered(record) | What::Updated(record) => {
            if standing.get(&key).is_some_and(|known| known.changed >= record.changed) {
                return Ok(());
            }
            let word = if matches!(change.what, What::Registered(_)) { "registered" } else { "updated" };
            standing.insert(key, Record::clone(record));
            say(output, record, word, None, rev)
        }
        What::Removed { epoch, why } => match standing.get(&key) {
            Some(known) if known.epoch <= *epoch => {
                let known = standing.remove(&key).expect("it was there");
                say(output, &known, "removed", Some(word_for(*why)), rev)
            }
            _ => Ok(()),
        },
    }
}

/// What happened while nobody could tell.
fn tell_differences(output: Output, before: &Standing, now: &Standing, stamp: Stamp) -> Result<(), Ended> {
    let rev = stamp.rev.0;
    for (key, gone) in before {
        if !now.contains_key(key) {
            say(output, gone, "removed", None, rev)?;
        }
    }
    for (key, record) in now {
        match before.get(key) {
            None => say(output, record, "registered", None, rev)?,
            Some(known) if known.epoch != record.epoch => say(output, record, "registered", None, rev)?,
            Some(known) if known != record => say(output, record, "updated", None, rev)?,
            Some(_) => {}
        }
    }
    Ok(())
}

fn say(
    output: Output,
    record: &Record,
    change: &'static str,
    why: Option<&'static str>,
    rev: u64,
) -> Result<(), Ended> {
    let told = objects::NameChange { record: objects::Name::from(record), change, why, rev };
    output.one(&told, |_| {
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        escaped(&format!("{rev} {change}{why} {}", table_of(&told.record)))
    })
}

fn word_for(why: Removal) -> &'static str {
    match why {
        Removal::Expired => "expired",
        Removal::Revoked => "revoked",
        Removal::Unregistered => "unregistered",
        Removal::Replaced => "replaced",
        Removal::Cleaned => "cleaned",
    }
}
