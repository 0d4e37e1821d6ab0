//! What a group that this replica creates begins with, from its flags.

use std::path::Path;

use bytes::Bytes;
use common::services::just_hungry::menu_file::products;
use common::services::just_hungry::{self, JustHungry, Start as Begin, command, start_bytes};

use crate::config::{Config, Start};

/// The `start` of the Genesis entry of the service `name`.
///
/// # Errors
/// A sentence, when the menu's file cannot be used.
pub fn start_of(name: &str, config: &Config) -> Result<Bytes, String> {
    if name != just_hungry::NAME {
        return Ok(Bytes::new());
    }
    let begin = match (&config.menu, config.start) {
        (Some(path), _) => Begin::Menu(menu(path)?),
        (None, None | Some(Start::Demo)) => Begin::Demo,
        (None, Some(Start::Empty)) => Begin::Empty,
    };
    // Said now, not when the group is created.
    JustHungry::new(begin.clone()).map_err(|refusal| format!("the menu breaks a rule: {refusal}"))?;
    Ok(start_bytes(&begin))
}

fn menu(path: &Path) -> Result<Vec<command::Product>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    products(&bytes).map_err(|bad| format!("{}: {}", path.display(), bad.join("; ")))
}
