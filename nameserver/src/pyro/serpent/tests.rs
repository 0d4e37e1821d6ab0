use proptest::prelude::*;

use super::*;
use crate::pyro::value::{DIGITS_MAX, ELEMENTS_MAX, Unreadable, Value};

fn written(value: &Value<'_>) -> String {
    let mut out = Vec::new();
    write(&mut out, value);
    String::from_utf8(out).unwrap()
}

/// What the text becomes when it is read and written again.
fn again(text: &str) -> String {
    written(&read(text.as_bytes()).unwrap_or_else(|why| panic!("{text:?}: {why}")))
}

#[test]
fn what_stock_writes_is_read_and_written_back_to_the_byte() {
    for text in [
        "('Pyro.NameServer','lookup',('just.hungry',),{})",
        "[1,2]",
        "{'a':1}",
        "{'a','b'}",
        "()",
        "{'__class__':'Pyro5.core.URI','state':('PYRO','obj',None,'127.0.0.1',4444)}",
        "({'__class__':'Pyro5.core.URI','state':('PYRO','o',None,'h',1)},{'tag'})",
        "{'handshake':'hello','meta':{'methods':{'ping','lookup'},'oneway':(),'attrs':()}}",
        "None",
        "True",
        "False",
        "1.5",
        "1e30000",
        "-1e30000",
        r#"'it\'s "q" é \x07'"#,
        r#""it's""#,
        r"'\u2028 \\ \n\r\t'",
        "{'__class__':'float','value':'nan'}",
        "{'data':'aGk=','encoding':'base64'}",
        "9223372036854775808",
    ] {
        let message = [HEADER, text.as_bytes()].concat();
        assert_eq!(written(&read(&message).unwrap()), text);
    }
}

#[test]
fn other_writers_are_understood() {
    for (given, meant) in [
        ("# serpent utf-8 python2.6\n[ 1 ,\n\t2 , # two\n ]", "[1,2]"),
        ("( 1 )", "1"),
        ("(1,)", "(1,)"),
        ("((((('a')))))", "'a'"),
        ("{ }", "{}"),
        ("{1,}", "{1}"),
        ("{'b':1,'a':2,}", "{'b':1,'a':2}"),
        ("'a' \"b\"\n'c'", "'abc'"),
        ("b'a' b'\\x00'", r"b'a\x00'"),
        ("u'ä'", "'ä'"),
        (r"r'\n'", r"'\\n'"),
        ("'''it's\nhere'''", "\"it's\\nhere\""),
        (r#""""a"b\"""""#, r#"'a"b"'"#),
        (r"'\a\b\f\v\0\101\x41\u0041\U00000041\q'", r"'\x07\x08\x0c\x0b\x00AAAA\\q'"),
        ("'a\\\nb'", "'ab'"),
        ("0x1F", "31"),
        ("0o17", "15"),
        ("-0b11", "-3"),
        ("+1_000", "1000"),
        ("1_0.5e-1_0", "1.05e-9"),
        (".5", "0.5"),
        ("1.", "1.0"),
        ("00", "0"),
        ("0xFFFFFFFFFFFFFFFF", "18446744073709551615"),
    ] {
        assert_eq!(again(given), meant, "{given}");
    }
}

#[test]
fn what_is_no_literal_is_refused_as_python_refuses_it() {
    for text in [
        "",
        "(",
        ")",
        "(]",
        "[1 2]",
        "{1:}",
        "{1:2,3}",
        "{1,2:3}",
        "{:1}",
        "(,)",
        "[,]",
        "{,}",
        "1 2",
        "'a",
        "'a\nb'",
        "1__0",
        "1_",
        "0x",
        "0b2",
        "1e",
        ".",
        "-",
        "007",
        "'\\x4'",
        "'\\u12'",
        "'\\U00110000'",
        "b'ä'",
        "'a' b'b'",
        "b'a' 'b'",
        "bb'a'",
        "ur'a'",
        "*",
        "1,2",
        "{'a':1:2}",
        "[1,,2]",
        "'\\N{DASH}'",
    ] {
        assert!(matches!(read(text.as_bytes()), Err(Unreadable::Syntax(_))), "{text:?}");
    }
    for text in ["True1", "nothing", "{[]}", "{{}:1}", "{([],)}", "'\\ud800'", "1j", "1+2j", "'\0'"] {
        let read = read(text.as_bytes());
        assert!(matches!(read, Err(Unreadable::Value(_) | Unreadable::Syntax(_))), "{text:?} is {read:?}");
    }
    assert!(matches!(read(b"'\xff'"), Err(Unreadable::Value(_))));
    assert!(matches!(read(b"'a\0'"), Err(Unreadable::Value(_))));
}

#[test]
fn depth_number_of_elements_and_digits_are_bounded() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(deep(64).as_bytes()).is_ok());
    assert_eq!(read(deep(65).as_bytes()), Err(Unreadable::too_deep()));
    assert_eq!(read("(".repeat(10_000).as_bytes()), Err(Unreadable::too_deep()));
    let many = |count: usize| format!("[{}]", "0,".repeat(count));
    assert!(read(many(ELEMENTS_MAX - 1).as_bytes()).is_ok());
    assert_eq!(read(many(ELEMENTS_MAX).as_bytes()), Err(Unreadable::too_many()));
    assert!(read("1".repeat(DIGITS_MAX).as_bytes()).is_ok());
    assert!(matches!(read("1".repeat(1_000_000).as_bytes()), Err(Unreadable::Value(_))));
    assert!(matches!(read("-".repeat(1_000_000).as_bytes()), Err(Unreadable::Syntax(_))));
}

fn value() -> impl Strategy<Value = Value<'static>> {
    let scalar = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_filter("NaN is written as a map", |number| !number.is_nan()).prop_map(Value::Float),
        any::<String>()
            .prop_filter("serpent has no NUL", |text| !text.contains('\0'))
            .prop_map(|text| Value::Text(text.into())),
        proptest::collection::vec(any::<u8>(), 0..8).prop_map(|bytes| Value::Bytes(bytes.into())),
    ];
    scalar.clone().prop_recursive(4, 32, 5, move |inner| {
        let items = || proptest::collection::vec(inner.clone(), 0..5);
        prop_oneof![
            items().prop_map(Value::List),
            items().prop_map(Value::Tuple),
            proptest::collection::vec(scalar.clone(), 1..5).prop_map(Value::Set),
            proptest::collection::vec((scalar.clone(), inner.clone()), 0..5).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_written_reads_back(value in value()) {
        let text = written(&value);
        prop_assert_eq!(read(text.as_bytes()), Ok(value));
    }
}
