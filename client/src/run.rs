//! From the words typed to the exit status.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Parser as _;
use common::directory::Names;
use common::replication::RequestId;
use common::services::just_hungry;

use crate::cluster;
use crate::errors::{self, Code, Failure};
use crate::grammar::{self, Cart, Cli, Command, Global, Order, User};
use crate::ns;
use crate::output::{Ended, Format, Notes, Output};
use crate::postcode;
use crate::service::{Patience, Service};
use crate::shop;

/// Runs the command that these words are.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    match Cli::try_parse_from(&args) {
        Ok(cli) => {
            let output = output(&cli.global);
            match checked(&cli).map_err(Ended::from).and_then(|()| run_parsed(cli, output)) {
                Ok(()) | Err(Ended::Closed) => ExitCode::SUCCESS,
                Err(Ended::Failed(failure)) => {
                    output.failure(&failure);
                    ExitCode::from(failure.exit())
                }
            }
        }
        Err(error) => not_a_command(&error, &args),
    }
}

fn output(global: &Global) -> Output {
    let notes = match (global.quiet, global.verbose) {
        (true, _) => Notes::Quiet,
        (_, true) => Notes::Verbose,
        _ => Notes::Usual,
    };
    Output::new(global.format(), global.color, notes)
}

/// Help and version are results; all else that is not a command is a failure.
fn not_a_command(error: &clap::Error, args: &[OsString]) -> ExitCode {
    let json = args.windows(2).any(|pair| (pair[0] == "-o" || pair[0] == "--output") && pair[1] == "json")
        || args.iter().any(|arg| arg == "--json" || arg == "-ojson" || arg == "--output=json")
        || std::env::var_os("CLIENT_OUTPUT").is_some_and(|form| form == "json");
    if json && error.use_stderr() {
        let text = error.to_string();
        let sentence = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let failure = Failure::new(Code::Usage, sentence).hint("client help");
        Output::new(Format::Json, crate::output::Color::Never, Notes::Usual).failure(&failure);
    } else {
        // Whoever closed our output has seen enough of the help.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Code::Usage.exit()))
}

/// What the grammar cannot say: which commands send exactly one command, and for how long one may be sent.
fn checked(cli: &Cli) -> Result<(), Failure> {
    /// The farthest deadline that a front end accepts.
    const TIMEOUT_MAX: Duration = Duration::from_mins(1);
    let sends = match &cli.command {
        Command::User(User::Set(_))
        | Command::Cart(Cart::Clear)
        | Command::Order(Order::Place(_) | Order::Cancel { .. }) => 1,
        Command::Cart(Cart::Add { items } | Cart::Set { items }) => items.len(),
        Command::Cart(Cart::Remove { items }) => items.len(),
        _ => 0,
    };
    if cli.global.request_id.is_some() && sends != 1 {
        return Err(Failure::new(
            Code::Usage,
            "--request-id fits exactly one command that changes something",
        )
        .hint("the same without --request-id"));
    }
    let waits = matches!(cli.command, Command::Cluster(_));
    if !waits && cli.global.timeout.is_some_and(|timeout| timeout > TIMEOUT_MAX) {
        return Err(Failure::new(Code::Usage, format!("--timeout: {TIMEOUT_MAX:?} at most"))
            .hint("--retries N, to try again after that"));
    }
    Ok(())
}

fn run_parsed(cli: Cli, output: Output) -> Result<(), Ended> {
    // One thread: a command is one thing after another, and starting more of them takes time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Internal, format!("no runtime: {error}")))?;
    let under_way = Arc::default();
    let result = runtime.block_on(async {
        tokio::select! {
            result = networked(cli, output, &under_way) => result,
            _ = tokio::signal::ctrl_c() => Err(interrupted(&under_way).into()),
        }
    });
    // A question that nobody answers any more must not hold up the end.
    runtime.shutdown_background();
    result
}

/// Where the id of the command stands that was sent and not answered yet.
pub(crate) type UnderWay = Arc<Mutex<Option<RequestId>>>;

fn interrupted(under_way: &UnderWay) -> Failure {
    match *under_way.lock().unwrap_or_else(PoisonError::into_inner) {
        None => Failure::new(Code::Interrupted, "interrupted; nothing was sent"),
        Some(id) => Failure::new(Code::Interrupted, format!("outcome unknown, request id {id}"))
            .hint(format!("repeat it with --request-id {id}"))
            .request(id)
            .unknown(),
    }
}

async fn networked(cli: Cli, output: Output, under_way: &UnderWay) -> Result<(), Ended> {
    /// One try, where nothing else is said.
    const TIMEOUT: Duration = Duration::from_secs(5);
    let Cli { global, command } = cli;
    let names = match global.name_server.as_slice() {
        [] => Names::from_env("client").map_err(|error| errors::invalid("name-server", error))?,
        servers => Names::new(servers.to_vec(), "client"),
    };
    match command {
        Command::Cluster(command) => cluster::run(output, &names, &global, command).await,
        Command::Postcode(grammar::Postcode::Check { postcodes, strict_postcode }) => {
            let patience = Patience { timeout: global.timeout.unwrap_or(TIMEOUT), ..Patience::default() };
            let service = Service::new(&names, just_hungry::NAME).patient(patience);
            postcode::check(output, &service, &postcodes, strict_postcode).await
        }
        Command::Ns(command) => ns::run(output, &names, global.timeout.unwrap_or(TIMEOUT), command).await,
        command => shop::run(output, names, global, command, under_way).await,
    }
}

/// Whether somebody is there to be asked.
pub(crate) fn somebody_is_there(global: &Global) -> bool {
    !global.no_input && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks before something that cannot be undone.
pub(crate) async fn agree(global: &Global, question: &str) -> Result<(), Failure> {
    let refused = |message: &str| Failure::new(Code::NeedsYes, message).hint("the same command with --yes");
    if global.yes {
        return Ok(());
    }
    if !somebody_is_there(global) {
        return Err(refused("this needs --yes: nobody is there to be asked"));
    }
    match ask(&format!("{question} [y/N] ")).await {
        Some(answer) if answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes") => Ok(()),
        _ => Err(refused("not confirmed; nothing was changed")),
    }
}

/// Asks a person, and gives what they typed; `None` at the end of input.
pub(crate) async fn ask(question: &str) -> Option<String> {
    let question = question.to_owned();
    // Reading blocks, and Ctrl-C must be heard meanwhile.
    let asked = tokio::task::spawn_blocking(move || {
        eprint!("{question}");
        let mut line = String::new();
        io::stdin().read_line(&mut line).ok().filter(|&read| read > 0).map(|_| line.trim().to_owned())
    });
    asked.await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<(), Code> {
        let cli = Cli::try_parse_from(["client"].into_iter().chain(line.split_whitespace())).unwrap();
        checked(&cli).map_err(|failure| failure.code)
    }

    #[test]
    fn a_request_id_fits_exactly_one_command() {
        let id = "--request-id 01997e5c-0000-7000-8000-000000000000";
        for good in ["order place", "order cancel 1", "cart add apple", "cart clear", "user set --first A"] {
            assert_eq!(check(&format!("{id} {good}")), Ok(()), "{good}");
        }
        for bad in ["menu", "order list", "orders", "cart add apple bread", "cluster status", "user show"] {
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
        let under_way = UnderWay::default();
        let failure = interrupted(&under_way);
        assert_eq!((failure.exit(), failure.effect), (130, errors::Effect::None));
        let id: RequestId = "01997e5c-0000-7000-8000-000000000000".parse().unwrap();
        *under_way.lock().unwrap() = Some(id);
        let failure = interrupted(&under_way);
        assert_eq!(
            (failure.exit(), failure.effect, failure.request_id),
            (130, errors::Effect::Unknown, Some(id))
        );
        assert!(failure.hint.unwrap().ends_with(&id.to_string()));
    }
}
