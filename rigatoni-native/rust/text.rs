//! JSON strings (RFC 8259, section 7), with the minimal escaping of orjson.
//!
//! Nearly all text is ASCII without characters to escape. It is checked and copied in pieces of a fixed size, which
//! take a few instructions each. The last piece overlaps the one before, so no loop over single bytes is needed.

use crate::numbers;

/// Append the string.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if !copied(out, text.as_bytes()) {
        escaped(out, text);
    }
    out.push(b'"');
}

/// Append the string of these bytes. `None` if they are not UTF-8; a part may have been appended then.
pub fn bytes(out: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    out.push(b'"');
    if !copied(out, text) {
        escaped(out, std::str::from_utf8(text).ok()?);
    }
    out.push(b'"');
    Some(())
}

/// Append the name at the beginning of `raw`, up to its first zero, as a key: a string and a colon. Returns the bytes
/// after the zero.
///
/// `None` if there is no zero, or if the name is not UTF-8.
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

/// The index of the first zero.
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

/// Append the text if it is ASCII without characters to escape, and return whether it is.
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

/// Append the end of a text whose whole pieces (at least one) were appended from `start` on.
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

/// Written without branches, so that the compiler vectorizes it.
fn holds_odd<const N: usize>(piece: &[u8; N]) -> bool {
    piece.iter().fold(false, |found, &byte| {
        found | ((byte as i8) < 0x20) | (byte == b'"') | (byte == b'\\')
    })
}

/// The notation of each byte in a JSON string: 0 for the byte itself, `u` for `\u00xx`, else the letter after a
/// backslash.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The escaped text, one character at a time.
    fn simple(text: &str) -> String {
        let escape = |letter: char| match letter {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            '\u{8}' => "\\b".to_owned(),
            '\u{c}' => "\\f".to_owned(),
            control if control < ' ' => format!("\\u{:04x}", control as u32),
            other => other.to_string(),
        };
        format!("\"{}\"", text.chars().map(escape).collect::<String>())
    }

    #[test]
    fn a_special_character_is_escaped_at_every_place_of_every_length() {
        for special in ['"', '\\', '\n', '\u{1}', '\u{1f}', '\u{7f}', 'é', '€', '😀'] {
            for length in 0..70 {
                for place in 0..=length {
                    let mut text: String = "x".repeat(length);
                    text.insert(place, special);
                    let mut out = Vec::new();
                    string(&mut out, &text);
                    assert_eq!(String::from_utf8(out).unwrap(), simple(&text));
                }
            }
        }
    }

    #[test]
    fn a_key_ends_at_its_first_zero() {
        for length in 0..40 {
            for name in ["k".repeat(length), format!("{}\"", "k".repeat(length))] {
                let raw = [name.as_bytes(), b"\0rest and more"].concat();
                let mut out = Vec::new();
                assert_eq!(key(&mut out, &raw), Some(&b"rest and more"[..]));
                assert_eq!(String::from_utf8(out).unwrap(), simple(&name) + ":");
            }
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_left() {
        assert_eq!(bytes(&mut Vec::new(), b"abc\xFF"), None);
        assert_eq!(key(&mut Vec::new(), b"\xFF\0"), None);
        assert_eq!(key(&mut Vec::new(), b"without an end"), None);
    }
}
