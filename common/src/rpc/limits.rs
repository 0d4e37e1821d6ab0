//! How much of anything a connection may take.

use std::time::Duration;

/// A contract, as a preamble names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contract {
    /// `[a-z0-9.-]`, 1 to 64 bytes.
    pub name: &'static str,
    /// The lowest version spoken.
    pub lowest: u16,
    /// The highest version spoken.
    pub highest: u16,
    /// How much of anything.
    pub limits: Limits,
}

/// The bounds of one contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request frame.
    pub frame_in: usize,
    /// Bytes of an answer frame.
    pub frame_out: usize,
    /// Requests under way per connection, at the server.
    pub in_flight: usize,
    /// Requests under way per connection, at our clients.
    pub in_flight_client: usize,
    /// The farthest deadline.
    pub deadline_max: Duration,
    /// Connections of this contract at most, of all that the process takes.
    pub connections: usize,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// [`super::name_service`].
pub const NAME_SERVICE: Contract = Contract {
    name: "name-service",
    lowest: 1,
    highest: 1,
    limits: Limits {
        frame_in: 64 * KIB,
        frame_out: MIB,
        in_flight: 64,
        in_flight_client: 48,
        deadline_max: Duration::from_secs(10),
        connections: usize::MAX,
    },
};

/// [`super::frontend`].
pub const FRONTEND: Contract = Contract {
    name: "frontend",
    limits: Limits { frame_in: 256 * KIB, deadline_max: Duration::from_secs(60), ..NAME_SERVICE.limits },
    ..NAME_SERVICE
};

/// [`super::replica`].
pub const REPLICA: Contract = Contract { name: "replica", ..FRONTEND };

/// [`super::peer`].
pub const PEER: Contract = Contract {
    name: "peer",
    limits: Limits {
        frame_in: 2 * MIB,
        frame_out: 2 * MIB,
        deadline_max: Duration::from_secs(30),
        connections: 64,
        ..NAME_SERVICE.limits
    },
    ..NAME_SERVICE
};
