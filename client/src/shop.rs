//! The commands about food: `menu`, `motd`, `user`, `cart`, `order`.

use std::path::Path;

use common::clock::Clock;
use common::directory::Names;
use common::replication;
use common::services::just_hungry::NAME;
use common::services::just_hungry::command::{Change, Lines, Verdict};
use common::services::just_hungry::query::{self, Details, MenuItem};
use common::services::postcode::{INPUT_CHARS_MAX, Postcode};

use crate::ask::Prompts;
use crate::desk::{Desk, patience};
use crate::errors::{self, Code, Failure};
use crate::grammar::{
    Cart, Command, Global, Goods, Menu, MenuChange, Motd, MotdChange, Order, OrderList, Orders, Place, User,
    UserSet, user_code,
};
use crate::just_hungry::{self, JustHungry, NewDetails};
use crate::leaders::Leaders;
use crate::output::{Ended, Output};
use crate::service::{Patience, no_answer};
use crate::session::{Session, SessionFile, state_directory};
use crate::{menu_file, objects, shown, wizard};

/// Runs one of the commands.
///
/// # Errors
/// The command's failure, or what ended it.
pub(crate) async fn run(desk: &Desk, output: Output, global: Global, command: Command) -> Result<(), Ended> {
    let shop = Shop::new(desk, output, global)?;
    if let Command::Order(Orders { what: None }) = command {
        return shop.led().await;
    }
    let leaders = Leaders::before(&shop.names, NAME, output).await;
    let ended = match command {
        Command::Menu(Menu { change: None }) => shop.menu().await,
        Command::Menu(Menu { change: Some(MenuChange::Load { file }) }) => shop.load_menu(&file).await,
        Command::Motd(Motd { change: None }) => shop.motd().await,
        Command::Motd(Motd { change: Some(MotdChange::Set { text }) }) => shop.set_motd(&text).await,
        Command::User(User::Use { code }) => shop.use_user(&code).await,
        Command::User(User::Show) => shop.user_show().await,
        Command::User(User::Set(details)) => shop.user_set(details).await,
        Command::Cart(cart) => shop.cart(cart).await,
        Command::Order(Orders { what: Some(Order::Quote(goods)) }) => shop.quote(goods).await,
        Command::Order(Orders { what: Some(Order::Place(place)) }) => shop.place(place).await,
        Command::Order(Orders { what: Some(Order::List(list)) }) | Command::Orders(list) => {
            shop.orders(list).await
        }
        Command::Order(Orders { what: Some(Order::Show { no }) }) => shop.order(no).await,
        Command::Order(Orders { what: Some(Order::Cancel { no }) }) => shop.cancel(no).await,
        other => unreachable!("{other:?} is no command about food"),
    };
    leaders.after(&shop.names, output).await;
    ended
}

/// The counter: the shop, and who stands before it.
pub(crate) struct Shop {
    pub(crate) output: Output,
    pub(crate) prompts: Prompts,
    pub(crate) just_hungry: JustHungry,
    names: Names,
    global: Global,
    patience: Patience,
}

impl Shop {
    /// The counter for one command.
    ///
    /// # Errors
    /// When it is not known which name servers to ask.
    pub(crate) fn new(desk: &Desk, output: Output, global: Global) -> Result<Self, Failure> {
        Ok(Self {
            output,
            prompts: desk.prompts.clone(),
            just_hungry: JustHungry::over(desk.just_hungry(output, &global)?),
            names: desk.names(&global)?,
            patience: patience(&global),
            global,
        })
    }

    async fn menu(&self) -> Result<(), Ended> {
        let menu = self.just_hungry.menu().await?;
        self.show_menu(&menu)
    }

    /// Shows a menu, and learns the names that are on it.
    pub(crate) fn show_menu(&self, menu: &[MenuItem]) -> Result<(), Ended> {
        self.prompts.learn(|known| known.products = menu.iter().map(|item| item.name.clone()).collect());
        let products: Vec<objects::Product> = menu.iter().map(objects::Product::from).collect();
        self.output.list(&products, |screen| shown::menu_text(screen, menu))
    }

    async fn load_menu(&self, file: &Path) -> Result<(), Ended> {
        let products = menu_file::read(file)?;
        let question = format!("Replace the whole menu by what this file has ({})?", products.len());
        self.prompts.agree(&self.global, &question).await?;
        let count = self.just_hungry.set_menu(products).await?;
        self.output.one(&objects::Done::YES, |_| match count {
            1 => "1 product is on the menu.".into(),
            count => format!("{count} products are on the menu."),
        })
    }

    async fn motd(&self) -> Result<(), Ended> {
        let motd = self.just_hungry.motd().await?;
        self.output.one(&objects::Motd { motd: motd.clone() }, |_| crate::output::escaped(&motd))
    }

    async fn set_motd(&self, text: &str) -> Result<(), Ended> {
        self.just_hungry.set_motd(text).await?;
        self.output.one(&objects::Done::YES, |_| "The message of the day is set.".into())
    }

    async fn use_user(&self, code: &str) -> Result<(), Ended> {
        self.cluster_known().await?;
        self.remember(code);
        self.output.one(&objects::Done::YES, |_| crate::output::escaped(&format!("You are {code}.")))
    }

    /// Leads through an order.
    async fn led(&self) -> Result<(), Ended> {
        if !Prompts::somebody_is_there(&self.global) {
            let failure = Failure::new(Code::InputNeeded, "what to order? There is nobody to be asked");
            return Err(failure.hint("client order place --item ITEM; client order --help").into());
        }
        let user = self.user().await?;
        self.remember(&user);
        wizard::order(self, &user).await
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
        let order = self.placed(&user, placed.no).await?;
        self.warn(Some(&order.verdict));
        self.show_order(&placed_text(order.no), &order)?;
        if !quick {
            self.remember(&user);
        }
        Ok(())
    }

    /// The order that was just placed.
    async fn placed(&self, user: &str, no: u32) -> Result<query::Order, Failure> {
        let unseen = self.unseen(format!("the order was placed as #{no}"), format!("order show {no}"), user);
        self.just_hungry.order(user, no).await.map_err(unseen)
    }

    /// Shows an order that was just placed, by somebody who has agreed to where it goes.
    pub(crate) async fn show_placed(&self, user: &str, no: u32, first: &str) -> Result<(), Ended> {
        let order = self.placed(user, no).await?;
        self.show_order(&format!("{first}{}", placed_text(no)), &order)
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
        self.show_orders(&orders, empty)
    }

    /// Shows orders, or that there are none.
    pub(crate) fn show_orders(&self, orders: &[query::Order], empty: &str) -> Result<(), Ended> {
        let objects: Vec<objects::Order> = orders.iter().map(objects::Order::from).collect();
        self.output.list(&objects, |screen| match orders {
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

    pub(crate) async fn cancel(&self, no: u32) -> Result<(), Ended> {
        let user = self.user().await?;
        self.prompts.agree(&self.global, &format!("Cancel order #{no} of {user}?")).await?;
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
    pub(crate) async fn user(&self) -> Result<String, Ended> {
        if let Some(user) = self.known_user().await? {
            return Ok(user);
        }
        if !Prompts::somebody_is_there(&self.global) {
            let failure = Failure::new(Code::InputNeeded, "whose? A user code is needed");
            return Err(failure.hint("--user CODE (env CLIENT_USER)").into());
        }
        loop {
            match user_code(&self.prompts.value("User code: ").await?) {
                Ok(code) => return Ok(code),
                Err(why) => self.output.say(&why),
            }
        }
    }

    /// The user code given, or the last one.
    pub(crate) async fn known_user(&self) -> Result<Option<String>, Failure> {
        if let Some(user) = &self.global.user {
            return Ok(Some(user.clone()));
        }
        self.cluster_known().await?;
        let Some(file) = self.session() else { return Ok(None) };
        let (session, note) = file.read();
        if let Some(note) = note {
            self.output.note(&note);
        }
        Ok(session.user)
    }

    /// What this person has seen of the ratings.
    pub(crate) async fn seen(&self) -> Result<replication::Session, Failure> {
        self.cluster_known().await?;
        Ok(self.session().map(|file| file.read().0.ratings).unwrap_or_default())
    }

    /// Keeps what this person, beginning at `from`, has seen of the ratings: the next command goes on from there.
    pub(crate) fn remember_seen(&self, from: &replication::Session, seen: &replication::Session) {
        let Some(file) = self.session() else { return };
        let (mut session, _) = file.read();
        let before = session.ratings.clone();
        // Another command may have seen more meanwhile.
        session.ratings.saw(&from.vector, &seen.vector, seen.latest);
        if session.ratings != before
            && let Err(error) = file.write(&session)
        {
            self.output.note(&format!("what you have seen could not be kept: {error}"));
        }
    }

    /// Returns when a name server has said which cluster this is: each has a last user code of its own.
    async fn cluster_known(&self) -> Result<(), Failure> {
        if tokio::time::timeout(self.patience.timeout, self.names.cluster()).await.is_err() {
            return Err(no_answer(&self.names).await);
        }
        Ok(())
    }

    fn session(&self) -> Option<SessionFile> {
        Some(SessionFile::of(&state_directory()?, self.names.known_cluster()?))
    }

    /// Keeps the user code for the next command. That it cannot be kept is no failure of this one.
    pub(crate) fn remember(&self, user: &str) {
        let Some(file) = self.session() else { return };
        let (session, note) = file.read();
        if let Some(note) = note {
            self.output.note(&note);
        }
        if session.user.as_deref() == Some(user) {
            return;
        }
        if let Err(error) = file.write(&Session { user: Some(user.into()), ..session }) {
            self.output.note(&format!("the user code could not be kept: {error}"));
        }
    }
}

fn placed_text(no: u32) -> String {
    format!("Order #{no} successfully placed! Please pay on delivery.")
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
