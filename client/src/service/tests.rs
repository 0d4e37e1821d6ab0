use common::replication::GroupName;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const WAITED: Duration = Duration::from_secs(5);

fn group() -> GroupName {
    "just.hungry".parse().unwrap()
}

#[test]
fn an_answer_that_is_final_is_not_asked_for_again() {
    let floor = RequestId::LEAST;
    for error in
        [SubmitError::Reused, SubmitError::Expired { floor, now: NOW }, SubmitError::TooLarge { limit: 1 }]
    {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.refused(&error), Next::Final, "{error:?}");
        assert_eq!(attempts.last, Some(errors::of_submit(&error)));
    }
}

#[test]
fn everything_else_is_tried_elsewhere_until_the_time_is_up() {
    for error in [
        SubmitError::NotPrimary { config: None, address: None },
        SubmitError::Draining,
        SubmitError::DiskFull,
        SubmitError::NoPrimary { service: group() },
        SubmitError::TooFewInSync { in_sync: 1, needed: 2 },
        SubmitError::Unacknowledged { waited: WAITED },
    ] {
        assert_eq!(Attempts::default().refused(&error), Next::Elsewhere, "{error:?}");
    }
    let busy = SubmitError::Busy { retry_in: WAITED };
    assert_eq!(Attempts::default().refused(&busy), Next::Pause(WAITED));
}

#[test]
fn once_a_copy_may_have_run_no_later_answer_says_that_nothing_happened() {
    let mut attempts = Attempts::default();
    attempts.not_called(&CallError::ConnectionLost);
    attempts.refused(&SubmitError::NoPrimary { service: group() });
    let failure = attempts.give_up(WAITED).unwrap();
    assert_eq!((failure.code, failure.exit()), (Code::Unacknowledged, 6));
    assert!(failure.message.contains("within 5"), "{failure}");
}

#[test]
fn a_command_that_never_left_may_be_sent_again_under_any_id() {
    let mut attempts = Attempts::default();
    attempts.not_called(&CallError::Busy { retry_in: WAITED });
    attempts.refused(&SubmitError::NoPrimary { service: group() });
    let failure = attempts.give_up(WAITED).unwrap();
    assert_eq!((failure.code, failure.exit()), (Code::NoPrimary, 5));
}

#[test]
fn too_few_replicas_stays_the_reason() {
    let mut attempts = Attempts::default();
    attempts.refused(&SubmitError::TooFewInSync { in_sync: 1, needed: 2 });
    let failure = attempts.give_up(WAITED).unwrap();
    assert_eq!((failure.code, failure.effect), (Code::TooFewReplicas, Effect::Unknown));
}

#[test]
fn a_clock_that_runs_ahead_is_corrected_unless_the_id_was_given_or_may_have_run() {
    let future = SubmitError::FromTheFuture { now: NOW };
    assert_eq!(Attempts::default().refused(&future), Next::Redate(NOW));
    let mut given = Attempts { given: true, ..Attempts::default() };
    assert_eq!(given.refused(&future), Next::Final);
    let mut sent = Attempts { maybe_ran: true, ..Attempts::default() };
    assert_eq!(sent.refused(&future), Next::Elsewhere);

    let mut ids = Ids::default();
    ids.next();
    ids.correct(NOW);
    let off = ids.next().time().millis().abs_diff(NOW.millis());
    assert!(off < 60_000, "{off} ms from the service's clock");
}

#[test]
fn a_read_that_too_few_replicas_could_promise_is_asked_of_anybody() {
    let mut attempts = Attempts::default();
    assert_eq!(attempts.not_answered(&QueryError::TooFewInSync { in_sync: 1, needed: 2 }), Next::AskAnyone);
    assert_eq!(attempts.not_answered(&QueryError::Draining), Next::Elsewhere);
}

#[test]
fn one_front_end_never_takes_all_the_time_while_another_could_tell() {
    let ms = Duration::from_millis;
    assert_eq!(share(ms(5000)), ms(2500));
    assert_eq!(share(ms(600)), ms(500));
    assert_eq!(share(ms(100)), ms(100));
}

#[test]
fn an_answer_says_more_than_a_later_call_that_was_cut_short() {
    let mut query = Attempts { only_asks: true, ..Attempts::default() };
    query.not_answered(&QueryError::Behind);
    assert_eq!(query.not_called(&CallError::Unacknowledged), Next::Elsewhere);
    assert_eq!(query.give_up(Duration::ZERO).map(|failure| failure.code), Some(Code::Behind));

    let mut command = Attempts::default();
    command.refused(&SubmitError::DiskFull);
    command.not_called(&CallError::Unacknowledged);
    let failure = command.give_up(Duration::ZERO).unwrap();
    assert_eq!((failure.code, failure.effect), (Code::Unacknowledged, Effect::Unknown), "it may have run");
}

#[test]
fn a_list_is_fetched_page_by_page_and_never_for_ever() {
    fn ready<T>(list: impl Future<Output = T>) -> T {
        futures::FutureExt::now_or_never(list).expect("nothing to wait for")
    }
    let pages = async |after: u32| Ok(Page { entries: vec![after + 1, after + 2], more: after < 6 });
    let all = |limit| ready(whole(pages, |no| *no, 0, limit)).unwrap();
    assert_eq!(all(None), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(all(Some(3)), [1, 2, 3]);
    let stuck = async |_| Ok(Page { entries: vec![1], more: true });
    assert_eq!(ready(whole(stuck, |no| *no, 1, None)), Ok(vec![1]));
}

#[test]
fn texts_are_sent_composed() {
    assert_eq!(nfc("Ame\u{301}lie"), "Amélie");
}
