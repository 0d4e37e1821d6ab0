//! The client at a terminal: a person who waits for what is asked, and answers.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rexpect::ReadUntil;
use rexpect::process::WaitStatus;
use rexpect::reader::Options;
use rexpect::session::{PtySession, spawn_with_options};

use crate::process::{PATIENCE, program};

/// A terminal in which the client runs; gone when dropped.
pub struct Terminal(PtySession);

/// What a terminal is like.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// How wide it is.
    pub columns: u16,
    /// Its environment, beside ours.
    pub environment: &'static [(&'static str, &'static str)],
}

impl Default for Kind {
    fn default() -> Self {
        Self { columns: 100, environment: &[("TERM", "xterm-256color")] }
    }
}

impl Terminal {
    /// Starts the client with these words, and what it remembers in `state`.
    ///
    /// # Errors
    /// When there is no terminal to be had.
    pub fn open(kind: Kind, name_server: &str, state: &Path, words: &[&str]) -> Result<Self> {
        let mut command = Command::new("sh");
        // The terminal is as wide as we say before the client looks.
        let script = format!("stty cols {} rows 40; exec \"$0\" \"$@\"", kind.columns);
        command.args(["-c", &script]).arg(program("client")).args(["-n", name_server]).args(words);
        command.env("XDG_STATE_HOME", state);
        for name in ["CLIENT_USER", "CLIENT_OUTPUT", "NAME_SERVER", "NO_COLOR"] {
            command.env_remove(name);
        }
        command.envs(kind.environment.iter().copied());
        let patience = u64::try_from(PATIENCE.as_millis())?;
        Ok(Self(spawn_with_options(command, Options::new().timeout_ms(Some(patience)))?))
    }

    /// Waits for `text`, and gives what came before it.
    ///
    /// # Errors
    /// When it does not come; with what came instead.
    pub fn expect(&mut self, text: &str) -> Result<String> {
        self.0.exp_string(text).with_context(|| format!("waiting for {text:?}"))
    }

    /// Waits for a question, and answers it.
    ///
    /// # Errors
    /// When it is not asked.
    pub fn answer(&mut self, question: &str, answer: &str) -> Result<String> {
        let before = self.expect(question)?;
        self.line(answer)?;
        Ok(before)
    }

    /// Types a line.
    ///
    /// # Errors
    /// When nobody reads it any more.
    pub fn line(&mut self, text: &str) -> Result<()> {
        self.keys(&format!("{text}\r"))
    }

    /// Presses keys.
    ///
    /// # Errors
    /// When nobody reads them any more.
    pub fn keys(&mut self, keys: &str) -> Result<()> {
        self.0.send(keys)?;
        self.0.flush()?;
        Ok(())
    }

    /// Ctrl and a letter.
    ///
    /// # Errors
    /// When nobody reads it any more.
    pub fn control(&mut self, letter: char) -> Result<()> {
        self.0.send_control(letter)?;
        Ok(())
    }

    /// Waits for `text` or for the end; whether it was the end.
    ///
    /// # Errors
    /// When neither comes.
    pub fn ends_or(&mut self, text: &str) -> Result<bool> {
        let (_, came) = self.0.exp_any(vec![ReadUntil::EOF, ReadUntil::String(text.to_owned())])?;
        Ok(came != text)
    }

    /// Waits for one of two texts; whether it was the first.
    ///
    /// # Errors
    /// When neither comes.
    pub fn comes_first(&mut self, text: &str, other: &str) -> Result<bool> {
        let either = [text, other].map(|text| ReadUntil::String(text.to_owned()));
        Ok(self.0.exp_any(either.into())?.1 == text)
    }

    /// Waits for the end, and gives what came before it and the exit status.
    ///
    /// # Errors
    /// When it does not end, or is killed.
    pub fn end(mut self) -> Result<(String, i32)> {
        let rest = self.0.exp_eof()?;
        match self.0.process().wait()? {
            WaitStatus::Exited(_, status) => Ok((rest, status)),
            other => bail!("{other:?}: {rest}"),
        }
    }
}
