//! What this is, whose data it uses, and what it does not promise.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::cookies::Visitor;
use super::page::{Page, html, refused};

#[derive(Template)]
#[template(path = "about.html")]
struct About {
    page: Page,
    version: &'static str,
}

/// `GET /about`.
pub(super) async fn about(visitor: Visitor) -> Response {
    let page = Page::new(&visitor, "about", "About");
    html(StatusCode::OK, &About { page, version: env!("CARGO_PKG_VERSION") })
}

/// Whatever is not here.
pub(super) async fn nothing(visitor: Visitor) -> Response {
    refused(&visitor, StatusCode::NOT_FOUND, "There is no such page. The menu is a good place to start.")
}
