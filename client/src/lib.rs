//! The client: a command line, and a handle per service for other programs.
//!
//! A handle ([`just_hungry::JustHungry`]) is made of a name, not of an address. It finds the front ends that are
//! registered under the service's name, and keeps finding them; each command gets its request id before it is first
//! sent and keeps it over every try, so that it is carried out once, whoever dies on the way.
//!
//! Reading order: [`just_hungry`] (what a program can do), [`service`] (how a command gets there, and what follows
//! from each answer), [`errors`] (what a failure tells). Then the command line: [`grammar`] (the words), [`run`]
//! (from words to exit status), `shop` (the commands about food), [`postcode`], [`cluster`] and [`ns`] (those about
//! the servers), [`objects`] and [`output`] (what is printed, in three forms), [`shown`] (food as it is printed),
//! [`session`] (what is remembered), [`import`] (lists of others).
//!
//! Left out on purpose: a cache of answers. A front end answers in less time than a person needs to notice, and what
//! it says is never behind.

pub mod cluster;
pub mod errors;
pub mod grammar;
pub mod import;
pub mod just_hungry;
pub mod ns;
pub mod objects;
pub mod output;
pub mod postcode;
pub mod run;
pub mod service;
pub mod session;
mod shop;
pub mod shown;
