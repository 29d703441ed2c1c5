use serde_json::json;
use shared::api::SessionView;
use shared::filter::{SESSION_COLUMNS, find_column};

use super::{Shows, Style, csv, json::safe};

#[test]
fn csv_quotes_what_readers_trip_over_and_escapes_control_characters() {
    let line = csv::line(["a", "b,c", "say \"hi\"", "x\ny\u{1b}", " pad ", ""].map(str::to_owned));
    assert_eq!(
        line,
        "a,\"b,c\",\"say \"\"hi\"\"\",x\\u{a}y\\u{1b},\" pad \",\r\n"
    );
}

#[test]
fn values_are_shown_in_peoples_units() {
    for (style, value, text) in [
        (Style::Rate, json!(18_400_000), "18.4M"),
        (Style::Count, json!(412_887), "412,887"),
        (Style::Count, json!(1.5), "1.5"),
        (Style::Count, json!(3.0), "3"),
        (Style::Bytes, json!(4_310_000_000_u64), "4.31 GB"),
        (Style::Age, json!(3720), "1h02"),
        (Style::Percent, json!(61.4), "61%"),
        (Style::Time, json!(0), "-"),
        (Style::Text, json!(null), "-"),
        (Style::Text, json!(["a", "b"]), "a,b"),
        (Style::Text, json!([]), "-"),
        (Style::Text, json!({"a": 1}), "a=1"),
        (Style::Text, json!("\u{1b}[2J"), "\u{fffd}[2J"),
        (Style::Text, json!(true), "yes"),
    ] {
        assert_eq!(style.text(&value), text);
    }
}

#[test]
fn a_column_of_a_table_is_called_as_in_filters() {
    let shown = SessionView::FIELDS
        .iter()
        .filter(|f| f.shown == super::Shown::Table);
    for field in shown {
        assert!(
            find_column(field.name, SESSION_COLUMNS).is_some(),
            "{}",
            field.name
        );
    }
}

#[test]
fn json_keeps_every_character_and_shows_none_that_steers_a_terminal() {
    let hostile = json!({"user": "\u{9b}31m\u{7f}\u{202e}x\u{1b}[2J\u{e0041}é漢"});
    for text in [hostile.to_string(), format!("{hostile:#}")] {
        let shown = safe(&text);
        assert!(shown.contains("é漢"), "{shown}");
        let plain = shown.replace('\n', "");
        assert_eq!(shared::display_safe(&plain), plain);
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(read, hostile);
    }
}
