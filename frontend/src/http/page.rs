//! What all pages share: a frame, and plain words when there is no page.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::cookies::Visitor;
use super::counter::Failed;

/// The frame of a page.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// What it is called.
    pub(super) title: String,
    /// Which entry of the navigation it belongs to.
    pub(super) here: &'static str,
    /// Whose it is.
    pub(super) user: String,
    /// What its forms repeat.
    pub(super) visit: String,
    /// What is said first, if anything went well or wrong.
    pub(super) notices: Vec<Notice>,
}

/// Something that is said at the top of a page.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    /// The words.
    pub(super) text: String,
    /// Whether something went wrong.
    pub(super) is_error: bool,
    /// The id of the field that is wrong.
    pub(super) field: Option<&'static str>,
}

impl Page {
    /// The frame of the page `title` for this visitor.
    pub(super) fn new(visitor: &Visitor, here: &'static str, title: impl Into<String>) -> Self {
        let (user, visit) = (visitor.user().to_owned(), visitor.visit().to_owned());
        Self { title: title.into(), here, user, visit, notices: vec![] }
    }

    /// The same, with these things said first.
    #[must_use]
    pub(super) fn saying(mut self, notices: impl IntoIterator<Item = Notice>) -> Self {
        self.notices.extend(notices);
        self
    }

    /// What is wrong, for the summary above the form.
    pub(super) fn errors(&self) -> impl Iterator<Item = &Notice> {
        self.notices.iter().filter(|notice| notice.is_error)
    }

    /// What went well.
    pub(super) fn news(&self) -> impl Iterator<Item = &Notice> {
        self.notices.iter().filter(|notice| !notice.is_error)
    }

    /// Its status: whether something went wrong.
    pub(super) fn status(&self) -> StatusCode {
        if self.errors().next().is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }
    }

    /// What is wrong with the field of this id.
    pub(super) fn error_at(&self, id: &str) -> Option<&str> {
        self.errors().find(|notice| notice.field == Some(id)).map(|notice| notice.text.as_str())
    }
}

impl Notice {
    /// Something went well.
    pub(super) fn news(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_error: false, field: None }
    }

    /// Something went wrong.
    pub(super) fn error(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_error: true, field: None }
    }

    /// Something is wrong with the field of this id.
    pub(super) fn at(field: &'static str, text: impl Into<String>) -> Self {
        Self { text: text.into(), is_error: true, field: Some(field) }
    }
}

/// An answer that is a page.
pub(super) fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/html; charset=utf-8");
            (status, [(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(why) => {
            tracing::error!(error = %why, "a page could not be drawn");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The answer to a form that was taken: another page, so that loading it again sends nothing.
pub(super) fn see(place: &str) -> Response {
    let place = HeaderValue::from_str(place).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response()
}

/// Plain words in the place of a page.
#[derive(Template)]
#[template(path = "words.html")]
struct Words<'a> {
    page: Page,
    words: &'a str,
}

/// The page that is shown when there is nothing to show, and why.
pub(super) fn refused(visitor: &Visitor, status: StatusCode, words: &str) -> Response {
    let title = match status {
        StatusCode::NOT_FOUND => "Not here",
        StatusCode::SERVICE_UNAVAILABLE => "Not taking orders right now",
        _ => "That did not work",
    };
    html(status, &Words { page: Page::new(visitor, "", title), words })
}

/// Why a page cannot be shown.
#[derive(Clone, Debug)]
pub(super) struct Problem(Visitor, Failed);

impl Problem {
    /// The problem of this visitor.
    pub(super) fn of(visitor: &Visitor) -> impl FnOnce(Failed) -> Self {
        let visitor = visitor.clone();
        move |failed| Self(visitor, failed)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(visitor, failed) = self;
        let (status, words) = match failed {
            Failed::Away => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Just Hungry is not taking orders right now. Nothing happened: your basket is kept, and so are your \
                 orders. Please try again in a moment.",
            ),
            Failed::Unknown => (
                StatusCode::SERVICE_UNAVAILABLE,
                "That was sent, but no answer came in time. Load the page again to see whether it was done.",
            ),
            Failed::Reused => (
                StatusCode::CONFLICT,
                "That form was used for something else before. Nothing happened this time: go back, load the page \
                 again, and send it from there.",
            ),
            Failed::Expired => (
                StatusCode::CONFLICT,
                "That form is so old that nobody can tell whether it was sent before. Look first, then load the page \
                 again and send it from there.",
            ),
        };
        let mut response = refused(&visitor, status, words);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}
