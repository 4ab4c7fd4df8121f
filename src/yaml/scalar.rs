//! Plain scalars by the core schema of YAML 1.2, and those that YAML 1.1 reads differently.
//!
//! kubectl, Helm and Argo CD still read YAML 1.1: `no` is false to them and text to us. Such a scalar is a fault, so that no
//! file means two things.

use serde_json::{Number, Value};

/// Characters of a scalar that a message shows.
const SHOWN_MAX: usize = 60;

/// The value of a plain scalar, or why it must be written differently.
pub(super) fn resolve_plain(text: &str, is_key: bool) -> Result<Value, String> {
    resolve(text, is_key).map_err(|message| match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => {
            let message = message.replace(text, &format!("{}…", &text[..end]));
            let plain = text.replace('_', "");
            if plain.len() > SHOWN_MAX { message.replace(&plain, "it without `_`") } else { message }
        }
        None => message,
    })
}

fn resolve(text: &str, is_key: bool) -> Result<Value, String> {
    if let Some(problem) = read_otherwise(text, is_key) {
        return Err(problem);
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Err("not-a-number has no meaning here; write a number, or quote the text".to_owned()),
        _ if matches!(text.trim_start_matches(['+', '-']), ".inf" | ".Inf" | ".INF") => {
            return Err("an infinite number has no meaning here; leave the field out where there is no limit, or quote the text".to_owned());
        }
        _ => number(text)?.map_or_else(|| Value::String(text.to_owned()), Value::Number),
    })
}

fn read_otherwise(text: &str, is_key: bool) -> Option<String> {
    if is_key {
        return key_read_otherwise(text);
    }
    let boolean = match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some("true"),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some("false"),
        _ => None,
    };
    if let Some(boolean) = boolean {
        return Some(format!(
            "`{text}` is {boolean} to some tools and text to others (YAML 1.1 and 1.2); write {boolean}, or quote it: \"{text}\""
        ));
    }
    number_read_otherwise(text)
}

/// kubectl turns a key that is not text into what it means: `y` into `true`, `0x1F` into `31`, `1.50` into `1.5`.
fn key_read_otherwise(text: &str) -> Option<String> {
    let quote =
        |what: &str| Some(format!("the key `{text}` is {what} to some tools and text to others (YAML 1.1 and 1.2); quote it: \"{text}\""));
    match text {
        "true" | "false" => return None,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "True" | "TRUE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off"
        | "OFF" | "False" | "FALSE" => return quote("a boolean"),
        _ => {}
    }
    let is_as_written = match number(text) {
        Ok(Some(number)) => number.as_i64().map_or_else(
            // Fractions are read with single precision, and large ones written with an exponent.
            || {
                number.as_f64().is_some_and(|value| (1e-4..1e6).contains(&value.abs()))
                    && text.parse::<f32>().is_ok_and(|value| value.to_string() == text)
            },
            |whole| whole.to_string() == text,
        ),
        Ok(None) => number_read_otherwise(text).is_none(),
        Err(_) => false,
    };
    if is_as_written { None } else { quote("another number") }
}

fn number_read_otherwise(text: &str) -> Option<String> {
    let all = |text: &str, allowed: fn(char) -> bool| !text.is_empty() && text.chars().all(allowed);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.len() > 1 && digits.starts_with('0') && all(digits, |c| c.is_ascii_digit()) {
        return Some(format!(
            "`{text}` is octal to some tools and decimal to others; write the number without the leading 0, or quote it: \"{text}\""
        ));
    }
    // Readers of YAML 1.1 leave out every `_` first, behind the sign and within a prefix too.
    let plain = digits.replace('_', "");
    let is_prefixed = |prefixes: [&str; 2], allowed: fn(char) -> bool| {
        prefixes.iter().any(|prefix| plain.strip_prefix(prefix).is_some_and(|digits| all(digits, allowed)))
    };
    if is_prefixed(["0b", "0B"], |c| matches!(c, '0' | '1')) {
        return Some(format!("`{text}` is a binary number to some tools and text to others; write it in decimal, or quote it: \"{text}\""));
    }
    let has_base = is_prefixed(["0x", "0X"], |c| c.is_ascii_hexdigit()) || is_prefixed(["0o", "0O"], |c| matches!(c, '0'..='7'));
    if has_base && !matches!(number(text), Ok(Some(_)) | Err(_)) {
        return Some(format!("`{text}` is a number to some tools and text to others; write it in decimal, or quote it: \"{text}\""));
    }
    if digits.contains('_') && matches!(number(&plain), Ok(Some(_)) | Err(_)) {
        let written = text.replace('_', "");
        return Some(format!("`{text}` is a number to some tools and text to others; write {written}, or quote it: \"{text}\""));
    }
    let mut parts = plain.split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let is_sixty = |part: &str| part.len() <= 2 && all(part, |c| c.is_ascii_digit()) && part.parse::<u8>().is_ok_and(|n| n < 60);
    if !rest.is_empty() && all(first, |c| c.is_ascii_digit()) && rest.iter().all(|part| is_sixty(part.split('.').next().unwrap_or(part))) {
        return Some(format!("`{text}` is a base-60 number to some tools (YAML 1.1) and text to others; quote it: \"{text}\""));
    }
    None
}

/// `[-+]?[0-9]+`, `0o[0-7]+`, `0x[0-9a-fA-F]+`, `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?` (YAML 1.2.2, 10.3.2).
fn number(text: &str) -> Result<Option<Number>, String> {
    let too_large = || format!("`{text}` is too large for a number; quote it if it is text");
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|c| c.is_digit(radix))
        {
            return u64::from_str_radix(digits, radix).map(|n| Some(n.into())).map_err(|_| too_large());
        }
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()) {
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        let whole = unsigned.parse::<u64>().map(Number::from).or_else(|_| unsigned.parse::<i64>().map(Number::from));
        // What is too large for an integer is a float, as in other tools.
        let parsed = whole.ok().or_else(|| unsigned.parse().ok().and_then(Number::from_f64));
        return parsed.map(Some).ok_or_else(too_large);
    }
    let (mantissa, exponent) = digits.split_once(['e', 'E']).map_or((digits, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let exponent_is_good = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && is_digits(exponent)
    });
    if is_digits(whole) && is_digits(fraction) && (!whole.is_empty() || !fraction.is_empty()) && exponent_is_good {
        let value: f64 = text.parse().map_err(|_| too_large())?;
        return Number::from_f64(value).map(Some).ok_or_else(too_large);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::resolve_plain;

    #[test]
    fn reads_the_core_schema_and_refuses_what_is_read_two_ways() {
        let good: &[(&str, Value)] = &[
            ("", Value::Null),
            ("~", Value::Null),
            ("true", json!(true)),
            ("FALSE", json!(false)),
            ("12", json!(12)),
            ("-3", json!(-3)),
            ("+5", json!(5)),
            ("0", json!(0)),
            ("0o17", json!(15)),
            ("0xff", json!(255)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("18446744073709551615", json!(u64::MAX)),
            ("18446744073709551616", json!(18_446_744_073_709_551_616.0)),
            ("10s", json!("10s")),
            ("1.2.3", json!("1.2.3")),
            ("127.0.0.1:25", json!("127.0.0.1:25")),
            ("2026-12-01", json!("2026-12-01")),
            ("2026-12-01T08:00:00Z", json!("2026-12-01T08:00:00Z")),
            ("yesterday", json!("yesterday")),
            ("-", json!("-")),
            (".", json!(".")),
            ("e5", json!("e5")),
            ("a:b", json!("a:b")),
            ("1:99", json!("1:99")),
            ("--1", json!("--1")),
            ("0x", json!("0x")),
        ];
        for (text, value) in good {
            assert_eq!(resolve_plain(text, false).as_ref(), Ok(value), "{text}");
        }
        for text in [
            "yes",
            "No",
            "ON",
            "off",
            "y",
            "0777",
            "-012",
            "1_000",
            "1_000.5",
            "12:30",
            "190:20:30",
            "0b11",
            ".nan",
            "-.inf",
            "1e999",
            "-0x1F",
            "+0x1F",
            "0X1F",
            "-0o17",
            "0O17",
            "0x_1F",
            "0B11",
            "+0b1",
            "1_0e3",
            "1e1_0",
            "-_1",
            "1_",
            ".5_0",
            "1_0:30",
        ] {
            assert!(resolve_plain(text, false).is_err(), "{text}");
        }
        for key in [
            "y",
            "N",
            "on",
            "True",
            "FALSE",
            "0x1F",
            "0o17",
            "-0x1F",
            ".5",
            "1.50",
            "1e3",
            "+5",
            "1_0",
            "007",
            "18446744073709551615",
            "1234567.5",
        ] {
            assert!(resolve_plain(key, true).is_err(), "{key}");
        }
        for long in ["9".repeat(1_000_000), "1_0".repeat(300_000), format!("0x{}", "f".repeat(1_000_000))] {
            let words = resolve_plain(&long, false).expect_err("too large");
            assert!(words.len() < 300 && words.contains('…'), "{}", words.len());
        }
        for key in ["true", "8080", "-3", "0", "1.5", "0.25", "yesterday", "a:b", "10s"] {
            assert!(resolve_plain(key, true).is_ok(), "{key}");
        }
    }
}
