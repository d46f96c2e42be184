//! Puts a change event around each document of a collection, as `rigatoni_mongodb.snapshots.rows` does.

use crate::bson::{Elements, close, open};
use crate::fallbacks::Reason;

/// What a row has in addition to its document and its `_id`, in bytes; none is larger without a long name.
const AROUND: usize = 256;

/// What all rows of one reading share, as raw elements without the document around them.
pub struct Shape<'a> {
    /// The element `snapshot` of a row's `_id`.
    pub snapshot: &'a [u8],
    /// The elements between a row's `_id` and its `documentKey`.
    pub shared: &'a [u8],
}

/// Consecutive rows, and the start of each and the end of the last one.
pub struct Rows {
    pub out: Vec<u8>,
    pub offsets: Vec<u64>,
}

impl Rows {
    pub fn new(documents: usize, nbytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(documents + 1);
        offsets.push(0);
        Self {
            out: Vec::with_capacity(nbytes + documents * AROUND),
            offsets,
        }
    }

    /// Add the row of a document.
    pub fn row(&mut self, document: &[u8], shape: &Shape<'_>) -> Result<(), Reason> {
        let (type_, id) = id_of(Elements::of(document).ok_or(Reason::Damaged)?)?;
        let out = &mut self.out;
        let row = open(out);
        out.extend_from_slice(b"\x03_id\0");
        let name = open(out);
        out.extend_from_slice(shape.snapshot);
        out.push(type_);
        out.extend_from_slice(b"document\0");
        out.extend_from_slice(id);
        close(out, name)?;
        out.extend_from_slice(shape.shared);
        out.extend_from_slice(b"\x03documentKey\0");
        let key = open(out);
        out.push(type_);
        out.extend_from_slice(b"_id\0");
        out.extend_from_slice(id);
        close(out, key)?;
        out.extend_from_slice(b"\x03fullDocument\0");
        out.extend_from_slice(document);
        close(out, row)?;
        self.offsets.push(self.out.len() as u64);
        Ok(())
    }
}

/// The type and the bytes of the first `_id`.
fn id_of(mut elements: Elements<'_>) -> Result<(u8, &[u8]), Reason> {
    while !elements.is_empty() {
        let mut element = elements.next().ok_or(Reason::Damaged)?;
        let raw = element.raw()?;
        if element.name == b"_id" {
            return Ok((element.kind, raw));
        }
        elements.after(&element.value);
    }
    Err(Reason::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bson::kind;
    use crate::testing::{document, element, text};

    fn rows(documents: &[Vec<u8>]) -> Result<Rows, Reason> {
        let snapshot = element(kind::STRING, b"snapshot", &text(b"shop.orders#1"));
        let shared = element(kind::STRING, b"operationType", &text(b"read"));
        let shape = Shape {
            snapshot: &snapshot,
            shared: &shared,
        };
        let mut rows = Rows::new(documents.len(), 0);
        for each in documents {
            rows.row(each, &shape)?;
        }
        Ok(rows)
    }

    #[test]
    fn a_row_is_an_event_around_the_document() {
        let id = element(kind::INT32, b"_id", &7_i32.to_le_bytes());
        let whole = document(&[id.clone(), element(kind::BOOLEAN, b"a", &[1])]);
        let expected = document(&[
            element(
                kind::DOCUMENT,
                b"_id",
                &document(&[
                    element(kind::STRING, b"snapshot", &text(b"shop.orders#1")),
                    element(kind::INT32, b"document", &7_i32.to_le_bytes()),
                ]),
            ),
            element(kind::STRING, b"operationType", &text(b"read")),
            element(kind::DOCUMENT, b"documentKey", &document(&[id])),
            element(kind::DOCUMENT, b"fullDocument", &whole),
        ]);
        let made = rows(&[whole.clone(), whole]).unwrap();
        assert_eq!(made.out, [&expected[..], &expected].concat());
        let size = expected.len() as u64;
        assert_eq!(made.offsets, [0, size, 2 * size]);
    }

    #[test]
    fn an_id_need_not_be_the_first_field() {
        let id = element(kind::NULL, b"_id", &[]);
        let made = rows(&[document(&[element(kind::BOOLEAN, b"a", &[1]), id])]);
        assert!(made.is_ok());
    }

    #[test]
    fn a_document_without_a_valid_id_is_left() {
        let deprecated = element(
            kind::DB_POINTER,
            b"_id",
            &[&text(b"a")[..], &[0; 12]].concat(),
        );
        for (left, reason) in [
            (document(&[]), Reason::Damaged),
            (
                document(&[element(kind::INT32, b"_id", &[0; 3])]),
                Reason::Damaged,
            ),
            (document(&[deprecated]), Reason::Type),
            (vec![5, 0, 0, 0, 1], Reason::Damaged),
        ] {
            assert_eq!(rows(&[left]).err(), Some(reason));
        }
    }
}
