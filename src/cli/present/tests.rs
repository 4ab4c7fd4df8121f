//! Tables as people and scripts see them.

use super::*;

fn people() -> Table<(&'static str, u32)> {
    Table::empty()
        .column("email", "recipient", |row: &(&str, u32)| row.0)
        .column("attempts", "attempts", |row: &(&str, u32)| row.1)
        .column("isNew", "new", |row: &(&str, u32)| (row.1 < 2).then_some(true))
        .wide("note", "a note", |_| "x|y\n\u{1b}[31m")
}

fn printed(format: OutputFormat, rows: &[(&'static str, u32)]) -> String {
    let mut out = Vec::new();
    people().print(format, &mut out, rows.iter().copied()).expect("a vector takes all");
    String::from_utf8(out).expect("text")
}

#[test]
fn one_description_makes_every_form() {
    let rows = [("ann@example.com", 1), ("b@example.com", 12)];
    for (format, expected) in [
        (OutputFormat::Table, "RECIPIENT        ATTEMPTS  NEW\nann@example.com  1         yes\nb@example.com    12        -\n"),
        (
            OutputFormat::Wide,
            "RECIPIENT        ATTEMPTS  NEW  A NOTE\nann@example.com  1         yes  x|y  [31m\nb@example.com    12        -    x|y  [31m\n",
        ),
        (
            OutputFormat::Markdown,
            "| recipient | attempts | new | a note |\n|---|---|---|---|\n| ann&#64;<!-- -->example.com | 1 | yes | x\\|y  \\[31m |\n| b&#64;<!-- -->example.com | 12 | - | x\\|y  \\[31m |\n",
        ),
    ] {
        assert_eq!(printed(format, &rows), expected, "{format:?}");
    }
    let json: Value = serde_json::from_str(&printed(OutputFormat::Json, &rows)).expect("one document");
    assert_eq!(json[0]["attempts"], 1, "numbers are numbers");
    assert_eq!(json[1].get("isNew"), None, "what is absent has no key");
    assert_eq!(json.as_array().map(Vec::len), Some(2));
    let lines = printed(OutputFormat::JsonLines, &rows);
    assert!(lines.lines().all(|line| line.starts_with("{\"email\":\"") && line.ends_with('}')), "{lines}");
    let yaml = printed(OutputFormat::Yaml, &rows);
    assert!(yaml.starts_with("- email: ann@example.com\n  attempts: 1\n"), "{yaml}");
    assert_eq!(serde_saphyr::from_str::<Value>(&yaml).expect("YAML"), json);
}

#[test]
fn a_terminal_wraps_or_leaves_out_or_stacks_and_a_pipe_cuts_nothing() {
    let table = Table::empty()
        .column("email", "recipient", |row: &(&str, u32)| row.0)
        .wraps()
        .column("line", "line", |row: &(&str, u32)| row.1)
        .names()
        .column("count", "count", |row: &(&str, u32)| row.1)
        .spare(1)
        .column("none", "none", |_| 0)
        .quiet()
        .column("why", "why", |_| "the server refused it, and nobody knows why it did")
        .wraps();
    let printed = |columns: Option<usize>, format| {
        let mut out = Vec::new();
        let mut printer = table.printer_for(columns, format, &mut out);
        printer.row(&("somebody.with.a.long.name@mail.example.com", 19_905)).expect("a vector takes all");
        printer.finish().expect("a vector takes all");
        String::from_utf8(out).expect("text")
    };
    let whole = printed(None, OutputFormat::Table);
    assert_eq!(whole.lines().count(), 2);
    assert!(whole.contains("19905  19,905  0     the server refused it, and nobody knows why it did"), "{whole}");
    assert_eq!(
        printed(Some(60), OutputFormat::Table),
        "RECIPIENT              LINE   COUNT   WHY\n\
         somebody.with.a.long.  19905  19,905  the server refused it,\n\
         name@mail.example.com                 and nobody knows why\n\
         \u{20}                                     it did\n"
    );
    assert_eq!(
        printed(Some(50), OutputFormat::Table),
        "RECIPIENT             LINE   WHY\n\
         somebody.with.a.long  19905  the server refused\n\
         .name@mail.example.c         it, and nobody knows\n\
         om                           why it did\n\
         (no room for count; -o wide has all columns)\n"
    );
    assert_eq!(
        printed(Some(40), OutputFormat::Wide),
        "RECIPIENT  somebody.with.a.long.name@mai\n\
         \u{20}          l.example.com\n\
         LINE       19905\n\
         COUNT      19,905\n\
         WHY        the server refused it, and\n\
         \u{20}          nobody knows why it did\n"
    );
}

#[test]
fn a_table_without_rows_is_still_a_table() {
    assert_eq!(printed(OutputFormat::Table, &[]), "RECIPIENT  ATTEMPTS  NEW\n");
    assert_eq!(printed(OutputFormat::Json, &[]), "[]\n");
    assert_eq!(printed(OutputFormat::Yaml, &[]), "[]\n");
    assert_eq!(printed(OutputFormat::JsonLines, &[]), "");
}

#[test]
fn a_long_table_has_its_headings_once() {
    let rows: Vec<_> = (0..2_500).map(|n| ("ann@example.com", n)).collect();
    for format in [OutputFormat::Table, OutputFormat::Markdown] {
        let text = printed(format, &rows);
        assert_eq!(text.to_lowercase().matches("attempts").count(), 1, "{format:?}");
        assert_eq!(text.matches("ann").count(), 2_500, "{format:?}");
    }
}
