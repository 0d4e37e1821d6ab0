//! Where pages ask: what they want to know or to have done goes over here, to the thread that the calls of other
//! programs are served on, and is done by the very function that serves those.

use bytes::Bytes;
use common::replication::{GroupName, LogPoint, RequestId, VectorTimestamp};
use common::rpc::Outcome;
use common::rpc::replica::{Answer, Consistency, Done, Position, QueryError, SubmitError};
use common::services::{decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use crate::lookout::Look;

/// Whether every group serves; else who does not, in one line.
pub type Readiness = Result<(), String>;

/// Something that a page wants, and where its answer goes.
#[derive(Debug)]
pub enum Ask {
    /// Whether every group serves.
    Ready(oneshot::Sender<Readiness>),
    /// How everything is; no answer while no name server was heard.
    Cluster(oneshot::Sender<Look>),
    /// That a command runs.
    Execute {
        /// Whose command.
        service: GroupName,
        /// Its identity, drawn with the form.
        request: RequestId,
        /// What its sender has seen; nothing for groups with a primary.
        prev: VectorTimestamp,
        /// The command.
        payload: Bytes,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Done, SubmitError>>,
    },
    /// That a query is answered.
    Query {
        /// Whose query.
        service: GroupName,
        /// What its sender has seen; nothing for groups with a primary.
        prev: VectorTimestamp,
        /// How fresh.
        consistency: Consistency,
        /// The query.
        payload: Bytes,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Answer, QueryError>>,
    },
}

/// The pages' end.
#[derive(Clone, Debug)]
pub struct Counter(mpsc::Sender<Ask>);

/// Why a page did not get what it wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Nothing happened; the same again later.
    Away,
    /// Sent, and never answered: the same id again.
    Unknown,
    /// The form's id was another command's; this one did not run.
    Reused,
    /// The form is so old that nobody knows whether it was sent before.
    Expired,
}

impl Counter {
    /// A counter, and what comes over it; at most `room` asks wait.
    pub fn new(room: usize) -> (Self, mpsc::Receiver<Ask>) {
        let (counter, asked) = mpsc::channel(room);
        (Self(counter), asked)
    }

    /// Whether every group serves.
    ///
    /// # Errors
    /// Who does not, in one line.
    pub async fn ready(&self) -> Readiness {
        let (answer, answered) = oneshot::channel();
        // A full queue means that those before this one have no answer yet.
        self.0.try_send(Ask::Ready(answer)).map_err(|_| "too many ask at once".to_owned())?;
        answered.await.unwrap_or_else(|_| Err("stopping".to_owned()))
    }

    /// How everything is; `None` while no name server was heard.
    pub async fn cluster(&self) -> Option<Look> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Ask::Cluster(answer)).ok()?;
        answered.await.ok()
    }

    /// Has a command run under this id, and gives the service's reply.
    ///
    /// # Errors
    /// [`Failed`]: what may have happened, and what to do next.
    pub async fn execute<C: Serialize, R: DeserializeOwned>(
        &self,
        service: &'static str,
        request: RequestId,
        command: &C,
    ) -> Result<R, Failed> {
        let done = self.execute_after(service, request, &VectorTimestamp::default(), command).await;
        done.map(|(reply, _)| reply)
    }

    /// As [`Counter::execute`], for somebody who has seen so much; gives how much they have seen by then.
    ///
    /// # Errors
    /// As [`Counter::execute`].
    pub async fn execute_after<C: Serialize, R: DeserializeOwned>(
        &self,
        service: &'static str,
        request: RequestId,
        prev: &VectorTimestamp,
        command: &C,
    ) -> Result<(R, Position), Failed> {
        let (answer, answered) = oneshot::channel();
        let (service, prev, payload) = (named(service), prev.clone(), encode(command));
        let ask = Ask::Execute { service, request, prev, payload, answer };
        self.0.try_send(ask).map_err(|_| Failed::Away)?;
        // Whoever ends in between may have sent it.
        let (reply, position) = match answered.await.map_err(|_| Failed::Unknown)? {
            Ok(done) => (done.reply, done.position),
            Err(SubmitError::AtTheDoor { reply }) => (reply, Position::Log(LogPoint::default())),
            Err(SubmitError::Reused) => return Err(Failed::Reused),
            Err(SubmitError::Expired { .. } | SubmitError::FromTheFuture { .. }) => {
                return Err(Failed::Expired);
            }
            Err(error) if error.outcome() == Outcome::Unknown => return Err(Failed::Unknown),
            Err(_) => return Err(Failed::Away),
        };
        decode(&reply).map(|reply| (reply, position)).map_err(|_| Failed::Unknown)
    }

    /// The service's answer to a query. When too few replicas are in sync to promise anything, a copy's will do.
    ///
    /// # Errors
    /// [`Failed::Away`].
    pub async fn query<Q: Serialize, A: DeserializeOwned>(
        &self,
        service: &'static str,
        query: &Q,
    ) -> Result<A, Failed> {
        self.query_after(service, &VectorTimestamp::default(), query).await.map(|(answer, _)| answer)
    }

    /// As [`Counter::query`], for somebody who has seen so much; gives how much they have seen by then.
    ///
    /// # Errors
    /// As [`Counter::query`].
    pub async fn query_after<Q: Serialize, A: DeserializeOwned>(
        &self,
        service: &'static str,
        prev: &VectorTimestamp,
        query: &Q,
    ) -> Result<(A, Position), Failed> {
        /// As old as the command line shows, too.
        const MAX_AGE: std::time::Duration = std::time::Duration::from_secs(10);
        let payload = encode(query);
        let answer = match self.ask(service, prev, Consistency::Linearizable, payload.clone()).await {
            Err(Some(QueryError::TooFewInSync { .. })) => {
                self.ask(service, prev, Consistency::StaleOk { max_age: MAX_AGE }, payload).await
            }
            answer => answer,
        };
        let Answer { answer, position } = answer.map_err(|_| Failed::Away)?;
        decode(&answer).map(|answer| (answer, position)).map_err(|_| Failed::Away)
    }

    async fn ask(
        &self,
        service: &'static str,
        prev: &VectorTimestamp,
        consistency: Consistency,
        payload: Bytes,
    ) -> Result<Answer, Option<QueryError>> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Query { service: named(service), prev: prev.clone(), consistency, payload, answer };
        self.0.try_send(ask).map_err(|_| None)?;
        answered.await.map_err(|_| None)?.map_err(Some)
    }
}

fn named(service: &'static str) -> GroupName {
    service.parse().expect("a service of ours has a good name")
}
