//! Time limits, on a clock that the test moves: connections over pipes, served as the listener would.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt as _;
use tarpc::ServerError;
use tarpc::client::stub::Stub;
use tarpc::server::serve as answer_by;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::client::Connection;
use super::preamble::{Ask, introduce};
use super::serve::{Port, Route, ServeOptions, serve};
use super::{CallError, within};
use crate::clock::Clock;
use crate::ids::ClusterId;
use crate::names::Address;
use crate::rpc::limits::{
    Contract, FRAME_TIME, IDLE_TIME, IDLE_TIME_CLIENT, Limits, OTHERS, PREAMBLE_TIME, STOP_TIME, WRITE_TIME,
};

const ECHO: Contract = Contract { name: "echo", lowest: 1, highest: 1, limits: OTHERS };
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
/// The timers of tokio count whole milliseconds.
const GRAIN: Duration = Duration::from_millis(2);

/// The far end of a connection to a service that waits as many milliseconds as the text says, and then says it.
struct Far {
    socket: DuplexStream,
    task: JoinHandle<()>,
    stop: CancellationToken,
    clock: Clock,
}

/// Waits as many milliseconds as the text says, and says it.
fn route() -> Route {
    Route::new(ECHO, |_| {
        answer_by(|_, text: String| async move {
            if let Some(millis) = text.split(' ').next().and_then(|millis| millis.parse().ok()) {
                sleep(Duration::from_millis(millis)).await;
            }
            Ok::<_, ServerError>(text)
        })
    })
}

fn options(stop: &CancellationToken) -> ServeOptions {
    ServeOptions { cluster: ClusterId::UNSTATED, connections_max: 1, stop: stop.clone() }
}

fn connect(pipe: usize) -> Far {
    let (near, socket) = duplex(pipe);
    let stop = CancellationToken::new();
    let port = Rc::new(Port::new(vec![route()].into(), Vec::new(), options(&stop), 1));
    let task = spawn_local(port.serve_one(near, PEER));
    Far { socket, task, stop, clock: Clock::start() }
}

impl Far {
    async fn welcomed(pipe: usize) -> Self {
        let mut far = connect(pipe);
        introduce(&mut far.socket, &Ask::new(ECHO, ClusterId::UNSTATED)).await.unwrap();
        far
    }

    async fn client(self) -> (Connection<String, String>, Since) {
        let address = Address::from(PEER);
        let connection = Connection::over(self.socket, &address, ECHO, ClusterId::UNSTATED).await.unwrap();
        (connection, Since { task: self.task, clock: self.clock })
    }

    async fn say(&mut self, id: u8, text: &str) {
        self.socket.write_all(&request(id, text)).await.unwrap();
    }

    /// The id and the rest of the next answer; `None` at the end.
    async fn hear(&mut self) -> Option<(u64, Vec<u8>)> {
        let length = self.socket.read_u32().await.ok()?;
        let mut frame = vec![0; length as usize];
        self.socket.read_exact(&mut frame).await.unwrap();
        Some(match frame[0] {
            253 => (u64::from_le_bytes(frame[1..9].try_into().unwrap()), frame.split_off(9)),
            id => (id.into(), frame.split_off(1)),
        })
    }

    /// When the server has let go, since the connection was made.
    async fn ended(self) -> Duration {
        Since { task: self.task, clock: self.clock }.ended().await
    }
}

struct Since {
    task: JoinHandle<()>,
    clock: Clock,
}

impl Since {
    async fn ended(self) -> Duration {
        self.task.await.unwrap();
        self.clock.now().since_origin()
    }
}

/// A request with ten seconds.
fn request(id: u8, text: &str) -> Vec<u8> {
    let mut body = vec![0, 10, 0];
    body.extend([0; 17]); // trace and span
    body.extend([1, id, 252]); // unsampled; the text's length follows as four bytes
    body.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    body.extend(text.as_bytes());
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

fn cancel(id: u8) -> Vec<u8> {
    let mut body = vec![1];
    body.extend([0; 17]);
    body.extend([1, id]);
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

/// A text so long that five of it are more than a connection may have unanswered.
fn large(first: &str) -> String {
    format!("{first} {}", "x".repeat(900_000))
}

fn assert_at(ended: Duration, expected: Duration) {
    assert!(ended >= expected && ended <= expected + GRAIN, "ended after {ended:?}, not {expected:?}");
}

async fn in_set<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

#[tokio::test(start_paused = true)]
async fn a_preamble_is_whole_in_time_or_refused() {
    in_set(async {
        let mut far = connect(1024);
        far.socket.write_all(&super::preamble::MAGIC).await.unwrap();
        let mut said = Vec::new();
        far.socket.read_to_end(&mut said).await.unwrap();
        assert_eq!(said[..5], [0x8A, 0x4A, 0x48, 0x0A, 2]);
        let Far { socket, task, clock, .. } = far;
        drop(socket);
        assert_at(Since { task, clock }.ended().await, PREAMBLE_TIME);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_begun_frame_is_whole_in_time_or_the_connection_ends() {
    in_set(async {
        let mut far = Far::welcomed(1024).await;
        sleep(Duration::from_secs(30)).await;
        far.say(1, "whole").await;
        far.hear().await.unwrap();
        let frame = request(2, "half");
        far.socket.write_all(&frame[..9]).await.unwrap();
        // More of it buys no time.
        sleep(Duration::from_secs(6)).await;
        far.socket.write_all(&frame[9..10]).await.unwrap();
        assert!(far.hear().await.is_none());
        let Far { socket, task, clock, .. } = far;
        drop(socket);
        assert_at(Since { task, clock }.ended().await, Duration::from_secs(30) + FRAME_TIME);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_and_a_busy_one_does_not() {
    in_set(async {
        let mut far = Far::welcomed(1024).await;
        sleep(Duration::from_secs(59)).await;
        far.say(1, "9000 ms").await;
        assert_eq!(far.hear().await.unwrap().0, 1);
        assert!(far.hear().await.is_none());
        let Far { socket, task, clock, .. } = far;
        drop(socket);
        assert_at(Since { task, clock }.ended().await, Duration::from_secs(68) + IDLE_TIME);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_lets_go_of_an_idle_connection_before_the_server_does() {
    in_set(async {
        let (connection, since) = connect(1024).client().await;
        connection.closed().await;
        assert_at(since.ended().await, IDLE_TIME_CLIENT);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_is_read_no_further_and_then_left() {
    in_set(async {
        let mut far = Far::welcomed(16 * 1024).await;
        let mut taken = 0;
        for id in (0..250).cycle() {
            let frame = request(id, &"x".repeat(200));
            match timeout(Duration::from_secs(1), far.socket.write_all(&frame)).await {
                Ok(Ok(())) => taken += frame.len(),
                _ => break,
            }
        }
        // The pipe, the buffers of both directions, and what 64 requests in flight hold.
        assert!(taken < 128 * 1024, "{taken} bytes were taken of a peer that reads nothing");
        let ended = far.ended().await;
        assert!(ended >= WRITE_TIME && ended <= WRITE_TIME + Duration::from_secs(1), "ended after {ended:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn reading_goes_on_as_soon_as_the_answers_have_gone() {
    in_set(async {
        let mut far = Far::welcomed(256 * 1024).await;
        far.say(1, &"x".repeat(400_000)).await;
        // Time moves when nobody has anything to do: now the answer fills the pipe, and more than 64 KiB wait.
        sleep(GRAIN).await;
        far.say(2, "hi").await;
        assert_eq!(far.hear().await.unwrap().0, 1);
        assert_eq!(far.hear().await.unwrap().0, 2);
        assert_at(far.clock.now().since_origin(), GRAIN);
        far.task.abort();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_of_many_bytes_wait_until_earlier_ones_are_answered() {
    in_set(async {
        let mut far = Far::welcomed(16 * 1024).await;
        let mut taken = 0;
        for id in 0..10 {
            let frame = request(id, &large("3000"));
            match timeout(Duration::from_secs(1), far.socket.write_all(&frame)).await {
                Ok(written) => written.unwrap(),
                Err(_) => break,
            }
            taken += 1;
        }
        assert_eq!(taken, 5, "4.5 MB are in flight, and no more is read");
        for _ in 0..taken {
            assert_eq!(far.hear().await.unwrap().1.len(), large("3000").len() + 6);
        }
        far.task.abort();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_request_counts_no_more() {
    in_set(async {
        let mut far = Far::welcomed(16 * 1024).await;
        for id in 0..20 {
            far.socket.write_all(&request(id, &large("3000"))).await.unwrap();
            far.socket.write_all(&cancel(id)).await.unwrap();
        }
        far.say(100, "hi").await;
        assert_eq!(far.hear().await.unwrap().0, 100);
        assert!(far.clock.now().since_origin() <= GRAIN);
        far.task.abort();
    })
    .await;
}

/// As with stock tarpc.
#[tokio::test(start_paused = true)]
async fn beyond_the_limit_is_busy_a_repeated_number_is_one_call_and_who_is_late_gets_no_answer() {
    in_set(async {
        let mut far = Far::welcomed(16 * 1024).await;
        let limit = u8::try_from(OTHERS.in_flight).unwrap();
        for id in 0..limit {
            far.say(id, if id == 0 { "20000 ms" } else { "3000 ms" }).await;
        }
        far.say(7, "1 ms").await;
        far.say(limit, "1 ms").await;
        let (id, said) = far.hear().await.unwrap();
        assert_eq!((id, &said[..2]), (u64::from(limit), &[1, 10][..]), "an error, of kind WouldBlock");
        for _ in 1..limit {
            assert!(far.hear().await.unwrap().1.ends_with(b"3000 ms"));
        }
        // The first call's ten seconds pass; its place is free, and its number too.
        sleep(Duration::from_secs(8)).await;
        far.say(0, "hi").await;
        assert!(far.hear().await.unwrap().1.ends_with(b"hi"));
        far.task.abort();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_caller_may_go_on_talking_for_a_while() {
    in_set(async {
        let mut far = connect(1024);
        far.socket.write_all(&vec![0; 40 * 1024]).await.expect("what is said is thrown away, not broken off");
        let mut said = Vec::new();
        far.socket.read_to_end(&mut said).await.unwrap();
        assert_eq!(said[4], 1, "the verdict");
        let Far { socket, task, .. } = far;
        drop(socket);
        task.await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stopping_server_waits_no_longer_than_for_silence() {
    in_set(async {
        let mut far = Far::welcomed(1024).await;
        far.say(1, "hi").await;
        far.hear().await.unwrap();
        far.stop.cancel();
        assert_eq!(far.hear().await.unwrap().0, u64::MAX);
        assert!(far.hear().await.is_none());
        assert_at(far.clock.now().since_origin(), Duration::from_millis(200));
        drop(far.socket);
        far.task.await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stopping_server_says_farewell_and_answers_what_still_comes() {
    in_set(async {
        let mut far = Far::welcomed(1024).await;
        far.say(1, "1000 ms").await;
        sleep(Duration::from_millis(1)).await;
        far.stop.cancel();
        let (id, said) = far.hear().await.unwrap();
        assert_eq!((id, &said[..2]), (u64::MAX, &[1, 4][..]), "an error, of kind ConnectionAborted");
        // Sent before the farewell was read.
        sleep(Duration::from_millis(150)).await;
        far.say(2, "late").await;
        assert_eq!(far.hear().await.unwrap().0, 2);
        assert_eq!(far.hear().await.unwrap().0, 1, "what was in flight is answered");
        assert!(far.hear().await.is_none());
        let Far { socket, task, .. } = far;
        drop(socket);
        task.await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_takes_no_longer_than_its_bound_whatever_is_under_way() {
    in_set(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::from(listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let serving = spawn_local(serve(listener, vec![route()], options(&stop)));
        let dialed = Connection::dial(&address, ECHO, ClusterId::UNSTATED, Duration::from_secs(1)).await;
        let connection: Connection<String, String> = dialed.unwrap();
        let ctx = within(ECHO, Duration::from_secs(50));
        let call = spawn_local(async move { Stub::call(&connection, ctx, "40000 ms".to_owned()).await });
        sleep(Duration::from_secs(1)).await;
        let clock = Clock::start();
        stop.cancel();
        serving.await.unwrap();
        assert_at(clock.now().since_origin(), STOP_TIME);
        assert_eq!(CallError::from(call.await.unwrap().unwrap_err()), CallError::ConnectionLost);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_opens_no_call_after_a_farewell_and_lets_go() {
    in_set(async {
        let far = connect(1024);
        let stop = far.stop.clone();
        let clock = far.clock;
        let (connection, since) = far.client().await;
        let ctx = within(ECHO, Duration::from_secs(5));
        let mut call = pin!(Stub::call(&connection, ctx, "100 ms".to_owned()));
        assert!((&mut call).now_or_never().is_none());
        sleep(Duration::from_millis(1)).await;
        stop.cancel();
        connection.closed().await;
        assert!(clock.now().since_origin() < Duration::from_millis(10), "the farewell was not understood");
        let refused = Stub::call(&connection, ctx, "new".to_owned()).await.unwrap_err();
        assert!(matches!(CallError::from(refused), CallError::Unreachable { refused: false, .. }));
        assert_eq!(call.await.unwrap(), "100 ms");
        since.ended().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_answers_ends_at_its_deadline() {
    in_set(async {
        let (connection, _since) = connect(1024).client().await;
        let call = Stub::call(&connection, within(ECHO, Duration::from_millis(30)), "9000 ms".to_owned());
        assert_eq!(CallError::from(call.await.unwrap_err()), CallError::Unacknowledged);
    })
    .await;
}

/// A server may read no more before its answers are read: a client that waited to write first, with answers left, waited
/// until its calls were lost.
#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_write_reads_on() {
    /// More than it reads in a row.
    const ASKED: u8 = 100;
    in_set(async {
        let limits = Limits { in_flight_client: 200, ..OTHERS };
        let (near, mut far) = duplex(8 * 1024);
        let connection = Connection::start(near, Address::from(PEER), Contract { limits, ..ECHO });
        let ctx = within(ECHO, Duration::from_secs(5));
        let call = |text: String| {
            let connection: Connection<String, String> = connection.clone();
            spawn_local(async move { Stub::call(&connection, ctx, text).await })
        };
        let calls: Vec<_> = (0..ASKED).map(|_| call("hi".to_owned())).collect();
        for _ in 0..ASKED {
            let length = far.read_u32().await.unwrap();
            far.read_exact(&mut vec![0; length as usize]).await.unwrap();
        }
        let _stuck = call("x".repeat(100 * 1024));
        // Time stands still until nobody can do anything more.
        sleep(Duration::from_millis(1)).await;
        let answers: Vec<u8> = (0..ASKED).flat_map(|id| [0, 0, 0, 5, id, 0, 2, b'h', b'i']).collect();
        far.write_all(&answers).await.unwrap();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap(), "hi");
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_of_another_protocol_is_told_apart_from_nobody() {
    let (mut near, far) = duplex(1024);
    near.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let dialed =
        Connection::<String, String>::over(far, &Address::from(PEER), ECHO, ClusterId::UNSTATED).await;
    assert!(matches!(dialed, Err(CallError::Incompatible { .. })));
    let (near, far) = duplex(1024);
    drop(near);
    let dialed =
        Connection::<String, String>::over(far, &Address::from(PEER), ECHO, ClusterId::UNSTATED).await;
    let expected = io::ErrorKind::UnexpectedEof;
    assert!(matches!(dialed, Err(CallError::Unreachable { refused: false, .. })), "{expected}");
}
