//! From basket to order, in two steps: who, where to and how fast; then the review, whose button orders. The review's
//! form carries the order's request id, so pressing it twice, loading it again or coming back to it is one order.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use common::replication::RequestId;
use common::services::just_hungry::command::{Command, Delivery, Done, Lines, Verdict};
use common::services::just_hungry::query::{Details, Quote};
use common::services::just_hungry::refusal::{Field, Refusal};
use common::services::money::Pence;
use serde_json::json;

use super::cookies::Visitor;
use super::counter::Failed;
use super::forms::Form;
use super::page::{Notice, Page, Problem, html, see};
use super::site::{No, Site};

/// The first step, as it is drawn: what was typed stays.
#[derive(Template)]
#[template(path = "checkout.html")]
struct Checkout {
    page: Page,
    request: RequestId,
    first: String,
    last: String,
    phone: String,
    address: String,
    postcode: String,
    /// What is known of the postcode that is kept.
    verdict: Option<String>,
    delivery: String,
    tip: String,
    /// Of the basket, without delivery and tip.
    items: Pence,
}

/// The second step.
#[derive(Template)]
#[template(path = "review.html")]
struct Review {
    page: Page,
    request: RequestId,
    details: Details,
    verdict: Verdict,
    quote: Quote,
}

#[derive(Template)]
#[template(path = "unsure.html")]
struct Unsure {
    page: Page,
    request: RequestId,
    delivery: Delivery,
    tip: String,
    expected: String,
}

#[derive(Template)]
#[template(path = "empty.html")]
struct Empty {
    page: Page,
}

/// The cheapest first.
fn deliveries() -> [Delivery; 3] {
    let [two_hours, same_day, next_day] = Delivery::ALL;
    [next_day, same_day, two_hours]
}

/// What is said of a speed.
fn in_words(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::TwoHours => "Within two hours",
        Delivery::SameDay => "Same day",
        Delivery::NextDay => "Next day",
    }
}

/// What an order costs beside its items.
struct Extras {
    delivery: Delivery,
    tip: Pence,
}

impl Extras {
    /// As the fields say.
    ///
    /// # Errors
    /// What is wrong with which.
    fn read(form: &Form) -> Result<Self, Notice> {
        let delivery = match form.get("delivery") {
            "" => Delivery::NextDay,
            text => text.parse().map_err(|_| Notice::at("delivery", "Choose one of the three."))?,
        };
        let tip = match form.get("tip").trim() {
            "" => Pence::ZERO,
            text => text.parse().map_err(|why| Notice::at("tip", format!("The tip: {why}.")))?,
        };
        Ok(Self { delivery, tip })
    }
}

/// `1.50`, as it is typed.
fn typed(amount: Pence) -> String {
    amount.to_string().trim_start_matches('£').to_owned()
}

/// `GET /checkout`: the details, or with `?review` the review.
pub(super) async fn show(
    State(site): State<Site>,
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let form = Form::read(query.unwrap_or_default().as_bytes());
    match Extras::read(&form) {
        Ok(extras) if form.has("review") => review(&site, &visitor, &extras, None).await,
        _ => first_step(&site, &visitor, &form, vec![]).await,
    }
}

async fn first_step(
    site: &Site,
    visitor: &Visitor,
    form: &Form,
    errors: Vec<Notice>,
) -> Result<Response, Problem> {
    let (details, basket) = tokio::try_join!(site.details(visitor.user()), site.basket(visitor.user()))
        .map_err(Problem::of(visitor))?;
    if basket.lines.is_empty() {
        return Ok(html(
            StatusCode::OK,
            &Empty { page: Page::new(visitor, "basket", "Your basket is empty") },
        ));
    }
    let wrong = !errors.is_empty();
    let entered = |name: &str, kept: Option<String>| {
        if form.has(name) { form.get(name).to_owned() } else { kept.unwrap_or_default() }
    };
    let postcode = details.verdict.as_ref().map(|verdict| verdict.postcode.to_string());
    let checkout = Checkout {
        page: Page::new(visitor, "basket", "Checkout").saying(errors),
        request: site.draw(),
        first: entered("first", details.first),
        last: entered("last", details.last),
        phone: entered("phone", details.phone.map(|phone| phone.to_string())),
        address: entered("address", details.address),
        postcode: entered("postcode", postcode),
        verdict: details.verdict.filter(|_| !wrong).map(|verdict| verdict.sentence()),
        delivery: entered("delivery", Some(Delivery::NextDay.to_string())),
        tip: entered("tip", None),
        items: basket.items,
    };
    Ok(html(checkout.page.status(), &checkout))
}

/// The review of what would be ordered, with a button of its own; `said` first, if the last one did not order.
async fn review(
    site: &Site,
    visitor: &Visitor,
    extras: &Extras,
    said: Option<Notice>,
) -> Result<Response, Problem> {
    let Extras { delivery, tip } = *extras;
    let chosen = || Form::of([("delivery", delivery.to_string()), ("tip", typed(tip))]);
    let details = site.details(visitor.user()).await.map_err(Problem::of(visitor))?;
    let Some(verdict) = details.verdict.clone() else {
        return first_step(site, visitor, &chosen(), said.into_iter().collect()).await;
    };
    match site.quote(visitor.user(), delivery, tip).await {
        Ok(quote) => {
            let page = Page::new(visitor, "basket", "Review your order").saying(said);
            Ok(html(page.status(), &Review { page, request: site.draw(), details, verdict, quote }))
        }
        Err(No::Refused(refusal)) => {
            let errors = said.into_iter().chain([notice(&refusal)]).collect();
            first_step(site, visitor, &chosen(), errors).await
        }
        Err(No::Failed(failed)) => Err(Problem::of(visitor)(failed)),
    }
}

/// `POST /checkout`: one of the two steps.
pub(super) async fn submit(
    State(site): State<Site>,
    visitor: Visitor,
    form: Form,
) -> Result<Response, Problem> {
    let Some(request) = form.request() else { return Ok(see("/checkout")) };
    match form.get("step") {
        "place" => place(&site, &visitor, request, &form).await,
        _ => keep(&site, &visitor, request, &form).await,
    }
}

/// Keeps the details, and goes on to the review.
async fn keep(site: &Site, visitor: &Visitor, request: RequestId, form: &Form) -> Result<Response, Problem> {
    let fields = [
        ("first", "first name"),
        ("last", "last name"),
        ("phone", "phone number"),
        ("address", "address"),
        ("postcode", "postcode"),
    ];
    // All of them at once; the shop would name the first.
    let mut wrong: Vec<Notice> = fields
        .iter()
        .filter(|(id, _)| form.get(id).trim().is_empty())
        .map(|(id, name)| Notice::at(id, format!("Your {name} is missing.")))
        .collect();
    let extras = match Extras::read(form) {
        Ok(extras) => Some(extras),
        Err(error) => {
            wrong.push(error);
            None
        }
    };
    let (Some(extras), true) = (extras, wrong.is_empty()) else {
        return first_step(site, visitor, form, wrong).await;
    };
    let given = |name| Some(form.get(name).to_owned());
    let command = Command::SetDetails {
        user: visitor.user().to_owned(),
        first: given("first"),
        last: given("last"),
        phone: given("phone"),
        address: given("address"),
        postcode: given("postcode"),
    };
    match site.run(request, &command).await {
        Ok(_) => {
            let Extras { delivery, tip } = extras;
            Ok(see(&format!("/checkout?review&delivery={delivery}&tip={}", typed(tip))))
        }
        Err(No::Refused(refusal)) => first_step(site, visitor, form, vec![notice(&refusal)]).await,
        Err(No::Failed(failed)) => Err(Problem::of(visitor)(failed)),
    }
}

/// Orders the basket.
async fn place(site: &Site, visitor: &Visitor, request: RequestId, form: &Form) -> Result<Response, Problem> {
    let (Ok(extras), Ok(expected)) = (Extras::read(form), form.get("expected").parse::<Pence>()) else {
        return Ok(see("/checkout"));
    };
    let Extras { delivery, tip } = extras;
    let command = Command::PlaceOrder {
        user: visitor.user().to_owned(),
        lines: Lines::Basket,
        delivery,
        tip,
        postcode: None,
        strict: false,
        expected: Some(expected),
    };
    match site.run(request, &command).await {
        Ok(Done::Placed { no, .. }) => Ok(see(&format!("/orders/{no}?placed"))),
        Ok(_) => Err(Problem::of(visitor)(Failed::Unknown)),
        Err(No::Refused(refusal)) => review(site, visitor, &extras, Some(notice(&refusal))).await,
        // The same form once more, under the same id.
        Err(No::Failed(failed @ (Failed::Unknown | Failed::Away))) => {
            let words = match failed {
                Failed::Unknown => {
                    "Your order was sent, but no answer came in time: it may have been placed."
                }
                _ => {
                    "Just Hungry is not taking orders right now. Nothing was ordered, and your basket is kept."
                }
            };
            let page = Page::new(visitor, "basket", "No answer yet").saying([Notice::error(words)]);
            let (tip, expected) = (typed(tip), typed(expected));
            let mut response =
                html(StatusCode::SERVICE_UNAVAILABLE, &Unsure { page, request, delivery, tip, expected });
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            Ok(response)
        }
        Err(No::Failed(Failed::Reused | Failed::Expired)) => {
            let words = "This form was too old to be told apart from an earlier one. Look at your orders first; if \
                         yours is not there, place it now.";
            review(site, visitor, &extras, Some(Notice::error(words))).await
        }
    }
}

/// A refusal, at the field that it speaks of.
fn notice(refusal: &Refusal) -> Notice {
    match refusal {
        Refusal::Invalid { field, why, .. } => {
            let (id, name) = match field {
                Field::First => ("first", "Your first name"),
                Field::Last => ("last", "Your last name"),
                Field::Phone => ("phone", "Your phone number"),
                Field::Address => ("address", "Your address"),
                Field::Tip => ("tip", "The tip"),
                _ => return Notice::error(refusal.sentence()),
            };
            Notice::at(id, format!("{name}: {why}"))
        }
        Refusal::PostcodeMalformed { .. }
        | Refusal::PostcodeUnknown { .. }
        | Refusal::PostcodeRetired { .. }
        | Refusal::PostcodeUnconfirmed { .. }
        | Refusal::NoDetails { .. } => Notice::at("postcode", refusal.sentence()),
        other => Notice::error(other.sentence()),
    }
}

/// `GET /checkout/postcode?code=`: what is known of a postcode, while it is typed. A word and a sentence as JSON.
pub(super) async fn postcode(State(site): State<Site>, RawQuery(query): RawQuery) -> Response {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let (answer, sentence) = match site.postcode(query.get("code")).await {
        Ok(checked) => (checked.answer(), checked.sentence()),
        Err(No::Refused(refusal)) => ("malformed", refusal.sentence()),
        Err(No::Failed(_)) => ("unavailable", String::new()),
    };
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], json!({ "answer": answer, "sentence": sentence }).to_string())
        .into_response()
}
