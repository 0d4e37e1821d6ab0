//! Carries calls to replicas: the shell round [`crate::router`]. It decides nothing; it knows the clock, the
//! connections and what the name server says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::clock::{Clock, Moment};
use common::ids::ClusterId;
use common::names::Record;
use common::replication::{GroupConfig, GroupName};
use common::rpc::limits::REPLICA;
use common::rpc::transport::{CallError, remaining, within};
use tarpc::client::RpcError;
use tarpc::context::Context;
use tokio::sync::watch;
use tracing::{debug, info};

use crate::failure::{Failure, Reading};
use crate::group::{Group, Target};
use crate::pool::{Client, Pool};
use crate::router::{Journey, Setback, Step};

/// Time kept back for the answer's own way to the caller, who would else only see its deadline pass.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);

/// Carries calls, and keeps what is known of each group.
pub struct Courier {
    clock: Clock,
    pool: Pool,
    groups: BTreeMap<GroupName, watch::Sender<Group>>,
}

impl Courier {
    /// Carries calls to `groups` of `cluster`.
    pub fn new(clock: Clock, cluster: ClusterId, groups: impl IntoIterator<Item = GroupName>) -> Self {
        let groups = groups.into_iter().map(|name| (name.clone(), watch::Sender::new(Group::unknown(name))));
        Self { clock, pool: Pool::new(cluster), groups: groups.collect() }
    }

    /// The groups that it knows of.
    pub fn services(&self) -> impl Iterator<Item = &GroupName> {
        self.groups.keys()
    }

    /// What is known of `service`; `None` when it is not one of ours.
    pub fn group(&self, service: &GroupName) -> Option<&watch::Sender<Group>> {
        self.groups.get(service)
    }

    /// Takes in a group's record.
    pub fn learn(&self, config: &GroupConfig) {
        if let Some(group) = self.groups.get(&config.group) {
            learn(group, config);
        }
    }

    /// Takes in the names of all replicas.
    pub fn name_places(&self, records: &[Arc<Record>]) {
        for group in self.groups.values() {
            group.send_if_modified(|group| group.name_places(records));
        }
        self.pool.keep_only(|address| {
            self.groups.values().any(|group| group.borrow().addresses().any(|wanted| wanted == address))
        });
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
        group: &watch::Sender<Group>,
        deadline: Moment,
        ask: impl AsyncFn(Client, Context) -> Result<Result<A, E>, RpcError>,
    ) -> Result<A, E> {
        let mut known = group.subscribe();
        let service = known.borrow().name().clone();
        let mut journey = Journey::new(self.clock.now(), deadline);
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
            if let Setback::NotPrimary { config: Some(config), address } = &setback {
                learn(group, config);
                if let Some(address) = *address {
                    group.send_if_modified(|group| group.hear(config, address));
                }
            }
            journey.failed(self.clock.now(), &setback, &known.borrow());
        }
    }
}

fn learn(group: &watch::Sender<Group>, config: &GroupConfig) {
    if group.send_if_modified(|group| group.learn(config)) {
        let GroupConfig { group, version, epoch, primary, in_sync, .. } = config;
        info!(%group, %version, %epoch, replica = %primary.id, in_sync = in_sync.len(), "the group changed");
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
