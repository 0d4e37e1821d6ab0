//! `ns`: what the name server knows.

use std::time::Duration;

use common::clock::Clock;
use common::directory::Names;
use common::names::{
    AnyName, Freshness, Lifetime, Names as Which, Page, Query, Readiness, Record, Sharing, Standing,
    TagMatch, Tags, Target,
};
use common::rpc::limits::NAME_SERVICE;
use common::rpc::name_service::{ListError, Listing, LookupError};
use common::rpc::transport::{CallError, within};

use crate::ask::Prompts;
use crate::errors::{self, Code, Failure};
use crate::grammar::{Global, Ns};
use crate::objects;
use crate::output::{Ended, Lean, Output, Screen, table};
use crate::service::{no_name_server, warming};

mod change;
mod watch;

/// Runs one of the commands.
///
/// # Errors
/// When the name server does not know, does not answer, or does not like the question.
pub(crate) async fn run(
    output: Output,
    names: &Names,
    prompts: &Prompts,
    global: &Global,
    timeout: Duration,
    command: Ns,
) -> Result<(), Ended> {
    match command {
        Ns::Ping => ping(output, names, timeout).await,
        Ns::List { prefix, regex, tags, any } => {
            let query = query(prefix, regex, tags, any)?;
            let records = list(names, timeout, &query).await?;
            print(output, &records)
        }
        Ns::Watch { prefix } => watch::run(output, names, timeout, prefix).await,
        Ns::Register { name, address, ttl, tags, shared, contract } => {
            let entry = change::entry(&name, &address, &tags, shared, contract)?;
            change::register(output, names, timeout, name, entry, ttl).await
        }
        Ns::Remove { name, regex } => {
            let chosen = match (name, regex) {
                (Some(name), _) => lookup(names, timeout, &name).await?,
                (None, regex) => list(names, timeout, &query(None, regex, vec![], false)?).await?,
            };
            change::remove(output, names, prompts, global, timeout, &chosen).await
        }
        Ns::Snapshot => change::snapshot(output, names, timeout).await,
        Ns::Lookup { name } => {
            let records = lookup(names, timeout, &name).await?;
            print(output, &records)
        }
    }
}

/// Asks each name server of the list; fails when none answers.
async fn ping(output: Output, names: &Names, timeout: Duration) -> Result<(), Ended> {
    let mut answers = Vec::new();
    let mut failed = None;
    for address in names.servers() {
        let alone = Names::new(vec![address.clone()], "client");
        let (clock, begun) = start();
        match patiently(timeout, async |call| alone.server().status(within(NAME_SERVICE, call)).await).await {
            Ok(status) => answers.push(objects::Ping {
                address: address.to_string(),
                cluster: status.stamp.cluster.to_string(),
                boot: status.stamp.boot.0,
                rev: status.stamp.rev.0,
                // Two digits of a millisecond are enough for anybody, and keep the line short.
                ms: (clock.now().since(begun).as_secs_f64() * 100_000.0).round() / 100.0,
            }),
            Err(error) => failed = Some(no_name_server(&alone, &error)),
        }
    }
    if let Some(failure) = failed.take_if(|_| answers.is_empty()) {
        return Err(failure.into());
    }
    output.list(&answers, |screen| {
        let columns = [
            ("ADDRESS", Lean::Left),
            ("CLUSTER", Lean::Left),
            ("BOOT", Lean::Right),
            ("REV", Lean::Right),
            ("MS", Lean::Right),
        ];
        let row = |one: &objects::Ping| {
            vec![
                one.address.clone(),
                one.cluster.clone(),
                one.boot.to_string(),
                one.rev.to_string(),
                format!("{:.2}", one.ms),
            ]
        };
        table(screen, &columns, answers.iter().map(row))
    })?;
    failed.map_or(Ok(()), |failure| Err(failure.into()))
}

/// All records that match, page by page.
async fn list(names: &Names, timeout: Duration, query: &Query) -> Result<Vec<Record>, Failure> {
    /// As many as a page may have.
    const PAGE: u16 = 1000;
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = Page { after: after.clone(), limit: PAGE };
        let too_early = |error: &ListError| match error {
            ListError::Warming { retry_in } => Some(*retry_in),
            _ => None,
        };
        let asked = once_warm(timeout, too_early, async |call| {
            names.server().list(within(NAME_SERVICE, call), query.clone(), page.clone()).await
        });
        match asked.await {
            Ok(Ok(answer)) => {
                let Listing { records, next } = answer.value;
                all.extend(records.iter().map(|record| Record::clone(record)));
                match next {
                    Some(next) => after = Some(next),
                    None => return Ok(all),
                }
            }
            Ok(Err(ListError::BadRegex { why })) => return Err(errors::invalid("regex", why)),
            Ok(Err(ListError::Warming { retry_in })) => return Err(warming(retry_in)),
            Ok(Err(error @ ListError::BadPage)) => {
                return Err(Failure::new(Code::Internal, error.to_string()));
            }
            Err(error) => return Err(no_name_server(names, &error)),
        }
    }
}

async fn lookup(names: &Names, timeout: Duration, name: &str) -> Result<Vec<Record>, Failure> {
    let key: AnyName = name.parse().map_err(|error| errors::invalid("name", error))?;
    let too_early = |error: &LookupError| match error {
        LookupError::Warming { retry_in } => Some(*retry_in),
        _ => None,
    };
    let asked = once_warm(timeout, too_early, async |call| {
        names.server().lookup(within(NAME_SERVICE, call), key.clone(), Freshness::Local).await
    });
    match asked.await {
        Ok(Ok(answer)) => Ok(answer.value.iter().map(|record| Record::clone(record)).collect()),
        Ok(Err(LookupError::NotFound)) => {
            Err(Failure::new(Code::NameUnknown, format!("nobody has the name {name}")).hint("client ns list"))
        }
        Ok(Err(LookupError::Warming { retry_in })) => Err(warming(retry_in)),
        Ok(Err(
            error @ (LookupError::TooMany | LookupError::Behind { .. } | LookupError::Unsettled { .. }),
        )) => Err(Failure::new(Code::Internal, error.to_string())),
        Err(error) => Err(no_name_server(names, &error)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the parsed command is used up")]
fn query(
    prefix: Option<String>,
    regex: Option<String>,
    tags: Vec<String>,
    any: bool,
) -> Result<Query, Failure> {
    let which = match (prefix, regex) {
        (None, None) => Which::Any,
        (Some(prefix), _) => Which::Prefix(prefix.into()),
        (None, Some(regex)) => Which::Regex(regex.into()),
    };
    let tags = if tags.is_empty() {
        TagMatch::Any
    } else {
        let tags =
            Tags::new(tags.iter().map(String::as_str)).map_err(|error| errors::invalid("tag", error))?;
        if any { TagMatch::AnyOf(tags) } else { TagMatch::AllOf(tags) }
    };
    Ok(Query { tags, ..Query::by_name(which) })
}

/// Calls until somebody answers or `timeout` is over; no question to a name server changes anything.
pub(crate) async fn patiently<T>(
    timeout: Duration,
    mut call: impl AsyncFnMut(Duration) -> Result<T, tarpc::client::RpcError>,
) -> Result<T, CallError> {
    /// Between two calls; the connection has a back-off of its own.
    const PAUSE: Duration = Duration::from_millis(50);
    let (clock, begun) = start();
    // The first failure says why; later ones may only say that it is too early to try again.
    let mut first = None;
    loop {
        let left = timeout.saturating_sub(clock.now().since(begun));
        match call(left).await.map_err(CallError::from) {
            Ok(answer) => return Ok(answer),
            Err(error @ CallError::Incompatible { .. }) => return Err(error),
            Err(error) => {
                let first = first.get_or_insert(error);
                if clock.now().since(begun) + PAUSE >= timeout {
                    return Err(first.clone());
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Calls, [`patiently`], until the name server is warm or `timeout` is too short for that.
async fn once_warm<T, E>(
    timeout: Duration,
    warming: impl Fn(&E) -> Option<Duration>,
    mut call: impl AsyncFnMut(Duration) -> Result<Result<T, E>, tarpc::client::RpcError>,
) -> Result<Result<T, E>, CallError> {
    /// It may be warm before it thought, but not at once.
    const PAUSE_MIN: Duration = Duration::from_millis(50);
    const PAUSE_MAX: Duration = Duration::from_secs(1);
    let (clock, begun) = start();
    loop {
        let answer = patiently(timeout.saturating_sub(clock.now().since(begun)), &mut call).await?;
        let Some(retry_in) = answer.as_ref().err().and_then(&warming) else { return Ok(answer) };
        let pause = retry_in.clamp(PAUSE_MIN, PAUSE_MAX);
        if clock.now().since(begun) + pause >= timeout {
            return Ok(answer);
        }
        tokio::time::sleep(pause).await;
    }
}

fn start() -> (Clock, common::clock::Moment) {
    let clock = Clock::start();
    (clock, clock.now())
}

fn print(output: Output, records: &[Record]) -> Result<(), Ended> {
    let names: Vec<objects::Name> = records.iter().map(objects::Name::from).collect();
    output.list(&names, |screen| text(screen, &names))
}

fn text(screen: Screen, names: &[objects::Name]) -> String {
    if names.is_empty() {
        return "No names.".into();
    }
    let columns = [
        ("NAME", Lean::Left),
        ("ADDRESS", Lean::Left),
        ("SHARING", Lean::Left),
        ("STANDING", Lean::Left),
        ("TTL", Lean::Right),
        ("TAGS", Lean::Left),
    ];
    let row = |one: &objects::Name| {
        let standing = if one.readiness == "up" { one.standing } else { one.readiness };
        let ttl = one.ttl_ms.map_or("-".into(), |ms| format!("{:?}", Duration::from_millis(ms)));
        vec![
            one.name.clone(),
            one.address.clone(),
            one.sharing.into(),
            standing.into(),
            ttl,
            one.tags.join(" "),
        ]
    };
    table(screen, &columns, names.iter().map(row))
}

/// A record in one line.
fn table_of(one: &objects::Name) -> String {
    let standing = if one.readiness == "up" { one.standing } else { one.readiness };
    [&one.name, &one.address, one.sharing, standing, &one.tags.join(" ")].join("  ").trim_end().to_owned()
}

impl From<&Record> for objects::Name {
    fn from(record: &Record) -> Self {
        let (address, object, contract) = match &record.target {
            Target::Service { address, object, contract } => {
                let object = Some(object.as_str()).filter(|object| !object.is_empty());
                (address.to_string(), object.map(str::to_owned), Some(contract.to_string()))
            }
            Target::Pyro { uri } => (uri.to_string(), None, None),
        };
        Self {
            name: record.name.to_string(),
            address,
            object,
            contract,
            sharing: match record.sharing {
                Sharing::Exclusive => "exclusive",
                Sharing::Shared => "shared",
            },
            instance: record.instance.to_string(),
            epoch: record.epoch.0.0,
            tags: record.tags.iter().map(str::to_owned).collect(),
            readiness: match record.readiness {
                Readiness::Up => "up",
                Readiness::Draining => "draining",
            },
            standing: match record.standing {
                Standing::Confirmed => "confirmed",
                Standing::Unconfirmed => "unconfirmed",
            },
            ttl_ms: match record.lifetime {
                Lifetime::Leased { ttl } => Some(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
                Lifetime::Permanent => None,
            },
            weight: record.weight.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use common::ids::InstanceId;
    use common::names::{ContractName, NameEpoch, ObjectName, PyroUri, Revision, Weight};

    use super::*;

    fn record() -> Record {
        Record {
            name: "just.hungry".parse().unwrap(),
            sharing: Sharing::Shared,
            instance: InstanceId::from_u128(7),
            epoch: NameEpoch(Revision(12)),
            target: Target::Service {
                address: "127.0.0.1:41020".parse().unwrap(),
                object: ObjectName::new("").unwrap(),
                contract: ContractName::new("frontend").unwrap(),
            },
            tags: Tags::new(["http=http://127.0.0.1:8080"]).unwrap(),
            readiness: Readiness::Up,
            standing: Standing::Confirmed,
            weight: Weight::default(),
            lifetime: Lifetime::Leased { ttl: Duration::from_secs(3) },
            changed: Revision(13),
        }
    }

    #[test]
    fn a_record_has_the_fields_of_the_contract() {
        assert_eq!(
            crate::output::json(&objects::Name::from(&record())),
            r#"{"name":"just.hungry","address":"127.0.0.1:41020","object":null,"contract":"frontend","#
                .to_owned()
                + r#""sharing":"shared","instance":"00000000-0000-0000-0000-000000000007","epoch":12,"#
                + r#""tags":["http=http://127.0.0.1:8080"],"readiness":"up","standing":"confirmed","ttl_ms":3000,"weight":100}"#
        );
        let uri = PyroUri::new("PYRO:obj@10.0.0.1:4000").unwrap();
        let pyro = Record { target: Target::Pyro { uri }, lifetime: Lifetime::Permanent, ..record() };
        let shown = objects::Name::from(&pyro);
        assert_eq!(
            (shown.address.as_str(), shown.contract, shown.ttl_ms),
            ("PYRO:obj@10.0.0.1:4000", None, None)
        );
    }

    #[tokio::test]
    async fn a_server_that_warms_up_is_asked_again_while_time_is_left() {
        let mut calls = 0;
        let mut warm_at_last = async |_| {
            calls += 1;
            Ok(if calls == 3 { Ok("warm") } else { Err(Duration::from_millis(1)) })
        };
        let minute = Duration::from_mins(1);
        assert_eq!(once_warm(minute, |&time| Some(time), &mut warm_at_last).await, Ok(Ok("warm")));
        let mut never = async |_| Ok::<Result<(), _>, _>(Err(minute));
        let short = Duration::from_millis(900);
        assert_eq!(once_warm(short, |&time| Some(time), &mut never).await, Ok(Err(minute)));
    }

    #[test]
    fn a_ping_has_the_fields_of_the_contract() {
        let ping = objects::Ping {
            address: "127.0.0.1:9090".into(),
            cluster: "dev".into(),
            boot: 3,
            rev: 7,
            ms: 0.25,
        };
        assert_eq!(
            crate::output::json(&ping),
            r#"{"address":"127.0.0.1:9090","cluster":"dev","boot":3,"rev":7,"ms":0.25}"#
        );
    }

    #[test]
    fn names_are_picked_by_prefix_expression_and_tags() {
        let of = |prefix: Option<&str>, tags: &[&str], any| {
            query(prefix.map(str::to_owned), None, tags.iter().map(|&tag| tag.into()).collect(), any).unwrap()
        };
        assert_eq!(of(None, &[], false), Query::by_name(Which::Any));
        assert_eq!(of(Some("replica."), &[], false).names, Which::Prefix("replica.".into()));
        assert_eq!(of(None, &["a"], false).tags, TagMatch::AllOf(Tags::new(["a"]).unwrap()));
        assert_eq!(of(None, &["a"], true).tags, TagMatch::AnyOf(Tags::new(["a"]).unwrap()));
        assert_eq!(query(None, None, vec![String::new()], false).unwrap_err().exit(), 2);
    }
}
