//! What is counted, for `/metrics`. Names and labels are a contract: added to, never renamed; labels come from closed
//! sets, never from what somebody typed. Without a recorder, as in tests and simulations, counting does nothing.

use std::time::Duration;

use common::replication::GroupName;
use common::services::{Outcome, decode, just_hungry};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::lookout::Look;

/// In seconds: from a warm hop to what a person does not wait for.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Begins to count, once in a process; gives what writes the numbers down. `None` when somebody else counts already.
pub fn start() -> Option<PrometheusHandle> {
    let ours = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
        .expect("there are buckets");
    let handle = ours.install_recorder().ok()?;
    describe_counter!("rpc_requests_total", "Calls, by contract, method and what became of them.");
    describe_histogram!("rpc_duration_seconds", "How long calls took.");
    describe_gauge!("requests_in_flight", "Calls under way.");
    describe_counter!("failovers_total", "Changes of a group's primary, as this front end learnt of them.");
    describe_counter!("refusals_total", "Commands that a rule refused.");
    describe_counter!("orders_total", "Answers that an order is placed or cancelled; a repeat counts again.");
    describe_counter!("postcode_checks_total", "Postcodes looked at.");
    describe_counter!("external_requests_total", "Calls to web services.");
    describe_histogram!("external_duration_seconds", "How long web services took.");
    describe_gauge!("external_breaker_open", "1 while a web service rests.");
    describe_gauge!("connections", "Connections that are open.");
    describe_gauge!("group_epoch", "A group's epoch, by the newest record that anybody knows.");
    describe_gauge!("in_sync_members", "Members in sync that answer.");
    describe_gauge!("log_index", "The last entry of the primary's log.");
    describe_gauge!("replication_behind_entries", "Entries that a member has yet to apply.");
    Some(handle)
}

/// A call of this contract and method was answered.
pub(crate) fn answered(contract: &'static str, method: &'static str, outcome: &'static str, took: Duration) {
    counter!("rpc_requests_total", "contract" => contract, "method" => method, "outcome" => outcome)
        .increment(1);
    histogram!("rpc_duration_seconds", "contract" => contract, "method" => method).record(took);
}

/// A call under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(&'static str);

impl InFlight {
    /// One more call of this contract.
    pub(crate) fn of(contract: &'static str) -> Self {
        gauge!("requests_in_flight", "contract" => contract).increment(1.0);
        Self(contract)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!("requests_in_flight", "contract" => self.0).decrement(1.0);
    }
}

/// A service replied so to a command. Replies are opaque to everybody else here; what is not understood is not
/// counted.
pub(crate) fn replied(service: &GroupName, reply: &[u8]) {
    if service.as_str() != just_hungry::NAME {
        return;
    }
    match decode::<just_hungry::Reply>(reply) {
        Ok(Outcome::Done(just_hungry::Done::Placed { .. })) => {
            counter!("orders_total", "status" => "active").increment(1);
        }
        Ok(Outcome::Done(just_hungry::Done::Cancelled { .. })) => {
            counter!("orders_total", "status" => "cancelled").increment(1);
        }
        Ok(Outcome::Refused(refusal)) => {
            counter!("refusals_total", "service" => just_hungry::NAME, "code" => refusal.code()).increment(1);
        }
        Ok(Outcome::Done(_)) | Err(_) => {}
    }
}

/// A group has another primary.
pub(crate) fn failed_over(service: &GroupName) {
    counter!("failovers_total", "service" => service.to_string()).increment(1);
}

/// A postcode was looked at.
pub(crate) fn postcode_checked(source: &'static str, answer: &'static str) {
    counter!("postcode_checks_total", "source" => source, "answer" => answer).increment(1);
}

/// A web service was asked.
pub(crate) fn web_service_asked(api: &'static str, outcome: &'static str, took: Duration) {
    counter!("external_requests_total", "api" => api, "outcome" => outcome).increment(1);
    histogram!("external_duration_seconds", "api" => api).record(took);
}

/// A web service is left alone from now on, or asked again.
pub(crate) fn web_service_rests(api: &'static str, rests: bool) {
    gauge!("external_breaker_open", "api" => api).set(if rests { 1.0 } else { 0.0 });
}

/// So many connections to the pages are open.
pub(crate) fn pages_are_open(connections: usize) {
    gauge!("connections", "contract" => "http").set(small(connections as u64));
}

/// What was seen of the groups.
pub(crate) fn seen(look: &Look) {
    for group in &look.groups {
        let service = group.service.to_string();
        if let Some(config) = &group.config {
            gauge!("group_epoch", "service" => service.clone()).set(small(config.epoch.0));
        }
        gauge!("in_sync_members", "service" => service.clone()).set(small(group.in_sync() as u64));
        for member in &group.members {
            let Some(status) = &member.status else { continue };
            if member.role() == "primary" {
                gauge!("log_index", "service" => service.clone()).set(small(status.last.index.0));
            }
            if let Some(behind) = member.behind {
                let labels = [("service", service.clone()), ("member", member.name.clone())];
                gauge!("replication_behind_entries", &labels).set(small(behind));
            }
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers; ours stay below 2^53")]
fn small(number: u64) -> f64 {
    number as f64
}
