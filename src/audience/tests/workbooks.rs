//! Workbooks as spreadsheets write them, and as nobody should.

use std::{fmt::Write as _, io::Write as _};

use flate2::{Compression, Crc, write::DeflateEncoder};

use super::{
    super::xlsx::{Folder, Sheet},
    Input, Location, NamedFile, Reader, bytes, count_rows, runtime, told,
};

/// A part of an archive, as its directory has it.
struct Part {
    name: String,
    packed: Vec<u8>,
    unpacked: u32,
    crc: u32,
    flags: u16,
}

impl Part {
    fn new(name: &str, text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text).expect("packed");
        let mut crc = Crc::new();
        crc.update(text);
        let unpacked = u32::try_from(text.len()).expect("a size");
        Self { name: name.to_owned(), packed: packed.finish().expect("packed"), unpacked, crc: crc.sum(), flags: 0 }
    }
}

/// An archive of parts, and how many its end says.
fn archive_of(parts: &[Part], count: u16) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for part in parts {
        let at = u32::try_from(out.len()).expect("a size");
        let length = u32::try_from(part.packed.len()).expect("a size");
        let fixed = |out: &mut Vec<u8>| {
            out.extend([20, 0]);
            out.extend(part.flags.to_le_bytes());
            out.extend([8, 0, 0, 0, 0, 0]);
            out.extend(part.crc.to_le_bytes());
            out.extend(length.to_le_bytes());
            out.extend(part.unpacked.to_le_bytes());
            out.extend(u16::try_from(part.name.len()).expect("a name").to_le_bytes());
            out.extend([0, 0]);
        };
        out.extend(b"PK\x03\x04");
        fixed(&mut out);
        out.extend(part.name.as_bytes());
        out.extend(&part.packed);
        directory.extend(b"PK\x01\x02\x14\0");
        fixed(&mut directory);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(part.name.as_bytes());
    }
    let (at, size) = (u32::try_from(out.len()).expect("a size"), u32::try_from(directory.len()).expect("a size"));
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn archive(parts: &[Part]) -> Vec<u8> {
    archive_of(parts, u16::try_from(parts.len()).expect("few"))
}

const SPACES: &str = "xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\" xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\"";

fn relationships(targets: &[(&str, &str)]) -> String {
    let all: String = targets.iter().enumerate().fold(String::new(), |mut all, (index, (kind, target))| {
        let space = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
        write!(all, "<Relationship Id=\"rId{index}\" Type=\"{space}/{kind}\" Target=\"{target}\"/>").expect("a text");
        all
    });
    format!("<?xml version=\"1.0\"?><Relationships>{all}</Relationships>")
}

const STYLES: &str = "<styleSheet><numFmts count=\"2\"><numFmt numFmtId=\"164\" formatCode=\"00000\"/><numFmt numFmtId=\"165\" formatCode=\"[h]:mm\"/></numFmts>\
    <cellStyleXfs><xf numFmtId=\"14\"/></cellStyleXfs>\
    <cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/><xf numFmtId=\"164\"/><xf numFmtId=\"165\"/></cellXfs></styleSheet>";

/// The parts of a workbook: sheets by name, state and rows, and shared texts.
fn parts(sheets: &[(&str, &str, &str)], texts: &str) -> Vec<Part> {
    let mut targets = vec![("styles", "styles.xml"), ("sharedStrings", "/xl/sharedStrings.xml")];
    let names: Vec<String> = (0..sheets.len()).map(|index| format!("worksheets/sheet{index}.xml")).collect();
    targets.extend(names.iter().map(|name| ("worksheet", &**name)));
    let mut workbook = format!("<workbook {SPACES}><sheets>");
    let mut parts = vec![
        Part::new("_rels/.rels", relationships(&[("officeDocument", "xl/workbook.xml")])),
        Part::new("xl/_rels/workbook.xml.rels", relationships(&targets)),
        Part::new("xl/styles.xml", STYLES),
        // As some programs write it.
        Part::new("xl/SharedStrings.xml", format!("<sst {SPACES} count=\"1\" uniqueCount=\"99999999999999\">{texts}</sst>")),
    ];
    for (index, (name, state, rows)) in sheets.iter().enumerate() {
        write!(workbook, "<sheet name=\"{name}\" sheetId=\"{}\" state=\"{state}\" r:id=\"rId{}\"/>", index + 1, index + 2).expect("a text");
        parts.push(Part::new(
            &format!("xl/worksheets/sheet{index}.xml"),
            format!("<worksheet {SPACES}><dimension ref=\"A1:XFD1048576\"/><sheetData>{rows}</sheetData><mergeCells><mergeCell ref=\"A1:B1\"/></mergeCells></worksheet>"),
        ));
    }
    workbook.push_str("</sheets></workbook>");
    parts.push(Part::new("xl/workbook.xml", workbook));
    parts
}

fn sheet(location: Location, name: Option<&str>, columns: &[(&str, &str)]) -> Input {
    let columns = columns.iter().map(|(field, header)| ((*field).to_owned(), (*header).to_owned())).collect();
    Input::Xlsx(Box::new(Sheet { location, name: name.map(str::to_owned), columns, folder: Folder(std::env::temp_dir()) }))
}

fn read(archive: &[u8]) -> Vec<String> {
    told(&sheet(bytes(archive), None, &[]))
}

/// What a workbook of one sheet with these rows gives.
fn rows(rows: &str) -> Vec<String> {
    read(&archive(&parts(&[("Sheet1", "visible", rows)], "<si><t>email</t></si>")))
}

/// A row of texts.
fn row(number: u32, cells: &[&str]) -> String {
    let cells = cells.iter().fold(String::new(), |all, cell| format!("{all}<c t=\"inlineStr\"><is><t>{cell}</t></is></c>"));
    format!("<row r=\"{number}\">{cells}</row>")
}

const HEADER: &str = "<row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c></row>";

#[test]
fn a_sheet_as_spreadsheets_write_it() {
    let texts = "<si><t>E-Mail</t></si><si><t>zip</t></si><si><r><t>Bo</t></r><r><rPr><b/></rPr><t xml:space=\"preserve\">b </t></r><rPh><t>no</t></rPh></si>\
        <si><t>a@x.example</t></si><si/><si><t>M&amp;M &#228;_x000D_</t></si>";
    let cells = "<row r=\"2\"><c r=\"A2\" t=\"s\"><v>0</v></c><c r=\"B2\" t=\"s\"><v>1</v></c><c r=\"C2\" t=\"inlineStr\"><is><t>since</t></is></c>\
        <c r=\"D2\" t=\"str\"><f>A1</f><v>sum</v></c><c r=\"F2\" t=\"inlineStr\"><is><t> yes </t></is></c></row>\
        <row r=\"3\"><c r=\"A3\" t=\"s\"><v>3</v></c><c r=\"B3\" s=\"2\"><v>1067</v></c><c r=\"C3\" s=\"1\"><v>45943</v></c>\
        <c r=\"D3\"><f>B3*2</f><v>2134</v></c><c r=\"E3\"><v>7</v></c><c r=\"F3\" t=\"b\"><v>1</v></c><c r=\"G3\"><v>8</v></c></row>\
        <row r=\"5\"/>\
        <row r=\"6\"><c r=\"E6\" t=\"s\"><v>5</v></c></row>\
        <row r=\"7\"><c r=\"A7\" t=\"str\"><v>nobody</v></c><c r=\"B7\" t=\"s\"><v>4</v></c></row>\
        <row r=\"9\"><c r=\"A9\" t=\"inlineStr\"><is><t>b@x.example</t></is></c><c r=\"B9\" t=\"s\"><v>2</v></c><c r=\"C9\" t=\"e\"><v>#N/A</v></c>\
        <c r=\"D9\" s=\"3\"><v>1.5</v></c><c r=\"F9\" t=\"d\"><v>2026-03-01</v></c></row>\
        <row r=\"10\"><c r=\"A10\" t=\"s\"><v>5</v></c><c r=\"B10\"><v>0.30000000000000004</v></c></row>\
        <row r=\"1048576\"><c r=\"A1048576\" s=\"1\"/></row>";
    let workbook = archive(&parts(&[("Zoë &amp; Co", "visible", cells)], texts));
    let told = told(&sheet(bytes(&workbook), None, &[("email", "e-mail")]));
    let wanted = [
        r#"a@x.example {"email":"a@x.example","zip":"01067","since":"2025-10-13","sum":2134,"yes":true}"#,
        "sheet \"Zoë & Co\", row 7: there is no `@` in it",
        r#"b@x.example {"email":"b@x.example","zip":"Bob ","since":"","sum":"36:00:00","yes":"2026-03-01"}"#,
        "sheet \"Zoë & Co\", row 10: ",
    ];
    assert_eq!(told.len(), wanted.len(), "{told:?}");
    for (told, wanted) in told.iter().zip(wanted) {
        assert!(told.starts_with(wanted), "{told} {wanted}");
    }
    assert_eq!(count_rows(&sheet(bytes(&workbook), None, &[("email", "E-Mail")]), None::<fn(&str) -> bool>, runtime().handle()), Some(4));
}

#[test]
fn a_file_is_read_in_one_version() {
    let path = std::env::temp_dir().join(format!("mailfleet-workbook-{}.xlsx", std::process::id()));
    std::fs::write(
        &path,
        archive(&parts(&[("People", "visible", &format!("{HEADER}{}", row(2, &["a@x.example"])))], "<si><t>email</t></si>")),
    )
    .expect("written");
    let found = path.clone();
    let input = sheet(Location::File(NamedFile::new("people.xlsx".into(), move || Ok(found.clone()))), None, &[]);
    let runtime = runtime();
    let mut reader = Reader::open(&input, runtime.handle()).expect("it opens");
    assert_eq!(reader.version().map(super::super::Version::File), input.version());
    assert!(reader.version().is_some() && input.is_local() && input.file().is_some() && input.has_version());
    assert_eq!((reader.by_ref().count(), reader.columns()), (1, Some(vec!["email"])));
    std::fs::remove_file(&path).expect("removed");
}

#[test]
fn the_sheet_is_the_one_that_is_named_or_the_first_with_a_tab() {
    let people = |who: &str| format!("{HEADER}{}", row(2, &[who]));
    let (old, news, vips) = (people("old@x.example"), people("news@x.example"), people("vip@x.example"));
    let several = [("Old", "hidden", &*old), ("News", "visible", &*news), ("VIPs", "veryHidden", &*vips)];
    let workbook = archive(&parts(&several, "<si><t>email</t></si>"));
    let named = |name| told(&sheet(bytes(&workbook), name, &[])).remove(0);
    for (name, wanted) in [(None, "news@x.example {"), (Some("vips"), "vip@x.example {"), (Some("Old"), "old@x.example {")] {
        assert!(named(name).starts_with(wanted), "{name:?}: {}", named(name));
    }
    assert_eq!(named(Some("New")), "error: the audience: it has no sheet `New`; its sheets are `Old`, `News`, `VIPs`");
    let hidden = archive(&parts(&several[..1], "<si><t>email</t></si>"));
    assert_eq!(read(&hidden), ["error: the audience: all its sheets are hidden; write one of them as `sheet`: `Old`"]);
}

#[test]
fn a_header_that_names_no_address_is_told_with_what_may_be_meant() {
    let cases = [
        (
            row(1, &["E-mail", "Name"]),
            "sheet \"Sheet1\": there is no column `email`; the columns are `E-mail`, `Name`; if `E-mail` holds the addresses, rename it, or write `columns: {email: \"E-mail\"}`",
        ),
        (
            row(3, &["Our customers", ""]),
            "the columns are `Our customers`; name the one with the addresses `email`; if row 3 is a title, delete it",
        ),
        (row(1, &["email", "a", "a"]), "there is more than one column `a`"),
        (String::new(), "sheet \"Sheet1\": it is empty; the first row must name the columns"),
    ];
    for (cells, wanted) in cases {
        let told = rows(&cells);
        assert!(told.len() == 1 && told[0].contains(wanted), "{told:?} {wanted}");
    }
}

#[test]
fn what_is_no_workbook_is_told() {
    let old = |name: &str| {
        [
            &[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1][..],
            &[0; 600],
            &name.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
        ]
        .concat()
    };
    let good = archive(&parts(&[("Sheet1", "visible", HEADER)], "<si><t>email</t></si>"));
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (old("Workbook"), "it is an old Excel workbook (.xls); save it as .xlsx"),
        (old("EncryptedPackage"), "it is protected by a password; save it without one"),
        (b"email,name\na@x.example,A\n".to_vec(), "it is not an Excel workbook (.xlsx); if it is a text table, name it as `csv`"),
        (b"<html>".to_vec(), "it is an HTML or XML page, not a workbook"),
        (Vec::new(), "it is empty"),
        (archive(&[Part::new("mimetype", "application/vnd.oasis.opendocument.spreadsheet")]), "it is an OpenDocument spreadsheet (.ods)"),
        (archive(&[Part::new("photo.jpg", "x")]), "it is a zip archive, not an Excel workbook"),
        (archive(&[Part::new("_rels/.rels", relationships(&[("officeDocument", "xl/workbook.bin")]))]), "it is a binary workbook (.xlsb)"),
        (good[..good.len() / 2].to_vec(), "the workbook is corrupt (its end is missing)"),
    ];
    for (data, wanted) in cases {
        let told = read(&data);
        assert!(told.len() <= 1 && told.iter().all(|told| told.contains(wanted)), "{told:?} {wanted}");
    }
}

#[test]
fn a_hostile_workbook_takes_no_memory() {
    let one = |rows: &str| parts(&[("Sheet1", "visible", rows)], "<si><t>email</t></si>");
    let with = |name: &str, change: &dyn Fn(&mut Part)| {
        let mut parts = one(&format!("{HEADER}{}", row(2, &["a@x.example"])));
        change(parts.iter_mut().find(|part| part.name.ends_with(name)).expect(name));
        archive(&parts)
    };
    let replaced = |name: &str, text: &str| with(name, &|part| *part = Part::new(&part.name, text));
    let rows_of = |rows: &str| archive(&one(&format!("{HEADER}{rows}")));
    let many: Vec<Part> = (0..10_001).map(|number| Part::new(&format!("{number}"), "")).collect();
    let bomb = "<si/>".repeat(300_000);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "a part that its directory says is large",
            replaced("SharedStrings.xml", &bomb),
            "unpacked, its part `xl/sharedStrings.xml` has more than 1 MiB",
        ),
        (
            "a part that lies about it",
            with("SharedStrings.xml", &|part| *part = Part { unpacked: 1000, ..Part::new(&part.name, &bomb) }),
            "a part is longer than the directory says",
        ),
        ("a part that is shorter", with("sheet0.xml", &|part| part.unpacked += 1), "a part is not the one that was packed"),
        ("a part with another sum", with("sheet0.xml", &|part| part.crc ^= 1), "a part is not the one that was packed"),
        ("too many parts", archive_of(&many, 10_001), "it has 10001 parts, and at most 10000 are allowed"),
        ("an encrypted part", with("workbook.xml", &|part| part.flags = 1), "it is protected by a password"),
        (
            "more texts than a sheet has cells",
            replaced("SharedStrings.xml", &format!("<sst>{}</sst>", "<si/>".repeat(10_001))),
            "more than 10000 different texts",
        ),
        ("a document type", replaced("workbook.xml", "<!DOCTYPE x [<!ENTITY a \"b\">]><workbook/>"), "it has a document type"),
        ("an entity", replaced("SharedStrings.xml", "<sst><si><t>&a;</t></si></sst>"), "it refers to an entity"),
        (
            "one tag without an end",
            replaced("sheet0.xml", &format!("<worksheet a=\"{}", "x".repeat(2_000_000))),
            "a text or tag is longer than 1048576 bytes",
        ),
        ("elements within each other", replaced("workbook.xml", &"<a>".repeat(200_000)), "elements nest too deep"),
        (
            "text that is no UTF-8",
            with("workbook.xml", &|part| *part = Part::new(&part.name, b"<workbook>\xff</workbook>")),
            "the workbook is corrupt",
        ),
        (
            "a long cell",
            rows_of(&format!("<row r=\"2\"><c t=\"str\"><v>{}</v></c></row>", "x&amp;".repeat(600_000))),
            "a cell is longer than 1048576 bytes",
        ),
        (
            "a long row",
            rows_of(&format!("<row r=\"2\">{}</row>", format!("<c r=\"A2\" t=\"str\"><v>{}</v></c>", "x".repeat(300_000)).repeat(4))),
            "row 2 is longer than 1048576 bytes",
        ),
        ("rows in disorder", rows_of("<row r=\"1\"/>"), "its rows are not in their order"),
        ("a row that no sheet has", rows_of("<row r=\"1048577\"/>"), "its rows are not in their order"),
        ("a missing text", rows_of("<row r=\"2\"><c r=\"A2\" t=\"s\"><v>7</v></c></row>"), "a cell refers to a missing text"),
        ("a sheet without an end", replaced("sheet0.xml", &format!("<worksheet><sheetData>{HEADER}")), "a sheet does not end"),
        ("no sheet", with("sheet0.xml", &|part| part.name = "elsewhere".to_owned()), "it has no part `xl/worksheets/sheet0.xml`"),
        (
            "a loop of references",
            replaced("workbook.xml.rels", &relationships(&[("worksheet", "../../../../xl/workbook.xml")])),
            "it has no sheet with cells",
        ),
        (
            "more than a file may have",
            vec![b'P', b'K'].into_iter().chain(std::iter::repeat_n(0, 2 << 20)).collect(),
            "the workbook has more than 1 MiB",
        ),
    ];
    for (what, data, wanted) in cases {
        let told = read(&data);
        let error = told.last().expect(what);
        assert!(error.starts_with("error: the audience") && error.contains(wanted) && error.len() < 400, "{what}: {error}");
    }
}
