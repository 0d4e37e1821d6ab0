//! A cluster's status for a person.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::objects::{Group, Health, Member, Status};
use crate::output::{GREEN, Lean, RED, Screen, YELLOW, escaped, paint, table};

/// A headline, and a row for each member.
pub(super) fn status(screen: Screen, status: &Status) -> String {
    let (word, color) = health(status.health);
    let headline = headline(status).replacen(word, &paint(screen.color, color, word), 1);
    let columns = [
        ("SERVICE", Lean::Left),
        ("REPLICA", Lean::Left),
        ("ROLE", Lean::Left),
        ("STATUS", Lean::Left),
        ("ADDRESS", Lean::Left),
        ("EPOCH", Lean::Right),
        ("INDEX", Lean::Right),
        ("BEHIND", Lean::Right),
        ("UP", Lean::Right),
        ("DETAIL", Lean::Left),
    ];
    let rows = status.groups.iter().flat_map(|group| group.members.iter().map(|member| row(group, member)));
    format!("{headline}\n{}", table(screen, &columns, rows))
}

/// `DEGRADED   just.hungry 2 of 3 in sync (replica.3 gone 14s)   name server 127.0.0.1:9090   front ends 1`.
pub(super) fn headline(status: &Status) -> String {
    let mut parts = vec![health(status.health).0.to_owned()];
    parts.extend(status.groups.iter().map(group_line));
    let (there, away): (Vec<_>, Vec<_>) = status.name_servers.iter().partition(|server| server.ok);
    parts.extend(there.iter().map(|server| format!("name server {}", server.address)));
    parts.extend(away.iter().map(|server| format!("name server {} does not answer", server.address)));
    parts.push(format!("front ends {}", status.front_ends.len()));
    escaped(&parts.join("   "))
}

/// What would end an outage.
pub(super) fn what_to_start(status: &Status) -> String {
    let closed = status.groups.iter().filter(|group| group.health == Health::Unavailable);
    let mut steps: Vec<String> = closed.map(step).collect();
    steps.dedup();
    steps.join("; ")
}

fn step(group: &Group) -> String {
    let name = |member: &Member| match member.name.as_str() {
        "-" => format!("the replica whose disk is {}", member.replica_id.as_deref().unwrap_or("-")),
        name => name.to_owned(),
    };
    let gone = |member: &&Member| member.in_sync && member.status == "gone";
    let missing: Vec<String> = group.members.iter().filter(gone).map(name).collect();
    if group.needs_adoption {
        return format!("client cluster adopt {}", group.service);
    }
    match (group.version, missing.as_slice()) {
        (None, _) => "no group yet: start one replica with --first".into(),
        (Some(_), []) => "client cluster wait: an election may be under way".into(),
        (Some(_), missing) => format!("start {}", missing.join(", ")),
    }
}

fn health(health: Health) -> (&'static str, &'static str) {
    match health {
        Health::Healthy => ("HEALTHY", GREEN),
        Health::Degraded => ("DEGRADED", YELLOW),
        Health::Unavailable => ("UNAVAILABLE", RED),
    }
}

fn group_line(group: &Group) -> String {
    match group.health {
        Health::Healthy => format!("{} HEALTHY", group.service),
        Health::Unavailable => {
            let trouble = group.members.iter().find(|member| !member.trouble.is_empty());
            let why = trouble.map_or(step(group), |member| format!("{}: {}", member.name, member.trouble));
            format!("{} serves nobody ({why})", group.service)
        }
        Health::Degraded if group.needs_adoption => {
            let service = &group.service;
            format!("{service} serves, but the name server lost its record: client cluster adopt {service}")
        }
        Health::Degraded => {
            let good = |member: &&Member| member.is_good();
            let in_sync = group.members.iter().filter(good).count();
            let away: Vec<String> = group
                .members
                .iter()
                .filter(|member| !good(member))
                .map(|member| {
                    let state = if member.status == "online" {
                        member.role.unwrap_or("waiting")
                    } else {
                        member.status
                    };
                    let since = member.seen_ms.map_or(String::new(), |ms| format!(" {}", human(ms)));
                    format!("{} {state}{since}", member.name)
                })
                .collect();
            format!("{} {in_sync} of {} in sync ({})", group.service, group.members.len(), away.join(", "))
        }
    }
}

fn row(group: &Group, member: &Member) -> Vec<String> {
    let number = |number: Option<u64>| number.map_or("-".into(), |number| number.to_string());
    let detail = match member.seen_ms {
        _ if !member.trouble.is_empty() => member.trouble.clone(),
        Some(ms) => format!("seen {} ago", human(ms)),
        None => member.vector.as_ref().map_or_else(String::new, |vector| gossip(group, member, vector)),
    };
    vec![
        group.service.clone(),
        member.name.clone(),
        member.role.unwrap_or("-").into(),
        member.status.into(),
        member.address.clone().unwrap_or("-".into()),
        number(member.epoch),
        number(member.index),
        number(member.behind),
        member.uptime_ms.map_or("-".into(), human),
        detail,
    ]
}

/// `clock [9,4,2]  log 12  gossip 0.2s`: a gossip member's clock in the order of the members' rows.
fn gossip(group: &Group, member: &Member, vector: &BTreeMap<String, u64>) -> String {
    let ids = group.members.iter().filter_map(|member| member.replica_id.as_ref());
    let clock: Vec<_> = ids.map(|id| vector.get(id).copied().unwrap_or(0).to_string()).collect();
    let age = member.gossip_age_ms.map_or_else(|| "-".to_owned(), human);
    let stranded = match member.stranded {
        0 => String::new(),
        count => format!("  {count} stranded"),
    };
    format!("clock [{}]  log {}  gossip {age}{stranded}", clock.join(","), member.log.unwrap_or(0))
}

/// `0.2s`, `14s`, `4m12s`, `3h05m`, `2d03h`.
fn human(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0 => format!("{:.1}s", Duration::from_millis(ms).as_secs_f64()),
        1..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let all = [240, 14_900, 252_000, 11_100_000, 183_600_000].map(human);
        assert_eq!(all, ["0.2s", "14s", "4m12s", "3h05m", "2d03h"]);
    }
}
