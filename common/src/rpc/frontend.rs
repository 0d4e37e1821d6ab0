//! The contract of a front end, for clients: a service's commands and queries, whoever is its primary.

use bytes::Bytes;

use super::replica::{Answer, Consistency, Done, QueryError, SubmitError};
use crate::replication::{GroupName, RequestId, VectorTimestamp};

/// Finds the replica for each call.
#[tarpc::service]
pub trait Frontend {
    /// Runs a command once, however often it is sent, through whichever front end.
    async fn execute(
        service: GroupName,
        request: RequestId,
        prev: VectorTimestamp,
        payload: Bytes,
    ) -> Result<Done, SubmitError>;
    /// Answers a query.
    async fn query(
        service: GroupName,
        prev: VectorTimestamp,
        consistency: Consistency,
        payload: Bytes,
    ) -> Result<Answer, QueryError>;
}
