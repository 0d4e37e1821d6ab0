//! One Pyro connection: its socket, its time limits, and the calls it makes, one after the other.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use common::clock::Moment;
use common::machine;
use common::rpc::limits::{Contract, FRAME_TIME, NAME_SERVICE, PREAMBLE_TIME};
use common::rpc::transport::{Door, Socket, Visitor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;
use tokio::task::yield_now;
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::conversation::{Conversation, Failure, Request, Turn};
use super::desk::Desk;
use super::frame::{Flags, Head, Key, MAGIC};
use super::name_server::{Call, NAME_SERVER};
use super::value::Value;
use crate::config::{PyroConfig, PyroMode};
use crate::writer::{Message, Shared};

/// A resting client's buffer: a lookup fits, and ten thousand of them take five megabytes.
const BUFFER: usize = 512;
/// And one grown beyond this is given back once it is empty.
const BUFFER_KEPT: usize = 16 * 1024;
/// A growing message's buffer grows by this at most: with what arrives, not with what is announced.
const BUFFER_STEP: usize = 64 * 1024;
/// A client that takes nothing of its answer for this long is gone.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// Of a long answer this much is written before others get the thread: the system copies it in some 20 microseconds.
const WRITE_AT_ONCE: usize = 64 * 1024;
/// Who is told to go is given this long, and this many bytes more, to read it.
const LINGER_TIME: Duration = Duration::from_millis(200);
const LINGER_BYTES: usize = 64 * 1024;
/// A larger message, or one that may inflate to a larger one, is taken apart off the runtime's thread, one at a time:
/// others' lookups go on meanwhile.
const ASIDE: usize = 64 * 1024;
/// Listings gathered at once: each holds a pointer per name, a hundred megabytes of a million.
const LISTINGS_AT_ONCE: usize = 4;
/// And by expressions, of which each may take seconds.
const MATCHINGS_AT_ONCE: usize = 2;
/// Calls carried out before others get the thread.
const CALLS_AT_ONCE: usize = 32;
/// Registrations of a batch that wait for one commit: with two rows each they fill one transaction.
const REGISTERED_AT_ONCE: usize = 128;

/// What all Pyro connections share.
pub(crate) struct House {
    pub(super) shared: Rc<Shared>,
    pub(super) mailbox: Sender<Message>,
    pub(super) mode: PyroMode,
    pub(super) key: Option<Key>,
    /// As which host we are known, when that is not the one we listen at.
    pub(super) advertise: Option<String>,
    /// Where we listen.
    pub(super) listen: SocketAddr,
    /// Whose turn it is to have a large message taken apart.
    pub(super) aside: Semaphore,
    /// Whose to gather names; and by an expression.
    pub(super) listings: Semaphore,
    pub(super) matchings: Semaphore,
}

impl House {
    /// What is `told`, over `shared` and the writer's `mailbox`, listening at `listen`.
    pub(crate) fn new(
        shared: Rc<Shared>,
        mailbox: Sender<Message>,
        told: PyroConfig,
        key: Option<Key>,
        listen: SocketAddr,
    ) -> Self {
        Self {
            shared,
            mailbox,
            mode: told.mode,
            key,
            advertise: told.advertise,
            listen,
            aside: Semaphore::new(1),
            listings: Semaphore::new(LISTINGS_AT_ONCE),
            matchings: Semaphore::new(MATCHINGS_AT_ONCE),
        }
    }

    /// Our own URI, for who reaches us at `local`.
    pub(crate) fn own_uri(&self, local: SocketAddr) -> String {
        let ip = if self.listen.ip().is_unspecified() { local.ip() } else { self.listen.ip() };
        let port = self.listen.port();
        match &self.advertise {
            Some(host) if host.contains(':') => format!("PYRO:{NAME_SERVER}@[{host}]:{port}"),
            Some(host) => format!("PYRO:{NAME_SERVER}@{host}:{port}"),
            None => format!("PYRO:{NAME_SERVER}@{}", SocketAddr::new(ip.to_canonical(), port)),
        }
    }
}

/// The door on the name server's port, for who begins as Pyro programs do.
pub(crate) fn door(house: Rc<House>) -> Door {
    let contract = Contract { name: "pyro", ..NAME_SERVICE };
    Door::new(contract, MAGIC, move |visitor| serve(Rc::clone(&house), visitor))
}

async fn serve(house: Rc<House>, visitor: Visitor) {
    let Visitor { mut socket, peer, local, place, stop } = visitor;
    let closed: Option<Cow<'static, str>> = match (&place, house.mode) {
        (Err(_), _) => Some("too many connections".into()),
        (Ok(_), PyroMode::Off) => Some("this name server takes no Pyro clients (--pyro off)".into()),
        (Ok(_), PyroMode::On | PyroMode::ReadOnly) => None,
    };
    let conversation = Conversation::new(house.key.clone(), closed);
    let desk = place.ok().map(|place| Desk {
        house: Rc::clone(&house),
        caller: peer.ip(),
        own: house.own_uri(local),
        place,
    });
    let session = Session {
        buffer: BytesMut::from(&MAGIC[..]),
        whole_by: Some(house.shared.clock.now() + PREAMBLE_TIME),
        house: &house,
        socket: &mut socket,
        conversation,
        stop,
    };
    session.run(desk.as_ref()).await;
}

struct Session<'s, S> {
    house: &'s House,
    socket: &'s mut S,
    conversation: Conversation,
    buffer: BytesMut,
    /// When the greeting, or a begun message, must be whole.
    whole_by: Option<Moment>,
    stop: CancellationToken,
}

/// The connection is over: there is nobody to tell.
struct Gone;

impl<S: Socket> Session<'_, S> {
    async fn run(mut self, desk: Option<&Desk>) {
        // However it ended, there is nothing to be done about it.
        let _ = self.converse(desk).await;
    }

    async fn converse(&mut self, desk: Option<&Desk>) -> Result<(), Gone> {
        let mut at_once = 0;
        loop {
            let (used, answer) = match self.turn().await {
                Turn::Wait(wanted) => {
                    at_once = 0;
                    self.read(wanted, desk).await?;
                    continue;
                }
                Turn::Over(answer) => return self.part(answer).await,
                Turn::Said { used, answer } => (used, answer),
                Turn::Asked { used, request } => {
                    let Some(desk) = desk else { return Ok(()) };
                    (used, carry_out(desk, *request).await)
                }
            };
            self.take(used, desk);
            if let Some(answer) = answer {
                self.write(&answer).await?;
                if let Some(desk) = desk.filter(|_| answer.len() > BUFFER_KEPT) {
                    desk.place.holds(self.buffer.len());
                }
            }
            at_once += 1;
            if at_once == CALLS_AT_ONCE {
                at_once = 0;
                yield_now().await;
            }
        }
    }

    /// Looks at what came and was not used yet.
    async fn turn(&mut self) -> Turn {
        let whole = |head: &Head| head.whole() <= self.buffer.len();
        let head = Head::read(&self.buffer).ok().flatten().filter(whole);
        if head.is_none_or(|head| head.whole() <= ASIDE && !head.flags.has(Flags::COMPRESSED)) {
            return self.conversation.turn(&self.buffer);
        }
        let _alone = self.house.aside.acquire().await;
        let (mut conversation, buffer) = (self.conversation.clone(), std::mem::take(&mut self.buffer));
        let (turn, conversation, buffer) = machine::aside(move || {
            let turn = conversation.turn(&buffer);
            (turn, conversation, buffer)
        })
        .await;
        (self.conversation, self.buffer) = (conversation, buffer);
        turn
    }

    /// Lets go of a message that was answered.
    fn take(&mut self, used: usize, desk: Option<&Desk>) {
        self.buffer.advance(used);
        self.whole_by = None;
        if self.buffer.is_empty() && self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = BytesMut::with_capacity(BUFFER);
        }
        if let Some(desk) = desk.filter(|_| used > BUFFER_KEPT) {
            desk.place.holds(self.buffer.len());
        }
    }

    /// Reads on, towards a message of `wanted` bytes.
    async fn read(&mut self, wanted: usize, desk: Option<&Desk>) -> Result<(), Gone> {
        if let Some(desk) = desk.filter(|_| self.buffer.len() > BUFFER_KEPT) {
            desk.place.holds(self.buffer.len());
        }
        if self.whole_by.is_none() && !self.buffer.is_empty() {
            self.whole_by = Some(self.house.shared.clock.now() + FRAME_TIME);
        }
        let missing = wanted.saturating_sub(self.buffer.len());
        self.buffer.reserve(missing.clamp(BUFFER, BUFFER_STEP));
        let mut stopped = pin!(self.stop.cancelled());
        let read = async {
            tokio::select! { biased;
                read = self.socket.read_buf(&mut self.buffer) => read.ok().filter(|&read| read > 0),
                () = &mut stopped => None,
            }
        };
        let read = match self.whole_by {
            Some(by) => timeout_at(self.house.shared.clock.instant(by), read).await.ok().flatten(),
            None => read.await,
        };
        read.map(drop).ok_or(Gone)
    }

    async fn write(&mut self, mut answer: &[u8]) -> Result<(), Gone> {
        while !answer.is_empty() {
            let some = &answer[..answer.len().min(WRITE_AT_ONCE)];
            match timeout(WRITE_TIME, self.socket.write(some)).await {
                Ok(Ok(written)) if written > 0 => answer = &answer[written..],
                _ => return Err(Gone),
            }
            if !answer.is_empty() {
                yield_now().await;
            }
        }
        self.socket.flush().await.map_err(|_| Gone)
    }

    /// Says the last word, and gives time to read it: a close with input unread is a reset, which eats it.
    async fn part(&mut self, answer: Option<Vec<u8>>) -> Result<(), Gone> {
        let Some(answer) = answer else { return Ok(()) };
        self.write(&answer).await?;
        let drained = async {
            self.socket.shutdown().await.map_err(|_| Gone)?;
            let mut scrap = [0; 4096];
            let mut thrown_away = 0;
            while thrown_away < LINGER_BYTES {
                match self.socket.read(&mut scrap).await {
                    Ok(read) if read > 0 => thrown_away += read,
                    _ => break,
                }
            }
            Ok(())
        };
        timeout(LINGER_TIME, drained).await.unwrap_or(Ok(()))
    }
}

/// Carries a request's calls out, in order, up to the first that fails; returns what to send, if anything.
async fn carry_out(desk: &Desk, request: Request) -> Option<Vec<u8>> {
    let Request { mut answer, calls, oneway, correlation } = request;
    let meters = &desk.house.shared.meters;
    let mut calls = calls.into_iter().peekable();
    let mut begun = 0;
    while let Some(call) = calls.next() {
        let (done, refused) = match call {
            Ok(Call::Register(first)) => {
                let mut together = vec![first];
                while together.len() < REGISTERED_AT_ONCE
                    && let Some(Ok(Call::Register(next))) =
                        calls.next_if(|next| matches!(next, Ok(Call::Register(_))))
                {
                    together.push(next);
                }
                let (done, refused) = desk.register(&together).await;
                (0..done).for_each(|_| answer.value(&Value::None));
                (done, refused.err().map(Failure::Of))
            }
            Ok(call) => match desk.carry_out(call, &mut answer).await {
                Ok(()) => (1, None),
                Err(why) => (0, Some(Failure::Of(why))),
            },
            Err(failure) => (0, Some(failure)),
        };
        let count = done + usize::from(refused.is_some());
        meters.pyro_calls.set(meters.pyro_calls.get() + count as u64);
        begun += count;
        if let Some(failure) = refused {
            meters.pyro_refused.set(meters.pyro_refused.get() + 1);
            let why = match &failure {
                Failure::Of(why) | Failure::OfAll(why) => why,
            };
            let shown: String = why.text.chars().take(200).collect();
            let correlation =
                correlation.map(|id| common::ids::InstanceId::from_u128(u128::from_be_bytes(id)));
            tracing::debug!(peer = %desk.caller, ?correlation, class = ?why.class, error = ?shown, "Pyro call refused");
            match &failure {
                Failure::Of(why) => answer.refusal(why),
                Failure::OfAll(why) => answer.refusal_of_all(why),
            }
            break;
        }
        if begun >= CALLS_AT_ONCE {
            begun = 0;
            yield_now().await;
        }
    }
    (!oneway).then(|| answer.finish())
}
