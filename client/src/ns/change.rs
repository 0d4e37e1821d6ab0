//! What an operator may change of the registry: put a name there, take one away, have the store copied.

use std::time::Duration;

use common::directory::Names;
use common::ids::InstanceId;
use common::names::{
    AnyName, ContractName, Entry, Expect, Holder, LogicalName, ObjectName, PyroUri, Readiness, Record,
    Sharing, Tags, Target, Tenure, Weight,
};
use common::rpc::limits::{NAME_SERVICE, own_contract};
use common::rpc::name_service::{RegisterError, SnapshotError, StoreError, UpdateError};
use common::rpc::transport::within;
use tarpc::client::RpcError;

use super::{lookup, patiently, print};
use crate::ask::Prompts;
use crate::errors::{self, Code, Failure};
use crate::grammar::Global;
use crate::objects;
use crate::output::{Ended, Output};
use crate::service::no_name_server;

/// What the words of `ns register` describe.
pub(super) fn entry(
    name: &LogicalName,
    address: &str,
    tags: &[String],
    shared: bool,
    contract: Option<String>,
) -> Result<Entry, Failure> {
    let target = if address.starts_with("PYRO") {
        let uri =
            PyroUri::new(address).ok_or_else(|| errors::invalid("address", "a URI has 1 to 1024 bytes"))?;
        Target::Pyro { uri }
    } else {
        let contract = contract.unwrap_or_else(|| own_contract(name.as_str()).name.to_owned());
        let contract =
            ContractName::new(&contract).ok_or_else(|| errors::invalid("contract", "1 to 64 bytes"))?;
        let address = address.parse().map_err(|error| errors::invalid("address", error))?;
        Target::Service { address, object: ObjectName::new("").expect("no object is one"), contract }
    };
    let tags = Tags::new(tags.iter().map(String::as_str)).map_err(|error| errors::invalid("tag", error))?;
    let sharing = if shared { Sharing::Shared } else { Sharing::Exclusive };
    Ok(Entry { sharing, target, tags, readiness: Readiness::Up, weight: Weight::default() })
}

/// Registers for good; or holds the name, under a lease, until it is interrupted.
pub(super) async fn register(
    output: Output,
    names: &Names,
    timeout: Duration,
    name: LogicalName,
    entry: Entry,
    ttl: Option<Duration>,
) -> Result<(), Ended> {
    let Some(ttl) = ttl else {
        let registered = patiently(timeout, async |call| {
            let context = within(NAME_SERVICE, call);
            names
                .server()
                .register(context, Tenure::Permanent, name.clone(), entry.clone(), Expect::Free)
                .await
        });
        match registered.await {
            Ok(done) => drop(done.map_err(|error| refused(&name, &error))?),
            Err(error) => return Err(no_name_server(names, &error).into()),
        }
        return print(output, &lookup(names, timeout, name.as_str()).await?);
    };
    let keeper = names.keep(ttl, InstanceId::random(), None);
    let registered = tokio::time::timeout(timeout, keeper.register(name.clone(), entry)).await;
    let Ok(registered) = registered else {
        let late = Failure::new(Code::NoNameServer, format!("{name} was not registered within {timeout:?}"));
        return Err(late.hint("client ns ping").into());
    };
    registered.map_err(|error| refused(&name, &error))?;
    print(output, &lookup(names, timeout, name.as_str()).await?)?;
    output.note("held until Ctrl-C");
    let mut signals = common::machine::Signals::listen()
        .map_err(|error| Failure::new(Code::Internal, format!("signals cannot be caught: {error}")))?;
    signals.next().await;
    keeper.leave().await;
    Ok(())
}

/// Removes these, once somebody has agreed.
pub(super) async fn remove(
    output: Output,
    names: &Names,
    prompts: &Prompts,
    global: &Global,
    timeout: Duration,
    chosen: &[Record],
) -> Result<(), Ended> {
    let mut chosen_names: Vec<AnyName> = chosen.iter().map(|record| record.name.clone()).collect();
    chosen_names.dedup();
    if chosen_names.is_empty() {
        return print(output, &[]);
    }
    let living =
        chosen.iter().any(|record| matches!(record.lifetime, common::names::Lifetime::Leased { .. }));
    let whose = if living { ", which living processes hold" } else { "" };
    let listed: Vec<String> = chosen_names.iter().map(ToString::to_string).collect();
    prompts.agree(global, &format!("Remove {}{whose}?", listed.join(", "))).await?;
    for name in chosen_names {
        let removed = patiently(timeout, async |call| {
            names.server().unregister(within(NAME_SERVICE, call), Holder::Operator, name.clone()).await
        });
        match removed.await {
            // Gone meanwhile is gone.
            Ok(Ok(_) | Err(UpdateError::NotFound)) => {}
            Ok(Err(error)) => return Err(not_removed(&name, &error).into()),
            Err(error) => return Err(no_name_server(names, &error).into()),
        }
    }
    print(output, chosen)
}

/// Has the store copied.
pub(super) async fn snapshot(output: Output, names: &Names, timeout: Duration) -> Result<(), Ended> {
    let copied: Result<_, RpcError> = names.server().snapshot(within(NAME_SERVICE, timeout)).await;
    let info = match copied {
        Ok(Ok(info)) => info,
        Ok(Err(SnapshotError::Store(error))) => return Err(store_down(&error).into()),
        Ok(Err(error)) => return Err(Failure::new(Code::Denied, error.to_string()).into()),
        Err(error) => return Err(no_name_server(names, &error.into()).into()),
    };
    let object = objects::Snapshot { file: info.file, boot: info.stamp.boot.0, rev: info.stamp.rev.0 };
    let text = format!("A copy of the store: {}", object.file);
    output.one(&object, |_| text)
}

fn store_down(error: &StoreError) -> Failure {
    Failure::new(Code::StoreDown, error.to_string())
}

fn refused(name: &LogicalName, error: &RegisterError) -> Failure {
    let message = format!("{name}: {error}");
    match error {
        RegisterError::Held { by, frees_in, .. } => {
            let frees_in_ms = frees_in.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            let held = Failure::new(Code::NameHeld, message).hint(format!("client ns lookup {name}"));
            held.field("by", by.to_string()).field("frees_in_ms", frees_in_ms)
        }
        RegisterError::SharingMismatch { .. } => {
            Failure::new(Code::NameHeld, message).hint("the same command with or without --shared")
        }
        RegisterError::Store(error) => store_down(error),
        RegisterError::Overloaded { .. } | RegisterError::EpochMismatch { .. } => {
            Failure::new(Code::AllBusy, message)
        }
        RegisterError::QuotaFull { .. } => Failure::new(Code::NameServerFull, message),
        RegisterError::UnknownLease => Failure::new(Code::Internal, message),
        RegisterError::Reserved | RegisterError::LoopbackFromAfar => Failure::new(Code::Denied, message),
        RegisterError::TooLarge { .. } => Failure::new(Code::TooLarge, message),
    }
}

fn not_removed(name: &AnyName, error: &UpdateError) -> Failure {
    match error {
        UpdateError::Denied => Failure::new(Code::Denied, format!("{name}: {error}"))
            .hint("the same command on the name server's own machine"),
        UpdateError::Store(error) => store_down(error),
        other => Failure::new(Code::Internal, format!("{name}: {other}")),
    }
}
