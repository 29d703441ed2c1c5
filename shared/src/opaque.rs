//! OpaqueString (RFC 8265 §4.2): how names and passwords are written before they become keys.

use unicode_normalization::UnicodeNormalization;

/// The text has a character that OpaqueString forbids, or none at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a control, invisible or private character that RFC 8265 forbids, or no character at all")]
pub struct NotOpaque;

/// `text` as OpaqueString writes it: spaces of every width become U+0020, the rest is put into
/// Unicode normalization form C; case and width stay.
///
/// Characters that the Unicode version of this build does not know yet pass, so that two programs of
/// different age agree about more.
///
/// # Errors
/// It is empty, or has a character outside FreeformClass (RFC 8264 §4.3).
pub fn opaque_string(text: &str) -> Result<String, NotOpaque> {
    if text.is_empty() || text.chars().any(is_forbidden) {
        return Err(NotOpaque);
    }
    let spaced = text.chars().map(|c| if is_space(c) { ' ' } else { c });
    Ok(spaced.nfc().collect())
}

/// Spaces (Zs) but for U+0020.
fn is_space(c: char) -> bool {
    matches!(
        c,
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

/// Controls, characters that show nothing, old Hangul jamo, private use and noncharacters.
fn is_forbidden(c: char) -> bool {
    let ignorable = matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    );
    let jamo = matches!(
        c,
        '\u{1100}'..='\u{11ff}' | '\u{a960}'..='\u{a97c}' | '\u{d7b0}'..='\u{d7fb}'
    );
    let private = matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..);
    let noncharacter = matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe;
    c.is_control() || ignorable || jamo || private || noncharacter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_8265_are_prepared_as_it_says() {
        // §4.3, table 4: 12 to 14, 16 to 18; 15 is one string in two spellings.
        for same in [
            "correct horse battery staple",
            "Correct Horse Battery Staple",
            "πßå",
        ] {
            assert_eq!(opaque_string(same).as_deref(), Ok(same));
        }
        assert_eq!(opaque_string("Jack of ♦s").as_deref(), Ok("Jack of ♦s"));
        assert_eq!(opaque_string("foo\u{1680}bar").as_deref(), Ok("foo bar"));
        assert_eq!(opaque_string(""), Err(NotOpaque));
        assert_eq!(opaque_string("my cat is a \u{9}by"), Err(NotOpaque));
    }

    #[test]
    fn one_text_in_two_normalization_forms_becomes_one() {
        assert_eq!(opaque_string("e\u{301}"), opaque_string("\u{e9}"));
        assert_eq!(
            opaque_string("\u{212b}").as_deref(),
            Ok("\u{e5}".to_uppercase().as_str())
        );
        for kept in ["\u{ff21}", "\u{fb01}", "A\u{200d}"] {
            assert_eq!(
                opaque_string(kept).as_deref(),
                Ok(kept),
                "no compatibility forms"
            );
        }
        for bad in [
            "a\u{ad}b", "\u{200b}", "\u{e000}", "\u{ffff}", "\u{1100}", "a\0",
        ] {
            assert_eq!(opaque_string(bad), Err(NotOpaque), "{bad:?}");
        }
    }
}
