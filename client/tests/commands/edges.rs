//! Arguments at the edge of what is allowed, and beyond it.

use super::*;

/// The exit status and the code of `words`, as ann.
fn refused(house: &House, words: &[&str]) -> (i32, String) {
    let (exit, error) = house.fails(&[words, &["-u", "ann"]].concat());
    assert!(error["message"].is_string(), "{words:?}: {error}");
    (exit, error["code"].as_str().unwrap().to_owned())
}

#[test]
fn b13_tip_edges_and_quantities_are_numbers_within_their_bounds() {
    let house = House::open();
    for bad in ["apple=0", "apple=100", "apple=1000000000"] {
        let place = ["order", "place", "--postcode", "dh13le", "--item", bad];
        assert_eq!(refused(&house, &place), (2, "invalid".into()), "{bad}");
        assert_eq!(refused(&house, &["cart", "add", bad]), (2, "invalid".into()), "{bad}");
    }
    for bad in ["apple=-1", "apple=1e9", "apple=two", "apple=1.5", "apple=", "=1", "apple=4294967296"] {
        let place = ["order", "place", "--postcode", "dh13le", "--item", bad];
        assert_eq!(refused(&house, &place), (2, "usage".into()), "{bad}");
        assert_eq!(refused(&house, &["cart", "set", bad]), (2, "usage".into()), "{bad}");
    }
    // Equal items are one line, and its bound is the line's.
    let twice = ["cart", "add", "hamburger=50", "hamburger=49"];
    house.prints(&[&twice[..], &["-u", "ann"]].concat());
    assert_eq!(refused(&house, &["cart", "add", "hamburger"]), (2, "invalid".into()));

    let quote = ["order", "quote", "-u", "ann", "--json", "--tip"];
    for (tip, pence) in [("0", 0), ("0.01", 1), ("12.5", 1_250), ("£500.00", 50_000)] {
        let quoted = object(&house.prints(&[&quote[..], &[tip]].concat()));
        assert_eq!(quoted["tip_pence"], pence, "{tip}");
    }
    assert_eq!(refused(&house, &["order", "quote", "--tip", "500.01"]), (2, "invalid".into()));
    for bad in ["--tip=-1", "--tip=NaN", "--tip=inf", "--tip=1e300", "--tip=1.005", "--tip=1,000", "--tip="] {
        assert_eq!(refused(&house, &["order", "quote", bad]), (2, "usage".into()), "{bad}");
    }
    for bad in ["0", "4", "tomorrow", ""] {
        assert_eq!(refused(&house, &["order", "quote", "--delivery", bad]), (2, "usage".into()), "{bad}");
    }
    assert_eq!(house.prints(&["orders", "-u", "ann", "--json"]), "");
}

#[test]
fn texts_have_their_lengths_and_are_kept_as_they_are() {
    let house = House::open();
    let set = |flag: &str, text: &str| house.client(&["user", "set", "-u", "ann", "--json", flag, text]);
    for (flag, most) in [("--first", 64), ("--last", 64), ("--address", 200)] {
        let kept = set(flag, &"é".repeat(most));
        assert!(kept.status.success(), "{flag}: {kept:?}");
        for bad in ["", "   ", &"é".repeat(most + 1)] {
            let (exit, error) = failed(&set(flag, bad));
            assert_eq!((exit, &error["code"]), (2, &"invalid".into()), "{flag} {bad:?}: {error}");
        }
    }
    for text in ["O'Hara, \"Ann\"; the > 1st_|", "=HYPERLINK(\"x\")", "@SUM(A1)", "Ωμέγα Σ", "👩‍👩‍👧 🍎", "-"]
    {
        let kept = set("--first", text);
        let user = object(&String::from_utf8(kept.stdout).unwrap());
        assert_eq!(user["first"], text);
        let plain = house.prints(&["user", "show", "-u", "ann", "-o", "plain"]);
        assert_eq!(plain.split('\t').nth(1), Some(text));
    }
    // Composed or not is the same name.
    let user = object(&String::from_utf8(set("--first", "Ame\u{301}lie").stdout).unwrap());
    assert_eq!(user["first"], "Amélie");
    for bad in
        ["a\u{1b}[31m", "a\nb", "a\tb", "a\u{202e}b", "a\u{200f}b", "a\u{200b}b", "a\u{7f}", "\u{e000}"]
    {
        let (exit, error) = failed(&set("--first", bad));
        assert_eq!(
            (exit, &error["code"], &error["field"]),
            (2, &"invalid".into(), &"first".into()),
            "{bad:?}"
        );
    }
    for code in ["comma, and \"quote\"", "12345", "🍎", "a/b\\c", &"x".repeat(64)] {
        house.prints(&["cart", "add", "chips", "-u", code]);
        assert_eq!(object(&house.prints(&["cart", "show", "-u", code, "--json"]))["user"], code);
    }
    for bad in ["", " ", &"x".repeat(65)] {
        assert_eq!(house.fails(&["cart", "show", "-u", bad]).0, 2, "{bad:?}");
    }
    let (exit, error) = house.fails(&["cart", "show", "-u", "a\u{202e}b"]);
    assert_eq!((exit, &error["code"]), (2, &"invalid".into()));
}

#[test]
fn t11_what_others_wrote_steers_no_terminal_and_starts_no_formula() {
    let house = House::open();
    for words in [
        &["order", "place", "-u", "ann", "--item", "\u{1b}[2J\u{9b}31m", "--postcode", "dh13le"][..],
        &["order", "place", "-u", "ann", "--item", "chips", "--postcode", "\u{1b}]0;x\u{7}"],
        &["postcode", "check", "\u{202e}EL3 1HD"],
        &["ns", "lookup", "\u{1b}[31mred"],
        &["menu", "load", "\u{1b}[31m.csv"],
        &["\u{1b}[31m"],
    ] {
        for form in ["table", "plain", "json"] {
            let output = house.client(&[words, &["-o", form]].concat());
            assert!(!output.status.success());
            let all = [output.stdout, output.stderr].concat();
            let text = String::from_utf8(all).unwrap();
            let steers = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
            assert!(!text.contains(steers), "{words:?}: {text:?}");
        }
    }
    // A cell of a file is a name, never a formula, and comes back as it was.
    let menu = house.state().join("menu.csv");
    std::fs::write(&menu, "name,price,stock\n\"=1+1\",1,2\n\"@a, \"\"b\"\"\",1,2\n-2+3,1,2\n").unwrap();
    house.prints(&["menu", "load", menu.to_str().unwrap(), "--yes"]);
    let names: Vec<String> = house
        .prints(&["menu", "-o", "plain"])
        .lines()
        .map(|line| line.split('\t').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(names, ["=1+1", "@a, \"b\"", "-2+3"]);
    // One that steers is refused as a whole.
    std::fs::write(&menu, "name,price,stock\nA,1,2\n\u{1b}[31mred,1,2\n").unwrap();
    let (exit, error) = house.fails(&["menu", "load", menu.to_str().unwrap(), "--yes"]);
    assert_eq!((exit, &error["code"]), (2, &"invalid".into()), "{error}");
    assert_eq!(house.prints(&["menu", "-o", "plain"]).lines().count(), 3);
}
