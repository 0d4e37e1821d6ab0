//! The client as a person meets it: at a terminal, with real programs behind it.

use std::net::TcpListener;
use std::path::Path;

use anyhow::{Result, ensure};
use cluster_tests::cluster::{Cluster, Options};
use cluster_tests::process::Process;
use cluster_tests::terminal::{Kind, Terminal};
use rustix::process::Signal;
use tempfile::TempDir;

/// A cluster, and a home for the client.
struct Place {
    cluster: Cluster,
    home: TempDir,
}

impl Place {
    fn new(replicas: u8) -> Result<Self> {
        let cluster = Cluster::start(Options { replicas, ..Options::default() })?;
        Ok(Self { cluster, home: tempfile::tempdir()? })
    }

    fn terminal(&self, kind: Kind, words: &[&str]) -> Result<Terminal> {
        Terminal::open(kind, &self.cluster.name_server.address().to_string(), self.home.path(), words)
    }

    fn orders(&self, user: &str) -> Result<usize> {
        Ok(self.cluster.json(&["order", "list", "-u", user])?.len())
    }
}

/// First visit of somebody unknown: every field is asked until it is good, nothing else before the postcode is; the
/// primary dies in the middle, and nobody notices. Second order: the details are only confirmed. Then history, one
/// cancelled, and home.
#[test]
fn b02_wizard_asks_each_field_until_given_and_b05_second_order_confirms_details() -> Result<()> {
    let mut place = Place::new(3)?;
    let mut person = place.terminal(Kind::default(), &[])?;
    person.expect("JUST HUNGRY")?;
    person.expect("Welcome to Just Hungry. Hot food, cold facts.")?;
    person.answer("User code (Enter makes one up): ", "ann")?;
    person.expect("1 menu  2 order  3 orders  4 cancel  5 movies  6 ratings  q quit")?;
    person.answer("ann> ", "2")?;
    person.answer("First name: ", "")?;
    person.expect("first: Don't leave it blank!")?;
    person.answer("First name: ", "Ann")?;
    person.answer("Last name: ", "Smith")?;
    person.answer("Phone: ", "12abc")?;
    person.answer("Phone: ", "020 7946 0018")?;
    for _ in 0..2 {
        person.answer("Postcode: ", "nowhere")?;
        person.expect("Invalid postcode")?;
    }
    person.answer("Postcode: ", "ZZ1 1ZZ")?;
    person.answer("Give up? [y/N] ", "")?;
    person.answer("Postcode: ", "dh13le")?;
    person.answer("Order anyway? [y/N] ", "Y")?;
    person.answer("Address: ", "1 Main Street")?;
    person.expect("Customer details verified.")?;

    person.expect("Hamburger")?;
    person.answer("Product", "apple")?;
    person.answer("How many Apple? [1]: ", "16")?;
    person.expect("Only 15 left.")?;
    for wrong in ["0", "-1", "100", "1e9", "many"] {
        person.answer("How many Apple? [1]: ", wrong)?;
        person.expect("A number from 1 to 99, please.")?;
    }
    person.answer("How many Apple? [1]: ", "2")?;
    person.expect("Added 2 x Apple(s) to cart.")?;
    let primary = place.cluster.primary()?;
    place.cluster.replicas[primary].kill()?;
    person.answer("Add more? [Y/n] ", "yes")?;
    person.answer("Product", "flour")?;
    person.expect("Flour is out of stock.")?;
    person.answer("Product", "hamburgr")?;
    person.answer("Did you mean Hamburger? [Y/n] ", "y")?;
    person.answer("How many Hamburger? [1]: ", "")?;
    person.answer("Add more? [Y/n] ", "N")?;
    person.answer("Continue? [Y/n] ", "perhaps")?;
    person.expect("y or n, please.")?;
    person.answer("Continue? [Y/n] ", "")?;
    person.answer("Delivery [3]: ", "4")?;
    person.expect("Invalid option selected.")?;
    person.answer("Delivery [3]: ", "1")?;
    for wrong in ["-1", "NaN", "1e300", "1.005"] {
        person.answer("Tip for the rider", wrong)?;
        person.expect("an amount is written like")?;
    }
    person.answer("Tip for the rider", "500.01")?;
    person.expect("tip: an amount from")?;
    person.answer("Tip for the rider", "0.17")?;
    person.answer("Place this order? [Y/n] ", "")?;
    person.expect("Order #1 successfully placed! Please pay on delivery.")?;

    person.answer("ann> ", "order")?;
    person.expect("Welcome back, Ann.")?;
    person.answer("Still right? [Y/n] ", "n")?;
    person.answer("First name [Ann]: ", "Anna")?;
    person.answer("Last name [Smith]: ", "")?;
    person.answer("Phone [+442079460018]: ", "")?;
    person.answer("Postcode [DH1 3LE]: ", "")?;
    person.answer("Address [1 Main Street]: ", "")?;
    person.answer("Product", "c")?;
    person.answer("How many Fish fingers? [1]: ", "")?;
    person.answer("Add more? [Y/n] ", "n")?;
    person.answer("Continue? [Y/n] ", "n")?;
    person.expect("Voiding order.")?;
    // The basket is kept, and the prompt says so.
    person.answer("ann [1 item ", "2")?;
    person.expect("Welcome back, Anna.")?;
    person.answer("Still right? [Y/n] ", "")?;
    person.answer("Add more? [Y/n] ", "n")?;
    person.answer("Continue? [Y/n] ", "")?;
    person.answer("Delivery [3]: ", "")?;
    person.answer("Tip for the rider", "")?;
    person.answer("Place this order? [Y/n] ", "")?;
    person.expect("Order #2 successfully placed!")?;

    person.answer("ann> ", "3")?;
    person.expect("2 x Apple, 1 x Hamburger")?;
    person.expect("1 x Fish fingers")?;
    person.answer("ann> ", "4")?;
    person.answer("Cancel which order? (its number; Enter for none): ", "7")?;
    person.expect("Specified order ID not found.")?;
    person.answer("Cancel which order? (its number; Enter for none): ", "1")?;
    person.answer("Cancel order #1 of ann? [y/N] ", "y")?;
    person.expect("Successfully deleted order 1.")?;
    person.answer("ann> ", "4")?;
    let shown = person.answer("Cancel which order? (its number; Enter for none): ", "")?;
    ensure!(!shown.contains("Apple"), "cancel shows active orders only: {shown}");
    person.answer("ann> ", "q")?;
    let (said, status) = person.end()?;
    ensure!(said.contains("Okay thanks for coming!") && status == 0, "{status}: {said}");
    assert_eq!(place.orders("ann")?, 2);

    // The code is remembered; an arrow brings back what was typed.
    let mut again = place.terminal(Kind::default(), &[])?;
    again.expect("ann> ")?;
    again.keys("\u{1b}[A\u{1b}[A\r")?;
    // What is typed ahead is not lost.
    again.answer("Cancel which order?", "\rexit")?;
    assert_eq!(again.end()?.1, 0);
    Ok(())
}

/// What a person who stays can say besides commands; and what they get for what is none.
#[test]
fn b01_shortcuts_d03_home_page_d05_order_by_letter_and_e03_postcode_session() -> Result<()> {
    let place = Place::new(1)?;
    let mut person = place.terminal(Kind::default(), &[])?;
    person.expect("JUST HUNGRY")?;
    person.answer("User code (Enter makes one up): ", &"x".repeat(65))?;
    person.expect("a user code has 1 to 64 characters")?;
    person.answer("User code (Enter makes one up): ", "")?;
    person.expect("Your user code is guest-")?;
    person.answer("guest-", "user use 'eve, \"1st\"'")?;

    person.answer("eve, \"1st\"> ", "3")?;
    person.expect("NO RECENT ORDERS")?;
    for wrong in ["0", "8", "99", "z", "?"] {
        person.answer("\"1st\"> ", wrong)?;
        person.expect("Invalid option selected.")?;
    }
    person.answer("\"1st\"> ", "ordr")?;
    person.expect("Unrecognised command.")?;
    person.expect("try: orders, order")?;
    person.answer("\"1st\"> ", "help order place")?;
    person.expect("Usage: client order place")?;
    person.answer("\"1st\"> ", "cancel")?;
    person.expect("No active orders for this user.")?;

    // A letter means a product only after the menu.
    person.answer("\"1st\"> ", "b")?;
    person.expect("Invalid option selected.")?;
    person.answer("\"1st\"> ", "1")?;
    person.expect("Out of stock")?;
    person.answer("\"1st\"> ", "q1")?;
    person.expect("Unrecognised command.")?;
    person.answer("\"1st\"> ", "menu")?;
    person.answer("\"1st\"> ", "Z")?;
    person.expect("Invalid option selected.")?;
    person.answer("\"1st\"> ", "menu")?;
    person.answer("\"1st\"> ", "n")?;
    person.expect("Flour is out of stock.")?;
    person.answer("\"1st\"> ", "menu")?;
    person.answer("\"1st\"> ", "b")?;
    person.answer("Postcode: ", "DH1 3LE")?;
    person.answer("Order anyway? [y/N] ", "y")?;
    person.answer("Confirm? [Y/n] ", "n")?;
    person.expect("ORDER SUCCESSFULLY CANCELLED")?;
    person.answer("\"1st\"> ", "menu")?;
    person.answer("\"1st\"> ", "b")?;
    person.answer("Postcode: ", "nowhere")?;
    person.expect("Invalid postcode")?;
    person.answer("Postcode: ", "DH1 3LE")?;
    person.answer("Order anyway? [y/N] ", "y")?;
    person.answer("Confirm? [Y/n] ", "")?;
    person.expect("ORDER CONFIRMED")?;

    // Whoever orders by postcode has its history; Tab completes.
    person.answer("\"1st\"> ", "postcode")?;
    person.answer("Postcode: ", "DH1 3LG")?;
    person.answer("dh13lg> ", "orders")?;
    person.expect("1 x Fried chicken, 1 x Chips")?;
    person.expect("dh13lg> ")?;
    person.keys("cart add Veg\t=3\r")?;
    person.expect("3 x Vegetables")?;
    person.answer("dh13lg [3 items ", "cart clear")?;
    person.answer("dh13lg> ", "order place --item chips --postcode dh13lg --tip 1")?;
    person.expect("Order #3 successfully placed!")?;
    person.answer("dh13lg> ", "exit")?;
    assert_eq!(person.end()?.1, 0);
    assert_eq!((place.orders("eve, \"1st\"")?, place.orders("dh13lg")?), (1, 3));
    Ok(())
}

/// A whole order, prompt by prompt.
const ORDER: &[(&str, &str)] = &[
    ("> ", "order"),
    ("First name: ", "Ann"),
    ("Last name: ", "Smith"),
    ("Phone: ", "020 7946 0018"),
    ("Postcode: ", "DH1 3LE"),
    ("Order anyway? [y/N] ", "y"),
    ("Address: ", "1 Main Street"),
    ("Product", "apple"),
    ("How many Apple? [1]: ", "1"),
    ("Add more? [Y/n] ", "n"),
    ("Continue? [Y/n] ", "y"),
    ("Delivery [3]: ", "2"),
    ("Tip for the rider", "1"),
    ("Place this order? [Y/n] ", "y"),
];

/// At every prompt of an order Ctrl-C ends it and nothing is ordered, and Ctrl-D ends the visit; while a command is
/// under way Ctrl-C tells its id, and twice is enough to leave.
#[test]
fn ctrl_c_takes_back_and_ctrl_d_leaves_at_every_prompt() -> Result<()> {
    let place = Place::new(1)?;
    for stop in 0..ORDER.len() {
        for control in ['c', 'd'] {
            let user = format!("user-{stop}{control}");
            let mut person = place.terminal(Kind::default(), &["-u", &user])?;
            person.expect(&user)?;
            for (question, answer) in &ORDER[..stop] {
                person.answer(question, answer)?;
            }
            person.expect(ORDER[stop].0)?;
            person.control(control)?;
            if control == 'c' {
                if stop > 0 {
                    person.expect("Nothing was sent.")?;
                }
                person.expect(&user)?;
                person.control('d')?;
            }
            let (said, status) = person.end()?;
            ensure!(said.contains("Okay thanks for coming!") && status == 0, "{stop} {control}: {said}");
            ensure!(place.orders(&user)? == 0, "{stop} {control}: something was ordered");
        }
    }

    let mut person = place.terminal(Kind::default(), &["-u", "ann"])?;
    person.expect("ann> ")?;
    let front_end = &place.cluster.front_ends[0];
    // A machine that is too busy to press two keys within a second presses them again.
    for _ in 0..10 {
        front_end.signal(Signal::STOP)?;
        person.line("-v --timeout 4s order place --item chips --postcode dh13le")?;
        person.expect("gave no answer")?;
        person.control('c')?;
        person.expect("outcome unknown, request id ")?;
        person.expect("repeat it with --request-id ")?;
        person.expect("ann> ")?;
        person.control('c')?;
        front_end.signal(Signal::CONT)?;
        if person.ends_or("ann> ")? {
            assert_eq!(person.end()?.1, 130);
            return Ok(());
        }
    }
    panic!("two Ctrl-C never were enough");
}

/// A client before any server: it says so, waits as long as somebody wants, and goes on when there is one; a service
/// that goes away later is told of, and every prompt works.
#[test]
fn e02_client_before_servers_and_d02_motd_is_the_health_check() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // Whoever listens on port 0 and lets go again leaves a port that is free for a while.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let mut person =
        Terminal::open(Kind::default(), &address, &folder.path().join("state"), &["--timeout", "1s"])?;
    person.expect("JUST HUNGRY")?;
    person.expect("no name server at ")?;
    person.answer("nothing received from the server. Try again? [Y/n] ", "")?;
    person.answer("nothing received from the server. Try again? [Y/n] ", "n")?;
    person.answer("User code (Enter makes one up): ", "ann")?;
    person.answer("ann> ", "menu")?;
    person.expect("no name server at ")?;
    person.answer("Try again? [Y/n] ", "no")?;
    person.answer("ann> ", "about")?;
    person.expect("it is not authentication")?;
    person.answer("ann> ", "menu")?;
    person.expect("Try again? [Y/n] ")?;

    let start = |name: &str, program: &'static str, args: &[&str]| {
        Process::start(name, program, args.iter().map(|&arg| arg.to_owned()).collect(), folder.path())
    };
    let store = path(folder.path(), "nameserver.redb");
    let data = path(folder.path(), "replica.1");
    let _name_server = start("nameserver", "nameserver", &["-l", &address, "--store", &store])?;
    let _replica = start("replica.1", "replica", &["1", "--first", "-n", &address, "--data-dir", &data])?;
    let front_end =
        start("frontend.1", "frontend", &["-n", &address, "--http", "off", "--postcodes", "offline"])?;
    person.line("y")?;
    // The first try may still come too early.
    while !person.comes_first("Hamburger", "Try again? [Y/n] ")? {
        person.line("y")?;
    }
    person.answer("ann> ", "motd")?;
    person.expect("Hot food, cold facts.")?;

    front_end.signal(Signal::STOP)?;
    person.answer("ann> ", "order place --item chips --postcode dh13le")?;
    person.expect("it may have been carried out")?;
    person.expect("Try again? [Y/n] ")?;
    front_end.signal(Signal::CONT)?;
    person.line("y")?;
    person.expect("Order #1 successfully placed!")?;
    person.answer("ann> ", "orders -o plain")?;
    let listed = person.answer("ann> ", "q")?;
    ensure!(!listed.contains("\n2\t"), "the same id was ordered once: {listed}");
    assert_eq!(person.end()?.1, 0);
    Ok(())
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_string_lossy().into_owned()
}

/// What a terminal cannot do is not done to it: 40 columns, no colour, no cursor.
#[test]
fn a_narrow_a_colourless_and_a_dumb_terminal_are_respected() -> Result<()> {
    const COLOUR: &str = "\u{1b}[1;33m";
    let place = Place::new(1)?;
    let menu = |kind: Kind| -> Result<String> {
        let mut person = place.terminal(kind, &["-u", "ann"])?;
        person.answer("ann> ", "menu")?;
        let menu = person.answer("ann> ", "q")?;
        assert_eq!(person.end()?.1, 0);
        Ok(menu)
    };
    let usual = menu(Kind::default())?;
    ensure!(usual.contains(COLOUR) && usual.contains("Out of stock"), "{usual}");

    let narrow = menu(Kind { columns: 40, environment: &[("TERM", "xterm"), ("NO_COLOR", "1")] })?;
    ensure!(narrow.contains("Out of stock") && !narrow.contains(COLOUR), "{narrow}");
    // What follows the echo of the command; a pound sign is two bytes here.
    let rows: Vec<&str> =
        narrow.lines().filter(|line| line.contains("Fries") || line.contains("Flour")).collect();
    ensure!(rows.len() == 2 && rows.iter().all(|row| row.trim_end().len() <= 42), "{rows:?}");

    let dumb = menu(Kind { columns: 80, environment: &[("TERM", "dumb")] })?;
    ensure!(dumb.contains("Out of stock") && !dumb.contains('\u{1b}'), "{dumb}");

    // Without a terminal on standard error nobody is asked, whatever standard input is.
    let words = ["--no-input", "order", "cancel", "1", "-u", "ann"];
    let (said, status) = place.terminal(Kind::default(), &words)?.end()?;
    ensure!(status == 4 && said.contains("--yes"), "{status}: {said}");
    Ok(())
}

#[test]
fn a_film_is_found_by_number_five_and_in_spite_of_a_slip_of_the_hand() -> Result<()> {
    let place = Place::new(1)?;
    let mut person = place.terminal(Kind::default(), &["-u", "ann"])?;
    person.answer("ann> ", "5")?;
    person.answer("Title (Enter lists all): ", "godfater")?;
    person.answer("Did you mean The Godfather (1972)? [Y/n] ", "")?;
    person.expect("The Godfather was made in (1972) and has the genres Crime|Drama")?;
    person.answer("ann> ", "movies xyzzy")?;
    person.expect(" is not in the database, and OMDb could not be asked")?;
    person.answer("ann> ", "movies")?;
    person.answer("Title (Enter lists all): ", "")?;
    person.expect("Toy Story")?;
    person.answer("ann> ", "find the heat")?;
    person.expect("The Heat was made in (2013)")?;
    person.answer("ann> ", "q")?;
    person.expect("Okay thanks for coming!")?;
    Ok(())
}
