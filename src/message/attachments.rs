//! Files that go with every message: encoded once for a campaign, and shared by all of its messages.

use std::{fmt, hash::Hasher as _, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use siphasher::sip128::{Hasher128, SipHasher24};

use super::{
    Fault,
    engine::{Compiler, Part, Place},
    header,
    media::{self, MediaType},
};
use crate::meta::pieces::Shared;

/// The largest file, bytes.
pub const FILE_MAX: usize = 25 << 20;
/// All files of a message together, bytes: in base64 they are as much as the largest message that any vendor takes.
pub const FILES_MAX: usize = 28 << 20;
/// The longest file name, characters.
const NAME_MAX: usize = 200;
/// The longest line of base64 (RFC 2045, 6.8).
const LINE: usize = 76;

/// The bytes of a file. They are compared and told by their hash.
#[derive(Clone)]
pub struct FileBytes {
    bytes: Arc<[u8]>,
    hash: u128,
}

impl FileBytes {
    /// The bytes, hashed.
    #[must_use]
    pub fn new(bytes: Arc<[u8]>) -> Self {
        // Nobody gains by two files of one hash: both are the author's own.
        let mut hasher = SipHasher24::new();
        hasher.write(&bytes);
        Self { hash: hasher.finish128().as_u128(), bytes }
    }
}

impl PartialEq for FileBytes {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.bytes.len() == other.bytes.len()
    }
}

impl Eq for FileBytes {}

impl std::hash::Hash for FileBytes {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes {:032x}", self.bytes.len(), self.hash)
    }
}

/// A file that goes with every message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attachment {
    /// The name that recipients see, a template.
    pub filename: String,
    /// Its type with parameters; told by the name and the bytes when absent.
    pub content_type: Option<String>,
    /// The id by which the HTML shows it (`cid:`), without angle brackets.
    pub inline: Option<String>,
    /// Its bytes; absent where they were not fetched.
    pub file: Option<FileBytes>,
}

/// A file, ready to be written into messages.
#[derive(Debug)]
pub(super) struct Attached {
    filename: Part,
    media: MediaType,
    /// The Content-ID of one that the HTML shows.
    pub inline: Option<String>,
    /// In base64, in lines.
    pub encoded: Arc<Shared>,
}

/// Compiles the attachments of a campaign.
pub(super) fn compile(attachments: &[Attachment], compiler: &mut Compiler, faults: &mut Vec<Fault>) -> Vec<Attached> {
    let mut compiled: Vec<Attached> = Vec::new();
    let mut left = FILES_MAX;
    for (index, attachment) in attachments.iter().enumerate() {
        let path = |field: &str| format!("spec.content.attachments[{index}].{field}");
        let Some(filename) = super::keep(faults, compiler.add(&path("filename"), attachment.filename.as_str().into(), Place::Header))
        else {
            continue;
        };
        if filename.constant().is_some_and(|name| clean(name).is_empty()) {
            faults.push(Fault::new(path("filename"), "the file has no name; write one"));
        }
        if let Some(id) = &attachment.inline
            && compiled.iter().any(|other| other.inline.as_ref() == Some(id))
        {
            faults.push(Fault::new(path("inline"), format!("another attachment has the id `{id}`; give each its own")));
        }
        let bytes: &[u8] = attachment.file.as_ref().map_or(&[], |file| &file.bytes);
        if let Some(why) = too_large(bytes.len(), &mut left) {
            faults.push(Fault::new(format!("spec.content.attachments[{index}]"), why));
            continue;
        }
        match media::of(attachment.content_type.as_deref(), &attachment.filename, bytes) {
            Err(why) => faults.push(Fault::new(path("contentType"), why)),
            Ok(media) => compiled.push(Attached { filename, media, inline: attachment.inline.clone(), encoded: encoded(bytes) }),
        }
    }
    compiled
}

/// Why a file is too large, alone or with those before it; `left` is what is left for it and those after it.
fn too_large(length: usize, left: &mut usize) -> Option<String> {
    if length > FILE_MAX {
        return Some(format!("the file is larger than {} MiB; link to it instead", FILE_MAX >> 20));
    }
    match left.checked_sub(length) {
        None => Some(format!("all attachments together are larger than {} MiB; link to some of them instead", FILES_MAX >> 20)),
        Some(rest) => {
            *left = rest;
            None
        }
    }
}

/// Base64 in lines of 76 characters; at least one line, so that the part is not empty.
fn encoded(bytes: &[u8]) -> Arc<Shared> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(57) * (LINE + 2) + 2);
    for chunk in bytes.chunks(LINE / 4 * 3) {
        let start = out.len();
        out.resize(start + LINE, 0);
        let length = STANDARD.encode_slice(chunk, &mut out[start..]).unwrap_or(0);
        out.truncate(start + length);
        out.extend_from_slice(b"\r\n");
    }
    if out.is_empty() {
        out.extend_from_slice(b"\r\n");
    }
    Shared::new(out)
}

/// A file name that means no folder and breaks no line; as much of it as is shown, with its extension.
fn clean(name: &str) -> String {
    let name: String = header::clean(name).chars().map(|c| if matches!(c, '/' | '\\' | ':') { '_' } else { c }).collect();
    let name = name.trim_matches([' ', '.']);
    if name.chars().count() <= NAME_MAX {
        return name.to_owned();
    }
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let extension = if extension.chars().count() <= 10 { format!(".{extension}") } else { String::new() };
    name.chars().take(NAME_MAX - extension.len()).collect::<String>() + &extension
}

impl Attached {
    /// Whether mail programs show it as an invitation: its other form stands beside text and HTML.
    pub fn is_invitation(&self) -> bool {
        self.inline.is_none() && self.media.is_invitation()
    }

    /// Its name for one recipient; `print` makes it where it is not the same for everybody.
    pub fn name<E>(&self, print: impl FnOnce(&Part) -> Result<String, E>) -> Result<String, E> {
        let name = match self.filename.constant() {
            Some(name) => clean(name),
            None => clean(&print(&self.filename)?),
        };
        Ok(if name.is_empty() { "attachment".to_owned() } else { name })
    }

    /// Writes the fields of its part (RFC 2045, RFC 2183), up to the empty line.
    pub fn head(&self, out: &mut Vec<u8>, name: &str) {
        out.extend_from_slice(b"Content-Type: ");
        let media = if self.is_invitation() { &media::CALENDAR_FILE } else { &self.media };
        media.write(out);
        parameter(out, "name", name);
        out.extend_from_slice(b"\r\nContent-Transfer-Encoding: base64\r\n");
        if let Some(id) = &self.inline {
            out.extend_from_slice(format!("Content-ID: <{id}>\r\n").as_bytes());
        }
        out.extend_from_slice(b"Content-Disposition: ");
        out.extend_from_slice(if self.inline.is_some() { b"inline" } else { b"attachment" });
        parameter(out, "filename", name);
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// Writes the fields of the part beside text and HTML by which mail programs show an invitation.
    pub fn head_of_invitation(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Content-Type: ");
        self.media.write(out);
        out.extend_from_slice(b"\r\nContent-Transfer-Encoding: base64\r\n\r\n");
    }

    /// What it occupies in addition to its name, bytes.
    pub fn cost(&self) -> usize {
        self.encoded.bytes().len() + 256
    }

    pub const fn filename(&self) -> &Part {
        &self.filename
    }
}

/// Writes a parameter on a line of its own: quoted where it is ASCII and short, otherwise in pieces of UTF-8 (RFC 2231, 3 and 4).
fn parameter(out: &mut Vec<u8>, name: &str, value: &str) {
    const PIECE_MAX: usize = 54;
    if value.is_ascii() && value.len() <= PIECE_MAX {
        out.extend_from_slice(format!(";\r\n {name}=\"").as_bytes());
        for byte in value.bytes() {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
        return;
    }
    let mut pieces: Vec<Vec<u8>> = vec![b"utf-8''".to_vec()];
    for character in value.chars() {
        let mut utf8 = [0; 4];
        let mut piece = Vec::with_capacity(12);
        for byte in character.encode_utf8(&mut utf8).bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                piece.push(byte);
            } else {
                piece.extend_from_slice(&[b'%', header::HEX[usize::from(byte >> 4)], header::HEX[usize::from(byte & 15)]]);
            }
        }
        match pieces.last_mut() {
            // A character is not split: some programs decode each piece alone.
            Some(last) if last.len() + piece.len() <= PIECE_MAX => last.extend(piece),
            _ => pieces.push(piece),
        }
    }
    match &pieces[..] {
        [only] => {
            out.extend_from_slice(format!(";\r\n {name}*=").as_bytes());
            out.extend_from_slice(only);
        }
        several => {
            for (number, piece) in several.iter().enumerate() {
                out.extend_from_slice(format!(";\r\n {name}*{number}*=").as_bytes());
                out.extend_from_slice(piece);
            }
        }
    }
}
