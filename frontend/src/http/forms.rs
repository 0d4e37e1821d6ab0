//! What a browser sends: fields in their order, for a form of this browser's own.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use common::replication::RequestId;
use tokio::time::timeout;
use unicode_normalization::UnicodeNormalization as _;
use url::form_urlencoded;

use super::cookies::Visitor;
use super::page;

/// A body of at most 64 KiB takes no longer over any line worth the name.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The fields of a form, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// The fields of an encoded form, or of an address's query. Texts are normalised: services compare bytes.
    pub(super) fn read(encoded: &[u8]) -> Self {
        // Browsers end lines as CR LF.
        let text = |text: &str| text.replace("\r\n", "\n").nfc().collect::<String>();
        Self(form_urlencoded::parse(encoded).map(|(name, value)| (text(&name), text(&value))).collect())
    }

    /// A form with these fields.
    pub(super) fn of<const N: usize>(fields: [(&str, String); N]) -> Self {
        Self(fields.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// The first field of this name; empty when there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Whether there is a field of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// Every field of this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The request id that the form was drawn with.
    pub(super) fn request(&self) -> Option<RequestId> {
        self.get("request").parse().ok()
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let visitor = request.extensions().get::<Visitor>().cloned();
        let visitor = visitor.ok_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())?;
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_none_or(|kind| !kind.starts_with("application/x-www-form-urlencoded")) {
            return Err(page::refused(&visitor, StatusCode::UNSUPPORTED_MEDIA_TYPE, "A form, please."));
        }
        let body = timeout(BODY_TIME, Bytes::from_request(request, state)).await;
        let body =
            body.map_err(|_| page::refused(&visitor, StatusCode::REQUEST_TIMEOUT, "That took too long."))?;
        let body = body.map_err(|why: BytesRejection| {
            page::refused(&visitor, why.status(), "That form is larger than any of ours.")
        })?;
        let form = Self::read(&body);
        if visitor.drew(form.get("visit")) {
            return Ok(form);
        }
        let why = "This form was not drawn for this browser, or its cookies are gone. Go back to the page, load it \
                   again, and send it from there.";
        Err(page::refused(&visitor, StatusCode::FORBIDDEN, why))
    }
}

/// A text as a part of an address.
pub(super) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_their_text() {
        let form = Form::read("a=1&b=%3Cb%3E+x&a=2&c=e%CC%81%0D%0Ay".as_bytes());
        assert_eq!(form.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((form.get("b"), form.get("c"), form.get("d")), ("<b> x", "é\ny", ""));
        assert!(form.has("a") && !form.has("d"));
    }
}
