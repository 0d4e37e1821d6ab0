//! What queries say.

use super::JustHungry;
use super::command::Stock;
use super::order::View;
use super::query::{Answer, Basket, BasketLine, MenuItem, Order, Page, Query, Status};
use super::refusal::Refusal;
use super::state::{read_postcode, read_user};
use crate::services::user_code::UserCode;

impl JustHungry {
    /// Answers a query, or says why there is no answer.
    pub(super) fn answer(&self, query: Query) -> Result<Answer, Refusal> {
        Ok(match query {
            Query::Motd => Answer::Motd(self.motd.clone()),
            Query::Menu { after, limit } => Answer::Menu(self.menu(after, limit)),
            Query::Details { user } => {
                let customer = self.customers.get(&read_user(&user)?);
                Answer::Details(customer.and_then(|customer| customer.details.clone()).unwrap_or_default())
            }
            Query::Basket { user } => Answer::Basket(self.basket(&read_user(&user)?)),
            Query::Quote { user, lines, delivery, tip } => {
                let (wanted, quote) = self.quote(&read_user(&user)?, &lines, delivery, tip)?;
                self.check_stock(&wanted)?;
                Answer::Quote(quote)
            }
            Query::Orders { user, active_only, after, limit } => {
                Answer::Orders(self.orders_of(&read_user(&user)?, active_only, after, limit))
            }
            Query::Order { user, no } => {
                let id = self.order_id(&read_user(&user)?, no)?;
                Answer::Order(Box::new(self.orders[&id].shown(View::Own(id))))
            }
            Query::OrdersTo { postcode, after, limit } => {
                let ids = self.index.by_postcode.get(&read_postcode(&postcode)?);
                let ids = ids.into_iter().flatten().zip(1..).skip(after as usize);
                Answer::Orders(Page::of(limit, ids.map(|(id, no)| self.orders[id].shown(View::Postcode(no)))))
            }
            // A front end's to answer: it came past one that does not know this question.
            Query::Postcode { .. } => return Err(Refusal::Malformed),
        })
    }

    fn menu(&self, after: u32, limit: u32) -> Page<MenuItem> {
        let shown = self.catalogue.after(after).map(|shelf| MenuItem {
            place: shelf.place,
            name: shelf.product.name.clone(),
            price: shelf.product.price,
            stock: shelf.product.stock,
        });
        Page::of(limit, shown)
    }

    fn basket(&self, user: &UserCode) -> Basket {
        let lines = self.customers.get(user).map(|customer| customer.basket.lines()).unwrap_or_default();
        let shown = |line: &super::basket::Line| {
            let product = self.catalogue.get(&line.key);
            let left = product.map_or(Stock::Counted(0), |product| product.stock);
            BasketLine {
                item: product.map_or(&line.item, |product| &product.name).clone(),
                qty: line.qty,
                price: product.map(|product| product.price),
                short: matches!(left, Stock::Counted(left) if left < line.qty),
            }
        };
        let lines: Vec<_> = lines.iter().map(shown).collect();
        let items = lines.iter().filter_map(BasketLine::sum).sum();
        Basket { lines, items }
    }

    fn orders_of(&self, user: &UserCode, active_only: bool, after: u32, limit: u32) -> Page<Order> {
        let ids = self.index.by_user.get(user).map(Vec::as_slice).unwrap_or_default();
        let orders = ids.iter().skip(after as usize).map(|id| (*id, &self.orders[id]));
        let wanted = orders.filter(|(_, order)| !active_only || order.status == Status::Active);
        Page::of(limit, wanted.map(|(id, order)| order.shown(View::Own(id))))
    }
}
