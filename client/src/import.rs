//! Importing lists of films and ratings.

pub mod reader;
