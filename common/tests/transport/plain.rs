use std::time::Duration;

use common::names::Address;
use common::rpc::Outcome;
use common::rpc::transport::{CallError, Connection, within};
use tokio::runtime::LocalRuntime;

use crate::house::{ECHO, EchoClient, House, cluster};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_call_is_answered_from_a_local_runtime_and_from_a_threaded_one() {
    let house = House::open();
    let client = house.client();
    let call = async move { client.echo(within(ECHO, SOON), "hello".to_owned()).await };
    let local = LocalRuntime::new().unwrap();
    assert_eq!(local.block_on(call).unwrap(), "hello");
    drop(local);

    let threaded =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let client = house.client();
    // The future of a call is `Send`: it can be spawned.
    let call = threaded.spawn(async move { client.echo(within(ECHO, SOON), "hello".to_owned()).await });
    assert_eq!(threaded.block_on(call).unwrap().unwrap(), "hello");
}

#[tokio::test]
async fn a_connection_tells_when_it_is_gone() {
    let house = House::open();
    let connection = Connection::dial(&Address::from(house.address), ECHO, cluster(), SOON).await.unwrap();
    let client = EchoClient::from(connection.clone());
    assert_eq!(client.echo(within(ECHO, SOON), "hello".to_owned()).await.unwrap(), "hello");
    house.kill();
    connection.closed().await;
    let error = CallError::from(client.echo(within(ECHO, SOON), "hello".to_owned()).await.unwrap_err());
    assert_eq!(error.outcome(), Outcome::NoEffect, "{error}");
}

#[tokio::test]
async fn an_answer_over_the_limit_fails_that_call_alone() {
    let house = House::open();
    let client = house.client();
    let error = CallError::from(client.long(within(ECHO, SOON), 2 << 20).await.unwrap_err());
    assert!(matches!(&error, CallError::Internal { why } if why.contains("1048576 bytes")), "{error:?}");
    assert_eq!(client.long(within(ECHO, SOON), 900_000).await.unwrap().len(), 900_000);
    // And a request over the limit never leaves.
    let error = CallError::from(client.echo(within(ECHO, SOON), "x".repeat(2 << 20)).await.unwrap_err());
    assert_eq!(error, CallError::TooLarge { limit: 1 << 20 });
}

#[tokio::test]
async fn a_panicking_handler_answers_at_once() {
    let house = House::open();
    let client = house.client();
    let error = CallError::from(client.panic(within(ECHO, SOON)).await.unwrap_err());
    assert_eq!(error, CallError::Internal { why: "handler panicked".to_owned() });
    assert_eq!(client.echo(within(ECHO, SOON), "still here".to_owned()).await.unwrap(), "still here");
}
