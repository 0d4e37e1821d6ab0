//! The pages for programs that watch over us: `GET /healthz` (the process lives) and `GET /readyz` (every group
//! answers a read). Read only; everything else is 404.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use common::machine::TcpListener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Connections at most: pages are asked for by people and probes, not by the thousand.
const CONNECTIONS_MAX: usize = 256;
/// A client that takes longer to ask, or to ask again, is let go.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// While no descriptor is free.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Whether every group serves; else who does not, in one line.
pub type Readiness = Result<(), String>;

/// Asks whether we are ready: pages run apart from the calls, whose state stays on its own thread.
pub type AskReady = mpsc::Sender<oneshot::Sender<Readiness>>;

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Only who calls us by a name of this machine: no page from elsewhere, whatever its DNS says.
    ThisMachine,
    /// Anybody: the operator opened the address.
    Any,
}

/// The pages.
pub fn pages(ready: AskReady, hosts: Hosts) -> Router {
    let pages = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .with_state(ready)
        .fallback(async || (StatusCode::NOT_FOUND, "nothing here; try /healthz or /readyz\n"));
    match hosts {
        Hosts::Any => pages,
        Hosts::ThisMachine => pages.layer(from_fn(this_machine_only)),
    }
}

async fn readyz(State(ready): State<AskReady>) -> Response {
    let (answer, answered) = oneshot::channel();
    // A full queue means that the calls before this one have no answer yet.
    let asked = ready.try_send(answer).map_err(|_| "too many ask at once".to_owned());
    let readiness = match asked {
        Ok(()) => answered.await.unwrap_or_else(|_| Err("stopping".to_owned())),
        Err(full) => Err(full),
    };
    match readiness {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn this_machine_only(request: Request, next: Next) -> Response {
    if names_this_machine(request.headers()) {
        next.run(request).await
    } else {
        (
            StatusCode::MISDIRECTED_REQUEST,
            "this page is for this machine: call it by 127.0.0.1 or localhost\n",
        )
            .into_response()
    }
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

/// Serves `pages` for ever.
pub async fn serve(listener: TcpListener, pages: Router) {
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

#[cfg(test)]
mod tests;
