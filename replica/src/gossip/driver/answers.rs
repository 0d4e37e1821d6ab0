//! What a core answers, in the words of the contract.

use common::replication::RequestId;
use common::rpc::replica::{self as rpc, Position, QueryError, SubmitError};

use super::super::{Answer, Done, Now, Refused};
use super::mailbox::RETRY_IN;

pub(super) fn acknowledged(now: Now, done: Done) -> rpc::Done {
    let Done { reply, vector, latest, floor } = done;
    let floor = RequestId::from_parts(floor, 0, 0);
    rpc::Done { reply, position: Position::Causal { vector, latest }, floor, now: now.wall }
}

pub(super) fn answered(answer: Answer) -> rpc::Answer {
    let Answer { answer, vector, latest } = answer;
    rpc::Answer { answer, position: Position::Causal { vector, latest } }
}

/// A refusal of an update, in the words of the contract.
pub(super) fn not_done(now: Now, refused: Refused) -> SubmitError {
    match refused {
        Refused::Behind { missing } => SubmitError::Behind { missing },
        Refused::Expired { floor } => {
            SubmitError::Expired { floor: RequestId::from_parts(floor, 0, 0), now: now.wall }
        }
        Refused::FromTheFuture { now } => SubmitError::FromTheFuture { now },
        Refused::Reused => SubmitError::Reused,
        Refused::Busy => SubmitError::Busy { retry_in: RETRY_IN },
        Refused::Overloaded => SubmitError::Overloaded,
        Refused::Offline => SubmitError::Offline,
        Refused::Draining => SubmitError::Draining,
        Refused::DiskFull => SubmitError::DiskFull,
        Refused::TooLarge { limit } => SubmitError::TooLarge { limit: limit as u64 },
        Refused::Full { reply } => SubmitError::AtTheDoor { reply },
        Refused::Unacknowledged { waited } => SubmitError::Unacknowledged { waited },
    }
}

/// A refusal of a query, in the words of the contract.
pub(super) fn not_answered(refused: Refused) -> QueryError {
    match refused {
        Refused::Behind { missing } => QueryError::Lacks { missing },
        Refused::Busy => QueryError::Busy { retry_in: RETRY_IN },
        Refused::Overloaded => QueryError::Overloaded,
        Refused::Offline => QueryError::Offline,
        Refused::Draining => QueryError::Draining,
        Refused::TooLarge { limit } => QueryError::TooLarge { limit: limit as u64 },
        Refused::Unacknowledged { waited } => QueryError::Unacknowledged { waited },
        other @ (Refused::Expired { .. }
        | Refused::FromTheFuture { .. }
        | Refused::Reused
        | Refused::DiskFull
        | Refused::Full { .. }) => QueryError::Internal { why: other.to_string() },
    }
}
