//! Answers programs that look for a name server by shouting: a datagram in, our URI out. Off unless asked for, since
//! whoever answers first wins, and nobody proves anything.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use common::clock::Moment;
use tokio::net::UdpSocket;

use super::session::House;

/// What is shouted; nothing else is ever answered.
const QUESTION: &[u8; 9] = b"GET_NSURI";
/// What clients read of an answer.
pub(crate) const ANSWER_MAX: usize = 100;
/// Answers within one [`WINDOW`]: to one machine, and to all. A forged sender gets no flood from us.
const PER_SOURCE_MAX: u32 = 20;
const IN_ALL_MAX: usize = 200;
const WINDOW: Duration = Duration::from_secs(1);
/// After an error of the socket; it may come again at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers within the current window.
#[derive(Debug, Default)]
struct Quota {
    began: Moment,
    answered: BTreeMap<IpAddr, u32>,
    in_all: usize,
}

impl Quota {
    /// Whether one more may go to `source`; then it counts.
    fn takes(&mut self, now: Moment, source: IpAddr) -> bool {
        if now.since(self.began) >= WINDOW {
            *self = Self { began: now, ..Self::default() };
        }
        if self.in_all == IN_ALL_MAX {
            return false;
        }
        let count = self.answered.entry(source.to_canonical()).or_default();
        if *count == PER_SOURCE_MAX {
            return false;
        }
        *count += 1;
        self.in_all += 1;
        true
    }
}

/// Opens the socket.
///
/// # Errors
/// When the address is taken, or not ours.
pub(crate) async fn listen(at: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::bind(at).await
}

/// Answers for ever.
pub(crate) async fn answer(socket: UdpSocket, house: Rc<House>) {
    let mut quota = Quota::default();
    // One byte more than the question: a longer datagram shows.
    let mut heard = [0; QUESTION.len() + 1];
    loop {
        let Ok((bytes, asker)) = socket.recv_from(&mut heard).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        if heard[..bytes] != QUESTION[..] || !quota.takes(house.shared.clock.now(), asker.ip()) {
            continue;
        }
        let Ok(local) = towards(asker).await else { continue };
        let uri = house.own_uri(local);
        if uri.is_ascii() && uri.len() <= ANSWER_MAX {
            // An answer that does not go out is asked for again.
            let _ = socket.send_to(uri.as_bytes(), asker).await;
        }
    }
}

/// As which of our addresses `asker` reaches us: what the routing table says, without sending anything.
async fn towards(asker: SocketAddr) -> io::Result<SocketAddr> {
    let any: IpAddr = match asker {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let probe = UdpSocket::bind((any, 0)).await?;
    probe.connect(asker).await?;
    probe.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_flooded_in_anybody_elses_name() {
        let at = |millis| Moment::after_origin(Duration::from_millis(millis));
        let machine = |n: u8| IpAddr::from([10, 0, 0, n]);
        let mut quota = Quota::default();
        assert_eq!((0..50).filter(|_| quota.takes(at(0), machine(1))).count(), 20);
        assert!(quota.takes(at(1), machine(2)), "another machine's share is its own");
        let others = (0..1_000_u32).filter(|n| quota.takes(at(2), machine(3 + (n % 100) as u8))).count();
        assert_eq!(others, 200 - 21);
        assert!(!quota.takes(at(999), machine(1)) && quota.takes(at(1_000), machine(1)));
    }
}
