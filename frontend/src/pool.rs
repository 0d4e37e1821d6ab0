//! The connections to the replicas: one per address, shared by all calls, gone with its address.

use std::cell::RefCell;
use std::collections::HashMap;

use common::ids::ClusterId;
use common::names::Address;
use common::rpc::limits::REPLICA;
use common::rpc::replica::{ReplicaClient, ReplicaRequest, ReplicaResponse};
use common::rpc::transport::Reconnecting;

use crate::meters;

/// How one replica is called.
pub type Client = ReplicaClient<Reconnecting<ReplicaRequest, ReplicaResponse>>;

/// A connection for every address that was asked and may be asked again. It holds no more of them than the names
/// and records tell of.
pub struct Pool {
    cluster: ClusterId,
    clients: RefCell<HashMap<Address, Client>>,
}

impl Pool {
    /// A pool of connections to replicas of `cluster`.
    pub fn new(cluster: ClusterId) -> Self {
        Self { cluster, clients: RefCell::default() }
    }

    /// The connection to `address`; it is dialled at the first call.
    pub fn client(&self, address: &Address) -> Client {
        if let Some(client) = self.clients.borrow().get(address) {
            return client.clone();
        }
        let client = Client::from(Reconnecting::new(address.clone(), REPLICA, self.cluster));
        self.clients.borrow_mut().insert(address.clone(), client.clone());
        meters::pooled(self.clients.borrow().len());
        client
    }

    /// Lets go of connections to addresses that `wanted` does not want. Calls under way on them end as they would.
    pub fn keep_only(&self, wanted: impl Fn(&Address) -> bool) {
        self.clients.borrow_mut().retain(|address, _| wanted(address));
        meters::pooled(self.clients.borrow().len());
    }
}
