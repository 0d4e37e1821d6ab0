//! The guard round every handler.

use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use tarpc::ServerError;
use tarpc::context::Context;
use tarpc::server::Serve;

/// Answers at once when the handler panics; its caller would wait for its whole deadline.
#[derive(Clone)]
pub(super) struct Guarded<S> {
    pub(super) contract: &'static str,
    pub(super) inner: S,
}

impl<S: Serve> Serve for Guarded<S> {
    type Req = S::Req;
    type Resp = S::Resp;

    /// Is no `async fn`: that would keep the request beside the handler that has it already.
    fn serve(self, ctx: Context, request: S::Req) -> impl Future<Output = Result<S::Resp, ServerError>> {
        let contract = self.contract;
        // A handler's state is its owner's task's, which it reaches by messages: nothing half-done is left behind.
        AssertUnwindSafe(self.inner.serve(ctx, request)).catch_unwind().map(move |answer| {
            answer.unwrap_or_else(|_| {
                tracing::error!(service = contract, "handler panicked");
                Err(ServerError::new(io::ErrorKind::Other, "handler panicked".to_owned()))
            })
        })
    }
}
