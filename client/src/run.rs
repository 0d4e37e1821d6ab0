//! From the words typed to the exit status, through one of three doors: a command, a script, a person at a terminal.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use crate::ask::Prompts;
use crate::desk::{Desk, output, usage};
use crate::errors::{Code, Failure};
use crate::grammar::{Cli, Command, Run};
use crate::output::{Color, Ended, Format, Notes, Output};
use crate::{repl, script};

/// Runs what these words say.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    match Cli::try_parse_from(&args) {
        Ok(cli) => {
            let output = output(&cli.global);
            match through_a_door(cli) {
                Ok(()) | Err(Ended::Closed) => ExitCode::SUCCESS,
                Err(ended) => {
                    let failure = failure(ended);
                    output.failure(&failure);
                    ExitCode::from(failure.exit())
                }
            }
        }
        Err(error) => not_a_command(&error, &args),
    }
}

/// What ended a command that is no result.
fn failure(ended: Ended) -> Failure {
    match ended {
        Ended::Failed(failure) => *failure,
        Ended::Interrupted => Failure::new(Code::Interrupted, "interrupted; nothing was sent"),
        Ended::Left | Ended::Closed => Failure::new(Code::InputNeeded, "the input ended; nothing was sent"),
    }
}

fn through_a_door(cli: Cli) -> Result<(), Ended> {
    // One thread: a command is one thing after another, and starting more of them takes time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Internal, format!("no runtime: {error}")))?;
    let ended = runtime.block_on(door(cli));
    // A question that nobody answers any more must not hold up the end.
    runtime.shutdown_background();
    ended
}

async fn door(Cli { global, command }: Cli) -> Result<(), Ended> {
    let desk = Desk::new();
    let script = match command {
        Some(Command::Run(script)) => script,
        Some(command) => return until_interrupted(&desk, desk.run(global, command)).await,
        None if Prompts::somebody_is_there(&global) => return repl::run(global).await,
        None => Run { file: "-".into(), keep_going: false, echo: false },
    };
    until_interrupted(&desk, script::run(&desk, global, script)).await
}

async fn until_interrupted(desk: &Desk, work: impl Future<Output = Result<(), Ended>>) -> Result<(), Ended> {
    tokio::select! {
        ended = work => ended,
        _ = tokio::signal::ctrl_c() => Err(desk.interrupted().into()),
    }
}

/// Help and version are results; all else that is not a command is a failure.
fn not_a_command(error: &clap::Error, args: &[OsString]) -> ExitCode {
    let json = args.windows(2).any(|pair| (pair[0] == "-o" || pair[0] == "--output") && pair[1] == "json")
        || args.iter().any(|arg| arg == "--json" || arg == "-ojson" || arg == "--output=json")
        || std::env::var_os("CLIENT_OUTPUT").is_some_and(|form| form == "json");
    if json && error.use_stderr() {
        Output::new(Format::Json, Color::Never, Notes::Usual).failure(&usage(error));
    } else {
        // Whoever closed our output has seen enough of the help.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Code::Usage.exit()))
}
