//! Live configurations of groups: one long poll for each group that somebody looks at.
//!
//! The name server may refuse to tell, because it holds an older configuration than ours: then somebody restored it
//! from an old copy, or emptied it. What is known stays in force; who looks is told, and only a person can mend it.
//! That person first has every process [forget its answers](Groups::forget_answers): one of the lost future must not
//! be read when another configuration of the same version stands.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::backoff::Backoff;
use super::stub::NameServerStub;
use super::{POLL_HOLD, POLL_PATIENCE};
use crate::replication::{ConfigVersion, GroupName};
use crate::rpc::limits::NAME_SERVICE;
use crate::rpc::name_service::{Config, GroupError, NameServiceClient};
use crate::rpc::transport::{CallError, within};

/// The groups that a process looks at. Few: one for each service that it hosts or calls.
pub(super) struct Groups {
    stub: NameServerStub,
    looked_at: Mutex<LookedAt>,
}

#[derive(Default)]
struct LookedAt {
    followed: BTreeMap<GroupName, Followed>,
    /// How often answers were forgotten; one to a question of before is not read.
    forgotten: u64,
}

struct Followed {
    config: watch::Sender<Option<Config>>,
    /// Whether the name server's is older than ours.
    regressed: watch::Sender<bool>,
    /// Keeps it fresh as long as anybody looks.
    task: Option<JoinHandle<()>>,
}

impl Followed {
    fn nothing() -> Self {
        Self { config: watch::Sender::new(None), regressed: watch::Sender::new(false), task: None }
    }
}

impl Groups {
    pub(super) fn new(stub: NameServerStub) -> Arc<Self> {
        Arc::new(Self { stub, looked_at: Mutex::default() })
    }

    /// A live view of the configuration of `group`.
    pub(super) fn view(self: &Arc<Self>, group: GroupName) -> watch::Receiver<Option<Config>> {
        let mut looked_at = self.looked_at();
        let entry = looked_at.followed.entry(group.clone()).or_insert_with(Followed::nothing);
        // Subscribed first, so that a task about to end sees somebody looking.
        let view = entry.config.subscribe();
        if entry.task.as_ref().is_none_or(JoinHandle::is_finished) {
            entry.task = Some(tokio::spawn(Arc::clone(self).follow(group)));
        }
        view
    }

    /// A live view of whether the name server's configuration of `group` is older than the one known here. Only fed
    /// while somebody has a view of the configuration itself.
    pub(super) fn regressed(&self, group: GroupName) -> watch::Receiver<bool> {
        self.looked_at().followed.entry(group).or_insert_with(Followed::nothing).regressed.subscribe()
    }

    /// How often answers were forgotten: to be asked before a question, and given with its answer.
    pub(super) fn forgotten(&self) -> u64 {
        self.looked_at().forgotten
    }

    /// Takes in a configuration, however it came here. An older one than is known changes nothing, nor does the answer
    /// to a question that was asked before answers were forgotten.
    pub(super) fn learn(&self, config: &Config, asked: u64) {
        let looked_at = self.looked_at();
        if asked != looked_at.forgotten {
            return;
        }
        if let Some(followed) = looked_at.followed.get(config.group()) {
            followed.config.send_if_modified(|known| {
                let news = known.as_ref().is_none_or(|known| known.version() < config.version());
                if news {
                    *known = Some(config.clone());
                }
                news
            });
        }
    }

    /// Lets go of the connection. What was asked before is answered to nobody, and views show nothing but what is
    /// asked from now on: so an older configuration than before, if that is what stands.
    pub(super) fn forget_answers(&self) {
        self.stub.hang_up();
        let mut looked_at = self.looked_at();
        looked_at.forgotten += 1;
        for followed in looked_at.followed.values() {
            // Nobody is woken: there is nothing to be seen yet.
            followed.config.send_if_modified(|known| {
                *known = None;
                false
            });
        }
    }

    fn looked_at(&self) -> MutexGuard<'_, LookedAt> {
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for newer configurations, until nobody looks any more.
    async fn follow(self: Arc<Self>, group: GroupName) {
        let server = NameServiceClient::from(self.stub.clone());
        let mut backoff = Backoff::up_to(Backoff::CAP);
        let mut complained = false;
        while self.somebody_looks(&group) {
            let (after, asked) = self.known_version(&group);
            let context = within(NAME_SERVICE, POLL_PATIENCE);
            let error = match server.watch_group(context, group.clone(), after, POLL_HOLD).await {
                Ok(Ok(answer)) => {
                    if let Some(config) = answer.value {
                        self.learn(&config, asked);
                    }
                    self.note_regressed(&group, asked, false);
                    backoff.succeeded();
                    if std::mem::take(&mut complained) {
                        info!(%group, "the name server tells the group's configuration again");
                    }
                    continue;
                }
                Ok(Err(refused)) => {
                    self.note_regressed(&group, asked, matches!(refused, GroupError::Regressed { .. }));
                    if !std::mem::replace(&mut complained, true) {
                        warn!(%group, error = %refused, "the name server does not tell the group's configuration");
                    }
                    CallError::Busy { retry_in: Backoff::CAP }
                }
                Err(error) => CallError::from(error),
            };
            self.stub.wait_after(&error, &mut backoff).await;
        }
    }

    fn note_regressed(&self, group: &GroupName, asked: u64, is: bool) {
        let looked_at = self.looked_at();
        if let Some(followed) = looked_at.followed.get(group).filter(|_| asked == looked_at.forgotten) {
            followed.regressed.send_if_modified(|was| std::mem::replace(was, is) != is);
        }
    }

    /// Whether anybody looks at `group`; else it is forgotten, and its task is no more.
    fn somebody_looks(&self, group: &GroupName) -> bool {
        let mut looked_at = self.looked_at();
        let looks = looked_at.followed.get(group).is_some_and(|followed| !followed.config.is_closed());
        if !looks {
            looked_at.followed.remove(group);
        }
        looks
    }

    /// What to wait for something newer than, and how often answers were forgotten until now.
    fn known_version(&self, group: &GroupName) -> (Option<ConfigVersion>, u64) {
        let looked_at = self.looked_at();
        let known = looked_at.followed.get(group);
        (known.and_then(|known| known.config.borrow().as_ref().map(Config::version)), looked_at.forgotten)
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.looked_at().followed.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::stub::Known;
    use super::*;
    use crate::ids::ClusterId;
    use crate::replication::{BootId, GroupConfig, Member, ReplicaId};

    fn config(version: u64) -> Config {
        let primary = Member { id: ReplicaId::from_u128(1), boot: BootId::from_u128(1) };
        let first = GroupConfig::first(ClusterId::from_bytes([1; 16]), "g".parse().unwrap(), primary, 1);
        Config::Passive(GroupConfig { version: ConfigVersion(version), ..first })
    }

    #[tokio::test]
    async fn what_was_asked_before_answers_were_forgotten_is_not_read_after() {
        // Discard: nobody listens there.
        let servers = Arc::from(["127.0.0.1:9".parse().unwrap()]);
        let groups = Groups::new(NameServerStub::new(servers, "test", Known::nothing()));
        let mut view = groups.view("g".parse().unwrap());
        let before = groups.forgotten();
        groups.learn(&config(3), before);
        assert_eq!(*view.borrow(), Some(config(3)));
        groups.forget_answers();
        assert!(view.borrow_and_update().is_none(), "not even what came and was not looked at yet");
        // It travelled for a while, and is of a future that was lost.
        groups.learn(&config(4), before);
        assert!(view.borrow().is_none());
        groups.learn(&config(2), groups.forgotten());
        assert_eq!(*view.borrow(), Some(config(2)));
    }
}
