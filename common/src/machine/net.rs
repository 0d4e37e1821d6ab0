use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
pub use tokio::net::{TcpListener, TcpStream};

/// After this long without a byte, TCP asks whether the other machine still lives.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// And asks again so often, three times in all, before it gives up.
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(10);

/// Has TCP ask, on a quiet connection, whether the other machine still lives.
///
/// # Errors
/// When the socket is closed already.
pub fn keep_alive(socket: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_AGAIN).with_retries(3);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}
