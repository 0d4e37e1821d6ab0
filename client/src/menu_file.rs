//! `menu load`: a menu from a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use common::services::just_hungry::command::Product;
use common::services::just_hungry::menu_file::products;

use crate::errors::{self, Code, Failure};

/// Sixteen times what a menu can be when it is sent: whoever names the wrong file is told, and not read to its end.
const BYTES_MAX: u64 = 1024 * 1024;

/// As many bad rows as help to see what is wrong.
const BAD_ROWS_SHOWN: usize = 10;

/// Reads the products of a file; `-` is standard input.
///
/// # Errors
/// When it cannot be read, or a row is bad: the first of them are told, with their lines.
pub(crate) fn read(path: &Path) -> Result<Vec<Product>, Failure> {
    let opened: io::Result<Box<dyn Read>> = if path.as_os_str() == "-" {
        Ok(Box::new(io::stdin()))
    } else {
        File::open(path).map(|file| Box::new(file) as _)
    };
    let mut bytes = Vec::new();
    let all = opened.and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes));
    all.map_err(|error| errors::file(path, &error))?;
    if bytes.len() as u64 > BYTES_MAX {
        let large = io::Error::new(io::ErrorKind::FileTooLarge, format!("over {BYTES_MAX} bytes: no menu"));
        return Err(errors::file(path, &large));
    }
    products(&bytes).map_err(|bad| {
        let (count, shown) = (bad.len(), bad.iter().take(BAD_ROWS_SHOWN).cloned().collect::<Vec<_>>());
        let message = format!("{}: nothing was loaded: {}", path.display(), shown.join("; "));
        Failure::new(Code::BadRows, message)
            .hint("name,price,stock as the first line; then rows like Bread,2.25,4 or Fries,2.50,unlimited")
            .field("bad", count)
    })
}
