//! What needs no server. The rest is tested with a real one.

use std::net::TcpListener;
use std::time::Duration;

use super::*;
use crate::api::Settings;

fn account(subject: &str, end: i64) -> Account {
    let at = |second| Timestamp::from_second(second).unwrap();
    Account {
        policy: "claims/assistant".to_owned(),
        budget: "1/usd/Hour".to_owned(),
        window: (at(0), at(end)),
        subject: subject.to_owned(),
    }
}

fn at_noon() -> Timestamp {
    Timestamp::from_second(43_200).unwrap()
}

fn store(url: &str) -> InRedis {
    let settings: Settings = serde_saphyr::from_str(&format!("ledger: {{redis: {{url: '{url}'}}}}")).unwrap();
    InRedis::open(&settings.ledger.redis.unwrap(), None, None, at_noon).unwrap()
}

#[test]
fn each_account_has_a_key_of_its_own() {
    let first = account("sa:claims/web", 3_600);
    assert_eq!(key("eu", &first), "eu:{claims/assistant|1/usd/Hour|0-3600|sa:claims/web}");
    assert_ne!(key("eu", &account("sa:claims/web", 7_200)), key("eu", &first));
}

#[tokio::test]
async fn keys_are_kept_for_an_hour_after_their_windows_by_our_own_clock() {
    let store = store("redis://127.0.0.1:1");
    let turn = Turn {
        number: 7,
        unanswered_from: 5,
    };
    let ask = Ask {
        owed: 2,
        returned: 3,
        at_least: 4,
        wish: u64::MAX,
    };
    for (end, seconds) in [(86_400, "46800"), (43_300, "3700"), (3_600, "3600")] {
        let command = store.command("EVAL", "x", &account("", end), 1, turn, ask, at_noon());
        let words = String::from_utf8(command.get_packed_command()).unwrap();
        let words: Vec<&str> = words.split("\r\n").skip(2).step_by(2).collect();
        let amounts = ["1", "2", "3", "4", "18446744073709551615", "7", "5", seconds, "3600"];
        assert_eq!(words[5..14], amounts, "{end}");
        assert!(words[4].starts_with(words[3]) && words[4].len() == words[3].len() + 33, "{words:?}");
    }
}

#[tokio::test]
async fn a_take_that_was_not_answered_is_remembered_until_one_is() {
    let store = store("redis://127.0.0.1:1");
    let (one, other, gone) = (account("one", 86_400), account("other", 86_400), account("gone", -86_400));
    let turn = |number, unanswered_from| Turn { number, unanswered_from };
    assert_eq!(store.next(&gone), turn(1, 1));
    assert_eq!(store.next(&one), turn(2, 2));
    assert_eq!(store.next(&one), turn(3, 2));
    store.answered(&one);
    assert_eq!(store.next(&other), turn(4, 4));
    assert_eq!(store.next(&one), turn(5, 5));
    assert!(!store.unanswered().contains_key(&gone), "its window ended more than an hour ago");
}

#[tokio::test]
async fn a_server_that_is_away_is_told_by_its_address_and_not_waited_for_again() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let store = store(&format!("redis://{free}"));
    let ask = Ask::default();
    let why = store.take(account("", 86_400), 1, ask).await.unwrap_err().to_string();
    assert!(why.contains(&format!("redis://{free}: ")) && why.contains("refused"), "{why}");
    let soon = tokio::time::timeout(Duration::from_millis(100), store.take(account("", 86_400), 1, ask)).await;
    assert!(soon.unwrap().is_err());
    assert_eq!(store.answers(), Some(false));
}
