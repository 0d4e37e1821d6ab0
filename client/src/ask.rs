//! What a person is asked, and what they answer: one line editor for all prompts, on the terminal itself, so that
//! results can go elsewhere.
//!
//! An answer is a line; or Ctrl-C ([`Ended::Interrupted`]), which takes back what is being typed and sends nothing; or
//! Ctrl-D ([`Ended::Left`]), after which nobody will answer any more.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, ready};

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Behavior, CompletionType, Config, Editor};
use tokio::task::JoinHandle;

use crate::complete::{Completing, Known, Words};
use crate::errors::{Code, Failure};
use crate::grammar::Global;
use crate::output::Ended;

/// As many lines as anybody looks back for.
const HISTORY_LINES: usize = 1_000;

/// Asks. Its clones share everything.
#[derive(Clone)]
pub(crate) struct Prompts(Rc<Shared>);

struct Shared {
    /// What can be completed.
    known: Arc<Mutex<Known>>,
    /// Where the history of commands is kept; only the interactive client has one.
    history: RefCell<Option<PathBuf>>,
    reader: Cell<Option<Reader>>,
    /// A question without an answer yet. It outlives whoever asked: a terminal that only gives whole lines cannot be
    /// told to stop.
    reading: RefCell<Option<JoinHandle<(Reader, Answer)>>>,
    left: Cell<bool>,
}

/// A line, or why there is none.
type Answer = Result<String, ReadlineError>;

/// Who reads from the terminal.
enum Reader {
    /// Edits lines.
    Editor(Box<Editor<Words, FileHistory>>),
    /// Takes them as they come: the terminal can do no more.
    Plain,
}

impl Prompts {
    /// Nothing is opened before the first question.
    pub(crate) fn new() -> Self {
        Self(Rc::new(Shared {
            known: Arc::default(),
            history: RefCell::default(),
            reader: Cell::default(),
            reading: RefCell::default(),
            left: Cell::default(),
        }))
    }

    /// Whether somebody is there to be asked.
    pub(crate) fn somebody_is_there(global: &Global) -> bool {
        !global.no_input && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Keeps the commands typed in this file, beginning with those that are there.
    pub(crate) fn keep_history(&self, file: PathBuf) {
        if let Some(directory) = file.parent() {
            // That a history cannot be kept is no reason to say anything.
            let _ = std::fs::create_dir_all(directory);
        }
        self.0.history.replace(Some(file));
    }

    /// Learns what can be completed.
    pub(crate) fn learn(&self, learn: impl FnOnce(&mut Known)) {
        learn(&mut crate::complete::locked(&self.0.known));
    }

    /// Asks for a command.
    pub(crate) async fn command(&self, prompt: &str) -> Result<String, Ended> {
        let line = self.read(prompt, Completing::Commands).await?;
        let mut reader = self.0.reader.take();
        if let (Some(Reader::Editor(editor)), Some(history)) = (&mut reader, &*self.0.history.borrow()) {
            // A line with a leading blank is not kept; nor is it said when none can be.
            if editor.add_history_entry(line.as_str()).unwrap_or(false) {
                let _ = editor.append_history(history);
            }
        }
        self.0.reader.set(reader);
        Ok(line)
    }

    /// Asks for a value, without the blanks around it.
    pub(crate) async fn value(&self, prompt: &str) -> Result<String, Ended> {
        self.read(prompt, Completing::Nothing).await.map(|line| line.trim().to_owned())
    }

    /// Asks for a product of the menu.
    pub(crate) async fn product(&self, prompt: &str) -> Result<String, Ended> {
        self.read(prompt, Completing::Products).await.map(|line| line.trim().to_owned())
    }

    /// Asks a question whose answer is yes or no; `usual` is what Enter alone says.
    pub(crate) async fn yes(&self, question: &str, usual: bool) -> Result<bool, Ended> {
        let choice = if usual { "[Y/n]" } else { "[y/N]" };
        loop {
            let answer = self.value(&format!("{question} {choice} ")).await?;
            match answer.to_lowercase().as_str() {
                "" => return Ok(usual),
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => {
                    let _ = writeln!(io::stderr(), "y or n, please.");
                }
            }
        }
    }

    /// Asks before something that cannot be undone.
    pub(crate) async fn agree(&self, global: &Global, question: &str) -> Result<(), Ended> {
        let refused =
            |message: &str| Failure::new(Code::NeedsYes, message).hint("the same command with --yes");
        if global.yes {
            return Ok(());
        }
        if !Self::somebody_is_there(global) {
            return Err(refused("this needs --yes: nobody is there to be asked").into());
        }
        if self.yes(question, false).await? {
            return Ok(());
        }
        Err(refused("not confirmed; nothing was changed").into())
    }

    /// Reads a line. Whoever drops this loses nothing: the next question gets the answer.
    async fn read(&self, prompt: &str, completing: Completing) -> Result<String, Ended> {
        if self.0.reading.borrow().is_some() {
            show(prompt);
        } else {
            let reader = self.0.reader.take();
            let mut reader = reader.unwrap_or_else(|| self.open());
            let prompt = crate::output::escaped(prompt);
            self.0.reading.replace(Some(tokio::task::spawn_blocking(move || {
                let line = reader.read(&prompt, completing);
                (reader, line)
            })));
        }
        let answered = poll_fn(|context| {
            let mut reading = self.0.reading.borrow_mut();
            let answered = ready!(Pin::new(reading.as_mut().expect("it was put there")).poll(context));
            *reading = None;
            Poll::Ready(answered)
        });
        // A terminal that cannot be read is as good as one where nobody is.
        let (reader, line) = answered.await.map_err(|_| Ended::Left)?;
        self.0.reader.set(Some(reader));
        self.0.left.set(line.as_ref().is_err_and(|error| !matches!(error, ReadlineError::Interrupted)));
        line.map_err(|error| match error {
            ReadlineError::Interrupted => Ended::Interrupted,
            _ => Ended::Left,
        })
    }

    /// Whether a question was answered by leaving.
    pub(crate) fn has_left(&self) -> bool {
        self.0.left.get()
    }

    fn open(&self) -> Reader {
        // The same as our line editor's own opinion.
        let plain = std::env::var("TERM").is_ok_and(|term| ["dumb", "cons25", "emacs"].contains(&&*term));
        let config = Config::builder()
            .auto_add_history(false)
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .behavior(Behavior::PreferTerm)
            // Pasted lines are commands, one after another, as typed ones are.
            .bracketed_paste(false)
            .max_history_size(HISTORY_LINES)
            .map(rustyline::config::Builder::build);
        let editor = config.ok().filter(|_| !plain).and_then(|config| Editor::with_config(config).ok());
        let Some(mut editor) = editor else { return Reader::Plain };
        editor.set_helper(Some(Words::new(Arc::clone(&self.0.known))));
        if let Some(history) = &*self.0.history.borrow() {
            let _ = editor.load_history(history);
        }
        Reader::Editor(Box::new(editor))
    }
}

impl Reader {
    fn read(&mut self, prompt: &str, completing: Completing) -> Answer {
        match self {
            Self::Editor(editor) => {
                if let Some(words) = editor.helper_mut() {
                    words.completing = completing;
                }
                editor.readline(prompt)
            }
            Self::Plain => {
                show(prompt);
                let mut line = String::new();
                match io::stdin().read_line(&mut line)? {
                    0 => Err(ReadlineError::Eof),
                    _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
                }
            }
        }
    }
}

fn show(prompt: &str) {
    let mut stderr = io::stderr();
    let _ = write!(stderr, "{prompt}").and_then(|()| stderr.flush());
}
