//! Change events in Avro's binary encoding. The reference is `rigatoni_avro.block`.

use crate::event::{Event, Field};
use crate::json::{self, Mode};
use crate::numbers;

/// Writes consecutive rows. Documents are JSON texts, or their original bytes without a `mode`.
pub struct Rows {
    pub mode: Option<Mode>,
    pub out: Vec<u8>,
    cell: Vec<u8>,
}

impl Rows {
    pub fn new(mode: Option<Mode>, size: usize) -> Self {
        Self {
            mode,
            out: Vec::with_capacity(size),
            cell: Vec::new(),
        }
    }

    /// Append a row. `None`: it is left to the reference, and a part of it may have been appended.
    pub fn row(&mut self, event: &Event<'_>, ordinal: i64) -> Option<()> {
        if event
            .wall_time
            .is_some_and(|time| !numbers::has_four_digits(time))
        {
            return None;
        }
        self.document(&event.resume_token, Some(Mode::Canonical))?;
        for text in [event.operation, event.database, event.collection] {
            match text {
                Some(text) => self.bytes(text.as_bytes()),
                None => self.out.push(0),
            }
        }
        self.long(
            event
                .cluster_time
                .map(|(seconds, _)| i64::from(seconds) * 1000),
        );
        self.long(
            event
                .cluster_time
                .map(|(_, increment)| i64::from(increment)),
        );
        self.long(event.wall_time);
        for field in [
            &event.document_key,
            &event.full_document,
            &event.full_document_before_change,
            &event.update_description,
            &event.lsid,
        ] {
            self.document(field, self.mode)?;
        }
        self.long(event.txn_number);
        self.unknown(event)?;
        self.long(Some(ordinal));
        Some(())
    }

    /// All other fields, in one document.
    fn unknown(&mut self, event: &Event<'_>) -> Option<()> {
        if event.unknown.is_empty() {
            self.out.push(0);
            return Some(());
        }
        let mut cell = self.take_cell();
        match self.mode {
            Some(mode) => json::document_of(&mut cell, &event.unknown, mode)?,
            None => {
                let size = event.unknown.iter().map(|part| part.len()).sum::<usize>() + 5;
                cell.extend_from_slice(&i32::try_from(size).ok()?.to_le_bytes());
                event
                    .unknown
                    .iter()
                    .for_each(|part| cell.extend_from_slice(part));
                cell.push(0);
            }
        }
        self.put_back(cell);
        Some(())
    }

    fn document(&mut self, field: &Field<'_>, mode: Option<Mode>) -> Option<()> {
        match (field, mode) {
            (Field::Absent, _) => self.out.push(0),
            (Field::Null, None) => self.bytes(b""),
            (Field::Document(raw), None) => self.bytes(raw),
            (_, Some(mode)) => {
                let mut cell = self.take_cell();
                field.json(&mut cell, mode)?;
                self.put_back(cell);
            }
        }
        Some(())
    }

    fn take_cell(&mut self) -> Vec<u8> {
        let mut cell = std::mem::take(&mut self.cell);
        cell.clear();
        cell
    }

    fn put_back(&mut self, cell: Vec<u8>) {
        self.bytes(&cell);
        self.cell = cell;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.out.push(2);
        self.zigzag(bytes.len() as i64);
        self.out.extend_from_slice(bytes);
    }

    /// The union's branch, and the number if there is one.
    fn long(&mut self, value: Option<i64>) {
        match value {
            Some(value) => {
                self.out.push(2);
                self.zigzag(value);
            }
            None => self.out.push(0),
        }
    }

    fn zigzag(&mut self, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)) as u64;
        while rest > 0x7F {
            self.out.push(rest as u8 & 0x7F | 0x80);
            rest >>= 7;
        }
        self.out.push(rest as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bson::{Elements, kind};
    use crate::testing::{document, element, text};

    /// The examples of the Avro specification, "Binary Encoding", and the limits of a long.
    #[test]
    fn longs_are_zigzag_varints() {
        for (value, bytes) in [
            (0, &b"\x00"[..]),
            (-1, b"\x01"),
            (1, b"\x02"),
            (-2, b"\x03"),
            (63, b"\x7E"),
            (-64, b"\x7F"),
            (64, b"\x80\x01"),
            (i64::MAX, b"\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"),
            (i64::MIN, b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"),
        ] {
            let mut rows = Rows::new(None, 0);
            rows.zigzag(value);
            assert_eq!(rows.out, bytes);
        }
    }

    #[test]
    fn an_absent_field_is_branch_0_and_a_document_without_a_mode_is_its_bytes() {
        let id = document(&[element(kind::STRING, b"_data", &text(b"82"))]);
        let raw = document(&[element(kind::DOCUMENT, b"fullDocument", &id)]);
        let mut rows = Rows::new(None, 0);
        let event = Event::of(Elements::of(&raw).unwrap()).unwrap();
        rows.row(&event, 1).unwrap();
        let size = u8::try_from(2 * id.len()).unwrap();
        let expected = [&[0; 8][..], &[2, size], &id, &[0; 5], &[2, 2]].concat();
        assert_eq!(rows.out, expected);
    }
}
