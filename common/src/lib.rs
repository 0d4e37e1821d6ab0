//! What two processes must agree on: names, identities, messages, the services' rules; and how a process finds
//! and is found. Nothing enters for convenience.
//!
//! Reading order: [`ids`], [`clock`] and [`machine`], then [`names`] (the registry's vocabulary), [`replication`] (the
//! groups' vocabulary), [`rpc`] (the contracts and the transport below them), [`services`] (the state
//! machines), [`directory`] (the client side of naming). For whoever watches: [`telemetry`], [`meters`], `pages`.

pub mod clock;
pub mod directory;
pub mod ids;
pub mod machine;
pub mod meters;
pub mod names;
#[cfg(feature = "pages")]
pub mod pages;
pub mod replication;
pub mod rpc;
pub mod services;
pub mod telemetry;
