//! A browser without JavaScript: it keeps cookies, follows a 303, and sends a form as it was drawn.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};

use crate::process::PATIENCE;

/// Somebody at the pages of one front end.
#[derive(Clone, Debug)]
pub struct Browser {
    /// `127.0.0.1:8080`.
    host: String,
    cookies: BTreeMap<String, String>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Page {
    /// `200`.
    pub status: u16,
    /// Its names in small letters.
    pub headers: Vec<(String, String)>,
    /// The text.
    pub body: String,
    /// Where it was found.
    pub path: String,
}

/// A form, as it was drawn.
#[derive(Clone, Debug)]
pub struct Form {
    /// Where it goes.
    pub action: String,
    /// What is in it; of radios the chosen one. Buttons are not.
    pub fields: Vec<(String, String)>,
    /// The buttons: name, value.
    pub buttons: Vec<(String, String)>,
}

impl Browser {
    /// Nobody yet, at this address: `http://127.0.0.1:8080`.
    pub fn at(url: &str) -> Self {
        let host = url.trim_start_matches("http://").to_owned();
        Self { host, cookies: BTreeMap::new() }
    }

    /// The same person at another front end. (Cookies know no ports.)
    #[must_use]
    pub fn moved_to(&self, url: &str) -> Self {
        Self { cookies: self.cookies.clone(), ..Self::at(url) }
    }

    /// Loads a page, and goes where it is sent.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&mut self, path: &str) -> Result<Page> {
        let page = self.send("GET", path, &[], "")?;
        self.follow(page)
    }

    /// Presses `button` of a form, and goes where it is sent.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn press(&mut self, form: &Form, button: (&str, &str)) -> Result<Page> {
        let page = self.press_only(form, button)?;
        self.follow(page)
    }

    /// Presses `button` of a form, and stays with the first answer. A button without a name adds nothing.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn press_only(&mut self, form: &Form, button: (&str, &str)) -> Result<Page> {
        let pressed = Some(button).filter(|(name, _)| !name.is_empty());
        let pairs = form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(pressed);
        let body: Vec<_> =
            pairs.map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let origin = format!("http://{}", self.host);
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Origin", &origin),
            ("Sec-Fetch-Site", "same-origin"),
        ];
        self.send("POST", &form.action, &headers, &body.join("&"))
    }

    /// Sends a request with this browser's cookies.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Page> {
        let mut socket = TcpStream::connect(&self.host)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        let named = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        if !named("host") {
            write!(head, "Host: {}\r\n", self.host)?;
        }
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n")?;
        }
        if !self.cookies.is_empty() {
            let cookies: Vec<_> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            write!(head, "Cookie: {}\r\n", cookies.join("; "))?;
        }
        if method != "GET" {
            write!(head, "Content-Length: {}\r\n", body.len())?;
        }
        socket.write_all(format!("{head}\r\n{body}").as_bytes())?;
        let mut raw = Vec::new();
        // A refusal may come, and the connection go, before everything was sent.
        let ended = socket.read_to_end(&mut raw);
        let text = String::from_utf8(raw)?;
        let (head, body) =
            text.split_once("\r\n\r\n").with_context(|| format!("{method} {path}: {ended:?} {text:?}"))?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("a status")?;
        let headers: Vec<_> = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        for (_, cookie) in headers.iter().filter(|(name, _)| name == "set-cookie") {
            let pair = cookie.split(';').next().and_then(|pair| pair.split_once('='));
            let (name, value) = pair.context("a cookie has a name")?;
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        Ok(Page { status, headers, body: body.to_owned(), path: path.to_owned() })
    }

    /// Asks for a page that never ends; its status, and the connection, whose end is the page's.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn listen(&self, path: &str) -> Result<(u16, TcpStream)> {
        let mut socket = TcpStream::connect(&self.host)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host)?;
        let mut status = [0; "HTTP/1.1 200".len()];
        socket.read_exact(&mut status)?;
        let code = std::str::from_utf8(&status)?.rsplit(' ').next().and_then(|code| code.parse().ok());
        Ok((code.context("a status")?, socket))
    }

    /// Goes where an answer sends a browser.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn follow(&mut self, page: Page) -> Result<Page> {
        if page.status != 303 {
            return Ok(page);
        }
        let place = page.header("location").context("a 303 says where")?.to_owned();
        let place = place.split('#').next().unwrap_or_default();
        self.send("GET", place, &[], "")
    }

    /// Goes through checkout with these details, up to the review.
    ///
    /// # Errors
    /// When a page is another than expected.
    pub fn review(&mut self, postcode: &str, delivery: &str, tip: &str) -> Result<Page> {
        let page = self.get("/checkout")?;
        let details = page.form("/checkout")?;
        let typed = [
            ("first", "Ann"),
            ("last", "O'Neil"),
            ("phone", "020 7946 0018"),
            ("address", "1 North Bailey"),
            ("postcode", postcode),
            ("delivery", delivery),
            ("tip", tip),
        ];
        let details = typed.iter().fold(details, |form, (name, value)| form.with(name, value));
        let review = self.press(&details, ("", ""))?;
        ensure!(review.body.contains("Review your order"), "{} {}", review.status, review.body);
        Ok(review)
    }
}

impl Page {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first form that goes there.
    ///
    /// # Errors
    /// When there is none; with the page.
    pub fn form(&self, action: &str) -> Result<Form> {
        let found = self.forms().into_iter().find(|form| form.action == action);
        found.with_context(|| format!("no form to {action} at {}: {} {}", self.path, self.status, self.body))
    }

    /// The form, and the value, of the first button of this name whose value ends so.
    ///
    /// # Errors
    /// When there is none; with the page.
    pub fn button(&self, name: &str, end: &str) -> Result<(Form, (String, String))> {
        for form in self.forms() {
            let found = form.buttons.iter().find(|(key, value)| key == name && value.ends_with(end)).cloned();
            if let Some(button) = found {
                return Ok((form, button));
            }
        }
        anyhow::bail!("no button {name} …{end} at {}: {} {}", self.path, self.status, self.body)
    }

    /// Every form.
    pub fn forms(&self) -> Vec<Form> {
        let pieces = self.body.split("<form ").skip(1);
        pieces.filter_map(|piece| piece.split("</form>").next()).map(Form::read).collect()
    }

    /// What a reader sees: a blank for each tag, blanks as one.
    pub fn text(&self) -> String {
        let main = self.body.split("<main").nth(1).unwrap_or(&self.body);
        let mut text = String::new();
        for piece in main.split('<') {
            text += piece.split_once('>').map_or(piece, |(_, shown)| shown);
            text.push(' ');
        }
        plain(&text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl Form {
    fn read(piece: &str) -> Self {
        let mut form =
            Self { action: attribute(piece, "action").unwrap_or_default(), fields: vec![], buttons: vec![] };
        for tag in piece.split('<').skip(1) {
            let tag = tag.split('>').next().unwrap_or_default();
            let pair = || {
                let value = attribute(tag, "value").unwrap_or_default();
                Some((attribute(tag, "name")?, value))
            };
            let unchosen = tag.contains("type=\"radio\"") && !tag.contains(" checked");
            if tag.starts_with("input") && !unchosen {
                form.fields.extend(pair());
            } else if tag.starts_with("button") {
                form.buttons.extend(pair());
            }
        }
        form
    }

    /// The form with another value in its field `name`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(key, _)| key != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What its field `name` holds.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.split(&format!("{name}=\"")).nth(1)?;
    Some(plain(rest.split('"').next()?))
}

/// Text out of HTML.
fn plain(text: &str) -> String {
    let named = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#38;", "&"),
        ("&amp;", "&"),
    ];
    named.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// As a form sends it.
pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
