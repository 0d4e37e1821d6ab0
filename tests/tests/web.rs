//! The web pages without JavaScript, as a browser, a hurried finger and somebody who means harm meet them.

use anyhow::{Context as _, Result, ensure};
use cluster_tests::browser::{Browser, Page};
use cluster_tests::cluster::{Cluster, Options};
use cluster_tests::process::PATIENCE;
use common::clock::Clock;
use serde_json::Value;

/// One replica is enough where nobody dies.
fn small() -> Result<Cluster> {
    Cluster::with_pages(Options { replicas: 1, ..Options::default() })
}

fn browser(cluster: &Cluster) -> Browser {
    Browser::at(cluster.front_ends[0].told("http"))
}

/// Puts one of an item into the basket.
fn add(browser: &mut Browser, item: &str) -> Result<Page> {
    let (form, (name, value)) = browser.get("/")?.button("add", &format!(" {item}"))?;
    browser.press(&form, (&name, &value))
}

/// Says who they are.
fn become_user(browser: &mut Browser, user: &str) -> Result<Page> {
    let form = browser.get("/")?.form("/user")?.with("user", user);
    browser.press(&form, ("", ""))
}

fn orders(cluster: &Cluster, user: &str) -> Result<Vec<Value>> {
    cluster.json(&["order", "list", "-u", user])
}

#[test]
fn an_order_goes_from_menu_to_history_without_javascript() -> Result<()> {
    let cluster = small()?;
    let mut ann = browser(&cluster);
    become_user(&mut ann, "ann")?;
    add(&mut ann, "Burger")?;
    add(&mut ann, "Apple")?;
    let home = add(&mut ann, "Burger")?;
    assert!(home.text().contains("Burger is in your basket: 2 of it."), "{}", home.text());
    assert!(home.text().contains("3 items, £14.99"), "{}", home.text());

    let review = ann.review("dh1 3le", "same-day", "2.50")?;
    let shown = review.text();
    for part in ["Ann O'Neil", "+442079460018", "DH1 3LE, Durham", "2 × Burger £13.00", "Total £18.49"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let form = review.form("/checkout")?;
    let placed = ann.press_only(&form, ("", ""))?;
    assert_eq!((placed.status, placed.header("location")), (303, Some("/orders/1?placed")));
    let order = ann.follow(placed)?;
    assert!(
        order.text().contains("Order #1 successfully placed! Please pay on delivery."),
        "{}",
        order.text()
    );

    let listed = orders(&cluster, "ann")?;
    assert_eq!(
        (listed.len(), &listed[0]["total_pence"], &listed[0]["postcode"]),
        (1, &1849.into(), &"DH1 3LE".into())
    );
    assert_eq!(listed[0]["request_id"], form.field("request").context("it carries an id")?);

    let cancel = ann.get("/orders/1")?.form("/orders/1/cancel")?;
    let cancelled = ann.press(&cancel, ("", ""))?;
    assert!(cancelled.text().contains("Order #1 is cancelled."), "{}", cancelled.text());
    let history = ann.get("/orders")?;
    assert!(history.text().contains("Order #1 cancelled £18.49"), "{}", history.text());
    Ok(())
}

#[test]
fn a_double_click_a_reload_and_a_coming_back_are_one_order() -> Result<()> {
    let cluster = Cluster::with_pages(Options { replicas: 1, front_ends: 2, ..Options::default() })?;
    let mut ann = browser(&cluster);
    become_user(&mut ann, "ann")?;
    let (form, (name, value)) = ann.get("/")?.button("add", " Pizza")?;
    for _ in 0..2 {
        let home = ann.press(&form, (&name, &value))?;
        assert!(home.text().contains("1 item, £8.95"), "pressed twice, added once: {}", home.text());
    }
    let form = ann.review("DH1 3LE", "next-day", "")?.form("/checkout")?;
    // At the same moment, once more afterwards, and through another front end.
    let both = [ann.clone(), ann.clone()].map(|mut ann| {
        let form = form.clone();
        std::thread::spawn(move || ann.press_only(&form, ("", "")))
    });
    let mut answers = vec![];
    for one in both {
        answers.push(one.join().expect("no panic")?);
    }
    answers.push(ann.press_only(&form, ("", ""))?);
    answers.push(ann.moved_to(cluster.front_ends[1].told("http")).press_only(&form, ("", ""))?);
    for answer in answers {
        assert_eq!((answer.status, answer.header("location")), (303, Some("/orders/1?placed")));
    }
    assert_eq!(orders(&cluster, "ann")?.len(), 1);
    // Back to the review: it is asked for anew, and says what became of it.
    let back = ann.get("/checkout?review&delivery=next-day&tip=0.00")?;
    assert!(back.text().contains("Your basket is empty"), "{}", back.text());
    assert_eq!(back.header("cache-control"), Some("no-store"));
    Ok(())
}

#[test]
fn a_primary_killed_during_checkout_costs_nothing_but_a_moment() -> Result<()> {
    let mut cluster = Cluster::with_pages(Options::default())?;
    let mut ann = browser(&cluster);
    become_user(&mut ann, "ann")?;
    add(&mut ann, "Kale")?;
    let form = ann.review("DH1 3LE", "2h", "1")?.form("/checkout")?;
    let primary = cluster.primary()?;
    let pressing = {
        let (mut ann, form) = (ann.clone(), form.clone());
        std::thread::spawn(move || ann.press_only(&form, ("", "")))
    };
    cluster.replicas[primary].kill()?;
    for answer in [pressing.join().expect("no panic")?, ann.press_only(&form, ("", ""))?] {
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, Some("/orders/1?placed")),
            "{}",
            answer.text()
        );
    }
    assert_eq!(orders(&cluster, "ann")?.len(), 1);
    Ok(())
}

#[test]
fn a_shop_that_is_away_says_so_and_keeps_the_basket() -> Result<()> {
    let mut cluster = small()?;
    let mut ann = browser(&cluster);
    become_user(&mut ann, "ann")?;
    add(&mut ann, "Kale")?;
    let form = ann.review("DH1 3LE", "next-day", "0")?.form("/checkout")?;
    cluster.replicas[0].kill()?;
    let asked = [ann.get("/")?, ann.get("/orders")?];
    for page in asked {
        assert_eq!(page.status, 503);
        assert!(page.text().contains("not taking orders right now"), "{}", page.text());
    }
    let unsure = ann.press_only(&form, ("", ""))?;
    assert_eq!(unsure.status, 503);
    let again = unsure.form("/checkout")?;
    assert_eq!(again.field("request"), form.field("request"), "the same order, however often");
    assert_eq!(ann.get("/about")?.status, 200);

    cluster.replicas[0].start_again()?;
    cluster.await_whole(1)?;
    assert!(ann.get("/")?.text().contains("1 item, £0.99"), "the basket is kept");
    let placed = ann.press_only(&again, ("", ""))?;
    assert_eq!(placed.header("location"), Some("/orders/1?placed"));
    Ok(())
}

#[test]
fn what_was_typed_wrong_is_said_at_its_field_and_nothing_typed_is_lost() -> Result<()> {
    let cluster = small()?;
    let mut ann = browser(&cluster);
    become_user(&mut ann, "ann")?;
    add(&mut ann, "Kale")?;
    let form = ann.get("/checkout")?.form("/checkout")?;
    let good = [
        ("first", "Ann"),
        ("last", "Lee"),
        ("phone", "020 7946 0018"),
        ("address", "1 Road"),
        ("postcode", "DH1 3LE"),
    ];
    let good = good.iter().fold(form, |form, (name, value)| form.with(name, value));
    for (field, typed, said) in [
        ("first", " ", "Your first name is missing."),
        ("phone", "12abc", "Your phone number: 8 to 15 digits"),
        ("postcode", "DH 11", "Invalid postcode"),
        ("tip", "-1", "The tip: an amount is written like"),
        ("tip", "nan", "The tip: an amount is written like"),
        ("delivery", "soon", "Choose one of the three."),
    ] {
        let page = ann.press(&good.clone().with(field, typed), ("", ""))?;
        assert_eq!(page.status, 422, "{field}");
        assert!(page.text().contains(said), "{field}: {}", page.text());
        assert!(page.body.contains(&format!("<a href=\"#{field}\">")), "the summary leads to {field}");
        let kept = page.form("/checkout")?;
        assert_eq!(kept.field("address"), Some("1 Road"));
        if field != "delivery" {
            assert_eq!(kept.field(field), Some(typed), "what was typed is kept");
        }
    }
    let tip = ann.press(&good.with("tip", "501"), ("", ""))?;
    assert!(tip.text().contains("The tip: an amount from £0.00 to £500.00"), "{}", tip.text());
    assert_eq!(tip.form("/checkout")?.field("tip"), Some("501.00"));
    Ok(())
}

#[test]
fn a_total_that_changed_is_shown_again_before_anything_is_ordered() -> Result<()> {
    let cluster = small()?;
    let mut ann = browser(&cluster);
    become_user(&mut ann, "ann")?;
    add(&mut ann, "Kale")?;
    let form = ann.review("DH1 3LE", "next-day", "0")?.form("/checkout")?;
    // In another window.
    add(&mut ann, "Kale")?;
    let changed = ann.press(&form, ("", ""))?;
    assert_eq!(changed.status, 422);
    assert!(
        changed.text().contains("The total is now £1.98, you saw £0.99. Nothing was ordered."),
        "{}",
        changed.text()
    );
    let placed = ann.press_only(&changed.form("/checkout")?, ("", ""))?;
    assert_eq!(placed.header("location"), Some("/orders/1?placed"));
    assert_eq!(orders(&cluster, "ann")?[0]["total_pence"], 198);
    Ok(())
}

#[test]
fn a_basket_is_changed_line_by_line_and_emptied() -> Result<()> {
    let cluster = small()?;
    let mut ann = browser(&cluster);
    become_user(&mut ann, "ann")?;
    add(&mut ann, "Kale")?;
    let home = add(&mut ann, "Fish fingers")?;
    let (form, _) = home.button("update", "1")?;
    let mut changed = form.clone();
    for (name, value) in &mut changed.fields {
        if name == "qty" {
            *value = "3".to_owned();
        }
    }
    let home = ann.press(&changed, ("update", "1"))?;
    assert!(home.text().contains("6 items, £23.52"), "{}", home.text());
    changed
        .fields
        .iter_mut()
        .filter(|(name, _)| name == "qty")
        .for_each(|(_, value)| *value = "100".to_owned());
    let refused = ann.press(&home.button("update", "1")?.0.with("qty", "100"), ("update", "1"))?;
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("a number from 1 to 99, please."), "{}", refused.text());
    let (form, (name, value)) = home.button("remove", " Kale")?;
    let home = ann.press(&form, (&name, &value))?;
    assert!(home.text().contains("3 items, £20.55"), "{}", home.text());
    let (form, (name, value)) = home.button("clear", "")?;
    let home = ann.press(&form, (&name, &value))?;
    assert!(home.text().contains("Nothing in it yet."), "{}", home.text());
    let short = add(&mut ann, "Bread")?;
    let many = ann.press(&short.button("update", "1")?.0.with("qty", "9"), ("update", "1"))?;
    assert!(many.text().contains("not that many left"), "{}", many.text());
    let review = ann.get("/checkout?review&delivery=next-day&tip=0")?;
    ensure!(review.status == 200, "no details yet: {}", review.text());
    Ok(())
}

#[test]
fn a_rating_is_seen_at_once_through_any_front_end_and_taken_back() -> Result<()> {
    let cluster = Cluster::with_pages(Options { front_ends: 2, ..Options::default() })?;
    let mut ann = browser(&cluster);
    become_user(&mut ann, "ann")?;
    let path = "/movies/toy-story-1995";
    let film = ann.get(path)?;
    assert!(film.text().contains("No ratings yet."), "{}", film.text());
    let form = film.form(&format!("{path}/rating"))?;
    let wrong = ann.press(&form.clone().with("stars", "6"), ("", ""))?;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text().contains("Stars: a number from 0 to 5"), "{}", wrong.text());
    for (stars, mean) in [("4", "4.00 of 5, from 1 rating"), ("2.5", "2.50 of 5, from 1 rating")] {
        let rated = ann.press(&form.clone().with("stars", stars), ("", ""))?;
        assert!(rated.text().contains("Your rating is kept."), "{}", rated.text());
        assert!(rated.text().contains(mean), "{}", rated.text());
    }
    let elsewhere = ann.moved_to(cluster.front_ends[1].told("http")).get(path)?;
    assert!(elsewhere.text().contains("2.50 of 5"), "{}", elsewhere.text());
    assert_eq!(elsewhere.form(&format!("{path}/rating"))?.field("stars"), Some("2.5"));

    let (form, (name, value)) = ann.get(path)?.button("delete", "1")?;
    let gone = ann.press(&form, (&name, &value))?;
    assert!(gone.text().contains("Your rating is taken back.") && gone.text().contains("No ratings yet."));
    Ok(())
}

#[test]
fn t12_what_is_typed_into_any_field_comes_back_as_text() -> Result<()> {
    let cluster = small()?;
    let mut ann = browser(&cluster);
    let tag = "<script>alert(1)</script>\"'&";
    // What an operator types, too.
    let menu = tempfile::NamedTempFile::new()?;
    std::fs::write(&menu, "name,price,stock\nKale,0.99,6\n\"<script>alert(2)</script>\",1.00,6\n")?;
    cluster.json(&["motd", "set", tag])?;
    cluster.json(&["--yes", "menu", "load", menu.path().to_str().context("a path is text")?])?;
    become_user(&mut ann, tag)?;
    let mut pages = vec![add(&mut ann, "Kale")?, add(&mut ann, "<script>alert(2)</script>")?];
    let (basket, _) = ann.get("/")?.button("update", "1")?;
    pages.push(ann.press(&basket.with("qty", tag), ("update", "1"))?);
    let typed = ["first", "last", "address", "phone", "postcode", "tip", "delivery", "request", "expected"];
    let form = ann.get("/checkout")?.form("/checkout")?;
    let all = typed.iter().fold(form.clone(), |form, name| form.with(name, tag));
    pages.push(ann.press(&all, ("", ""))?);
    let good = [("phone", "020 7946 0018"), ("postcode", "DH1 3LE"), ("tip", "0"), ("delivery", "2h")];
    let named = ["first", "last", "address"].iter().fold(form, |form, name| form.with(name, tag));
    let review =
        ann.press(&good.iter().fold(named, |form, (name, value)| form.with(name, value)), ("", ""))?;
    ensure!(review.text().contains(tag), "it comes back as it was typed: {}", review.text());
    pages.push(ann.press(&review.form("/checkout")?, ("", ""))?);
    pages.extend([review, ann.get("/checkout")?, ann.get("/")?, ann.get("/orders")?, ann.get("/orders/1")?]);

    let form = ann.get("/movies/new")?.form("/movies/new")?;
    let fields = ["title", "year", "url", "description", "genres", "request"];
    pages.push(ann.press(&fields.iter().fold(form.clone(), |form, name| form.with(name, tag)), ("", ""))?);
    let good = ["title", "description", "genres"].iter().fold(form, |form, name| form.with(name, tag));
    let film = ann.press(&good, ("", ""))?;
    ensure!(film.text().contains(tag), "so does a film: {}", film.text());
    let address = film.path.split('?').next().unwrap_or_default().to_owned();
    let edit = ann.get(&format!("{address}/edit"))?.form(&format!("{address}/edit"))?;
    pages.push(ann.press(&edit.with("url", tag).with("description", tag).with("genres", tag), ("", ""))?);
    let rate = film.form(&format!("{address}/rating"))?;
    pages.push(ann.press(&rate.with("stars", tag), ("", ""))?);
    pages.extend([film, ann.get("/movies")?, ann.get("/cluster")?]);
    let encoded = cluster_tests::browser::encoded(tag);
    for path in [
        "/movies?q=",
        "/movies?after=",
        "/movies/new?title=",
        "/movies/",
        "/checkout?tip=",
        "/checkout?review&delivery=",
        "/checkout/postcode?code=",
        "/orders/",
        "/?added=",
        "/",
    ] {
        pages.push(ann.get(&format!("{path}{encoded}"))?);
    }
    for page in pages {
        let is_data = page.header("content-type") == Some("application/json");
        ensure!(is_data || !page.body.contains("<script>"), "{}: {}", page.path, page.body);
        let policy = page.header("content-security-policy").context("each page has a policy")?;
        ensure!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{policy}");
        ensure!(page.header("x-content-type-options") == Some("nosniff"), "{}", page.path);
    }
    Ok(())
}

#[test]
fn a_thousand_who_watch_keep_nobody_from_the_shop() -> Result<()> {
    let cluster = small()?;
    let mut ann = browser(&cluster);
    // A socket each.
    common::rpc::transport::raise_fd_limit();
    let mut watching = vec![];
    for _ in 0..1_000 {
        let (status, socket) = ann.listen("/cluster/events")?;
        ensure!(status == 200, "{status}");
        watching.push(socket);
    }
    let (status, _) = ann.listen("/cluster/events")?;
    ensure!(status == 503, "the next one is told that too many watch");
    let form = {
        add(&mut ann, "Kale")?;
        ann.review("DH1 3LE", "next-day", "0")?.form("/checkout")?
    };
    let placed = ann.press_only(&form, ("", ""))?;
    ensure!(placed.header("location") == Some("/orders/1?placed"), "{}", placed.text());
    // Who goes makes room.
    drop(watching);
    let clock = Clock::start();
    while ann.listen("/cluster/events")?.0 != 200 {
        ensure!(clock.now().since_origin() < PATIENCE, "those who went still count");
    }
    Ok(())
}

#[test]
fn a_page_weighs_at_most_60_kb_with_all_that_it_brings() -> Result<()> {
    let cluster = small()?;
    let mut ann = browser(&cluster);
    add(&mut ann, "Kale")?;
    let mut weigh = |path: &str| -> Result<usize> {
        let page = ann.get(path)?;
        // Names of headers and the like: a tenth of a page at most.
        let head: usize = page.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        Ok(head + page.body.len())
    };
    let brought: usize =
        ["/style.css", "/script.js", "/icon.svg"].iter().map(|path| weigh(path)).sum::<Result<_>>()?;
    for path in
        ["/", "/checkout", "/movies", "/movies?q=ring", "/movies/new", "/orders", "/cluster", "/about"]
    {
        let weight = brought + weigh(path)?;
        ensure!(weight <= 60_000, "{path} weighs {weight} bytes");
    }
    Ok(())
}
