//! The commands about food: `menu`, `motd`, `user`, `cart`, `order`.

use common::clock::Clock;
use common::directory::Names;
use common::services::just_hungry::command::{Change, Lines, Verdict};
use common::services::just_hungry::query::Details;
use common::services::just_hungry::{NAME, query};
use common::services::postcode::{INPUT_CHARS_MAX, Postcode};

use crate::errors::{self, Code, Failure};
use crate::grammar::{Cart, Command, Global, Goods, Order, OrderList, Place, User, UserSet};
use crate::just_hungry::{self, JustHungry, NewDetails};
use crate::objects;
use crate::output::{Ended, Output};
use crate::run::{UnderWay, agree, ask, somebody_is_there};
use crate::service::{Patience, Service, Told, no_answer};
use crate::session::{Session, SessionFile, state_directory};
use crate::shown;

/// Runs one of the commands.
///
/// # Errors
/// The command's failure.
pub(crate) async fn run(
    output: Output,
    names: Names,
    global: Global,
    command: Command,
    under_way: &UnderWay,
) -> Result<(), Ended> {
    let patience = Patience {
        timeout: global.timeout.unwrap_or(Patience::default().timeout),
        tries: global.retries,
        every: global.retry_every,
    };
    let service =
        Service::new(&names, NAME).patient(patience).with_id(global.request_id).noting(under_way).telling(
            move |told| match told {
                Told::FailOver(what) => output.detail(what),
                Told::MayBeBehind => output.note("this may be behind: too few replicas are in sync"),
            },
        );
    let shop = Shop { output, names, global, patience, just_hungry: JustHungry::over(service) };
    match command {
        Command::Menu => shop.menu().await,
        Command::Motd => shop.motd().await,
        Command::User(User::Show) => shop.user_show().await,
        Command::User(User::Set(details)) => shop.user_set(details).await,
        Command::Cart(cart) => shop.cart(cart).await,
        Command::Order(Order::Quote(goods)) => shop.quote(goods).await,
        Command::Order(Order::Place(place)) => shop.place(place).await,
        Command::Order(Order::List(list)) | Command::Orders(list) => shop.orders(list).await,
        Command::Order(Order::Show { no }) => shop.order(no).await,
        Command::Order(Order::Cancel { no }) => shop.cancel(no).await,
        Command::Postcode(_) | Command::Cluster(_) | Command::Ns(_) => {
            unreachable!("{command:?} is no command about food")
        }
    }
}

struct Shop {
    output: Output,
    names: Names,
    global: Global,
    patience: Patience,
    just_hungry: JustHungry,
}

impl Shop {
    async fn menu(&self) -> Result<(), Ended> {
        let menu = self.just_hungry.menu().await?;
        let products: Vec<objects::Product> = menu.iter().map(objects::Product::from).collect();
        self.output.list(&products, |screen| shown::menu_text(screen, &menu))
    }

    async fn motd(&self) -> Result<(), Ended> {
        let motd = self.just_hungry.motd().await?;
        self.output.one(&objects::Motd { motd: motd.clone() }, |_| crate::output::escaped(&motd))
    }

    async fn user_show(&self) -> Result<(), Ended> {
        let user = self.user().await?;
        let details = self.just_hungry.details(&user).await?;
        self.show_user(&user, &details)
    }

    async fn user_set(&self, set: UserSet) -> Result<(), Ended> {
        let user = self.user().await?;
        let UserSet { first, last, phone, postcode, address } = set;
        let given = postcode.is_some();
        let verdict =
            self.just_hungry.set_details(&user, NewDetails { first, last, phone, address, postcode }).await?;
        self.warn(verdict.as_ref().filter(|_| given));
        let unseen = self.unseen("the details were kept".into(), "user show".into(), &user);
        let details = self.just_hungry.details(&user).await.map_err(unseen)?;
        self.show_user(&user, &details)
    }

    fn show_user(&self, user: &str, details: &Details) -> Result<(), Ended> {
        self.output.one(&shown::user(user, details), |_| shown::user_text(user, details))?;
        self.remember(user);
        Ok(())
    }

    async fn cart(&self, cart: Cart) -> Result<(), Ended> {
        let user = self.user().await?;
        let changes: Vec<Change> = match cart {
            Cart::Show => vec![],
            Cart::Add { items } => items.into_iter().map(Change::Add).collect(),
            Cart::Set { items } => items.into_iter().map(Change::Set).collect(),
            Cart::Remove { items } => items.into_iter().map(Change::Remove).collect(),
            Cart::Clear => vec![Change::Clear],
        };
        let changed = !changes.is_empty();
        for (made, change) in changes.into_iter().enumerate() {
            let changed = self.just_hungry.change_basket(&user, change).await;
            changed.map_err(|failure| Failure { message: after(made, failure.message), ..failure })?;
        }
        let basket = self.just_hungry.basket(&user).await.map_err(|failure| {
            let unseen = self.unseen("the basket was changed".into(), "cart show".into(), &user);
            if changed { unseen(failure) } else { failure }
        })?;
        self.output.one(&shown::cart(&user, &basket), |_| shown::cart_text(&basket))?;
        self.remember(&user);
        Ok(())
    }

    async fn quote(&self, goods: Goods) -> Result<(), Ended> {
        let user = self.user().await?;
        let Goods { items, delivery, tip } = goods;
        let quote = self.just_hungry.quote(&user, lines(items), delivery, tip).await?;
        self.output.one(&shown::quote(&user, &quote), |_| shown::quote_text(&quote))?;
        self.remember(&user);
        Ok(())
    }

    async fn place(&self, place: Place) -> Result<(), Ended> {
        let Place {
            goods: Goods { items, delivery, tip },
            postcode,
            strict_postcode: strict,
            expect: expected,
        } = place;
        let known = self.known_user().await?;
        let (user, quick) = match (known, &postcode) {
            (Some(user), _) => (user, false),
            (None, Some(postcode)) => (quick_user(postcode)?, true),
            (None, None) => (self.user().await?, false),
        };
        let lines = lines(items);
        let order =
            just_hungry::Order { user: user.clone(), lines, delivery, tip, postcode, strict, expected };
        let placed = self.just_hungry.place(order).await?;
        let no = placed.no;
        let unseen = self.unseen(format!("the order was placed as #{no}"), format!("order show {no}"), &user);
        let order = self.just_hungry.order(&user, no).await.map_err(unseen)?;
        self.warn(Some(&order.verdict));
        let headline = format!("Order #{} successfully placed! Please pay on delivery.", order.no);
        self.show_order(&headline, &order)?;
        if !quick {
            self.remember(&user);
        }
        Ok(())
    }

    async fn orders(&self, list: OrderList) -> Result<(), Ended> {
        let (orders, empty) = if let Some(postcode) = &list.postcode {
            let mut orders =
                self.just_hungry.orders_to(postcode, list.limit.filter(|_| !list.active)).await?;
            if list.active {
                orders.retain(|order| order.status == query::Status::Active);
                orders.truncate(
                    list.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
                );
            }
            (orders, "Postcode not on record.")
        } else {
            let user = self.user().await?;
            let orders =
                self.just_hungry.orders(&user, list.active, list.after.unwrap_or(0), list.limit).await?;
            self.remember(&user);
            let empty = if list.active {
                "No active orders for this user."
            } else {
                "No orders found for this user."
            };
            (orders, empty)
        };
        let objects: Vec<objects::Order> = orders.iter().map(objects::Order::from).collect();
        self.output.list(&objects, |screen| match orders.as_slice() {
            [] => empty.into(),
            orders => shown::orders_text(screen, orders, Clock::wall()),
        })
    }

    async fn order(&self, no: u32) -> Result<(), Ended> {
        let user = self.user().await?;
        let order = self.just_hungry.order(&user, no).await?;
        self.show_order(&shown::headline(&order, Clock::wall()), &order)?;
        self.remember(&user);
        Ok(())
    }

    async fn cancel(&self, no: u32) -> Result<(), Ended> {
        let user = self.user().await?;
        agree(&self.global, &format!("Cancel order #{no} of {user}?")).await?;
        self.just_hungry.cancel(&user, no).await?;
        let unseen = self.unseen(format!("order #{no} was cancelled"), format!("order show {no}"), &user);
        let order = self.just_hungry.order(&user, no).await.map_err(unseen)?;
        self.show_order(&format!("Successfully deleted order {no}."), &order)?;
        self.remember(&user);
        Ok(())
    }

    fn show_order(&self, headline: &str, order: &query::Order) -> Result<(), Ended> {
        self.output.one(&objects::Order::from(order), |_| shown::order_text(headline, order, Clock::wall()))
    }

    /// What to tell when a command was carried out and its result cannot be shown: "nothing happened" would be wrong.
    fn unseen(&self, done: String, look: String, user: &str) -> impl FnOnce(Failure) -> Failure {
        let request_id = self.just_hungry.last_id();
        move |failure| {
            let message = format!("{done}, but it cannot be shown: {}", failure.message);
            let hint = format!("client {look} --user {user}");
            Failure { request_id, ..Failure::new(Code::Unacknowledged, message).hint(hint) }
        }
    }

    /// Says that nobody could confirm a postcode.
    fn warn(&self, verdict: Option<&Verdict>) {
        if let Some(verdict) = verdict.filter(|verdict| !verdict.is_valid()) {
            let postcode = verdict.postcode;
            self.output.note(&format!(
                "Could not validate postcode {postcode}: neither web service answered. Its form is right."
            ));
        }
    }

    /// The user code, asked for if need be.
    async fn user(&self) -> Result<String, Failure> {
        if let Some(user) = self.known_user().await? {
            return Ok(user);
        }
        let missing = || {
            Failure::new(Code::InputNeeded, "whose? A user code is needed")
                .hint("--user CODE (env CLIENT_USER)")
        };
        if !somebody_is_there(&self.global) {
            return Err(missing());
        }
        match ask("User code: ").await {
            Some(code) if (1..=64).contains(&code.chars().count()) => Ok(code),
            _ => Err(missing()),
        }
    }

    /// The user code given, or the last one.
    async fn known_user(&self) -> Result<Option<String>, Failure> {
        if let Some(user) = &self.global.user {
            return Ok(Some(user.clone()));
        }
        // Which cluster's last one, only its name server can say.
        if tokio::time::timeout(self.patience.timeout, self.names.cluster()).await.is_err() {
            return Err(no_answer(&self.names).await);
        }
        let Some(file) = self.session() else { return Ok(None) };
        let (session, note) = file.read();
        if let Some(note) = note {
            self.output.note(&note);
        }
        Ok(session.user)
    }

    fn session(&self) -> Option<SessionFile> {
        Some(SessionFile::of(&state_directory()?, self.names.known_cluster()?))
    }

    /// Keeps the user code for the next command. That it cannot be kept is no failure of this one.
    fn remember(&self, user: &str) {
        let Some(file) = self.session() else { return };
        let (session, note) = file.read();
        if let Some(note) = note {
            self.output.note(&note);
        }
        if session.user.as_deref() != Some(user)
            && let Err(error) = file.write(&Session { user: Some(user.into()) })
        {
            self.output.note(&format!("the user code could not be kept: {error}"));
        }
    }
}

/// Why one of several changes failed, after `made` others: who repeats all would make those twice.
fn after(made: usize, why: String) -> String {
    match made {
        0 => why,
        1 => format!("{why} (the first change was made)"),
        made => format!("{why} (the first {made} changes were made)"),
    }
}

fn lines(items: Vec<common::services::just_hungry::command::Item>) -> Lines {
    if items.is_empty() { Lines::Basket } else { Lines::Given(items) }
}

/// The user code of somebody who gave only a postcode.
fn quick_user(postcode: &str) -> Result<String, Failure> {
    postcode.parse().map(|postcode: Postcode| postcode.user_code()).map_err(|_| {
        let text = postcode.chars().take(INPUT_CHARS_MAX).collect();
        errors::of_refusal(&common::services::just_hungry::refusal::Refusal::PostcodeMalformed { text })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_without_a_user_is_the_postcodes() {
        assert_eq!(quick_user("DH1 3LE"), Ok("dh13le".into()));
        assert_eq!(quick_user("nowhere").unwrap_err().code, Code::PostcodeMalformed);
    }

    #[test]
    fn an_order_without_items_is_the_baskets() {
        assert_eq!(lines(vec![]), Lines::Basket);
    }
}
