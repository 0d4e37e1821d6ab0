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

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use common::machine::TcpListener;
use common::meters::{CONTENT_TYPE, Meters};
use common::pages::serve_each;
use hyper::service::{Service as _, service_fn};
use hyper_util::service::TowerToHyperService;

use cluster::Seat;
use counter::Counter;
pub use guard::Hosts;
use site::Site;

/// Connections at most: pages are asked for by people and probes, not by the thousand.
pub const CONNECTIONS_MAX: usize = 256;
/// Of one form: a basket of fifty lines, with room.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The pages, which ask over `counter`.
///
/// `meters` writes down what is counted; without them there is no `/metrics`.
pub fn pages(counter: Counter, hosts: Hosts, meters: Option<Meters>) -> Router {
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
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], meters.text()).into_response()
}

/// Serves `pages` for ever.
pub async fn serve(listener: TcpListener, pages: Router) {
    serve_each(listener, CONNECTIONS_MAX, |seat| {
        let (seat, pages) = (Seat::new(seat), TowerToHyperService::new(pages.clone()));
        service_fn(move |mut request| {
            request.extensions_mut().insert(seat.clone());
            pages.call(request)
        })
    })
    .await;
}

#[cfg(test)]
mod tests;
