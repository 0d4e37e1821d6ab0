//! Somebody who looks at the replicas all the time, is never cut off, and asks each for its last word at the end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use common::directory::{Names, View};
use common::names::{Address, Names as Which, Query as NameQuery};
use common::replication::{ConfigVersion, Epoch, GroupConfig, GroupName, LogIndex, VectorTimestamp};
use common::rpc::limits::REPLICA;
use common::rpc::replica::{
    Consistency, MemberStatus, Position, ReplicaClient, ReplicaRequest, ReplicaResponse, Role,
};
use common::rpc::transport::{Reconnecting, within};
use common::services::just_hungry::NAME;
use common::services::just_hungry::query::{Answer, Query};
use common::services::{decode, encode};
use tokio::time::sleep;

use super::caller::now;
use super::customers::user;
use super::raters::Club;
use super::spread::{self, Spread};
use crate::history::{Line, Op, Recorder};

/// How often.
const EVERY: Duration = Duration::from_millis(200);
/// A replica answers for itself from memory.
const PATIENCE: Duration = Duration::from_millis(150);
/// The last word may be long.
pub const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// The last status of each replica, by name, and when.
    pub latest: RefCell<BTreeMap<String, (Duration, MemberStatus)>>,
    /// What was seen of the ratings.
    pub ratings: Spread,
    /// What is wrong with what was seen.
    pub wrong: RefCell<Vec<String>>,
    /// State hashes by place, of all replicas.
    hashes: RefCell<BTreeMap<LogIndex, (u64, String)>>,
    /// The newest record.
    pub version: Cell<u64>,
    /// The newest epoch.
    pub epoch: Cell<Epoch>,
    /// Records seen, by version.
    records: RefCell<BTreeMap<ConfigVersion, GroupConfig>>,
    /// Ask for the last words once the replicas agree.
    pub finish: Cell<bool>,
    /// When they agreed.
    pub settled: Cell<Option<Duration>>,
    /// They were written down.
    pub finished: Cell<bool>,
}

impl Seen {
    /// Whether all of `count` replicas were just now in sync, and in service.
    pub fn all_in_sync(&self, now: Duration, count: usize) -> bool {
        let latest = self.latest.borrow();
        let fresh = |(at, status): &(Duration, MemberStatus)| {
            now < *at + 3 * EVERY
                && matches!(status.role, Role::Primary | Role::Backup)
                && status.config.as_ref().is_some_and(|config| {
                    config.version.0 == self.version.get() && config.in_sync.contains(status.member.id)
                })
        };
        latest.len() == count && latest.values().all(fresh)
    }

    /// Whether all of them hold the same.
    fn agree(&self, count: usize) -> bool {
        let latest = self.latest.borrow();
        let mut places = latest.values().map(|(_, status)| (status.last, status.applied));
        let first = places.next();
        self.all_in_sync(now(), count)
            && first.is_some_and(|(last, applied)| {
                last.index == applied && places.all(|place| place == (last, applied))
            })
    }

    /// How each of them is, for a person.
    pub fn told(&self) -> Vec<String> {
        let how = |(at, status): &(Duration, MemberStatus)| {
            let MemberStatus { name, role, member, last, applied, trouble, .. } = status;
            format!("{name} at {at:.1?}: {role:?} {} last {last} applied {applied} {trouble}", member.id)
        };
        self.latest.borrow().values().map(how).chain(self.ratings.told()).collect()
    }

    fn wrong(&self, what: String) {
        let mut wrong = self.wrong.borrow_mut();
        if wrong.len() < 20 && !wrong.contains(&what) {
            wrong.push(what);
        }
    }

    fn take_in(&self, name: &str, status: MemberStatus) {
        if let Some(config) = &status.config {
            let mut records = self.records.borrow_mut();
            let first = records.entry(config.version).or_insert_with(|| config.clone());
            if first != config {
                self.wrong(format!("two records of version {}: {first:?} and {config:?}", config.version));
            }
            drop(records);
            self.version.set(self.version.get().max(config.version.0));
            self.epoch.set(self.epoch.get().max(config.epoch));
        }
        if status.applied > LogIndex(0) {
            let mut hashes = self.hashes.borrow_mut();
            let (hash, who) =
                hashes.entry(status.applied).or_insert_with(|| (status.state_hash, name.to_owned()));
            if *hash != status.state_hash {
                self.wrong(format!("{name} and {who} hold different states at {}", status.applied));
            }
        }
        if let Some((_, before)) = self.latest.borrow().get(name)
            && before.member == status.member
            && (before.committed > status.committed || before.applied > status.applied)
        {
            self.wrong(format!("{name} went back from {} to {}", before.committed, status.committed));
        }
        self.latest.borrow_mut().insert(name.to_owned(), (now(), status));
    }
}

/// A replica.
pub type Replica = ReplicaClient<Reconnecting<ReplicaRequest, ReplicaResponse>>;

/// Looks, for ever.
pub async fn look(
    name_server: Address,
    replicas: usize,
    customers: u32,
    recorder: Recorder,
    club: Rc<Club>,
    seen: Rc<Seen>,
) {
    let names = Names::new(vec![name_server], "watch");
    let view = names.view(NameQuery::by_name(Which::Prefix("replica.".into())));
    let mut connections: BTreeMap<Address, Replica> = BTreeMap::new();
    loop {
        sleep(EVERY).await;
        let members = members(&view.borrow());
        let cluster = names.known_cluster().unwrap_or(common::ids::ClusterId::UNSTATED);
        let connect = |address: &Address| Replica::from(Reconnecting::new(address.clone(), REPLICA, cluster));
        for (name, address) in &members {
            let replica = connections.entry(address.clone()).or_insert_with(|| connect(address));
            if let Ok(statuses) = replica.status(within(REPLICA, PATIENCE)).await {
                // The customers' group: versions and places of another one are its own.
                for status in statuses.into_iter().filter(|status| status.service.as_str() == NAME) {
                    seen.take_in(name, status);
                }
            }
            if let Ok(statuses) = replica.gossip_status(within(REPLICA, PATIENCE)).await {
                for status in statuses {
                    seen.ratings.take_in(now(), name, status).unwrap_or_else(|what| seen.wrong(what));
                }
            }
        }
        let lately = now().saturating_sub(3 * EVERY);
        let same = || seen.agree(replicas) && seen.ratings.is_equal(lately, replicas);
        if seen.finish.get() && seen.settled.get().is_none() && same() {
            seen.settled.set(Some(now()));
            for (number, (name, address)) in members.iter().enumerate() {
                let replica = &connections[address];
                let words = async {
                    last_word(name, replica, customers, &recorder).await?;
                    spread::last_word(number, replica, &club).await
                };
                if let Err(why) = words.await {
                    seen.wrong(format!("{name} has no last word: {why}"));
                }
            }
            seen.finished.set(true);
        }
    }
}

fn members(view: &View) -> Vec<(String, Address)> {
    let member = |record: &std::sync::Arc<common::names::Record>| {
        Some((record.name.to_string(), record.target.address()?.clone()))
    };
    view.records.iter().filter_map(member).collect()
}

/// Writes down what a replica holds.
async fn last_word(name: &str, replica: &Replica, customers: u32, recorder: &Recorder) -> Result<(), String> {
    let group: GroupName = NAME.parse().expect("a good name");
    let ask = async |query: Query| {
        let at = || u64::try_from(now().as_nanos()).unwrap_or(u64::MAX);
        let mut line = Line::begun(u32::MAX, name, Op::Final, None, &query, at());
        let consistency = Consistency::StaleOk { max_age: Duration::from_secs(10) };
        let asked = replica.query(
            within(REPLICA, LAST_PATIENCE),
            group.clone(),
            VectorTimestamp::default(),
            consistency,
            encode(&query),
        );
        let answer = asked.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let said: Answer = decode(&answer.answer).map_err(|error| error.to_string())?;
        let Position::Log(place) = answer.position else { panic!("a passive group has a log") };
        line.answered(at(), place, &said);
        recorder.write(line);
        Ok::<_, String>(said)
    };
    ask(Query::Menu { after: 0, limit: 0 }).await?;
    for client in 0..customers {
        let mut after = 0;
        loop {
            let query = Query::Orders { user: user(client), active_only: false, after, limit: 0 };
            let Answer::Orders(page) = ask(query).await? else { break };
            match page.entries.last() {
                Some(last) if page.more => after = last.no,
                _ => break,
            }
        }
    }
    Ok(())
}
