//! For whom a campaign is: its audience, and the lists of people who are not mailed.
//!
//! Those are held as hashes in a file without a name, made anew for each pass over the audience: nothing of them is durable, so that a
//! restart, and a list that changed, need no care of their own.

use crate::{
    audience::{FileVersion, Input, Reader, Row, Version},
    ledger::{AddressSet, LedgerError},
    resources::{
        Blocker, CountOrPercent, Reason,
        bound::{counted, grouped},
    },
    routing::OutcomesOf,
};

/// Addresses that a campaign may exclude, each of which takes some 25 bytes of disk while it is sent.
const ADDRESSES_MAX: u64 = if cfg!(test) { 1_000 } else { 20_000_000 };
/// Bad rows that a message names.
const NAMED_MAX: usize = 3;

/// For whom a campaign is.
#[derive(Clone, Debug)]
pub struct People {
    /// The audience.
    pub input: Input,
    /// Who of it is not mailed.
    pub exclude: Vec<Exclusion>,
}

/// A list of people who are not mailed.
#[derive(Clone, Debug)]
pub struct Exclusion {
    /// The field that names it: `spec.audience.exclude[0]`.
    pub field: String,
    /// Where it comes from.
    pub list: List,
    /// Rows that may be unusable.
    pub max_bad_rows: CountOrPercent,
}

/// Where a list of people comes from.
#[derive(Clone, Debug)]
pub enum List {
    /// A table, lines of JSON, or rows of the spec.
    Input(Input),
    /// Another run.
    Outcomes(OutcomesOf),
}

/// The versions of an audience and of the lists beside it.
pub type Versions = Vec<Option<Version>>;

impl Exclusion {
    /// What it is read from, unless that is another run.
    #[must_use]
    pub const fn input(&self) -> Option<&Input> {
        match &self.list {
            List::Input(input) => Some(input),
            List::Outcomes(_) => None,
        }
    }

    /// Something about the list, after its field.
    fn words(&self, what: &str) -> String {
        format!("{}: {}", self.field, what.strip_prefix("the audience: ").unwrap_or(what))
    }

    /// The same of what keeps it from being read.
    fn blocker(&self, blocker: Blocker) -> Blocker {
        Blocker { message: self.words(&blocker.message), ..blocker }
    }
}

impl People {
    fn inputs(&self) -> impl Iterator<Item = &Input> {
        std::iter::once(&self.input).chain(self.exclude.iter().filter_map(Exclusion::input))
    }

    /// Whether all of it can be read here, without a network.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.inputs().all(Input::is_local)
    }

    /// Whether they are people of another run.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        matches!(self.input, Input::Recorded)
    }

    /// Whether everything that is fetched has a usable row now. It blocks.
    #[must_use]
    pub fn can_be_fetched(&self, runtime: &tokio::runtime::Handle) -> bool {
        let has_a_row = |input: &Input| {
            let mut rows = Reader::open(input, runtime).ok()?.map_while(Result::ok);
            rows.find(|row| matches!(row, Row::Recipient(_)))
        };
        self.inputs().filter(|input| !input.is_local()).all(|input| has_a_row(input).is_some())
    }

    /// What they would be read with or from now.
    #[must_use]
    pub fn versions(&self) -> Versions {
        self.inputs().map(Input::version).collect()
    }

    /// Whether [`People::versions`] may ever name one.
    #[must_use]
    pub fn has_versions(&self) -> bool {
        self.inputs().any(Input::has_version)
    }
}

/// Whether any of what is there now is another one than it was; what is not there is not.
#[must_use]
pub fn is_another(now: &Versions, then: Option<&Versions>) -> bool {
    let was = |index: usize| then.and_then(|then| then.get(index)?.as_ref());
    now.iter().enumerate().any(|(index, version)| version.is_some() && version.as_ref() != was(index))
}

/// The people who are not mailed, for one pass over the audience.
#[derive(Debug)]
pub struct Excluded {
    set: AddressSet,
    /// The files that were read, with their versions.
    files: Vec<(Exclusion, Option<FileVersion>)>,
}

impl Excluded {
    /// Reads the lists into an empty set. `of_run` adds the people of another run to it. It blocks.
    ///
    /// # Errors
    /// When a list cannot be read as a whole: somebody in the rest of it would be mailed.
    pub fn read(
        exclude: &[Exclusion],
        set: AddressSet,
        runtime: &tokio::runtime::Handle,
        mut of_run: impl FnMut(&OutcomesOf, &mut dyn FnMut(&str) -> Result<(), Blocker>) -> Result<(), Blocker>,
    ) -> Result<Self, Blocker> {
        let mut excluded = Self { set, files: Vec::new() };
        for exclusion in exclude {
            match &exclusion.list {
                List::Input(input) => excluded.read_list(exclusion, input, runtime),
                List::Outcomes(outcomes) => of_run(outcomes, &mut |address| excluded.add(address)),
            }
            .map_err(|blocker| exclusion.blocker(blocker))?;
        }
        Ok(excluded)
    }

    fn read_list(&mut self, exclusion: &Exclusion, input: &Input, runtime: &tokio::runtime::Handle) -> Result<(), Blocker> {
        let mut reader = Reader::open(input, runtime)?;
        let (version, unit) = (reader.version(), reader.unit().clone());
        let (mut usable, mut bad, mut named) = (0_u64, 0_u64, Vec::new());
        for row in &mut reader {
            match row? {
                Row::Recipient(recipient) => {
                    usable += 1;
                    self.add(recipient.address.as_str())?;
                }
                Row::Bad { line, why } => {
                    bad += 1;
                    if named.len() < NAMED_MAX {
                        named.push(format!("{}: {why}", unit.at(line)));
                    }
                    if exclusion.max_bad_rows.is_exceeded_so_far(bad, usable + bad) {
                        break;
                    }
                }
            }
        }
        let max = exclusion.max_bad_rows;
        if max.is_exceeded(bad, usable + bad) {
            let place = input.file().map_or_else(String::new, |file| format!("{}: ", file.name().display()));
            let (rows, them) = (counted(bad, "row", "rows"), if bad == 1 { "it excludes" } else { "they exclude" });
            let message = format!(
                "{place}{rows} cannot be used, and maxBadRows is {max}: {}. Nobody is mailed until it is known whom {them}. Fix the list, or raise its maxBadRows; it is read again as soon as it changes.",
                named.join("; ")
            );
            return Err(Blocker::lasting(Reason::AudienceUnreadable, message));
        }
        if input.file().is_some() {
            self.files.push((exclusion.clone(), version));
        }
        Ok(())
    }

    fn add(&mut self, address: &str) -> Result<(), Blocker> {
        self.set.add(address).map_err(|error| of_ledger(&error))?;
        if self.set.count() <= ADDRESSES_MAX {
            return Ok(());
        }
        let message = format!(
            "the lists of spec.audience.exclude have more than {} addresses. Exclude fewer, or take people out of the audience itself.",
            grouped(ADDRESSES_MAX)
        );
        Err(Blocker::lasting(Reason::AudienceUnreadable, message))
    }

    /// Whether an address is not mailed.
    ///
    /// # Errors
    /// When the file of the set cannot be read.
    pub fn has(&self, address: &str) -> Result<bool, Blocker> {
        self.set.contains(address).map_err(|error| of_ledger(&error))
    }

    /// How many people are excluded, in the audience or not.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.set.count()
    }

    /// A file that is no longer the one that was read, by its name for people.
    #[must_use]
    pub fn changed(&self) -> Option<String> {
        let is_other = |(exclusion, version): &&(Exclusion, Option<FileVersion>)| {
            exclusion.input().and_then(Input::file).is_some_and(|file| FileVersion::of(file) != *version)
        };
        let (exclusion, _) = self.files.iter().find(is_other)?;
        Some(exclusion.words(&exclusion.input()?.file()?.name().display().to_string()))
    }
}

/// What keeps the ledger, or a file of the state folder, from working, as a problem of a campaign.
#[must_use]
pub fn of_ledger(error: &LedgerError) -> Blocker {
    let (reason, message) = (Reason::LedgerUnavailable, error.to_string());
    if error.needs_person() { Blocker::lasting(reason, message) } else { Blocker::passing(reason, message) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::audience::Location;

    /// A folder that is removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("mailfleet-exclude-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a folder");
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn csv(index: usize, text: &str, max_bad_rows: CountOrPercent) -> Exclusion {
        let list = List::Input(Input::csv(Location::Bytes(text.as_bytes().into())));
        Exclusion { field: format!("spec.audience.exclude[{index}]"), list, max_bad_rows }
    }

    fn read(folder: &Folder, exclude: &[Exclusion]) -> Result<Excluded, Blocker> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let set = AddressSet::new(&folder.0).expect("a set");
        Excluded::read(exclude, set, runtime.handle(), |outcomes, add| add(&format!("of-{}@example.com", outcomes.campaign)))
    }

    #[test]
    fn lists_of_every_kind_are_one_set_of_people() {
        let folder = Folder::new("kinds");
        let outcomes = OutcomesOf { campaign: "spring".to_owned(), run: "first".to_owned(), states: Vec::new() };
        let of_run = Exclusion { list: List::Outcomes(outcomes), ..csv(1, "", CountOrPercent::Count(0)) };
        let lists = [csv(0, "email\nAnn@Example.com\nann@example.com\n\"bob\"@example.com\n", CountOrPercent::Count(0)), of_run];
        let excluded = read(&folder, &lists).expect("read");
        assert_eq!(excluded.count(), 3);
        for (address, is_excluded) in [
            ("ann@EXAMPLE.com", true),
            ("ANN@example.com", true),
            ("bob@example.com", true),
            ("of-spring@example.com", true),
            ("cy@example.com", false),
        ] {
            assert_eq!(excluded.has(address).expect("checked"), is_excluded, "{address}");
        }
        assert_eq!(excluded.changed(), None, "no file");
    }

    #[test]
    fn a_row_that_cannot_be_used_is_not_passed_over_in_silence() {
        let folder = Folder::new("bad");
        let list = "email\nann@example.com\nBob <bob@example.com>\n";
        let refused = |max| read(&folder, &[csv(0, "email\n", max), csv(1, list, max)]).map(|_| ()).map_err(|blocker| blocker.message);
        let message = refused(CountOrPercent::Count(0)).expect_err("one is too many");
        assert!(
            message.starts_with("spec.audience.exclude[1]: 1 row cannot be used, and maxBadRows is 0: line 3: ")
                && message.contains("Nobody is mailed"),
            "{message}"
        );
        assert!(refused(CountOrPercent::Percent(10)).is_err(), "half of them");
        assert_eq!(refused(CountOrPercent::Count(1)), Ok(()));
        assert_eq!(refused(CountOrPercent::Percent(50)), Ok(()));
        let without_header = read(&folder, &[csv(0, "ann@example.com\n", CountOrPercent::Count(0))]).expect_err("no column");
        assert!(
            without_header.needs_person && without_header.message.starts_with("spec.audience.exclude[0]: "),
            "{}",
            without_header.message
        );
    }

    #[test]
    fn what_is_excluded_has_a_bound() {
        let folder = Folder::new("bound");
        let list = |count: u64| (0..count).fold("email\n".to_owned(), |text, number| format!("{text}p{number}@example.com\n"));
        assert_eq!(read(&folder, &[csv(0, &list(ADDRESSES_MAX), CountOrPercent::Count(0))]).expect("as many").count(), ADDRESSES_MAX);
        let beyond = read(&folder, &[csv(0, &list(ADDRESSES_MAX + 1), CountOrPercent::Count(0))]).expect_err("one more");
        assert!(beyond.needs_person && beyond.message.contains("more than 1,000 addresses"), "{}", beyond.message);
    }

    #[test]
    fn a_file_that_is_another_one_is_named() {
        let folder = Folder::new("changed");
        let path = folder.0.join("gone.csv");
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        std::fs::write(&path, "email\nann@example.com\n").expect("written");
        let found = path.clone();
        let file = crate::audience::NamedFile::new("lists/gone.csv".into(), move || Ok(found.clone()));
        let exclusion = Exclusion { list: List::Input(Input::csv(Location::File(file))), ..csv(0, "", CountOrPercent::Count(0)) };
        let people = People { input: Input::Recorded, exclude: vec![exclusion.clone()] };
        let excluded = read(&folder, std::slice::from_ref(&exclusion)).expect("read");
        let then = people.versions();
        assert_eq!((excluded.changed(), is_another(&people.versions(), Some(&then)), people.has_versions()), (None, false, true));
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(old)).expect("touched");
        assert_eq!(excluded.changed().as_deref(), Some("spec.audience.exclude[0]: lists/gone.csv"));
        assert!(is_another(&people.versions(), Some(&then)) && is_another(&then, None));
        std::fs::remove_file(&path).expect("removed");
        assert!(excluded.changed().is_some() && !is_another(&people.versions(), Some(&then)), "what is gone is not another version");
    }
}
