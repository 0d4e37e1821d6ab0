//! Who led a group before a command and who leads it after it, for somebody who wants to see a fail-over happen (`-v`).

use std::time::Duration;

use common::clock::{Clock, Moment};
use common::directory::Names;
use common::names::{Names as Which, Page, Query};
use common::replication::{GroupConfig, GroupName, ReplicaId};
use common::rpc::limits::NAME_SERVICE;
use common::rpc::transport::within;

use crate::output::Output;

/// What is said beside a result may not hold it up for longer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Who led, and since when a command is under way.
pub(crate) struct Leaders(Option<(GroupConfig, Clock, Moment)>);

impl Leaders {
    /// Looks before a command; nobody who does not want to know waits for it.
    pub(crate) async fn before(names: &Names, service: &str, output: Output) -> Self {
        if !output.is_verbose() {
            return Self(None);
        }
        let clock = Clock::start();
        let group: GroupName = service.parse().expect("a service of ours has a good name");
        Self(config(names, group).await.map(|config| (config, clock, clock.now())))
    }

    /// Looks again, and tells of a change.
    pub(crate) async fn after(self, names: &Names, output: Output) {
        let Some((before, clock, begun)) = self.0 else { return };
        let took = clock.now().since(begun);
        if let Some(after) =
            config(names, before.group.clone()).await.filter(|after| after.epoch != before.epoch)
        {
            let [old, new] = named(names, &before.group, [before.primary.id, after.primary.id]).await;
            output.detail(&format!("{old} did not answer; {new} took over, {:.2} s", took.as_secs_f64()));
        }
    }
}

async fn config(names: &Names, group: GroupName) -> Option<GroupConfig> {
    match names.read_group(group, None, PATIENCE).await {
        Ok(Some(config)) => config.passive(),
        _ => None,
    }
}

/// What the replicas are called; one whose name is gone is told by its disk.
async fn named(names: &Names, group: &GroupName, ids: [ReplicaId; 2]) -> [String; 2] {
    let query = Query::by_name(Which::Prefix("replica.".into()));
    let page = Page { after: None, limit: 1000 };
    let listed = names.server().list(within(NAME_SERVICE, PATIENCE), query, page).await;
    let records = listed.ok().and_then(Result::ok).map(|listing| listing.value.records).unwrap_or_default();
    ids.map(|id| {
        let tagged = |tag: &str| tag.parse() == Ok(id);
        let of_id = records.iter().find(|one| one.tags.value(&format!("id.{group}")).is_some_and(tagged));
        of_id.map_or_else(|| format!("replica {id}"), |record| record.name.to_string())
    })
}
