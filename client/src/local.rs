//! The commands that ask nobody: `about`, `completions`, `man`.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::errors;
use crate::grammar::Cli;
use crate::objects;
use crate::output::{Ended, Output};

/// What this program is. The attributions are in the words that the owners of the data ask for.
const ABOUT: objects::About = objects::About {
    version: env!("CARGO_PKG_VERSION"),
    licence: env!("CARGO_PKG_LICENSE"),
    attributions: &[
        "Postcodes: postcodes.io, and getthedata.com.",
        "Films that are not of people here: the OMDb API, omdbapi.com, CC BY-NC 4.0.",
        "Contains OS data © Crown copyright and database right 2025. Contains Royal Mail data © Royal Mail copyright \
         and database right 2025. Contains National Statistics data © Crown copyright and database right 2025.",
    ],
    note: "A user code keeps people apart; it is not authentication.",
};

/// Tells what this program is.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn about(output: Output) -> Result<(), Ended> {
    output.one(&ABOUT, |_| {
        let head = format!("Just Hungry, client {} ({})", ABOUT.version, ABOUT.licence);
        let data = ABOUT.attributions.join("\n");
        format!("{head}\n{}\n\n{data}", ABOUT.note)
    })
}

/// Prints what `shell` needs to complete our commands.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn completions(shell: Shell) -> Result<(), Ended> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "client", &mut script);
    match io::stdout().lock().write_all(&script) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Ended::Closed),
        written => written.map_err(|error| errors::file(Path::new("standard output"), &error).into()),
    }
}

/// Writes the manual into `directory`, a page per command.
///
/// # Errors
/// When that cannot be written.
pub(crate) fn man(output: Output, directory: &Path) -> Result<(), Ended> {
    let written = fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), directory));
    written.map_err(|error| errors::file(directory, &error))?;
    output.one(&objects::Done::YES, |_| format!("man {}/client.1", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_has_a_page_per_command() {
        let directory = tempfile::tempdir().unwrap();
        let output = Output::new(
            crate::output::Format::Plain,
            crate::output::Color::Never,
            crate::output::Notes::Quiet,
        );
        man(output, &directory.path().join("man1")).unwrap();
        let page = |name: &str| fs::read_to_string(directory.path().join("man1").join(name)).unwrap();
        assert!(page("client.1").contains("hot food"));
        assert!(page("client-order-place.1").contains("expect"));
    }
}
