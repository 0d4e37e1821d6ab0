//! What a server keeps of a connection: which requests have no answer yet, and whether farewell was said.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::{ClientMessage, Response, ServerError};

use super::client::FAREWELL;
use super::codec::FrameError;
use super::deadline;
use super::link::Side;
use super::seats::Seat;
use crate::rpc::limits::{IDLE_TIME, Limits, UNSENT_MAX};

/// Requests without an answer, noted before those past their deadline are swept out: tarpc answers nothing for them.
/// More than any contract lets be under way, so that a busy connection is not swept with every request.
const NOTED_MAX: usize = 1024;

/// How far the farewell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    No,
    Due,
    Said,
}

struct Asked {
    id: u64,
    bytes: usize,
    deadline: Instant,
}

pub(super) struct ServerSide<Req, Resp> {
    limits: Limits,
    unanswered: Vec<Asked>,
    /// Bytes of all `unanswered`.
    bytes: usize,
    leaving: Rc<Cell<Leaving>>,
    seat: Rc<Seat>,
    types: PhantomData<fn(Req) -> Resp>,
}

impl<Req, Resp> ServerSide<Req, Resp> {
    pub(super) fn new(limits: Limits, leaving: Rc<Cell<Leaving>>, seat: Rc<Seat>) -> Self {
        Self { limits, unanswered: Vec::new(), bytes: 0, leaving, seat, types: PhantomData }
    }

    fn asked(&mut self, asked: Asked) {
        if self.unanswered.len() >= NOTED_MAX {
            self.forget_the_expired();
        }
        // tarpc ignores a repeated id, and so do we.
        if self.unanswered.iter().all(|earlier| earlier.id != asked.id) {
            self.bytes += asked.bytes;
            self.unanswered.push(asked);
        }
    }

    fn answered(&mut self, id: u64) {
        if let Some(at) = self.unanswered.iter().position(|asked| asked.id == id) {
            self.bytes -= self.unanswered.swap_remove(at).bytes;
        }
    }

    fn forget_the_expired(&mut self) {
        let now = deadline::now();
        self.unanswered.retain(|asked| asked.deadline > now);
        self.bytes = self.unanswered.iter().map(|asked| asked.bytes).sum();
    }
}

impl<Req, Resp> Side for ServerSide<Req, Resp>
where
    Req: DeserializeOwned,
    Resp: Serialize,
{
    type In = ClientMessage<Req>;
    type Out = Response<Resp>;
    const IDLE: Duration = IDLE_TIME;
    const LINGERS: bool = true;

    fn received(&mut self, message: Self::In, bytes: usize) -> Option<Self::In> {
        match &message {
            ClientMessage::Request(request) => {
                self.asked(Asked { id: request.id, bytes, deadline: request.context.deadline });
            }
            ClientMessage::Cancel { request_id, .. } => self.answered(*request_id),
            _ => {}
        }
        Some(message)
    }

    fn send(
        &mut self,
        message: Self::Out,
        mut encode: impl FnMut(Self::Out) -> Result<(), FrameError>,
    ) -> Result<(), FrameError> {
        let request_id = message.request_id;
        self.answered(request_id);
        match encode(message) {
            // One answer that cannot be sent is no reason to lose all others of the connection.
            Err(why @ (FrameError::TooLarge { .. } | FrameError::Encode(_))) => {
                let error = ServerError::new(io::ErrorKind::InvalidData, why.to_string());
                encode(Response { request_id, message: Err(error) })
            }
            sent => sent,
        }
    }

    fn may_read(&mut self, unsent: usize) -> bool {
        if unsent > UNSENT_MAX {
            return false;
        }
        let limit = self.limits.unanswered_max();
        if self.bytes > limit {
            self.forget_the_expired();
        }
        self.bytes <= limit
    }

    fn is_busy(&mut self) -> bool {
        self.forget_the_expired();
        !self.unanswered.is_empty()
    }

    fn farewell(&mut self) -> Option<Self::Out> {
        if self.leaving.get() != Leaving::Due {
            return None;
        }
        self.leaving.set(Leaving::Said);
        let error = ServerError::new(io::ErrorKind::ConnectionAborted, "the server is stopping".to_owned());
        Some(Response { request_id: FAREWELL, message: Err(error) })
    }

    fn is_leaving(&self) -> bool {
        self.leaving.get() == Leaving::Said
    }

    fn is_done(&mut self) -> bool {
        false
    }

    fn holds(&mut self, buffered: usize) {
        self.seat.holds(buffered + self.bytes);
    }
}
