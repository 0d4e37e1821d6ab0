//! One connection's frames as a tarpc transport, with the bounds that tarpc lacks: how long a frame, a write and
//! silence may take, and when reading must wait until answers have gone.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_util::codec::Framed;

use super::codec::{FrameError, Incoming, Outbound, Wire};
use crate::clock::{Clock, Moment};
use crate::rpc::limits::{FRAME_TIME, Limits, WRITE_TIME};

/// A socket, or what stands for one: TLS, a simulation.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Socket for T {}

/// A buffer that a large frame has grown beyond this is given back once it is empty.
const BUFFER_KEPT: usize = 64 * 1024;
const BUFFER_FRESH: usize = 8 * 1024;
/// After a farewell, a client that still sends has sent again within this time.
const FAREWELL_QUIET: Duration = Duration::from_millis(200);
/// Reading that waits for deadlines to pass is looked at again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Of a peer that was told to go, this much more is read, lest a reset eats what it was told.
pub(super) const LINGER_BYTES: usize = 64 * 1024;

/// What differs between the two ends of a connection.
pub(super) trait Side: Unpin {
    type In: Incoming;
    type Out: Outbound;
    /// With nothing in flight, the connection ends after this long.
    const IDLE: Duration;
    /// Whether a close waits for the other end to have read it.
    const LINGERS: bool;

    /// Takes note of a message of so many bytes; `None` when it was for us alone.
    fn received(&mut self, message: Self::In, bytes: usize) -> Option<Self::In>;
    /// Sends a message by `encode`, or another one in its place when it cannot be sent.
    fn send(
        &mut self,
        message: Self::Out,
        encode: impl FnMut(Self::Out) -> Result<(), FrameError>,
    ) -> Result<(), FrameError>;
    /// Whether the next message may be read while so many bytes wait to be sent.
    fn may_read(&mut self, unsent: usize) -> bool;
    /// Whether something is in flight.
    fn is_busy(&mut self) -> bool;
    /// The farewell, once, when it is time.
    fn farewell(&mut self) -> Option<Self::Out>;
    /// Whether the farewell was said.
    fn is_leaving(&self) -> bool;
    /// Whether the other end said farewell, and nothing is in flight.
    fn is_done(&mut self) -> bool;
    /// Takes note of how many bytes the buffers hold.
    fn holds(&mut self, bytes: usize);
}

/// What a timer may find.
enum Due {
    SlowFrame,
    SlowReader,
    /// Nobody needs the connection: it ends as if the other end had closed it.
    Over,
}

pub(super) struct Link<Io, S: Side> {
    framed: Framed<Io, Wire<S::In, S::Out>>,
    side: S,
    clock: Clock,
    timer: Pin<Box<Sleep>>,
    /// When `timer` rings; at or before what is due first.
    armed: Moment,
    /// Whether a frame came or went since `last`.
    moved: bool,
    /// When a frame came or went last.
    last: Moment,
    /// Since when a begun frame is waited for.
    frame_since: Option<Moment>,
    /// Since when the socket takes nothing.
    stuck_since: Option<Moment>,
    /// Whether reading waits.
    paused: bool,
    ended: bool,
    /// Bytes read and thrown away since the write half was shut.
    lingered: Option<usize>,
}

impl<Io: Socket, S: Side> Link<Io, S> {
    /// Reads frames of `taken` bytes at most, and sends none above `sent`.
    pub(super) fn new(io: Io, side: S, taken: usize, sent: usize, limits: &Limits) -> Self {
        let clock = Clock::start();
        let armed = clock.now() + S::IDLE;
        Self {
            framed: Framed::new(io, Wire::new(taken, sent, limits.deadline_max)),
            side,
            timer: Box::pin(tokio::time::sleep_until(clock.instant(armed))),
            armed,
            moved: true,
            last: clock.now(),
            clock,
            frame_since: None,
            stuck_since: None,
            paused: false,
            ended: false,
            lingered: None,
        }
    }

    fn encode(&mut self, message: S::Out) -> Result<(), FrameError> {
        let Self { framed, side, moved, .. } = self;
        *moved = true;
        side.send(message, |message| framed.start_send_unpin(message))
    }

    /// Waits: for bytes, whose waker is set already, or for what is due.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        let partial = !self.paused && !self.framed.read_buffer().is_empty();
        let leaving = self.side.is_leaving();
        if self.moved || self.paused || leaving || partial != self.frame_since.is_some() {
            let now = self.clock.now();
            if std::mem::take(&mut self.moved) {
                self.last = now;
            }
            self.frame_since = partial.then(|| self.frame_since.unwrap_or(now));
            self.arm(now);
        }
        self.side.holds(self.framed.read_buffer().len() + self.framed.write_buffer().len());
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = self.clock.now();
            if self.frame_since.is_some_and(|since| since + FRAME_TIME <= now) {
                return Poll::Ready(Due::SlowFrame);
            }
            if self.stuck_since.is_some_and(|since| since + WRITE_TIME <= now) {
                return Poll::Ready(Due::SlowReader);
            }
            let quiet = if leaving { FAREWELL_QUIET } else { S::IDLE };
            let unused = !self.paused && self.frame_since.is_none() && self.framed.write_buffer().is_empty();
            if self.last + quiet <= now && unused && (leaving || !self.side.is_busy()) {
                return Poll::Ready(Due::Over);
            }
            self.resume_reading(cx);
            self.armed = now + S::IDLE;
            self.timer.as_mut().reset(self.clock.instant(self.armed));
            self.arm(now);
        }
    }

    /// Sees to it that the timer rings when something is due, at the latest.
    fn arm(&mut self, now: Moment) {
        let quiet = if self.side.is_leaving() { FAREWELL_QUIET } else { S::IDLE };
        let over = self.last + quiet;
        let due = [
            self.frame_since.map(|since| since + FRAME_TIME),
            self.stuck_since.map(|since| since + WRITE_TIME),
            // Past and not over: something is in flight, and will move us when it ends.
            (over > now).then_some(over),
            self.paused.then_some(now + LOOK_AGAIN),
        ];
        if let Some(first) = due.into_iter().flatten().min()
            && first < self.armed
        {
            self.armed = first;
            self.timer.as_mut().reset(self.clock.instant(first));
        }
    }

    /// Wakes the reader when what it waited for has gone.
    fn resume_reading(&mut self, cx: &mut Context<'_>) {
        if self.paused && self.side.may_read(self.framed.write_buffer().len()) {
            cx.waker().wake_by_ref();
        }
    }
}

impl<Io: Socket, S: Side> Stream for Link<Io, S> {
    type Item = Result<S::In, FrameError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        this.paused = !this.side.may_read(this.framed.write_buffer().len());
        while !this.paused {
            match this.framed.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(message))) => {
                    this.moved = true;
                    this.frame_since = None;
                    give_back(this.framed.read_buffer_mut());
                    let bytes = this.framed.codec().last_frame;
                    if let Some(message) = this.side.received(message, bytes) {
                        return Poll::Ready(Some(Ok(message)));
                    }
                    if this.side.is_done() {
                        this.ended = true;
                        return Poll::Ready(None);
                    }
                }
                Poll::Ready(end) => {
                    this.ended = true;
                    return Poll::Ready(end);
                }
                Poll::Pending => break,
            }
        }
        let due = ready!(this.poll_due(cx));
        this.ended = true;
        Poll::Ready(match due {
            Due::SlowFrame => Some(Err(FrameError::SlowFrame)),
            Due::SlowReader => Some(Err(FrameError::SlowReader)),
            Due::Over => None,
        })
    }
}

impl<Io: Socket, S: Side> Sink<S::Out> for Link<Io, S> {
    type Error = FrameError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        if self.framed.write_buffer().len() < self.framed.backpressure_boundary() {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: S::Out) -> Result<(), FrameError> {
        self.get_mut().encode(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        let this = self.get_mut();
        if let Some(farewell) = this.side.farewell() {
            this.encode(farewell)?;
            // The reader counts the silence from now on.
            cx.waker().wake_by_ref();
        }
        let before = this.framed.write_buffer().len();
        let flushed = this.framed.poll_flush_unpin(cx)?;
        this.resume_reading(cx);
        if flushed.is_ready() {
            this.stuck_since = None;
            give_back(this.framed.write_buffer_mut());
            return Poll::Ready(Ok(()));
        }
        if this.stuck_since.is_none() || this.framed.write_buffer().len() < before {
            let now = this.clock.now();
            this.stuck_since = Some(now);
            this.arm(now);
        }
        match ready!(this.poll_due(cx)) {
            Due::SlowFrame => Poll::Ready(Err(FrameError::SlowFrame)),
            Due::SlowReader | Due::Over => Poll::Ready(Err(FrameError::SlowReader)),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        let this = self.get_mut();
        if this.lingered.is_none() {
            ready!(this.framed.poll_close_unpin(cx))?;
        }
        let lingered = this.lingered.get_or_insert(0);
        if S::LINGERS {
            let mut scrap = [0; 4096];
            while *lingered < LINGER_BYTES {
                let mut into = ReadBuf::new(&mut scrap);
                ready!(Pin::new(this.framed.get_mut()).poll_read(cx, &mut into))?;
                if into.filled().is_empty() {
                    break;
                }
                *lingered += into.filled().len();
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn give_back(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.capacity() > BUFFER_KEPT {
        *buffer = BytesMut::with_capacity(BUFFER_FRESH);
    }
}
