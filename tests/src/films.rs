//! What each replica knows of films, by its own word.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use common::clock::Clock;
use common::ids::ClusterId;
use common::replication::VectorTimestamp;
use common::rpc::limits::REPLICA;
use common::rpc::replica::{Consistency, ReplicaClient};
use common::rpc::transport::{Reconnecting, within};
use common::services::movies::{Answer, Movie, NAME, Query};
use common::services::{decode, encode};

use crate::cluster::Cluster;
use crate::process::PATIENCE;
use crate::shop::run;
use crate::source;

/// All films that the replica at `address` has, by title.
///
/// # Errors
/// When it does not answer.
pub async fn films(address: SocketAddr) -> Result<Vec<Movie>> {
    let replica = ReplicaClient::from(Reconnecting::new(address.into(), REPLICA, ClusterId::UNSTATED));
    let mut all: Vec<Movie> = Vec::new();
    loop {
        let after = all.last().map(Movie::key);
        let query = encode(&Query::List { prefix: String::new(), after, limit: 0 });
        // Whatever it holds: it is compared with the others'.
        let consistency = Consistency::StaleOk { max_age: Duration::from_hours(1) };
        let (context, prev) = (within(REPLICA, PATIENCE), VectorTimestamp::default());
        let asked = replica.query(context, NAME.parse()?, prev, consistency, query);
        let answer = asked.await.map_err(|error| anyhow!("{address}: {error}"))??;
        let Answer::List(page) = decode(&answer.answer)? else { bail!("{address} lists no films") };
        all.extend(page.entries);
        if !page.more {
            return Ok(all);
        }
    }
}

/// The films of the cluster, after a look that every replica that runs has the same.
///
/// # Errors
/// When they differ for longer than [`PATIENCE`].
pub fn films_everywhere(cluster: &Cluster) -> Result<Vec<Movie>> {
    let clock = Clock::start();
    run(async {
        loop {
            let mut all = Vec::new();
            for address in cluster.replica_addresses() {
                all.push(films(address).await?);
            }
            if all.windows(2).all(|two| two[0] == two[1]) {
                return all.pop().ok_or_else(|| anyhow!("no replica runs"));
            }
            let counts: Vec<_> = all.iter().map(Vec::len).collect();
            ensure!(clock.now().since_origin() < PATIENCE, "the replicas differ: {counts:?}");
        }
    })
}

/// The film of this title, if every replica has it, and the same of it.
///
/// # Errors
/// As [`films_everywhere`].
pub fn film_everywhere(cluster: &Cluster, title: &str) -> Result<Option<Movie>> {
    Ok(films_everywhere(cluster)?.into_iter().find(|movie| movie.title == title))
}

/// The sample of MovieLens, which its licence keeps out of this repository: beside it, or where the environment says.
pub fn movielens_sample() -> Option<PathBuf> {
    let beside = || source::top().join("../shared/data");
    let data = std::env::var_os("SHARED_DATA").map_or_else(beside, PathBuf::from);
    Some(data.join("ml-latest-small")).filter(|folder| folder.is_dir())
}
