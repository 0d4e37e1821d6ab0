//! The client: a command line, and a handle per service for other programs.
//!
//! A handle ([`just_hungry::JustHungry`], [`movies::Movies`]) is made of a name, not of an address. It finds the front ends that are
//! registered under the service's name, and keeps finding them; each command gets its request id before it is first
//! sent and keeps it over every try, so that it is carried out once, whoever dies on the way.
//!
//! Reading order: [`just_hungry`] (what a program can do), [`service`] (how a command gets there, and what follows
//! from each answer), [`errors`] (what a failure tells). Then the command line: [`grammar`] (the words), [`run`] (the
//! three doors: a command, a script, a person), `desk` (what the commands of one run share), `script`, and `repl` with
//! `ask`, `complete` and `wizard` (how a person is talked with). The commands: `shop` (about food), [`postcode`],
//! `cluster`, [`ns`] and `servers` (about the servers), `local` (about this program). What is printed: [`objects`] and
//! [`output`] (in three forms), [`shown`] (food). What is remembered: [`session`]. Lists of
//! others: [`import`].
//!
//! Left out on purpose: a cache of answers. A front end answers in less time than a person needs to notice, and what
//! it says is never behind.

mod ask;
mod cluster;
mod complete;
mod desk;
pub mod errors;
pub mod grammar;
pub mod import;
pub mod just_hungry;
mod leaders;
mod local;
mod menu_file;
pub mod movies;
pub mod ns;
pub mod objects;
pub mod output;
pub mod postcode;
mod rating;
pub mod ratings;
mod repl;
pub mod run;
mod script;
mod servers;
pub mod service;
pub mod session;
mod shop;
pub mod shown;
mod wizard;
