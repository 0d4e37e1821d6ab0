//! How the rest of the process speaks to a gossip group's driver: post, and wait for the answer. A handler may be
//! dropped while it waits; what it posted goes on.

use std::time::Duration;

use bytes::Bytes;
use common::clock::{Clock, Moment};
use common::replication::{GroupName, ReplicaId, RequestId, VectorTimestamp};
use common::rpc::gossip::{Message, Outcome, Reply, Status};
use common::rpc::peer::Hello;
use common::rpc::replica::{Answer, Done, GossipStatus, OperatorError, QueryError, SubmitError};
use tokio::sync::{mpsc, oneshot};

use crate::hosted::Listed;

/// Clients' calls that wait for the driver; beyond, they are told to come back.
const CALLS_MAX: usize = 1024;
/// Everything else; whoever posts here waits for room.
const LETTERS_MAX: usize = 1024;
/// When a client that found the mailbox full should come back: the time in which a slow disk frees much of it.
pub(super) const RETRY_IN: Duration = Duration::from_millis(20);

/// A client's call, and when it was posted.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) posted: Moment,
    pub(crate) prev: VectorTimestamp,
    pub(crate) payload: Bytes,
    pub(crate) deadline: Moment,
    pub(crate) asks: Asks,
}

/// What it wants.
#[derive(Debug)]
pub(crate) enum Asks {
    Update { request: RequestId, answer: oneshot::Sender<Result<Done, SubmitError>> },
    Query { answer: oneshot::Sender<Result<Answer, QueryError>> },
}

/// What comes from peers, operators, and the process itself.
#[derive(Debug)]
pub(crate) enum Letter {
    Peer { from: ReplicaId, message: Message, answer: oneshot::Sender<Reply> },
    Met(Hello),
    Listed(Vec<Listed>),
    Hello(oneshot::Sender<Hello>),
    Status(oneshot::Sender<GossipStatus>),
    SetStatus(Status, oneshot::Sender<Status>),
    Accept,
    Remove(ReplicaId, oneshot::Sender<Result<(), OperatorError>>),
    Stop(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// The way to a group's driver.
#[derive(Clone, Debug)]
pub struct Group {
    name: GroupName,
    clock: Clock,
    calls: mpsc::Sender<Call>,
    letters: mpsc::Sender<Letter>,
}

/// The driver's end.
#[derive(Debug)]
pub struct Mailbox {
    pub(crate) calls: mpsc::Receiver<Call>,
    pub(crate) letters: mpsc::Receiver<Letter>,
}

impl Mailbox {
    /// Whether the clients' part of it is full.
    pub(crate) fn is_full(&self) -> bool {
        self.calls.len() >= CALLS_MAX
    }

    /// Whether at least half of it is empty.
    pub(crate) fn is_half_empty(&self) -> bool {
        self.calls.len() <= CALLS_MAX / 2
    }
}

impl Group {
    /// A mailbox for the group's driver, and the way to it.
    pub fn new(name: GroupName, clock: Clock) -> (Self, Mailbox) {
        let (calls, call_box) = mpsc::channel(CALLS_MAX);
        let (letters, letter_box) = mpsc::channel(LETTERS_MAX);
        (Self { name, clock, calls, letters }, Mailbox { calls: call_box, letters: letter_box })
    }

    /// Which group.
    pub fn name(&self) -> &GroupName {
        &self.name
    }

    /// Runs an update.
    ///
    /// # Errors
    /// `Busy` when the mailbox is full; the core's; `Internal` when the driver gave up without an answer.
    pub async fn execute(
        &self,
        request: RequestId,
        prev: VectorTimestamp,
        payload: Bytes,
        deadline: Moment,
    ) -> Result<Done, SubmitError> {
        let (answer, answered) = oneshot::channel();
        if !self.call(prev, payload, deadline, Asks::Update { request, answer }) {
            return Err(SubmitError::Busy { retry_in: RETRY_IN });
        }
        answered.await.unwrap_or_else(|_| Err(SubmitError::Internal { why: GAVE_UP.to_owned() }))
    }

    /// Answers a query.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn query(
        &self,
        prev: VectorTimestamp,
        payload: Bytes,
        deadline: Moment,
    ) -> Result<Answer, QueryError> {
        let (answer, answered) = oneshot::channel();
        if !self.call(prev, payload, deadline, Asks::Query { answer }) {
            return Err(QueryError::Busy { retry_in: RETRY_IN });
        }
        answered.await.unwrap_or_else(|_| Err(QueryError::Internal { why: GAVE_UP.to_owned() }))
    }

    fn call(&self, prev: VectorTimestamp, payload: Bytes, deadline: Moment, asks: Asks) -> bool {
        self.calls.try_send(Call { posted: self.clock.now(), prev, payload, deadline, asks }).is_ok()
    }

    /// Hands the core what the peer `from` says.
    pub async fn hear(&self, from: ReplicaId, message: Message) -> Reply {
        let letter = |answer| Letter::Peer { from, message, answer };
        self.ask(letter).await.unwrap_or(Reply::Refused { outcome: Outcome::Offline })
    }

    /// A connection to a peer is up, and it presented itself so.
    pub async fn met(&self, hello: Hello) {
        self.post(Letter::Met(hello)).await;
    }

    /// The name server lists these members.
    pub async fn listed(&self, members: Vec<Listed>) {
        self.post(Letter::Listed(members)).await;
    }

    /// How this replica presents itself now; `None` when it is closing.
    pub async fn hello(&self) -> Option<Hello> {
        self.ask(Letter::Hello).await
    }

    /// How this replica is; `None` when it is closing.
    pub async fn status(&self) -> Option<GossipStatus> {
        self.ask(Letter::Status).await
    }

    /// Sets whether it takes calls, and tells what it did before; `None` when it is closing.
    pub async fn set_status(&self, status: Status) -> Option<Status> {
        self.ask(|answer| Letter::SetStatus(status, answer)).await
    }

    /// Has this member move another one, or itself, out of the group, and returns when it is out.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn remove(&self, id: ReplicaId) -> Result<(), OperatorError> {
        self.ask(|answer| Letter::Remove(id, answer)).await.unwrap_or(Err(OperatorError::Draining))
    }

    /// A person says that this disk counts as it is.
    pub async fn accept(&self) {
        self.post(Letter::Accept).await;
    }

    /// Gives away what only this replica has; returns when nothing is left to wait for.
    pub async fn stop(&self) {
        self.ask(Letter::Stop).await;
    }

    /// Closes the disk and ends the driver.
    pub async fn close(&self) {
        self.ask(Letter::Close).await;
    }

    async fn ask<T>(&self, letter: impl FnOnce(oneshot::Sender<T>) -> Letter) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.post(letter(answer)).await;
        answered.await.ok()
    }

    async fn post(&self, letter: Letter) {
        // Nobody there: the driver has closed, and so does the process.
        let _ = self.letters.send(letter).await;
    }
}

/// Its outcome is unknown then: the identity was given up, or the process is ending.
const GAVE_UP: &str = "this replica stopped waiting";
