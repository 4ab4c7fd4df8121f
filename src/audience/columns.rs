//! What the columns of a table are called, as fields of a recipient. Pure.
//!
//! The header names them, and `columns` of the spec those that spreadsheets name otherwise. Where no column is `email`, the one that
//! probably holds the addresses is proposed.

use std::collections::BTreeMap;

use crate::meta::nearest;

/// The field that holds the address.
pub(crate) const EMAIL: &str = "email";

/// The column names of a table.
#[derive(Debug)]
pub(crate) struct Columns {
    /// In the order of the table; an unnamed column cannot be referred to and is not read.
    pub(crate) names: Vec<Box<str>>,
    /// Which one is the address; none in rows that are no recipients.
    pub(crate) email: usize,
}

/// Fields, and the header of the column of each, where that is another.
pub type Renamed = BTreeMap<String, String>;

/// Words for the address in a header, without case and signs, beside all that contain `mail`.
const WORDS: [&str; 6] = ["courriel", "correo", "correoelectronico", "eposta", "epost", "sahkoposti"];

impl Columns {
    /// The columns of a header, in which `renamed` names some.
    ///
    /// # Errors
    /// In words after the name of the table, when no column is the address, or a name is there twice.
    pub fn of(mut names: Vec<Box<str>>, renamed: &Renamed) -> Result<Self, String> {
        let mut given = vec![false; names.len()];
        let mut fields: Vec<(usize, &str)> = Vec::with_capacity(renamed.len());
        for (field, header) in renamed {
            let header = header.trim();
            let index = find(&names, header).map_err(|missing| missing.words(field, header, &names))?;
            if std::mem::replace(&mut given[index], true) {
                return Err(format!("`columns` maps the column `{header}` to two fields; map it to one"));
            }
            fields.push((index, field));
        }
        for (name, given) in names.iter_mut().zip(&given) {
            if !given && renamed.keys().any(|field| is_field(name, field)) {
                *name = "".into();
            }
        }
        for (index, field) in fields {
            names[index] = field.into();
        }
        let email = match find(&names, EMAIL) {
            Ok(email) => email,
            Err(Missing::Several) => return Err("there is more than one column `email`".to_owned()),
            Err(Missing::None) => return Err(no_address(&names)),
        };
        names[email] = EMAIL.into();
        let mut sorted: Vec<&str> = names.iter().map(|name| &**name).filter(|name| !name.is_empty()).collect();
        sorted.sort_unstable();
        if let Some((twice, _)) = sorted.iter().zip(sorted.iter().skip(1)).find(|(one, next)| one == next) {
            return Err(format!("there is more than one column `{twice}`"));
        }
        Ok(Self { names, email })
    }

    /// The columns of rows that are no recipients: as they are called.
    pub(crate) fn of_any(names: Vec<Box<str>>) -> Self {
        Self { names, email: usize::MAX }
    }

    /// The names of the columns that have one.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name).filter(|name| !name.is_empty())
    }
}

/// Whether a column is the one of a field: the address ignoring case, any other as it is written.
fn is_field(name: &str, field: &str) -> bool {
    if field == EMAIL { name.eq_ignore_ascii_case(EMAIL) } else { name == field }
}

/// Why a column was not found.
#[derive(Clone, Copy)]
enum Missing {
    None,
    Several,
}

impl Missing {
    fn words(self, field: &str, header: &str, names: &[Box<str>]) -> String {
        match self {
            Self::Several => format!("there is more than one column `{header}`, which `columns.{field}` names"),
            Self::None => {
                let meant = nearest(header, names.iter().map(|name| &**name)).filter(|name| !name.is_empty());
                let meant = meant.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
                format!("there is no column `{header}`, which `columns.{field}` names; the columns are {}{meant}", list(names))
            }
        }
    }
}

/// The column with a name: as it is written, or else ignoring case.
fn find(names: &[Box<str>], wanted: &str) -> Result<usize, Missing> {
    let of = |is_it: &dyn Fn(&str) -> bool| -> Vec<usize> {
        names.iter().enumerate().filter(|(_, name)| is_it(name)).map(|(index, _)| index).collect()
    };
    let folded = wanted.to_lowercase();
    match (&of(&|name| name == wanted)[..], &of(&|name| name.to_lowercase() == folded)[..]) {
        // For the address, one of another spelling is as good.
        ([index], all) if wanted != EMAIL || all.len() == 1 => Ok(*index),
        ([], [index]) => Ok(*index),
        ([], []) => Err(Missing::None),
        _ => Err(Missing::Several),
    }
}

/// What is said where no column is the address.
fn no_address(names: &[Box<str>]) -> String {
    let is_likely = |name: &str| {
        let plain: String = name.chars().filter(|character| character.is_alphanumeric()).collect::<String>().to_lowercase();
        plain.contains("mail") || WORDS.contains(&&*plain)
    };
    let found = names.iter().map(|name| &**name).find(|name| is_likely(name)).or_else(|| nearest(EMAIL, names.iter().map(|name| &**name)));
    let to_do = found.map_or_else(
        || "name the one with the addresses `email`".to_owned(),
        |name| format!("if `{name}` holds the addresses, rename it, or write `columns: {{email: {}}}`", serde_json::Value::from(name)),
    );
    format!("there is no column `email`; the columns are {}; {to_do}", list(names))
}

/// Names for people: the first few, shortened.
fn list(names: &[Box<str>]) -> String {
    const SHOWN: usize = 20;
    let mut text: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{}`", name.chars().take(60).collect::<String>())).collect();
    if names.len() > SHOWN {
        text.push(format!("and {} more", names.len() - SHOWN));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs = &'static [(&'static str, &'static str)];
    type Names = &'static [&'static str];

    fn columns(header: Names, renamed: Pairs) -> Result<Vec<String>, String> {
        let renamed = renamed.iter().map(|(field, header)| ((*field).to_owned(), (*header).to_owned())).collect();
        let found = Columns::of(header.iter().map(|name| (*name).into()).collect(), &renamed)?;
        assert_eq!(&*found.names[found.email], EMAIL);
        Ok(found.names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn columns_become_fields() {
        let cases: &[(Names, Pairs, Names)] = &[
            (&["EMail", "Name"], &[], &["email", "Name"]),
            (&["E-mail", "First Name"], &[("email", "E-mail"), ("name", "First Name")], &["email", "name"]),
            (&["e-mail ADDRESS", "x"], &[("email", "E-Mail Address")], &["email", "x"]),
            // A column with the name of the field makes room.
            (&["Email", "Work", "name", "Nick"], &[("email", "Work"), ("name", "Nick")], &["", "email", "", "name"]),
            (&["email", "name"], &[("email", "email")], &["email", "name"]),
        ];
        for (header, renamed, wanted) in cases {
            assert_eq!(columns(header, renamed).expect("columns"), *wanted, "{header:?}");
        }
    }

    #[test]
    fn what_is_missing_is_proposed() {
        let cases: &[(Names, Pairs, &str)] = &[
            (
                &["E-mail", "Name"],
                &[],
                "the columns are `E-mail`, `Name`; if `E-mail` holds the addresses, rename it, or write `columns: {email: \"E-mail\"}`",
            ),
            (&["Name", "Email Address"], &[], "if `Email Address` holds"),
            (&["Name", "E-Mail-Adresse"], &[], "if `E-Mail-Adresse` holds"),
            (&["Nom", "Courriel"], &[], "if `Courriel` holds"),
            (&["Nombre", "Correo electronico"], &[], "if `Correo electronico` holds"),
            (&["name", "emial"], &[], "if `emial` holds"),
            (&["a", "b"], &[], "the columns are `a`, `b`; name the one with the addresses `email`"),
            (
                &["E-mail"],
                &[("email", "E-mial")],
                "there is no column `E-mial`, which `columns.email` names; the columns are `E-mail`; did you mean `E-mail`?",
            ),
            (&["email", "Email"], &[], "there is more than one column `email`"),
            (&["email", "a", "a"], &[], "there is more than one column `a`"),
            (&["Mail", "mail"], &[("email", "MAIL")], "there is more than one column `MAIL`, which `columns.email` names"),
            (&["Mail"], &[("email", "Mail"), ("to", "Mail")], "`columns` maps the column `Mail` to two fields; map it to one"),
        ];
        for (header, renamed, wanted) in cases {
            let why = columns(header, renamed).expect_err("none");
            assert!(why.contains(wanted), "{header:?}: {why}");
        }
    }
}
