use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::names::Address;
use common::rpc::Outcome;
use common::rpc::transport::{CallError, Reconnecting, within};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::house::{ECHO, EchoClient, EchoRequest, EchoResponse, House, cluster};

const SOON: Duration = Duration::from_secs(5);

type Client = EchoClient<Reconnecting<EchoRequest, EchoResponse>>;

async fn echo(client: &Client) -> Result<String, CallError> {
    client.echo(within(ECHO, SOON), "hi".to_owned()).await.map_err(CallError::from)
}

async fn until_answered(client: &Client) {
    while let Err(error) = echo(client).await {
        assert_eq!(error.outcome(), Outcome::NoEffect, "{error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An address where nobody listens.
fn nobody() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_server_restarted_between_two_calls_goes_unnoticed() {
    let house = House::open();
    let client = house.client();
    echo(&client).await.unwrap();
    let address = house.kill();
    let _house = House::at(address, 10);
    // The runtime asks for news of its sockets before it sleeps; then the old connection is known to be gone.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(echo(&client).await.unwrap(), "hi");
}

#[tokio::test]
async fn of_a_call_that_was_under_way_in_a_killed_server_the_outcome_is_unknown() {
    let house = House::open();
    let client = house.client();
    let mut begun = house.begun.clone();
    let call = tokio::spawn(async move { client.slow(within(ECHO, SOON), SOON).await });
    begun.wait_for(|begun| *begun == 1).await.unwrap();
    house.kill();
    let error = CallError::from(call.await.unwrap().unwrap_err());
    assert_eq!(error, CallError::ConnectionLost);
}

#[tokio::test]
async fn of_a_hundred_calls_in_a_killed_server_those_that_never_left_are_known() {
    let house = House::open();
    let client = house.client();
    let mut begun = house.begun.clone();
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        calls.spawn(async move { client.slow(within(ECHO, 2 * SOON), SOON).await.map_err(CallError::from) });
    }
    begun.wait_for(|begun| *begun == 48).await.unwrap();
    house.kill();
    let outcomes: Vec<_> =
        calls.join_all().await.into_iter().map(|call| call.unwrap_err().outcome()).collect();
    let unknown = outcomes.iter().filter(|outcome| **outcome == Outcome::Unknown).count();
    assert_eq!((unknown, outcomes.len()), (48, 100));
}

#[tokio::test]
async fn nobody_there_is_told_as_such_and_found_when_somebody_comes() {
    let address = nobody();
    let client: Client = Reconnecting::new(Address::from(address), ECHO, cluster()).into();
    for _ in 0..10 {
        // At the first call, and while the back-off runs.
        let error = echo(&client).await.unwrap_err();
        assert!(matches!(&error, CallError::Unreachable { refused: true, .. }), "{error}");
        assert_eq!(error.to_string(), format!("{address} cannot be reached (connection refused)"));
    }
    let _house = House::at(address, 10);
    until_answered(&client).await;
}

#[tokio::test]
async fn a_stranger_is_told_apart_by_its_own_sentence() {
    let house = House::open();
    let other = "other".parse().unwrap();
    let client: Client = Reconnecting::new(Address::from(house.address), ECHO, other).into();
    let expected = format!("{} says: this is cluster test, you asked for cluster other", house.address);
    assert_eq!(echo(&client).await.unwrap_err(), CallError::Incompatible { why: expected });
}

#[tokio::test]
async fn many_callers_share_one_dial() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    let client: Client = Reconnecting::new(address, ECHO, cluster()).into();
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let client = client.clone();
        // Not answered: the listener accepts, and says nothing.
        calls
            .spawn(async move { client.echo(within(ECHO, Duration::from_millis(100)), String::new()).await });
    }
    let accepted = Arc::new(AtomicUsize::new(0));
    let accepting = tokio::spawn({
        let accepted = accepted.clone();
        async move {
            let mut kept = Vec::new();
            while let Ok(socket) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                kept.push(socket);
            }
        }
    });
    for call in calls.join_all().await {
        assert_eq!(CallError::from(call.unwrap_err()).outcome(), Outcome::NoEffect);
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 1);
    accepting.abort();
}

#[tokio::test]
async fn a_graceful_stop_under_load_loses_no_call() {
    let house = House::open();
    let client = house.client();
    until_answered(&client).await;
    let mut callers = JoinSet::new();
    let answered = Arc::new(AtomicUsize::new(0));
    for caller in 0..40_u64 {
        let (client, answered) = (client.clone(), answered.clone());
        callers.spawn(async move {
            loop {
                let time = Duration::from_millis(caller % 4);
                match client.slow(within(ECHO, SOON), time).await.map_err(CallError::from) {
                    Ok(_) => answered.fetch_add(1, Ordering::Relaxed),
                    Err(error) => return error,
                };
            }
        });
    }
    let mut begun = house.begun.clone();
    begun.wait_for(|begun| *begun > 400).await.unwrap();
    house.stop();
    for error in callers.join_all().await {
        assert_eq!(error.outcome(), Outcome::NoEffect, "{error}");
    }
    let begun = *begun.borrow();
    house.stopped();
    assert_eq!(answered.load(Ordering::Relaxed), begun, "each call that was begun was answered");
}
