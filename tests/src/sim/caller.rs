//! What whoever calls has, whatever they want: the way to front ends by name, and ids dated by the service's clock.

use std::collections::BTreeMap;
use std::time::Duration;

use common::clock::{Clock, Timestamp};
use common::directory::{Names, View, in_order};
use common::ids::ClusterId;
use common::names::{self, Address, AnyName, LogicalName, Query as NameQuery};
use common::replication::{GroupName, RequestId, RequestIdSource};
use common::rpc::frontend::{FrontendClient, FrontendRequest, FrontendResponse};
use common::rpc::limits::FRONTEND;
use common::rpc::transport::Reconnecting;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;

/// One call, with all its repeats.
pub const PATIENCE: Duration = Duration::from_secs(6);
/// One try.
pub const TRY: Duration = Duration::from_millis(1500);
/// Between two tries.
pub const PAUSE: Duration = Duration::from_millis(40);

/// A front end.
pub type FrontEnd = FrontendClient<Reconnecting<FrontendRequest, FrontendResponse>>;

/// Since the simulation began, by the clock that all hosts share.
pub fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

/// Whoever calls a service.
pub struct Caller {
    /// Which service.
    pub group: GroupName,
    /// What they draw.
    pub chance: SmallRng,
    names: Names,
    view: watch::Receiver<View>,
    connections: BTreeMap<Address, FrontEnd>,
    ids: RequestIdSource,
    /// The service's clock minus ours, in milliseconds.
    ahead: i64,
}

impl Caller {
    /// Number `number`, who asks the name server at `name_server` for `service`.
    pub fn new(number: u32, service: &str, name_server: Address, seed: u64) -> Self {
        let names = Names::new(vec![name_server], "customer");
        let name: LogicalName = service.parse().expect("a good name");
        let view = names.view(NameQuery::by_name(names::Names::Exact(AnyName::from(&name))));
        Self {
            group: service.parse().expect("a good name"),
            chance: SmallRng::seed_from_u64(seed ^ (u64::from(number) << 32)),
            names,
            view,
            connections: BTreeMap::new(),
            ids: RequestIdSource::default(),
            ahead: 0,
        }
    }

    /// An id for a new command.
    pub fn id(&mut self) -> RequestId {
        let now = Clock::wall().millis().saturating_add_signed(self.ahead);
        self.ids.next(Timestamp::from_millis(now), self.chance.random())
    }

    /// Makes the following ids greater than `seen`.
    pub fn observe(&mut self, seen: RequestId) {
        self.ids.observe(seen);
    }

    /// The service says what time it is.
    pub fn correct(&mut self, now: Timestamp) {
        let ours = Clock::wall().millis();
        self.ahead = i64::try_from(i128::from(now.millis()) - i128::from(ours)).unwrap_or(0);
        self.ids.reset();
    }

    /// Whom to call, best first.
    pub fn front_ends(&mut self) -> Vec<FrontEnd> {
        let records = in_order(&self.view.borrow_and_update().records, |_| 0, self.chance.random());
        let addresses = records.iter().filter_map(|record| record.target.address().cloned());
        let cluster = self.names.known_cluster().unwrap_or(ClusterId::UNSTATED);
        let connections = &mut self.connections;
        let connect = |address: Address| {
            let made = || FrontendClient::from(Reconnecting::new(address.clone(), FRONTEND, cluster));
            connections.entry(address.clone()).or_insert_with(made).clone()
        };
        addresses.map(connect).collect()
    }
}
