//! How much of anything. Part of what every replica must agree on: a bound that changes is a new snapshot format.

/// More than anybody has catalogued.
pub const MOVIES_MAX: usize = 1_000_000;
/// Twice the longest title there is.
pub const TITLE_CHARS_MAX: u32 = 200;
/// What else a film is called, in its languages.
pub const ALIASES_MAX: usize = 8;
/// A link that still fits on a line or five.
pub const URL_CHARS_MAX: u32 = 500;
/// A page.
pub const DESCRIPTION_CHARS_MAX: u32 = 2_000;
/// The most that MovieLens gives a film is ten.
pub const GENRES_MAX: usize = 20;
/// A word or three.
pub const GENRE_CHARS_MAX: u32 = 32;
/// Films of one import command; ordinary ones fit into a payload.
pub const BATCH_MAX: usize = 100;
/// Keys of one question about them.
pub const KEYS_MAX: usize = 1_000;
/// What a search shows at most: nobody reads on.
pub const HITS_MAX: usize = 50;
/// What is offered instead of a film that was not found, or beside one that was.
pub const NEAR_MAX: usize = 5;
/// Of several films that a title may mean, so many are named; all are counted.
pub const CANDIDATES_MAX: usize = 10;
