//! The name server: a **registry** of addresses (soft, leased, only ever a hint) and the **config authority** of
//! replica groups (durable compare-and-set), which share a process and nothing else.
//!
//! # What it promises
//! A dead process's names are gone at the first tick (10 ms) after its lease ran out, never before; a pause, crash or
//! restart of the name server takes no name from a living holder. What was acknowledged is on the disk. A
//! group's configuration is on the disk before anybody sees it. Lookups and renewals never wait for a change.
//!
//! # Reading order
//! - [`leases`]: when a process counts as dead;
//! - [`registry`]: what stands under a name, and who may change it;
//! - [`watch`] and [`matcher`]: what watchers are told; `bells`: who of them is woken;
//! - [`groups`]: which configuration of a group stands;
//! - [`probes`]: which names without a lease are dialled, and taken for dead; `prober` dials;
//! - [`store`]: what outlives the process;
//! - [`pyro`]: stock Pyro programs on the same port;
//! - `writer`: the one task that owns these cores and changes them; `handlers`: the contract, method by method;
//! - `metrics`, `pages`: what is counted, and shown over HTTP;
//! - [`server`]: start, listen, stop. [`config`]: flags.
//!
//! # How a change goes
//! A handler posts it to the writer and waits. The writer asks the core, shows the new records to readers and
//! watchers at once (a crash is a new boot, and they list again), hands the rows to the commit thread, and answers
//! when they are durable. Configurations of groups are shown only then. Lookups read the [`registry::Shelf`],
//! renewals the [`leases::LeaseBook`]; neither asks the writer.
//!
//! # Where the ideas come from
//! Names with metadata: Pyro's name server. Leases: C. Gray, D. Cheriton, SOSP 1989. Revisions, watches and fencing
//! by revision: etcd; M. Burrows, *The Chubby lock service*, OSDI 2006. The configuration manager: PacificA,
//! MSR-TR-2008-25. Left out on purpose: self-preservation (Eureka), which keeps the dead listed when many die at once.

mod bells;
pub mod config;
pub mod groups;
mod handlers;
pub mod leases;
pub mod matcher;
mod metrics;
mod pages;
mod prober;
pub mod probes;
pub mod pyro;
pub mod registry;
pub mod server;
pub mod store;
pub mod watch;
mod writer;

/// All limits, a line each, for `--show-limits`.
pub fn limits(connections: usize) -> String {
    use std::fmt::Write as _;

    let transport = common::rpc::limits::NAME_SERVICE.limits;
    let rows: [(&str, usize); 18] = [
        ("connections", connections),
        ("names", registry::NAMES_MAX),
        ("leases", leases::LEASES_MAX),
        ("names of one lease", registry::LEASE_NAMES_MAX),
        ("bytes of one record", registry::RECORD_BYTES_MAX),
        ("tags of one record", common::names::Tags::COUNT_MAX),
        ("bytes of one tag", common::names::Tags::BYTES_MAX),
        ("groups", groups::GROUPS_MAX),
        ("requests under way per connection", transport.in_flight),
        ("polls waiting per connection", handlers::POLLS_MAX as usize),
        ("queries of one poll", handlers::QUERIES_MAX),
        ("changes kept for watchers", watch::RING_EVENTS),
        ("bytes of a request", transport.frame_in),
        ("bytes of an answer", transport.frame_out),
        ("bytes of a Pyro message", pyro::frame::MESSAGE_MAX),
        ("elements of a Pyro message", pyro::value::ELEMENTS_MAX),
        ("calls of a Pyro batch", pyro::conversation::BATCH_MAX),
        ("bytes of a Pyro answer", pyro::answer::ANSWER_MAX),
    ];
    rows.iter().fold(String::new(), |mut text, (what, limit)| {
        writeln!(text, "{what:<36}{limit:>10}").expect("a String takes all");
        text
    })
}
