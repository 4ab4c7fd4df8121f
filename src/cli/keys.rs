//! The keys of this installation: in the state folder, where they are made once, or in a file of the person's own.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::{
    source::read_bounded,
    token::{KEY_BYTES, Keys},
};

/// The file in the state folder.
const FILE: &str = "keys";
/// The most that is read, bytes.
const FILE_MAX: u64 = 16 << 10;
/// The mode of the file that is made: its owner's.
const MODE: u32 = 0o600;
/// The mode of a state folder that is made.
const FOLDER_MODE: u32 = 0o700;
/// What stands before the keys in the file that is made.
const HEAD: &str = "# The keys of this Mailfleet installation, made at its first start. They authenticate the links by which people unsubscribe,\n\
    # and keep those whom `mailfleet forget` removed from being mailed again. Keep them secret, and back them up: without them, the\n\
    # links of messages that were sent stop working.\n";

/// The keys: those of `own`, or those of the state folder, where they are made when there are none.
///
/// # Errors
/// What is wrong with the file, and what to do. It is never replaced.
pub(super) fn open(own: Option<&Path>, state_dir: &Path) -> Result<Keys, String> {
    if let Some(keys) = existing(own, state_dir)? {
        return Ok(keys);
    }
    let path = state_dir.join(FILE);
    make(state_dir, &path).map_err(|error| {
        format!(
            "The state folder {} cannot be written: {error}. Let this user write it, or name another with --state.",
            state_dir.display()
        )
    })?;
    // Another process may have been faster; its keys are there then.
    existing(None, state_dir)?.ok_or_else(|| format!("The keys in {} were removed as they were made.", path.display()))
}

/// The same, where there are some already. A file of one's own must be there.
///
/// # Errors
/// What is wrong with the file, and what to do.
pub(super) fn existing(own: Option<&Path>, state_dir: &Path) -> Result<Option<Keys>, String> {
    let path = own.map_or_else(|| state_dir.join(FILE), Path::to_path_buf);
    let shown = path.display();
    let what = "They authenticate the links by which people unsubscribe, also of messages that were sent long ago.";
    let text = match read_bounded(&path, FILE_MAX) {
        Ok(Some(bytes)) => String::from_utf8(bytes).map_err(|_| "it is not text".to_owned()),
        Ok(None) => Err(format!("it has more than {} KiB", FILE_MAX >> 10)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && own.is_none() => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory && own.is_none() => {
            return Err(format!("The state folder {} is not a folder. Name another with --state.", state_dir.display()));
        }
        Err(error) => {
            return Err(format!(
                "The keys in {shown} cannot be read: {error}. {what} Let this user read the file, or restore it from a backup."
            ));
        }
    };
    let keys = text.and_then(|text| Keys::parse(&text));
    keys.map(Some).map_err(|why| {
        format!(
            "The keys in {shown} cannot be used: {why}. {what} Restore the file from a backup. Where there is none, move it away: new keys are made, and the links of messages that were sent stop working."
        )
    })
}

/// Makes a file with one key, whole or not at all, and only where there is none.
fn make(state_dir: &Path, path: &Path) -> io::Result<()> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(format!("no random bytes: {error}")))?;
    // As the ledger makes it.
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(state_dir)?;
    let temporary: PathBuf = state_dir.join(format!(".{FILE}-{}", std::process::id()));
    let made = write(&temporary, &format!("{HEAD}{}", Keys::of(key).to_text()))
        // A link, unlike a rename, takes the place of no file.
        .and_then(|()| match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => File::open(state_dir)?.sync_all(),
        });
    let removed = fs::remove_file(&temporary);
    made.and(removed)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    // What a process of this number left when it was killed.
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("mailfleet-keys-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn keys_are_made_once_for_their_owner_alone() {
        let state = folder("made");
        assert!(existing(None, &state).unwrap().is_none());
        let keys = open(None, &state).unwrap().to_text();
        assert_eq!(open(None, &state).unwrap().to_text(), keys, "the same at the next start");
        assert_eq!(existing(None, &state).unwrap().unwrap().to_text(), keys);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join("keys"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "nothing else is left");
        let other = folder("other");
        assert_ne!(open(None, &other).unwrap().to_text(), keys);

        // Whoever made them first has made them.
        make(&state, &state.join("keys")).unwrap();
        assert_eq!(open(None, &state).unwrap().to_text(), keys);
        // A file of one's own is read, and nothing is made.
        let own = other.join("keys");
        assert_eq!(
            open(Some(&own), &folder("none")).unwrap().to_text(),
            fs::read_to_string(&own).unwrap().lines().last().unwrap().to_owned() + "\n"
        );
        assert!(!folder("none").exists());
        let _ = (fs::remove_dir_all(&state), fs::remove_dir_all(&other));
    }

    #[test]
    fn a_broken_file_is_an_error_and_stays() {
        let state = folder("broken");
        fs::create_dir_all(&state).unwrap();
        let path = state.join("keys");
        for (text, told) in [(&b"1 AAAA"[..], "the key has 3 bytes"), (b"", "there is no key"), (b"\xff\xfe", "it is not text")] {
            fs::write(&path, text).unwrap();
            let error = open(None, &state).unwrap_err();
            assert!(error.contains(told) && error.contains("Restore the file from a backup"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), text);
        }
        fs::write(&path, vec![b'#'; 17 << 10]).unwrap();
        assert!(open(None, &state).unwrap_err().contains("more than 16 KiB"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(open(None, &state).unwrap_err().contains("cannot be read: it is not a regular file"));
        let nowhere = state.join("nowhere");
        let error = open(Some(&nowhere), &state).unwrap_err();
        assert!(error.contains("nowhere cannot be read"), "{error}");
        let _ = fs::remove_dir_all(&state);
    }
}
