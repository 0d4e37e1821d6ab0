//! People at the pages: how long the first one takes, each of many, and each while a thousand watch the cluster.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use common::clock::{Clock, Moment};

use super::{Spread, figure};
use crate::browser::Browser;
use crate::cluster::{Cluster, Options};
use crate::process::PATIENCE;

/// What people look at, in turn: the menu, films, one of them, their orders, the cluster, what a page brings along.
const PAGES: [&str; 6] = ["/", "/movies?q=ring", "/movies/jaws-1975", "/orders", "/cluster", "/about"];
/// Pages a second.
const RATE: u32 = 200;
/// Connections that they come by, as many as browsers would have open.
const READERS: u32 = 32;
/// People who watch the cluster.
const WATCHERS: usize = 1_000;
/// First visits.
const VISITS: usize = 200;

/// Measures all of it, each phase for this long.
///
/// # Errors
/// When a page is another than expected, or a process fails.
pub fn pages(time: Duration) -> Result<()> {
    let mut cluster = Cluster::with_pages(Options::default())?;
    let host = cluster.front_ends[0].told("http").replace("http://", "");
    let mut ann = Browser::at(&host);
    let film = ann.get("/movies?q=jaws")?.body;
    let film = film.split("href=\"/movies/").nth(1).and_then(|rest| rest.split('"').next());
    let film = format!("/movies/{}", film.context("there is such a film")?);
    let pages: Vec<String> = PAGES
        .iter()
        .map(|page| if page.contains("jaws") { film.clone() } else { (*page).to_owned() })
        .collect();

    first_visits(&host)?;
    let calm = browse(&host, &pages, time)?;
    figure(format!("a page, {RATE} per second"), calm);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let watching = watch(&host)?;
        let reader = scope.spawn(|| read_all(watching, &stop));
        let watched = browse(&host, &pages, time);
        // So that there is something to see.
        let killed = cluster.primary().and_then(|primary| {
            cluster.replicas[primary].kill()?;
            browse(&host, &pages, time)
        });
        stop.store(true, Ordering::Relaxed);
        let (alive, bytes) = reader.join().expect("it does not panic")?;
        let (watched, killed) = (watched?, killed?);
        figure(
            format!("the same, {WATCHERS} watch the cluster"),
            format!("{watched}: p99 {}", times(watched, calm)),
        );
        figure("the same, and its primary is killed", format!("{killed}: p99 {}", times(killed, calm)));
        figure(
            "watchers in the end, and what each was sent",
            format!("{alive}, {} KiB", bytes / WATCHERS / 1024),
        );
        Ok(())
    })?;
    figure("the same as at first", browse(&host, &pages, time)?);
    Ok(())
}

fn times(one: Spread, other: Spread) -> String {
    format!("{:.2} times", one.p99.as_secs_f64() / other.p99.as_secs_f64())
}

/// Somebody new opens the shop: a connection, the page; then what it brings along.
fn first_visits(host: &str) -> Result<()> {
    let (mut first, mut whole, mut weight) = (vec![], vec![], 0);
    for _ in 0..VISITS {
        let clock = Clock::start();
        let page = Browser::at(host).get("/")?;
        ensure!(page.status == 200, "{page:?}");
        first.push(clock.now().since_origin());
        weight = page.body.len();
        for part in ["href=\"/style.css", "src=\"/script.js", "href=\"/icon.svg"] {
            let path = page.body.split(part).nth(1).and_then(|rest| rest.split('"').next());
            let (_, start) = part.split_once('"').context("it is an attribute")?;
            let path = format!("{start}{}", path.context("a page has it")?);
            weight += Browser::at(host).get(&path)?.body.len();
        }
        whole.push(clock.now().since_origin());
    }
    figure("the first page, connection and all", Spread::of(first));
    figure(format!("with stylesheet, script and icon: {weight} bytes"), Spread::of(whole));
    Ok(())
}

/// So many pages a second for so long, each timed from when it was due, however late it was asked for.
fn browse(host: &str, pages: &[String], time: Duration) -> Result<Spread> {
    let clock = Clock::start();
    let total = RATE * u32::try_from(time.as_secs())?;
    let reader = |number: u32| -> Result<Vec<Duration>> {
        let mut line = Line::to(host)?;
        let mut times = vec![];
        for turn in (number..total).step_by(READERS as usize) {
            let due = Moment::ORIGIN + Duration::from_secs(turn.into()) / RATE;
            #[expect(clippy::disallowed_methods, reason = "people come when they come")]
            thread::sleep(due.since(clock.now()));
            line.get(&pages[turn as usize % pages.len()])?;
            times.push(clock.now().since(due));
        }
        Ok(times)
    };
    let all = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|number| scope.spawn(move || reader(number))).collect();
        readers.into_iter().map(|one| one.join().expect("it does not panic")).collect::<Result<Vec<_>>>()
    })?;
    Ok(Spread::of(all.into_iter().flatten()))
}

/// A connection that is kept.
struct Line {
    host: String,
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    fn to(host: &str) -> Result<Self> {
        let socket = TcpStream::connect(host)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { host: host.to_owned(), socket, buffer: vec![0; 64 * 1024] })
    }

    /// Reads a whole page.
    fn get(&mut self, path: &str) -> Result<()> {
        let host = &self.host;
        write!(
            self.socket,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: user=ann; visit=0123456789abcdef0123456789abcdef\r\n\r\n"
        )?;
        let (mut have, mut whole) = (0, usize::MAX);
        while have < whole {
            let read = self.socket.read(&mut self.buffer[have..])?;
            ensure!(read > 0, "{path}: the connection ended");
            have += read;
            let text = String::from_utf8_lossy(&self.buffer[..have]);
            if let Some((head, _)) = text.split_once("\r\n\r\n").filter(|_| whole == usize::MAX) {
                ensure!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                whole = head.len() + 4 + length.context("its length is told")?.parse::<usize>()?;
            }
        }
        Ok(())
    }
}

/// Opens the page's stream of events, once for each who watches.
fn watch(host: &str) -> Result<Vec<TcpStream>> {
    let open = |_| -> Result<TcpStream> {
        let mut socket = TcpStream::connect(host)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        write!(socket, "GET /cluster/events HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
        let mut head = [0; 512];
        let read = socket.read(&mut head)?;
        ensure!(head[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head[..read]));
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    (0..WATCHERS).map(open).collect()
}

/// Reads what those who watch are sent; how many have a connection in the end, and how much came in all.
fn read_all(mut watching: Vec<TcpStream>, stop: &AtomicBool) -> Result<(usize, usize)> {
    let (mut scrap, mut bytes) = ([0; 16 * 1024], 0);
    while !stop.load(Ordering::Relaxed) {
        watching.retain_mut(|socket| match socket.read(&mut scrap) {
            Ok(0) => false,
            Ok(read) => {
                bytes += read;
                true
            }
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        });
        #[expect(
            clippy::disallowed_methods,
            reason = "they look now and then, and must not load the machine"
        )]
        thread::sleep(Duration::from_millis(50));
    }
    ensure!(!watching.is_empty(), "nobody watches any more");
    Ok((watching.len(), bytes))
}
