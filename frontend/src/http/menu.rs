//! The front page: the message of the day, the menu, the basket, and who somebody says they are.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use common::replication::RequestId;
use common::services::just_hungry::command::{Change, Command, Item, Stock};
use common::services::just_hungry::query::{Basket, MenuItem};
use common::services::just_hungry::refusal::Refusal;
use common::services::user_code::UserCode;

use super::cookies::{Visitor, user_cookie};
use super::forms::Form;
use super::page::{Notice, Page, Problem, html, see};
use super::site::{No, Site};

/// Of one page: a menu of a thousand products stays readable, and light.
const PRODUCTS_MAX: u32 = 100;

#[derive(Template)]
#[template(path = "menu.html")]
struct Home {
    page: Page,
    motd: String,
    products: Vec<Product>,
    /// Where the menu goes on.
    next: Option<u32>,
    /// Whether this is not its beginning.
    is_later: bool,
    lines: Vec<InBasket>,
    basket: Basket,
    /// For the button that empties the basket.
    clear: RequestId,
}

struct Product {
    item: MenuItem,
    /// For its button.
    request: RequestId,
}

struct InBasket {
    line: common::services::just_hungry::query::BasketLine,
    /// For its number.
    set: RequestId,
    /// For the button that takes it out.
    remove: RequestId,
}

impl Product {
    fn is_out(&self) -> bool {
        self.item.stock == Stock::Counted(0)
    }

    fn stock(&self) -> Option<String> {
        match self.item.stock {
            Stock::Unlimited => None,
            Stock::Counted(0) => Some("Out of stock".to_owned()),
            Stock::Counted(left) => Some(format!("{left} left")),
        }
    }
}

impl Home {
    fn count(&self) -> u32 {
        self.basket.lines.iter().map(|line| line.qty).sum()
    }
}

/// `GET /`.
pub(super) async fn home(
    State(site): State<Site>,
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let home = draw(&site, &visitor, query.get("after").parse().unwrap_or(0), vec![]).await?;
    // Said only of what is there: an address that somebody was handed cannot put words into our mouth.
    let added = query.get("added").parse::<u32>().ok();
    let added = home.products.iter().find(|product| Some(product.item.place) == added);
    let news = added
        .and_then(|added| home.basket.lines.iter().find(|line| line.item == added.item.name))
        .map(|line| Notice::news(format!("{} is in your basket: {} of it.", line.item, line.qty)));
    let home = Home { page: home.page.clone().saying(news), ..home };
    Ok(html(StatusCode::OK, &home))
}

async fn draw(site: &Site, visitor: &Visitor, after: u32, notices: Vec<Notice>) -> Result<Home, Problem> {
    let (motd, menu, basket) =
        tokio::try_join!(site.motd(), site.menu(after, PRODUCTS_MAX), site.basket(visitor.user()))
            .map_err(Problem::of(visitor))?;
    let next = menu.entries.last().filter(|_| menu.more).map(|last| last.place);
    let product = |item| Product { item, request: site.draw() };
    let line = |line: &_| InBasket { line: Clone::clone(line), set: site.draw(), remove: site.draw() };
    Ok(Home {
        page: Page::new(visitor, "menu", "Menu").saying(notices),
        motd,
        products: menu.entries.into_iter().map(product).collect(),
        next,
        is_later: after > 0,
        lines: basket.lines.iter().map(line).collect(),
        basket,
        clear: site.draw(),
    })
}

/// `POST /cart`: one button is one command, under the id that the button was drawn with.
pub(super) async fn cart(
    State(site): State<Site>,
    visitor: Visitor,
    form: Form,
) -> Result<Response, Problem> {
    let mut seen = "/#basket".to_owned();
    for (request, change) in changes(&form) {
        if let (Change::Add(_), Some(place)) = (&change, form.get("add").split(' ').nth(1)) {
            seen = format!("/?added={}#basket", place.parse::<u32>().unwrap_or(0));
        }
        let command = Command::ChangeBasket { user: visitor.user().to_owned(), change };
        match site.run(request, &command).await {
            Ok(_) => {}
            Err(No::Refused(refusal)) => {
                let home = draw(&site, &visitor, 0, vec![Notice::error(said(&refusal))]).await?;
                return Ok(html(StatusCode::UNPROCESSABLE_ENTITY, &home));
            }
            Err(No::Failed(failed)) => return Err(Problem::of(&visitor)(failed)),
        }
    }
    Ok(see(&seen))
}

/// What the button that was pressed wants; each value is `ID REST`, the number of a line stands beside it.
fn changes(form: &Form) -> Vec<(RequestId, Change)> {
    let parted = |value: &str| {
        let (id, rest) = value.split_once(' ')?;
        Some((id.parse().ok()?, rest.to_owned()))
    };
    if let Some((id, rest)) = parted(form.get("add")) {
        let item = rest.split_once(' ').map_or_else(String::new, |(_, item)| item.to_owned());
        return vec![(id, Change::Add(Item { item, qty: 1 }))];
    }
    if let Some((id, item)) = parted(form.get("remove")) {
        return vec![(id, Change::Remove(item))];
    }
    if let Ok(id) = form.get("clear").parse() {
        return vec![(id, Change::Clear)];
    }
    let lines = form.all("line").zip(form.all("was")).zip(form.all("qty"));
    // A line whose number is as it was is not touched.
    let changed = lines.filter(|((_, was), qty)| was != qty).filter_map(|((line, _), qty)| {
        let (id, item) = parted(line)?;
        // What is no number is none that the shop takes.
        let qty = qty.trim().parse().unwrap_or(u32::MAX);
        let change = if qty == 0 { Change::Remove(item) } else { Change::Set(Item { item, qty }) };
        Some((id, change))
    });
    changed.collect()
}

/// A refusal as it is said of a basket.
fn said(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Invalid { why, .. } => why.to_string(),
        other => other.sentence(),
    }
}

/// `GET /cart`, `GET /user`: after a form was refused, a reload asks for its address.
pub(super) async fn front() -> Response {
    see("/")
}

/// `POST /user`: somebody says who they are.
pub(super) async fn user(
    State(site): State<Site>,
    visitor: Visitor,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    match UserCode::read(form.get("user")) {
        Ok(user) => {
            // Back to where they were, if that was a page of ours that shows what is theirs.
            let from = headers.get(header::REFERER).and_then(|from| from.to_str().ok()).unwrap_or_default();
            let place = if from.ends_with("/orders") { "/orders" } else { "/" };
            Ok(([(header::SET_COOKIE, user_cookie(&user))], see(place)).into_response())
        }
        Err(why) => {
            let home = draw(&site, &visitor, 0, vec![Notice::at("user", why.to_string())]).await?;
            Ok(html(StatusCode::UNPROCESSABLE_ENTITY, &home))
        }
    }
}
