//! A contract whose calls are counted as [`crate::meters`] says.

use std::cell::RefCell;
use std::mem::{Discriminant, discriminant};
use std::rc::Rc;

use metrics::Gauge;
use tarpc::context::Context;
use tarpc::server::Serve;
use tarpc::{RequestName, ServerError};

use super::Outcome;
use crate::clock::Clock;
use crate::meters::{Came, Method, OneMore, in_flight};

impl From<Outcome> for Came {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::NoEffect => Self::NoEffect,
            Outcome::Unknown => Self::Unknown,
        }
    }
}

/// The calls of a contract, whichever connections they come by.
#[derive(Debug)]
pub struct Calls<Req, Resp> {
    contract: &'static str,
    clock: Clock,
    under_way: Gauge,
    /// Those that were called already.
    methods: RefCell<Vec<(Discriminant<Req>, Method)>>,
    came: fn(&Resp) -> Came,
}

impl<Req: RequestName, Resp> Calls<Req, Resp> {
    /// Those of `contract`; `came` reads their answers.
    pub fn of(contract: &'static str, clock: Clock, came: fn(&Resp) -> Came) -> Rc<Self> {
        Rc::new(Self { contract, clock, under_way: in_flight(contract), methods: RefCell::default(), came })
    }

    /// The place of this request's method.
    fn method(&self, request: &Req) -> usize {
        let mut methods = self.methods.borrow_mut();
        let wanted = discriminant(request);
        methods.iter().position(|(method, _)| *method == wanted).unwrap_or_else(|| {
            let name = request.name().rsplit('.').next().unwrap_or_default();
            methods.push((wanted, Method::of(self.contract, name)));
            methods.len() - 1
        })
    }
}

/// A service whose calls are counted.
#[derive(Debug)]
pub struct Metered<S: Serve> {
    calls: Rc<Calls<S::Req, S::Resp>>,
    inner: S,
}

impl<S: Serve + Clone> Clone for Metered<S> {
    fn clone(&self) -> Self {
        Self { calls: Rc::clone(&self.calls), inner: self.inner.clone() }
    }
}

impl<S: Serve> Metered<S> {
    /// `inner`, whose calls are counted among these.
    pub fn new(calls: &Rc<Calls<S::Req, S::Resp>>, inner: S) -> Self {
        Self { calls: Rc::clone(calls), inner }
    }
}

impl<S: Serve> Serve for Metered<S>
where
    S::Req: RequestName,
{
    type Req = S::Req;
    type Resp = S::Resp;

    async fn serve(self, context: Context, request: S::Req) -> Result<S::Resp, ServerError> {
        let Self { calls, inner } = self;
        let (method, begun) = (calls.method(&request), calls.clock.now());
        let _one_more = OneMore::of(&calls.under_way);
        let answer = inner.serve(context, request).await;
        let came = answer.as_ref().map_or(Came::Unknown, calls.came);
        calls.methods.borrow()[method].1.add(came, calls.clock.now().since(begun));
        answer
    }
}
