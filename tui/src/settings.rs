//! Values of a node's settings as operators write them, for the command line and the console alike.

use serde_json::{Map, Value, json};
use shared::api::{Applies, SettingKind, SettingView};
use shared::filter::nearest;
use shared::units;

/// The setting called `key`, if the store can override it.
///
/// # Errors
/// There is none, or it is changed in the file of the node only.
pub fn find<'a>(settings: &'a [SettingView], key: &str) -> Result<&'a SettingView, String> {
    let Some(setting) = settings.iter().find(|setting| setting.key == key) else {
        let key = shared::display_safe(key);
        let near = nearest(&key, settings.iter().map(|setting| setting.key.as_str()));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
        return Err(format!("there is no setting '{key}'{hint}"));
    };
    if setting.applies == Applies::File {
        return Err(format!("{key} is changed in the file of the node only"));
    }
    Ok(setting)
}

/// Reads what was typed for a setting of that kind: lists separated by commas, tables as
/// `name=text,name=text`, either also as JSON.
///
/// # Errors
/// What should have been typed.
pub fn parse(setting: &SettingView, text: &str) -> Result<Value, String> {
    let text = text.trim();
    let fail = |what: &str| Err(format!("{}: {what}", setting.key));
    match setting.kind {
        SettingKind::Text => Ok(json!(text)),
        SettingKind::Integer => match units::parse_number(text) {
            Some(number) => Ok(json!(number)),
            None => fail("a number, as in 100 or 2M"),
        },
        SettingKind::Boolean => match text {
            "true" | "yes" | "on" => Ok(json!(true)),
            "false" | "no" | "off" => Ok(json!(false)),
            _ => fail("true or false"),
        },
        SettingKind::List => match serde_json::from_str(text) {
            Ok(Value::Array(items)) => Ok(Value::Array(items)),
            _ => {
                let items = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty());
                Ok(items.map(Value::from).collect())
            }
        },
        SettingKind::Table => match serde_json::from_str(text) {
            Ok(Value::Object(table)) => Ok(Value::Object(table)),
            _ => table(text).map_or_else(|| fail("name=text,name=text"), Ok),
        },
    }
}

fn table(text: &str) -> Option<Value> {
    let pairs = text
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim().to_owned(), json!(value.trim())))
    });
    pairs.collect::<Option<Map<_, _>>>().map(Value::Object)
}

#[cfg(test)]
mod tests {
    use shared::api::SettingSource;

    use super::*;

    fn setting(kind: SettingKind) -> SettingView {
        SettingView {
            key: "some.key".into(),
            kind,
            value: Value::Null,
            default: Value::Null,
            source: SettingSource::Default,
            applies: Applies::Live,
            pending: None,
            secret: false,
            help: String::new(),
        }
    }

    #[test]
    fn values_are_read_by_the_kind_of_their_setting() {
        use SettingKind::{Boolean, Integer, List, Table, Text};
        for (kind, text, value) in [
            (Text, " 5m ", json!("5m")),
            (Text, "17", json!("17")),
            (Integer, "2M", json!(2_000_000)),
            (Boolean, "off", json!(false)),
            (
                List,
                "udp:[::]:3478, tcp:[::]:3478",
                json!(["udp:[::]:3478", "tcp:[::]:3478"]),
            ),
            (List, "[\"a,b\"]", json!(["a,b"])),
            (List, "", json!([])),
            (
                Table,
                "region=eu, rack=7",
                json!({"region": "eu", "rack": "7"}),
            ),
        ] {
            assert_eq!(parse(&setting(kind), text), Ok(value), "{text}");
        }
        for (kind, text) in [(Integer, "many"), (Boolean, "maybe"), (Table, "eu")] {
            assert!(
                parse(&setting(kind), text)
                    .unwrap_err()
                    .starts_with("some.key: ")
            );
        }
    }

    #[test]
    fn settings_of_the_file_and_unknown_ones_are_refused_by_name() {
        let mut settings = [setting(SettingKind::Text)];
        assert!(find(&settings, "some.key").is_ok());
        assert!(
            find(&settings, "some.kez")
                .unwrap_err()
                .contains("did you mean 'some.key'")
        );
        settings[0].applies = Applies::File;
        assert!(
            find(&settings, "some.key")
                .unwrap_err()
                .contains("file of the node")
        );
    }
}
