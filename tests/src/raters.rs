//! People who rate films while things go wrong, each through whichever replica they happen to ask, and what every
//! replica has at the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::clock::Clock;
use common::ids::ClusterId;
use common::names::Address;
use common::replication::{GroupName, RequestId, RequestIdSource, Session};
use common::rpc::limits::REPLICA;
use common::rpc::replica::{
    Consistency, GossipStatus, Position, ReplicaClient, ReplicaRequest, ReplicaResponse, SubmitError,
};
use common::rpc::transport::{Reconnecting, within};
use common::services::ratings::{Answer, FilmKey, NAME, Query, Rating, Refusal, Update};
use common::services::{decode, encode};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::history::sessions::{Call, What, judge};
use crate::process::PATIENCE;
use crate::shop::run;

/// Films that everybody rates under one name: so that people meet in a few cells.
const CELLS: usize = 5;
/// How long one replica is asked.
const ONE_TRY: Duration = Duration::from_secs(2);

type Replica = ReplicaClient<Reconnecting<ReplicaRequest, ReplicaResponse>>;

/// The way to the replica at `address`.
pub fn replica(address: SocketAddr) -> Replica {
    ReplicaClient::from(Reconnecting::new(Address::from(address), REPLICA, ClusterId::UNSTATED))
}

/// The film of a cell.
pub fn film(cell: usize) -> FilmKey {
    FilmKey::new(&format!("film {cell}"), Some(2000))
}

/// Who is asked: what may change while things go wrong.
pub type Addresses = Arc<std::sync::Mutex<Vec<SocketAddr>>>;

/// A person.
pub struct Rater {
    number: usize,
    user: String,
    session: Session,
    ids: RequestIdSource,
    dice: StdRng,
    addresses: Addresses,
    known: std::collections::BTreeMap<SocketAddr, Replica>,
    /// What they did.
    pub calls: Vec<Call>,
}

impl Rater {
    /// A person who rates under `user`, and asks these.
    pub fn new(number: usize, user: &str, addresses: &Addresses) -> Self {
        Self {
            number,
            user: user.to_owned(),
            session: Session::default(),
            ids: RequestIdSource::default(),
            dice: StdRng::seed_from_u64(number as u64),
            addresses: addresses.clone(),
            known: std::collections::BTreeMap::new(),
            calls: Vec::new(),
        }
    }

    fn anybody(&mut self) -> Replica {
        let at = {
            let addresses = self.addresses.lock().expect("nobody panics with it");
            addresses[self.dice.random_range(0..addresses.len())]
        };
        self.known.entry(at).or_insert_with(|| replica(at)).clone()
    }

    fn note(&mut self, cell: usize, what: What) {
        self.calls.push(Call { person: self.number, cell, what });
    }

    /// Rates a film, as often as needed under the same id, at another replica each time; whether it was acknowledged.
    ///
    /// # Errors
    /// When a replica answers what it never should.
    pub async fn rate(&mut self, cell: usize, patience: Duration) -> Result<Option<RequestId>> {
        let clock = Clock::start();
        let random = self.dice.random();
        self.ids.observe(self.session.latest);
        let id = self.ids.next(Clock::wall(), random);
        let rating: Rating = self.dice.random_range(0..=5_000_000_u32).try_into()?;
        let update = encode(&Update::Rate { film: film(cell), user: self.user.clone(), rating });
        self.note(cell, What::Sent(id));
        while clock.now().since_origin() < patience {
            let replica = self.anybody();
            let prev = self.session.vector.clone();
            let group: GroupName = NAME.parse().expect("a good name");
            let asked = replica.execute(
                within(REPLICA, ONE_TRY),
                group,
                id,
                prev.clone(),
                bytes::Bytes::new(),
                update.clone(),
            );
            match asked.await {
                Ok(Ok(done)) => {
                    let Position::Causal { vector, latest } = &done.position else {
                        bail!("{:?}", done.position)
                    };
                    self.session.saw(&prev, vector, *latest);
                    self.note(cell, What::Acknowledged(id));
                    return Ok(Some(id));
                }
                Ok(Err(
                    error @ (SubmitError::Reused
                    | SubmitError::FromTheFuture { .. }
                    | SubmitError::Expired { .. }),
                )) => {
                    bail!("{id}: {error}");
                }
                // Another one, with the same id.
                Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
        Ok(None)
    }

    /// Looks at a film's rating; whether somebody answered.
    ///
    /// # Errors
    /// As [`Self::rate`].
    pub async fn view(&mut self, cell: usize, patience: Duration) -> Result<bool> {
        let clock = Clock::start();
        let query = encode(&Query::View { film: film(cell), user: self.user.clone() });
        while clock.now().since_origin() < patience {
            let replica = self.anybody();
            let prev = self.session.vector.clone();
            let group: GroupName = NAME.parse().expect("a good name");
            let asked = replica.query(
                within(REPLICA, ONE_TRY),
                group,
                prev.clone(),
                Consistency::Linearizable,
                query.clone(),
            );
            match asked.await {
                Ok(Ok(answer)) => {
                    let Position::Causal { vector, latest } = &answer.position else {
                        bail!("{:?}", answer.position)
                    };
                    self.session.saw(&prev, vector, *latest);
                    let saw = match decode::<Answer>(&answer.answer)? {
                        Answer::View { stamp, .. } => Some(stamp),
                        Answer::Refused(Refusal::NotRated) => None,
                        other => bail!("{other:?}"),
                    };
                    self.note(cell, What::Saw(saw));
                    return Ok(true);
                }
                Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
        Ok(false)
    }
}

/// People at work, until they are stopped.
pub struct Raters {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    work: JoinHandle<Result<Vec<Call>>>,
}

impl Raters {
    /// So many people, who all rate and look at the same few films.
    pub fn start(people: usize, addresses: &Addresses) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted, addresses) = (stop.clone(), acknowledged.clone(), addresses.clone());
        let work = std::thread::spawn(move || {
            run(async {
                let one = async |number: usize| -> Result<Vec<Call>> {
                    let mut person = Rater::new(number, "everybody", &addresses);
                    while !stopped.load(Ordering::Relaxed) {
                        let cell = person.dice.random_range(0..CELLS);
                        if person.dice.random_bool(0.5) {
                            let rated = person.rate(cell, PATIENCE).await?;
                            counted.fetch_add(u64::from(rated.is_some()), Ordering::Relaxed);
                        } else {
                            person.view(cell, PATIENCE).await?;
                        }
                    }
                    Ok(person.calls)
                };
                let all: Result<Vec<_>> = join_all((0..people).map(one)).await.into_iter().collect();
                Ok(all?.concat())
            })
        });
        Self { stop, acknowledged, work }
    }

    /// Returns when so many more ratings were acknowledged.
    ///
    /// # Errors
    /// When that takes more than two minutes: where a third of all packets is lost, connections stand still for long.
    pub fn await_acknowledged(&self, more: u64) -> Result<()> {
        const WAITED: Duration = Duration::from_mins(2);
        let before = self.acknowledged.load(Ordering::Relaxed);
        run(async {
            let clock = Clock::start();
            while self.acknowledged.load(Ordering::Relaxed) < before + more {
                ensure!(!self.work.is_finished(), "the raters have ended");
                ensure!(clock.now().since_origin() < WAITED, "fewer than {more} ratings in {WAITED:?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        })
    }

    /// Stops them, and judges what they saw; how many calls that were.
    ///
    /// # Errors
    /// When somebody saw what they should not.
    pub fn stop_and_judge(self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        let calls = self.work.join().map_err(|_| anyhow!("a rater panicked"))??;
        let breaches = judge(&calls);
        ensure!(breaches.is_empty(), "{} breaches, the first: {}", breaches.len(), breaches[0]);
        Ok(calls.len())
    }
}

/// How the replicas' members of the ratings are.
///
/// # Errors
/// When one does not answer.
pub async fn statuses(addresses: &[SocketAddr]) -> Result<Vec<GossipStatus>> {
    let one = async |address: &SocketAddr| -> Result<GossipStatus> {
        let all = replica(*address).gossip_status(within(REPLICA, ONE_TRY)).await?;
        all.into_iter().find(|member| member.service.as_str() == NAME).context("it hosts the ratings")
    };
    join_all(addresses.iter().map(one)).await.into_iter().collect()
}

/// Returns how long it took until all had applied the same and had the same digest.
///
/// # Errors
/// When that takes more than [`PATIENCE`].
pub fn await_equal(addresses: &[SocketAddr]) -> Result<Duration> {
    run(async {
        let clock = Clock::start();
        loop {
            let all = statuses(addresses).await;
            if let Ok(all) = &all
                && all.iter().all(|one| one.applied == all[0].applied && one.trouble.is_empty())
            {
                ensure!(all.iter().all(|one| one.digest == all[0].digest), "replicas differ: {all:?}");
                return Ok(clock.now().since_origin());
            }
            ensure!(clock.now().since_origin() < PATIENCE, "not equal after {PATIENCE:?}: {all:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}
