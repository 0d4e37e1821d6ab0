//! The pages for programs that watch over us, and for people: `/healthz` (200, or 503 with one line why), `/status` as
//! JSON, `/metrics` for Prometheus. Read only. No page shows a lease or an owner key.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use common::machine::TcpListener;
use common::rpc::name_service::Status;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{Semaphore, oneshot};

use crate::metrics::{self, Meters};
use crate::writer::Message;

/// Connections at most: pages are asked for by people and probes, not by the thousand.
const CONNECTIONS_MAX: usize = 64;
/// A client that takes longer to ask, or to ask again, is let go.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// While no descriptor is free.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

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
    let here = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let (ask, asked) = mpsc::channel(CONNECTIONS_MAX);
    tokio::join!(answer(asked, &meters, &mailbox), accept(listener, pages(ask, here)));
}

fn pages(ask: Sender<Asked>, this_machine_only: bool) -> Router {
    let page = |page| get(move |State(ask): State<Sender<Asked>>| look_up(ask, page));
    let pages = Router::new()
        .route("/healthz", page(Page::Health))
        .route("/status", page(Page::Status))
        .route("/metrics", page(Page::Metrics))
        .with_state(ask)
        .fallback(async || (StatusCode::NOT_FOUND, "nothing here; try /healthz, /status or /metrics\n"));
    if this_machine_only { pages.layer(from_fn(by_a_name_of_this_machine)) } else { pages }
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
async fn answer(mut asked: Receiver<Asked>, meters: &Meters, mailbox: &Sender<Message>) {
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
                let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
                (kind, metrics::page(meters, &numbers)).into_response()
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

/// No page for who calls a loopback address by another name: its DNS may lie about us.
async fn by_a_name_of_this_machine(request: Request, next: Next) -> Response {
    if names_this_machine(request.headers()) {
        return next.run(request).await;
    }
    let why = "this page is for this machine: call it by 127.0.0.1 or localhost\n";
    (StatusCode::MISDIRECTED_REQUEST, why).into_response()
}

fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn accept(listener: TcpListener, pages: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME);
        let connection = http.serve_connection(TokioIo::new(socket), TowerToHyperService::new(pages.clone()));
        tokio::spawn(async move {
            let _permit = permit;
            // A client that breaks off hurts nobody else.
            let _ = connection.await;
        });
    }
}
