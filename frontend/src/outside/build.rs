//! Makes postcode data of the files of Code-Point Open, which the Ordnance Survey gives away.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::services::postcode::Postcode;

use super::data::PostcodeData;

/// Why no data were made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file or directory cannot be used.
    #[error("{}: {why}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// There is nothing to read.
    #[error(
        "no .csv files in {0}\n  try: the directory Data/CSV of Code-Point Open, unpacked",
        dir.display()
    )]
    NoFiles {
        /// Where.
        dir: PathBuf,
    },
    /// A row does not begin with a postcode.
    #[error("{}, line {line}: {why}", .path.display())]
    Row {
        /// In which file.
        path: PathBuf,
        /// In which line of it.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

/// Reads every `.csv` file of `dir` (or of its `Data/CSV`, as Code-Point Open is packed).
///
/// # Errors
/// [`BuildError`], at the first row that is none: half of the data would call good codes unknown.
pub fn read(dir: &Path) -> Result<PostcodeData, BuildError> {
    let packed = dir.join("Data/CSV");
    let dir = if packed.is_dir() { &packed } else { dir };
    let failed = |path: &Path, why| BuildError::Io { path: path.to_owned(), why };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(|why| failed(dir, why))? {
        files.push(entry.map_err(|why| failed(dir, why))?.path());
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")));
    if files.is_empty() {
        return Err(BuildError::NoFiles { dir: dir.to_owned() });
    }
    let mut data = PostcodeData::default();
    for path in files {
        let file = fs::File::open(&path).map_err(|why| failed(&path, why))?;
        let row = |line, why| BuildError::Row { path: path.clone(), line, why };
        rows(file, &mut data).map_err(|(line, why)| row(line, why))?;
    }
    Ok(data)
}

/// Adds the first column of each row. A first line of column names is passed over.
fn rows(file: impl io::Read, data: &mut PostcodeData) -> Result<(), (u64, String)> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
    let mut record = csv::ByteRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => return Err((line, error.to_string())),
        }
        let first = String::from_utf8_lossy(record.get(0).unwrap_or_default()).into_owned();
        match first.parse::<Postcode>() {
            Ok(postcode) => data.insert(postcode),
            Err(_) if line == 1 && first.eq_ignore_ascii_case("postcode") => {}
            Err(why) => return Err((line, format!("{first:?} is no postcode: {why}"))),
        }
    }
}

/// Writes the data to `path`: all of it, or nothing.
///
/// # Errors
/// [`BuildError::Io`].
pub fn write(data: &PostcodeData, path: &Path) -> Result<(), BuildError> {
    let unfinished = path.with_extension("tmp");
    let write = || {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        fs::write(&unfinished, data.to_bytes())?;
        fs::rename(&unfinished, path)
    };
    write().map_err(|why| BuildError::Io { path: path.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_and_without_names_above_them_are_read() {
        let mut data = PostcodeData::default();
        rows(&b"\"AB101AB\",10,394235,806529\n\"M1  1AE\",10\n"[..], &mut data).unwrap();
        rows(&b"Postcode,PQ\r\nDH1 3LE,10\r\n"[..], &mut data).unwrap();
        assert_eq!(data.counts(), (3, 3));
        for text in ["AB10 1AB", "M1 1AE", "DH1 3LE"] {
            assert!(data.contains(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_row_that_is_none_is_named() {
        for bad in ["DH1 3LE,1\nPostcode,1\n", "DH1 3LE,1\nDH1,1\n", "DH1 3LE,1\n,1\n", "DH1 3LE\nBF1 3AD\n"]
        {
            let (line, why) = rows(bad.as_bytes(), &mut PostcodeData::default()).unwrap_err();
            assert_eq!(line, 2, "{why}");
        }
    }
}
