//! A client's calls on one connection: requests go out in the order of their asking, and each answer goes to whoever
//! waits for it.
//!
//! This stands in the place of tarpc's `RequestDispatch`, for the same reason as [`calls`](super::calls): that keeps a
//! timer, a span and a tracing context for each call, whose caller has a deadline of its own.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{SinkExt as _, StreamExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::client::RpcError;
use tarpc::trace::Context as Trace;
use tarpc::{ClientMessage, Request, Response};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::client::{ClientSide, Outgoing};
use super::codec::FrameError;
use super::link::{Link, Socket};

/// Messages in a row, before others get the thread.
const AT_ONCE: usize = 64;

/// What callers want of the connection's task. Few wait there: who calls has a permit.
pub(super) enum Order<Req, Resp> {
    /// Send it, and tell what was answered.
    Ask(Request<Outgoing<Req>>, oneshot::Sender<Result<Resp, RpcError>>),
    /// Nobody waits for the answer any more.
    Forget(u64, Trace),
}

/// A caller's wait for its answer: one that ends without is told to the server.
pub(super) struct Waiting<'a, Req, Resp> {
    pub(super) orders: &'a UnboundedSender<Order<Req, Resp>>,
    pub(super) id: u64,
    pub(super) trace: Trace,
    pub(super) answered: bool,
}

impl<Req, Resp> Drop for Waiting<'_, Req, Resp> {
    fn drop(&mut self) {
        if !self.answered {
            // Without its task the connection has ended, and with it all calls.
            let _ = self.orders.send(Order::Forget(self.id, self.trace));
        }
    }
}

/// The connection's task.
pub(super) struct Exchange<Io, Req, Resp>
where
    Req: Serialize,
    Resp: DeserializeOwned,
{
    link: Link<Io, ClientSide<Req, Resp>>,
    orders: UnboundedReceiver<Order<Req, Resp>>,
    waiting: BTreeMap<u64, oneshot::Sender<Result<Resp, RpcError>>>,
}

impl<Io, Req, Resp> Exchange<Io, Req, Resp>
where
    Io: Socket,
    Req: Serialize,
    Resp: DeserializeOwned,
{
    pub(super) fn new(
        link: Link<Io, ClientSide<Req, Resp>>,
        orders: UnboundedReceiver<Order<Req, Resp>>,
    ) -> Self {
        Self { link, orders, waiting: BTreeMap::new() }
    }

    fn carry_out(&mut self, order: Order<Req, Resp>) -> Result<(), FrameError> {
        match order {
            // Who gave up before it was sent need not be asked for.
            Order::Ask(_, to) if to.is_closed() => Ok(()),
            Order::Ask(request, to) => {
                let id = request.id;
                match self.link.start_send_unpin(ClientMessage::Request(request)) {
                    Ok(()) => drop(self.waiting.insert(id, to)),
                    Err(why @ (FrameError::TooLarge { .. } | FrameError::Encode(_))) => {
                        drop(to.send(Err(RpcError::Send(Box::new(why)))));
                    }
                    Err(broken) => return Err(broken),
                }
                Ok(())
            }
            Order::Forget(request_id, trace_context) => match self.waiting.remove(&request_id) {
                Some(_) => self.link.start_send_unpin(ClientMessage::Cancel { trace_context, request_id }),
                None => Ok(()),
            },
        }
    }

    fn answered(&mut self, Response { request_id, message }: Response<Resp>) {
        if let Some(to) = self.waiting.remove(&request_id) {
            // A caller that is gone does not need its answer.
            drop(to.send(message.map_err(RpcError::Server)));
        }
    }
}

impl<Io, Req, Resp> Future for Exchange<Io, Req, Resp>
where
    Io: Socket,
    Req: Serialize,
    Resp: DeserializeOwned,
{
    type Output = Result<(), FrameError>;

    /// Ends when the other end has gone, or nobody is left to call.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut left = true;
        for _ in 0..AT_ONCE {
            match this.link.poll_next_unpin(cx)? {
                Poll::Ready(Some(answer)) => this.answered(answer),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    left = false;
                    break;
                }
            }
        }
        for _ in 0..AT_ONCE {
            if this.link.poll_ready_unpin(cx)?.is_pending() {
                if left {
                    // The other end may read no more before its answers are read.
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            match this.orders.poll_recv(cx) {
                Poll::Ready(Some(order)) => this.carry_out(order)?,
                Poll::Ready(None) => return this.link.poll_close_unpin(cx),
                Poll::Pending if left => break,
                Poll::Pending => {
                    ready!(this.link.poll_flush_unpin(cx))?;
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        // What cannot be written now is written when the waker has come round.
        let _ = this.link.poll_flush_unpin(cx)?;
        Poll::Pending
    }
}
