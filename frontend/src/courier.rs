//! Carries calls to replicas: the shell round [`crate::router`]. It decides nothing; it knows the clock, the
//! connections and what the name server says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::clock::{Clock, Moment, Timestamp};
use common::ids::ClusterId;
use common::names::{Address, Record};
use common::replication::{Epoch, GroupConfig, GroupName};
use common::rpc::limits::REPLICA;
use common::rpc::transport::{CallError, remaining, within};
use metrics::Counter;
use tarpc::client::RpcError;
use tarpc::context::Context;
use tokio::sync::watch;
use tracing::{debug, info};

use crate::causal::{self, Members, Round};
use crate::failure::{Failure, Reading};
use crate::group::{Group, Target};
use crate::meters;
use crate::pool::{Client, Pool};
use crate::router::{Journey, Setback, Step};

/// Time kept back for the answer's own way to the caller, who would else only see its deadline pass.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);

/// Carries calls, and keeps what is known of each group.
pub struct Courier {
    clock: Clock,
    pool: Pool,
    groups: BTreeMap<GroupName, watch::Sender<Group>>,
    causal: BTreeMap<GroupName, watch::Sender<Members>>,
    fail_overs: RefCell<BTreeMap<GroupName, FailOver>>,
    fail_overs_seen: BTreeMap<GroupName, Counter>,
}

/// A change of a group's primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailOver {
    /// When we learnt of it.
    pub at: Timestamp,
    /// Its epoch.
    pub to: Epoch,
    /// How long the longest call took that began before it and was answered after it; `None`: there was none.
    pub waited: Option<Duration>,
}

/// Which way a service's calls go.
#[derive(Clone, Copy)]
pub enum Way<'a> {
    /// To its primary.
    Primary(&'a watch::Sender<Group>),
    /// To any member.
    Any(&'a watch::Sender<Members>),
}

/// Who answered a connection's last call about a gossip group.
pub type LastUsed = RefCell<Option<Address>>;

impl Courier {
    /// Carries calls to these groups of `cluster`: those with a primary, and the `causal` ones.
    pub fn new(
        clock: Clock,
        cluster: ClusterId,
        groups: impl IntoIterator<Item = GroupName>,
        causal: impl IntoIterator<Item = GroupName>,
    ) -> Self {
        let groups = groups.into_iter().map(|name| (name.clone(), watch::Sender::new(Group::unknown(name))));
        let groups: BTreeMap<_, _> = groups.collect();
        let seen = |name: &GroupName| (name.clone(), meters::fail_overs(name));
        let causal =
            causal.into_iter().map(|name| (name.clone(), watch::Sender::new(Members::unknown(name))));
        let courier = Self {
            clock,
            pool: Pool::new(cluster),
            fail_overs_seen: groups.keys().map(seen).collect(),
            groups,
            causal: causal.collect(),
            fail_overs: RefCell::default(),
        };
        courier.services().for_each(meters::service_known);
        courier
    }

    /// The groups that it knows of.
    pub fn services(&self) -> impl Iterator<Item = &GroupName> {
        self.groups.keys().chain(self.causal.keys())
    }

    /// The way to `service`; `None` when it is not one of ours.
    pub fn way(&self, service: &GroupName) -> Option<Way<'_>> {
        let primary = self.groups.get(service).map(Way::Primary);
        primary.or_else(|| self.causal.get(service).map(Way::Any))
    }

    /// Takes in a group's record.
    pub fn learn(&self, config: &GroupConfig) {
        if let Some(group) = self.groups.get(&config.group) {
            self.take_in(group, config);
        }
    }

    /// Takes in the names of all replicas.
    pub fn name_places(&self, records: &[Arc<Record>]) {
        for group in self.groups.values() {
            group.send_if_modified(|group| group.name_places(records));
        }
        for members in self.causal.values() {
            members.send_if_modified(|members| members.name_places(records));
        }
        self.pool.keep_only(|address| {
            let wanted = |wanted: &Address| wanted == address;
            self.groups.values().any(|group| group.borrow().addresses().any(wanted))
                || self.causal.values().any(|members| members.borrow().addresses().any(wanted))
        });
    }

    /// The time, by the clock that calls are carried by.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Every address at which a replica may be.
    pub fn addresses(&self) -> Vec<Address> {
        let groups =
            self.groups.values().map(|group| group.borrow().addresses().cloned().collect::<Vec<_>>());
        let causal = self.causal.values().map(|members| members.borrow().addresses().cloned().collect());
        let mut all: Vec<_> = groups.chain(causal).flatten().collect();
        all.sort();
        all.dedup();
        all
    }

    /// The connection to the replica at this address.
    pub fn replica(&self, address: &Address) -> Client {
        self.pool.client(address)
    }

    /// The groups that gossip.
    pub fn causal(&self) -> impl Iterator<Item = &GroupName> {
        self.causal.keys()
    }

    /// Every group with a primary, with its newest record.
    pub fn known(&self) -> Vec<(GroupName, Option<GroupConfig>)> {
        self.groups.iter().map(|(name, group)| (name.clone(), group.borrow().config().cloned())).collect()
    }

    /// The last change of a group's primary.
    pub fn last_fail_over(&self, service: &GroupName) -> Option<FailOver> {
        self.fail_overs.borrow().get(service).copied()
    }

    /// Notes that a call which had begun under an older leader was answered under this one.
    fn lived_through(&self, service: &GroupName, to: Epoch, took: Duration) {
        if let Some(known) = self.fail_overs.borrow_mut().get_mut(service).filter(|known| known.to == to) {
            known.waited = known.waited.max(Some(took));
        }
    }

    fn take_in(&self, group: &watch::Sender<Group>, config: &GroupConfig) {
        let before = group.borrow().config().map(|known| known.primary);
        if !group.send_if_modified(|group| group.learn(config)) {
            return;
        }
        if before.is_some_and(|before| before != config.primary) {
            let fail_over = FailOver { at: Clock::wall(), to: config.epoch, waited: None };
            self.fail_overs.borrow_mut().insert(config.group.clone(), fail_over);
            self.fail_overs_seen[&config.group].increment(1);
        }
        let GroupConfig { group, version, epoch, primary, in_sync, .. } = config;
        info!(%group, %version, %epoch, replica = %primary.id, in_sync = in_sync.len(), "the group changed");
    }

    /// The moment until which a call with this context is worth carrying.
    pub fn deadline(&self, context: &Context) -> Moment {
        let left = remaining(context);
        self.clock.now() + left.saturating_sub(ANSWER_MARGIN.min(left / 10))
    }

    /// Carries one call to whichever replica answers it, until `deadline`.
    ///
    /// # Errors
    /// A replica's last word, or what the journey came to; never "no effect" unless no try had one.
    pub async fn carry<A, E: Failure>(
        &self,
        way: Way<'_>,
        last: &LastUsed,
        deadline: Moment,
        ask: impl AsyncFn(Client, Context) -> Result<Result<A, E>, RpcError>,
    ) -> Result<A, E> {
        match way {
            Way::Primary(group) => self.carry_to_primary(group, deadline, ask).await,
            Way::Any(members) => self.carry_to_any(members, last, deadline, ask).await,
        }
    }

    async fn carry_to_any<A, E: Failure>(
        &self,
        members: &watch::Sender<Members>,
        last: &LastUsed,
        deadline: Moment,
        ask: impl AsyncFn(Client, Context) -> Result<Result<A, E>, RpcError>,
    ) -> Result<A, E> {
        let mut known = members.subscribe();
        let service = known.borrow().name().clone();
        let used = || last.borrow().clone();
        let mut round = Round::new(self.clock.now(), deadline, &known.borrow_and_update(), used().as_ref());
        loop {
            let now = self.clock.now();
            let (address, until) = match round.step(now, &service) {
                causal::Step::Ask(address, until) => (address, until),
                causal::Step::Wait(until) => {
                    tokio::select! {
                        Ok(()) = known.changed() => {}
                        () = tokio::time::sleep_until(self.clock.instant(until)) => {}
                    }
                    round.begin(&known.borrow_and_update(), used().as_ref());
                    continue;
                }
                causal::Step::End(error) => return Err(error),
            };
            let (reading, error) =
                match ask(self.pool.client(&address), within(REPLICA, until.since(now))).await {
                    Ok(Ok(answer)) => {
                        debug!(%service, %address, "answered");
                        last.replace(Some(address));
                        return Ok(answer);
                    }
                    Ok(Err(error)) => (error.clone().read(), Some(error)),
                    Err(error) => (E::read_call(CallError::from(error)), None),
                };
            match reading {
                Reading::Setback(setback) => {
                    debug!(%service, %address, ?setback, "a try failed");
                    meters::set_back(&service, &setback);
                    round.failed(&setback, error);
                }
                Reading::Final(error) => return Err(round.conclude(self.clock.now(), &service, error)),
            }
        }
    }

    async fn carry_to_primary<A, E: Failure>(
        &self,
        group: &watch::Sender<Group>,
        deadline: Moment,
        ask: impl AsyncFn(Client, Context) -> Result<Result<A, E>, RpcError>,
    ) -> Result<A, E> {
        let mut known = group.subscribe();
        let service = known.borrow().name().clone();
        let begun = self.clock.now();
        let epoch = |group: &Group| group.config().map(|config| config.epoch);
        let led_in = epoch(&known.borrow());
        let mut journey = Journey::new(begun, deadline);
        loop {
            let now = self.clock.now();
            let step = journey.step(now, &known.borrow_and_update());
            let target = match step {
                Step::Ask(target) => target,
                Step::Wait { until } => {
                    tokio::select! {
                        Ok(()) = known.changed() => {}
                        () = tokio::time::sleep_until(self.clock.instant(until)) => {}
                    }
                    continue;
                }
                Step::GiveUp => return Err(E::given_up(&service, &journey.given_up(now))),
            };
            let call = ask(self.pool.client(&target.address), within(REPLICA, deadline.since(now)));
            let reading = match unless_overtaken(&journey, &target, &mut known, call).await {
                Some(Ok(Ok(answer))) => {
                    debug!(%service, replica = %target.id, address = %target.address, "answered");
                    if let Some(to) =
                        epoch(&known.borrow()).filter(|to| led_in.is_some_and(|before| before < *to))
                    {
                        self.lived_through(&service, to, self.clock.now().since(begun));
                    }
                    return Ok(answer);
                }
                Some(Ok(Err(error))) => error.read(),
                Some(Err(error)) => E::read_call(CallError::from(error)),
                None => Reading::Setback(Setback::Lost),
            };
            let setback = match reading {
                Reading::Setback(setback) => setback,
                Reading::Final(error) => return Err(journey.conclude(self.clock.now(), &service, error)),
            };
            debug!(%service, replica = %target.id, address = %target.address, ?setback, "a try failed");
            meters::set_back(&service, &setback);
            if let Setback::NotPrimary { config: Some(config), address } = &setback {
                self.take_in(group, config);
                if let Some(address) = *address {
                    group.send_if_modified(|group| group.hear(config, address));
                }
            }
            journey.failed(self.clock.now(), &setback, &known.borrow());
        }
    }
}

/// What `call` brings; `None` when the group got another leader before that.
async fn unless_overtaken<T>(
    journey: &Journey,
    asked: &Target,
    known: &mut watch::Receiver<Group>,
    call: impl Future<Output = T>,
) -> Option<T> {
    tokio::pin!(call);
    loop {
        tokio::select! {
            biased;
            answer = &mut call => return Some(answer),
            Ok(()) = known.changed() => {
                if journey.overtaken(asked, &known.borrow_and_update()) {
                    return None;
                }
            }
        }
    }
}
