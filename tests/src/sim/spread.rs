//! What is seen of the members of the ratings: that none goes back, that those which have applied the same hold the
//! same, and that in the end all have the same.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use common::replication::{ConfigVersion, Digest, GroupName, ReplicaId, VectorTimestamp};
use common::rpc::limits::REPLICA;
use common::rpc::replica::{Consistency, GossipStatus};
use common::rpc::transport::within;
use common::services::encode;
use common::services::ratings::NAME;

use super::raters::{CELLS, Club, seen, view};
use super::watch::{LAST_PATIENCE, Replica};

/// A vector, which has an order only as this.
type Applied = (ConfigVersion, BTreeMap<ReplicaId, u64>);

/// What was seen.
#[derive(Debug, Default)]
pub struct Spread {
    /// The last status of each member, by name, and when.
    latest: RefCell<BTreeMap<String, (Duration, GossipStatus)>>,
    /// Digests by what was applied, and whose each was first.
    digests: RefCell<BTreeMap<Applied, (Digest, String)>>,
}

impl Spread {
    /// Takes in how a member is.
    ///
    /// # Errors
    /// What is wrong with that.
    pub fn take_in(&self, now: Duration, name: &str, status: GossipStatus) -> Result<(), String> {
        let before = self.latest.borrow_mut().insert(name.to_owned(), (now, status.clone()));
        let GossipStatus { applied, digest, members, .. } = status;
        if let Some((_, before)) = before
            && before.member.id == status.member.id
            && !applied.covers(&before.applied, &members)
        {
            return Err(format!("the ratings of {name} went back from {} to {applied}", before.applied));
        }
        let VectorTimestamp { version, seen } = applied;
        let mut digests = self.digests.borrow_mut();
        let (first, who) =
            digests.entry((version, seen.clone())).or_insert_with(|| (digest, name.to_owned()));
        if *first != digest {
            return Err(format!("{name} and {who} hold different ratings at {version} {seen:?}"));
        }
        Ok(())
    }

    /// Whether after `since` all of `count` members had the same, and are all there are.
    pub fn is_equal(&self, since: Duration, count: usize) -> bool {
        let latest = self.latest.borrow();
        let Some((_, first)) = latest.values().next() else { return false };
        let same = |(at, status): &(Duration, GossipStatus)| {
            *at > since
                && status.trouble.is_empty()
                && status.members == first.members
                && status.applied == first.applied
                && status.digest == first.digest
        };
        let active = &first.members.active;
        latest.len() == count
            && active.len() == count
            && first.members.leaving.is_empty()
            && latest.values().all(|entry| same(entry) && active.contains(&entry.1.member.id))
    }

    /// How each of them is, for a person.
    pub fn told(&self) -> Vec<String> {
        let how = |(name, (at, status)): (&String, &(Duration, GossipStatus))| {
            let GossipStatus { applied, members, trouble, .. } = status;
            let (active, leaving) = (&members.active, &members.leaving);
            format!("{name} at {at:.1?}: ratings {applied}, active {active:?}, leaving {leaving:?} {trouble}")
        };
        self.latest.borrow().iter().map(how).collect()
    }
}

/// Writes down what a member holds.
///
/// # Errors
/// When it does not say.
pub async fn last_word(number: usize, replica: &Replica, club: &Club) -> Result<(), String> {
    let group: GroupName = NAME.parse().expect("a good name");
    for cell in 0..CELLS {
        let asked = replica.query(
            within(REPLICA, LAST_PATIENCE),
            group.clone(),
            VectorTimestamp::default(),
            Consistency::Linearizable,
            encode(&view(cell)),
        );
        let answer = asked.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        club.last_word(number, cell, seen(&answer.answer)?);
    }
    Ok(())
}
