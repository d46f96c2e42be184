//! Reads raw BSON (bsonspec.org, version 1.1), and checks the bounds at every step.
//!
//! Functions return `None` for everything that is not clearly valid. The caller leaves such a document to the reference
//! implementation in Python, which finds the cause, or accepts the document.

use crate::fallbacks::Reason;
use crate::text;

/// The deepest nesting that is accepted, as in the reference.
pub const DEEPEST: usize = 250;

/// The size of an empty document in bytes.
const SMALLEST: usize = 5;

pub mod kind {
    pub const DOUBLE: u8 = 0x01;
    pub const STRING: u8 = 0x02;
    pub const DOCUMENT: u8 = 0x03;
    pub const ARRAY: u8 = 0x04;
    pub const BINARY: u8 = 0x05;
    pub const UNDEFINED: u8 = 0x06;
    pub const OBJECT_ID: u8 = 0x07;
    pub const BOOLEAN: u8 = 0x08;
    pub const DATE: u8 = 0x09;
    pub const NULL: u8 = 0x0A;
    pub const REGEX: u8 = 0x0B;
    pub const DB_POINTER: u8 = 0x0C;
    pub const CODE: u8 = 0x0D;
    pub const SYMBOL: u8 = 0x0E;
    pub const CODE_WITH_SCOPE: u8 = 0x0F;
    pub const INT32: u8 = 0x10;
    pub const TIMESTAMP: u8 = 0x11;
    pub const INT64: u8 = 0x12;
    pub const DECIMAL: u8 = 0x13;
    pub const MAX_KEY: u8 = 0x7F;
    pub const MIN_KEY: u8 = 0xFF;
}

/// The elements between a document's length and its closing zero.
#[derive(Clone, Copy)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

/// One element: its type, its name, and the bytes from its value to the end of the document.
pub struct Element<'a> {
    pub kind: u8,
    pub name: &'a [u8],
    pub value: Value<'a>,
}

/// The bytes from a value on. Each method reads a value of one type and moves past it; `None` if it is not valid.
pub struct Value<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// The elements of a document that fills `raw` exactly.
    pub fn of(raw: &'a [u8]) -> Option<Self> {
        let (elements, rest) = document(raw)?;
        rest.is_empty().then_some(elements)
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The type of the next element, and what follows it: its name, a zero, its value.
    pub fn start(&self) -> Option<(u8, &'a [u8])> {
        self.rest.split_first().map(|(&kind, rest)| (kind, rest))
    }

    /// The next element. After reading its value, continue with `after`.
    pub fn next(&self) -> Option<Element<'a>> {
        let (kind, rest) = self.start()?;
        let end = text::zero(rest)?;
        Some(Element {
            kind,
            name: &rest[..end],
            value: Value {
                rest: &rest[end + 1..],
            },
        })
    }

    /// Continue after a value that was read.
    pub fn after(&mut self, value: &Value<'a>) {
        self.rest = value.rest;
    }

    /// The bytes from here to `later`, a later state of these elements.
    pub fn until(&self, later: &Self) -> &'a [u8] {
        &self.rest[..self.rest.len() - later.rest.len()]
    }

    /// Consecutive elements in `raw`, without an enclosing document.
    pub fn bare(raw: &'a [u8]) -> Self {
        Self { rest: raw }
    }
}

impl<'a> Element<'a> {
    /// The bytes of the value, and move past it. Their content is not checked.
    pub fn raw(&mut self) -> Result<&'a [u8], Reason> {
        let before = self.value.rest;
        self.value.skip(self.kind).ok_or(match self.kind {
            kind::DB_POINTER | kind::CODE_WITH_SCOPE => Reason::Type,
            kind::REGEX => Reason::Text,
            _ => Reason::Damaged,
        })?;
        Ok(&before[..before.len() - self.value.rest.len()])
    }

    /// Write the type and the name. Returns the place of the type.
    pub fn write_head(&self, out: &mut Vec<u8>) -> usize {
        let place = out.len();
        out.push(self.kind);
        out.extend_from_slice(self.name);
        out.push(0);
        place
    }
}

/// Begin a document: leave a place for its size. Returns the place.
pub fn open(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 4]);
    out.len() - 4
}

/// End the document that begins at this place.
pub fn close(out: &mut Vec<u8>, start: usize) -> Result<(), Reason> {
    out.push(0);
    let size = i32::try_from(out.len() - start).map_err(|_| Reason::Damaged)?;
    out[start..start + 4].copy_from_slice(&size.to_le_bytes());
    Ok(())
}

/// Move the documents of an array that fills `raw` to its beginning, one after another. Returns the start of each, and
/// the end of the last one, as native 64-bit integers; `None` if it is not an array of documents.
pub fn gather(raw: &mut [u8]) -> Option<Vec<u8>> {
    let (&closing, _) = raw.split_last()?;
    if size(raw)? != raw.len() || closing != 0 {
        return None;
    }
    let (mut from, end) = (4, raw.len() - 1);
    let (mut offsets, mut written) = (Vec::new(), 0_usize);
    while from < end {
        let rest = raw[from..end].strip_prefix(&[kind::DOCUMENT])?;
        let start = from + 1 + text::zero(rest)? + 1;
        let size = size(&raw[start..end])?;
        raw.copy_within(start..start + size, written);
        offsets.extend_from_slice(&(written as u64).to_ne_bytes());
        (from, written) = (start + size, written + size);
    }
    offsets.extend_from_slice(&(written as u64).to_ne_bytes());
    Some(offsets)
}

/// The size of the document at the beginning of `raw`; `None` if it is not complete.
fn size(raw: &[u8]) -> Option<usize> {
    let size = usize::try_from(i32::from_le_bytes(*raw.first_chunk()?)).ok()?;
    (size >= SMALLEST && size <= raw.len()).then_some(size)
}

/// The document at the beginning of `raw`, and what follows it.
fn document(raw: &[u8]) -> Option<(Elements<'_>, &[u8])> {
    let size = size(raw)?;
    if raw[size - 1] != 0 {
        return None;
    }
    Some((
        Elements {
            rest: &raw[4..size - 1],
        },
        &raw[size..],
    ))
}

impl<'a> Value<'a> {
    /// The value at the beginning of `rest`.
    pub fn at(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub fn bytes<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(taken)
    }

    fn slice(&mut self, size: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(size)?;
        self.rest = rest;
        Some(taken)
    }

    pub fn i32(&mut self) -> Option<i32> {
        self.bytes().map(|bytes| i32::from_le_bytes(*bytes))
    }

    pub fn i64(&mut self) -> Option<i64> {
        self.bytes().map(|bytes| i64::from_le_bytes(*bytes))
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.bytes().map(|bytes| u64::from_le_bytes(*bytes))
    }

    pub fn f64(&mut self) -> Option<f64> {
        self.bytes().map(|bytes| f64::from_le_bytes(*bytes))
    }

    pub fn boolean(&mut self) -> Option<bool> {
        match self.bytes()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    /// The bytes of a string with a length and a closing zero, which may not be UTF-8.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let size = usize::try_from(self.i32()?).ok()?;
        let (&last, text) = self.slice(size)?.split_last()?;
        (last == 0).then_some(text)
    }

    /// A string.
    pub fn string(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.text()?).ok()
    }

    /// A text that ends at the next zero.
    pub fn c_string(&mut self) -> Option<&'a str> {
        let end = memchr::memchr(0, self.rest)?;
        let text = self.slice(end + 1)?;
        std::str::from_utf8(&text[..end]).ok()
    }

    /// Binary data: subtype and bytes.
    pub fn binary(&mut self) -> Option<(u8, &'a [u8])> {
        let size = usize::try_from(self.i32()?).ok()?;
        let [subtype] = *self.bytes()?;
        Some((subtype, self.slice(size)?))
    }

    /// Skip a value of any type, without checking its content.
    pub fn skip(&mut self, type_: u8) -> Option<()> {
        let size = match type_ {
            kind::STRING | kind::CODE | kind::SYMBOL => self.i32()?,
            kind::DOCUMENT | kind::ARRAY => return self.document().map(|_| ()),
            kind::BINARY => return self.binary().map(|_| ()),
            kind::REGEX => return self.c_string().and(self.c_string()).map(|_| ()),
            kind::UNDEFINED | kind::NULL | kind::MIN_KEY | kind::MAX_KEY => 0,
            kind::BOOLEAN => 1,
            kind::INT32 => 4,
            kind::DOUBLE | kind::DATE | kind::TIMESTAMP | kind::INT64 => 8,
            kind::OBJECT_ID => 12,
            kind::DECIMAL => 16,
            _ => return None,
        };
        self.slice(usize::try_from(size).ok()?).map(|_| ())
    }

    /// An embedded document or array.
    pub fn document(&mut self) -> Option<Elements<'a>> {
        let (elements, rest) = document(self.rest)?;
        self.rest = rest;
        Some(elements)
    }

    /// The bytes of an embedded document or array.
    pub fn raw_document(&mut self) -> Option<&'a [u8]> {
        let (_, rest) = document(self.rest)?;
        self.slice(self.rest.len() - rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, element, text};

    #[test]
    fn elements_are_read_in_order() {
        let raw = document(&[
            element(kind::STRING, b"a", &text(b"x")),
            element(kind::INT64, b"b", &7_i64.to_le_bytes()),
        ]);
        let mut elements = Elements::of(&raw).unwrap();
        let mut first = elements.next().unwrap();
        assert_eq!((first.kind, first.name), (kind::STRING, &b"a"[..]));
        assert_eq!(first.value.string(), Some("x"));
        elements.after(&first.value);
        let mut second = elements.next().unwrap();
        assert_eq!(second.value.i64(), Some(7));
        elements.after(&second.value);
        assert!(elements.is_empty());
    }

    #[test]
    fn a_document_must_fill_its_bytes() {
        let raw = document(&[element(kind::NULL, b"a", &[])]);
        assert!(Elements::of(&raw).is_some());
        for cut in 0..raw.len() {
            assert!(Elements::of(&raw[..cut]).is_none());
        }
        assert!(Elements::of(&[&raw[..], &[0]].concat()).is_none());
        let mut unclosed = raw;
        *unclosed.last_mut().unwrap() = 1;
        assert!(Elements::of(&unclosed).is_none());
    }

    #[test]
    fn no_value_is_read_beyond_the_end() {
        for (type_, value) in [
            (kind::STRING, text(b"abc")),
            (kind::DOCUMENT, document(&[element(kind::NULL, b"a", &[])])),
            (kind::BINARY, b"\x03\0\0\0\0abc".to_vec()),
            (kind::REGEX, b"a\0i\0".to_vec()),
            (kind::DECIMAL, vec![0; 16]),
            (kind::OBJECT_ID, vec![0; 12]),
            (kind::DATE, vec![0; 8]),
            (kind::INT32, vec![0; 4]),
            (kind::BOOLEAN, vec![1]),
        ] {
            let mut whole = Value::at(&value);
            assert_eq!(whole.skip(type_), Some(()));
            assert!(whole.rest.is_empty());
            for cut in 0..value.len() {
                assert_eq!(Value::at(&value[..cut]).skip(type_), None);
            }
        }
    }

    #[test]
    fn a_negative_size_is_refused() {
        let negative = (-1_i32).to_le_bytes();
        assert_eq!(Value::at(&negative).skip(kind::STRING), None);
        assert_eq!(Value::at(&negative).text(), None);
        assert_eq!(Value::at(&negative).binary(), None);
        assert_eq!(Value::at(b"\xff\xff\xff\xff\0").skip(kind::BINARY), None);
        assert!(Elements::of(&negative).is_none());
    }

    #[test]
    fn the_documents_of_an_array_are_moved_together() {
        let one = document(&[element(kind::NULL, b"a", &[])]);
        let two = document(&[]);
        let mut raw = document(&[
            element(kind::DOCUMENT, b"0", &one),
            element(kind::DOCUMENT, b"1", &two),
        ]);
        let offsets = gather(&mut raw).unwrap();
        let expected = [0, one.len() as u64, (one.len() + two.len()) as u64];
        assert_eq!(offsets, expected.map(u64::to_ne_bytes).concat());
        assert_eq!(raw[..one.len() + two.len()], [one, two].concat());
    }

    #[test]
    fn an_array_with_other_values_is_refused() {
        let mut raw = document(&[element(kind::INT32, b"0", &[0; 4])]);
        assert_eq!(gather(&mut raw), None);
        let mut cut = document(&[element(kind::DOCUMENT, b"0", &document(&[]))]);
        cut.pop();
        assert_eq!(gather(&mut cut), None);
    }
}
