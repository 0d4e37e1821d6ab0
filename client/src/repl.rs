//! The interactive client: a person at a terminal, who types a number, a letter after the menu, or any command of the
//! grammar, and stays.
//!
//! Every prompt works while the service is away; only what needs it says so, and offers to try again.

use std::time::Duration;

use clap::Parser as _;
use common::clock::{Clock, Moment};
use common::names::{Names as Which, Query};
use common::services::postcode::Postcode;

use crate::desk::{Desk, output};
use crate::errors::{Code, Failure};
use crate::grammar::{Cli, Command, FindMovie, Global, Movie, MovieList, parse_line, user_code};
use crate::just_hungry::JustHungry;
use crate::output::{Ended, Output};
use crate::session::state_directory;
use crate::shop::Shop;
use crate::{postcode, script, shown, wizard};

/// The words that only somebody who stays can say.
pub(crate) const WORDS: &[&str] = &["cancel", "exit", "movies", "quit", "ratings"];

/// Numbers that stand for words. A service of its own adds its row.
const SHORTCUTS: &[(&str, &str)] =
    &[("1", "menu"), ("2", "order"), ("3", "orders"), ("4", "cancel"), ("5", "movies"), ("6", "ratings")];

/// A glance at the basket for the prompt takes no longer; without an answer the prompt comes without it.
const GLANCE: Duration = Duration::from_millis(500);

/// A second Ctrl-C within this time means: out of here.
const TWICE: Duration = Duration::from_secs(1);

/// Talks with a person until they leave.
///
/// # Errors
/// When they leave by a second Ctrl-C, or their terminal is gone.
pub(crate) async fn run(global: Global) -> Result<(), Ended> {
    if global.request_id.is_some() {
        let failure = Failure::new(Code::Usage, "--request-id fits exactly one command");
        return Err(failure.hint("--request-id on that command's line").into());
    }
    let visit = Visit {
        desk: Desk::interactive(),
        standing: global,
        after_menu: false,
        basket: None,
        clock: Clock::start(),
        interrupted: None,
    };
    visit.run().await
}

/// A person's visit.
struct Visit {
    desk: Desk,
    /// What holds for every line that says nothing else.
    standing: Global,
    /// Whether a letter means a product.
    after_menu: bool,
    /// What is in the basket, as the prompt says it.
    basket: Option<String>,
    clock: Clock,
    /// When Ctrl-C last ended a command.
    interrupted: Option<Moment>,
}

impl Visit {
    async fn run(mut self) -> Result<(), Ended> {
        if let Some(state) = state_directory() {
            self.desk.prompts.keep_history(state.join("history"));
        }
        let ended = match self.arrive().await {
            Ok(()) => self.stay().await,
            ended => ended,
        };
        match ended {
            Err(Ended::Left) => {
                self.output().say("Okay thanks for coming!");
                Ok(())
            }
            ended => ended,
        }
    }

    fn output(&self) -> Output {
        output(&self.standing)
    }

    /// Banner, message of the day, user code, and what there is to do.
    async fn arrive(&mut self) -> Result<(), Ended> {
        let output = self.output();
        output.say("JUST HUNGRY");
        self.motd().await?;
        let names = self.desk.names(&self.standing)?;
        let replicas = names.view(Query::by_name(Which::Prefix("replica.".into())));
        self.desk.prompts.learn(|known| known.replicas = Some(replicas));
        let known = match &self.standing.user {
            Some(user) => Some(user.clone()),
            // Without a name server nobody can say whose last code to take.
            None if names.known_cluster().is_none() => None,
            None => self.shop()?.known_user().await?,
        };
        let user = match known {
            Some(user) => user,
            None => self.introduce().await?,
        };
        self.standing.user = Some(user);
        self.glance().await;
        let shortcuts: Vec<String> = SHORTCUTS.iter().map(|(key, word)| format!("{key} {word}")).collect();
        output.say(&format!("{}  q quit    help tells all words", shortcuts.join("  ")));
        Ok(())
    }

    /// Shows the message of the day, which is also the first sign of life. A person may go on without.
    async fn motd(&self) -> Result<(), Ended> {
        // Its failure has a question of its own.
        let unasked = Global { no_input: true, ..self.standing.clone() };
        loop {
            let shop = JustHungry::over(self.desk.just_hungry(self.output(), &unasked)?);
            let failure = tokio::select! {
                motd = shop.motd() => match motd {
                    Ok(motd) => {
                        self.output().say(&motd);
                        return Ok(());
                    }
                    Err(failure) => failure,
                },
                _ = tokio::signal::ctrl_c() => return Ok(()),
            };
            self.output().failure(&failure);
            let again = self.desk.prompts.yes("nothing received from the server. Try again?", true);
            match again.await {
                Ok(true) => {}
                Ok(false) | Err(Ended::Interrupted) => return Ok(()),
                Err(ended) => return Err(ended),
            }
        }
    }

    /// Asks for a user code; Enter makes one up.
    async fn introduce(&self) -> Result<String, Ended> {
        loop {
            let typed = match self.desk.prompts.value("User code (Enter makes one up): ").await {
                Err(Ended::Interrupted) => continue,
                typed => typed?,
            };
            let code = match typed.as_str() {
                "" => made_up(uuid::Uuid::new_v4()),
                typed => match user_code(typed) {
                    Ok(code) => code,
                    Err(why) => {
                        self.output().say(&format!("{why}."));
                        continue;
                    }
                },
            };
            self.output().say(&format!("Your user code is {code}; with it your orders are found again."));
            self.shop()?.remember(&code);
            return Ok(code);
        }
    }

    async fn stay(&mut self) -> Result<(), Ended> {
        loop {
            let user = self.standing.user.as_deref().unwrap_or_default();
            let prompt = match &self.basket {
                Some(basket) => format!("{user} [{basket}]> "),
                None => format!("{user}> "),
            };
            let line = tokio::select! {
                line = self.desk.prompts.command(&prompt) => line,
                _ = tokio::signal::ctrl_c() => Err(Ended::Interrupted),
            };
            let now = self.clock.now();
            match line {
                Ok(line) => self.obey(line.trim()).await?,
                Err(Ended::Interrupted) if self.interrupted.is_some_and(|then| now.since(then) < TWICE) => {
                    return Err(Failure::new(Code::Interrupted, "interrupted").told().into());
                }
                Err(Ended::Interrupted) => {}
                Err(ended) => return Err(ended),
            }
            if self.desk.prompts.has_left() {
                return Err(Ended::Left);
            }
        }
    }

    /// Does what a line says, and tells what went wrong; fails when that was the last line.
    async fn obey(&mut self, line: &str) -> Result<(), Ended> {
        let output = self.output();
        let ended = self.until_interrupted(line).await;
        match ended {
            Ok(()) => {}
            Err((output, Ended::Failed(failure))) => output.failure(&failure),
            Err((_, Ended::Interrupted)) => output.say("Nothing was sent."),
            Err((_, ended)) => return Err(ended),
        }
        let first = line.split_whitespace().next().unwrap_or_default();
        self.after_menu = ["1", "menu"].contains(&first);
        // Only these can change a basket, or whose it is.
        if ["2", "cart", "order", "postcode", "run", "user"].contains(&first) && self.interrupted.is_none() {
            self.glance().await;
        }
        Ok(())
    }

    async fn until_interrupted(&mut self, line: &str) -> Result<(), (Output, Ended)> {
        self.interrupted = None;
        let output = self.output();
        let ended = tokio::select! {
            ended = self.carry_out(line) => Some(ended),
            _ = tokio::signal::ctrl_c() => None,
        };
        ended.unwrap_or_else(|| {
            // The terminal has shown ^C, and stands after it.
            output.say("");
            self.interrupted = Some(self.clock.now());
            Err((output, self.desk.interrupted().into()))
        })
    }

    async fn carry_out(&mut self, line: &str) -> Result<(), (Output, Ended)> {
        let output = self.output();
        let alone = |ended: Result<(), Ended>| ended.map_err(|ended| (output, ended));
        let shortcut = SHORTCUTS.iter().find(|(key, _)| *key == line).map(|(_, word)| *word);
        let line = shortcut.unwrap_or(line);
        let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (first, rest.trim()) {
            ("q" | "quit" | "exit", "") => Err((output, Ended::Left)),
            ("orders", "") if shortcut.is_some() => alone(self.orders().await),
            ("cancel", "") => alone(self.cancel().await),
            ("movies", title) => self.movies(title).await,
            ("ratings", "") => self.line("rating mine").await,
            ("ratings", title) => self.line(&format!("rating histogram {title}")).await,
            ("cancel", no) => self.line(&format!("order cancel {no}")).await,
            ("postcode", postcode) if !postcode.starts_with("check") && !postcode.starts_with('-') => {
                alone(self.postcode(postcode).await)
            }
            ("run", _) => self.script(line).await,
            (letters, "") if self.after_menu && is_short_word(letters) => alone(self.letters(letters).await),
            (number, "") if number.parse::<u64>().is_ok() || number.chars().count() == 1 => {
                output.say("Invalid option selected.");
                Ok(())
            }
            _ => self.line(line).await,
        }
    }

    async fn line(&mut self, line: &str) -> Result<(), (Output, Ended)> {
        self.desk.line(line, &mut self.standing).await
    }

    /// Finds a film, or lists all.
    async fn movies(&mut self, title: &str) -> Result<(), (Output, Ended)> {
        let output = self.output();
        let title = match title {
            "" => {
                self.desk.prompts.value("Title (Enter lists all): ").await.map_err(|ended| (output, ended))?
            }
            title => title.to_owned(),
        };
        let command = match title.as_str() {
            "" => Movie::List(MovieList::default()),
            _ => Movie::Find(FindMovie { title: vec![title], year: None, local: false }),
        };
        let done = self.desk.run(self.standing.clone(), Command::Movie(command)).await;
        done.map_err(|ended| (output, ended))
    }

    async fn script(&mut self, line: &str) -> Result<(), (Output, Ended)> {
        match parse_line(line, &self.standing) {
            Ok(Some(Cli { global, command: Some(Command::Run(script)) })) => {
                let output = output(&global);
                script::run(&self.desk, global, script).await.map_err(|ended| (output, ended))
            }
            // It says itself what is wrong with it.
            _ => self.line(line).await,
        }
    }

    fn shop(&self) -> Result<Shop, Failure> {
        Shop::new(&self.desk, self.output(), self.standing.clone())
    }

    fn user(&self) -> String {
        self.standing.user.clone().unwrap_or_default()
    }

    /// The page of orders.
    async fn orders(&self) -> Result<(), Ended> {
        let shop = self.shop()?;
        let orders = shop.just_hungry.orders(&self.user(), false, 0, None).await?;
        shop.show_orders(&orders, "NO RECENT ORDERS")
    }

    async fn cancel(&self) -> Result<(), Ended> {
        wizard::cancel(&self.shop()?, &self.user()).await
    }

    /// Orders one of the product whose letters these are.
    async fn letters(&mut self, letters: &str) -> Result<(), Ended> {
        let shop = self.shop()?;
        let menu = shop.just_hungry.menu().await?;
        let Some(item) = wizard::at(&menu, letters) else {
            self.output().say("Invalid option selected.");
            return Ok(());
        };
        wizard::one_of(&shop, &self.user(), item).await
    }

    /// Becomes whoever orders to a postcode without a user code of their own.
    async fn postcode(&mut self, typed: &str) -> Result<(), Ended> {
        let typed = match typed {
            "" => self.desk.prompts.value("Postcode: ").await?,
            typed => typed.to_owned(),
        };
        let service = self.desk.just_hungry(self.output(), &self.standing)?;
        postcode::check(self.output(), &service, std::slice::from_ref(&typed), false).await?;
        if let Ok(postcode) = typed.parse::<Postcode>() {
            let code = postcode.user_code();
            self.output()
                .say(&format!("You are {code}: whoever orders to {postcode} without a code of their own."));
            self.standing.user = Some(code);
        }
        Ok(())
    }

    /// Looks what is in the basket.
    async fn glance(&mut self) {
        let unasked = Global {
            no_input: true,
            timeout: Some(GLANCE),
            retries: 1,
            quiet: true,
            verbose: false,
            ..self.standing.clone()
        };
        let Ok(service) = self.desk.just_hungry(output(&unasked), &unasked) else { return };
        let basket = JustHungry::over(service).basket(&self.user()).await;
        self.basket = basket.ok().and_then(|basket| shown::basket_in_short(&basket));
    }
}

/// Whether this can be a product's letters: `q` is not, and no command is that short.
fn is_short_word(word: &str) -> bool {
    common::services::just_hungry::query::place(word).is_some()
        && Cli::try_parse_from(["client", word]).is_err()
}

/// A user code that nobody has.
fn made_up(random: uuid::Uuid) -> String {
    let digits = random.simple().to_string();
    format!("guest-{}", &digits[digits.len() - 8..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_is_made_up_is_a_good_one_and_another_each_time() {
        let code = made_up(uuid::Uuid::new_v4());
        assert_eq!(user_code(&code), Ok(code.clone()));
        assert_ne!(code, made_up(uuid::Uuid::new_v4()));
    }

    #[test]
    fn commands_go_before_letters() {
        assert!(is_short_word("a") && is_short_word("AB"));
        assert!(!is_short_word("1") && !is_short_word("menu") && !is_short_word("order"));
    }
}
