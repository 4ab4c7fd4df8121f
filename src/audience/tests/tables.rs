//! Tables as spreadsheets and other mailers write them.

use super::{super::Layout, Input, bytes, told};

fn layout(columns: &[(&str, &str)], delimiter: Option<u8>, charset: Option<&'static encoding_rs::Encoding>) -> Layout {
    let columns = columns.iter().map(|(field, header)| ((*field).to_owned(), (*header).to_owned())).collect();
    Layout { columns, delimiter, charset }
}

#[test]
fn tables_as_spreadsheets_write_them() {
    let utf16 = |text: &str| -> Vec<u8> { std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect() };
    let cases: Vec<(&str, Layout, Vec<u8>, &[&str])> = vec![
        (
            "Excel in Germany",
            layout(&[("email", "E-Mail-Adresse"), ("name", "Vorname")], Some(b';'), Some(encoding_rs::WINDOWS_1252)),
            b"Vorname;E-Mail-Adresse;Ort\r\nJ\xf6rg;a@x.example;\"K\xf6ln; Deutz\"\r\n".to_vec(),
            &[r#"a@x.example {"name":"Jörg","email":"a@x.example","Ort":"Köln; Deutz"}"#],
        ),
        (
            "Unicode text of Excel",
            layout(&[], Some(b'\t'), Some(encoding_rs::UTF_16LE)),
            utf16("email\tname\r\na@x.example\tŁucja\r\n"),
            &[r#"a@x.example {"email":"a@x.example","name":"Łucja"}"#],
        ),
        (
            "a letter that the charset does not have",
            layout(&[], None, Some(encoding_rs::SHIFT_JIS)),
            b"email,name\na@x.example,\x82\nb@x.example,\x82\xa0\n".to_vec(),
            &["line 2: the row is not in shift_jis; correct `charset`", r#"b@x.example {"email":"b@x.example","name":"あ"}"#],
        ),
        (
            "the wrong sign",
            layout(&[], Some(b';'), None),
            b"email,name\n".to_vec(),
            &["error: the audience: the columns are separated by commas, and not by `;`; correct `delimiter`"],
        ),
        (
            "the file's own line says it better",
            layout(&[], Some(b','), None),
            b"sep=|\nemail|n\na@x.example|1\n".to_vec(),
            &[r#"a@x.example {"email":"a@x.example","n":"1"}"#],
        ),
        (
            "a header with a typing error",
            layout(&[("email", "E-mial")], None, None),
            b"E-mail,name\n".to_vec(),
            &[
                "error: the audience: there is no column `E-mial`, which `columns.email` names; the columns are `E-mail`, `name`; did you mean `E-mail`?",
            ],
        ),
        (
            "a workbook",
            layout(&[], None, Some(encoding_rs::WINDOWS_1252)),
            b"PK\x03\x04\x14\0".to_vec(),
            &[
                "error: the audience: it is an Excel workbook (.xlsx) or another zip archive, not a table; name it as `xlsx`, or save it as CSV (UTF-8)",
            ],
        ),
    ];
    for (name, layout, data, wanted) in cases {
        assert_eq!(told(&Input::Csv(bytes(data), layout)), *wanted, "{name}");
    }
}

#[test]
fn a_plain_table_is_the_input_that_it_was() {
    let plain = Input::csv(bytes("email\n"));
    assert_eq!(format!("{plain:?}"), "Csv(Bytes([101, 109, 97, 105, 108, 10]))", "the ledger has hashes of it");
    let other = Input::Csv(bytes("email\n"), layout(&[], Some(b';'), None));
    assert_ne!(format!("{plain:?}"), format!("{other:?}"));
}
