//! CSV (RFC 4180) that cannot steer a terminal.

use serde_json::Value;

/// One line, its end included.
pub(super) fn line(cells: impl IntoIterator<Item = String>) -> String {
    let mut line = cells
        .into_iter()
        .map(|cell| quote(&cell))
        .collect::<Vec<_>>()
        .join(",");
    line.push_str("\r\n");
    line
}

/// A value as a cell: text bare, nothing for nothing, a list joined by spaces.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// Control characters become `\u{..}` escapes; commas, quotes and spaces at the ends are quoted.
fn quote(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    for c in cell.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}') {
            text.extend(c.escape_unicode());
        } else {
            text.push(c);
        }
    }
    let plain = !text.contains([',', '"', ';', '\'']) && text.trim() == text;
    if plain {
        return text;
    }
    format!("\"{}\"", text.replace('"', "\"\""))
}
