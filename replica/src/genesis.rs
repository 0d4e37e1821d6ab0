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
        (None, None | Some(Start::Demo)) => Begin::Demo,
        (None, Some(Start::Empty)) => Begin::Empty,
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
    const HEADER: [&str; 3] = ["name", "price", "stock"];
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?;
    if !header.iter().map(str::to_ascii_lowercase).eq(HEADER) {
        return Err(format!("the first line must be {}", HEADER.join(",")));
    }
    let line = |position: Option<&csv::Position>| position.map_or(1, csv::Position::line);
    reader
        .records()
        .map(|row| {
            let row = row.map_err(|error| format!("line {}: {}", line(error.position()), no_row(&error)))?;
            product(&row).map_err(|why| format!("line {}: {why}", line(row.position())))
        })
        .collect()
}

fn no_row(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { .. } => {
            "a product is name,price,stock; a name with a comma stands in double quotes".to_owned()
        }
        _ => error.to_string(),
    }
}

/// One line, of as many fields as the first.
fn product(row: &csv::StringRecord) -> Result<command::Product, String> {
    let [name, price, stock] = [&row[0], &row[1], &row[2]];
    let price = price.parse().map_err(|error| format!("price {price:?}: {error}"))?;
    let stock = match stock {
        "unlimited" => command::Stock::Unlimited,
        count => command::Stock::Counted(
            count.parse().map_err(|_| format!("stock {count:?} is neither a number nor unlimited"))?,
        ),
    };
    Ok(command::Product { name: name.to_owned(), price, stock })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_menu_is_read_line_by_line() {
        let text = "\u{feff}Name, Price, Stock\nSoup,3.50,unlimited\n\n\"Fish, \"\"fried\"\"\",6.85,4\n";
        let menu = read_menu(text).unwrap();
        let names: Vec<_> = menu.iter().map(|product| &*product.name).collect();
        assert_eq!(names, ["Soup", "Fish, \"fried\""]);
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
