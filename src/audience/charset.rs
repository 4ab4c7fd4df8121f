//! Text in another charset, as UTF-8, one block at a time.

use std::io::{self, BufRead, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding};

/// One block of decoded text, bytes: a page, since each of many feeders holds one.
const BLOCK: usize = 4 * 1024;
/// In the place of what is no character: a byte that UTF-8 never has, so that the row is refused and not mailed with a gap.
const NO_CHARACTER: u8 = 0xff;

/// Decodes what another reader brings.
pub(super) struct Decoded<R> {
    inner: R,
    decoder: Decoder,
    block: Box<[u8]>,
    start: usize,
    end: usize,
    is_over: bool,
}

impl<R: BufRead> Decoded<R> {
    /// Text of this encoding; a byte order mark is passed over.
    pub fn new(inner: R, encoding: &'static Encoding) -> Self {
        let block = vec![0; BLOCK].into_boxed_slice();
        Self { inner, decoder: encoding.new_decoder_with_bom_removal(), block, start: 0, end: 0, is_over: false }
    }
}

impl<R: BufRead> BufRead for Decoded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.start == self.end && !self.is_over {
            let input = self.inner.fill_buf()?;
            let is_last = input.is_empty();
            // One byte is left for what is no character.
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(input, &mut self.block[..BLOCK - 1], is_last);
            self.inner.consume(read);
            (self.start, self.end) = (0, written);
            match result {
                DecoderResult::InputEmpty => self.is_over = is_last,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => {
                    self.block[written] = NO_CHARACTER;
                    self.end += 1;
                }
            }
        }
        Ok(&self.block[self.start..self.end])
    }

    fn consume(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
    }
}

impl<R: BufRead> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let block = self.fill_buf()?;
        let length = block.len().min(buffer.len());
        buffer[..length].copy_from_slice(&block[..length]);
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(charset: &str, data: &[u8], at_a_time: usize) -> Vec<u8> {
        let encoding = Encoding::for_label(charset.as_bytes()).expect(charset);
        let mut text = Vec::new();
        Decoded::new(io::BufReader::with_capacity(at_a_time, data), encoding).read_to_end(&mut text).expect("decoded");
        text
    }

    #[test]
    fn text_is_the_same_however_it_arrives() {
        let text = "Jörg Müller; Łódź\r\n".repeat(700);
        let utf16: Vec<u8> = std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        for at_a_time in [1, 2, 3, 1000, 1 << 20] {
            assert_eq!(decoded("utf-16le", &utf16, at_a_time), text.as_bytes(), "{at_a_time}");
            assert_eq!(decoded("windows-1252", b"J\xf6rg \x80", at_a_time), "Jörg €".as_bytes());
        }
    }

    #[test]
    fn what_is_no_character_is_no_utf_8() {
        assert_eq!(decoded("utf-16le", b"a\0\x00\xd8b\0", 3), b"a\xffb");
        assert_eq!(decoded("shift_jis", b"a\x82", 1), b"a\xff");
        assert_eq!(decoded("utf-16le", b"a\0b", 8), b"a\xff", "half a character at the end");
    }
}
