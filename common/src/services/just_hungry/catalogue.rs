//! What is sold, and how much of it there is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bounds::{NAME_CHARS_MAX, PRICE_MAX, PRODUCTS_MAX, STOCK_MAX};
use super::command::{Product, Stock};
use super::refusal::{Field, Refusal, Why};
use crate::services::money::Pence;
use crate::services::{REPLY_BYTES_MAX, matching, text};

/// A product's name as it is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct ProductKey(String);

impl ProductKey {
    /// The key of a name.
    pub(super) fn of(name: &str) -> Self {
        Self(matching::key(name))
    }
}

/// A product and where it stands on the menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shelf {
    pub(super) product: Product,
    /// From 1.
    pub(super) place: u32,
}

/// What is sold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Catalogue {
    shelves: BTreeMap<ProductKey, Shelf>,
    /// The keys by place; made of the shelves.
    menu: Vec<ProductKey>,
}

impl Catalogue {
    /// The catalogue of these products, in menu order; the first broken rule is the refusal.
    pub(super) fn new(products: Vec<Product>) -> Result<Self, Refusal> {
        if products.len() > PRODUCTS_MAX {
            let why = Why::Count { min: 0, max: number(PRODUCTS_MAX) };
            return Err(Refusal::Invalid { field: Field::Products, at: None, why });
        }
        let mut catalogue = Self::default();
        for (before, mut product) in products.into_iter().enumerate() {
            let place = number(before + 1);
            let invalid = |field, why| Refusal::Invalid { field, at: Some(place), why };
            let name = text::check(&product.name, NAME_CHARS_MAX, text::Lines::One)
                .map_err(|why| invalid(Field::Name, Why::Text(why)))?;
            product.name = String::from(name);
            let key = ProductKey::of(&product.name);
            if let Some(other) = catalogue.shelves.get(&key) {
                return Err(invalid(Field::Name, Why::Twice { other: other.place }));
            }
            if !(Pence::new(1)..=PRICE_MAX).contains(&product.price) {
                return Err(invalid(Field::Price, Why::Amount { min: Pence::new(1), max: PRICE_MAX }));
            }
            if matches!(product.stock, Stock::Counted(left) if left > STOCK_MAX) {
                return Err(invalid(Field::Stock, Why::Number { min: 0, max: STOCK_MAX }));
            }
            catalogue.menu.push(key.clone());
            catalogue.shelves.insert(key, Shelf { product, place });
        }
        Ok(catalogue)
    }

    /// The catalogue with these shelves; `None` when their places are not 1, 2, 3, …
    pub(super) fn of_shelves(shelves: BTreeMap<ProductKey, Shelf>) -> Option<Self> {
        let mut by_place: Vec<_> = shelves.iter().map(|(key, shelf)| (shelf.place, key.clone())).collect();
        by_place.sort_unstable();
        let whole = by_place.iter().zip(1..).all(|((place, _), expected)| *place == expected);
        let menu = by_place.into_iter().map(|(_, key)| key).collect();
        whole.then_some(Self { shelves, menu })
    }

    pub(super) const fn shelves(&self) -> &BTreeMap<ProductKey, Shelf> {
        &self.shelves
    }

    /// In menu order, past a place.
    pub(super) fn after(&self, place: u32) -> impl Iterator<Item = &Shelf> {
        self.menu.iter().skip(place as usize).map(|key| &self.shelves[key])
    }

    pub(super) fn get(&self, key: &ProductKey) -> Option<&Product> {
        self.shelves.get(key).map(|shelf| &shelf.product)
    }

    /// The product, or the refusal that names others like it.
    pub(super) fn find(&self, key: &ProductKey, item: &str) -> Result<&Product, Refusal> {
        self.get(key).ok_or_else(|| Refusal::UnknownProduct { item: item.into(), near: self.near(item) })
    }

    /// Up to three names, and no more than fit beside `item` into a remembered reply.
    fn near(&self, item: &str) -> Vec<String> {
        const NAMES_MAX: usize = 3;
        /// Tags and lengths of the reply.
        const FIXED: usize = 16;
        let mut room = REPLY_BYTES_MAX - FIXED - item.len();
        let names = self.menu.iter().map(|key| self.shelves[key].product.name.as_str());
        let fits = |name: &&str| room.checked_sub(name.len()).inspect(|&rest| room = rest).is_some();
        matching::near(item, names, NAMES_MAX).into_iter().take_while(fits).map(str::to_owned).collect()
    }

    /// Takes so many from a shelf that has them.
    pub(super) fn take(&mut self, key: &ProductKey, qty: u32) {
        if let Some(Stock::Counted(left)) = self.stock_mut(key) {
            *left = left.checked_sub(qty).expect("the stock of every line was checked before");
        }
    }

    /// Puts so many back, if the product is still sold and counted.
    pub(super) fn give_back(&mut self, key: &ProductKey, qty: u32) {
        if let Some(Stock::Counted(left)) = self.stock_mut(key) {
            *left = left.saturating_add(qty);
        }
    }

    fn stock_mut(&mut self, key: &ProductKey) -> Option<&mut Stock> {
        self.shelves.get_mut(key).map(|shelf| &mut shelf.product.stock)
    }
}

/// A count that a bound of the service keeps far below 2³².
pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).expect("every list is bounded far below")
}
