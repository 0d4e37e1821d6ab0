//! A caller who means harm: raw bytes on a listener's socket, and real requests to be bent out of shape.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use common::clock::Clock;
use common::ids::ClusterId;
use common::names::Address;
use common::replication::{Epoch, GroupName, LogIndex, ReplicaId, VectorTimestamp};
use common::rpc::frontend::FrontendClient;
use common::rpc::limits::{Contract, FRONTEND, NAME_SERVICE, PEER, REPLICA};
use common::rpc::name_service::NameServiceClient;
use common::rpc::peer::{Message, PeerClient};
use common::rpc::replica::{Consistency, ReplicaClient};
use common::rpc::transport::{Reconnecting, within};
use common::services::encode;
use common::services::just_hungry::NAME;
use common::services::just_hungry::query::Query;
use futures::future::join_all;

use crate::cluster::Cluster;
use crate::process::PATIENCE;
use crate::shop::run;

/// A port that answers the network, and what it is asked for there.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// What is spoken.
    pub contract: Contract,
    /// Where.
    pub address: SocketAddr,
}

/// Every listener of `cluster`, of each kind of process one.
pub fn listeners(cluster: &Cluster) -> [Listener; 4] {
    let (replica, front_end) = (cluster.replicas[0].address(), cluster.front_ends[0].address());
    [
        (NAME_SERVICE, cluster.name_server.address()),
        (FRONTEND, front_end),
        (REPLICA, replica),
        (PEER, replica),
    ]
    .map(|(contract, address)| Listener { contract, address })
}

impl Listener {
    /// A connection on which nothing was said yet. Nothing on it takes longer than [`PATIENCE`].
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// A connection on which the contract was agreed.
    ///
    /// # Errors
    /// When the caller is not welcome.
    pub fn agree(&self) -> Result<TcpStream> {
        let mut stream = self.connect()?;
        stream.write_all(&preamble(self.contract.name, self.contract.lowest, self.contract.highest))?;
        let mut verdict = [0; 32];
        stream.read_exact(&mut verdict)?;
        ensure!(verdict[4] == 0, "not welcome at {}: verdict {}", self.address, verdict[4]);
        Ok(stream)
    }

    /// Calls as anybody may, over a new connection; gives the time it took.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn probe(&self) -> Result<Duration> {
        let clock = Clock::start();
        run(call(self.contract, self.address, 1))
            .with_context(|| format!("{} at {}", self.contract.name, self.address))?;
        Ok(clock.now().since(common::clock::Moment::ORIGIN))
    }
}

/// What a client says before tarpc starts.
pub fn preamble(contract: &str, lowest: u16, highest: u16) -> Vec<u8> {
    let mut bytes = vec![0x8A, 0x4A, 0x48, 0x0A, 1];
    bytes.push(u8::try_from(contract.len()).unwrap_or(u8::MAX));
    bytes.extend(lowest.to_be_bytes());
    bytes.extend(highest.to_be_bytes());
    bytes.resize(32, 0);
    bytes.extend(contract.as_bytes());
    bytes
}

/// A frame around `body`.
pub fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("no test sends 4 GiB");
    [&length.to_be_bytes(), body].concat()
}

/// Makes harmless calls of `contract`, all at once over one connection.
async fn call(contract: Contract, address: SocketAddr, times: usize) -> Result<()> {
    let (to, nobody) = (Address::from(address), ClusterId::UNSTATED);
    let group: GroupName = NAME.parse().expect("a service of ours has a good name");
    let context = || within(contract, PATIENCE);
    let calls = 0..times;
    let answers: Vec<_> = match contract.name {
        "name-service" => {
            let client = NameServiceClient::from(Reconnecting::new(to, contract, nobody));
            join_all(calls.map(async |_| client.status(context()).await.map(drop))).await
        }
        "replica" => {
            let client = ReplicaClient::from(Reconnecting::new(to, contract, nobody));
            join_all(calls.map(async |_| client.status(context()).await.map(drop))).await
        }
        "peer" => {
            let client = PeerClient::from(Reconnecting::new(to, contract, nobody));
            let (from, epoch, committed) = (ReplicaId::from_u128(7), Epoch(1), LogIndex(0));
            let message = Message::Confirm { from, epoch, round: 1, committed, state: None };
            let ask = async |_| client.passive(context(), group.clone(), message.clone()).await.map(drop);
            join_all(calls.map(ask)).await
        }
        _ => {
            let client = FrontendClient::from(Reconnecting::new(to, contract, nobody));
            let (prev, query) = (VectorTimestamp::default(), encode(&Query::Motd));
            let fresh = Consistency::Linearizable;
            let ask = async |_| {
                client.query(context(), group.clone(), prev.clone(), fresh, query.clone()).await.map(drop)
            };
            join_all(calls.map(ask)).await
        }
    };
    answers.into_iter().collect::<Result<(), _>>().map_err(|error| anyhow!(error))
}

/// A good request, as our own client sends it, but for the number by which its answer is known.
#[derive(Clone, Debug)]
pub struct Request {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Request {
    /// The request with this number: a frame's body.
    pub fn numbered(&self, number: u16) -> Vec<u8> {
        let number = match u8::try_from(number) {
            Ok(small @ 0..=250) => vec![small],
            _ => [&[251][..], &number.to_le_bytes()].concat(),
        };
        [&self.before[..], &number, &self.after].concat()
    }
}

/// Listens to our own client's first two requests of `contract`: they differ last in their numbers, 0 and 1.
///
/// # Errors
/// When the client sends none.
pub fn good_request(contract: Contract) -> Result<Request> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    // The answers never come: the thread ends with the test.
    std::thread::spawn(move || run(call(contract, address, 2)));
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut asked = vec![0; 32 + contract.name.len()];
    stream.read_exact(&mut asked)?;
    let mut welcome = vec![0x8A, 0x4A, 0x48, 0x0A, 0, 0];
    welcome.extend(contract.highest.to_be_bytes());
    welcome.extend([0; 2]);
    welcome.extend(contract.lowest.to_be_bytes());
    welcome.resize(28, 0);
    welcome.extend(contract.highest.to_be_bytes());
    welcome.resize(32, 0);
    stream.write_all(&welcome)?;
    let mut frame = || -> Result<Vec<u8>> {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut body)?;
        Ok(body)
    };
    let (first, second) = (frame()?, frame()?);
    let after = first.iter().rev().zip(second.iter().rev()).take_while(|(a, b)| a == b).count();
    let (before, rest) = first.split_at(first.len() - after - 1);
    ensure!(rest[0] == 0, "the first request is not number 0");
    Ok(Request { before: before.to_vec(), after: rest[1..].to_vec() })
}

/// `body` with another deadline: a request begins with its tag, then its deadline's seconds and nanoseconds.
pub fn with_deadline(body: &[u8], seconds: u64, nanos: u32) -> Vec<u8> {
    let width = |first: u8| match first {
        251 => 3,
        252 => 5,
        253 => 9,
        _ => 1,
    };
    let after_seconds = 1 + width(body[1]);
    let after = after_seconds + width(body[after_seconds]);
    let mut bent = vec![body[0], 253];
    bent.extend(seconds.to_le_bytes());
    bent.push(252);
    bent.extend(nanos.to_le_bytes());
    bent.extend(&body[after..]);
    bent
}

/// Sends `bytes`, says no more, and returns what came back before the end.
///
/// # Errors
/// When the other end neither answers nor closes.
pub fn say(mut stream: TcpStream, bytes: &[u8]) -> Result<Vec<u8>> {
    // Refused in mid-sentence is refused too.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    until_closed(stream)
}

/// Reads until the other end closes.
///
/// # Errors
/// When it does not.
pub fn until_closed(mut stream: TcpStream) -> Result<Vec<u8>> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => Ok(answer),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(answer),
        Err(error) => Err(error).context("the connection was not closed"),
    }
}

/// Sends request after request and never reads; returns the bytes sent until the other end took no more.
///
/// # Errors
/// When the connection fails in another way.
pub fn never_read(stream: &mut TcpStream, request: &Request, at_most: usize) -> io::Result<usize> {
    /// The socket's buffers are full by then, and nobody empties them.
    const NOBODY_READS: Duration = Duration::from_millis(500);
    stream.set_write_timeout(Some(NOBODY_READS))?;
    let mut sent = 0;
    for number in (0..=u16::MAX).cycle() {
        match stream.write_all(&framed(&request.numbered(number))) {
            Ok(()) => sent += request.before.len() + request.after.len(),
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => break,
            Err(error) if [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind()) => {
                break;
            }
            Err(error) => return Err(error),
        }
        if sent >= at_most {
            break;
        }
    }
    Ok(sent)
}
