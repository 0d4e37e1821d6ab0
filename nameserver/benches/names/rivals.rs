//! What people use today, on the same machine: etcd (Debian's `etcd-server`), and stock Pyro 5.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::clock::Clock;
use futures::future::join_all;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::{SPAN, figure, rate, sequential};

/// An etcd of one member, asked over its JSON gateway: one keep-alive connection per client.
pub(super) struct Etcd {
    child: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Etcd {
    /// Starts one; `None` when this machine has none.
    pub(super) async fn start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (clients, peers) = (free(), free());
        let (clients_url, peers_url) = (format!("http://{clients}"), format!("http://{peers}"));
        let child = Command::new("etcd")
            .args([
                "--data-dir",
                directory.path().to_str().unwrap(),
                "--logger",
                "zap",
                "--log-level",
                "error",
            ])
            .args(["--listen-client-urls", &clients_url, "--advertise-client-urls", &clients_url])
            .args(["--listen-peer-urls", &peers_url, "--initial-advertise-peer-urls", &peers_url])
            .args(["--initial-cluster", &format!("default={peers_url}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let etcd = Self { child, address: clients.to_string(), _directory: directory };
        while etcd.granted().await.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Some(etcd)
    }

    /// A lease of an hour.
    async fn granted(&self) -> Option<String> {
        let answer = Line::to(&self.address).await?.ask("/v3/lease/grant", r#"{"TTL":3600}"#).await?;
        Some(answer.split_once(r#""ID":""#)?.1.split_once('"')?.0.to_owned())
    }

    /// Puts with a lease, 64 clients, one after another each; prints the rate beside `ours`.
    pub(super) async fn register(&self, clock: Clock, ours: f64) {
        let lease = self.granted().await.unwrap();
        let begun = clock.now();
        let putting = (0..64).map(|who| {
            let lease = &lease;
            async move {
                let (mut line, mut done) = (Line::to(&self.address).await.unwrap(), 0);
                while clock.now().since(begun) < SPAN {
                    // Letters and digits, twelve of them: base64 as they stand.
                    let put = format!(r#"{{"key":"name{who:02}{done:06}","value":"MTI3LjAuMC4xOjQxMDA=","lease":"{lease}"}}"#);
                    line.ask("/v3/kv/put", &put).await.unwrap();
                    done += 1;
                }
                done
            }
        });
        let done: usize = join_all(putting).await.into_iter().sum();
        let theirs = done as f64 / SPAN.as_secs_f64();
        figure(
            "etcd: put with a lease, 64 clients, durable; ours against it",
            format!("{}; {:.1}x (goal 8)", rate(done, SPAN), ours / theirs),
        );
    }

    /// One read after another; prints their p50 beside `ours`.
    pub(super) async fn lookup(&self, clock: Clock, ours: Duration) {
        let mut line = Line::to(&self.address).await.unwrap();
        line.ask("/v3/kv/put", r#"{"key":"name00000000","value":"MTI3LjAuMC4xOjQxMDA="}"#).await.unwrap();
        let (p50, _) = sequential(clock, async || {
            line.ask("/v3/kv/range", r#"{"key":"name00000000","serializable":true}"#).await.unwrap();
        })
        .await;
        figure(
            "etcd: serializable read, 1 connection: p50; ours against it",
            format!("{p50:.1?}; {:.1}x faster", p50.as_secs_f64() / ours.as_secs_f64()),
        );
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that is kept.
struct Line(BufReader<TcpStream>);

impl Line {
    async fn to(address: &str) -> Option<Self> {
        let socket = TcpStream::connect(address).await.ok()?;
        socket.set_nodelay(true).ok()?;
        Some(Self(BufReader::new(socket)))
    }

    /// The answer's body, when all is well.
    async fn ask(&mut self, path: &str, body: &str) -> Option<String> {
        let ask =
            format!("POST {path} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.0.write_all(ask.as_bytes()).await.ok()?;
        let (mut line, mut length, mut good) = (String::new(), 0, false);
        loop {
            line.clear();
            self.0.read_line(&mut line).await.ok()?;
            let head = line.trim_end();
            match head.split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().ok()?;
                }
                _ if head.is_empty() => break,
                _ => good |= head.starts_with("HTTP/1.1 200"),
            }
        }
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer).await.ok()?;
        good.then(|| String::from_utf8_lossy(&answer).into_owned())
    }
}

/// Stock Pyro 5, asked by its own client.
pub(super) fn pyro(python: &str, ours: Duration) {
    const SCRIPT: &str = "
import time, threading, Pyro5.api, Pyro5.nameserver
uri, daemon, _ = Pyro5.nameserver.start_ns(host='127.0.0.1', port=0, enableBroadcast=False)
threading.Thread(target=daemon.requestLoop, daemon=True).start()
ns = Pyro5.api.Proxy(uri)
for n in range(100): ns.register(f'service{n}', 'PYRO:x@127.0.0.1:1')
times = []
for n in range(3000):
    t = time.perf_counter(); ns.lookup(f'service{n % 100}'); times.append(time.perf_counter() - t)
print(sorted(times)[1500])
";
    let output = Command::new(python).args(["-c", SCRIPT]).output().unwrap();
    match String::from_utf8_lossy(&output.stdout)
        .trim()
        .lines()
        .last()
        .and_then(|line| line.parse::<f64>().ok())
    {
        Some(p50) => figure(
            "Pyro 5's name server: lookup p50; ours against it",
            format!("{:.1?}; {:.1}x faster", Duration::from_secs_f64(p50), p50 / ours.as_secs_f64()),
        ),
        None => figure("Pyro 5's name server", String::from_utf8_lossy(&output.stderr)),
    }
}
