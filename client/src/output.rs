//! How results reach a person or a program: data to standard output, all else to standard error.
//!
//! Three forms. `table` is for a person; `plain` is tab-separated values without a head, in the order of the JSON
//! fields; `json` is one object a line. Text that others wrote is data: control and bidirectional characters in it
//! are shown, never sent to the terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use clap::ValueEnum;
use comfy_table::{CellAlignment, ContentArrangement, Row, Table};
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::errors::{self, Failure};

/// How results look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a person.
    #[default]
    Table,
    /// One JSON object a line.
    Json,
    /// Tab-separated values.
    Plain,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal that has not been told otherwise (`NO_COLOR`, `TERM=dumb`).
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How much is said beside the results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notes {
    /// Nothing.
    Quiet,
    /// What a person should know.
    #[default]
    Usual,
    /// Fail-overs too.
    Verbose,
}

/// Why printing ended a command early.
#[derive(Debug)]
pub enum Ended {
    /// The command failed.
    Failed(Box<Failure>),
    /// Whoever read our results has enough of them.
    Closed,
    /// Ctrl-C at a prompt.
    Interrupted,
    /// Ctrl-D at a prompt: nobody will answer any more.
    Left,
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// Where results, notes and errors go, and how they look.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: Format,
    color: Color,
    notes: Notes,
}

/// What a table is drawn on.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Columns; `None` when nobody looks, so that nothing is cut.
    pub width: Option<u16>,
    /// Whether in colour.
    pub color: bool,
}

impl Output {
    /// An output of this form.
    pub const fn new(format: Format, color: Color, notes: Notes) -> Self {
        Self { format, color, notes }
    }

    /// Prints one result; `text` is its form for a person.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn one<T: Serialize>(self, object: &T, text: impl FnOnce(Screen) -> String) -> Result<(), Ended> {
        self.list(std::slice::from_ref(object), text)
    }

    /// Prints a list of results; `text` is the form of all of them for a person.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn list<T: Serialize>(self, objects: &[T], text: impl FnOnce(Screen) -> String) -> Result<(), Ended> {
        let lines =
            |line: fn(&T) -> String| objects.iter().fold(String::new(), |all, one| all + &line(one) + "\n");
        let all = match self.format {
            Format::Json => lines(|object| json(object)),
            Format::Plain => lines(|object| plain(object)),
            Format::Table => text(self.screen()) + "\n",
        };
        let mut stdout = io::stdout().lock();
        match stdout.write_all(all.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Ended::Closed),
            Err(error) => Err(errors::file(Path::new("standard output"), &error).into()),
        }
    }

    /// Tells a person something beside the results.
    pub fn note(self, text: &str) {
        if self.notes != Notes::Quiet {
            to_stderr(&format!("note: {}", escaped(text)));
        }
    }

    /// Tells a person what to think about before they agree. Said whatever else is.
    pub fn plead(self, text: impl FnOnce(Screen) -> String) {
        to_stderr(&text(self.screen()));
    }

    /// Tells a person at the prompt, as prompts do: beside the results, with foreign text made harmless.
    pub fn say(self, text: &str) {
        to_stderr(&escaped(text));
    }

    /// Whether somebody wants to know everything.
    pub fn is_verbose(self) -> bool {
        self.notes == Notes::Verbose
    }

    /// Tells a person who wants to know everything.
    pub fn detail(self, text: &str) {
        if self.notes == Notes::Verbose {
            to_stderr(&format!("note: {}", escaped(text)));
        }
    }

    /// Says why the command failed, if nobody has said so yet.
    pub fn failure(self, failure: &Failure) {
        if failure.told {
            return;
        }
        match self.format {
            Format::Json => to_stderr(&failure.json()),
            Format::Table | Format::Plain => {
                let text = failure.to_string();
                let head = paint(self.colored(io::stderr().is_terminal()), RED, "error:");
                to_stderr(&text.replacen("error:", &head, 1));
            }
        }
    }

    fn screen(self) -> Screen {
        /// What is assumed of a terminal that does not say how wide it is.
        const WIDTH_UNKNOWN: u16 = 80;
        let terminal = io::stdout().is_terminal();
        let told = || Table::new().width().filter(|&width| width > 0);
        let width = terminal.then(|| told().unwrap_or(WIDTH_UNKNOWN));
        Screen { width, color: self.colored(terminal) }
    }

    fn colored(self, terminal: bool) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
                terminal && unset("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

/// A line to standard error; that nobody reads it is no reason to fail.
fn to_stderr(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Bold red.
pub const RED: &str = "1;31";
/// Bold yellow.
pub const YELLOW: &str = "1;33";
/// Bold green.
pub const GREEN: &str = "1;32";

/// `text` in colour, if so wanted. Colour never says anything that the text does not.
pub fn paint(wanted: bool, color: &str, text: &str) -> String {
    if wanted { format!("\u{1b}[{color}m{text}\u{1b}[0m") } else { text.into() }
}

/// Whether `c` could steer a terminal or turn the text around it: C0, C1, and the bidirectional controls.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` as it may be sent to a terminal: what could steer it is shown instead. Our own line ends stay.
pub fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut all, c| {
        if steers(c) && c != '\n' {
            let _ = write!(all, "{}", c.escape_default());
        } else {
            all.push(c);
        }
        all
    })
}

/// `object` as JSON, in which nothing steers a terminal either.
pub fn json<T: Serialize>(object: &T) -> String {
    let text = serde_json::to_string(object).expect("our objects have text keys and nothing that can fail");
    // Such characters stand in strings only, where this spelling means the same; all are of the basic plane.
    text.chars().fold(String::with_capacity(text.len()), |mut all, c| {
        if steers(c) {
            let _ = write!(all, "\\u{:04x}", u32::from(c));
        } else {
            all.push(c);
        }
        all
    })
}

/// `object`'s fields, in their order, between tabs. Lists and objects inside stay JSON; absent is empty.
pub fn plain<T: Serialize>(object: &T) -> String {
    let fields: Fields = serde_json::from_str(&json(object)).expect("our objects are objects");
    let cells: Vec<String> = fields
        .0
        .iter()
        .map(|value| match serde_json::from_str(value.get()) {
            Ok(Value::Null) => String::new(),
            Ok(Value::String(text)) => escaped(&text.replace('\n', "\\n").replace('\t', "\\t")),
            _ => value.get().to_owned(),
        })
        .collect();
    cells.join("\t")
}

/// The values of an object in the order of its text, which a map would lose.
struct Fields(Vec<Box<RawValue>>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut values = Vec::new();
                while let Some((_, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    values.push(value);
                }
                Ok(Fields(values))
            }
        }
        from.deserialize_map(InOrder)
    }
}

/// Which way a column leans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lean {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table that fits the screen; cells are cut with `…` on a terminal only.
pub fn table(
    screen: Screen,
    columns: &[(&str, Lean)],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_truncation_indicator("…");
    match screen.width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    if columns.iter().any(|(head, _)| !head.is_empty()) {
        table.set_header(columns.iter().map(|(head, _)| *head));
    }
    for cells in rows {
        let mut row = Row::from(cells.iter().map(|cell| escaped(cell).replace('\n', "\\n")));
        row.max_height(1);
        table.add_row(row);
    }
    for (column, (_, lean)) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        column.set_cell_alignment(if *lean == Lean::Right {
            CellAlignment::Right
        } else {
            CellAlignment::Left
        });
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Thing {
        name: &'static str,
        count: u32,
        none: Option<u32>,
        list: [u32; 2],
    }

    const THING: Thing = Thing { name: "a\tb\u{9b}\u{202e}\n", count: 2, none: None, list: [1, 2] };

    #[test]
    fn foreign_text_cannot_steer_a_terminal_in_any_form() {
        assert_eq!(escaped("a\u{1b}[2J\u{7f}\u{9b}\u{2066}é🍎"), "a\\u{1b}[2J\\u{7f}\\u{9b}\\u{2066}é🍎");
        assert_eq!(json(&THING), r#"{"name":"a\tb\u009b\u202e\n","count":2,"none":null,"list":[1,2]}"#);
        assert_eq!(plain(&THING), "a\\tb\\u{9b}\\u{202e}\\n\t2\t\t[1,2]");
        let back: Value = serde_json::from_str(&json(&THING)).unwrap();
        assert_eq!(back["name"], THING.name);
    }

    #[test]
    fn a_table_is_cut_on_a_terminal_only() {
        let columns = [("NAME", Lean::Left), ("N", Lean::Right)];
        let rows = || vec![vec!["a\nb".to_owned(), "1".to_owned()], vec!["x".repeat(30), "22".to_owned()]];
        let wide = table(Screen { width: None, color: false }, &columns, rows());
        assert_eq!(wide.lines().nth(2).unwrap(), format!("{}  22", "x".repeat(30)));
        assert_eq!(wide.lines().nth(1).unwrap(), format!("{:30}   1", "a\\nb"));
        let narrow = table(Screen { width: Some(20), color: false }, &columns, rows());
        assert!(narrow.contains('…') && narrow.lines().all(|line| line.chars().count() <= 20), "{narrow}");
    }
}
