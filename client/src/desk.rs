//! What the commands of one run of the program share, be it one command or a script of thousands: connections, the
//! prompts, and the id of what is under way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use common::directory::Names;
use common::names::Address;
use common::replication::RequestId;
use common::services::just_hungry;

use crate::ask::Prompts;
use crate::errors::{Code, Failure};
use crate::grammar::{
    BadLine, Cart, Command, Global, Menu, Motd, Movie, Order, Orders, Rating, User, parse_line,
};
use crate::output::{Ended, Notes, Output};
use crate::service::{Patience, Service, Told};
use crate::{cluster, import, local, movies, ns, postcode, rating, servers, shop};

/// Where the id of the command stands that was sent and not answered yet.
pub(crate) type UnderWay = Arc<Mutex<Option<RequestId>>>;

/// Runs commands.
pub(crate) struct Desk {
    /// Asks.
    pub(crate) prompts: Prompts,
    /// Whether a person is asked, after a failure that may pass, to try again.
    offers_retries: bool,
    under_way: UnderWay,
    /// Whether what is under way goes on where it stopped when it is begun again.
    pub(crate) resumable: Cell<bool>,
    connected: RefCell<Vec<Connected>>,
}

/// The way to one list of name servers, and to the services that they know.
struct Connected {
    servers: Vec<Address>,
    names: Names,
    /// By name.
    services: BTreeMap<&'static str, Service>,
}

impl Desk {
    /// A desk for single commands and scripts.
    pub(crate) fn new() -> Self {
        Self {
            prompts: Prompts::new(),
            offers_retries: false,
            under_way: Arc::default(),
            resumable: Cell::default(),
            connected: RefCell::default(),
        }
    }

    /// A desk for somebody who stays.
    pub(crate) fn interactive() -> Self {
        Self { offers_retries: true, ..Self::new() }
    }

    /// Runs one command.
    ///
    /// # Errors
    /// The command's failure, or what ended it.
    pub(crate) async fn run(&self, global: Global, command: Command) -> Result<(), Ended> {
        /// One try, where nothing else is said.
        const TIMEOUT: Duration = Duration::from_secs(5);
        checked(&global, &command)?;
        let output = output(&global);
        match command {
            Command::About => local::about(output),
            Command::Completions { shell } => local::completions(shell),
            Command::Man { dir } => local::man(output, &dir),
            Command::Servers(command) => servers::run(output, &global, command),
            Command::Postcode(crate::grammar::Postcode::Check { postcodes, strict_postcode }) => {
                let service = self.just_hungry(output, &global)?;
                postcode::check(output, &service, &postcodes, strict_postcode).await
            }
            Command::Cluster(command) => {
                cluster::run(output, &self.names(&global)?, &self.prompts, &global, command).await
            }
            Command::Ns(command) => {
                let (names, time) = (self.names(&global)?, global.timeout.unwrap_or(TIMEOUT));
                ns::run(output, &names, &self.prompts, &global, time, command).await
            }
            Command::Movie(command) => self.movies(output, global, command).await,
            Command::Find(find) => self.movies(output, global, Movie::Find(find)).await,
            Command::Add(movie) => self.movies(output, global, Movie::Add(movie)).await,
            Command::Edit(movie) => self.movies(output, global, Movie::Edit(movie)).await,
            Command::Import(import) => Box::pin(import::run(self, output, global, import)).await,
            Command::All(list) => self.movies(output, global, Movie::List(list)).await,
            Command::Rating(command) => self.ratings(output, global, command).await,
            Command::View(film) => self.ratings(output, global, Rating::View(film)).await,
            Command::Average(film) => self.ratings(output, global, Rating::Average(film)).await,
            Command::Histogram(film) => self.ratings(output, global, Rating::Histogram(film)).await,
            Command::Rate(rate) => self.ratings(output, global, Rating::Rate(rate)).await,
            Command::Delete(film) => self.ratings(output, global, Rating::Delete(film)).await,
            Command::Change { replica, status } => {
                let command = crate::grammar::Cluster::Set { name: replica, status };
                cluster::run(output, &self.names(&global)?, &self.prompts, &global, command).await
            }
            Command::Run(_) => {
                let failure = Failure::new(Code::Usage, "a script cannot run another script");
                Err(failure.hint("the other script's lines in this one").into())
            }
            Command::Menu(_)
            | Command::Motd(_)
            | Command::User(_)
            | Command::Cart(_)
            | Command::Order(_)
            | Command::Orders(_) => Box::pin(shop::run(self, output, global, command)).await,
        }
    }

    async fn movies(&self, output: Output, global: Global, command: Movie) -> Result<(), Ended> {
        Box::pin(movies::commands::run(self, output, global, command)).await
    }

    async fn ratings(&self, output: Output, global: Global, command: Rating) -> Result<(), Ended> {
        Box::pin(rating::run(self, output, global, command)).await
    }

    /// Runs a line. `standing` is what holds where the line says nothing else; `user use` changes it.
    ///
    /// # Errors
    /// When it is no command, or as [`Desk::run`]; with how failures are told.
    pub(crate) async fn line(&self, line: &str, standing: &mut Global) -> Result<(), (Output, Ended)> {
        let cli = match parse_line(line, standing) {
            Ok(None) => return Ok(()),
            Ok(Some(cli)) => cli,
            Err(BadLine::Words(error)) if !error.use_stderr() => {
                // Whoever closed our output has seen enough of the help.
                let _ = error.print();
                return Ok(());
            }
            Err(bad) => return Err((output(standing), not_a_command(&bad).into())),
        };
        let output = output(&cli.global);
        let Some(command) = cli.command else {
            let failure = Failure::new(Code::Usage, "flags, and no command").hint("client help");
            return Err((output, failure.into()));
        };
        let becomes = match &command {
            Command::User(User::Use { code }) => Some(code.clone()),
            _ => None,
        };
        self.run(cli.global, command).await.map_err(|ended| (output, ended))?;
        if becomes.is_some() {
            standing.user = becomes;
        }
        Ok(())
    }

    /// The name servers that are to be asked.
    ///
    /// # Errors
    /// As [`servers::to_ask`].
    pub(crate) fn names(&self, global: &Global) -> Result<Names, Failure> {
        self.connected(global, |connected| connected.names.clone())
    }

    /// The food shop: [`Desk::service`].
    pub(crate) fn just_hungry(&self, output: Output, global: &Global) -> Result<Service, Failure> {
        self.service(just_hungry::NAME, output, global)
    }

    /// A service, as patient as `global` says, and whoever is listening told what happens on the way.
    ///
    /// # Errors
    /// As [`servers::to_ask`].
    pub(crate) fn service(
        &self,
        name: &'static str,
        output: Output,
        global: &Global,
    ) -> Result<Service, Failure> {
        let service = self.connected(global, |Connected { names, services, .. }| {
            services.entry(name).or_insert_with(|| Service::new(names, name)).another()
        })?;
        let service =
            service.patient(patience(global)).with_id(global.request_id).noting(&self.under_way).telling(
                move |told| match told {
                    Told::FailOver(what) => output.detail(what),
                    Told::MayBeBehind => output.note("this may be behind: too few replicas are in sync"),
                },
            );
        if !self.offers_retries || !Prompts::somebody_is_there(global) {
            return Ok(service);
        }
        let prompts = self.prompts.clone();
        Ok(service.asking(move |failure| {
            output.failure(failure);
            let prompts = prompts.clone();
            Box::pin(async move { prompts.yes("Try again?", true).await.unwrap_or(false) })
        }))
    }

    fn connected<T>(&self, global: &Global, of: impl FnOnce(&mut Connected) -> T) -> Result<T, Failure> {
        let servers = servers::to_ask(global)?;
        let mut all = self.connected.borrow_mut();
        let at = all.iter().position(|one| one.servers == servers).unwrap_or_else(|| {
            let names = Names::new(servers.clone(), "client");
            all.push(Connected { servers, names, services: BTreeMap::new() });
            all.len() - 1
        });
        Ok(of(&mut all[at]))
    }

    /// The failure of whatever is under way, which Ctrl-C has ended.
    pub(crate) fn interrupted(&self) -> Failure {
        match self.under_way.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None if self.resumable.take() => {
                Failure::new(Code::Interrupted, "interrupted; what was stored so far stays")
                    .hint("the same command again: it goes on where this one stopped")
            }
            None => Failure::new(Code::Interrupted, "interrupted; nothing was sent"),
            Some(id) => Failure::new(Code::Interrupted, format!("outcome unknown, request id {id}"))
                .hint(format!("repeat it with --request-id {id}"))
                .request(id)
                .unknown(),
        }
    }
}

/// How results, notes and failures are told.
pub(crate) fn output(global: &Global) -> Output {
    let notes = match (global.quiet, global.verbose) {
        (true, _) => Notes::Quiet,
        (_, true) => Notes::Verbose,
        _ => Notes::Usual,
    };
    Output::new(global.format(), global.color, notes)
}

/// How long is tried.
pub(crate) fn patience(global: &Global) -> Patience {
    Patience {
        timeout: global.timeout.unwrap_or(Patience::default().timeout),
        tries: global.retries,
        every: global.retry_every,
    }
}

/// Why a line is no command, as a failure.
pub(crate) fn not_a_command(bad: &BadLine) -> Failure {
    match bad {
        BadLine::Quote => Failure::new(Code::Usage, "a quote (' or \") has no end")
            .hint("a backslash before it, when it is part of a word"),
        BadLine::Words(error) => usage(error),
    }
}

/// What the grammar says of words that are no command, as one failure: its first paragraph, and its advice.
pub(crate) fn usage(error: &clap::Error) -> Failure {
    let text = error.to_string();
    if let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) =
        (error.kind(), error.get(ContextKind::InvalidSubcommand))
    {
        let near = match error.get(ContextKind::SuggestedSubcommand) {
            Some(ContextValue::Strings(near)) if !near.is_empty() => near.join(", "),
            _ => "help".into(),
        };
        return Failure::new(Code::Usage, format!("Unrecognised command. There is no {word}.")).hint(near);
    }
    let mut paragraphs = text.split("\n\n").map(|lines| {
        lines.split_whitespace().collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned()
    });
    let what = paragraphs.next().unwrap_or_default();
    let advice = paragraphs.find_map(|text| Some(text.strip_prefix("tip: ")?.to_owned()));
    Failure::new(Code::Usage, what).hint(advice.unwrap_or_else(|| "client help".into()))
}

/// What the grammar cannot say: which commands send exactly one command, and for how long one may be sent.
fn checked(global: &Global, command: &Command) -> Result<(), Failure> {
    /// The farthest deadline that a front end accepts.
    const TIMEOUT_MAX: Duration = Duration::from_mins(1);
    let sends = match command {
        Command::User(User::Set(_))
        | Command::Cart(Cart::Clear)
        | Command::Menu(Menu { change: Some(_) })
        | Command::Motd(Motd { change: Some(_) })
        | Command::Movie(Movie::Add(_) | Movie::Edit(_))
        | Command::Add(_)
        | Command::Edit(_)
        | Command::Rating(Rating::Rate(_) | Rating::Delete(_))
        | Command::Rate(_)
        | Command::Delete(_)
        | Command::Order(Orders { what: Some(Order::Place(_) | Order::Cancel { .. }) }) => 1,
        Command::Cart(Cart::Add { items } | Cart::Set { items }) => items.len(),
        Command::Cart(Cart::Remove { items }) => items.len(),
        _ => 0,
    };
    if global.request_id.is_some() && sends != 1 {
        return Err(Failure::new(
            Code::Usage,
            "--request-id fits exactly one command that changes something",
        )
        .hint("the same without --request-id"));
    }
    let waits = matches!(command, Command::Cluster(_));
    if !waits && global.timeout.is_some_and(|timeout| timeout > TIMEOUT_MAX) {
        return Err(Failure::new(Code::Usage, format!("--timeout: {TIMEOUT_MAX:?} at most"))
            .hint("--retries N, to try again after that"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::Effect;

    fn check(line: &str) -> Result<(), Code> {
        let cli = parse_line(line, &standing()).unwrap().unwrap();
        checked(&cli.global, &cli.command.unwrap()).map_err(|failure| failure.code)
    }

    fn standing() -> Global {
        use clap::Parser as _;
        crate::grammar::Cli::try_parse_from(["client"]).unwrap().global
    }

    #[test]
    fn a_request_id_fits_exactly_one_command() {
        let id = "--request-id 01997e5c-0000-7000-8000-000000000000";
        for good in [
            "order place",
            "order cancel 1",
            "cart add apple",
            "cart clear",
            "user set --first A",
            "motd set x",
            "menu load x",
            "movie add x",
            "edit x",
            "rate x 5 --year 1995",
            "rating delete x --year 1995",
        ] {
            assert_eq!(check(&format!("{id} {good}")), Ok(()), "{good}");
        }
        for bad in [
            "menu",
            "order",
            "order list",
            "orders",
            "cart add apple bread",
            "cluster status",
            "user show",
            "user use ann",
            "run x",
            "movie find x",
            "all",
            "import movielens x",
            "average x",
        ] {
            assert_eq!(check(&format!("{id} {bad}")), Err(Code::Usage), "{bad}");
        }
    }

    #[test]
    fn a_command_is_sent_for_a_minute_at_most_but_servers_may_be_waited_for_longer() {
        assert_eq!(check("menu --timeout 60s"), Ok(()));
        assert_eq!(check("menu --timeout 61s"), Err(Code::Usage));
        assert_eq!(check("cluster wait --timeout 5m"), Ok(()));
    }

    #[test]
    fn ctrl_c_tells_the_id_of_a_command_under_way() {
        let desk = Desk::new();
        let failure = desk.interrupted();
        assert_eq!((failure.exit(), failure.effect), (130, Effect::None));
        let id: RequestId = "01997e5c-0000-7000-8000-000000000000".parse().unwrap();
        *desk.under_way.lock().unwrap() = Some(id);
        let failure = desk.interrupted();
        assert_eq!((failure.exit(), failure.effect, failure.request_id), (130, Effect::Unknown, Some(id)));
        assert!(failure.hint.unwrap().ends_with(&id.to_string()));
        assert_eq!(desk.interrupted().effect, Effect::None, "it is not under way any more");
    }

    #[test]
    fn what_is_no_command_is_told_in_a_sentence_with_advice() {
        let told = |line: &str| {
            let failure = not_a_command(&parse_line(line, &standing()).unwrap_err());
            (failure.message, failure.hint.unwrap())
        };
        let (message, hint) = told("ordr");
        assert!(message.contains("ordr") && hint.contains("order"), "{message}: {hint}");
        let (message, _) = told("order show");
        assert!(message.contains("required") && message.contains("<NO>"), "{message}");
        assert!(told("cart add Ben's").0.contains("quote"));
    }
}
