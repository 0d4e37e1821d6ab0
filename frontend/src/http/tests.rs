use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// The status and body that `request` gets while readiness is `readiness`.
async fn ask(request: &str, readiness: Readiness) -> (u16, String) {
    let (ready, mut asked) = mpsc::channel::<oneshot::Sender<Readiness>>(1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, pages(ready, Hosts::ThisMachine)));
    let answers = tokio::spawn(async move {
        while let Some(answer) = asked.recv().await {
            let _ = answer.send(readiness.clone());
        }
    });
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
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
    let post = "POST /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(ask(post, Ok(())).await.0, 405);
}

#[tokio::test]
async fn a_page_from_elsewhere_cannot_ask_under_its_own_name() {
    for host in ["evil.example", "127.0.0.1.evil.example:8080", "10.0.0.1", ""] {
        assert_eq!(ask(&get("/readyz", host), Ok(())).await.0, 421, "{host}");
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_header_is_not_waited_for_for_ever() {
    let (ready, _asked) = mpsc::channel(1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, pages(ready, Hosts::Any)));
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET /healthz HT").await.unwrap();
    let mut left = Vec::new();
    // Virtual time runs on while nobody has anything to do.
    socket.read_to_end(&mut left).await.unwrap();
    server.abort();
}
