use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::values::{counted_item, duration, item, user_code};
use super::*;

fn parse(line: &str) -> Result<Cli, ErrorKind> {
    Cli::try_parse_from(["client"].into_iter().chain(line.split_whitespace())).map_err(|error| error.kind())
}

/// Every command of the tree, with the words that lead to it.
fn every_command() -> Vec<(String, clap::Command)> {
    let mut all = vec![(String::new(), Cli::command())];
    all[0].1.build();
    let mut next = 0;
    while next < all.len() {
        let (words, command) = all[next].clone();
        all.extend(
            command
                .get_subcommands()
                .filter(|sub| sub.get_name() != "help")
                .map(|sub| (format!("{words} {}", sub.get_name()), sub.clone())),
        );
        next += 1;
    }
    all
}

#[test]
fn the_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_of_each_command_fits_100_columns_and_has_an_example() {
    for (words, command) in every_command() {
        for help in [command.clone().render_help(), command.clone().render_long_help()] {
            let help = help.to_string();
            assert!(help.starts_with("Example"), "{words}: {help}");
            let widest = help.lines().max_by_key(|line| line.chars().count()).unwrap();
            assert!(widest.chars().count() <= 100, "{words}: {widest}");
        }
    }
}

#[test]
fn every_example_is_a_command() {
    for (words, mut command) in every_command() {
        let help = command.render_help().to_string();
        let examples = help.lines().take_while(|line| !line.is_empty());
        for line in examples.filter_map(|line| line.split_once("client ").map(|(_, rest)| rest)) {
            let mut parts = line.split('"');
            let mut args = vec!["client".to_owned()];
            while let Some(bare) = parts.next() {
                args.extend(bare.split_whitespace().map(str::to_owned));
                args.extend(parts.next().map(str::to_owned));
            }
            assert!(Cli::try_parse_from(&args).is_ok(), "{words}: {args:?}");
        }
    }
}

#[test]
fn nothing_typed_is_no_command_and_what_is_not_built_is_not_there() {
    assert!(parse("").unwrap().command.is_none());
    assert!(parse("--json").unwrap().command.is_none());
    assert_eq!(parse("ns forget").unwrap_err(), ErrorKind::InvalidSubcommand);
}

#[test]
fn flags_of_all_commands_stand_before_and_after_them() {
    for line in [
        "-u ann --json order list",
        "order list -u ann --json",
        "order --json -u ann list",
        "orders -u ann --json",
    ] {
        let cli = parse(line).unwrap();
        assert_eq!((cli.global.user.as_deref(), cli.global.format()), (Some("ann"), Format::Json), "{line}");
    }
    assert_eq!(parse("-o plain menu").unwrap().global.format(), Format::Plain);
    assert_eq!(parse("-q -v menu").unwrap_err(), ErrorKind::ArgumentConflict);
}

#[test]
fn several_name_servers_are_one_list() {
    let cli = parse("-n 127.0.0.1:1,shop.example:2 menu").unwrap();
    let all: Vec<String> = cli.global.name_server.iter().map(ToString::to_string).collect();
    assert_eq!(all, ["127.0.0.1:1", "shop.example:2"]);
    assert_eq!(parse("-n nowhere menu").unwrap_err(), ErrorKind::ValueValidation);
}

#[test]
fn an_item_is_a_name_and_perhaps_a_quantity() {
    let one = |text: &str| item(text).map(|item| (item.item, item.qty));
    assert_eq!(one("hamburger=2"), Ok(("hamburger".into(), 2)));
    assert_eq!(one(" fish fingers "), Ok(("fish fingers".into(), 1)));
    assert_eq!(one("a=b=3"), Ok(("a=b".into(), 3)));
    for bad in ["", "=2", "apple=", "apple=-1", "apple=1.5", "apple=two", "apple=99999999999"] {
        assert!(item(bad).is_err(), "{bad:?}");
    }
    assert!(counted_item("apple").is_err());
}

#[test]
fn times_have_units_and_bounds() {
    assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
    assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
    for bad in ["", "5", "s", "-1s", "1.5s", "5 s", "5d", "99999999999999999999s", "18446744073709551615h"] {
        assert!(duration(bad).is_err(), "{bad:?}");
    }
    assert!(parse("--timeout 0s menu").is_err());
    assert!(parse("--timeout 2h menu").is_err());
    assert!(parse("cluster wait --timeout 1h --replicas 3").is_ok());
    assert!(parse("--retries 0 menu").is_err());
}

#[test]
fn deliveries_have_the_numbers_of_old() {
    let delivery = |word: &str| match parse(&format!("order quote --delivery {word}")).unwrap().command {
        Some(Command::Order(Orders { what: Some(Order::Quote(goods)) })) => goods.delivery,
        other => panic!("{other:?}"),
    };
    assert_eq!(["2h", "same-day", "next-day"].map(delivery), ["1", "2", "3"].map(delivery));
    assert_eq!(parse("order quote --delivery tomorrow").unwrap_err(), ErrorKind::InvalidValue);
}

#[test]
fn a_user_code_has_1_to_64_characters() {
    assert!(user_code(&"é".repeat(64)).is_ok());
    assert!(user_code(&"e".repeat(65)).is_err());
    assert!(user_code("  ").is_err());
}

#[test]
fn values_that_cannot_be_are_refused() {
    for (line, kind) in [
        ("user set", ErrorKind::MissingRequiredArgument),
        ("motd set", ErrorKind::MissingRequiredArgument),
        ("menu load", ErrorKind::MissingRequiredArgument),
        ("run", ErrorKind::MissingRequiredArgument),
        ("servers add nowhere", ErrorKind::ValueValidation),
        ("servers remove one", ErrorKind::ValueValidation),
        ("completions tcsh", ErrorKind::InvalidValue),
        ("order show", ErrorKind::MissingRequiredArgument),
        ("order show -3", ErrorKind::UnknownArgument),
        ("order list --limit 0", ErrorKind::ValueValidation),
        ("cluster wait --replicas 0", ErrorKind::ValueValidation),
        ("ns list a --regex b", ErrorKind::ArgumentConflict),
        ("ns list --any", ErrorKind::MissingRequiredArgument),
        ("--request-id 00000000-0000-0000-0000-000000000000 order cancel 1", ErrorKind::ValueValidation),
    ] {
        assert_eq!(parse(line).unwrap_err(), kind, "{line}");
    }
}
