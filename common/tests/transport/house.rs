//! A small service of one's own, a server in a thread of its own, and a raw caller.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use common::ids::ClusterId;
use common::names::Address;
use common::rpc::limits::{Contract, OTHERS};
use common::rpc::transport::{Reconnecting, Route, ServeOptions, serve};
use tarpc::context::Context;
use tokio::net::TcpListener;
use tokio::runtime::LocalRuntime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[tarpc::service]
pub(crate) trait Echo {
    /// Says the same.
    async fn echo(text: String) -> String;
    /// Takes its time.
    async fn slow(time: Duration) -> Duration;
    /// Says this many bytes.
    async fn long(bytes: usize) -> String;
    /// Fails.
    async fn panic();
}

pub(crate) const ECHO: Contract = Contract { name: "echo", lowest: 1, highest: 2, limits: OTHERS };

pub(crate) fn cluster() -> ClusterId {
    "test".parse().unwrap()
}

#[derive(Clone)]
struct Server {
    /// Slow calls begun so far.
    begun: watch::Sender<usize>,
}

impl Echo for Server {
    async fn echo(self, _: Context, text: String) -> String {
        text
    }

    async fn slow(self, _: Context, time: Duration) -> Duration {
        self.begun.send_modify(|begun| *begun += 1);
        tokio::time::sleep(time).await;
        time
    }

    async fn long(self, _: Context, bytes: usize) -> String {
        "x".repeat(bytes)
    }

    async fn panic(self, _: Context) {
        panic!("as asked");
    }
}

/// What a client says first, of a contract of 4 letters.
pub(crate) fn preamble(contract: [u8; 4], versions: [u8; 2], cluster: ClusterId) -> Vec<u8> {
    let mut bytes = vec![0x8A, 0x4A, 0x48, 0x0A, 1, 4, 0, versions[0], 0, versions[1], 0, 0];
    bytes.extend(cluster.to_bytes());
    bytes.extend([0; 4]);
    bytes.extend(contract);
    bytes
}

/// A request frame with this deadline, seconds and nanoseconds encoded already.
pub(crate) fn request(seconds: &[u8], nanos: &[u8], id: u8, message: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    body.extend(seconds);
    body.extend(nanos);
    body.extend([0; 17]); // trace and span
    body.extend([1, id]); // unsampled
    body.extend(message);
    frame(&body)
}

/// A cancellation frame.
pub(crate) fn cancel(id: u8) -> Vec<u8> {
    let mut body = vec![1];
    body.extend([0; 17]);
    body.extend([1, id]);
    frame(&body)
}

pub(crate) fn frame(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

/// Methods of [`Echo`], as a message names them.
pub(crate) const CALL_ECHO_HI: &[u8] = &[0, 2, b'h', b'i'];
pub(crate) const CALL_SLOW_5_S: &[u8] = &[1, 5, 0];
pub(crate) const CALL_LONG_900_KB: &[u8] = &[2, 252, 0xA0, 0xBB, 0x0D, 0];

/// A caller that knows no manners.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        // A test that fails should fail, not hang.
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(socket)
    }

    pub(crate) fn welcomed(address: SocketAddr) -> Self {
        let mut raw = Self::connect(address);
        raw.say(&preamble(*b"echo", [1, 2], cluster()));
        assert_eq!(raw.verdict(), (0, String::new()));
        raw
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The server's preamble: the verdict and its sentence.
    pub(crate) fn verdict(&mut self) -> (u8, String) {
        let mut head = [0; 32];
        self.0.read_exact(&mut head).unwrap();
        assert_eq!(head[..4], [0x8A, 0x4A, 0x48, 0x0A]);
        let mut text = vec![0; usize::from(u16::from_be_bytes([head[30], head[31]]))];
        self.0.read_exact(&mut text).unwrap();
        (head[4], String::from_utf8(text).unwrap())
    }

    /// The id and the rest of the next answer.
    pub(crate) fn hear(&mut self) -> (u8, Vec<u8>) {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut body).unwrap();
        (body[0], body.split_off(1))
    }

    /// What comes until the server closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("closed, and not reset");
        rest
    }
}

/// A server in its own thread and runtime; stopped when dropped.
pub(crate) struct House {
    pub(crate) address: SocketAddr,
    pub(crate) begun: watch::Receiver<usize>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    /// Ends everything at once, as a kill does.
    kill: CancellationToken,
}

impl House {
    pub(crate) fn open() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), 10_000)
    }

    pub(crate) fn at(address: SocketAddr, connections_max: usize) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let options = ServeOptions { cluster: cluster(), connections_max, stop: stop.clone() };
        let killed = kill.clone();
        let (counted, begun) = watch::channel(0);
        let thread = std::thread::spawn(move || {
            let runtime = LocalRuntime::new().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                let routes = vec![Route::new(ECHO, move |_| Server { begun: counted.clone() }.serve())];
                tokio::select! {
                    () = serve(listener, routes, options) => {}
                    () = killed.cancelled() => {}
                }
            });
        });
        Self { address, begun, stop, thread: Some(thread), kill }
    }

    pub(crate) fn client(&self) -> EchoClient<Reconnecting<EchoRequest, EchoResponse>> {
        Reconnecting::new(Address::from(self.address), ECHO, cluster()).into()
    }

    /// As `kill -9`: sockets close, nothing is said.
    pub(crate) fn kill(mut self) -> SocketAddr {
        self.kill.cancel();
        self.thread.take().unwrap().join().unwrap();
        self.address
    }

    /// Begins to stop.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Returns when every connection is closed.
    pub(crate) fn stopped(mut self) {
        self.stop.cancel();
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.kill.cancel();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server's thread panicked");
        }
    }
}
