//! Serpent: Python literals as text, the language that Pyro programs speak unless told otherwise.
//!
//! A message is UTF-8: a first line `# serpent utf-8 python3.2`, then one literal. Readers of Pyro hand it to
//! `ast.literal_eval`; ours takes what that takes, so that writers of other years and languages (.NET, Java) are
//! understood too:
//!
//! ```text
//! value   = None | True | False | number | text+ | bytes+
//!         | '(' items ')' | '[' items ']' | '{' items '}' | '{' pairs '}'
//! number  = ['+'|'-'] ( decimal | 0x… | 0o… | 0b… | float ), '_' between digits; 1e30000 is infinity
//! text    = ['u'|'r'] ( '…' | "…" | '''…''' | """…""" )
//! escapes = \\ \' \" \a \b \f \n \r \t \v \newline \ooo \xNN \uNNNN \UNNNNNNNN
//! bytes   = 'b' and a quoted text of ASCII
//! ```
//! White space, line breaks and `#` comments may stand between any two tokens; a trailing comma is allowed; an unknown
//! escape keeps its backslash; neighbouring texts join. `()` is the empty tuple, `(v)` is `v` in brackets, `{}` the
//! empty map. Left out on purpose: complex numbers, named characters (`\N{…}`), `set()`, tuples
//! without brackets: no writer of serpent makes them but for the first, and nothing here takes a complex number.
//!
//! The reader goes over the bytes once, without recursion: open brackets are a stack of at most [`super::value::DEPTH_MAX`].

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::read;
pub use write::{HEADER, write, write_text};
