//! The `Frontend` contract: each call is looked at, completed at the door, and carried.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::clock::Clock;
use common::meters::{Came, OneMore};
use common::replication::{GroupName, LogPoint, RequestId, RequestIdSource, VectorTimestamp};
use common::rpc::frontend::Frontend;
use common::rpc::limits::FRONTEND;
use common::rpc::replica::{Answer, Consistency, Done, PAYLOAD_BYTES_MAX, Position, QueryError, SubmitError};
use common::rpc::transport::{remaining, within};
use common::services::movies::{
    self,
    command::{NewMovie, Sender},
};
use common::services::{decode, encode};
use tarpc::context::Context;
use tokio::sync::{Semaphore, oneshot};
use tracing::{Instrument as _, debug_span};

use crate::courier::{Courier, LastUsed};
use crate::meters::Calls;
use crate::outside::films::{self, Need, Progress};
use crate::outside::web::Web;
use crate::outside::{Door, Refused, Visit};

/// Commands under way at most, those whose clients have gone away among them: with the largest payloads, 256 MiB.
const COMMANDS_MAX: usize = 4096;
/// By then some of so many commands are answered.
const BUSY_RETRY: Duration = Duration::from_millis(50);
/// Of a caller's time, what is kept for a fail-over after the door.
const AFTER_THE_DOOR: Duration = Duration::from_secs(1);
/// For the command that stores a film: a fail-over and some.
const STORING_TIME: Duration = Duration::from_secs(5);
/// A group that takes longer for a read does not serve.
const PROBE_TIME: Duration = Duration::from_secs(1);

/// Answers the calls of all connections.
pub struct Server<W> {
    courier: Courier,
    door: Door<W>,
    /// For commands of our own.
    ids: RefCell<RequestIdSource>,
    room: Arc<Semaphore>,
    calls: Calls,
}

/// A handle on the one server, for each connection, and who answered last there. (The contract asks for a type of our own to stand on.)
pub struct Desk<W>(Rc<Server<W>>, Rc<LastUsed>);

impl<W> Clone for Desk<W> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0), Rc::clone(&self.1))
    }
}

impl<W: Web + 'static> Server<W> {
    /// A server that completes commands at `door` and gives them to `courier`.
    pub fn new(courier: Courier, door: Door<W>) -> Rc<Self> {
        let room = Arc::new(Semaphore::new(COMMANDS_MAX));
        Rc::new(Self { courier, door, ids: RefCell::default(), room, calls: Calls::new() })
    }

    /// What serves one connection.
    pub fn desk(self: &Rc<Self>) -> Desk<W> {
        Desk(Rc::clone(self), Rc::default())
    }

    /// Who carries the calls.
    pub fn courier(&self) -> &Courier {
        &self.courier
    }

    /// Whether every group answers a read now; else who does not, in one line.
    ///
    /// # Errors
    /// That line.
    pub async fn ready(self: &Rc<Self>) -> Result<(), String> {
        for service in self.courier.services() {
            // Empty bytes are no query of any service; the group says so, after it confirmed who leads it.
            let last = LastUsed::default();
            let probe = self.query(
                within(FRONTEND, PROBE_TIME),
                &last,
                service,
                VectorTimestamp::default(),
                Consistency::Linearizable,
                Bytes::new(),
            );
            probe.await.map_err(|error| format!("{service} does not serve: {error}"))?;
        }
        Ok(())
    }

    async fn execute(
        &self,
        context: Context,
        last: &LastUsed,
        service: &GroupName,
        request: RequestId,
        prev: VectorTimestamp,
        payload: Bytes,
    ) -> Result<Done, SubmitError> {
        let unknown = || SubmitError::UnknownService { service: service.clone() };
        let way = self.courier.way(service).ok_or_else(unknown)?;
        let facts = self.door.complete(service, visit(&context), &payload).await;
        let facts = facts.map_err(|Refused(reply)| SubmitError::AtTheDoor { reply })?;
        let deadline = self.courier.deadline(&context);
        let ask = async |replica: crate::pool::Client, context| {
            replica
                .execute(context, service.clone(), request, prev.clone(), facts.clone(), payload.clone())
                .await
        };
        self.courier.carry(way, last, deadline, ask).await
    }

    async fn query(
        self: &Rc<Self>,
        context: Context,
        last: &LastUsed,
        service: &GroupName,
        prev: VectorTimestamp,
        consistency: Consistency,
        payload: Bytes,
    ) -> Result<Answer, QueryError> {
        let unknown = || QueryError::UnknownService { service: service.clone() };
        let way = self.courier.way(service).ok_or_else(unknown)?;
        if let Some(answer) = self.door.answer(service, visit(&context), &payload).await {
            // No state of the group is in it.
            return Ok(Answer { answer, position: Position::Log(LogPoint::default()) });
        }
        let deadline = self.courier.deadline(&context);
        let ask = async |replica: crate::pool::Client, context| {
            replica.query(context, service.clone(), prev.clone(), consistency, payload.clone()).await
        };
        let here = self.courier.carry(way, last, deadline, ask).await?;
        let Some(need) = films_need(service, &payload, &here.answer) else { return Ok(here) };
        let Visit { time, .. } = visit(&context);
        let told = self.door.films().look_up(need.clone(), time, self.storing(service)).await;
        // What was stored is read again, as it is now; who cannot be read now has been read before.
        let here = match told {
            Progress::Taken { stored: true, .. } => {
                self.courier.carry(way, last, deadline, ask).await.unwrap_or(here)
            }
            _ => here,
        };
        match decode(&here.answer) {
            Ok(answer) => Ok(Answer { answer: encode(&films::answer(&need, answer, told)), ..here }),
            Err(_) => Ok(here),
        }
    }

    /// How a film of OMDb's is stored: by a command of our own, on every replica.
    fn storing(self: &Rc<Self>, service: &GroupName) -> impl AsyncFnOnce(NewMovie) -> bool + use<W> {
        let (server, service) = (Rc::clone(self), service.clone());
        async move |record| {
            let Some(way) = server.courier.way(&service) else { return false };
            let request = server.ids.borrow_mut().next(Clock::wall(), rand::random());
            let facts = encode(&movies::command::Facts { sender: Sender::Door });
            let payload = encode(&movies::Command::Fill { record });
            let deadline = server.courier.deadline(&within(FRONTEND, STORING_TIME));
            let ask = async |replica: crate::pool::Client, context| {
                let (service, prev) = (service.clone(), VectorTimestamp::default());
                replica.execute(context, service, request, prev, facts.clone(), payload.clone()).await
            };
            let last = LastUsed::default();
            let reply = server.courier.carry(way, &last, deadline, ask).await.map(|done| decode(&done.reply));
            matches!(reply, Ok(Ok(movies::Reply::Done(_))))
        }
    }
}

/// What of a question about films is for OMDb, after the group's own answer.
fn films_need(service: &GroupName, payload: &[u8], answer: &[u8]) -> Option<Need> {
    if service.as_str() != movies::NAME {
        return None;
    }
    Need::of(&decode(payload).ok()?, &decode(answer).ok()?)
}

/// The caller's visit at the door.
fn visit(context: &Context) -> Visit {
    Visit { now: Clock::wall(), time: remaining(context).saturating_sub(AFTER_THE_DOOR) }
}

impl<W: Web + 'static> Frontend for Desk<W> {
    async fn execute(
        self,
        context: Context,
        service: GroupName,
        request: RequestId,
        prev: VectorTimestamp,
        payload: Bytes,
    ) -> Result<Done, SubmitError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(SubmitError::TooLarge { limit: PAYLOAD_BYTES_MAX as u64 });
        }
        let Ok(permit) = Arc::clone(&self.0.room).try_acquire_owned() else {
            return Err(SubmitError::Busy { retry_in: BUSY_RETRY });
        };
        // A task of its own: a client that goes away after sending drops this handler, not its order.
        let (answer, answered) = oneshot::channel();
        tokio::task::spawn_local(async move {
            let (calls, courier) = (&self.0.calls, &self.0.courier);
            let (_permit, _one_more, begun) = (permit, OneMore::of(&calls.under_way), courier.now());
            // So that every line about it names the request.
            let span = debug_span!("command", %service, %request);
            let done =
                self.0.execute(context, &self.1, &service, request, prev, payload).instrument(span).await;
            let came = match &done {
                Ok(Done { reply, .. }) | Err(SubmitError::AtTheDoor { reply }) => {
                    calls.replied(&service, reply);
                    Came::Answered
                }
                Err(error) => error.outcome().into(),
            };
            calls.execute.add(came, courier.now().since(begun));
            // Nobody waits for it any more: the order stands all the same.
            let _ = answer.send(done);
        });
        let panicked = |_| Err(SubmitError::Internal { why: "the order's task ended".to_owned() });
        answered.await.unwrap_or_else(panicked)
    }

    async fn query(
        self,
        context: Context,
        service: GroupName,
        prev: VectorTimestamp,
        consistency: Consistency,
        payload: Bytes,
    ) -> Result<Answer, QueryError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(QueryError::TooLarge { limit: PAYLOAD_BYTES_MAX as u64 });
        }
        let calls = &self.0.calls;
        let (_one_more, begun) = (OneMore::of(&calls.under_way), self.0.courier.now());
        let answer = self.0.query(context, &self.1, &service, prev, consistency, payload).await;
        let came = if answer.is_ok() { Came::Answered } else { Came::NoEffect };
        calls.query.add(came, self.0.courier.now().since(begun));
        answer
    }
}

#[cfg(test)]
mod tests;
