//! The cluster, live: who leads, who follows and how far, drawn by the server; with a script the page is told of each
//! change by server-sent events. However many look, the replicas are asked once and the rows are drawn once.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use common::clock::{Clock, Timestamp};
use common::rpc::replica::GossipStatus;
use common::services::just_hungry::london;
use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::cookies::Visitor;
use super::page::{Page, html};
use super::site::Site;
use crate::lookout::{GroupLook, Health, Look, MemberLook};

/// People who watch at once. They are not counted among the connections, so that they keep nobody from ordering.
const STREAMS_MAX: usize = 1_000;
/// A fail-over is over in less; a person sees no more.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What all who watch are written in a second, together: many of them see less often, and nobody orders more slowly.
const EVENTS_PER_SECOND: u32 = 200;
/// So that whoever went away is noticed, and no middleman ends what is silent.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Template)]
#[template(path = "cluster.html")]
struct Cluster {
    page: Page,
    rows: Rows,
}

/// What changes while somebody looks.
#[derive(Template)]
#[template(path = "cluster_rows.html")]
struct Rows {
    look: Option<Look>,
    now: Timestamp,
}

impl Rows {
    fn said(&self) -> &'static str {
        self.look.as_ref().map_or("UNAVAILABLE", |look| look.health().as_str())
    }

    fn at(&self, time: Timestamp) -> String {
        london::in_words(time, self.now)
    }
}

/// How a health is coloured; the word stands beside it.
fn tone(health: Health) -> &'static str {
    match health {
        Health::Healthy => "good",
        Health::Degraded => "warn",
        Health::Unavailable => "bad",
    }
}

/// What is worth saying of a member beside its numbers.
fn detail(member: &MemberLook) -> String {
    match (&member.status, member.seen) {
        (Some(status), _) if !status.trouble.is_empty() => status.trouble.clone(),
        (Some(_), _) => String::new(),
        (None, Some(seen)) => format!("seen {} ago", short(seen)),
        (None, None) => "never seen".to_owned(),
    }
}

/// A member's vector: how many updates of each member it has.
fn vector(member: &GossipStatus) -> String {
    let counts: Vec<_> = member.members.active.iter().map(|&id| member.applied.get(id).to_string()).collect();
    format!("[{}]", counts.join(","))
}

/// Whether a member hears others: a number would be another page each time.
fn heard(member: &GossipStatus) -> String {
    match member.heard {
        None => "nobody yet".to_owned(),
        Some(heard) if heard.as_secs() < 2 => "just now".to_owned(),
        Some(heard) => format!("{} ago", short(heard)),
    }
}

/// The beginning of a digest: enough to see that two are equal.
fn digest(member: &GossipStatus) -> String {
    member.digest.to_string().chars().take(8).collect()
}

/// What would end an outage.
fn advice(group: &GroupLook) -> String {
    let missing: Vec<&str> = group
        .members
        .iter()
        .filter(|member| member.in_sync && member.status.is_none())
        .map(|member| member.name.as_str())
        .collect();
    match (&group.config, missing.as_slice()) {
        (None, _) => "No group yet: start one replica with --first.".to_owned(),
        (Some(_), []) => "An election may be under way.".to_owned(),
        (Some(_), missing) => format!("Start {}: what is acknowledged is on its disk.", missing.join(", ")),
    }
}

/// `4 min`: a page that shows seconds is another page each second.
fn up(time: Duration) -> String {
    if time.as_secs() < 60 { "< 1 min".to_owned() } else { short(time) }
}

/// `0.2 s`, `14 s`, `4 min`, `3 h`, `2 d`.
fn short(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{:.1} s", time.as_secs_f64()),
        s @ 1..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min", s / 60),
        s @ 3600..86_400 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

/// A connection's seat among so many. Whoever only watches gives it back, for one among those who watch.
#[derive(Clone, Debug)]
pub(super) struct Seat(Arc<Mutex<OwnedSemaphorePermit>>);

impl Seat {
    /// The seat of this permit.
    pub(super) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Mutex::new(permit)))
    }

    fn change(&self, permit: OwnedSemaphorePermit) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }
}

/// What all who watch are told.
#[derive(Clone, Debug)]
pub(super) struct Live {
    events: watch::Sender<Bytes>,
    is_looking: Arc<AtomicBool>,
    room: Arc<Semaphore>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            events: watch::Sender::default(),
            is_looking: Arc::default(),
            room: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }
}

impl Live {
    /// The events from now on. While anybody watches, somebody looks.
    fn subscribe(&self, site: &Site) -> watch::Receiver<Bytes> {
        let mut events = self.events.subscribe();
        events.mark_changed();
        if !self.is_looking.swap(true, Ordering::SeqCst) {
            tokio::spawn(self.clone().look(site.clone()));
        }
        events
    }

    async fn look(self, site: Site) {
        loop {
            let rows = Rows { look: site.counter.cluster().await, now: Clock::wall() };
            if let Ok(text) = rows.render() {
                let event = event(&text);
                self.events.send_if_modified(|known| {
                    let is_news = *known != event;
                    *known = event;
                    is_news
                });
            }
            let watching = self.events.receiver_count();
            if watching == 0 {
                self.is_looking.store(false, Ordering::SeqCst);
                // Somebody may have come in between, and have seen that somebody looks.
                if self.events.receiver_count() == 0 || self.is_looking.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
            let fair =
                Duration::from_secs(1) * u32::try_from(watching).unwrap_or(u32::MAX) / EVENTS_PER_SECOND;
            sleep(fair.max(LOOK_EVERY)).await;
        }
    }
}

/// Rows as one event.
fn event(text: &str) -> Bytes {
    let lines: Vec<_> =
        text.lines().filter(|line| !line.is_empty()).map(|line| format!("data: {line}\n")).collect();
    format!("event: look\n{}\n", lines.concat()).into()
}

/// `GET /cluster`. It is shown whatever has become of the cluster.
pub(super) async fn show(State(site): State<Site>, visitor: Visitor) -> Response {
    let rows = Rows { look: site.counter.cluster().await, now: Clock::wall() };
    html(StatusCode::OK, &Cluster { page: Page::new(&visitor, "cluster", "Cluster"), rows })
}

/// `GET /cluster/events`.
pub(super) async fn events(State(site): State<Site>, Extension(seat): Extension<Seat>) -> Response {
    let Ok(permit) = Arc::clone(&site.live.room).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::CONNECTION, "close")], "too many watch\n")
            .into_response();
    };
    seat.change(permit);
    let told = stream::unfold(site.live.subscribe(&site), async |mut events| {
        let event = match timeout(HEARTBEAT, events.changed()).await {
            Ok(Ok(())) => events.borrow_and_update().clone(),
            Ok(Err(_)) => return None,
            Err(_) => Bytes::from_static(b":\n\n"),
        };
        Some((Ok::<_, Infallible>(event), events))
    });
    let kind = HeaderValue::from_static("text/event-stream");
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(told)).into_response()
}
