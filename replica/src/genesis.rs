//! What a group that this replica creates begins with, from its flags.

use std::path::Path;

use bytes::Bytes;
use common::services::just_hungry::{self, JustHungry, Start as Begin, command, start_bytes};

use crate::config::{Config, Start};

/// The `start` of the Genesis entry of the service `name`.
///
/// # Errors
/// A sentence, when the menu's file cannot be used.
pub fn start_of(name: &str, config: &Config) -> Result<Bytes, String> {
    if name != just_hungry::NAME {
        return Ok(Bytes::new());
    }
    let begin = match (&config.menu, config.start) {
        (Some(path), _) => Begin::Menu(menu(path)?),
        (None, Start::Demo) => Begin::Demo,
        (None, Start::Empty) => Begin::Empty,
    };
    // Said now, not when the group is created.
    JustHungry::new(begin.clone()).map_err(|refusal| format!("the menu breaks a rule: {refusal}"))?;
    Ok(start_bytes(&begin))
}

fn menu(path: &Path) -> Result<Vec<command::Product>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    read_menu(&text).map_err(|why| format!("{}: {why}", path.display()))
}

fn read_menu(text: &str) -> Result<Vec<command::Product>, String> {
    const HEADER: &str = "name,price,stock";
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    if lines.next().is_none_or(|first| !first.replace(' ', "").eq_ignore_ascii_case(HEADER)) {
        return Err(format!("the first line must be {HEADER}"));
    }
    let rows = lines.zip(2..).filter(|(line, _)| !line.is_empty());
    rows.map(|(line, number)| product(line).map_err(|why| format!("line {number}: {why}"))).collect()
}

/// One line. A name with a comma stands in double quotes; only its own quotes are doubled.
fn product(line: &str) -> Result<command::Product, String> {
    let mut fields = line.rsplitn(3, ',').map(str::trim);
    let (Some(stock), Some(price), Some(name)) = (fields.next(), fields.next(), fields.next()) else {
        return Err("a product is name,price,stock".to_owned());
    };
    let quoted = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let name = quoted.map_or_else(|| name.to_owned(), |name| name.replace("\"\"", "\""));
    if quoted.is_none() && name.contains(',') {
        return Err("a product is name,price,stock; a name with a comma stands in double quotes".to_owned());
    }
    let price = price.parse().map_err(|error| format!("price {price:?}: {error}"))?;
    let stock = match stock {
        "unlimited" => command::Stock::Unlimited,
        count => command::Stock::Counted(
            count.parse().map_err(|_| format!("stock {count:?} is neither a number nor unlimited"))?,
        ),
    };
    Ok(command::Product { name, price, stock })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_menu_is_read_line_by_line() {
        let menu = read_menu("name,price,stock\nSoup,3.50,unlimited\n\n\"Fish, fried\",6.85,4\n").unwrap();
        let names: Vec<_> = menu.iter().map(|product| &*product.name).collect();
        assert_eq!(names, ["Soup", "Fish, fried"]);
        assert_eq!(menu[0].stock, command::Stock::Unlimited);
        assert_eq!(menu[1].stock, command::Stock::Counted(4));
        assert_eq!(menu[1].price, "6.85".parse().unwrap());
    }

    #[test]
    fn a_bad_line_is_named() {
        assert_eq!(read_menu("price,name").unwrap_err(), "the first line must be name,price,stock");
        for bad in ["Soup,3.50", "Soup,cheap,1", "Soup,3.50,lots", "Fish, fried,6.85,4"] {
            let why = read_menu(&format!("name,price,stock\nA,1,1\n{bad}")).unwrap_err();
            assert!(why.starts_with("line 3: "), "{bad}: {why}");
        }
    }
}
