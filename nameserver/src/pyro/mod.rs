//! Pyro's door: stock Pyro 4 and 5 programs use our names on our port, and every Pyro tool looks into our system.
//!
//! # What it promises
//! A Python program that finds its name server by `locate_ns`, by a proxy on `PYRONAME:` or `PYROMETA:`, or is `pyro5-nsc`
//! itself, works here unchanged; it catches the exceptions it always caught, with the sentences it always read. Its
//! names and ours are one name space. Where Pyro's own name server freezes, closes without a word, forgets at a
//! restart or keeps the dead, this one does not.
//!
//! No bytes from a client end the process, take its stack, grow its memory without bound or make others wait.
//!
//! # Reading order
//! - [`frame`]: the two headers; [`value`]: what is between them, in any of the serializers [`serpent`], [`json`],
//!   [`msgpack`], which [`mod@format`] puts behind one door; [`uri`]; [`refusal`]: exceptions;
//! - [`conversation`]: greeting, calls, batches, pings: bytes in, turns out; [`arguments`] binds them as Python does,
//!   [`name_server`] tells what they ask for; [`answer`] is written piece by piece;
//! - [`view`]: a record of ours as Pyro sees it; [`pattern`]: Python's regular expressions;
//! - `session`: the one shell: sockets and time; `desk` carries calls out, over the shelf and the writer;
//!   `discovery` answers broadcasts.
//!
//! # Where it comes from
//! Pyro (Irmen de Jong): the formats and sentences are those of Pyro5 5.17 and Pyro4 4.82 and of serpent 1.43, read in
//! their sources and in their traffic. Left out on purpose: marshal, pickle, dill and cloudpickle (refused with the
//! reason, never parsed: reading them runs code, or depends on a Python's version), item streams, blobs, objects of
//! users, the HTTP gateway.

pub mod answer;
pub mod arguments;
pub mod conversation;
mod desk;
pub(crate) mod discovery;
pub mod format;
pub mod frame;
pub mod json;
pub mod msgpack;
pub mod name_server;
pub mod pattern;
pub mod refusal;
pub mod serpent;
mod session;
#[cfg(feature = "fuzz")]
pub mod targets;
pub mod uri;
pub mod value;
pub mod view;

pub(crate) use session::{House, door};
