//! turmoil's sockets, and what turmoil lacks: a direction that can be cut while TCP waits and loses nothing (turmoil's
//! own one-way partition drops segments out of a stream, which no TCP does), packets that are lost and sent again, and
//! listeners that know their address.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::{here, trace};

thread_local! {
    /// Directions in which nothing arrives: from, to.
    static CUT: RefCell<BTreeSet<(IpAddr, IpAddr)>> = const { RefCell::new(BTreeSet::new()) };
    /// Who waits for one to be mended.
    static WAITING: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
    /// Machines among which packets are lost.
    static LOSSY: RefCell<BTreeSet<IpAddr>> = const { RefCell::new(BTreeSet::new()) };
}

/// How many of a hundred packets are lost.
const LOST_PERCENT: u32 = 30;
/// After so long TCP sends a packet again, and each time waits twice as long: what Linux begins with on a fast network.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// The same for the first one of a connection (RFC 6298 §2.1).
const HELLO_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// So often in a row none is lost.
const LOST_MAX: u32 = 6;

/// Lets nothing arrive at `to` that comes from `from`, until it is mended.
pub fn cut(from: IpAddr, to: IpAddr) {
    CUT.with_borrow_mut(|cut| cut.insert((from, to)));
}

/// Lets all arrive that was sent meanwhile.
pub fn mend(from: IpAddr, to: IpAddr) {
    CUT.with_borrow_mut(|cut| cut.remove(&(from, to)));
    WAITING.take().into_iter().for_each(Waker::wake);
}

/// Loses packets among these machines from now on, and among no others.
pub fn lose(among: impl IntoIterator<Item = IpAddr>) {
    LOSSY.set(among.into_iter().collect());
}

/// How much later a packet arrives because it, and what was sent in its place, was lost; `None`: nothing was.
fn lateness(from: IpAddr, to: IpAddr, again_after: Duration) -> Option<Duration> {
    if !LOSSY.with_borrow(|lossy| lossy.contains(&from) && lossy.contains(&to)) {
        return None;
    }
    let lost = (0..LOST_MAX).take_while(|_| rand::random_ratio(LOST_PERCENT, 100)).count();
    (lost > 0).then(|| again_after * ((1 << lost) - 1))
}

fn poll_open(from: IpAddr, to: IpAddr, cx: &Context<'_>) -> Poll<()> {
    if CUT.with_borrow(|cut| cut.contains(&(from, to))) {
        WAITING.with_borrow_mut(|waiting| waiting.push(cx.waker().clone()));
        return Poll::Pending;
    }
    Poll::Ready(())
}

/// A simulated listener.
#[derive(Debug)]
pub struct TcpListener {
    inner: Inner,
    address: SocketAddr,
}

struct Inner(turmoil::net::TcpListener);

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("listener")
    }
}

impl TcpListener {
    /// Listens on the machine that asks. turmoil binds to "every address" only; it is told as the one asked for.
    ///
    /// # Errors
    /// When the port is taken, or the address is another machine's.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        if address.ip() != here().ip {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let inner = turmoil::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await?;
        let port = inner.local_addr()?.port();
        Ok(Self { inner: Inner(inner), address: SocketAddr::new(address.ip(), port) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// None.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    /// The next caller.
    ///
    /// # Errors
    /// turmoil's.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (inner, peer) = self.inner.0.accept().await?;
        Ok((TcpStream::of(inner, self.address.ip(), peer.ip()), peer))
    }
}

/// A simulated connection.
#[derive(Debug)]
pub struct TcpStream {
    inner: turmoil::net::TcpStream,
    local: IpAddr,
    remote: IpAddr,
    /// When what was lost is sent again.
    again: Option<Pin<Box<Sleep>>>,
}

impl TcpStream {
    fn of(inner: turmoil::net::TcpStream, local: IpAddr, remote: IpAddr) -> Self {
        Self { inner, local, remote, again: None }
    }

    /// Ready when the next packet gets through. Those behind a lost one wait for it: TCP keeps their order.
    fn poll_through(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.again.is_none() {
            let Some(late) = lateness(self.local, self.remote, AGAIN_AFTER) else { return Poll::Ready(()) };
            self.again = Some(Box::pin(sleep(late)));
        }
        if let Some(again) = &mut self.again {
            ready!(again.as_mut().poll(cx));
            self.again = None;
        }
        Poll::Ready(())
    }

    /// Connects; TCP's own hello is repeated until both directions are open.
    ///
    /// # Errors
    /// turmoil's: nobody listens there.
    pub async fn connect(to: impl turmoil::ToSocketAddrs) -> io::Result<Self> {
        let inner = Box::pin(turmoil::net::TcpStream::connect(to)).await?;
        let (local, remote) = (here().ip, inner.peer_addr()?.ip());
        poll_fn(|cx| poll_open(local, remote, cx)).await;
        poll_fn(|cx| poll_open(remote, local, cx)).await;
        if let Some(late) = lateness(local, remote, HELLO_AGAIN_AFTER) {
            sleep(late).await;
        }
        Ok(Self::of(inner, local, remote))
    }

    /// Its own end.
    ///
    /// # Errors
    /// turmoil's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::new(self.local, self.inner.local_addr()?.port()))
    }

    /// Nothing is delayed here but by the network.
    ///
    /// # Errors
    /// None.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.inner.set_nodelay(nodelay)
    }
}

/// Machines that lose their power are not noticed by TCP here; the time-outs of the transport have to do.
///
/// # Errors
/// None.
pub fn keep_alive(_: &TcpStream) -> io::Result<()> {
    Ok(())
}

impl AsyncRead for TcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if poll_open(self.remote, self.local, cx).is_pending() {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_through(cx));
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = written {
            let at = turmoil::sim_elapsed().unwrap_or_default();
            trace::bytes(1, u64::try_from(at.as_nanos()).unwrap_or(u64::MAX), &buf[..count]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
