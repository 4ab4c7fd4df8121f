//! Packets of MySQL's protocol, and the values in them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::super::super::ROW_MAX;

/// The longest packet, bytes: a row, and what is around it.
const PACKET_MAX: usize = 2 * ROW_MAX;

/// Reads packets and writes them, in turn.
pub(super) struct Packets<S> {
    pub stream: S,
    /// The number of the next packet; each command begins anew.
    pub next: u8,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Packets<S> {
    pub fn new(stream: S, next: u8) -> Self {
        Self { stream, next, buffer: Vec::new() }
    }

    /// The next packet.
    pub async fn read(&mut self) -> io::Result<&[u8]> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).await?;
        let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
        if length > PACKET_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a row of the query is longer than {ROW_MAX} bytes, or the server there is not MySQL"),
            ));
        }
        if head[3] != self.next {
            return Err(malformed());
        }
        self.next = self.next.wrapping_add(1);
        self.buffer.resize(length, 0);
        self.stream.read_exact(&mut self.buffer).await?;
        Ok(&self.buffer)
    }

    /// Writes a packet.
    pub async fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
        let packet = [&length[..3], &[self.next], payload].concat();
        self.next = self.next.wrapping_add(1);
        self.stream.write_all(&packet).await?;
        self.stream.flush().await
    }

    /// Begins a command.
    pub async fn command(&mut self, code: u8, argument: &[u8]) -> io::Result<()> {
        self.next = 0;
        self.write(&[&[code], argument].concat()).await
    }
}

/// What is not MySQL's protocol.
pub(super) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server there does not speak MySQL's protocol")
}

/// What an error packet says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: u16,
    pub said: String,
}

impl Refusal {
    /// The error of a packet, if it is one.
    pub fn of(packet: &[u8]) -> Option<Self> {
        let rest = packet.strip_prefix(&[0xff])?;
        let (code, said) = rest.split_first_chunk::<2>()?;
        // A state of five characters, which those of before the login do not have.
        let said = if said.first() == Some(&b'#') { said.get(6..).unwrap_or_default() } else { said };
        Some(Self { code: u16::from_le_bytes(*code), said: String::from_utf8_lossy(said).into_owned() })
    }
}

/// Whether a packet ends a list of packets.
pub(super) fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&0xfe) && packet.len() < 9
}

/// A place in a packet.
pub(super) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    /// The next bytes.
    pub fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next bytes, as an array.
    pub fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or_else(malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn byte(&mut self) -> io::Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// What stands before the next zero byte, or before the end.
    pub fn until_zero(&mut self) -> &'a [u8] {
        let end = memchr::memchr(0, self.0).unwrap_or(self.0.len());
        let (text, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        text
    }

    /// A number of one to nine bytes.
    pub fn number(&mut self) -> io::Result<u64> {
        Ok(match self.byte()? {
            small @ 0..=0xfa => u64::from(small),
            0xfc => u64::from(u16::from_le_bytes(self.array()?)),
            0xfd => {
                let [a, b, c] = self.array()?;
                u64::from(u32::from_le_bytes([a, b, c, 0]))
            }
            0xfe => u64::from_le_bytes(self.array()?),
            _ => return Err(malformed()),
        })
    }

    /// A text after its length.
    pub fn text(&mut self) -> io::Result<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::try_from(length).map_err(|_| malformed())?)
    }
}

/// A text with its length before it.
pub(super) fn with_length(text: &[u8]) -> Vec<u8> {
    let length = text.len() as u64;
    let mut out = match u16::try_from(length) {
        Ok(short @ 0..=0xfa) => vec![short.to_le_bytes()[0]],
        Ok(short) => [&[0xfc][..], &short.to_le_bytes()].concat(),
        Err(_) => [&[0xfe][..], &length.to_le_bytes()].concat(),
    };
    out.extend_from_slice(text);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn packets_have_a_bound_and_an_order() {
        let read = async |bytes: &[u8]| {
            let (mut server, client) = tokio::io::duplex(64);
            let bytes = bytes.to_vec();
            tokio::spawn(async move {
                let _ = server.write_all(&bytes).await;
            });
            Packets::new(client, 0).read().await.map(<[u8]>::to_vec)
        };
        assert_eq!(read(&[2, 0, 0, 0, 7, 8]).await.expect("a packet"), [7, 8]);
        assert!(read(&[0xff, 0xff, 0xff, 0]).await.expect_err("long").to_string().contains("longer than"));
        assert!(read(&[2, 0, 0, 5, 7, 8]).await.expect_err("another number").to_string().contains("does not speak"));
        assert!(read(&[2, 0, 0, 0, 7]).await.is_err(), "cut off");
    }

    #[test]
    fn values_are_read_as_they_are_written() {
        for length in [0, 1, 250, 251, 65_535, 65_536] {
            let text = vec![b'x'; length];
            let written = with_length(&text);
            let mut cursor = Cursor(&written);
            assert_eq!((cursor.text().expect("a text"), cursor.0), (&text[..], &[][..]), "{length}");
        }
        assert_eq!(Cursor(&[0xfd, 1, 2, 3]).number().expect("a number"), 0x03_0201);
        for cut in [&[0xfc, 1][..], &[0xfe, 0, 0], &[5, 1], &[0xff], &[0xfb], &[]] {
            assert!(Cursor(cut).text().is_err(), "{cut:?}");
        }
        assert_eq!(Cursor(b"ab\0c").until_zero(), b"ab");
        let refusal = Refusal::of(b"\xff\x15\x04#28000Access denied").expect("an error");
        assert_eq!(refusal, Refusal { code: 1045, said: "Access denied".to_owned() });
        assert_eq!(Refusal::of(b"\xff\x10\x04Too many connections").map(|refusal| refusal.code), Some(1040));
        assert_eq!(Refusal::of(b"\0\0\0"), None);
        assert!(is_end(&[0xfe, 0, 0, 2, 0]) && !is_end(&[0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0]) && !is_end(&[0]));
    }
}
