//! `cluster`: how the replicas are. Each is asked itself; the name server only tells whom to ask.
//!
//! `assess.rs` makes a status of what everybody said, and is a core; `Lookout` asks. `adopt.rs` installs an operator's
//! record, which the core `decide.rs` makes of what everybody said.

mod adopt;
mod assess;
mod decide;
mod gossip;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use common::clock::Clock;
use common::directory::{Names, View};
use common::ids::ClusterId;
use common::names::{Address, AnyName, LogicalName, Names as Which, Query, Readiness};
use common::replication::GroupName;
use common::rpc::limits::{NAME_SERVICE, REPLICA};
use common::rpc::name_service::Config;
use common::rpc::replica::{ReplicaClient, ReplicaRequest, ReplicaResponse};
use common::rpc::transport::{Reconnecting, within};
use common::services::{CAUSAL, TABLE, just_hungry};
use futures::future::{join, join_all, select_all};
use tokio::sync::watch;

use crate::ask::Prompts;
use crate::errors::{Code, Failure};
use crate::grammar::{Cluster, Global};
use crate::objects::{self, Health};
use crate::output::{Ended, Output};
use crate::service::no_answer;
use assess::{Asked, Seen, assess, ready};
use decide::Wish;

/// Runs one of the commands.
///
/// # Errors
/// When nobody can be asked, when a service serves nobody, or when waiting took too long.
pub(crate) async fn run(
    output: Output,
    names: &Names,
    prompts: &Prompts,
    global: &Global,
    command: Cluster,
) -> Result<(), Ended> {
    let timeout = global.timeout;
    match command {
        Cluster::Adopt { group } if CAUSAL.iter().any(|served| served.name == group.as_str()) => {
            gossip::adopt(output, &mut Lookout::new(names), prompts, global, &group).await
        }
        Cluster::Adopt { group } => {
            adopt::run(output, &mut Lookout::new(names), prompts, global, group, Wish::Adopt).await
        }
        Cluster::ForceElect { group, name } => {
            adopt::run(output, &mut Lookout::new(names), prompts, global, group, Wish::Force(name)).await
        }
        Cluster::Set { name, status } => gossip::set(output, &mut Lookout::new(names), &name, status).await,
        Cluster::Remove { replica } => {
            gossip::remove(output, &mut Lookout::new(names), prompts, global, &replica).await
        }
        Cluster::Status => {
            let timeout = timeout.unwrap_or(Duration::from_secs(5));
            let mut lookout = Lookout::new(names);
            lookout.until_known(timeout).await?;
            let status = lookout.status(timeout).await;
            print(output, &status)?;
            match status.health {
                Health::Healthy | Health::Degraded => Ok(()),
                Health::Unavailable => Err(closed(&status).into()),
            }
        }
        Cluster::Wait { replicas } => {
            let timeout = timeout.unwrap_or(Duration::from_secs(15));
            let status = wait(names, timeout, replicas.map(usize::from)).await?;
            print(output, &status)
        }
    }
}

fn print(output: Output, status: &objects::Status) -> Result<(), Ended> {
    output.one(status, |screen| text::status(screen, status))
}

fn closed(status: &objects::Status) -> Failure {
    let groups: Vec<&str> = status
        .groups
        .iter()
        .filter(|group| group.health == Health::Unavailable)
        .map(|group| group.service.as_str())
        .collect();
    Failure::new(Code::NoPrimary, format!("nobody serves {}", groups.join(", ")))
        .hint(text::what_to_start(status))
}

/// Waits until every group serves with its members in sync and up to date.
async fn wait(names: &Names, timeout: Duration, replicas: Option<usize>) -> Result<objects::Status, Failure> {
    /// How often a replica is asked while nothing else happens: its progress is no event for us.
    const STEP: Duration = Duration::from_millis(50);
    let clock = Clock::start();
    let until = clock.now() + timeout;
    let mut lookout = Lookout::new(names);
    lookout.until_known(timeout).await?;
    let mut wanted = BTreeMap::new();
    loop {
        let left = until.since(clock.now()).max(STEP);
        let status = assess(&lookout.look(left).await);
        if ready(&status, replicas, &mut wanted) {
            // What was judged, and not what a second look would show.
            return Ok(objects::Status { name_servers: lookout.name_servers(left).await, ..status });
        }
        if clock.now() >= until {
            let status = lookout.status(STEP).await;
            return Err(Failure::new(Code::NotReady, format!("not everything serves after {timeout:?}"))
                .hint(format!("client cluster wait again, or look: {}", text::headline(&status))));
        }
        lookout.changed(clock.instant(until.min(clock.now() + STEP))).await;
    }
}

type Replica = ReplicaClient<Reconnecting<ReplicaRequest, ReplicaResponse>>;

/// Knows whom to ask, and asks.
struct Lookout {
    names: Names,
    replicas: watch::Receiver<View>,
    front_ends: watch::Receiver<View>,
    groups: Vec<(GroupName, watch::Receiver<Option<Config>>)>,
    gossip: Vec<(GroupName, watch::Receiver<Option<Config>>)>,
    connections: BTreeMap<Address, Replica>,
}

impl Lookout {
    fn new(names: &Names) -> Self {
        // Each front end serves every service, so one of the shared names tells of them all.
        let front_ends: LogicalName = just_hungry::NAME.parse().expect("a service of ours has a good name");
        Self {
            names: names.clone(),
            replicas: names.view(Query::by_name(Which::Prefix("replica.".into()))),
            front_ends: names.view(Query::by_name(Which::Exact(AnyName::from(front_ends)))),
            groups: TABLE.iter().map(|served| watched(names, served.name)).collect(),
            gossip: CAUSAL.iter().map(|served| watched(names, served.name)).collect(),
            connections: BTreeMap::new(),
        }
    }

    /// Waits until the name server has said who there is.
    async fn until_known(&mut self, timeout: Duration) -> Result<(), Failure> {
        let known = async {
            let _ = self.replicas.wait_for(|view| view.stamp.is_some()).await;
            let _ = self.front_ends.wait_for(|view| view.stamp.is_some()).await;
        };
        if tokio::time::timeout(timeout, known).await.is_ok() {
            return Ok(());
        }
        Err(no_answer(&self.names).await)
    }

    /// Returns when the name server tells of a change, or at `then`.
    async fn changed(&mut self, then: tokio::time::Instant) {
        let groups = self.groups.iter_mut().chain(&mut self.gossip);
        let groups = select_all(groups.map(|(_, group)| Box::pin(group.changed())));
        tokio::select! {
            _ = self.replicas.changed() => {}
            _ = groups => {}
            () = tokio::time::sleep_until(then) => {}
        }
    }

    /// How the name servers are.
    fn name_servers(&self, timeout: Duration) -> impl Future<Output = Vec<objects::NameServer>> + use<> {
        let servers = self.names.servers().to_vec();
        join_all(servers.into_iter().map(move |address| ping(address, timeout.min(PATIENCE))))
    }

    /// How everything is, the name servers too.
    async fn status(&mut self, timeout: Duration) -> objects::Status {
        let (name_servers, seen) = join(self.name_servers(timeout), self.look(timeout)).await;
        objects::Status { name_servers, ..assess(&seen) }
    }

    /// Asks everybody at once.
    async fn look(&mut self, timeout: Duration) -> Seen {
        let view = self.replicas.borrow_and_update().clone();
        let cluster = self.names.known_cluster().unwrap_or(ClusterId::UNSTATED);
        let mut questions = Vec::new();
        for record in view.records.iter() {
            let (Some(address), Ok(name)) =
                (record.target.address(), record.name.as_str().parse::<LogicalName>())
            else {
                continue;
            };
            let dial = || ReplicaClient::from(Reconnecting::new(address.clone(), REPLICA, cluster));
            let replica = self.connections.entry(address.clone()).or_insert_with(dial).clone();
            let ids = self.groups.iter().chain(&self.gossip).filter_map(|(group, _)| {
                let id = record.tags.value(&format!("id.{group}"))?.parse().ok()?;
                Some((group.clone(), id))
            });
            let asked = Asked {
                name,
                address: address.clone(),
                draining: record.readiness == Readiness::Draining,
                ids: ids.collect(),
                answer: None,
                gossip: None,
            };
            questions.push(ask(replica, asked, timeout.min(PATIENCE)));
        }
        let patience = timeout.min(PATIENCE);
        let mut groups = Vec::new();
        for (name, group) in &mut self.groups {
            let config = known(&self.names, name, group, patience).await;
            groups.push((name.clone(), config.and_then(Config::passive)));
        }
        let mut gossip = Vec::new();
        for (name, group) in &mut self.gossip {
            let config = known(&self.names, name, group, patience).await;
            gossip.push((name.clone(), config.and_then(Config::gossip)));
        }
        let front_ends = self.front_ends.borrow_and_update().clone();
        let front_ends = front_ends.records.iter().filter_map(|record| {
            let http = record.tags.value("http").map(str::to_owned);
            Some(objects::FrontEnd { address: record.target.address()?.to_string(), http })
        });
        Seen { groups, gossip, front_ends: front_ends.collect(), replicas: join_all(questions).await }
    }

    /// The way to a registered replica.
    fn replica(&mut self, name: &LogicalName) -> Option<Replica> {
        let cluster = self.names.known_cluster().unwrap_or(ClusterId::UNSTATED);
        let view = self.replicas.borrow().clone();
        let record = view.records.iter().find(|record| record.name.as_str() == name.as_str())?;
        let address = record.target.address()?.clone();
        let dial = || ReplicaClient::from(Reconnecting::new(address.clone(), REPLICA, cluster));
        Some(self.connections.entry(address.clone()).or_insert_with(dial).clone())
    }
}

/// A group's configuration, as the name server knows it.
async fn known(
    names: &Names,
    name: &GroupName,
    group: &mut watch::Receiver<Option<Config>>,
    patience: Duration,
) -> Option<Config> {
    let config = group.borrow_and_update().clone();
    if config.is_some() {
        return config;
    }
    // Not read yet, or there is none: only the name server can say which, and the advice depends on it.
    names.read_group(name.clone(), None, patience).await.unwrap_or(None)
}

/// A process that lives answers within this; one that does not is gone for whoever looks.
const PATIENCE: Duration = Duration::from_secs(1);

fn watched(names: &Names, service: &str) -> (GroupName, watch::Receiver<Option<Config>>) {
    let group: GroupName = service.parse().expect("a service of ours has a good name");
    (group.clone(), names.group(group))
}

async fn ask(replica: Replica, mut asked: Asked, patience: Duration) -> Asked {
    let (answer, gossip) =
        join(replica.status(within(REPLICA, patience)), replica.gossip_status(within(REPLICA, patience)))
            .await;
    (asked.answer, asked.gossip) = (answer.ok(), gossip.ok());
    asked
}

async fn ping(address: Address, patience: Duration) -> objects::NameServer {
    let alone = Names::new(vec![address.clone()], "client");
    let stamp = alone.server().status(within(NAME_SERVICE, patience)).await.ok().map(|status| status.stamp);
    objects::NameServer {
        address: address.to_string(),
        boot: stamp.map(|stamp| stamp.boot.0),
        rev: stamp.map(|stamp| stamp.rev.0),
        ok: stamp.is_some(),
    }
}
