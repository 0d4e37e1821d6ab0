//! What the client remembers from one command to the next: the last user code, per cluster, in the state directory.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use common::ids::ClusterId;
use common::replication;
use serde::{Deserialize, Serialize};

/// What one session file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The last user code.
    pub user: Option<String>,
    /// What was seen of the ratings.
    #[serde(default)]
    pub ratings: replication::Session,
}

/// Where one session stands.
#[derive(Clone, Debug)]
pub struct SessionFile(PathBuf);

/// `$XDG_STATE_HOME/just-hungry`, else `~/.local/state/just-hungry`; `None` for somebody without a home.
pub fn state_directory() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("just-hungry"))
}

impl SessionFile {
    /// That of `cluster` in this state directory.
    pub fn of(state: &Path, cluster: ClusterId) -> Self {
        // A cluster's name may hold a slash; a file's may not.
        let name: String =
            cluster.to_string().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        Self(state.join(format!("session-{name}")))
    }

    /// Reads it; a missing one is empty. A damaged one is put aside, and the note that says so comes beside an empty
    /// session.
    pub fn read(&self) -> (Session, Option<String>) {
        match fs::read(&self.0).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?)) {
            Ok(session) => (session, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Session::default(), None),
            Err(error) => {
                let aside = self.0.with_extension("damaged");
                let moved = fs::rename(&self.0, &aside);
                let what = format!("the session file {} is damaged ({error})", self.0.display());
                let note = match moved {
                    Ok(()) => format!("{what}; it was put aside as {}", aside.display()),
                    Err(error) => format!("{what} and could not be put aside ({error})"),
                };
                (Session::default(), Some(note))
            }
        }
    }

    /// Writes it, whole or not at all, for its owner's eyes only.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, session: &Session) -> io::Result<()> {
        write_whole(&self.0, serde_json::to_string(session).expect("a session is plain data").as_bytes())
    }
}

/// Writes a file of the state directory, whole or not at all, for its owner's eyes only.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    // Two commands at once write two files; the later rename wins.
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file() -> (tempfile::TempDir, SessionFile) {
        let state = tempfile::tempdir().unwrap();
        let file = SessionFile::of(&state.path().join("just-hungry"), "dev/1".parse().unwrap());
        (state, file)
    }

    #[test]
    fn a_session_reads_back_and_only_its_owner_may_read_it() {
        let (_state, file) = file();
        assert_eq!(file.read(), (Session::default(), None));
        let mut session = Session { user: Some("ann, \"the\" 1st".into()), ..Session::default() };
        session.ratings.vector.raise(replication::ReplicaId::from_u128(7), 3);
        file.write(&session).unwrap();
        assert_eq!(file.read(), (session, None));
        assert_eq!(fs::metadata(&file.0).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(file.0.ends_with("just-hungry/session-dev_1"));
    }

    #[test]
    fn a_damaged_session_is_put_aside_and_said_once() {
        let (_state, file) = file();
        file.write(&Session::default()).unwrap();
        for damaged in [&b"{\"user\":"[..], b"{\"user\":\"\xff\"}", b""] {
            fs::write(&file.0, damaged).unwrap();
            let (session, note) = file.read();
            assert_eq!(session, Session::default());
            assert!(note.unwrap().contains("put aside"));
            assert_eq!(file.read(), (Session::default(), None));
            assert_eq!(fs::read(file.0.with_extension("damaged")).unwrap(), damaged);
        }
    }
}
