//! Dialling the names without a lease: what [`crate::probes`] wants to know, found out.

use std::net::IpAddr;
use std::time::Duration;

use common::machine::TcpStream;
use common::names::{Address, Host};
use tokio::time::timeout;

use crate::probes::{Ask, Place, never_dialled};

/// A machine that is there answers a connect far sooner, also over a slow line.
const DIAL_TIME: Duration = Duration::from_secs(2);

/// Whether somebody lives at `place`.
pub(crate) async fn is_alive(place: &Place) -> bool {
    let asked = async {
        match place.ask {
            Ask::Connect => connect(&place.address).await.is_some(),
        }
    };
    timeout(DIAL_TIME, asked).await.unwrap_or(false)
}

/// A connection to `address`, where it may be dialled.
pub(crate) async fn connect(address: &Address) -> Option<TcpStream> {
    let ip = match &address.host {
        Host::Ip(ip) => *ip,
        Host::Dns(name) => resolve(name).await?,
    };
    TcpStream::connect((ip, address.port)).await.ok()
}

async fn resolve(name: &str) -> Option<IpAddr> {
    let found = tokio::net::lookup_host((name, 0)).await.ok()?;
    found.map(|socket| socket.ip()).find(|&ip| !never_dialled(ip))
}
