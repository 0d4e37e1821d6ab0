//! One call as its client saw it, and how such lines are written and read.

use std::fs::File;
use std::io::{self, BufRead, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use common::replication::{LogPoint, RequestId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// The menu is replaced, which begins a history.
    Menu,
    /// An order.
    Place,
    /// An order is cancelled.
    Cancel,
    /// A linearizable read of the stock.
    Stock,
    /// A linearizable read of one's own orders.
    Orders,
    /// What one replica holds at the end.
    Final,
}

impl Op {
    /// Whether it changes something.
    pub const fn is_command(self) -> bool {
        matches!(self, Self::Menu | Self::Place | Self::Cancel)
    }
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Which client.
    pub client: u32,
    /// Through whom: a front end's or a replica's name.
    pub session: String,
    /// What was asked for.
    pub op: Op,
    /// The command's id; none for a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RequestId>,
    /// The command, or query, itself.
    pub args: Value,
    /// When it was first sent, in nanoseconds of the clients' monotonic clock.
    pub begin: u64,
    /// When its last try ended; none while nobody knows.
    pub end: Option<u64>,
    /// Answered; surely without effect; unknown.
    pub ok: Option<bool>,
    /// `{"at": place in the log, "said": reply or answer}` when answered; else why not.
    #[serde(default)]
    pub answer: Value,
}

impl Line {
    /// A call that has begun.
    ///
    /// # Panics
    /// When `args` is nothing that JSON can hold.
    pub fn begun(
        client: u32,
        session: &str,
        op: Op,
        id: Option<RequestId>,
        args: &impl Serialize,
        at: u64,
    ) -> Self {
        let args = serde_json::to_value(args).expect("plain data is JSON");
        Self {
            client,
            session: session.into(),
            op,
            id,
            args,
            begin: at,
            end: None,
            ok: None,
            answer: Value::Null,
        }
    }

    /// Takes in its answer.
    ///
    /// # Panics
    /// When `said` is nothing that JSON can hold.
    pub fn answered(&mut self, end: u64, at: LogPoint, said: &impl Serialize) {
        let said = serde_json::to_value(said).expect("plain data is JSON");
        (self.end, self.ok, self.answer) = (Some(end), Some(true), json!({ "at": at, "said": said }));
    }

    /// Takes in that it had no effect.
    pub fn refused(&mut self, end: u64, why: &str) {
        (self.end, self.ok, self.answer) = (Some(end), Some(false), json!({ "why": why }));
    }

    /// Takes in that nobody knows what became of it.
    pub fn lost(&mut self, why: &str) {
        (self.end, self.ok, self.answer) = (None, None, json!({ "why": why }));
    }

    /// Its arguments.
    ///
    /// # Errors
    /// When they are something else.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.args)
    }

    /// Where its answer stands and what it says; `None` when there is none.
    ///
    /// # Errors
    /// When the answer is something else.
    pub fn answer<T: DeserializeOwned>(&self) -> Result<Option<(LogPoint, T)>, serde_json::Error> {
        if self.ok != Some(true) {
            return Ok(None);
        }
        Ok(Some((LogPoint::deserialize(&self.answer["at"])?, T::deserialize(&self.answer["said"])?)))
    }
}

/// Where concurrent clients write their lines, each when it is over.
#[derive(Clone)]
pub struct Recorder(Arc<Mutex<Written>>);

struct Written {
    lines: Vec<Line>,
    file: Option<BufWriter<Box<dyn Write + Send>>>,
}

impl Recorder {
    /// Keeps the lines in memory.
    pub fn in_memory() -> Self {
        Self(Arc::new(Mutex::new(Written { lines: Vec::new(), file: None })))
    }

    /// Keeps the lines, and writes them to a new file.
    ///
    /// # Errors
    /// When that cannot be made.
    pub fn to_file(path: &Path) -> io::Result<Self> {
        let file: Box<dyn Write + Send> = Box::new(File::create(path)?);
        Ok(Self(Arc::new(Mutex::new(Written { lines: Vec::new(), file: Some(BufWriter::new(file)) }))))
    }

    /// Takes in one line.
    ///
    /// # Panics
    /// When the file takes no more: a history with holes would be judged wrongly.
    pub fn write(&self, line: Line) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &mut written.file {
            serde_json::to_writer(&mut *file, &line).expect("the history's file takes it");
            file.write_all(b"\n").expect("the history's file takes it");
        }
        written.lines.push(line);
    }

    /// All lines so far, in the order in which they were written.
    ///
    /// # Panics
    /// As [`Recorder::write`].
    pub fn lines(&self) -> Vec<Line> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &mut written.file {
            file.flush().expect("the history's file takes it");
        }
        written.lines.clone()
    }
}

/// Reads a history, one line each.
///
/// # Errors
/// When something in it is no line.
pub fn read(from: impl BufRead) -> io::Result<Vec<Line>> {
    from.lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use common::replication::{Epoch, LogIndex};
    use common::services::just_hungry::command::{Command, Reply};
    use common::services::just_hungry::refusal::Refusal;

    use super::*;

    #[test]
    fn lines_of_concurrent_clients_read_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let recorder = Recorder::to_file(&path).unwrap();
        let threads: Vec<_> = (0..4)
            .map(|client| {
                let recorder = recorder.clone();
                std::thread::spawn(move || {
                    for n in 0..50 {
                        let id = RequestId::from_parts(Timestamp::from_millis(n), 0, client.into());
                        let command = Command::CancelOrder { user: "ann".into(), no: 3 };
                        let mut line = Line::begun(client, "frontend.1", Op::Cancel, Some(id), &command, n);
                        match n % 3 {
                            0 => line.answered(
                                n + 1,
                                LogPoint { epoch: Epoch(1), index: LogIndex(n) },
                                &Reply::Refused(Refusal::OrderUnknown { no: 3 }),
                            ),
                            1 => line.refused(n + 1, "draining"),
                            _ => line.lost("no answer"),
                        }
                        recorder.write(line);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let lines = recorder.lines();
        assert_eq!(lines.len(), 200);
        let file = io::BufReader::new(File::open(&path).unwrap());
        assert_eq!(read(file).unwrap(), lines);
        let command: Command = lines[0].args().unwrap();
        assert_eq!(command, Command::CancelOrder { user: "ann".into(), no: 3 });
        let answer = lines.iter().find(|line| line.ok == Some(true)).unwrap().answer::<Reply>();
        assert_eq!(answer.unwrap().unwrap().1, Reply::Refused(Refusal::OrderUnknown { no: 3 }));
        let text = serde_json::to_string(&lines[0]).unwrap();
        assert!(text.starts_with(r#"{"client":"#) && text.contains(r#""op":"cancel","id":""#), "{text}");
    }
}
