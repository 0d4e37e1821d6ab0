//! What the whole-system tests share: [`source`], the repository as text, for the rules of the house; [`process`] and
//! [`cluster`], the real programs as child processes; [`shop`], customers who order while things go wrong.

pub mod cluster;
pub mod process;
pub mod source;
