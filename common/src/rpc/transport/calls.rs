//! A server's calls on one connection. Most have their answer where they were read: no task, no queue, no timer. The
//! others are parked beside each other until they have one, are taken back, or come too late.
//!
//! This stands in the place of tarpc's `BaseChannel` and `Requests`, which keep a row, a timer, a tracing context and a
//! place in a queue for each call before anybody knows whether it will wait; the messages, and who serves them, are
//! tarpc's as ever.

use std::collections::BTreeMap;
use std::io;
use std::task::{Context, Poll, ready};

use futures::future::{AbortHandle, Abortable, Aborted, LocalBoxFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::server::Serve;
use tarpc::{ClientMessage, Request, Response, ServerError};
use tokio::time::timeout;

use super::codec::FrameError;
use super::deadline;
use super::link::{Link, Socket};
use super::server_side::ServerSide;

/// Messages of one connection in a row, before the others get the thread.
const AT_ONCE: usize = 64;

/// A call's number and its answer; none when it came too late.
type Answered<Resp> = (u64, Option<Result<Resp, ServerError>>);

pub(super) struct Calls<Io, S>
where
    S: Serve,
    S::Req: DeserializeOwned,
    S::Resp: Serialize,
{
    link: Link<Io, ServerSide<S::Req, S::Resp>>,
    service: S,
    /// Parked at most; who comes beyond is told so.
    limit: usize,
    parked: FuturesUnordered<Abortable<LocalBoxFuture<'static, Answered<S::Resp>>>>,
    /// Of each that is parked.
    handles: BTreeMap<u64, AbortHandle>,
    /// Nothing more is asked.
    ended: bool,
}

impl<Io, S> Calls<Io, S>
where
    Io: Socket,
    S: Serve + Clone + 'static,
    S::Req: DeserializeOwned + 'static,
    S::Resp: Serialize + 'static,
{
    pub(super) fn new(link: Link<Io, ServerSide<S::Req, S::Resp>>, service: S, limit: usize) -> Self {
        let (parked, handles) = (FuturesUnordered::new(), BTreeMap::new());
        Self { link, service, limit, parked, handles, ended: false }
    }

    /// Reads, answers and writes; ready when the other end asks no more, and all that it asked is answered.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        for _ in 0..AT_ONCE {
            // Parked ones first: a flood of requests must not hold up their answers.
            if self.link.poll_ready_unpin(cx)?.is_ready()
                && let Poll::Ready(Some(answered)) = self.parked.poll_next_unpin(cx)
            {
                self.unpark(answered)?;
                continue;
            }
            match self.link.poll_next_unpin(cx)? {
                Poll::Ready(Some(ClientMessage::Request(request))) => self.begin(request, cx)?,
                Poll::Ready(Some(ClientMessage::Cancel { request_id, .. })) => {
                    if let Some(handle) = self.handles.remove(&request_id) {
                        handle.abort();
                    }
                }
                // There is no other message yet.
                Poll::Ready(Some(_)) => {}
                waits => {
                    self.ended |= waits.is_ready();
                    ready!(self.link.poll_flush_unpin(cx))?;
                    let done = self.ended && self.parked.is_empty();
                    return if done { Poll::Ready(Ok(())) } else { Poll::Pending };
                }
            }
        }
        cx.waker().wake_by_ref();
        // What cannot be written now is written when the waker has come round.
        let _ = self.link.poll_flush_unpin(cx)?;
        Poll::Pending
    }

    /// Drops what is under way: there is nobody to tell.
    pub(super) fn give_up(self) -> Link<Io, ServerSide<S::Req, S::Resp>> {
        self.link
    }

    fn begin(&mut self, request: Request<S::Req>, cx: &mut Context<'_>) -> Result<(), FrameError> {
        let Request { id, context, message } = request;
        // As stock tarpc does.
        if self.handles.contains_key(&id) {
            return Ok(());
        }
        if self.handles.len() >= self.limit {
            let busy = "too many calls are under way on this connection".to_owned();
            return self.answer(id, Err(ServerError::new(io::ErrorKind::WouldBlock, busy)));
        }
        let mut answer = Box::pin(self.service.clone().serve(context, message));
        if let Poll::Ready(answer) = answer.poll_unpin(cx) {
            return self.answer(id, answer);
        }
        let time = deadline::remaining(&context);
        let (handle, registration) = AbortHandle::new_pair();
        let answered = async move { (id, timeout(time, answer).await.ok()) };
        self.parked.push(Abortable::new(answered.boxed_local(), registration));
        self.handles.insert(id, handle);
        Ok(())
    }

    fn unpark(&mut self, answered: Result<Answered<S::Resp>, Aborted>) -> Result<(), FrameError> {
        // One that was taken back is off the table already.
        let Ok((id, answer)) = answered else { return Ok(()) };
        self.handles.remove(&id);
        // Who came too late is not waited for any more.
        answer.map_or(Ok(()), |answer| self.answer(id, answer))
    }

    fn answer(&mut self, request_id: u64, message: Result<S::Resp, ServerError>) -> Result<(), FrameError> {
        self.link.start_send_unpin(Response { request_id, message })
    }
}
