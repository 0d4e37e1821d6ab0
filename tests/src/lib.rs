//! What the whole-system tests share: [`source`], the repository as text, for the rules of the house; and
//! [`cluster`], the real programs as child processes, for everything else.

pub mod source;
