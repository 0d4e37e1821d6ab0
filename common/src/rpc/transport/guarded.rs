//! The guard round every handler.

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

    async fn serve(self, ctx: Context, request: S::Req) -> Result<S::Resp, ServerError> {
        // A handler's state is its owner's task's, which it reaches by messages: nothing half-done is left behind.
        let answer = AssertUnwindSafe(async move { self.inner.serve(ctx, request).await });
        answer.catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(service = self.contract, "handler panicked");
            Err(ServerError::new(io::ErrorKind::Other, "handler panicked".to_owned()))
        })
    }
}
