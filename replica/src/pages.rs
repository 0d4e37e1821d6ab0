//! The pages for programs that watch over a replica: `/healthz` (it lives), `/readyz` (it takes part in every group;
//! else 503, and a line that says why not), `/metrics`. Read only.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use common::meters::{CONTENT_TYPE, Meters};

use crate::hosted::Hosted;

/// What the pages tell of. They are there before the groups: who watches should hear that we live, and wait.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// Set once they are known.
    pub(crate) groups: Arc<OnceLock<Vec<Hosted>>>,
    /// `None` when another in this process counts already.
    pub(crate) meters: Option<Meters>,
}

impl Watched {
    /// Its pages.
    pub(crate) fn pages(self) -> Router {
        Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .fallback(async || (StatusCode::NOT_FOUND, "nothing here; try /healthz, /readyz or /metrics\n"))
            .with_state(self)
    }

    /// What keeps each group from taking part, in words; asking has the numbers of how it is written down.
    async fn troubles(&self) -> Vec<String> {
        let Some(groups) = self.groups.get() else { return vec!["waiting for a name server".to_owned()] };
        let mut troubles = Vec::new();
        for group in groups {
            let trouble = group.trouble().await.unwrap_or_else(|| "stopping".to_owned());
            if !trouble.is_empty() {
                troubles.push(format!("{}: {trouble}", group.name()));
            }
        }
        troubles
    }
}

async fn readyz(State(watched): State<Watched>) -> Response {
    match watched.troubles().await.as_slice() {
        [] => "ready\n".into_response(),
        troubles => (StatusCode::SERVICE_UNAVAILABLE, troubles.join("; ") + "\n").into_response(),
    }
}

async fn metrics(State(watched): State<Watched>) -> Response {
    let _ = watched.troubles().await;
    match &watched.meters {
        Some(meters) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], meters.text()).into_response(),
        None => (StatusCode::NOT_FOUND, "nothing is counted here\n").into_response(),
    }
}
