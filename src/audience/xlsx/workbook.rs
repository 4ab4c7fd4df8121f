//! What a workbook says of its sheets, and of how numbers are shown: the parts beside the sheets themselves.

use std::collections::HashMap;

use super::{
    archive::{Archive, Fault},
    number::Format,
    xml::{Event, Xml, attribute, unescaped},
};

/// The most bytes of a part that says what there is.
const PART_MAX: u64 = if cfg!(test) { 1 << 20 } else { 16 << 20 };
/// The most formats of cells: spreadsheets allow 65,490.
const FORMATS_MAX: usize = 100_000;

/// A sheet.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    /// The name on its tab.
    pub name: String,
    /// Its part.
    pub part: String,
    /// Whether it has no tab.
    pub is_hidden: bool,
}

/// A workbook.
#[derive(Debug)]
pub(super) struct Workbook {
    /// The sheets with cells, in the order of their tabs.
    pub sheets: Vec<Sheet>,
    /// The part with the texts that cells share.
    pub texts: Option<String>,
    /// How the numbers of cells are shown, by the index that cells have.
    pub formats: Vec<Format>,
    /// Whether days are counted from 1904.
    pub is_1904: bool,
}

/// What a part refers to.
struct Relationship {
    /// The last word of its type: `worksheet`.
    kind: String,
    /// The part.
    target: String,
}

impl Workbook {
    /// Reads what an archive says of its sheets.
    pub fn read(archive: &Archive) -> Result<Self, Fault> {
        let unusable = |what: &str| Fault::Unusable(what.to_owned());
        if archive.has("mimetype") || archive.has("content.xml") {
            return Err(unusable("it is an OpenDocument spreadsheet (.ods), not an Excel workbook; save it as .xlsx"));
        }
        if !archive.has("_rels/.rels") {
            return Err(unusable("it is a zip archive, not an Excel workbook (.xlsx); unpack it, or save the sheet as .xlsx"));
        }
        let package = relationships(archive, "_rels/.rels", "")?;
        let main = package.into_values().find(|relationship| relationship.kind == "officeDocument");
        let main = main.ok_or_else(|| unusable("the workbook is corrupt (it does not say where its sheets are); save it again"))?.target;
        if main.to_ascii_lowercase().ends_with(".bin") {
            return Err(unusable("it is a binary workbook (.xlsb); save it as .xlsx"));
        }
        let (folder, name) = main.rsplit_once('/').map_or(("", &*main), |(folder, name)| (folder, name));
        let beside = if folder.is_empty() { format!("_rels/{name}.rels") } else { format!("{folder}/_rels/{name}.rels") };
        let related = relationships(archive, &beside, folder)?;
        let of_kind = |kind: &str| related.values().find(|relationship| relationship.kind == kind).map(|found| found.target.clone());
        let (sheets, is_1904) = sheets(archive, &main, &related)?;
        let formats = of_kind("styles").filter(|part| archive.has(part)).map_or(Ok(Vec::new()), |part| formats(archive, &part))?;
        Ok(Self { sheets, texts: of_kind("sharedStrings").filter(|part| archive.has(part)), formats, is_1904 })
    }

    /// The sheet of this name, or else the first that is not hidden.
    pub fn sheet(&self, name: Option<&str>) -> Result<&Sheet, Fault> {
        let names = |sheets: &[Sheet]| {
            let mut names: Vec<String> = sheets.iter().take(20).map(|sheet| format!("`{}`", sheet.name)).collect();
            names.extend((sheets.len() > 20).then(|| format!("and {} more", sheets.len() - 20)));
            names.join(", ")
        };
        let found = match name {
            Some(name) => {
                let exact = self.sheets.iter().find(|sheet| sheet.name == name);
                // Excel knows no two names that differ in case alone.
                exact.or_else(|| self.sheets.iter().find(|sheet| sheet.name.to_lowercase() == name.to_lowercase()))
            }
            None => self.sheets.iter().find(|sheet| !sheet.is_hidden),
        };
        found.ok_or_else(|| {
            Fault::Unusable(match name {
                Some(name) => format!("it has no sheet `{name}`; its sheets are {}", names(&self.sheets)),
                None if self.sheets.is_empty() => "it has no sheet with cells".to_owned(),
                None => format!("all its sheets are hidden; write one of them as `sheet`: {}", names(&self.sheets)),
            })
        })
    }
}

/// What a part refers to, by the id of each reference.
fn relationships(archive: &Archive, part: &str, folder: &str) -> Result<HashMap<String, Relationship>, Fault> {
    let mut xml = Xml::new(archive.part(part, PART_MAX)?, part);
    let mut found = HashMap::new();
    loop {
        match xml.next()? {
            Event::Start(start) if start.local_name().as_ref() == "Relationship" => {
                let (id, kind, target) = (attribute(&start, "Id")?, attribute(&start, "Type")?, attribute(&start, "Target")?);
                if let (Some(id), Some(kind), Some(target)) = (id, kind, target) {
                    let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
                    found.insert(id.into_owned(), Relationship { kind, target: resolved(folder, &target) });
                }
            }
            Event::Eof => return Ok(found),
            _ => {}
        }
    }
}

/// The part that a reference from a folder means.
fn resolved(folder: &str, target: &str) -> String {
    if let Some(from_root) = target.strip_prefix('/') {
        return from_root.to_owned();
    }
    let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in target.split('/') {
        match name {
            ".." => _ = names.pop(),
            "." | "" => {}
            name => names.push(name),
        }
    }
    names.join("/")
}

/// The sheets of the main part, and whether its days are counted from 1904.
fn sheets(archive: &Archive, part: &str, related: &HashMap<String, Relationship>) -> Result<(Vec<Sheet>, bool), Fault> {
    let mut xml = Xml::new(archive.part(part, PART_MAX)?, part);
    let (mut sheets, mut is_1904) = (Vec::new(), false);
    loop {
        match xml.next()? {
            Event::Start(start) => match start.local_name().as_ref() {
                "sheet" => {
                    let (name, id, state) = (attribute(&start, "name")?, attribute(&start, "id")?, attribute(&start, "state")?);
                    let related = id.and_then(|id| related.get(&*id)).filter(|related| related.kind == "worksheet");
                    if let (Some(name), Some(related)) = (name, related) {
                        let is_hidden = state.is_some_and(|state| state != "visible");
                        sheets.push(Sheet { name: unescaped(&name).into_owned(), part: related.target.clone(), is_hidden });
                    }
                }
                "workbookPr" => is_1904 |= attribute(&start, "date1904")?.is_some_and(|value| matches!(&*value, "1" | "true")),
                _ => {}
            },
            Event::Eof => return Ok((sheets, is_1904)),
            _ => {}
        }
    }
}

/// How the numbers of cells are shown.
fn formats(archive: &Archive, part: &str) -> Result<Vec<Format>, Fault> {
    let mut xml = Xml::new(archive.part(part, PART_MAX)?, part);
    let (mut own, mut formats) = (HashMap::new(), Vec::new());
    let (mut in_own, mut in_cells) = (false, false);
    loop {
        match xml.next()? {
            Event::Start(start) => match start.local_name().as_ref() {
                "numFmts" => in_own = true,
                "cellXfs" => in_cells = true,
                "numFmt" if in_own => {
                    if let (Some(id), Some(code)) = (attribute(&start, "numFmtId")?, attribute(&start, "formatCode")?) {
                        own.insert(id.into_owned(), Format::of(&code));
                    }
                }
                "xf" if in_cells => {
                    let id = attribute(&start, "numFmtId")?;
                    formats.push(id.map_or(Format::Plain, |id| own.get(&*id).copied().unwrap_or_else(|| Format::built_in(&id))));
                    if formats.len() > FORMATS_MAX {
                        return Err(Fault::Unusable(format!("it has more than {FORMATS_MAX} formats of cells; save the sheet as CSV")));
                    }
                }
                _ => {}
            },
            Event::End(name) => match &*name {
                "numFmts" => in_own = false,
                "cellXfs" => in_cells = false,
                _ => {}
            },
            Event::Eof => return Ok(formats),
            _ => {}
        }
    }
}
