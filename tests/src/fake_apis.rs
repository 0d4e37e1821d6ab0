//! The stand-in for the web services outside the house: postcodes.io, getthedata.com and OMDb, with faults on demand.
//!
//! The same code serves tests ([`FakeApis`], on a thread of its own) and people (the program `fake-apis`, through
//! `./run.sh --fake-apis`). Each service has an address of its own, whose listener can be closed; all of them, and the
//! control routes, are at one more:
//!
//! - `GET /postcodes/{pc}`, `GET /postcode/{pc}`, `GET /omdb/?…`: the services; what they know is `known`'s.
//! - `PUT /_faults/{postcodes|getthedata|omdb}` with `{"fault":F,"next":N}`: the next N calls, or all from now on, go
//!   wrong as [`Fault`] says.
//! - `GET /_calls`: what the services were asked since the last look, as it came over the wire.

mod fault;
mod known;
mod listeners;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};

pub use fault::{BadFault, Fault};

use listeners::Twin;

/// The only key that the stand-in for OMDb takes.
pub const KEY: &str = "test-key";

/// One of the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// postcodes.io.
    Postcodes,
    /// getthedata.com.
    GetTheData,
    /// OMDb.
    Omdb,
}

impl Api {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Postcodes, Self::GetTheData, Self::Omdb];

    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postcodes => "postcodes",
            Self::GetTheData => "getthedata",
            Self::Omdb => "omdb",
        }
    }

    /// Whose a path is.
    fn of(path: &str) -> Option<Self> {
        match path.split('/').nth(1)? {
            "postcodes" => Some(Self::Postcodes),
            "postcode" => Some(Self::GetTheData),
            "omdb" => Some(Self::Omdb),
            _ => None,
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Api {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|api| api.as_str() == text);
        named.ok_or_else(|| format!("no service {text}; there are postcodes, getthedata and omdb"))
    }
}

/// What a service was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Which one.
    pub api: Api,
    /// Path and query, escaped as they came.
    pub target: String,
}

/// What goes wrong at a service.
#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    fault: Fault,
    /// For so many calls; `None`: from now on.
    next: Option<u32>,
}

impl Plan {
    /// What happens to one call.
    fn take(&mut self) -> Fault {
        match &mut self.next {
            None => self.fault,
            Some(0) => Fault::None,
            Some(left) => {
                *left -= 1;
                self.fault
            }
        }
    }

    /// Whether nobody listens at the service's own address.
    fn closes(&self) -> bool {
        self.fault == Fault::Refuse && self.next.is_none()
    }
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    calls: Mutex<Vec<Call>>,
    plans: BTreeMap<Api, watch::Sender<Plan>>,
    /// Whether somebody listens at the service's own address.
    open: BTreeMap<Api, watch::Sender<bool>>,
}

impl Shared {
    fn new() -> Arc<Self> {
        let plans = Api::ALL.map(|api| (api, watch::Sender::default())).into();
        let open = Api::ALL.map(|api| (api, watch::Sender::new(true))).into();
        Arc::new(Self { calls: Mutex::default(), plans, open })
    }

    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when it is so.
    async fn plan(&self, api: Api, plan: Plan) {
        self.plans[&api].send_replace(plan);
        let wanted = !plan.closes();
        // Both ends are ours, so nobody hangs up.
        let _ = self.open[&api].subscribe().wait_for(|open| *open == wanted).await;
    }
}

/// The stand-in, running. It ends when it is dropped.
#[derive(Debug)]
pub struct FakeApis {
    shared: Arc<Shared>,
    address: SocketAddr,
    own: BTreeMap<Api, SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeApis {
    /// Starts one whose common address is `address`; port 0: any free one.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub fn start(address: SocketAddr) -> Result<Self> {
        let shared = Shared::new();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let router = router(&shared);
        let (address, own) =
            runtime.block_on(listeners::open(&shared, &router, address)).context("cannot listen")?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("fake-apis".into()).spawn(move || {
            // Dropped is stopped, too.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { shared, address, own, stop: Some(stop), thread: Some(thread) })
    }

    /// As [`FakeApis::start`], at any free port of this machine.
    ///
    /// # Errors
    /// When there is none.
    pub fn anywhere() -> Result<Self> {
        Self::start(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// The address that all services share.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to give as the address of a service.
    pub fn url(&self, api: Api) -> String {
        let path = if api == Api::Omdb { "/omdb/" } else { "" };
        format!("http://{}{path}", self.own[&api])
    }

    /// The flags that have a front end ask here; OMDb only when it has a key.
    pub fn flags(&self) -> Vec<String> {
        let auto = ["--postcodes".to_owned(), "auto".to_owned()];
        let urls = [
            ("--postcodes-url", Api::Postcodes),
            ("--getthedata-url", Api::GetTheData),
            ("--omdb-url", Api::Omdb),
        ];
        let urls = urls.into_iter().flat_map(|(flag, api)| [flag.to_owned(), self.url(api)]);
        auto.into_iter().chain(urls).collect()
    }

    /// Everything that `api` is asked from now on goes wrong like this.
    pub fn fault(&self, api: Api, fault: Fault) {
        self.plan(api, Plan { fault, next: None });
    }

    /// The next calls of `api` go wrong like this.
    pub fn fault_next(&self, api: Api, fault: Fault, calls: u32) {
        self.plan(api, Plan { fault, next: Some(calls) });
    }

    fn plan(&self, api: Api, plan: Plan) {
        // A moment only: what is waited for happens on the stand-in's own thread.
        futures::executor::block_on(self.shared.plan(api, plan));
    }

    /// What was asked since the last look.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.shared.calls())
    }
}

impl Drop for FakeApis {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed.
            let _ = thread.join();
        }
    }
}

fn router(shared: &Arc<Shared>) -> Router {
    let services = Router::new()
        .route("/postcodes/{pc}", get(postcodes))
        .route("/postcode/{pc}", get(getthedata))
        .route("/omdb", get(omdb))
        .route("/omdb/", get(omdb))
        .fallback(async || page(404, &json!({"status": 404, "error": "Resource not found"})))
        .layer(from_fn_with_state(Arc::clone(shared), troubled));
    Router::new()
        .route("/_faults/{api}", put(set_fault))
        .route("/_calls", get(calls))
        .with_state(Arc::clone(shared))
        .fallback_service(services)
}

/// What a handler is told when it should lie.
#[derive(Clone, Copy, Debug)]
struct Lie(bool);

/// Notes the call, and lets it go wrong as planned.
async fn troubled(
    State(shared): State<Arc<Shared>>,
    Extension(twin): Extension<Twin>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(api) = Api::of(request.uri().path()) else { return next.run(request).await };
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    shared.calls().push(Call { api, target });
    let mut fault = Fault::None;
    shared.plans[&api].send_if_modified(|plan| {
        fault = plan.take();
        false
    });
    request.extensions_mut().insert(Lie(fault == Fault::Lie));
    fault.befall(&twin, next.run(request)).await
}

fn page(status: u16, body: &serde_json::Value) -> Response {
    text(status, body.to_string())
}

fn text(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [("content-type", "application/json; charset=utf-8")], body).into_response()
}

async fn postcodes(Path(asked): Path<String>, Extension(Lie(lie)): Extension<Lie>) -> Response {
    let (status, body) = known::postcodes_io(if lie { known::other_postcode(&asked) } else { &asked });
    text(status, body)
}

async fn getthedata(Path(asked): Path<String>, Extension(Lie(lie)): Extension<Lie>) -> Response {
    let (status, body) = known::getthedata(if lie { known::other_postcode(&asked) } else { &asked });
    text(status, body)
}

async fn omdb(
    Query(asked): Query<BTreeMap<String, String>>,
    Extension(Lie(lie)): Extension<Lie>,
) -> Response {
    let (status, body) = known::omdb(&asked, lie);
    text(status, body)
}

#[derive(Deserialize)]
struct NewFault {
    fault: String,
    next: Option<u32>,
}

async fn set_fault(
    State(shared): State<Arc<Shared>>,
    Path(api): Path<String>,
    Json(NewFault { fault, next }): Json<NewFault>,
) -> Response {
    let parsed = api.parse().and_then(|api: Api| {
        let fault = fault.parse().map_err(|error: BadFault| error.to_string())?;
        Ok((api, Plan { fault, next }))
    });
    match parsed {
        Ok((api, plan)) => {
            shared.plan(api, plan).await;
            StatusCode::NO_CONTENT.into_response()
        }
        Err(why) => (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
    }
}

async fn calls(State(shared): State<Arc<Shared>>) -> Json<Vec<Call>> {
    Json(std::mem::take(&mut *shared.calls()))
}
