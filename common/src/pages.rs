//! HTTP for whoever watches over a program, or looks at its pages: who is let in, how many, and for how long.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use crate::machine::TcpListener;
use crate::meters::{self, OneMore};

/// Connections of programs that watch over us, at most: probes, not people.
const WATCHERS_MAX: usize = 64;
/// A client that takes longer to ask, or to ask again, is let go.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// Of one request: an address, some cookies.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// While no descriptor is free.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves pages for watchers at `listener` for ever; where only this machine reaches it, only by a name of this machine.
pub async fn serve(listener: TcpListener, pages: Router) {
    let here = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let pages = if here { pages.layer(from_fn(by_a_name_of_this_machine)) } else { pages };
    serve_each(listener, WATCHERS_MAX, |seat| {
        let pages = TowerToHyperService::new(pages.clone());
        service_fn(move |request| {
            let _taken = &seat;
            pages.call(request)
        })
    })
    .await;
}

/// Serves at `listener` for ever, at most `room` connections at once, each with what `service` makes for its seat. A
/// connection holds its seat until it ends, unless the service gave it back.
pub async fn serve_each<S>(listener: TcpListener, room: usize, service: impl Fn(Seat) -> S)
where
    S: Service<hyper::Request<Incoming>, Response = hyper::Response<Body>, Error = Infallible>
        + Send
        + 'static,
    S::Future: Send,
{
    let (room, open) = (Arc::new(Semaphore::new(room)), meters::connections("http"));
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            sleep(ACCEPT_RETRY).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        // A page is written whole; nothing is gained by waiting for more.
        let _ = socket.set_nodelay(true);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEADER_BYTES_MAX);
        let connection = http.serve_connection(TokioIo::new(socket), service(permit));
        let open = OneMore::of(&open);
        tokio::spawn(async move {
            // A client that breaks off hurts nobody else.
            let _ = connection.await;
            drop(open);
        });
    }
}

/// A connection's place among so many.
pub type Seat = OwnedSemaphorePermit;

/// No page for who calls a loopback address by another name: its DNS may lie about us.
async fn by_a_name_of_this_machine(request: Request, next: Next) -> Response {
    if names_this_machine(request.headers()) {
        return next.run(request).await;
    }
    let why = "this page is for this machine: call it by 127.0.0.1 or localhost\n";
    (StatusCode::MISDIRECTED_REQUEST, why).into_response()
}

/// Whether a request calls us by a name of this machine.
pub fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
