//! Counts the types in documents, so that `rigatoni_arrow.inference`, the reference, can infer types of columns.
//!
//! Functions return `None` for documents that Python's values may not represent exactly, and for too many names.

use std::collections::HashMap;

use crate::bson::{Elements, Value, kind};
use crate::numbers;

/// The deepest level of documents and arrays that is inspected.
const DEEPEST: usize = 16;
/// The maximum number of names, of all levels together.
pub const MOST_NAMES: usize = 10_000;
/// A double represents every integer up to this one.
const EXACT: u64 = 1 << 53;

/// The findings about one place in the documents.
#[derive(Default)]
pub struct Findings {
    /// Groups of types and their number of values, in the order of their first occurrence.
    pub kinds: Vec<(&'static str, u64)>,
    pub floats: u64,
    /// Whether an integer occurred that a double may not represent.
    pub large: bool,
    pub fields: Vec<(Box<str>, Self)>,
    pub item: Option<Box<Self>>,
    places: HashMap<Box<str>, usize>,
    /// The number of documents inspected here, and the last of them that contained this place.
    documents: u64,
    seen: u64,
}

impl Findings {
    /// Inspect one more document. `room` is the rest of `MOST_NAMES`.
    pub fn note(&mut self, elements: Elements<'_>, room: &mut usize) -> Option<()> {
        self.count("document", 1);
        self.document(elements, 1, room)
    }

    fn count(&mut self, group: &'static str, values: u64) {
        match self.kinds.iter_mut().find(|(name, _)| *name == group) {
            Some((_, count)) => *count += values,
            None => self.kinds.push((group, values)),
        }
    }

    fn value(
        &mut self,
        type_: u8,
        value: &mut Value<'_>,
        depth: usize,
        room: &mut usize,
    ) -> Option<()> {
        match type_ {
            kind::STRING => {
                value.string()?;
                self.count("string", 1);
            }
            kind::INT32 => {
                value.i32()?;
                self.count("number", 1);
            }
            kind::INT64 => {
                self.large |= value.i64()?.unsigned_abs() > EXACT;
                self.count("number", 1);
            }
            kind::DOUBLE => {
                let number = value.f64()?;
                if number.is_nan() && number.to_bits() != numbers::NAN {
                    return None;
                }
                self.floats += 1;
                self.count("number", 1);
            }
            kind::BOOLEAN => {
                value.boolean()?;
                self.count("bool", 1);
            }
            kind::DATE => {
                value.i64()?;
                self.count("date", 1);
            }
            kind::OBJECT_ID => {
                value.bytes::<12>()?;
                self.count("objectId", 1);
            }
            kind::DECIMAL => {
                value.bytes::<16>()?;
                self.count("decimal", 1);
            }
            kind::BINARY => match value.binary()? {
                (0, _) => self.count("binData", 1),
                (2, _) => return None,
                (subtype, data) => self.count("uuid", u64::from(subtype == 4 && data.len() == 16)),
            },
            kind::TIMESTAMP => value.u64().map(|_| ())?,
            kind::NULL => {}
            kind::DOCUMENT if depth < DEEPEST => {
                self.count("document", 1);
                self.document(value.document()?, depth + 1, room)?;
            }
            kind::ARRAY if depth < DEEPEST => {
                self.count("array", 1);
                let item = self.item.get_or_insert_default();
                let mut elements = value.document()?;
                let mut index = 0_u32;
                while !elements.is_empty() {
                    let mut element = elements.next()?;
                    if !numbers::is_index(element.name, index) {
                        return None;
                    }
                    index += 1;
                    item.value(element.kind, &mut element.value, depth + 1, room)?;
                    elements.after(&element.value);
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn document(
        &mut self,
        mut elements: Elements<'_>,
        depth: usize,
        room: &mut usize,
    ) -> Option<()> {
        self.documents += 1;
        let mut expected = 0;
        while !elements.is_empty() {
            let mut element = elements.next()?;
            let found = self.field(element.name, expected, room)?;
            let field = &mut self.fields[found].1;
            if field.seen == self.documents {
                return None; // a name twice
            }
            field.seen = self.documents;
            field.value(element.kind, &mut element.value, depth, room)?;
            elements.after(&element.value);
            expected = found + 1;
        }
        Some(())
    }

    /// The index of the field with this name, probably the expected one.
    fn field(&mut self, name: &[u8], expected: usize, room: &mut usize) -> Option<usize> {
        if self
            .fields
            .get(expected)
            .is_some_and(|(known, _)| known.as_bytes() == name)
        {
            return Some(expected);
        }
        let name = std::str::from_utf8(name).ok()?;
        if let Some(found) = self.places.get(name) {
            return Some(*found);
        }
        if name.starts_with('$') {
            return None; // it may make the document one of another type
        }
        *room = room.checked_sub(1)?;
        self.places.insert(name.into(), self.fields.len());
        self.fields.push((name.into(), Self::default()));
        Some(self.fields.len() - 1)
    }
}
