//! JSON strings (RFC 8259, section 7), escaped as orjson does: only what must be.
//!
//! Nearly all text is ASCII with nothing to escape. It is looked at and copied in pieces of a fixed size, which are a
//! few instructions each; a last piece that overlaps the one before needs no loop over single bytes.

use crate::numbers;

/// Append the string.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if !copied(out, text.as_bytes()) {
        escaped(out, text);
    }
    out.push(b'"');
}

/// Append the string of these bytes. `None` where they are not UTF-8; then a part of it was appended.
pub fn bytes(out: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    out.push(b'"');
    if !copied(out, text) {
        escaped(out, std::str::from_utf8(text).ok()?);
    }
    out.push(b'"');
    Some(())
}

/// Append the name that begins `raw` and ends before its first zero, as a key: a string and a colon. Answers what
/// follows the zero.
///
/// `None` where there is no zero, or the name is not UTF-8.
pub fn key<'a>(out: &mut Vec<u8>, raw: &'a [u8]) -> Option<&'a [u8]> {
    let start = out.len();
    out.push(b'"');
    let mut rest = raw;
    while let Some((word, behind)) = rest.split_first_chunk() {
        let bits = u64::from_le_bytes(*word);
        let (zero, odd) = (zeros(bits), odd(bits));
        out.extend_from_slice(word);
        if zero != 0 {
            let length = (zero.trailing_zeros() / 8) as usize;
            if odd & ((1 << (8 * length)) - 1) != 0 {
                break;
            }
            out.truncate(out.len() - word.len() + length);
            out.extend_from_slice(b"\":");
            return Some(&rest[length + 1..]);
        }
        if odd != 0 {
            break;
        }
        rest = behind;
    }
    out.truncate(start);
    let end = memchr::memchr(0, raw)?;
    bytes(out, &raw[..end])?;
    out.push(b':');
    Some(&raw[end + 1..])
}

/// Where the first zero is.
pub fn zero(raw: &[u8]) -> Option<usize> {
    match raw
        .first_chunk()
        .map(|word| zeros(u64::from_le_bytes(*word)))
    {
        Some(found) if found != 0 => Some((found.trailing_zeros() / 8) as usize),
        _ => memchr::memchr(0, raw),
    }
}

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * EACH;

/// The highest bit of each byte that is zero; of bytes above the lowest such, perhaps more (Hacker's Delight, 6-1).
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(EACH) & !word & HIGH
}

/// The highest bit of each byte that is not ASCII or must be escaped; of bytes above the lowest such, perhaps more.
const fn odd(word: u64) -> u64 {
    let control = word.wrapping_sub(0x20 * EACH) & !word;
    let quote = zeros(word ^ (b'"' as u64 * EACH));
    let backslash = zeros(word ^ (b'\\' as u64 * EACH));
    (word | control | quote | backslash) & HIGH
}

/// Append the text if it is ASCII with nothing to escape in it. Answers whether.
fn copied(out: &mut Vec<u8>, text: &[u8]) -> bool {
    let start = out.len();
    let fine = match text.len() {
        0..4 => text.iter().all(|&byte| {
            out.push(byte);
            !is_odd(byte)
        }),
        4..8 => ends::<4>(out, text),
        8..16 => ends::<8>(out, text),
        16..32 => ends::<16>(out, text),
        _ => pieces(out, text) && ends_with(out, text, start),
    };
    if !fine {
        out.truncate(start);
    }
    fine
}

/// Append a text of `N` to 2 * `N` bytes: its first `N` and its last `N`, which overlap.
fn ends<const N: usize>(out: &mut Vec<u8>, text: &[u8]) -> bool {
    let (Some(first), Some(last)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) else {
        return false;
    };
    let start = out.len();
    out.extend_from_slice(first);
    out.truncate(start + text.len() - N);
    out.extend_from_slice(last);
    !(holds_odd(first) | holds_odd(last))
}

/// Append all whole pieces of the text.
fn pieces(out: &mut Vec<u8>, text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((piece, behind)) = rest.split_first_chunk::<32>() {
        if holds_odd(piece) {
            return false;
        }
        out.extend_from_slice(piece);
        rest = behind;
    }
    true
}

/// Append the end of a text of at least one piece, whose whole pieces stand from `start` on.
fn ends_with(out: &mut Vec<u8>, text: &[u8], start: usize) -> bool {
    let Some(last) = text.last_chunk::<32>() else {
        return false;
    };
    out.truncate(start + text.len() - last.len());
    out.extend_from_slice(last);
    !holds_odd(last)
}

const fn is_odd(byte: u8) -> bool {
    byte < b' ' || byte >= 0x80 || byte == b'"' || byte == b'\\'
}

/// Without a branch, so that the compiler looks at all bytes at once.
fn holds_odd<const N: usize>(piece: &[u8; N]) -> bool {
    piece.iter().fold(false, |found, &byte| {
        found | ((byte as i8) < 0x20) | (byte == b'"') | (byte == b'\\')
    })
}

/// What stands for each byte in a JSON string: 0 itself, `u` a `\u00xx`, else the letter after the backslash.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 32 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0A] = b'n';
    table[0x0C] = b'f';
    table[0x0D] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

/// Append any text, escaped.
fn escaped(out: &mut Vec<u8>, text: &str) {
    for chunk in text.as_bytes().chunks(32) {
        if chunk.iter().fold(true, |plain, &byte| {
            plain & (ESCAPES[usize::from(byte)] == 0)
        }) {
            out.extend_from_slice(chunk);
            continue;
        }
        for &byte in chunk {
            match ESCAPES[usize::from(byte)] {
                0 => out.push(byte),
                b'u' => {
                    out.extend_from_slice(b"\\u00");
                    numbers::hex(out, &[byte]);
                }
                letter => out.extend_from_slice(&[b'\\', letter]),
            }
        }
    }
}
