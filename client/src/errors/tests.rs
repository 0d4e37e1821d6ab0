use super::*;
use common::clock::Timestamp;

fn id() -> RequestId {
    RequestId::from_parts(Timestamp::from_millis(1_700_000_000_000), 1, 2)
}

#[test]
fn every_code_keeps_its_name_its_exit_status_and_its_advice() {
    let again = |code: &Code| if code.retryable() { " again" } else { "" };
    let line = |code: &Code| format!("{} {}{}", code.name(), code.exit(), again(code));
    let table = Code::ALL.iter().map(line).collect::<Vec<_>>().join("\n");
    assert_eq!(
        table,
        "internal 1\ndamaged 1\nmalformed 1\nusage 2\ninput_needed 2\ninvalid 2\ntoo_large 2\nfile 2\nclock_ahead 2\n\
         request_id_reused 2\nname_unknown 3 again\nreplica_unknown 3 again\ngroup_unknown 3 again\nserver_unknown 3\nunknown_product 3\nmovie_unknown 3\nmovie_ambiguous 3\nnot_rated 3\norder_unknown 3\ndenied 4\nneeds_yes 4\nname_held 4 again\nbad_rows 4\n\
         low_stock 4 again\nbasket_empty 4\nno_details 4\ntotal_changed 4\nalready_cancelled 4\n\
         postcode_malformed 4\npostcode_unknown 4\npostcode_retired 4\npostcode_unconfirmed 4 again\nmovie_exists 4\nfull 4\n\
         disk_full 5 again\nstore_down 5 again\nno_name_server 5 again\nno_front_end 5 again\nno_primary 5 again\n\
         too_few_replicas 5 again\nmovie_unchecked 5 again\nall_busy 5 again\nbehind 5 again\nwarming 5 again\nincompatible 5\n\
         not_ready 5 again\nname_server_full 5 again\nunacknowledged 6 again\nrequest_expired 6\ninterrupted 130 again"
    );
}

#[test]
fn the_error_object_has_the_fields_of_the_contract_then_the_refusals_own() {
    let failure = Failure::new(Code::LowStock, "Too little.").hint("less").request(id()).field("left", 0);
    assert_eq!(
        failure.json(),
        r#"{"error":{"code":"low_stock","message":"Too little.","hint":"less","effect":"none","retryable":true,"#
            .to_owned()
            + r#""request_id":"018bcfe5-6800-7001-8000-000000000002","left":0}}"#
    );
    let bare = Failure::new(Code::Unacknowledged, "Sent.");
    assert_eq!(
        bare.json(),
        r#"{"error":{"code":"unacknowledged","message":"Sent.","hint":null,"effect":"unknown","retryable":true,"request_id":null}}"#
    );
}

#[test]
fn a_person_reads_what_happened_and_then_what_to_try() {
    let failure = Failure::new(Code::NoNameServer, "no name server at 127.0.0.1:9090").hint("./run.sh");
    assert_eq!(failure.to_string(), "error: no name server at 127.0.0.1:9090\n  try: ./run.sh");
    let foreign = Failure::new(Code::Internal, "red \u{1b}[31m");
    assert_eq!(foreign.to_string(), "error: red \\u{1b}[31m");
}

#[test]
fn every_answer_of_the_contracts_has_its_code_and_exit_status() {
    let waited = Duration::from_secs(5);
    let service: common::replication::GroupName = "just.hungry".parse().unwrap();
    let now = Timestamp::from_millis(0);
    let why = String::new();
    let submits = [
        (SubmitError::NotPrimary { config: None, address: None }, Code::NoPrimary, 5),
        (SubmitError::Draining, Code::NoPrimary, 5),
        (SubmitError::NoPrimary { service: service.clone() }, Code::NoPrimary, 5),
        (SubmitError::UnknownService { service: service.clone() }, Code::NoPrimary, 5),
        (SubmitError::Busy { retry_in: waited }, Code::AllBusy, 5),
        (SubmitError::DiskFull, Code::DiskFull, 5),
        (SubmitError::TooLarge { limit: 1 }, Code::TooLarge, 2),
        (SubmitError::FromTheFuture { now }, Code::ClockAhead, 2),
        (SubmitError::Reused, Code::RequestIdReused, 2),
        (SubmitError::Expired { floor: id(), now }, Code::RequestExpired, 6),
        (SubmitError::TooFewInSync { in_sync: 1, needed: 2 }, Code::TooFewReplicas, 6),
        (SubmitError::TooFewToAdmit { in_sync: 1, needed: 2 }, Code::TooFewReplicas, 5),
        (SubmitError::Unacknowledged { waited }, Code::Unacknowledged, 6),
        (SubmitError::Internal { why: why.clone() }, Code::Unacknowledged, 6),
    ];
    for (error, code, exit) in submits {
        let failure = of_submit(&error);
        assert_eq!((failure.code, failure.exit()), (code, exit), "{error:?}");
        assert_eq!(failure.effect == Effect::Unknown, error.outcome() == Outcome::Unknown, "{error:?}");
    }
    let queries = [
        (QueryError::NotPrimary { config: None, address: None }, Code::NoPrimary),
        (QueryError::Draining, Code::NoPrimary),
        (QueryError::NoPrimary { service: service.clone() }, Code::NoPrimary),
        (QueryError::UnknownService { service }, Code::NoPrimary),
        (QueryError::Unacknowledged { waited }, Code::NoPrimary),
        (QueryError::Busy { retry_in: waited }, Code::AllBusy),
        (QueryError::TooLarge { limit: 1 }, Code::TooLarge),
        (QueryError::Behind, Code::Behind),
        (QueryError::TooFewInSync { in_sync: 1, needed: 2 }, Code::TooFewReplicas),
        (QueryError::Internal { why: why.clone() }, Code::Internal),
    ];
    for (error, code) in queries {
        let failure = of_query(&error);
        assert_eq!(
            (failure.code, failure.exit(), failure.effect),
            (code, code.exit(), Effect::None),
            "{error:?}"
        );
    }
    let address: common::names::Address = "127.0.0.1:1".parse().unwrap();
    let calls = [
        (CallError::Unreachable { address, why: why.clone(), refused: true }, Code::NoFrontEnd),
        (CallError::Incompatible { why: why.clone() }, Code::Incompatible),
        (CallError::TooLarge { limit: 1 }, Code::TooLarge),
        (CallError::Busy { retry_in: waited }, Code::AllBusy),
        (CallError::ConnectionLost, Code::Unacknowledged),
        (CallError::Unacknowledged, Code::Unacknowledged),
        (CallError::Internal { why }, Code::Unacknowledged),
    ];
    for (error, code) in calls {
        assert_eq!(of_call(&error).code, code, "{error:?}");
    }
}

#[test]
fn a_refusal_keeps_the_services_code_sentence_and_exit_status() {
    use common::services::just_hungry::refusal::{Field, Month, Store, Why};
    use common::services::money::Pence;
    let postcode: Postcode = "DH1 3LE".parse().unwrap();
    let (item, user) = (String::from("Apple"), String::from("ann"));
    let why = Why::Number { min: 1, max: 99 };
    let since = Some(Month { year: 1996, month: 6 });
    let (expected, total) = (Pence::new(1), Pence::new(2));
    let refusals = [
        (Refusal::Invalid { field: Field::Qty, at: None, why }, r#"{"field":"qty"}"#),
        (
            Refusal::UnknownProduct { item: item.clone(), near: vec![user.clone()] },
            r#"{"item":"Apple","near":["ann"]}"#,
        ),
        (Refusal::LowStock { item, wanted: 3, left: 0 }, r#"{"item":"Apple","left":0,"wanted":3}"#),
        (Refusal::BasketEmpty, "{}"),
        (Refusal::NoDetails { user }, "{}"),
        (Refusal::TotalChanged { expected, total }, r#"{"expected":1,"total":2}"#),
        (Refusal::OrderUnknown { no: 1 }, "{}"),
        (Refusal::AlreadyCancelled { no: 1 }, "{}"),
        (Refusal::PostcodeMalformed { text: "x".into() }, r#"{"input":"x"}"#),
        (Refusal::PostcodeUnknown { postcode, near: vec![] }, r#"{"near":[],"postcode":"DH1 3LE"}"#),
        (Refusal::PostcodeRetired { postcode, since }, r#"{"postcode":"DH1 3LE","retired":"1996-06"}"#),
        (Refusal::PostcodeUnconfirmed { postcode }, r#"{"postcode":"DH1 3LE"}"#),
        (Refusal::Full { what: Store::Orders, limit: 7 }, r#"{"limit":7,"what":"orders"}"#),
        (Refusal::Malformed, "{}"),
    ];
    for (refusal, fields) in refusals {
        let failure = of_refusal(&refusal);
        assert_eq!(failure.code.name(), refusal.code());
        assert_eq!(failure.exit(), refusal.exit_status(), "{refusal:?}");
        assert_eq!(failure.message, refusal.sentence());
        assert_eq!(serde_json::to_string(&failure.fields).unwrap(), fields);
    }
}
