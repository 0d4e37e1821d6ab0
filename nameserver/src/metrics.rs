//! What is counted: calls, errors and time per method, and how late leases end. A number is one cell of this thread's: a
//! lookup pays for two looks at the clock and three additions, and nothing is kept per call.

use std::cell::Cell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use common::clock::Clock;
use common::rpc::limits::NAME_SERVICE;
use common::rpc::name_service::{NameServiceRequest as Request, NameServiceResponse as Response};
use futures::FutureExt as _;
use tarpc::ServerError;
use tarpc::context::Context;
use tarpc::server::Serve;

use crate::writer::Numbers;

/// The methods, in the contract's order.
const METHODS: [&str; 17] = [
    "hello",
    "grant",
    "renew",
    "revoke",
    "register",
    "update",
    "unregister",
    "lookup",
    "lookup_many",
    "list",
    "watch",
    "group",
    "change_group",
    "watch_group",
    "status",
    "register_next",
    "snapshot",
];

/// Upper bounds of what times are sorted into, in microseconds.
const BOUNDS: [u64; 14] =
    [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 250_000, 1_000_000];

/// Times, sorted by their length.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// Those up to each bound and above the one before; the last: the rest.
    counts: [Cell<u64>; BOUNDS.len() + 1],
    sum_us: Cell<u64>,
}

impl Histogram {
    pub(crate) fn add(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS.iter().position(|&bound| us <= bound).unwrap_or(BOUNDS.len());
        self.counts[place].set(self.counts[place].get() + 1);
        self.sum_us.set(self.sum_us.get().saturating_add(us));
    }

    fn count(&self) -> u64 {
        self.counts.iter().map(Cell::get).sum()
    }

    /// As Prometheus reads it; `labels` end with a comma unless empty.
    fn write(&self, text: &mut String, name: &str, labels: &str) {
        let mut count = 0;
        for (place, cell) in self.counts.iter().enumerate() {
            count += cell.get();
            let bound = BOUNDS.get(place).map_or("+Inf".to_owned(), |&us| seconds(us));
            line(text, format_args!("{name}_bucket{{{labels}le=\"{bound}\"}} {count}"));
        }
        let labels = labels.trim_end_matches(',');
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        line(text, format_args!("{name}_sum{labels} {}", seconds(self.sum_us.get())));
        line(text, format_args!("{name}_count{labels} {count}"));
    }
}

/// All that this thread counts.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    methods: [Method; METHODS.len()],
    under_way: Cell<u64>,
    pub(crate) lateness: Histogram,
    /// Calls of Pyro programs, those in batches each, and how many of them were refused.
    pub(crate) pyro_calls: Cell<u64>,
    pub(crate) pyro_refused: Cell<u64>,
}

#[derive(Debug, Default)]
struct Method {
    errors: Cell<u64>,
    times: Histogram,
}

/// A call under way, until it is dropped.
struct UnderWay(Rc<Meters>);

impl UnderWay {
    fn begin(meters: Rc<Meters>) -> Self {
        meters.under_way.set(meters.under_way.get() + 1);
        Self(meters)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
    }
}

/// A service whose calls are counted.
#[derive(Clone)]
pub(crate) struct Metered<S> {
    pub(crate) meters: Rc<Meters>,
    pub(crate) clock: Clock,
    pub(crate) inner: S,
}

impl<S: Serve<Req = Request, Resp = Response>> Serve for Metered<S> {
    type Req = Request;
    type Resp = Response;

    /// Is no `async fn`: that would keep the request beside the handler that has it already.
    fn serve(self, ctx: Context, request: Request) -> impl Future<Output = Result<Response, ServerError>> {
        let Self { meters, clock, inner } = self;
        let (begun, method) = (clock.now(), number_of(&request));
        let one_more = UnderWay::begin(meters);
        inner.serve(ctx, request).map(move |answer| {
            let method = &one_more.0.methods[method];
            method.times.add(clock.now().since(begun));
            if answer.as_ref().map_or(true, is_error) {
                method.errors.set(method.errors.get() + 1);
            }
            answer
        })
    }
}

/// Which of [`METHODS`] it is.
fn number_of(request: &Request) -> usize {
    match request {
        Request::Hello { .. } => 0,
        Request::Grant { .. } => 1,
        Request::Renew { .. } => 2,
        Request::Revoke { .. } => 3,
        Request::Register { .. } => 4,
        Request::Update { .. } => 5,
        Request::Unregister { .. } => 6,
        Request::Lookup { .. } => 7,
        Request::LookupMany { .. } => 8,
        Request::List { .. } => 9,
        Request::Watch { .. } => 10,
        Request::Group { .. } => 11,
        Request::ChangeGroup { .. } => 12,
        Request::WatchGroup { .. } => 13,
        Request::Status {} => 14,
        Request::RegisterNext { .. } => 15,
        Request::Snapshot {} => 16,
    }
}

fn is_error(answer: &Response) -> bool {
    match answer {
        Response::Hello(answer) => answer.is_err(),
        Response::Grant(answer) => answer.is_err(),
        Response::Revoke(answer) => answer.is_err(),
        Response::Register(answer) => answer.is_err(),
        Response::Update(answer) => answer.is_err(),
        Response::Unregister(answer) => answer.is_err(),
        Response::Lookup(answer) => answer.is_err(),
        Response::List(answer) => answer.is_err(),
        Response::Watch(answer) => answer.is_err(),
        Response::Group(answer) | Response::WatchGroup(answer) => answer.is_err(),
        Response::ChangeGroup(answer) => answer.is_err(),
        Response::RegisterNext(answer) => answer.is_err(),
        Response::Snapshot(answer) => answer.is_err(),
        // One call of many answers.
        Response::Renew(answer) => answer.value.iter().any(Result::is_err),
        Response::LookupMany(answer) => answer.value.iter().any(Result::is_err),
        Response::Status(_) => false,
    }
}

/// All numbers, as Prometheus reads them.
pub(crate) fn page(meters: &Meters, numbers: &Numbers) -> String {
    let mut text = String::with_capacity(16 * 1024);
    head(&mut text, "ns_call_seconds", "histogram", "How long calls took, by method; polls wait.");
    for (method, name) in meters.methods.iter().zip(METHODS) {
        method.times.write(&mut text, "ns_call_seconds", &format!("method=\"{name}\","));
    }
    head(&mut text, "ns_call_errors_total", "counter", "Calls that were answered with an error.");
    for (method, name) in meters.methods.iter().zip(METHODS) {
        line(&mut text, format_args!("ns_call_errors_total{{method=\"{name}\"}} {}", method.errors.get()));
    }
    all_programs(&mut text, meters);
    head(&mut text, "ns_expiry_lateness_seconds", "histogram", "How long after its deadline a lease ended.");
    meters.lateness.write(&mut text, "ns_expiry_lateness_seconds", "");

    let status = &numbers.status;
    head(&mut text, "ns_names", "gauge", "Records, by whether their holder was heard since the restart.");
    let confirmed = status.names.saturating_sub(status.unconfirmed);
    for (standing, names) in [("confirmed", confirmed), ("unconfirmed", status.unconfirmed)] {
        line(&mut text, format_args!("ns_names{{standing=\"{standing}\"}} {names}"));
    }
    for (name, help, value) in [
        ("ns_leases", "Leases held.", status.leases),
        ("ns_groups", "Groups with a configuration.", status.groups),
        ("ns_watchers", "Polls waiting.", status.watchers),
        ("ns_revision", "The registry's revision.", status.stamp.rev.0),
        ("ns_troubles", "What an operator should know; /healthz says what.", status.troubles.len() as u64),
    ] {
        head(&mut text, name, "gauge", help);
        line(&mut text, format_args!("{name} {value}"));
    }
    for (name, help, value) in [
        ("ns_pauses_total", "Times this process stood still.", status.pauses.0.to_string()),
        (
            "ns_paused_seconds_total",
            "How long it stood still in all.",
            format!("{:.3}", status.pauses.1.as_secs_f64()),
        ),
        ("ns_pyro_calls_total", "Calls of Pyro programs.", meters.pyro_calls.get().to_string()),
        (
            "ns_pyro_refused_total",
            "Those that were answered with an exception.",
            meters.pyro_refused.get().to_string(),
        ),
        ("ns_commits_total", "Commits to the store.", numbers.commits.to_string()),
        ("ns_written_rows_total", "Rows in them.", numbers.written.to_string()),
        (
            "ns_probes_total",
            "Addresses of names without a lease that were dialled.",
            numbers.probes.to_string(),
        ),
    ] {
        head(&mut text, name, "counter", help);
        line(&mut text, format_args!("{name} {value}"));
    }
    text
}

/// The same under the names that all programs have, as far as anything was called.
fn all_programs(text: &mut String, meters: &Meters) {
    let called = || meters.methods.iter().zip(METHODS).filter(|(method, _)| method.times.count() > 0);
    let labels = |name| format!("contract=\"{}\",method=\"{name}\",", NAME_SERVICE.name);
    head(text, "rpc_requests_total", "counter", "Calls that were answered, by what became of them.");
    for (method, name) in called() {
        let errors = method.errors.get();
        for (outcome, calls) in [("answered", method.times.count() - errors), ("no_effect", errors)] {
            line(text, format_args!("rpc_requests_total{{{}outcome=\"{outcome}\"}} {calls}", labels(name)));
        }
    }
    head(text, "rpc_duration_seconds", "histogram", "How long calls took; polls wait.");
    for (method, name) in called() {
        method.times.write(text, "rpc_duration_seconds", &labels(name));
    }
    head(text, "requests_in_flight", "gauge", "Calls under way.");
    let under_way = meters.under_way.get();
    line(text, format_args!("requests_in_flight{{contract=\"{}\"}} {under_way}", NAME_SERVICE.name));
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    line(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    writeln!(text, "{what}").expect("a String takes all");
}

fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_up_to_each_bound() {
        let histogram = Histogram::default();
        for us in [1, 10, 11, 2_000_000] {
            histogram.add(Duration::from_micros(us));
        }
        let mut text = String::new();
        histogram.write(&mut text, "x", "method=\"a\",");
        assert!(text.starts_with(
            "x_bucket{method=\"a\",le=\"0.000010\"} 2\nx_bucket{method=\"a\",le=\"0.000025\"} 3\n"
        ));
        assert!(
            text.ends_with("le=\"+Inf\"} 4\nx_sum{method=\"a\"} 2.000022\nx_count{method=\"a\"} 4\n"),
            "{text}"
        );
    }
}
