//! How the rest of the process speaks to a group's driver: post, and wait for the answer. A handler may be dropped
//! while it waits; what it posted goes on.

use std::time::Duration;

use bytes::Bytes;
use common::clock::Moment;
use common::replication::{ConfigVersion, Epoch, GroupName, Member, ReplicaId, RequestId};
use common::rpc::peer::{Hello, Message, Reply, ReplyBody};
use common::rpc::replica::{Answer, Consistency, Done, MemberStatus, QueryError, SubmitError};
use tokio::sync::{mpsc, oneshot};

use crate::hosted::Listed;

/// Clients' calls that wait for the driver; beyond, they are told to come back. At the speed of a slow disk this is
/// some tens of milliseconds of work.
const CALLS_MAX: usize = 1024;
/// Everything else; whoever posts here waits for room.
const LETTERS_MAX: usize = 1024;
/// When a client that found the mailbox full should come back: the time in which a slow disk frees much of it.
const RETRY_IN: Duration = Duration::from_millis(20);

/// A client's call.
#[derive(Debug)]
pub(crate) enum Call {
    Execute {
        request: RequestId,
        facts: Bytes,
        payload: Bytes,
        deadline: Moment,
        answer: oneshot::Sender<Result<Done, SubmitError>>,
    },
    Query {
        consistency: Consistency,
        payload: Bytes,
        deadline: Moment,
        answer: oneshot::Sender<Result<Answer, QueryError>>,
    },
}

/// What comes from peers and from the process itself.
#[derive(Debug)]
pub(crate) enum Letter {
    Peer { from: ReplicaId, message: Message, answer: oneshot::Sender<Reply> },
    Met(Hello),
    Refused(Member),
    Listed(Vec<Listed>),
    Hello(oneshot::Sender<Hello>),
    Status(oneshot::Sender<MemberStatus>),
    PrepareAdoption(oneshot::Sender<MemberStatus>),
    Adopted(ConfigVersion),
    Stop(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// The way to a group's driver.
#[derive(Clone, Debug)]
pub struct Group {
    name: GroupName,
    calls: mpsc::Sender<Call>,
    letters: mpsc::Sender<Letter>,
}

/// The driver's end.
#[derive(Debug)]
pub struct Mailbox {
    pub(crate) calls: mpsc::Receiver<Call>,
    pub(crate) letters: mpsc::Receiver<Letter>,
}

impl Group {
    /// A mailbox for the group's driver, and the way to it.
    pub fn new(name: GroupName) -> (Self, Mailbox) {
        let (calls, call_box) = mpsc::channel(CALLS_MAX);
        let (letters, letter_box) = mpsc::channel(LETTERS_MAX);
        (Self { name, calls, letters }, Mailbox { calls: call_box, letters: letter_box })
    }

    /// Which group.
    pub fn name(&self) -> &GroupName {
        &self.name
    }

    /// Runs a command.
    ///
    /// # Errors
    /// `Busy` when the mailbox is full; the core's; `Internal` when the driver gave up without an answer.
    pub async fn execute(
        &self,
        request: RequestId,
        facts: Bytes,
        payload: Bytes,
        deadline: Moment,
    ) -> Result<Done, SubmitError> {
        let (answer, answered) = oneshot::channel();
        let call = Call::Execute { request, facts, payload, deadline, answer };
        if self.calls.try_send(call).is_err() {
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
        consistency: Consistency,
        payload: Bytes,
        deadline: Moment,
    ) -> Result<Answer, QueryError> {
        let (answer, answered) = oneshot::channel();
        let call = Call::Query { consistency, payload, deadline, answer };
        if self.calls.try_send(call).is_err() {
            return Err(QueryError::Busy { retry_in: RETRY_IN });
        }
        answered.await.unwrap_or_else(|_| Err(QueryError::Internal { why: GAVE_UP.to_owned() }))
    }

    /// Hands the core what the peer `from` says.
    pub async fn hear(&self, from: ReplicaId, message: Message) -> Reply {
        let (answer, answered) = oneshot::channel();
        self.post(Letter::Peer { from, message, answer }).await;
        let gave_up = |_| Reply { epoch: Epoch(0), body: ReplyBody::Refused { why: GAVE_UP.to_owned() } };
        answered.await.unwrap_or_else(gave_up)
    }

    /// A connection to a peer is up, and it presented itself so.
    pub async fn met(&self, hello: Hello) {
        self.post(Letter::Met(hello)).await;
    }

    /// The socket where this member listened refuses.
    pub async fn refused(&self, member: Member) {
        self.post(Letter::Refused(member)).await;
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
    pub async fn status(&self) -> Option<MemberStatus> {
        self.ask(Letter::Status).await
    }

    /// Drops what was asked of the name server and not answered yet, for good, and tells how this replica is then;
    /// `None` when it is closing.
    pub async fn prepare_adoption(&self) -> Option<MemberStatus> {
        self.ask(Letter::PrepareAdoption).await
    }

    /// An operator's record of this version stands.
    pub async fn adopted(&self, version: ConfigVersion) {
        self.post(Letter::Adopted(version)).await;
    }

    /// Hands over; returns when nothing is left to wait for.
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

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_full_mailbox_says_so_at_once_and_nothing_was_taken_in() {
        let (group, mut mailbox) = Group::new("just.hungry".parse().unwrap());
        let id = RequestId::from_parts(Timestamp::from_millis(1), 0, 0);
        let execute = || group.execute(id, Bytes::new(), Bytes::new(), Moment::ORIGIN).boxed_local();
        let mut waiting: Vec<_> = (0..CALLS_MAX).map(|_| execute()).collect();
        assert!(waiting.iter_mut().all(|call| call.now_or_never().is_none()));
        assert!(matches!(execute().now_or_never(), Some(Err(SubmitError::Busy { .. }))));
        // Who waits no longer still has its command under way; a place is free once the driver took one.
        waiting.clear();
        assert!(matches!(execute().now_or_never(), Some(Err(SubmitError::Busy { .. }))));
        assert!(mailbox.calls.try_recv().is_ok());
        assert!(execute().now_or_never().is_none());
    }

    #[test]
    fn a_command_whose_driver_gave_up_has_an_unknown_outcome() {
        let (group, mut mailbox) = Group::new("just.hungry".parse().unwrap());
        let id = RequestId::from_parts(Timestamp::from_millis(1), 0, 0);
        let mut call = group.execute(id, Bytes::new(), Bytes::new(), Moment::ORIGIN).boxed_local();
        assert!((&mut call).now_or_never().is_none());
        drop(mailbox.calls.try_recv().unwrap());
        let Some(Err(error)) = call.now_or_never() else { panic!("not answered") };
        assert_eq!(error.outcome(), common::rpc::Outcome::Unknown);
    }
}
