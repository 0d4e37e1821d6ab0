//! Scripts: one command a line, from a file or from standard input, over one connection.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::PathBuf;

use tokio::sync::mpsc;

use crate::desk::{Desk, output};
use crate::errors::{self, Code, Failure};
use crate::grammar::{Global, Run};
use crate::output::Ended;

/// A line is a command, and no command is longer than what may be sent.
const LINE_MAX: usize = 64 * 1024;

/// Runs a script: every line as it would run alone, from the first to the first failure, or to the end.
///
/// # Errors
/// The first failure, told already.
pub(crate) async fn run(desk: &Desk, global: Global, script: Run) -> Result<(), Ended> {
    if global.request_id.is_some() {
        let failure = Failure::new(Code::Usage, "--request-id fits exactly one command, and not a script");
        return Err(failure.hint("--request-id on that command's line").into());
    }
    let mut standing = global;
    let mut lines = read(script.file.clone())?;
    let mut first = None;
    while let Some(line) = lines.recv().await {
        let ended = match line {
            Ok(Line { number, text }) => {
                if script.echo {
                    output(&standing).say(&text);
                }
                let ended = desk.line(&text, &mut standing).await;
                ended.map_err(|(output, ended)| (output, number, ended))
            }
            Err((number, failure)) => Err((output(&standing), number, failure.into())),
        };
        match ended {
            Ok(()) => {}
            Err((output, number, Ended::Failed(failure))) => {
                let failure = failure.at(format!("{}:{number}", script.file.display()));
                output.failure(&failure);
                let failure = Ended::from(failure.told());
                if !script.keep_going {
                    return Err(failure);
                }
                first.get_or_insert(failure);
            }
            Err((.., ended)) => return Err(ended),
        }
    }
    first.map_or(Ok(()), Err)
}

/// A command, and the number of the line it begins on.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    number: usize,
    text: String,
}

type Next = Result<Line, (usize, Failure)>;

/// Reads the lines of a file, or of standard input, as they come and on a thread of its own: reading waits, and the
/// connections must live meanwhile.
fn read(path: PathBuf) -> Result<mpsc::Receiver<Next>, Failure> {
    let source: Box<dyn Read + Send> = if path.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(&path).map_err(|error| errors::file(&path, &error))?)
    };
    // One line ahead is enough to never wait for the disk.
    let (lines, receiver) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || {
        let mut source = Lines { source: BufReader::new(source), path, number: 0 };
        while let Some(line) = source.next() {
            let fails = line.is_err();
            if lines.blocking_send(line).is_err() || fails {
                break;
            }
        }
    });
    Ok(receiver)
}

struct Lines<R> {
    source: BufReader<R>,
    path: PathBuf,
    number: usize,
}

impl<R: Read> Lines<R> {
    /// The next command, put together from the lines that a backslash at the end continues.
    fn next(&mut self) -> Option<Next> {
        let begun = self.number + 1;
        let mut text = String::new();
        loop {
            let line = match self.line(LINE_MAX - text.len()) {
                Ok(Some(line)) => line,
                Ok(None) if self.number < begun => return None,
                Ok(None) => break,
                Err(failure) => return Some(Err((begun, failure))),
            };
            let backslashes = line.len() - line.trim_end_matches('\\').len();
            // A comment ends with its line, and a backslash may be escaped by another.
            if backslashes % 2 == 0 || line.trim_start().starts_with('#') {
                text.push_str(&line);
                break;
            }
            text.push_str(&line[..line.len() - 1]);
        }
        Some(Ok(Line { number: begun, text }))
    }

    /// One line of the file.
    fn line(&mut self, room: usize) -> Result<Option<String>, Failure> {
        let mut bytes = Vec::new();
        let limit = room as u64 + 1;
        let read = self.source.by_ref().take(limit).read_until(b'\n', &mut bytes);
        if read.map_err(|error| errors::file(&self.path, &error))? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        } else if bytes.len() as u64 == limit {
            let failure = Failure::new(Code::TooLarge, format!("a line has at most {LINE_MAX} bytes"));
            return Err(failure.field("limit", LINE_MAX));
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        String::from_utf8(bytes).map(Some).map_err(|_| errors::invalid("line", "not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<Result<(usize, String), (usize, Code)>> {
        let mut lines = Lines { source: BufReader::new(text), path: PathBuf::from("x"), number: 0 };
        std::iter::from_fn(|| lines.next())
            .map(|line| match line {
                Ok(Line { number, text }) => Ok((number, text)),
                Err((number, failure)) => Err((number, failure.code)),
            })
            .collect()
    }

    #[test]
    fn a_backslash_at_the_end_continues_a_line_and_the_first_line_gives_the_number() {
        let text = b"menu\n\norder place \\\n  --item a \\\r\n  --item b\n# no \\\nlast\\\\\nno end \\";
        let read: Vec<_> = lines(text).into_iter().map(Result::unwrap).collect();
        let wanted = [
            (1, "menu"),
            (2, ""),
            (3, "order place   --item a   --item b"),
            (6, "# no \\"),
            (7, "last\\\\"),
            (8, "no end "),
        ];
        assert_eq!(read, wanted.map(|(number, text)| (number, text.to_owned())));
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn a_line_has_its_bound_however_it_is_continued() {
        let long = [b"x".repeat(LINE_MAX), b"\nmenu\n".to_vec()].concat();
        assert_eq!(lines(&long).len(), 2);
        let longer = [b"x".repeat(LINE_MAX + 1), b"\nmenu\n".to_vec()].concat();
        assert_eq!(lines(&longer)[0], Err((1, Code::TooLarge)));
        let continued = [b"menu\n".to_vec(), b"x\\\n".repeat(LINE_MAX + 1)].concat();
        assert_eq!(lines(&continued)[1], Err((2, Code::TooLarge)));
        assert_eq!(lines(b"menu\n\xff\n")[1], Err((2, Code::Invalid)));
    }
}
