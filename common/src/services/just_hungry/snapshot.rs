//! The whole state as bytes: `[format u8 = 1]`, then motd, catalogue, customers and orders in key order. What is made
//! of these (menu order, indexes) is made anew.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::JustHungry;
use super::catalogue::{Catalogue, ProductKey, Shelf};
use super::order::Order;
use super::state::Customer;
use crate::services::RestoreError;
use crate::services::records::{self, damaged};
use crate::services::user_code::UserCode;

/// Raised by anything that makes another state of the same commands.
const FORMAT: u8 = 1;

#[derive(Serialize)]
struct Written<'a> {
    motd: &'a str,
    catalogue: &'a BTreeMap<ProductKey, Shelf>,
    customers: &'a BTreeMap<UserCode, Customer>,
    orders: &'a BTreeMap<u64, Order>,
}

pub(super) fn write(state: &JustHungry) -> Bytes {
    let written = Written {
        motd: &state.motd,
        catalogue: state.catalogue.shelves(),
        customers: &state.customers,
        orders: &state.orders,
    };
    records::write(FORMAT, &written)
}

pub(super) fn read(snapshot: &[u8]) -> Result<JustHungry, RestoreError> {
    let mut rest = records::body(FORMAT, snapshot)?;
    let motd = records::take(&mut rest)?;
    let catalogue = Catalogue::of_shelves(map(&mut rest)?).ok_or_else(|| damaged("places on the menu"))?;
    let customers: BTreeMap<UserCode, Customer> = map(&mut rest)?;
    let orders: BTreeMap<u64, Order> = map(&mut rest)?;
    if !rest.is_empty() {
        return Err(damaged("bytes left over"));
    }
    let mut state = JustHungry { motd, catalogue, customers, ..JustHungry::default() };
    for ((id, mut order), expected) in orders.into_iter().zip(1..) {
        let customer = state.customers.get_key_value(&order.user);
        // One text in memory for all orders of a user.
        order.user = customer.ok_or_else(|| damaged("an order of nobody"))?.0.clone();
        state.index.insert(id, &order);
        if id != expected || state.index.by_user[&order.user].len() != order.no as usize {
            return Err(damaged("numbers of the orders"));
        }
        state.orders.insert(id, order);
    }
    let counted = |user| state.index.by_user.get(user).map_or(0, Vec::len);
    if state.customers.iter().any(|(user, customer)| counted(user) != customer.last_no as usize) {
        return Err(damaged("numbers of a customer's orders"));
    }
    Ok(state)
}

/// Reads a map off the front, whose keys must rise.
fn map<K: DeserializeOwned + Ord, V: DeserializeOwned>(
    rest: &mut &[u8],
) -> Result<BTreeMap<K, V>, RestoreError> {
    let mut map = BTreeMap::new();
    for _ in 0..records::take::<u64>(rest)? {
        let (key, value) = records::take(rest)?;
        if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(damaged("keys out of order"));
        }
        map.insert(key, value);
    }
    Ok(map)
}
