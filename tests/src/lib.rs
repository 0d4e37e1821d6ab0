//! What the whole-system tests share: [`source`], the repository as text, for the rules of the house; [`process`] and
//! [`cluster`], the real programs as child processes; [`shop`], customers who order while things go wrong; [`raters`],
//! people who rate meanwhile; [`films`], what each replica knows of films; [`terminal`], a person at one; [`browser`], a
//! person at the web pages; [`hostile`], callers who mean harm; [`fake_apis`], the web services outside the house;
//! [`pyro`], stock Pyro programs; [`fuzz`], damaged bytes for the door they come in by; [`measure`], what
//! `docs/PERFORMANCE.md` tells; [`passive`] and [`gossip`], the engines' cores in worlds of their own.

#[cfg(feature = "processes")]
pub mod browser;
#[cfg(feature = "processes")]
pub mod cluster;
#[cfg(feature = "processes")]
pub mod fake_apis;
#[cfg(feature = "processes")]
pub mod faults;
#[cfg(feature = "processes")]
pub mod films;
#[cfg(feature = "processes")]
pub mod fuzz;
pub mod gossip;
pub mod history;
#[cfg(feature = "processes")]
pub mod hostile;
#[cfg(feature = "processes")]
pub mod load;
#[cfg(feature = "processes")]
pub mod measure;
pub mod passive;
#[cfg(feature = "processes")]
pub mod process;
#[cfg(feature = "processes")]
pub mod pyro;
#[cfg(feature = "processes")]
pub mod raters;
#[cfg(feature = "processes")]
pub mod shop;
pub mod shrink;
#[cfg(feature = "sim")]
pub mod sim;
pub mod source;
pub mod tally;
#[cfg(feature = "processes")]
pub mod terminal;
#[cfg(feature = "processes")]
pub mod trouble;
