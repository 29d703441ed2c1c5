//! One formatter for rates, counts and durations: logs, command line and console agree.

use std::time::Duration;

/// A number with a decimal unit, at most five characters wide: `0`, `999`, `1.23k`, `45.6M`, `789G`.
#[must_use]
pub fn short_number(value: u64) -> String {
    const UNITS: [char; 6] = ['k', 'M', 'G', 'T', 'P', 'E'];
    if value < 1000 {
        return value.to_string();
    }
    let mut scaled = value as f64;
    let mut unit = ' ';
    for next in UNITS {
        scaled /= 1000.0;
        unit = next;
        // Rounded as printed below, so that 999.95 becomes 1.00 of the next unit.
        if scaled < 999.5 {
            break;
        }
    }
    if scaled < 9.995 {
        format!("{scaled:.2}{unit}")
    } else if scaled < 99.95 {
        format!("{scaled:.1}{unit}")
    } else {
        format!("{scaled:.0}{unit}")
    }
}

/// A rate in bits per second with its unit, as in `18.4 Gb/s`.
#[must_use]
pub fn bit_rate(bps: u64) -> String {
    let text = short_number(bps);
    match text.strip_suffix(|c: char| c.is_ascii_alphabetic()) {
        Some(number) => format!("{number} {}b/s", &text[number.len()..]),
        None => format!("{text} b/s"),
    }
}

/// A count of bytes with its decimal unit, as in `4.31 GB`.
#[must_use]
pub fn byte_count(bytes: u64) -> String {
    let text = short_number(bytes);
    match text.strip_suffix(|c: char| c.is_ascii_alphabetic()) {
        Some(number) => format!("{number} {}B", &text[number.len()..]),
        None => format!("{text} B"),
    }
}

/// An integer with thousands separators, as in `412,887`.
#[must_use]
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// An age at most five characters wide: `0:44`, `1h02`, `12d04`.
#[must_use]
pub fn age(duration: Duration) -> String {
    let secs = duration.as_secs();
    let (minutes, hours, days) = (secs / 60, secs / 3600, secs / 86_400);
    if hours == 0 {
        format!("{minutes}:{:02}", secs % 60)
    } else if days < 2 {
        format!("{hours}h{:02}", minutes % 60)
    } else if days < 100 {
        format!("{days}d{:02}", hours % 24)
    } else {
        format!("{days}d")
    }
}

/// Parses a number with an optional decimal unit, as rates are typed: `2M`, `500k`, `1.5G`, `64000`.
#[must_use]
pub fn parse_number(text: &str) -> Option<u64> {
    let (number, factor) = match text.chars().last()? {
        'k' | 'K' => (&text[..text.len() - 1], 1e3),
        'm' | 'M' => (&text[..text.len() - 1], 1e6),
        'g' | 'G' => (&text[..text.len() - 1], 1e9),
        't' | 'T' => (&text[..text.len() - 1], 1e12),
        _ => (text, 1.0),
    };
    let digits = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let value: f64 = number.parse().ok().filter(|_| digits)?;
    (value * factor <= u64::MAX as f64).then_some((value * factor).round() as u64)
}

/// Parses a duration as typed in filters and flags: `90`, `90s`, `10m`, `2h`, `7d`, `1h30m`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = 0_u64;
    let mut number = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        number.clear();
    }
    if !number.is_empty() {
        total = total.checked_add(number.parse().ok()?)?;
    }
    (!text.is_empty()).then_some(Duration::from_secs(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_fit_five_characters() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.00k"),
            (9_994, "9.99k"),
            (9_995, "10.0k"),
            (999_499, "999k"),
            (999_500, "1.00M"),
            (18_400_000_000, "18.4G"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(short_number(value), text);
            assert!(short_number(value).len() <= 5);
        }
    }

    #[test]
    fn rates_and_bytes_carry_their_unit() {
        assert_eq!(bit_rate(18_400_000_000), "18.4 Gb/s");
        assert_eq!(bit_rate(12), "12 b/s");
        assert_eq!(byte_count(4_310_000_000), "4.31 GB");
        assert_eq!(grouped(412_887), "412,887");
    }

    #[test]
    fn ages_fit_five_characters() {
        for (secs, text) in [
            (44, "0:44"),
            (3_720, "1h02"),
            (183_600, "2d03"),
            (9_000_000, "104d"),
        ] {
            assert_eq!(age(Duration::from_secs(secs)), text);
        }
    }

    #[test]
    fn typed_numbers_and_durations_parse() {
        assert_eq!(parse_number("2M"), Some(2_000_000));
        assert_eq!(parse_number("1.5G"), Some(1_500_000_000));
        assert_eq!(parse_number("-1"), None);
        assert_eq!(parse_number("inf"), None);
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("90"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("m"), None);
        assert_eq!(parse_duration(""), None);
    }
}
