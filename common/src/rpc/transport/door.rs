//! Another protocol on the same port, told from ours by its first four bytes.

use std::net::SocketAddr;
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use tokio_util::sync::CancellationToken;

use super::link::Socket;
use super::preamble::MAGIC;
use super::seats::Seat;
use crate::rpc::limits::Contract;

/// A protocol that is not ours, served on our port: whose first four bytes are its own, and who takes over from there.
pub struct Door {
    pub(super) contract: Contract,
    pub(super) magic: [u8; MAGIC.len()],
    pub(super) enter: Box<dyn Fn(Visitor) -> LocalBoxFuture<'static, ()>>,
}

/// A connection whose first four bytes, read already, were those of a [`Door`].
pub struct Visitor {
    /// What comes after them.
    pub socket: Box<dyn Socket>,
    /// Its socket's other end.
    pub peer: SocketAddr,
    /// Its socket's own end: as which of our addresses the peer knows us.
    pub local: SocketAddr,
    /// Its place; or a sentence for it, when there is none: say so, and leave.
    pub place: Result<Place, String>,
    /// Cancelled when the server stops.
    pub stop: CancellationToken,
}

/// A connection's place at the listener; given back when dropped.
pub struct Place(pub(super) Rc<Seat>);

impl Place {
    /// Unique within the process.
    pub fn connection(&self) -> u64 {
        self.0.id
    }

    /// Notes how many bytes the connection holds. When all together hold too many, the one with most is closed.
    pub fn holds(&self, bytes: usize) {
        self.0.holds(bytes);
    }
}

impl Door {
    /// Opens it for connections that begin with `magic`. Their number is `contract`'s business, like ours.
    pub fn new<F>(
        contract: Contract,
        magic: [u8; MAGIC.len()],
        enter: impl Fn(Visitor) -> F + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self { contract, magic, enter: Box::new(move |visitor| Box::pin(enter(visitor))) }
    }
}
