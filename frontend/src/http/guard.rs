//! What stands before every page: whose name the browser called us by, where a form comes from, and what the browser
//! is told not to do with what it gets.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use common::pages::names_this_machine;

use super::cookies::Visitor;

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Only who calls us by a name of this machine: no page from elsewhere, whatever its DNS says.
    ThisMachine,
    /// Anybody: the operator opened the address.
    Any,
}

/// On every answer. Nothing is kept, so that "back" asks again and draws a form anew; nothing is framed, sniffed or
/// taken from elsewhere. The referrer policy is what lets a form's own `Origin` through.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Lets a request pass, or refuses it; and gives the visitor to the page behind.
pub(super) async fn guard(hosts: Hosts, mut request: Request, next: Next) -> Response {
    let refused = refusal(hosts, request.method(), request.headers());
    let visitor = Visitor::of(request.headers());
    request.extensions_mut().insert(visitor.clone());
    let mut response = match refused {
        Some(why) => (StatusCode::FORBIDDEN, format!("{why}\n")).into_response(),
        None => next.run(request).await,
    };
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if is_page {
        for cookie in visitor.new_cookies() {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
    response
}

fn refusal(hosts: Hosts, method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(header::HOST).unwrap_or_default();
    if hosts == Hosts::ThisMachine && !names_this_machine(headers) {
        return Some("this page is for this machine: call it by 127.0.0.1 or localhost");
    }
    if method == Method::GET || method == Method::HEAD {
        return None;
    }
    let from_here = match (text(header::ORIGIN), text(HeaderName::from_static("sec-fetch-site"))) {
        (Some(origin), _) => origin.split_once("://").is_some_and(|(_, origin)| origin == host),
        // An old browser, or none: the form's own word decides.
        (None, site) => site.is_none_or(|site| site == "same-origin" || site == "none"),
    };
    (!from_here).then_some("this form comes from another page than ours")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(hosts: Hosts, method: &Method, headers: &[(&'static str, &str)]) -> bool {
        let headers = headers
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        refusal(hosts, method, &headers.collect()).is_none()
    }

    #[test]
    fn only_who_calls_us_by_a_name_of_this_machine_is_answered() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:1", "127.9.9.9", "[::1]:1", "[::1]"] {
            assert!(said(Hosts::ThisMachine, &Method::GET, &[("host", host)]), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:8080", "10.0.0.1", "", "localhost.evil.example"]
        {
            assert!(!said(Hosts::ThisMachine, &Method::GET, &[("host", host)]), "{host}");
            assert!(said(Hosts::Any, &Method::GET, &[("host", host)]), "{host}");
        }
        assert!(!said(Hosts::ThisMachine, &Method::GET, &[]));
    }

    #[test]
    fn a_form_comes_from_a_page_of_ours() {
        let host = ("host", "localhost:8080");
        let post = |more: &[(&'static str, &str)]| {
            [Hosts::ThisMachine, Hosts::Any]
                .map(|hosts| said(hosts, &Method::POST, &[&[host], more].concat()))
        };
        for good in [&[][..], &[("origin", "http://localhost:8080")], &[("sec-fetch-site", "same-origin")]] {
            assert_eq!(post(good), [true, true], "{good:?}");
        }
        for bad in [
            [("origin", "http://evil.example")],
            [("origin", "http://localhost:8081")],
            [("origin", "null")],
            [("origin", "")],
            [("sec-fetch-site", "cross-site")],
            [("sec-fetch-site", "same-site")],
        ] {
            assert_eq!(post(&bad), [false, false], "{bad:?}");
        }
        assert!(said(Hosts::ThisMachine, &Method::GET, &[host, ("origin", "http://evil.example")]));
    }
}
