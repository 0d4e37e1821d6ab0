//! What the programs count, for whoever watches over them: names, labels and what they mean are a contract, added to and
//! never renamed. Labels come from closed sets, never from what somebody typed.
//!
//! A program that shows its numbers calls [`start`]; in all others, and in simulations, counting does nothing. What is
//! counted with every call is a handle that was made before: an addition.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::sleep;

/// A metric: what a program that shows it prints, and how it is read.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// In snake case, with its unit.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// The programs that show it.
    pub shown_by: &'static [Program],
    /// In a sentence.
    pub help: &'static str,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Up, from 0 at the program's start.
    Counter,
    /// Anywhere.
    Gauge,
    /// Many values, sorted by their size.
    Histogram,
}

/// A program that shows what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `nameserver --http ADDR`.
    NameServer,
    /// `replica N --http ADDR`.
    Replica,
    /// `frontend`.
    FrontEnd,
}

use Kind::{Counter as C, Gauge as G, Histogram as H};
use Program::{FrontEnd, NameServer, Replica};

const ALL: &[Program] = &[NameServer, Replica, FrontEnd];
const GROUPS: &[Program] = &[Replica, FrontEnd];

/// Every metric of every program.
#[rustfmt::skip]
pub const CONTRACT: &[Metric] = &[
    metric("rpc_requests_total", C, &["contract", "method", "outcome"], ALL, "Calls that were answered, by what became of them: answered, no_effect, unknown."),
    metric("rpc_duration_seconds", H, &["contract", "method"], ALL, "How long calls took; polls wait."),
    metric("connections", G, &["contract"], ALL, "Connections that are open; http: of pages, those who watch among them."),
    metric("requests_in_flight", G, &["contract"], ALL, "Calls under way."),

    metric("group_role", G, &["service"], &[Replica], "1 where this replica is the primary."),
    metric("group_epoch", G, &["service"], GROUPS, "A group's epoch."),
    metric("log_index", G, &["service"], GROUPS, "The last entry of a replica's log; at a front end, of the primary's."),
    metric("replication_behind_entries", G, &["service", "member"], GROUPS, "Entries that a member has not confirmed to this primary; at a front end, that it has yet to apply."),
    metric("in_sync_members", G, &["service"], GROUPS, "Members in sync, by the newest record known there; at a front end, those of them that answer."),
    metric("failovers_total", C, &["service"], &[FrontEnd], "Changes of a group's primary, as this front end learnt of them."),
    metric("commit_seconds", H, &["service"], &[Replica], "From taking in a command until it was on the disks of all members in sync, and applied."),
    metric("commit_batch_entries", H, &["service"], &[Replica], "Entries in one batch to the disk."),
    metric("disk_commit_seconds", H, &["service"], &[Replica], "How long the disk took for a batch, fsync and all."),
    metric("request_repeats_total", C, &["service"], &[Replica], "Commands that had come before under the same id, and did not run again."),
    metric("gossip_rounds_total", C, &[], &[Replica], "Pushes to another member; at least one with every round."),
    metric("gossip_divergence_total", C, &[], &[Replica], "Members found to differ at the same vector: this must not be."),
    metric("gossip_log_records", G, &[], &[Replica], "Updates kept for members that may lack them."),

    metric("refusals_total", C, &["service", "code"], &[FrontEnd], "Commands that a rule refused; a repeat counts again."),
    metric("orders_total", C, &["status"], &[FrontEnd], "Answers that an order is placed (active) or cancelled; a repeat counts again."),
    metric("route_setbacks_total", C, &["service", "setback"], &[FrontEnd], "Tries at a replica that led to another try: not_primary, away, busy, lost, refused."),
    metric("pool_connections", G, &[], &[FrontEnd], "Replicas that this front end keeps a connection for."),
    metric("postcode_checks_total", C, &["source", "answer"], &[FrontEnd], "Postcodes looked at, by who knew, and what."),
    metric("external_requests_total", C, &["api", "outcome"], &[FrontEnd], "Calls to web services: answered, broken, timed_out."),
    metric("external_duration_seconds", H, &["api"], &[FrontEnd], "How long web services took."),
    metric("external_breaker_open", G, &["api"], &[FrontEnd], "1 while a web service rests."),
    metric("external_cached_total", C, &["api"], &[FrontEnd], "Questions to web services that what was found out before answered."),

    metric("ns_call_seconds", H, &["method"], &[NameServer], "How long calls took; polls wait."),
    metric("ns_call_errors_total", C, &["method"], &[NameServer], "Calls that were answered with an error."),
    metric("ns_expiry_lateness_seconds", H, &[], &[NameServer], "How long after its deadline a lease ended."),
    metric("ns_names", G, &["standing"], &[NameServer], "Records, by whether their holder was heard since the restart."),
    metric("ns_leases", G, &[], &[NameServer], "Leases held."),
    metric("ns_groups", G, &[], &[NameServer], "Groups with a configuration."),
    metric("ns_watchers", G, &[], &[NameServer], "Polls waiting."),
    metric("ns_revision", G, &[], &[NameServer], "The registry's revision."),
    metric("ns_troubles", G, &[], &[NameServer], "What an operator should know; /healthz says what."),
    metric("ns_pauses_total", C, &[], &[NameServer], "Times this process stood still."),
    metric("ns_paused_seconds_total", C, &[], &[NameServer], "How long it stood still in all."),
    metric("ns_pyro_calls_total", C, &[], &[NameServer], "Calls of Pyro programs."),
    metric("ns_pyro_refused_total", C, &[], &[NameServer], "Those that were answered with an exception."),
    metric("ns_commits_total", C, &[], &[NameServer], "Commits to the store."),
    metric("ns_written_rows_total", C, &[], &[NameServer], "Rows in them."),
    metric("ns_probes_total", C, &[], &[NameServer], "Addresses of names without a lease that were dialled."),
];

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    shown_by: &'static [Program],
    help: &'static str,
) -> Metric {
    Metric { name, kind, labels, shown_by, help }
}

/// From a lookup among names to what no person waits for.
const SECONDS: [f64; 18] = [
    0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Up to what may be under way at once.
const ENTRIES: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
/// Values of histograms lie about, eight bytes each, until they are sorted in; so often that they are few.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);
/// Of the text that Prometheus reads.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What writes the numbers down.
#[derive(Clone, Debug)]
pub struct Meters(PrometheusHandle);

/// Begins to count, once in a process, before anything is made that counts. `None` when somebody else does already.
pub fn start() -> Option<Meters> {
    let buckets = |builder: PrometheusBuilder, matcher, bounds: &[f64]| {
        builder.set_buckets_for_metric(matcher, bounds).expect("there are buckets")
    };
    let ours = buckets(PrometheusBuilder::new(), Matcher::Suffix("_seconds".to_owned()), &SECONDS);
    let ours = buckets(ours, Matcher::Suffix("_entries".to_owned()), &ENTRIES);
    let handle = ours.install_recorder().ok()?;
    for Metric { name, kind, help, .. } in CONTRACT {
        match kind {
            Kind::Counter => describe_counter!(*name, *help),
            Kind::Gauge => describe_gauge!(*name, *help),
            Kind::Histogram => describe_histogram!(*name, *help),
        }
    }
    Some(Meters(handle))
}

impl Meters {
    /// All numbers, as Prometheus reads them.
    pub fn text(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }

    /// Keeps what was counted small, for ever, whether or not anybody reads it.
    pub async fn keep(self) {
        loop {
            sleep(UPKEEP_EVERY).await;
            self.0.run_upkeep();
        }
    }
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It was done, or refused by a rule.
    Answered,
    /// It was not done.
    NoEffect,
    /// It may have been done.
    Unknown,
}

/// The calls of one method.
#[derive(Clone, Debug)]
pub struct Method {
    answered: Counter,
    no_effect: Counter,
    unknown: Counter,
    seconds: Histogram,
}

impl Method {
    /// Those of `contract`'s `method`.
    pub fn of(contract: &'static str, method: &str) -> Self {
        let outcome = |outcome| counter!("rpc_requests_total", "contract" => contract, "method" => method.to_owned(), "outcome" => outcome);
        Self {
            answered: outcome("answered"),
            no_effect: outcome("no_effect"),
            unknown: outcome("unknown"),
            seconds: histogram!("rpc_duration_seconds", "contract" => contract, "method" => method.to_owned()),
        }
    }

    /// One more.
    pub fn add(&self, came: Came, took: Duration) {
        match came {
            Came::Answered => self.answered.increment(1),
            Came::NoEffect => self.no_effect.increment(1),
            Came::Unknown => self.unknown.increment(1),
        }
        self.seconds.record(took);
    }
}

/// The connections of a contract.
pub fn connections(contract: &'static str) -> Gauge {
    gauge!("connections", "contract" => contract)
}

/// The calls of a contract that are under way.
pub fn in_flight(contract: &'static str) -> Gauge {
    gauge!("requests_in_flight", "contract" => contract)
}

/// One more in a gauge, until it is dropped.
#[derive(Debug)]
pub struct OneMore(Gauge);

impl OneMore {
    /// In this one.
    pub fn of(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for OneMore {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A number as Prometheus knows them.
#[expect(clippy::cast_precision_loss, reason = "it knows no others; ours stay below 2^53")]
pub fn number(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_name_stands_once_and_tells_its_kind() {
        let names: BTreeSet<_> = CONTRACT.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), CONTRACT.len());
        for metric in CONTRACT {
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.help.ends_with('.') && !metric.shown_by.is_empty(), "{}", metric.name);
        }
    }
}
