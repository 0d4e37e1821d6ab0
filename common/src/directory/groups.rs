//! Live configurations of groups: one long poll for each group that somebody looks at.

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
use crate::rpc::name_service::{Config, NameServiceClient};
use crate::rpc::transport::{CallError, within};

/// The groups that a process looks at. Few: one for each service that it hosts or calls.
pub(super) struct Groups {
    stub: NameServerStub,
    followed: Mutex<BTreeMap<GroupName, Followed>>,
}

struct Followed {
    config: watch::Sender<Option<Config>>,
    /// Keeps it fresh as long as anybody looks.
    task: Option<JoinHandle<()>>,
}

impl Groups {
    pub(super) fn new(stub: NameServerStub) -> Arc<Self> {
        Arc::new(Self { stub, followed: Mutex::default() })
    }

    /// A live view of the configuration of `group`.
    pub(super) fn view(self: &Arc<Self>, group: GroupName) -> watch::Receiver<Option<Config>> {
        let mut followed = self.followed();
        let entry = followed
            .entry(group.clone())
            .or_insert_with(|| Followed { config: watch::Sender::new(None), task: None });
        // Subscribed first, so that a task about to end sees somebody looking.
        let view = entry.config.subscribe();
        if entry.task.as_ref().is_none_or(JoinHandle::is_finished) {
            entry.task = Some(tokio::spawn(Arc::clone(self).follow(group)));
        }
        view
    }

    /// Takes in a configuration, however it came here. An older one than is known changes nothing.
    pub(super) fn learn(&self, config: &Config) {
        if let Some(followed) = self.followed().get(config.group()) {
            followed.config.send_if_modified(|known| {
                let news = known.as_ref().is_none_or(|known| known.version() < config.version());
                if news {
                    *known = Some(config.clone());
                }
                news
            });
        }
    }

    fn followed(&self) -> MutexGuard<'_, BTreeMap<GroupName, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for newer configurations, until nobody looks any more.
    async fn follow(self: Arc<Self>, group: GroupName) {
        let server = NameServiceClient::from(self.stub.clone());
        let mut backoff = Backoff::up_to(Backoff::CAP);
        let mut complained = false;
        while self.somebody_looks(&group) {
            let after = self.known_version(&group);
            let context = within(NAME_SERVICE, POLL_PATIENCE);
            let error = match server.watch_group(context, group.clone(), after, POLL_HOLD).await {
                Ok(Ok(answer)) => {
                    if let Some(config) = answer.value {
                        self.learn(&config);
                    }
                    backoff.succeeded();
                    if std::mem::take(&mut complained) {
                        info!(%group, "the name server tells the group's configuration again");
                    }
                    continue;
                }
                Ok(Err(refused)) => {
                    // What is known stays in force; only a person can mend an old copy.
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

    /// Whether anybody looks at `group`; else it is forgotten, and its task is no more.
    fn somebody_looks(&self, group: &GroupName) -> bool {
        let mut followed = self.followed();
        let looks = followed.get(group).is_some_and(|followed| !followed.config.is_closed());
        if !looks {
            followed.remove(group);
        }
        looks
    }

    fn known_version(&self, group: &GroupName) -> Option<ConfigVersion> {
        self.followed().get(group).and_then(|followed| followed.config.borrow().as_ref().map(Config::version))
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.followed().keys()).finish()
    }
}
