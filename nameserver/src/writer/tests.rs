use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use common::ids::ClusterId;
use common::names::{
    BootCount, ContractName, Entry, Expect, ObjectName, Readiness, Sharing, Tags, Target, Weight,
};
use common::replication::{BootId, GroupConfig, Member, ReplicaId};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::LocalSet;

use super::*;
use crate::probes::Autoclean;
use crate::registry::Same;
use crate::store::flaky::Flaky;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A writer at work over a store that fails when told.
struct House {
    mailbox: Sender<Message>,
    shared: Rc<Shared>,
    failures: Arc<Mutex<u32>>,
    hangs: Arc<AtomicBool>,
    commits: Arc<Mutex<Vec<Vec<Write>>>>,
}

impl House {
    /// On the current `LocalSet`.
    fn start() -> Self {
        let cluster = ClusterId::from_bytes([1; 16]);
        let clock = Clock::start();
        let registry = Registry::new(cluster, BootCount(1), Revision(0), 100);
        let leases = Leases::new(clock.now(), 100);
        let shared = Rc::new(Shared {
            clock,
            shelf: registry.shelf(),
            book: leases.book(),
            ring: RefCell::new(Ring::new(Revision(0), RING_EVENTS)),
            bells: Rc::default(),
            meters: Rc::default(),
            group_bell: watch::Sender::new(()),
            warm_at: Cell::new(Moment::ORIGIN),
            polls: Cell::new(0),
        });
        let store = Flaky::default();
        let (failures, hangs) = (Arc::clone(&store.failures), Arc::clone(&store.hangs));
        let commits = Arc::clone(&store.commits);
        let (committer, reports) = Committer::start(store).unwrap();
        let (mailbox, messages) = channel(MAILBOX);
        let groups = Groups::new(cluster, []);
        let probes = Probes::new(Autoclean::Off);
        let writer = Writer::new(Rc::clone(&shared), registry, leases, groups, probes, committer, "flaky");
        tokio::task::spawn_local(writer.run(messages, reports));
        Self { mailbox, shared, failures, hangs, commits }
    }

    fn store_fails(&self, fails: bool) {
        *self.failures.lock().unwrap() = if fails { u32::MAX } else { 0 };
    }

    async fn ask<T, E>(&self, message: impl FnOnce(To<T, E>) -> Message) -> Result<T, E> {
        let (to, answer) = oneshot::channel();
        self.mailbox.send(message(to)).await.unwrap();
        answer.await.unwrap().map(|stamped| stamped.value)
    }

    async fn grant(&self) -> Result<Granted, GrantError> {
        let (ttl, instance) = (Duration::from_mins(1), InstanceId::random());
        self.ask(|to| Message::Grant { ttl, instance, owner: None, to }).await
    }

    async fn register(&self, lease: LeaseId) -> Result<Registered, RegisterError> {
        let request = Self::request(lease);
        self.ask(|to| Message::Register { request, to }).await
    }

    fn request(lease: LeaseId) -> Box<Registration> {
        let entry = Entry {
            sharing: Sharing::Exclusive,
            target: Target::Service {
                address: "127.0.0.1:1".parse().unwrap(),
                object: ObjectName::new("").unwrap(),
                contract: ContractName::new("replica").unwrap(),
            },
            tags: Tags::default(),
            readiness: Readiness::Up,
            weight: Weight::default(),
        };
        let (name, expect, fresh) = ("a".parse().unwrap(), Expect::Free, InstanceId::NOBODY);
        Box::new(Registration {
            caller: HERE,
            name,
            entry,
            expect,
            lease: Some(lease),
            fresh,
            same: Same::Repeat,
        })
    }

    async fn change(&self, proposed: &GroupChange) -> Result<Config, GroupError> {
        let proposed = proposed.clone();
        self.ask(|to| Message::ChangeGroup(Change { caller: HERE, proposed, to })).await
    }

    async fn group(&self) -> Option<Config> {
        let group = "g".parse().unwrap();
        self.ask(|to| Message::ReadGroup { group, known: None, to }).await.unwrap()
    }
}

fn creation() -> GroupChange {
    let member = Member { id: ReplicaId::random(), boot: BootId::random() };
    let new = GroupConfig::first(ClusterId::from_bytes([1; 16]), "g".parse().unwrap(), member, 1);
    GroupChange { expect: None, new: Config::Passive(new), by: Proposer::Member(member) }
}

/// Field failure: a full disk stopped everything. Here only changes wait, and say so.
#[tokio::test]
async fn f19_full_is_not_dead() {
    let work = async {
        let house = House::start();
        let lease = house.grant().await.unwrap().lease;
        house.store_fails(true);
        let refused = house.register(lease).await;
        assert!(matches!(refused, Err(RegisterError::Store(StoreError::Down { .. }))), "{refused:?}");
        // Until the store is back everything that changes is refused at once; who lives, stays.
        assert!(matches!(house.grant().await, Err(GrantError::Store(_))));
        assert!(house.shared.book.renew(house.shared.clock.now(), lease).is_ok());
        assert_eq!(house.ask(|to| Message::Revoke { lease, to }).await.unwrap(), 1, "who leaves, leaves");
        assert!(house.shared.book.renew(house.shared.clock.now(), lease).is_err());
        house.store_fails(false);
        let lease = loop {
            match house.grant().await {
                Ok(granted) => break granted.lease,
                Err(GrantError::Store(StoreError::Down { retry_in, .. })) => {
                    tokio::time::sleep(retry_in / 4).await;
                }
                Err(other) => panic!("{other}"),
            }
        };
        let registered = house.register(lease).await.unwrap();
        assert_eq!(house.register(lease).await.unwrap(), registered);
    };
    LocalSet::new().run_until(work).await;
}

/// A batch of a Pyro program waited for the disk at each of its names.
#[tokio::test]
async fn what_is_registered_together_is_one_commit_and_ends_where_it_is_refused() {
    let work = async {
        let house = House::start();
        let request = |name: &str, expect| Registration {
            name: name.parse().unwrap(),
            expect,
            lease: None,
            same: Same::Anew,
            ..*House::request(LeaseId::from_random(1))
        };
        let mut requests: Vec<_> = (0..100).map(|n| request(&format!("n{n}"), Expect::Free)).collect();
        requests.extend([
            request("n7", Expect::Whatever),
            request("n7", Expect::Free),
            request("z", Expect::Free),
        ]);
        let (done, refused) = house.ask(|to| Message::RegisterAll { requests, to }).await.unwrap();
        assert_eq!(done, 101);
        assert!(matches!(refused, Some(RegisterError::Held { .. })), "{refused:?}");
        assert_eq!(house.shared.shelf.names(), 100);
        assert_eq!(house.commits.lock().unwrap().len(), 1);
    };
    LocalSet::new().run_until(work).await;
}

/// Callers give up after two seconds and come again; what they asked for stays in the queue of a disk that says nothing.
#[tokio::test]
async fn a_disk_that_hangs_is_not_promised_more_and_more() {
    let work = async {
        let house = House::start();
        let lease = house.grant().await.unwrap().lease;
        house.register(lease).await.unwrap();
        house.hangs.store(true, Ordering::Release);
        let mut waiting = VecDeque::new();
        let refused = loop {
            let (to, mut answer) = oneshot::channel();
            let weight = Weight::new(1 + u16::try_from(waiting.len() % 900).unwrap());
            let patch = Patch { weight, ..Patch::default() };
            let (holder, name) = (Holder::Lease(lease), "a".parse().unwrap());
            house.mailbox.try_send(Message::Update { caller: HERE, holder, name, patch, to }).unwrap();
            if waiting.len() % 500 == 0 {
                tokio::task::yield_now().await;
                if let Ok(refused) = answer.try_recv() {
                    break refused;
                }
            }
            waiting.push_back(answer);
        };
        assert!(matches!(refused, Err(UpdateError::Store(StoreError::Down { .. }))), "{refused:?}");
        assert!(waiting.len() < UNWRITTEN_MAX + 2_000, "{} wait", waiting.len());
        assert!(house.shared.book.renew(house.shared.clock.now(), lease).is_ok());
        house.hangs.store(false, Ordering::Release);
        assert!(waiting.pop_front().unwrap().await.unwrap().is_ok());
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test]
async fn a_configuration_whose_fate_was_unknown_stands_once_it_is_durable() {
    let work = async {
        let house = House::start();
        let mut bell = house.shared.group_bell.subscribe();
        house.store_fails(true);
        let change = creation();
        let refused = house.change(&change).await;
        assert!(matches!(refused, Err(GroupError::Store(_))), "{refused:?}");
        assert_eq!(house.group().await, None, "nobody sees what may not be durable");
        house.store_fails(false);
        bell.changed().await.unwrap();
        assert_eq!(house.group().await, Some(change.new.clone()));
        assert_eq!(house.change(&change).await, Ok(change.new));
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test]
async fn of_two_changes_at_once_the_second_learns_what_stands() {
    let work = async {
        let house = House::start();
        let (one, two) = (creation(), creation());
        let (first, second) = tokio::join!(house.change(&one), house.change(&two));
        assert_eq!(first, Ok(one.new.clone()));
        assert_eq!(second, Err(GroupError::Conflict { current: Some(one.new) }));
    };
    LocalSet::new().run_until(work).await;
}
