//! A menu as a file, for whoever creates a shop and whoever changes its menu: CSV with the head `name,price,stock`,
//! stock a number or `unlimited`.
//!
//! A file is good as a whole or not at all. A cell is text, whatever a spreadsheet would make of it.

use csv::{ReaderBuilder, StringRecord, Trim};

use super::command::{Product, Stock};
use crate::services::money::Pence;

/// Reads the products of a file's bytes.
///
/// # Errors
/// What is wrong with each bad line, by its number.
pub fn products(bytes: &[u8]) -> Result<Vec<Product>, Vec<String>> {
    // What spreadsheets begin a file with.
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(bytes);
    let head = reader.headers().map_err(|error| vec![said(&error)])?.clone();
    if !head.iter().map(str::to_ascii_lowercase).eq(["name", "price", "stock"]) {
        let found = head.iter().collect::<Vec<_>>().join(",");
        return Err(vec![format!("line 1: the head is {found:?}, not name,price,stock")]);
    }
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for row in reader.records() {
        match row {
            Ok(row) => match product(&row) {
                Ok(product) => good.push(product),
                Err(why) => {
                    bad.push(format!("line {}: {why}", row.position().map_or(0, csv::Position::line)));
                }
            },
            Err(error) => bad.push(said(&error)),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}

fn product(row: &StringRecord) -> Result<Product, String> {
    let [name, price, stock] = [0, 1, 2].map(|column| &row[column]);
    let price: Pence = price.parse().map_err(|error| format!("price {price:?}: {error}"))?;
    let stock = match stock {
        "unlimited" => Stock::Unlimited,
        number => Stock::Counted(
            number.parse().map_err(|_| format!("stock {number:?}: a number or unlimited, please"))?,
        ),
    };
    Ok(Product { name: name.into(), price, stock })
}

fn said(error: &csv::Error) -> String {
    let line = error.position().map_or(1, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::UnequalLengths { len, .. } => format!("line {line}: {len} cells, not 3"),
        csv::ErrorKind::Utf8 { .. } => format!("line {line}: not UTF-8"),
        _ => format!("line {line}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_menu_is_read_with_quotes_blanks_and_what_a_spreadsheet_would_calculate() {
        let text = "\u{feff}Name,Price,Stock\r\n\"Fish, \"\"fried\"\"\", £6.85 ,unlimited\r\n=1+1,0.50,0\r\n@SUM(A1),2,7\r\n";
        let read = products(text.as_bytes()).unwrap();
        let rows: Vec<_> = read.iter().map(|one| (one.name.as_str(), one.price.get(), one.stock)).collect();
        assert_eq!(
            rows,
            [
                ("Fish, \"fried\"", 685, Stock::Unlimited),
                ("=1+1", 50, Stock::Counted(0)),
                ("@SUM(A1)", 200, Stock::Counted(7)),
            ]
        );
        assert_eq!(products(b"name,price,stock\n"), Ok(vec![]));
    }

    #[test]
    fn every_bad_row_is_told_with_its_line() {
        let text = b"name,price,stock\nA,-1,1\nB,1\nC,1,many\nD,1e9,1\n\xff,1,1\nE,1.005,-1\nF,1,1\n";
        let bad = products(text).unwrap_err();
        let lines: Vec<&str> = bad.iter().map(|row| row.split(':').next().unwrap()).collect();
        assert_eq!(lines, ["line 2", "line 3", "line 4", "line 5", "line 6", "line 7"]);
        assert!(bad[1].ends_with("2 cells, not 3"), "{bad:?}");
        assert!(products(b"item,cost\n").unwrap_err()[0].contains("not name,price,stock"));
    }
}
