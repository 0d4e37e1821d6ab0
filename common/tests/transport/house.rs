//! A small service of one's own, a server in a thread of its own, and a raw caller.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use common::ids::ClusterId;
use common::names::Address;
use common::rpc::limits::{Contract, OTHERS};
use common::rpc::transport::{Reconnecting, Route, ServeOptions, serve};
use tarpc::context::Context;
use tokio::net::TcpListener;
use tokio::runtime::LocalRuntime;
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
struct Server;

impl Echo for Server {
    async fn echo(self, _: Context, text: String) -> String {
        text
    }

    async fn slow(self, _: Context, time: Duration) -> Duration {
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

/// A server in its own thread and runtime; stopped when dropped.
pub(crate) struct House {
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
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
        let thread = std::thread::spawn(move || {
            let runtime = LocalRuntime::new().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                let routes = vec![Route::new(ECHO, |_| Server.serve())];
                tokio::select! {
                    () = serve(listener, routes, options) => {}
                    () = killed.cancelled() => {}
                }
            });
        });
        Self { address, stop, thread: Some(thread), kill }
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

    /// Returns when every connection is closed.
    pub(crate) fn stop(mut self) {
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
