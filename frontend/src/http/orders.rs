//! What somebody ordered: the history, one order, and its cancelling.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use common::clock::{Clock, Timestamp};
use common::replication::RequestId;
use common::services::just_hungry::command::Command;
use common::services::just_hungry::london;
use common::services::just_hungry::query::{Order, Status};

use super::cookies::Visitor;
use super::forms::Form;
use super::page::{Notice, Page, Problem, html, refused, see};
use super::site::{No, Site};

/// Of one page.
const ORDERS_MAX: u32 = 50;

#[derive(Template)]
#[template(path = "orders.html")]
struct History {
    page: Page,
    orders: Vec<Order>,
    /// Where the list goes on.
    next: Option<u32>,
    now: Timestamp,
}

#[derive(Template)]
#[template(path = "order.html")]
struct One {
    page: Page,
    order: Order,
    request: RequestId,
    now: Timestamp,
}

/// Said by both templates.
trait Told {
    fn placed(&self, now: Timestamp) -> String;
    fn is_active(&self) -> bool;
}

impl Told for Order {
    fn placed(&self, now: Timestamp) -> String {
        london::in_words(self.placed, now)
    }

    fn is_active(&self) -> bool {
        self.status == Status::Active
    }
}

/// `GET /orders`.
pub(super) async fn list(
    State(site): State<Site>,
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let after = query.get("after").parse().unwrap_or(0);
    let orders = site.orders(visitor.user(), after, ORDERS_MAX).await.map_err(Problem::of(&visitor))?;
    let next = orders.entries.last().filter(|_| orders.more).map(|last| last.no);
    let page = Page::new(&visitor, "orders", "Your orders");
    Ok(html(StatusCode::OK, &History { page, orders: orders.entries, next, now: Clock::wall() }))
}

/// `GET /orders/{no}`.
pub(super) async fn show(
    State(site): State<Site>,
    visitor: Visitor,
    Path(no): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    draw(&site, &visitor, &no, |order| {
        let (said, state) = match order.status {
            Status::Active => ("placed", format!("Order #{no} successfully placed! Please pay on delivery.")),
            Status::Cancelled => {
                ("cancelled", format!("Order #{no} is cancelled. What was in stock is back there."))
            }
        };
        query.has(said).then(|| Notice::news(state))
    })
    .await
}

async fn draw(
    site: &Site,
    visitor: &Visitor,
    no: &str,
    say: impl FnOnce(&Order) -> Option<Notice>,
) -> Result<Response, Problem> {
    let order = match no.parse() {
        Ok(no) => site.order(visitor.user(), no).await.map_err(Problem::of(visitor))?,
        Err(_) => None,
    };
    let Some(order) = order else {
        let words =
            "You have no order of that number. Orders are kept by user code: is yours the one that ordered?";
        return Ok(refused(visitor, StatusCode::NOT_FOUND, words));
    };
    let notice = say(&order);
    let page = Page::new(visitor, "orders", format!("Order #{}", order.no)).saying(notice);
    Ok(html(page.status(), &One { page, order, request: site.draw(), now: Clock::wall() }))
}

/// `POST /orders/{no}/cancel`.
pub(super) async fn cancel(
    State(site): State<Site>,
    visitor: Visitor,
    Path(no): Path<String>,
    form: Form,
) -> Result<Response, Problem> {
    let (Some(request), Ok(number)) = (form.request(), no.parse()) else { return Ok(see("/orders")) };
    let command = Command::CancelOrder { user: visitor.user().to_owned(), no: number };
    match site.run(request, &command).await {
        Ok(_) => Ok(see(&format!("/orders/{number}?cancelled"))),
        Err(No::Refused(refusal)) => {
            draw(&site, &visitor, &no, |_| Some(Notice::error(refusal.sentence()))).await
        }
        Err(No::Failed(failed)) => Err(Problem::of(&visitor)(failed)),
    }
}
