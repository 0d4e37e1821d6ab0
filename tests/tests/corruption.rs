//! Damaged files: what is opened is what was made durable, or it is refused.

use std::collections::BTreeMap;

use anyhow::Result;
use rand::Rng as _;

use cluster_tests::faults::damage::{BLOCK_BYTES, HEADER_BYTES, Left, Outcome, Patient, bit, dice};

/// Flips at random places of a file, beside those at chosen ones.
const FLIPS: usize = 300;
/// Pairs of blocks, each copied and each swapped.
const MISPLACED: usize = 50;

/// Runs all, and shows every breach, not only the first.
fn all(what: &str, outcomes: impl IntoIterator<Item = Result<Outcome>>) {
    let (mut counts, mut breaches) = (BTreeMap::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(outcome) => *counts.entry(outcome).or_insert(0) += 1,
            Err(breach) => breaches.push(format!("{breach:#}")),
        }
    }
    println!("{what}: {counts:?}, {} breaches", breaches.len());
    breaches.truncate(20);
    assert!(breaches.is_empty(), "{what}:\n{}", breaches.join("\n"));
}

#[test]
fn a_file_cut_at_any_byte_of_its_last_4_kib_is_refused_or_whole() -> Result<()> {
    for left in [Left::Killed, Left::Stopped] {
        let patient = Patient::new(left, 0)?;
        let length = patient.whole.len();
        all(&format!("cut, {left:?}"), (length - BLOCK_BYTES..length).map(|length| patient.cut(length)));
    }
    Ok(())
}

#[test]
fn a_flipped_bit_of_the_header_is_refused_or_harmless() -> Result<()> {
    for left in [Left::Killed, Left::Stopped] {
        let patient = Patient::new(left, 0)?;
        all(&format!("header, {left:?}"), (0..HEADER_BYTES * 8).map(|bit| patient.flip(bit)));
    }
    Ok(())
}

#[test]
fn a_flipped_bit_of_the_newest_entry_is_refused_or_harmless() -> Result<()> {
    for left in [Left::Killed, Left::Stopped] {
        let patient = Patient::new(left, 0)?;
        let bits = patient.bits_of_last_entry();
        assert!(!bits.is_empty());
        all(&format!("newest entry, {left:?}"), bits.into_iter().map(|bit| patient.flip(bit)));
    }
    Ok(())
}

#[test]
fn a_flipped_bit_anywhere_is_refused_or_harmless() -> Result<()> {
    for left in [Left::Killed, Left::Stopped] {
        let patient = Patient::new(left, 0)?;
        let mut dice = dice(1);
        let flips = (0..FLIPS).map(|_| patient.flip(bit(&mut dice, patient.whole.len())));
        all(&format!("anywhere, {left:?}"), flips);
    }
    Ok(())
}

#[test]
fn a_block_in_anothers_place_or_gone_is_refused_or_harmless() -> Result<()> {
    for left in [Left::Killed, Left::Stopped] {
        let patient = Patient::new(left, 0)?;
        let blocks = patient.written_blocks();
        assert!(blocks.len() > 10 && blocks.len() < patient.blocks(), "{blocks:?}");
        all(&format!("blank, {left:?}"), blocks.iter().map(|block| patient.blank(*block)));
        let mut dice = dice(2);
        let mut pick = || blocks[dice.random_range(0..blocks.len())];
        let pairs: Vec<_> = (0..MISPLACED).map(|_| (pick(), pick())).collect();
        for swapped in [false, true] {
            let outcomes = pairs.iter().map(|(from, to)| patient.misplace(*from, *to, swapped));
            all(&format!("misplaced, swapped: {swapped}, {left:?}"), outcomes);
        }
    }
    Ok(())
}

#[test]
fn an_older_copy_and_another_replicas_file_are_refused() -> Result<()> {
    for left in [Left::Killed, Left::Stopped] {
        let [patient, other] = [Patient::new(left, 0)?, Patient::new(left, 1)?];
        assert_eq!(patient.open(&patient.older)?, Outcome::Refused);
        assert_eq!(patient.open(&other.whole)?, Outcome::Refused);
    }
    Ok(())
}
