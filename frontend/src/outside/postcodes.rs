//! Whether a postcode is in use: five answers, from whoever can tell.
//!
//! The order of work: what was found out lately, postcodes.io, getthedata.com, our own data. A "no" of postcodes.io is
//! final; only its absence leads to the next one. Nobody's word is an answer too, and an order may go with it.
//! (`malformed` is said before all of this, by whoever reads the text: it is no [`Postcode`].)

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::clock::{Clock, Moment, Timestamp};
use common::services::just_hungry::checked::{Checked, Doubt, Finding};
use common::services::just_hungry::command::Source;
use common::services::postcode::Postcode;
use tracing::{trace, warn};
use url::Url;

use super::api::{Api, Manners};
use super::cache::Cache;
use super::data::PostcodeData;
use super::web::Web;
use super::{getthedata, postcodes_io};
use crate::meters;

/// Two calls. A person who orders may be asked to wait that long, once.
const CHECK_TIME: Duration = Duration::from_secs(3);

/// Both services are free, and asked accordingly; whoever stands behind 256 others would wait in vain.
const MANNERS: Manners = Manners { call_time: Duration::from_millis(1500), calls_max: 16, waiting_max: 256 };

/// Finds out about postcodes.
#[derive(Debug)]
pub struct Postcodes<W> {
    clock: Clock,
    web: Option<Services<W>>,
    data: Option<PostcodeData>,
    cache: RefCell<Cache<Postcode, Checked>>,
    /// Whether it was said that postcodes.io's grammar is not ours.
    disagreed: Cell<bool>,
}

#[derive(Debug)]
struct Services<W> {
    postcodes_io: Api<W>,
    getthedata: Api<W>,
}

/// What a web service says, if it says anything.
struct Said {
    finding: Finding,
    source: Source,
    town: Option<String>,
}

impl<W: Web> Postcodes<W> {
    /// Asks no web service: what is not in `data` is `unconfirmed`, never `unknown`.
    pub fn offline(data: Option<PostcodeData>) -> Self {
        let (clock, cache) = (Clock::start(), RefCell::default());
        Self { clock, web: None, data, cache, disagreed: Cell::new(false) }
    }

    /// Asks the web services at these addresses, and looks into `data` when they cannot say.
    pub fn asking(web: W, postcodes_io: Url, getthedata: Url, data: Option<PostcodeData>) -> Self {
        let (web, offline) = (Rc::new(web), Self::offline(data));
        let api = |name, base| Api::new(name, base, MANNERS, Rc::clone(&web), offline.clock);
        let services = Services {
            postcodes_io: api("postcodes.io", postcodes_io),
            getthedata: api("getthedata", getthedata),
        };
        Self { web: Some(services), ..offline }
    }

    /// What is known of `postcode` at `now`, found out within `time`.
    pub async fn check(&self, postcode: Postcode, now: Timestamp, time: Duration) -> Checked {
        if let Some(known) = self.cache.borrow().get(self.clock.now(), &postcode) {
            meters::answered_from_memory(known.source.as_str(), 1);
            return known.clone();
        }
        let said = match &self.web {
            Some(web) => self.ask(web, postcode, time.min(CHECK_TIME)).await,
            None => None,
        };
        let in_data = || self.data.as_ref().is_some_and(|data| data.contains(postcode));
        let checked = match said {
            Some(Said { finding, source, town }) => Checked { postcode, finding, source, town, checked: now },
            None if in_data() => {
                let (finding, source) = (Finding::Valid, Source::Offline);
                Checked { postcode, finding, source, town: None, checked: now }
            }
            None => {
                let doubt = if self.web.is_some() { Doubt::NobodyKnew } else { Doubt::NobodyAsked };
                Checked::unconfirmed(postcode, doubt, now)
            }
        };
        trace!(%postcode, answer = checked.answer(), source = %checked.source, "a postcode was checked");
        if let Some(time) = kept_for(&checked.finding) {
            self.cache.borrow_mut().put(self.clock.now(), time, postcode, checked.clone());
        }
        checked
    }

    async fn ask(&self, web: &Services<W>, postcode: Postcode, time: Duration) -> Option<Said> {
        let begun = self.clock.now();
        // So that the second has as long as the first, also when our caller has little time.
        if let Some(said) = self.ask_postcodes_io(&web.postcodes_io, postcode, begun + time / 2).await {
            return Some(said);
        }
        let url = web.getthedata.url(&["postcode", postcode.as_str()]);
        let said = web.getthedata.ask(&url, begun + time, |page| getthedata::read(page, postcode)).await?;
        let finding = match said {
            getthedata::Said::Valid => Finding::Valid,
            getthedata::Said::Retired => Finding::Retired { since: None },
            getthedata::Said::NotConfirmed => return None,
        };
        Some(Said { finding, source: Source::GetTheData, town: None })
    }

    async fn ask_postcodes_io(&self, api: &Api<W>, postcode: Postcode, deadline: Moment) -> Option<Said> {
        let url = api.url(&["postcodes", postcode.as_str()]);
        let said = api.ask(&url, deadline, |page| postcodes_io::read(page, postcode)).await?;
        let near = || self.data.as_ref().map(|data| data.near(postcode)).unwrap_or_default();
        let (finding, town) = match said {
            postcodes_io::Said::Valid { town } => (Finding::Valid, town),
            postcodes_io::Said::Unknown => (Finding::Unknown { near: near() }, None),
            postcodes_io::Said::Malformed => {
                if !self.disagreed.replace(true) {
                    let outcode = postcode.outcode();
                    warn!(api = "postcodes.io", outcode, "a postcode of our grammar is none of theirs");
                }
                (Finding::Unknown { near: near() }, None)
            }
            postcodes_io::Said::Retired { since } => (Finding::Retired { since }, None),
        };
        Some(Said { finding, source: Source::PostcodesIo, town })
    }
}

/// For how long a finding is believed; "nobody could say" is none.
fn kept_for(finding: &Finding) -> Option<Duration> {
    /// A postcode in use is in use tomorrow.
    const VALID: Duration = Duration::from_hours(24);
    /// A new street may be known an hour from now.
    const REFUSED: Duration = Duration::from_hours(1);
    match finding {
        Finding::Valid => Some(VALID),
        Finding::Unknown { .. } | Finding::Retired { .. } => Some(REFUSED),
        Finding::Unconfirmed { .. } => None,
    }
}

#[cfg(test)]
mod tests;
