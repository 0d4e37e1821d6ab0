//! What the whole-system tests share: [`source`], the repository as text, for the rules of the house; [`process`] and
//! [`cluster`], the real programs as child processes; [`shop`], customers who order while things go wrong; [`hostile`],
//! callers who mean harm; [`fake_apis`], the web services outside the house; [`measure`], what `docs/PERFORMANCE.md` tells; [`passive`], the passive engine's cores in a
//! world of their own.

pub mod cluster;
pub mod fake_apis;
pub mod faults;
pub mod history;
pub mod hostile;
pub mod load;
pub mod measure;
pub mod passive;
pub mod process;
pub mod shop;
#[cfg(feature = "sim")]
pub mod sim;
pub mod source;
pub mod tally;
pub mod trouble;
