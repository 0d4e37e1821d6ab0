//! How much of anything a connection may take: one table, printed by `--show-limits` ([`table`]).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
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
    /// Requests under way per connection, at the server; tarpc's buffer of answers holds one more, or they deadlock.
    pub in_flight: usize,
    /// Requests under way per connection, at our clients. Below the server's, which refuses what is beyond.
    pub in_flight_client: usize,
    /// The farthest deadline.
    pub deadline_max: Duration,
    /// Connections of this contract at most, of all that the process takes.
    pub connections: usize,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

impl Limits {
    /// Bytes of request frames without an answer yet, per connection: beyond, nothing more is read.
    pub const fn unanswered_max(&self) -> usize {
        if self.frame_in > MIB { 16 * MIB } else { 4 * MIB }
    }
}

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
    limits: Limits { frame_in: 256 * KIB, deadline_max: Duration::from_mins(1), ..NAME_SERVICE.limits },
    ..NAME_SERVICE
};

/// [`super::replica`]. One front end has one connection for all its clients: what it may not send is not in the next
/// batch.
pub const REPLICA: Contract = Contract {
    name: "replica",
    limits: Limits { in_flight: 512, in_flight_client: 384, ..FRONTEND.limits },
    ..FRONTEND
};

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

/// Anybody's own contract, called like a name; what a preamble cannot carry becomes a hyphen.
///
/// Its name is kept for the life of the process: a program has a handful.
pub fn own_contract(name: &str) -> Contract {
    static NAMES: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let name = name.replace('_', "-");
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let name = names.get(&*name).copied().unwrap_or_else(|| {
        let name = name.leak();
        names.insert(name);
        name
    });
    Contract { name, lowest: 1, highest: 1, limits: OTHERS }
}

/// The bounds of anybody's own contract.
pub const OTHERS: Limits = Limits { frame_in: MIB, frame_out: MIB, ..FRONTEND.limits };

/// A preamble is whole this long after the accept.
pub const PREAMBLE_TIME: Duration = Duration::from_secs(2);
/// A begun frame is whole after this long: 2 MiB over a poor line.
pub const FRAME_TIME: Duration = Duration::from_secs(10);
/// A write that makes no progress this long: the peer does not read.
pub const WRITE_TIME: Duration = Duration::from_secs(10);
/// A server closes a connection with nothing in flight and no bytes for this long.
pub const IDLE_TIME: Duration = Duration::from_mins(1);
/// A client lets go first, so that it never sends into a connection that is being closed.
pub const IDLE_TIME_CLIENT: Duration = Duration::from_secs(45);
/// Bytes of answers that wait for the socket: beyond, no request is read.
pub const UNSENT_MAX: usize = 64 * KIB;
/// Bytes held by all connections of a listener: beyond, the one holding most is closed.
pub const HELD_MAX: usize = 64 * MIB;
/// Connections that have not said yet what they want; the oldest goes first.
pub const UNDECIDED_MAX: usize = 512;
/// Connections of one peer address other than loopback.
pub const PER_ADDRESS_MAX: usize = 1_000;
/// `--max-connections`, unless given.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Descriptors left to everything else: stores, logs, outgoing calls, refusals.
pub const DESCRIPTORS_KEPT: usize = 128;
/// The farthest deadline that is decoded at all; near 2.2 years tarpc panics.
pub const DEADLINE_MAX: Duration = Duration::from_hours(1);
/// A stopping server is given this long for farewells and answers.
pub const STOP_TIME: Duration = Duration::from_secs(5);

/// All limits, for a person.
pub fn table() -> String {
    let mut text = format!(
        "{:<14}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
        "contract", "frame in", "frame out", "in flight", "of ours", "deadline"
    );
    let others = Contract { name: "others", limits: OTHERS, ..NAME_SERVICE };
    for Contract { name, limits, .. } in [NAME_SERVICE, FRONTEND, REPLICA, PEER, others] {
        let _ = writeln!(
            text,
            "{name:<14}{:>10}{:>10}{:>10}{:>10}{:>10}",
            bytes(limits.frame_in),
            bytes(limits.frame_out),
            limits.in_flight,
            limits.in_flight_client,
            format!("{:?}", limits.deadline_max),
        );
    }
    let rows: [(&str, String); 10] = [
        ("preamble whole within", format!("{PREAMBLE_TIME:?}")),
        ("begun frame whole within", format!("{FRAME_TIME:?}")),
        ("write without progress", format!("{WRITE_TIME:?}")),
        ("idle: server, client", format!("{IDLE_TIME:?}, {IDLE_TIME_CLIENT:?}")),
        ("answers unsent per connection", bytes(UNSENT_MAX)),
        ("requests unanswered per connection", format!("{} (peer {})", bytes(4 * MIB), bytes(16 * MIB))),
        ("held by all connections", bytes(HELD_MAX)),
        ("connections", format!("{CONNECTIONS_MAX}, descriptors - {DESCRIPTORS_KEPT} at most")),
        ("  before their preamble", UNDECIDED_MAX.to_string()),
        ("  per address, per peer contract", format!("{PER_ADDRESS_MAX}, {}", PEER.limits.connections)),
    ];
    for (what, how_much) in rows {
        let _ = writeln!(text, "{what:<38}{how_much}");
    }
    text
}

fn bytes(count: usize) -> String {
    if count >= MIB { format!("{} MiB", count / MIB) } else { format!("{} KiB", count / KIB) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_sends_more_than_its_server_takes_and_none_outlasts_tarpcs_clock() {
        for limits in [NAME_SERVICE, FRONTEND, REPLICA, PEER]
            .map(|contract| contract.limits)
            .into_iter()
            .chain([OTHERS])
        {
            assert!(limits.in_flight_client < limits.in_flight);
            assert!(limits.deadline_max <= DEADLINE_MAX);
            assert!(limits.unanswered_max() >= 2 * limits.frame_in);
        }
        assert!(IDLE_TIME_CLIENT < IDLE_TIME);
    }

    #[test]
    fn the_table_names_every_contract_and_its_bounds() {
        let table = table();
        for part in
            ["name-service", "frontend", "replica", "peer", "others", "64 KiB", "2 MiB", "30s", "10000"]
        {
            assert!(table.contains(part), "{part} is missing in\n{table}");
        }
    }
}
