//! A line of a script, or of a person at the prompt: words by the rules of a shell, then the same tree.

use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _};

use super::{Cli, Global};

/// Why a line is no command.
#[derive(Debug)]
pub(crate) enum BadLine {
    /// A quote has no end.
    Quote,
    /// The tree says why; or it is help, which is a result.
    Words(clap::Error),
}

/// Reads a line as a command, `None` when it says nothing. What the line does not say of the flags for every command
/// is as in `standing`.
pub(crate) fn parse_line(line: &str, standing: &Global) -> Result<Option<Cli>, BadLine> {
    let words = shlex::split(line).ok_or(BadLine::Quote)?;
    if words.is_empty() {
        return Ok(None);
    }
    parse_words(&words, standing).map(Some).map_err(BadLine::Words)
}

fn parse_words(words: &[String], standing: &Global) -> Result<Cli, clap::Error> {
    let words = std::iter::once("client").chain(words.iter().map(String::as_str));
    let matches = Cli::command().try_get_matches_from(words)?;
    let Cli { global: said, command } = Cli::from_arg_matches(&matches)?;
    let says = |flag: &str| matches.value_source(flag) == Some(ValueSource::CommandLine);
    // Flags that speak of the same thing stand or fall together.
    let (form, notes) = (says("output") || says("json"), says("quiet") || says("verbose"));
    let standing = standing.clone();
    let global = Global {
        name_server: if says("name_server") { said.name_server } else { standing.name_server },
        user: if says("user") { said.user } else { standing.user },
        output: if form { said.output } else { standing.output },
        json: if form { said.json } else { standing.json },
        color: if says("color") { said.color } else { standing.color },
        timeout: said.timeout.or(standing.timeout),
        retries: if says("retries") { said.retries } else { standing.retries },
        retry_every: if says("retry_every") { said.retry_every } else { standing.retry_every },
        // An identity is one command's own.
        request_id: said.request_id,
        no_input: said.no_input || standing.no_input,
        yes: said.yes || standing.yes,
        quiet: if notes { said.quiet } else { standing.quiet },
        verbose: if notes { said.verbose } else { standing.verbose },
        help: said.help,
    };
    Ok(Cli { global, command })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::grammar::Command;
    use crate::output::Format;

    fn standing(flags: &str) -> Global {
        Cli::try_parse_from(["client"].into_iter().chain(flags.split_whitespace())).unwrap().global
    }

    #[test]
    fn a_line_is_split_as_a_shell_would() {
        let cli =
            parse_line("order place --item \"fish fingers=2\" --item 'Ben''s' # no more", &standing(""));
        let Ok(Some(Cli { command: Some(Command::Order(orders)), .. })) = cli else { panic!("{cli:?}") };
        let Some(crate::grammar::Order::Place(place)) = orders.what else { panic!("{orders:?}") };
        let items: Vec<_> = place.goods.items.iter().map(|item| (item.item.as_str(), item.qty)).collect();
        assert_eq!(items, [("fish fingers", 2), ("Bens", 1)]);
        for nothing in ["", "   ", "# order place", "\t# x"] {
            assert!(matches!(parse_line(nothing, &standing("")), Ok(None)), "{nothing:?}");
        }
        assert!(matches!(parse_line("cart add Ben's", &standing("")), Err(BadLine::Quote)));
    }

    #[test]
    fn what_a_line_says_holds_for_it_and_the_rest_stands() {
        let standing = standing("-n 127.0.0.1:1 -u ann --json --timeout 3s --retries 4 -q");
        let line = |line: &str| parse_line(line, &standing).unwrap().unwrap().global;
        let same = line("menu");
        assert_eq!((same.user.as_deref(), same.format(), same.retries), (Some("ann"), Format::Json, 4));
        assert_eq!((same.timeout, same.quiet, same.name_server.len()), (standing.timeout, true, 1));
        for words in ["-u bob -o plain -v menu", "menu -o plain -u bob -v"] {
            let other = line(words);
            assert_eq!((other.user.as_deref(), other.format()), (Some("bob"), Format::Plain), "{words}");
            assert_eq!((other.quiet, other.verbose), (false, true), "{words}");
        }
        assert_eq!(line("menu --retries 1").retries, 1);
    }
}
