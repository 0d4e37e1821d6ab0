//! What a front end counts, as [`common::meters`] says. Without a recorder, as in tests and simulations, counting does
//! nothing.

use std::time::Duration;

use common::meters::{Method, in_flight, number};
use common::replication::GroupName;
use common::rpc::limits::FRONTEND;
use common::services::{Outcome, decode, just_hungry, movies, ratings};
use metrics::{Counter, Gauge, counter, gauge, histogram};

use crate::lookout::Look;
use crate::router::Setback;

/// What is counted with every call.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) execute: Method,
    pub(crate) query: Method,
    pub(crate) under_way: Gauge,
    placed: Counter,
    cancelled: Counter,
}

impl Calls {
    pub(crate) fn new() -> Self {
        Self {
            execute: Method::of(FRONTEND.name, "execute"),
            query: Method::of(FRONTEND.name, "query"),
            under_way: in_flight(FRONTEND.name),
            placed: counter!("orders_total", "status" => "active"),
            cancelled: counter!("orders_total", "status" => "cancelled"),
        }
    }

    /// A service replied so to a command. Replies are opaque to everybody else here; what is not understood is not
    /// counted.
    pub(crate) fn replied(&self, service: &GroupName, reply: &[u8]) {
        let refusal = match service.as_str() {
            just_hungry::NAME => match decode::<just_hungry::Reply>(reply) {
                Ok(Outcome::Done(just_hungry::Done::Placed { .. })) => return self.placed.increment(1),
                Ok(Outcome::Done(just_hungry::Done::Cancelled { .. })) => return self.cancelled.increment(1),
                Ok(Outcome::Refused(refusal)) => (just_hungry::NAME, refusal.code()),
                Ok(Outcome::Done(_)) | Err(_) => return,
            },
            movies::NAME => match decode::<movies::Reply>(reply) {
                Ok(Outcome::Refused(refusal)) => (movies::NAME, refusal.code()),
                _ => return,
            },
            ratings::NAME => match decode::<ratings::Reply>(reply) {
                Ok(Outcome::Refused(refusal)) => (ratings::NAME, refusal.code()),
                _ => return,
            },
            _ => return,
        };
        counter!("refusals_total", "service" => refusal.0, "code" => refusal.1).increment(1);
    }
}

/// The changes of a group's primary.
pub(crate) fn fail_overs(service: &GroupName) -> Counter {
    counter!("failovers_total", "service" => service.to_string())
}

/// A try at a replica led to another.
pub(crate) fn set_back(service: &GroupName, setback: &Setback) {
    let setback = match setback {
        Setback::NotPrimary { .. } => "not_primary",
        Setback::Away => "away",
        Setback::Busy { .. } => "busy",
        Setback::Lost => "lost",
        Setback::Refused => "refused",
    };
    set_backs(service, setback).increment(1);
}

fn set_backs(service: &GroupName, setback: &'static str) -> Counter {
    counter!("route_setbacks_total", "service" => service.to_string(), "setback" => setback)
}

/// Calls of this service are carried from now on.
pub(crate) fn service_known(service: &GroupName) {
    // Who reads rates has to see them begin.
    for setback in ["not_primary", "away", "busy", "lost", "refused"] {
        set_backs(service, setback).increment(0);
    }
}

/// So many connections to replicas are kept.
pub(crate) fn pooled(connections: usize) {
    gauge!("pool_connections").set(number(connections as u64));
}

/// A postcode was looked at.
pub(crate) fn postcode_checked(source: &'static str, answer: &'static str) {
    counter!("postcode_checks_total", "source" => source, "answer" => answer).increment(1);
}

/// A web service is there to be asked.
pub(crate) fn web_service_known(api: &'static str) {
    web_service_rests(api, false);
    answered_from_memory(api, 0);
    for outcome in ["answered", "broken", "timed_out"] {
        counter!("external_requests_total", "api" => api, "outcome" => outcome).increment(0);
    }
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

/// So many questions to a web service were answered by what it had said before, or is about to say to somebody else.
pub(crate) fn answered_from_memory(api: &'static str, questions: u64) {
    counter!("external_cached_total", "api" => api).increment(questions);
}

/// What was seen of the groups.
pub(crate) fn seen(look: &Look) {
    for group in &look.groups {
        let service = group.service.to_string();
        let set = |name: &'static str, value| gauge!(name, "service" => service.clone()).set(number(value));
        if let Some(config) = &group.config {
            set("group_epoch", config.epoch.0);
        }
        set("in_sync_members", group.in_sync() as u64);
        for member in &group.members {
            if let Some(status) = member.status.as_ref().filter(|_| member.role() == "primary") {
                set("log_index", status.last.index.0);
            }
            let labels = [("service", service.clone()), ("member", member.name.clone())];
            // Of whoever does not answer, nothing is known.
            gauge!("replication_behind_entries", &labels).set(member.behind.map_or(f64::NAN, number));
        }
    }
}
