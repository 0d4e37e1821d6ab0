//! What Tab makes of a line: commands, flags and their values from the tree of the grammar; products, films, replicas
//! and groups as they are known.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::CommandFactory as _;
use common::directory::View;
use common::services::TABLE;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use tokio::sync::watch;

use crate::grammar::Cli;
use crate::repl::WORDS;

/// What is known of the world.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The products on the menu when it was last read.
    pub(crate) products: Vec<String>,
    /// The films that were listed or found last.
    pub(crate) titles: Vec<String>,
    /// The replicas that are registered.
    pub(crate) replicas: Option<watch::Receiver<View>>,
}

/// What a question can be answered with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Completing {
    /// A value that only the person knows.
    #[default]
    Nothing,
    /// A command.
    Commands,
    /// A product.
    Products,
}

/// The line editor's helper.
pub(crate) struct Words {
    pub(crate) completing: Completing,
    known: Arc<Mutex<Known>>,
    tree: clap::Command,
}

impl Words {
    pub(crate) fn new(known: Arc<Mutex<Known>>) -> Self {
        let mut tree = Cli::command();
        tree.build();
        Self { completing: Completing::default(), known, tree }
    }
}

/// What is behind a lock; a panic elsewhere does not make it wrong.
pub(crate) fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..at];
        let known = locked(&self.known);
        Ok(match self.completing {
            Completing::Nothing => (at, vec![]),
            Completing::Products => (0, beginning(typed, known.products.iter().cloned())),
            Completing::Commands => commands(&self.tree, &known, typed),
        })
    }
}

impl Hinter for Words {
    type Hint = String;
}
impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}

/// Where the word begins that is being typed, and what it could become.
fn commands(tree: &clap::Command, known: &Known, typed: &str) -> (usize, Vec<String>) {
    let (start, quoted) = last_word(typed);
    let word = &typed[start + usize::from(quoted)..];
    let before = shlex::split(&typed[..start]).unwrap_or_default();
    let mut command = tree;
    let mut awaited = None;
    let mut positional = 0;
    for said in &before {
        if awaited.take().is_some() {
            // This was the value of a flag.
        } else if let Some(flag) = said.strip_prefix('-') {
            awaited = flag_called(command, flag).filter(|arg| arg.get_action().takes_values());
        } else if let Some(next) = command.find_subcommand(said) {
            (command, positional) = (next, 0);
        } else {
            positional += 1;
        }
    }
    let candidates: Vec<String> = if let Some(flag) = awaited {
        values(flag, known)
    } else if word.starts_with('-') {
        let flags = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(clap::Arg::get_long);
        flags.map(|flag| format!("--{flag}")).collect()
    } else {
        let top = if before.is_empty() { WORDS } else { &[] };
        let words = command.get_subcommands().map(|sub| sub.get_name().to_owned());
        let places: Vec<&clap::Arg> = command.get_positionals().collect();
        let place = places.get(positional).or(places.last());
        let place = place.into_iter().flat_map(|arg| values(arg, known));
        words.chain(top.iter().map(|&word| word.to_owned())).chain(place).collect()
    };
    let quote = |word: String| shlex::try_quote(&word).map_or(word.clone(), std::borrow::Cow::into_owned);
    let mut found: Vec<String> = beginning(word, candidates).into_iter().map(quote).collect();
    found.sort_unstable();
    found.dedup();
    (start, found)
}

/// Where the last word of `typed` begins, and whether with a quote.
fn last_word(typed: &str) -> (usize, bool) {
    let (mut start, mut quote) = (0, None);
    for (at, c) in typed.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_ascii_whitespace() => start = at + 1,
            Some(_) | None => {}
        }
    }
    (start, typed[start..].starts_with(['"', '\'']))
}

/// The flag that is written so, without its first dash.
fn flag_called<'a>(command: &'a clap::Command, written: &str) -> Option<&'a clap::Arg> {
    let mut flags = command.get_arguments();
    match written.strip_prefix('-') {
        Some(long) => flags.find(|arg| arg.get_long() == Some(long)),
        None => flags.find(|arg| arg.get_short().is_some() && arg.get_short() == written.chars().last()),
    }
}

/// What the value of an argument can be.
fn values(arg: &clap::Arg, known: &Known) -> Vec<String> {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        return possible.iter().map(|value| value.get_name().to_owned()).collect();
    }
    let replicas = || {
        let view = known.replicas.as_ref().map(|replicas| replicas.borrow().clone());
        let names = view.into_iter().flat_map(|view| view.records.to_vec());
        names.map(|record| record.name.to_string()).collect::<Vec<_>>()
    };
    let groups = || TABLE.iter().map(|served| served.name.to_owned());
    match arg.get_value_names().and_then(|names| names.first()).map(clap::builder::Str::as_str) {
        Some(name) if name.starts_with("ITEM") => known.products.clone(),
        Some("TITLE") => known.titles.clone(),
        Some("REPLICA") => replicas(),
        Some("GROUP") => groups().collect(),
        Some("NAME") => replicas().into_iter().chain(groups()).collect(),
        _ => vec![],
    }
}

/// Those that begin with what was typed, in any case.
fn beginning(typed: &str, words: impl IntoIterator<Item = String>) -> Vec<String> {
    let typed = typed.to_lowercase();
    words.into_iter().filter(|word| word.to_lowercase().starts_with(&typed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(typed: &str) -> (usize, Vec<String>) {
        let known = Known {
            products: ["Hamburger", "Fish fingers", "Fries"].map(str::to_owned).into(),
            titles: ["The Matrix", "Heat"].map(str::to_owned).into(),
            replicas: None,
        };
        commands(&Words::new(Arc::default()).tree, &known, typed)
    }

    fn words(typed: &str) -> Vec<String> {
        complete(typed).1
    }

    #[test]
    fn commands_and_flags_are_completed_from_the_tree() {
        assert_eq!(complete("men"), (0, vec!["menu".to_owned()]));
        assert_eq!(words("order p"), ["place"]);
        assert_eq!(words("q"), ["quit"]);
        assert_eq!(complete("order list --act"), (11, vec!["--active".to_owned()]));
        assert!(words("order place --").contains(&"--item".to_owned()));
        assert!(words("order place --").contains(&"--user".to_owned()));
        assert_eq!(words("menu xyz"), [""; 0]);
    }

    #[test]
    fn values_are_completed_where_they_are_known() {
        assert_eq!(words("order place --delivery s"), ["same-day"]);
        assert_eq!(words("order place --item F"), ["'Fish fingers'", "Fries"]);
        assert_eq!(complete("cart add hamburger=2 \"fi"), (21, vec!["'Fish fingers'".to_owned()]));
        assert_eq!(words("cart add fries h"), ["Hamburger"]);
        assert_eq!(words("movie find th"), ["'The Matrix'"]);
        assert_eq!(words("edit h"), ["Heat"]);
        assert_eq!(words("cluster adopt "), ["just.hungry", "movies"]);
        assert_eq!(words("user use "), [""; 0]);
        assert_eq!(words("-u ann cart remove ham"), ["Hamburger"]);
    }
}
