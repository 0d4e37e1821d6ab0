//! Who a browser is: cookies, no state of ours. `user` is the user code, which keeps people apart and is no
//! authentication; `visit` is a random word that each form repeats, which no page from elsewhere can read.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use common::services::user_code::UserCode;
use url::form_urlencoded;

/// Long enough to come back to one's orders.
const YEAR_SECONDS: u32 = 365 * 24 * 3600;
/// 128 random bits in hexadecimal digits.
const VISIT_CHARS: usize = 32;

/// The browser that asks.
#[derive(Clone, Debug)]
pub(super) struct Visitor(Arc<Known>);

#[derive(Debug)]
struct Known {
    user: UserCode,
    visit: String,
    /// Whether the browser has not sent them itself, and is told to keep them.
    is_new: bool,
}

impl Visitor {
    /// The visitor of these headers; who lacks a cookie is given one, and a user code of chance.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let user = cookie(headers, "user").and_then(|code| UserCode::read(&decoded(&code)).ok());
        let visit = cookie(headers, "visit").filter(|visit| is_visit(visit));
        let is_new = user.is_none() || visit.is_none();
        let user = user.unwrap_or_else(guest);
        let visit = visit.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
        Self(Arc::new(Known { user, visit, is_new }))
    }

    /// The user code.
    pub(super) fn user(&self) -> &str {
        self.0.user.as_str()
    }

    /// What each form repeats.
    pub(super) fn visit(&self) -> &str {
        &self.0.visit
    }

    /// Whether a form with this word was drawn for this browser.
    pub(super) fn drew(&self, word: &str) -> bool {
        !self.0.is_new && word == self.0.visit
    }

    /// The cookies that the browser is told to keep, if it does not have them.
    pub(super) fn new_cookies(&self) -> Vec<HeaderValue> {
        if self.0.is_new { vec![kept("visit", &self.0.visit), user_cookie(&self.0.user)] } else { vec![] }
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        // The guard has put it there.
        parts.extensions.get().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// What makes a browser this user's.
pub(super) fn user_cookie(user: &UserCode) -> HeaderValue {
    kept("user", &form_urlencoded::byte_serialize(user.as_str().as_bytes()).collect::<String>())
}

/// A cookie that is kept for a year.
pub(super) fn kept(name: &str, value: &str) -> HeaderValue {
    let text = format!("{name}={value}; Path=/; Max-Age={YEAR_SECONDS}; HttpOnly; SameSite=Strict");
    HeaderValue::from_str(&text).expect("both values are of letters, digits and % only")
}

/// The value of a cookie.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

fn decoded(value: &str) -> String {
    form_urlencoded::parse(format!("={value}").as_bytes()).map(|(_, value)| value.into_owned()).collect()
}

fn is_visit(text: &str) -> bool {
    text.len() == VISIT_CHARS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Somebody who has not said who they are.
fn guest() -> UserCode {
    UserCode::read(&format!("guest-{:08x}", rand::random::<u32>())).expect("it is a short word")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookies: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(cookies).unwrap())])
    }

    #[test]
    fn a_user_code_of_any_text_comes_back_from_its_cookie() {
        for code in ["ann", "a b;c=d,e\"", "Żółć 🍕", "<script>", "%41+", "=;="] {
            let code = UserCode::read(code).unwrap();
            let set = user_cookie(&code).to_str().unwrap().to_owned();
            let pair = set.split("; ").next().unwrap();
            let word = "0123456789abcdef0123456789abcdef";
            let visitor = Visitor::of(&headers(&format!("x=1; {pair}; visit={word}")));
            assert_eq!(visitor.user(), code.as_str());
            assert!(visitor.new_cookies().is_empty() && visitor.drew(word));
        }
    }

    #[test]
    fn whoever_has_no_good_cookies_is_a_guest_whose_forms_do_not_count_yet() {
        for cookies in
            ["", "user=", "user=ann", "user=ann; visit=1", "user=%00; visit=0123456789abcdef0123456789abcdef"]
        {
            let visitor = Visitor::of(&headers(cookies));
            assert_eq!(visitor.new_cookies().len(), 2, "{cookies}");
            assert!(!visitor.drew(visitor.visit()), "{cookies}");
        }
    }
}
