use counter::{Ask, Readiness};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// The status and body that `request` gets while readiness is `readiness`.
async fn ask(request: &str, readiness: Readiness) -> (u16, String) {
    let (counter, mut asked) = Counter::new(1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, pages(counter, Hosts::ThisMachine, None)));
    let answers = tokio::spawn(async move {
        while let Some(ask) = asked.recv().await {
            // Other asks are dropped: nobody is there.
            if let Ask::Ready(answer) = ask {
                let _ = answer.send(readiness.clone());
            }
        }
    });
    let mut socket = TcpStream::connect(address).await.unwrap();
    // A refusal may come, and the connection go, before everything was sent.
    let _ = socket.write_all(request.as_bytes()).await;
    let mut text = String::new();
    let _ = socket.read_to_string(&mut text).await;
    server.abort();
    answers.abort();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text.split("\r\n\r\n").nth(1).unwrap().to_owned())
}

fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_living_process_says_so_even_when_nothing_serves() {
    let answer = ask(&get("/healthz", "127.0.0.1:8080"), Err("no".to_owned())).await;
    assert_eq!(answer, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn readiness_is_503_and_one_line_why() {
    let why = "just.hungry does not serve: nobody serves just.hungry".to_owned();
    assert_eq!(ask(&get("/readyz", "localhost"), Ok(())).await, (200, "ready\n".to_owned()));
    assert_eq!(ask(&get("/readyz", "[::1]:1"), Err(why.clone())).await, (503, why + "\n"));
}

#[tokio::test]
async fn other_pages_and_other_methods_are_not_there() {
    assert_eq!(ask(&get("/../etc/passwd", "localhost"), Ok(())).await.0, 404);
    for trick in
        ["/%2e%2e/etc/passwd", "//etc/passwd", "/style.css/../../Cargo.toml", "/orders/1/../../x", "/\\x"]
    {
        assert_eq!(ask(&get(trick, "localhost"), Ok(())).await.0, 404, "{trick}");
    }
    let post = "POST /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(ask(post, Ok(())).await.0, 405);
}

#[tokio::test]
async fn t12_a_page_from_elsewhere_cannot_ask_under_its_own_name() {
    for host in ["evil.example", "127.0.0.1.evil.example:8080", "10.0.0.1", ""] {
        assert_eq!(ask(&get("/readyz", host), Ok(())).await.0, 403, "{host}");
    }
}

const WORD: &str = "0123456789abcdef0123456789abcdef";

/// A form to `/cart` from a browser that has its cookies.
fn post(more: &str, body: &str) -> String {
    format!(
        "POST /cart HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: user=ann; visit={WORD}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n{more}\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn t12_a_form_counts_when_a_page_of_ours_drew_it_for_this_browser() {
    let clear = "clear=01997e5c-0000-7000-8000-000000000001";
    let ours = format!("visit={WORD}&{clear}");
    // It passes the guard; and nobody serves.
    assert_eq!(ask(&post("Origin: http://localhost\r\n", &ours), Ok(())).await.0, 503);
    for (more, body, status) in [
        ("Origin: http://evil.example\r\n", &*ours, 403),
        ("Origin: null\r\n", &ours, 403),
        ("Sec-Fetch-Site: cross-site\r\n", &ours, 403),
        ("", clear, 403),
        ("", &*format!("visit={}&{clear}", WORD.replace('0', "1")), 403),
    ] {
        assert_eq!(ask(&post(more, body), Ok(())).await.0, status, "{more}{body}");
    }
    let json = post("", &ours).replace("application/x-www-form-urlencoded", "application/json");
    assert_eq!(ask(&json, Ok(())).await.0, 415);
    let no_cookie = post("", &ours).replace("Cookie", "X-Nothing");
    assert_eq!(ask(&no_cookie, Ok(())).await.0, 403);
}

#[tokio::test]
async fn a_form_has_at_most_64_kib() {
    let long = format!("visit={WORD}&a={}", "x".repeat(BODY_BYTES_MAX));
    assert_eq!(ask(&post("", &long), Ok(())).await.0, 413);
    // Announced by nobody, and just as long.
    let chunked = format!(
        "POST /cart HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: user=ann; visit={WORD}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    );
    assert_eq!(ask(&chunked, Ok(())).await.0, 413);
}

#[tokio::test(start_paused = true)]
async fn a_form_that_never_ends_is_not_waited_for_for_ever() {
    let halted = post("", &format!("visit={WORD}&")).replace("Content-Length: 39", "Content-Length: 40");
    assert_eq!(ask(&halted, Ok(())).await.0, 408);
}

#[tokio::test(start_paused = true)]
async fn half_a_header_is_not_waited_for_for_ever() {
    let (counter, _asked) = Counter::new(1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, pages(counter, Hosts::Any, None)));
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET /healthz HT").await.unwrap();
    let mut left = Vec::new();
    // Virtual time runs on while nobody has anything to do.
    socket.read_to_end(&mut left).await.unwrap();
    server.abort();
}
