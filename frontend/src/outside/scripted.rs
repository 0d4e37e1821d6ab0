//! A world that says what a test wants, in the test's time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use url::Url;

use super::postcodes::Postcodes;
use super::web::{Broken, Page, Web};

/// What a web service does with a question.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// Answers.
    Page(u16, String),
    /// Answers after a while.
    Late(Duration, u16, String),
    /// Takes the question and never answers.
    Hangs,
    /// Refuses the connection, or cuts it.
    Refuses,
}

type Script = Box<dyn Fn(&Url) -> Says>;

/// The web, and what it was asked. Copies are the same world.
#[derive(Clone)]
pub(crate) struct World {
    says: Rc<RefCell<Script>>,
    asked: Rc<RefCell<Vec<String>>>,
}

impl World {
    pub(crate) fn new(says: impl Fn(&Url) -> Says + 'static) -> Self {
        Self { says: Rc::new(RefCell::new(Box::new(says))), asked: Rc::default() }
    }

    /// Nobody is there.
    pub(crate) fn silent() -> Self {
        Self::new(|_| Says::Refuses)
    }

    /// From now on it says this.
    pub(crate) fn change(&self, says: impl Fn(&Url) -> Says + 'static) {
        *self.says.borrow_mut() = Box::new(says);
    }

    /// What was asked since the last look: host, path and query.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.take()
    }

    /// Postcodes of this world, without data of our own.
    pub(crate) fn postcodes(&self) -> Postcodes<Self> {
        let base = |name: &str| format!("https://{name}").parse().unwrap();
        Postcodes::asking(self.clone(), base("postcodes.io"), base("getthedata"), None)
    }
}

impl Web for World {
    async fn get(&self, url: &Url) -> Result<Page, Broken> {
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let host = url.host_str().unwrap_or_default();
        self.asked.borrow_mut().push(format!("{host}{}{query}", url.path()));
        let says = (self.says.borrow())(url);
        match says {
            Says::Page(status, body) => Ok(Page { status, body: body.into() }),
            Says::Late(time, status, body) => {
                tokio::time::sleep(time).await;
                Ok(Page { status, body: body.into() })
            }
            Says::Hangs => std::future::pending().await,
            Says::Refuses => Err(Broken::Connection { why: "refused".to_owned() }),
        }
    }
}
