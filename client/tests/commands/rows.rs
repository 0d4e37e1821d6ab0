//! What the older systems could do, by the number of its row in their table, where one command shows it.

use super::*;

impl House {
    /// The objects that these words print.
    fn objects(&self, words: &[&str]) -> Vec<Value> {
        self.prints(&[words, &["--json"]].concat()).lines().map(object).collect()
    }
}

fn place<'a>(user: &'a str, items: &[&'a str]) -> Vec<&'a str> {
    let items = items.iter().flat_map(|item| ["--item", item]);
    ["order", "place", "-u", user, "--postcode", "dh13le"].into_iter().chain(items).collect()
}

#[test]
fn a15_server_list_is_edited() {
    let house = House::open();
    let list = |words: &[&str]| {
        let servers = house.objects(&[&["servers"], words].concat());
        servers.iter().map(|server| server["address"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(&["list"]), [""; 0]);
    let ours = house.name_server.to_string();
    list(&["add", "127.0.0.1:1"]);
    assert_eq!(list(&["add", &ours]), ["127.0.0.1:1", &ours]);
    assert_eq!(list(&["add", &ours]), ["127.0.0.1:1", &ours], "a server stands there once");
    for wrong in ["0", "3", "18446744073709551615"] {
        let (exit, error) = house.fails(&["servers", "remove", wrong]);
        assert_eq!((exit, &error["message"]), (3, &"Invalid choice of server.".into()), "{wrong}");
    }
    // Asked is the list, when nothing else is said: the first that answers.
    let unsaid = |words: &[&str]| {
        let mut client = command("", house.state(), words);
        client.env_remove("NAME_SERVER").output().unwrap()
    };
    let motd = unsaid(&["motd"]);
    assert!(motd.status.success(), "{motd:?}");
    assert_eq!(list(&["remove", "1"]), std::slice::from_ref(&ours));
    assert!(unsaid(&["motd"]).status.success());
    let said = unsaid(&["motd", "-n", "127.0.0.1:1", "--timeout", "200ms", "--json"]);
    assert_eq!(failed(&said).1["code"], "no_name_server", "a flag goes before the list");
}

#[test]
fn b04_history_returns_with_the_code_and_d01_only_own_orders() {
    let house = House::open();
    house.prints(&place("ann", &["chips"]));
    house.prints(&place("bob", &["fries"]));
    house.prints(&place("ann", &["pizza"]));
    let mine = house.objects(&["orders", "-u", "ann"]);
    let items: Vec<&Value> = mine.iter().map(|order| &order["lines"][0]["item"]).collect();
    assert_eq!(items, ["Chips", "Pizza"]);
    assert!(mine.iter().all(|order| order["user"] == "ann"));
    assert_eq!(house.fails(&["order", "show", "2", "-u", "bob"]).1["code"], "order_unknown");
    assert_eq!(house.objects(&["orders", "-u", "Ann"]).len(), 0, "a code is compared exactly");
}

#[test]
fn b08_menu_shows_stock_and_b09_starting_stock() {
    let house = House::open();
    let menu = house.prints(&["menu"]);
    assert!(menu.contains("Flour") && menu.contains("Out of stock"), "{menu}");
    let counted: Vec<(String, u64)> = house
        .objects(&["menu"])
        .iter()
        .filter_map(|product| Some((product["item"].as_str()?.to_owned(), product["stock"].as_u64()?)))
        .collect();
    let wanted = [
        ("Apple", 15),
        ("Banana", 20),
        ("Orange", 15),
        ("Bread", 4),
        ("Flour", 0),
        ("Tomato", 17),
        ("Kale", 6),
    ];
    assert_eq!(counted, wanted.map(|(item, stock)| (item.to_owned(), stock)));
}

#[test]
fn b10_same_product_adds_to_its_line_and_b12_delivery_fees() {
    let house = House::open();
    let cart = house.objects(&["cart", "add", "-u", "ann", "apple=2", "bread", "APPLE"]).remove(0);
    assert_eq!(cart["lines"].as_array().unwrap().len(), 2);
    assert_eq!((&cart["lines"][0]["qty"], &cart["items_pence"]), (&3.into(), &822.into()));
    for (delivery, fee) in [("2h", 300), ("1", 300), ("same-day", 100), ("2", 100), ("next-day", 0), ("3", 0)]
    {
        let quote = house.objects(&["order", "quote", "--delivery", delivery]).remove(0);
        assert_eq!(quote["delivery_pence"], fee, "{delivery}");
        assert_eq!(quote["total_pence"], 822 + fee, "{delivery}");
    }
}

#[test]
fn b14_low_stock_names_the_product_and_b15_stock_taken_at_placing() {
    let house = House::open();
    house.prints(&["cart", "add", "-u", "ann", "chips", "bread=5"]);
    assert_eq!(bread_left(&house), 4, "a basket takes nothing");
    let (exit, error) = house.fails(&["order", "place", "--postcode", "dh13le"]);
    let (item, wanted, left) = (&error["item"], &error["wanted"], &error["left"]);
    assert_eq!((exit, item, wanted, left), (4, &"Bread".into(), &5.into(), &4.into()));
    house.prints(&["cart", "set", "bread=4"]);
    house.prints(&["order", "place", "--postcode", "dh13le"]);
    assert_eq!(bread_left(&house), 0);
    assert_eq!(house.objects(&["cart", "show"])[0]["lines"], serde_json::json!([]));
}

#[test]
fn b16_numbers_per_user_b17_history_by_number_and_b18_cancel_lists_active_only() {
    let house = House::open();
    for item in ["chips", "fries", "pizza"] {
        house.prints(&place("ann", &[item]));
    }
    assert_eq!(house.objects(&place("bob", &["chips"]))[0]["no"], 1);
    house.prints(&["order", "cancel", "2", "-u", "ann", "--yes"]);
    let numbers = |words: &[&str]| {
        let orders = house.objects(&[words, &["-u", "ann"]].concat());
        orders.iter().map(|order| order["no"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&["orders"]), [1, 2, 3]);
    assert_eq!(numbers(&["orders", "--active"]), [1, 3]);
    assert_eq!(numbers(&["orders", "--after", "1", "--limit", "1"]), [2]);
    let (exit, error) = house.fails(&["order", "cancel", "2", "-u", "ann", "--yes"]);
    assert_eq!((exit, &error["code"]), (4, &"already_cancelled".into()));
}

#[test]
fn d04_letters_past_z() {
    let house = House::open();
    let menu = house.state().join("menu.csv");
    let rows = (1..=30).fold(String::new(), |all, n| all + &format!("Dish {n},1,unlimited\n"));
    std::fs::write(&menu, format!("name,price,stock\n{rows}")).unwrap();
    house.prints(&["menu", "load", menu.to_str().unwrap(), "--yes"]);
    let letters: Vec<Value> =
        house.objects(&["menu"]).into_iter().map(|product| product["letter"].clone()).collect();
    assert_eq!((&letters[25], &letters[26], &letters[29]), (&"Z".into(), &"AA".into(), &"AD".into()));
}

#[test]
fn e05_orders_of_a_postcode() {
    let house = House::open();
    house.prints(&place("ann", &["chips"]));
    let all = house.objects(&["order", "list", "--postcode", "DH1 3le"]);
    let numbers: Vec<&Value> = all.iter().map(|order| &order["no"]).collect();
    assert_eq!(numbers, [1, 2, 3]);
    for secret in ["user", "id", "request_id"] {
        assert!(all.iter().all(|order| order[secret].is_null()), "{secret}");
    }
    // The history of whoever orders there without a code is the ordinary history of the postcode's own code.
    assert_eq!(house.objects(&["orders", "-u", "dh13le"]).len(), 2);
    assert_eq!(house.prints(&["order", "list", "--postcode", "DH1 3LH"]), "Postcode not on record.\n");
    assert_eq!(house.fails(&["order", "list", "--postcode", "DH1"]).0, 4, "a part of one is none");
}

#[test]
fn a01_help_lists_every_command() {
    let house = House::open();
    let help = house.prints(&["help"]);
    for command in <client::grammar::Cli as clap::CommandFactory>::command().get_subcommands() {
        let listed = |line: &str| line.split_whitespace().next() == Some(command.get_name());
        assert!(help.lines().any(listed), "{} is not in: {help}", command.get_name());
    }
    let films = house.prints(&["help", "movie"]);
    assert!(["find", "search", "list", "add", "edit"].iter().all(|word| films.contains(word)), "{films}");
}

#[test]
fn a02_find_prints_name_url_description() {
    let house = House::open();
    for words in
        [&["movie", "find", "matrix"][..], &["get", "The", "Matrix"], &["find", "matrix, the (1999)"]]
    {
        let text = house.prints(words);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines[0], "The Matrix was made in (1999) and has the genres Action|Sci-Fi");
        assert_eq!(lines[1], "https://www.imdb.com/title/tt0133093/");
        assert!(lines[2].starts_with("A programmer takes a pill"), "{text}");
    }
    let found = &house.objects(&["find", "matrix"])[0];
    assert_eq!((&found["match"], &found["source"]), (&"article".into(), &"local".into()));
    let (exit, error) = house.fails(&["find", "matirx", "--local"]);
    assert_eq!((exit, &error["message"]), (3, &"That movie was not found in the database.".into()));
    assert_eq!(error["near"][0]["title"], "The Matrix");
}

#[test]
fn a06_edit_updates_or_adds() {
    let house = House::open();
    let edit = |words: &[&str]| house.objects(&[&["movie", "edit"], words].concat()).remove(0);
    let updated = edit(&["matrix", "--description", "Ours.", "--genre", "Action"]);
    assert_eq!((&updated["outcome"], &updated["description"]), (&"updated".into(), &"Ours.".into()));
    assert_eq!(updated["url"], "https://www.imdb.com/title/tt0133093/", "what is not given stays");
    let added = edit(&["Solaris", "--year", "1972"]);
    assert_eq!((&added["outcome"], &added["complete"]), (&"added".into(), &false.into()));
    assert!(house.prints(&["edit", "solaris", "--genre", "Drama"]).starts_with("Movie entry updated.\n"));
    assert!(house.prints(&["edit", "Brazil (1985)"]).starts_with("Movie entry added.\n"));
    // Nobody changes a film that they did not name.
    assert_eq!(house.fails(&["edit", "jane eyre"]).1["code"], "movie_ambiguous");
    assert_eq!(house.objects(&["edit", "jane eyre", "--year", "2011", "--genre", "Drama"])[0]["year"], 2011);
    assert_eq!(house.objects(&["movie", "list"]).len(), 22);
}

#[test]
fn a07_add_refuses_the_known() {
    let house = House::open();
    for known in ["The Matrix (1999)", "MATRIX, THE", "psycho"] {
        let (exit, error) = house.fails(&["movie", "add", known]);
        assert_eq!((exit, &error["code"]), (4, &"movie_exists".into()), "{known}");
    }
    assert!(house.prints(&["add", "Psycho", "(1998)"]).starts_with("Movie entry added.\n"));
    assert_eq!(house.fails(&["find", "psycho"]).1["count"], 2);
}

#[test]
fn a08_list_has_every_title() {
    let house = House::open();
    let titles = |words: &[&str]| {
        let films = house.objects(words);
        films.iter().map(|film| film["title"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = titles(&["all"]);
    assert_eq!(all.len(), 20);
    let text = house.prints(&["movie", "list"]);
    assert!(all.iter().all(|title| text.contains(title.as_str())), "{text}");
    assert_eq!(titles(&["all", "--prefix", "the M"]), ["The Matrix"]);
    let rest = titles(&["movie", "list", "--after", "The Heat (2013)"]);
    assert_eq!(rest, all[all.iter().position(|title| title == "The Heat").unwrap() + 1..]);
}

#[test]
fn a09_text_is_kept_and_compared_folded() {
    let house = House::open();
    let title = r#"Ｗeiß & "Co", the_ > | ; 🎬"#;
    house.prints(&["movie", "add", title, "--year", "2001", "--description", "a\nb, \"c\""]);
    let found = &house.objects(&["find", "WEISS AND co the"])[0];
    assert_eq!((&found["title"], &found["match"]), (&title.into(), &"exact".into()));
    assert_eq!(found["description"], "a\nb, \"c\"");
}
