//! What a group that this replica creates begins with, from its flags.

use std::path::Path;

use bytes::Bytes;
use common::services::just_hungry::menu_file::products;
use common::services::just_hungry::{self, JustHungry, command};
use common::services::movies;

use crate::config::{Config, Start};

/// The `start` of the Genesis entry of the service `name`.
///
/// # Errors
/// A sentence, when the menu's file cannot be used.
pub fn start_of(name: &str, config: &Config) -> Result<Bytes, String> {
    let start = config.start.unwrap_or(Start::Demo);
    match name {
        just_hungry::NAME => food(start, config.menu.as_deref()),
        movies::NAME => Ok(movies::start_bytes(match start {
            Start::Demo => movies::Start::Demo,
            Start::Empty => movies::Start::Empty,
        })),
        _ => Ok(Bytes::new()),
    }
}

fn food(start: Start, own: Option<&Path>) -> Result<Bytes, String> {
    let begin = match (own, start) {
        (Some(path), _) => just_hungry::Start::Menu(menu(path)?),
        (None, Start::Demo) => just_hungry::Start::Demo,
        (None, Start::Empty) => just_hungry::Start::Empty,
    };
    // Said now, not when the group is created.
    JustHungry::new(begin.clone()).map_err(|refusal| format!("the menu breaks a rule: {refusal}"))?;
    Ok(just_hungry::start_bytes(&begin))
}

fn menu(path: &Path) -> Result<Vec<command::Product>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    products(&bytes).map_err(|bad| format!("{}: {}", path.display(), bad.join("; ")))
}
