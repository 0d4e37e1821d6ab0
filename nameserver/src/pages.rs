//! The pages for programs that watch over us, and for people: `/healthz` (200, or 503 with one line why), `/status` as
//! JSON, `/metrics` for Prometheus. Read only. No page shows a lease or an owner key.

use std::rc::Rc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use common::machine::TcpListener;
use common::meters::CONTENT_TYPE;
use common::rpc::name_service::Status;
use serde::Serialize;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::oneshot;

use crate::metrics::{self, Meters};
use crate::writer::Message;

/// Questions that wait for their turn.
const ASKED_MAX: usize = 64;

#[derive(Clone, Copy, Debug)]
enum Page {
    Health,
    Status,
    Metrics,
}

struct Asked {
    page: Page,
    to: oneshot::Sender<Response>,
}

/// Serves the pages at `listener` for ever. On the thread whose numbers they show.
pub(crate) async fn serve(listener: TcpListener, meters: Rc<Meters>, mailbox: Sender<Message>) {
    let (ask, asked) = mpsc::channel(ASKED_MAX);
    // What all programs count; nothing of it needs upkeep here.
    let common = common::meters::start();
    let answers = answer(asked, &meters, common.as_ref(), &mailbox);
    tokio::join!(answers, common::pages::serve(listener, pages(ask)));
}

fn pages(ask: Sender<Asked>) -> Router {
    let page = |page| get(move |State(ask): State<Sender<Asked>>| look_up(ask, page));
    Router::new()
        .route("/healthz", page(Page::Health))
        .route("/status", page(Page::Status))
        .route("/metrics", page(Page::Metrics))
        .with_state(ask)
        .fallback(async || (StatusCode::NOT_FOUND, "nothing here; try /healthz, /status or /metrics\n"))
}

async fn look_up(ask: Sender<Asked>, page: Page) -> Response {
    let (to, answer) = oneshot::channel();
    let stopping = || (StatusCode::SERVICE_UNAVAILABLE, "the name server is stopping\n").into_response();
    if ask.send(Asked { page, to }).await.is_err() {
        return stopping();
    }
    answer.await.unwrap_or_else(|_| stopping())
}

/// Makes the pages, where the numbers are.
async fn answer(
    mut asked: Receiver<Asked>,
    meters: &Meters,
    common: Option<&common::meters::Meters>,
    mailbox: &Sender<Message>,
) {
    while let Some(Asked { page, to }) = asked.recv().await {
        let (told, numbers) = oneshot::channel();
        // A writer that is gone leaves the question unanswered, which says so.
        let _ = mailbox.send(Message::Status { to: told }).await;
        let Ok(numbers) = numbers.await else { continue };
        let response = match page {
            Page::Health => match numbers.status.troubles.first() {
                None => (StatusCode::OK, "ok\n".to_owned()).into_response(),
                Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")).into_response(),
            },
            Page::Status => axum::Json(StatusPage::of(&numbers.status)).into_response(),
            Page::Metrics => {
                let common = common.map(common::meters::Meters::text).unwrap_or_default();
                let kind = [(header::CONTENT_TYPE, CONTENT_TYPE)];
                (kind, metrics::page(meters, &numbers) + &common).into_response()
            }
        };
        // Its asker may be gone.
        let _ = to.send(response);
    }
}

/// A [`Status`], for people.
#[derive(Serialize)]
struct StatusPage<'a> {
    version: &'static str,
    cluster: String,
    boot: u64,
    rev: u64,
    store: &'a str,
    uptime_ms: u64,
    names: u64,
    unconfirmed: u64,
    names_max: u64,
    leases: u64,
    leases_max: u64,
    groups: u64,
    watchers: u64,
    pauses: u64,
    paused_ms: u64,
    troubles: &'a [String],
}

impl<'a> StatusPage<'a> {
    fn of(status: &'a Status) -> Self {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            cluster: status.stamp.cluster.to_string(),
            boot: status.stamp.boot.0,
            rev: status.stamp.rev.0,
            store: &status.store,
            uptime_ms: ms(status.uptime),
            names: status.names,
            unconfirmed: status.unconfirmed,
            names_max: status.limits.0,
            leases: status.leases,
            leases_max: status.limits.1,
            groups: status.groups,
            watchers: status.watchers,
            pauses: status.pauses.0,
            paused_ms: ms(status.pauses.1),
            troubles: &status.troubles,
        }
    }
}
