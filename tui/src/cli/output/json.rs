//! JSON that cannot steer a terminal.

use std::fmt::Write as _;

/// Writes one document.
///
/// # Errors
/// The output is gone.
pub(in crate::cli) fn write(
    out: &mut dyn std::io::Write,
    value: &serde_json::Value,
) -> std::io::Result<()> {
    writeln!(out, "{}", safe(&format!("{value:#}")))?;
    out.flush()
}

/// The same JSON with whatever [`shared::display_safe`] would replace written as `\\u` escapes: a
/// reader gets every character, a terminal sees none of them.
///
/// Such characters occur only inside strings, for the rest of a document is ASCII without controls
/// but for line ends.
pub(super) fn safe(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n'
            || *shared::display_safe(c.encode_utf8(&mut [0; 4])) == *c.encode_utf8(&mut [0; 4])
        {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a `String` does not fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}
