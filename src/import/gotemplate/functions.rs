//! Functions of Go's templates and of sprig in Jinja. Pure.

use super::{Value, ValueKind, quoted};

/// What a function becomes, and a doubt about it.
pub type Called = Result<(Value, Option<String>), String>;

fn operand(text: String) -> Called {
    Ok((Value::new(text, ValueKind::Operand), None))
}

/// One of several values.
fn either(text: String) -> Called {
    Ok((Value::new(text, ValueKind::Either), None))
}

/// A value that is compared: to Go, a field that is missing is only unequal.
fn compared(value: &Value) -> String {
    if value.kind == ValueKind::Field { format!("{}|default(none)", value.text) } else { value.operand() }
}

fn expression(text: String) -> Called {
    Ok((Value::new(text, ValueKind::Expression), None))
}

/// Operators between operands, or functions of the same meaning.
pub fn call(name: &str, arguments: &[Value]) -> Called {
    let all: Vec<String> = arguments.iter().map(Value::operand).collect();
    let text: Vec<&str> = all.iter().map(String::as_str).collect();
    match (name, &*text) {
        ("upper" | "lower" | "trim", [value]) => operand(format!("{value}|{name}")),
        ("title", [value]) => {
            let doubt = "Go's `title` leaves all letters but the first of each word as they are; Jinja's makes them small";
            Ok((Value::new(format!("{value}|title"), ValueKind::Operand), Some(doubt.to_owned())))
        }
        ("default", [otherwise, value]) => operand(format!("{value}|default({otherwise}, true)")),
        ("coalesce", [_, ..]) => either(text.join(" or ")),
        ("and" | "or", [_, ..]) => either(text.join(&format!(" {name} "))),
        ("not" | "empty", [value]) => expression(format!("not {value}")),
        ("ternary", [yes, no, test]) => either(format!("{yes} if {test} else {no}")),
        ("eq", [_, _, ..]) => {
            let value = compared(&arguments[0]);
            expression(arguments[1..].iter().map(|other| format!("{value} == {}", compared(other))).collect::<Vec<_>>().join(" or "))
        }
        ("ne", [_, _]) => expression(format!("{} != {}", compared(&arguments[0]), compared(&arguments[1]))),
        ("lt", [a, b]) => expression(format!("{a} < {b}")),
        ("le", [a, b]) => expression(format!("{a} <= {b}")),
        ("gt", [a, b]) => expression(format!("{a} > {b}")),
        ("ge", [a, b]) => expression(format!("{a} >= {b}")),
        ("len", [value]) => operand(format!("{value}|length")),
        ("index" | "get", [value, keys @ ..]) if !keys.is_empty() => {
            let keys: String = keys.iter().map(|key| format!("[{key}]")).collect();
            Ok((Value::new(format!("{value}{keys}"), ValueKind::Field), None))
        }
        ("print" | "html" | "toString" | "js", [_]) if name != "js" => Ok((arguments[0].clone(), None)),
        ("printf", [_, ..]) => format_of(arguments),
        ("urlquery", [value]) => Ok((Value::new(format!("{value}|urlencode"), ValueKind::Encoded), None)),
        ("contains", [part, whole]) => expression(format!("{part} in {whole}")),
        ("hasPrefix", [part, whole]) => operand(format!("{whole}.startswith({part})")),
        ("hasSuffix", [part, whole]) => operand(format!("{whole}.endswith({part})")),
        ("replace", [old, new, value]) => operand(format!("{value}|replace({old}, {new})")),
        ("join", [between, list]) => operand(format!("{list}|join({between})")),
        ("splitList", [between, value]) => operand(format!("{value}.split({between})")),
        ("first" | "last", [list]) => operand(format!("{list}|{name}")),
        ("int" | "int64" | "atoi", [value]) => operand(format!("{value}|int")),
        ("float64", [value]) => operand(format!("{value}|float")),
        ("add" | "mul" | "sub" | "div" | "mod", [_, _, ..]) => {
            let sign = match name {
                "add" => " + ",
                "mul" => " * ",
                "sub" => " - ",
                "div" => " // ",
                _ => " % ",
            };
            expression(text.iter().map(|value| format!("{value}|int")).collect::<Vec<_>>().join(sign))
        }
        ("list", values) => operand(format!("[{}]", values.join(", "))),
        ("dict", values) if values.len() % 2 == 0 => {
            let pairs: Vec<String> = values.chunks(2).map(|pair| pair.join(": ")).collect();
            operand(format!("{{{}}}", pairs.join(", ")))
        }
        _ => Err(format!("the function `{name}` has no counterpart in Jinja")),
    }
}

/// `printf`, as far as its format is a text with values.
fn format_of(arguments: &[Value]) -> Called {
    let Some((Value { kind: ValueKind::Constant(format), .. }, values)) = arguments.split_first() else {
        return Err("`printf` with a format that is not a text has no counterpart in Jinja".to_owned());
    };
    let (mut parts, mut text, mut values) = (Vec::new(), String::new(), values.iter());
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => text.push('%'),
            Some('s' | 'v' | 'd') => {
                let value = values.next().ok_or_else(|| "`printf` has fewer values than its format".to_owned())?;
                if !text.is_empty() {
                    parts.push(quoted(&std::mem::take(&mut text)));
                }
                parts.push(value.operand());
            }
            _ => return Err(format!("`printf` with the format {} has no counterpart in Jinja", quoted(format))),
        }
    }
    if values.next().is_some() {
        return Err("`printf` has more values than its format".to_owned());
    }
    if !text.is_empty() || parts.is_empty() {
        parts.push(quoted(&text));
    }
    expression(parts.join(" ~ "))
}
