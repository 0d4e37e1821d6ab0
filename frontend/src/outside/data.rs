//! Postcode data: which units of Great Britain are in use, exactly, without any network.
//!
//! The file holds a record for each sector (`DH1 3`), in the order of their bytes: one byte with the length of the
//! sector's text, the text, and 400 bits, one for each pair of the 20 letters that a unit can end in; bit
//! `20 · first + second`, the least significant of a byte first. The whole of Great Britain, 1.7 million units, is
//! 614 KB.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::services::postcode::Postcode;

/// The letters of the inward code, in the order of their bits.
const LETTERS: &[u8; 20] = b"ABDEFGHJLNPQRSTUWXYZ";
/// One bit for each pair of them.
const BITMAP: usize = LETTERS.len() * LETTERS.len() / 8;
/// Several times all of Great Britain; no file that is larger is postcode data.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The units in use, by sector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostcodeData {
    sectors: BTreeMap<String, [u8; BITMAP]>,
}

/// Why a file is no postcode data.
#[derive(Debug, thiserror::Error)]
#[error("postcode data {}: {why}\n  try: frontend postcode-data build DIR -o FILE", .path.display())]
pub struct BadFile {
    path: PathBuf,
    why: Why,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error(transparent)]
    Io(io::Error),
    #[error(transparent)]
    Damaged(Damaged),
}

/// Where and how bytes are no postcode data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged at byte {offset}: {why}")]
pub(super) struct Damaged {
    offset: usize,
    why: &'static str,
}

impl PostcodeData {
    /// Reads a file and checks all of it.
    ///
    /// # Errors
    /// [`BadFile`], with the place that is wrong.
    pub fn open(path: &Path) -> Result<Self, BadFile> {
        let bad = |why| BadFile { path: path.to_owned(), why };
        let read = || {
            if fs::metadata(path)?.len() > FILE_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "over 4 MiB"));
            }
            fs::read(path)
        };
        let bytes = read().map_err(|error| bad(Why::Io(error)))?;
        Self::from_bytes(&bytes).map_err(|damaged| bad(Why::Damaged(damaged)))
    }

    /// Reads what [`PostcodeData::to_bytes`] wrote.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut sectors = BTreeMap::new();
        let mut rest = bytes;
        while let Some((&length, after)) = rest.split_first() {
            let damaged = |why| Damaged { offset: bytes.len() - rest.len(), why };
            let (sector, after) =
                after.split_at_checked(length.into()).ok_or(damaged("the file ends in a sector"))?;
            let (bits, after) =
                after.split_first_chunk().ok_or(damaged("the file ends in a sector's units"))?;
            let sector = std::str::from_utf8(sector).ok().filter(|text| is_sector(text));
            let sector = sector.ok_or(damaged("no sector of an area that there is"))?;
            if sectors.last_key_value().is_some_and(|(before, _): (&String, _)| before.as_str() >= sector) {
                return Err(damaged("the sectors are not in order"));
            }
            sectors.insert(sector.to_owned(), *bits);
            rest = after;
        }
        if sectors.is_empty() {
            return Err(Damaged { offset: 0, why: "the file is empty" });
        }
        Ok(Self { sectors })
    }

    /// As a file holds it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (sector, bits) in &self.sectors {
            bytes.push(u8::try_from(sector.len()).expect("a sector has at most six characters"));
            bytes.extend_from_slice(sector.as_bytes());
            bytes.extend_from_slice(bits);
        }
        bytes
    }

    /// Adds a unit.
    pub(super) fn insert(&mut self, postcode: Postcode) {
        let (sector, byte, mask) = place(&postcode);
        self.sectors.entry(sector.to_owned()).or_insert([0; BITMAP])[byte] |= mask;
    }

    /// Whether this unit is in use.
    pub fn contains(&self, postcode: Postcode) -> bool {
        let (sector, byte, mask) = place(&postcode);
        self.sectors.get(sector).is_some_and(|bits| bits[byte] & mask != 0)
    }

    /// Units in use that are written like this one: two neighbours changed places, or one character is another.
    pub fn near(&self, postcode: Postcode) -> Vec<Postcode> {
        /// More would be a guess.
        const MOST: usize = 3;
        let text = postcode.as_str().replace(' ', "").into_bytes();
        let turned = (1..text.len()).map(|at| {
            let mut other = text.clone();
            other.swap(at - 1, at);
            other
        });
        // The last characters first: the town is what a person knows best.
        let mistyped = (0..text.len()).rev().flat_map(|at| {
            let text = &text;
            (b'0'..=b'9').chain(b'A'..=b'Z').map(move |c| {
                let mut other = text.clone();
                other[at] = c;
                other
            })
        });
        let candidates = turned.chain(mistyped).filter_map(|text| str::from_utf8(&text).ok()?.parse().ok());
        let mut seen = BTreeSet::new();
        let others = candidates.filter(|&near| near != postcode && self.contains(near));
        others.filter(|&near| seen.insert(near)).take(MOST).collect()
    }

    /// How many sectors there are, and how many units.
    pub fn counts(&self) -> (usize, u32) {
        let units = self.sectors.values().flatten().map(|byte| byte.count_ones()).sum();
        (self.sectors.len(), units)
    }
}

/// Every letter pair fits every sector, so one stands for all.
fn is_sector(text: &str) -> bool {
    let unit = format!("{text}AA");
    unit.parse().is_ok_and(|postcode: Postcode| postcode.as_str() == unit)
}

/// The sector, and where in it the unit's bit is.
fn place(postcode: &Postcode) -> (&str, usize, u8) {
    let (sector, letters) = postcode.as_str().split_at(postcode.as_str().len() - 2);
    let index =
        |letter: u8| LETTERS.iter().position(|&one| one == letter).expect("the grammar has the same letters");
    let [first, second] = [letters.as_bytes()[0], letters.as_bytes()[1]].map(index);
    let bit = LETTERS.len() * first + second;
    (sector, bit / 8, 1 << (bit % 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Postcode {
        text.parse().unwrap()
    }

    fn data(codes: &[&str]) -> PostcodeData {
        let mut data = PostcodeData::default();
        for text in codes {
            data.insert(code(text));
        }
        data
    }

    #[test]
    fn what_is_written_reads_back() {
        let codes = ["DH1 3LE", "DH1 3AA", "DH1 3ZZ", "M1 1AE", "W1A 0AX", "EC1A 1BB"];
        let data = data(&codes);
        let bytes = data.to_bytes();
        assert_eq!(bytes.len(), (1 + 5 + 50) + (1 + 4 + 50) + (1 + 5 + 50) + (1 + 6 + 50));
        assert_eq!(PostcodeData::from_bytes(&bytes), Ok(data.clone()));
        assert!(codes.iter().all(|text| data.contains(code(text))));
        for absent in ["DH1 3LG", "DH1 4LE", "M1 1AA", "AB1 0AA"] {
            assert!(!data.contains(code(absent)), "{absent}");
        }
        assert_eq!(data.counts(), (4, 6));
    }

    #[test]
    fn the_bits_lie_where_the_format_says() {
        // A is letter 0, E is letter 3, L is letter 8: bit 163 is bit 3 of byte 20.
        let bytes = data(&["DH1 3LE"]).to_bytes();
        assert_eq!(&bytes[..6], b"\x05DH1 3");
        let set: Vec<_> = (6..56).filter(|&at| bytes[at] != 0).map(|at| (at - 6, bytes[at])).collect();
        assert_eq!(set, [(20, 1 << 3)]);
    }

    #[test]
    fn a_damaged_file_is_refused_with_the_place() {
        let good = data(&["DH1 3LE", "M1 1AE"]).to_bytes();
        let damaged = |offset, why| Err(Damaged { offset, why });
        for end in 1..good.len() {
            assert_eq!(PostcodeData::from_bytes(&good[..end]).is_ok(), end == 56, "cut at {end}");
        }
        assert_eq!(PostcodeData::from_bytes(b""), damaged(0, "the file is empty"));
        let swapped = [&good[56..], &good[..56]].concat();
        assert_eq!(PostcodeData::from_bytes(&swapped), damaged(55, "the sectors are not in order"));
        let twice = [&good[..56], &good[..56]].concat();
        assert_eq!(PostcodeData::from_bytes(&twice), damaged(56, "the sectors are not in order"));
        for (at, byte) in [(0, 4), (0, 6), (0, 0), (1, b'Q'), (2, b'Q'), (5, b'A'), (1, 0xFF)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(PostcodeData::from_bytes(&bad).is_err(), "byte {at} is {byte}");
        }
    }

    #[test]
    fn a_code_that_was_mistyped_is_told_what_it_may_have_been() {
        let data = data(&["DH1 3LE", "DH1 3LG", "DH1 3EL", "DH2 3LE", "M1 1AE"]);
        let near = |text| data.near(code(text)).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(near("DH1 3LF"), ["DH1 3LE", "DH1 3LG"]);
        assert_eq!(near("DH1 3LE"), ["DH1 3EL", "DH1 3LG", "DH2 3LE"]);
        assert!(near("SW1A 0AA").is_empty());
    }
}
