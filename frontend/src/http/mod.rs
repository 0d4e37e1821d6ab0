//! The web pages: the shop for whoever would rather click than type, and words for programs that watch over us.
//!
//! **What they promise.** Everything works without JavaScript: a form is a POST, its answer another page (303), so
//! a reload sends nothing twice. Each button of a form carries the request id it was drawn with, so a double click, a
//! repeat or a coming back is one command, and its page says which. When the shop is away a page says so in plain
//! words, with status 503; nothing is lost by pressing the button again.
//!
//! **Nothing of its own.** A page asks over the [`counter`], where its commands and queries are executed by the very
//! function that serves other programs. All that a browser is to us are two cookies (`cookies`).
//!
//! **Reading order**: [`serve`] and its limits; `guard`, who may ask and where forms come from; `cookies`, `forms`,
//! `page`, `site`, what all pages share; then a file per topic: `menu` (and basket), `checkout`, `orders`, `movies`, `ratings`, `cluster`, `about`.

mod about;
mod assets;
mod checkout;
mod cluster;
mod cookies;
pub mod counter;
mod forms;
mod guard;
mod menu;
mod movies;
mod orders;
mod page;
mod ratings;
mod site;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use common::machine::TcpListener;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;

use cluster::Seat;
use counter::Counter;
pub use guard::Hosts;
use site::Site;

/// Connections at most: pages are asked for by people and probes, not by the thousand.
pub const CONNECTIONS_MAX: usize = 256;
/// A client that takes longer to ask, or to ask again, is let go.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// Of one request: an address, some cookies.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Of one form: a basket of fifty lines, with room.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// While no descriptor is free.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The pages, which ask over `counter`.
///
/// `meters` writes down what is counted; without them there is no `/metrics`.
pub fn pages(counter: Counter, hosts: Hosts, meters: Option<PrometheusHandle>) -> Router {
    Router::new()
        .route("/", get(menu::home))
        .route("/cart", get(menu::front).post(menu::cart))
        .route("/user", get(menu::front).post(menu::user))
        .route("/checkout", get(checkout::show).post(checkout::submit))
        .route("/checkout/postcode", get(checkout::postcode))
        .route("/orders", get(orders::list))
        .route("/orders/{no}", get(orders::show))
        .route("/orders/{no}/cancel", post(orders::cancel))
        .route("/movies", get(movies::list))
        .route("/movies/new", get(movies::new).post(movies::add))
        .route("/movies/{key}", get(movies::show))
        .route("/movies/{key}/edit", get(movies::edit).post(movies::change))
        .route("/movies/{key}/rating", post(ratings::rate))
        .route("/cluster", get(cluster::show))
        .route("/cluster/events", get(cluster::events))
        .route("/about", get(about::about))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .merge(assets::routes())
        .fallback(about::nothing)
        .route("/metrics", get(metrics))
        .with_state(Site::new(counter, meters))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(move |request, next| guard::guard(hosts, request, next)))
}

async fn readyz(State(site): State<Site>) -> Response {
    match site.counter.ready().await {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// What is counted, and how the groups are at this moment.
async fn metrics(State(site): State<Site>) -> Response {
    let Some(meters) = site.meters else {
        return (StatusCode::NOT_FOUND, "nothing is counted here\n").into_response();
    };
    if let Some(look) = site.counter.cluster().await {
        crate::meters::seen(&look);
    }
    meters.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], meters.render()).into_response()
}

/// Serves `pages` for ever.
pub async fn serve(listener: TcpListener, pages: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        crate::meters::pages_are_open(CONNECTIONS_MAX - room.available_permits());
        // A page is written whole; nothing is gained by waiting for more.
        let _ = socket.set_nodelay(true);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEADER_BYTES_MAX);
        let (seat, pages) = (Seat::new(permit), TowerToHyperService::new(pages.clone()));
        let connection = http.serve_connection(
            TokioIo::new(socket),
            service_fn(move |mut request| {
                request.extensions_mut().insert(seat.clone());
                pages.call(request)
            }),
        );
        // A client that breaks off hurts nobody else.
        tokio::spawn(async { drop(connection.await) });
    }
}

#[cfg(test)]
mod tests;
