//! Orders, as they are kept and as they are shown.

use serde::{Deserialize, Serialize};

use super::command::{Delivery, Verdict};
use super::query::{self, OrderLine, Owner, Quote, Status};
use crate::clock::Timestamp;
use crate::replication::RequestId;
use crate::services::money::Pence;
use crate::services::phone::Phone;
use crate::services::user_code::UserCode;

/// An order, as it is kept: what is needed to deliver it, whatever becomes of the catalogue and the details.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) user: UserCode,
    /// Among the user's, from 1.
    pub(super) no: u32,
    pub(super) status: Status,
    pub(super) placed: Timestamp,
    pub(super) delivery: Delivery,
    pub(super) tip: Pence,
    pub(super) lines: Vec<OrderLine>,
    pub(super) destination: Destination,
    /// None for the samples.
    pub(super) request: Option<RequestId>,
}

/// Where to, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Destination {
    pub(super) first: Option<String>,
    pub(super) last: Option<String>,
    pub(super) phone: Option<Phone>,
    pub(super) address: Option<String>,
    pub(super) verdict: Verdict,
}

/// To whom an order is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// To its user; the number is the order's among all.
    Own(u64),
    /// To anybody who knows the postcode; the number is its place in that list.
    Postcode(u32),
}

impl Order {
    pub(super) fn shown(&self, view: View) -> query::Order {
        let quote = self.quote();
        let (no, owner) = match view {
            View::Own(id) => {
                (self.no, Some(Owner { user: self.user.as_str().into(), id, request: self.request }))
            }
            View::Postcode(no) => (no, None),
        };
        query::Order {
            no,
            owner,
            status: self.status,
            placed: self.placed,
            deliver_by: self.delivery.deliver_by(self.placed),
            delivery: self.delivery,
            lines: quote.lines,
            items: quote.items,
            fee: quote.fee,
            tip: quote.tip,
            total: quote.total,
            verdict: self.destination.verdict.clone(),
        }
    }

    fn quote(&self) -> Quote {
        Quote::new(self.lines.clone(), self.delivery, self.tip)
    }
}

impl Quote {
    /// What these lines cost.
    pub(super) fn new(lines: Vec<OrderLine>, delivery: Delivery, tip: Pence) -> Self {
        let items = lines.iter().map(OrderLine::sum).sum();
        let fee = delivery.fee();
        Self { lines, delivery, items, fee, tip, total: items + fee + tip }
    }
}
