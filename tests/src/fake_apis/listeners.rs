//! Where the stand-in listens: one address for everything, and one for each service, which can be closed.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use socket2::Socket;
use tokio::net::{TcpListener, TcpStream};

use super::{Api, Plan, Shared};

/// The connection that a request came over, to end it rudely.
#[derive(Clone, Debug)]
pub(super) struct Twin(Arc<Socket>);

impl Twin {
    fn of(socket: &TcpStream) -> io::Result<Self> {
        Ok(Self(Arc::new(Socket::from(socket.as_fd().try_clone_to_owned()?))))
    }

    /// Its end will be a reset.
    pub(super) fn reset_at_the_end(&self) {
        // A socket that is closed already cannot be reset.
        let _ = self.0.set_linger(Some(Duration::ZERO));
    }
}

/// Listens, and serves `router` at all addresses.
pub(super) async fn open(
    shared: &Arc<Shared>,
    router: &Router,
    address: SocketAddr,
) -> io::Result<(SocketAddr, BTreeMap<Api, SocketAddr>)> {
    let common = TcpListener::bind(address).await?;
    let address = common.local_addr()?;
    tokio::spawn(accept(common, router.clone()));
    let mut own = BTreeMap::new();
    for (api, after) in Api::ALL.into_iter().zip(1..) {
        // Started again at the same address, it is where it was, as far as nobody else is.
        let next = SocketAddr::new(address.ip(), address.port().saturating_add(after));
        let listener = match TcpListener::bind(next).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind(SocketAddr::new(address.ip(), 0)).await?,
        };
        own.insert(api, listener.local_addr()?);
        tokio::spawn(serve(api, listener, Arc::clone(shared), router.clone()));
    }
    Ok((address, own))
}

/// Serves a service at its own address, whenever nobody wants it closed.
async fn serve(api: Api, listener: TcpListener, shared: Arc<Shared>, router: Router) {
    let address = listener.local_addr().expect("it listens");
    let mut plans = shared.plans[&api].subscribe();
    let mut listener = Some(listener);
    loop {
        let here = match listener.take() {
            Some(listener) => listener,
            // The port was ours a moment ago.
            None => TcpListener::bind(address).await.expect("nobody took the port"),
        };
        shared.open[&api].send_replace(true);
        tokio::select! {
            () = accept(here, router.clone()) => {}
            _ = plans.wait_for(Plan::closes) => {}
        }
        shared.open[&api].send_replace(false);
        // Both ends are ours, so nobody hangs up.
        let _ = plans.wait_for(|plan| !plan.closes()).await;
    }
}

async fn accept(listener: TcpListener, router: Router) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let Ok(twin) = Twin::of(&socket) else { continue };
        let service = TowerToHyperService::new(router.clone().layer(Extension(twin)));
        // A client that breaks off hurts nobody else.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}
