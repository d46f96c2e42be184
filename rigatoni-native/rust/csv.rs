//! Change events as CSV rows (RFC 4180). The reference is `rigatoni_csv.cells`.

use crate::event::{Event, Field};
use crate::json::{self, Mode};
use crate::numbers;

pub struct Rows<'o> {
    pub mode: Mode,
    pub delimiter: &'o [u8],
    pub null: &'o [u8],
    pub spreadsheet_safe: bool,
    pub out: Vec<u8>,
    cell: Vec<u8>,
}

impl<'o> Rows<'o> {
    pub fn new(
        mode: Mode,
        delimiter: &'o [u8],
        null: &'o [u8],
        spreadsheet_safe: bool,
        size: usize,
    ) -> Self {
        Self {
            mode,
            delimiter,
            null,
            spreadsheet_safe,
            out: Vec::with_capacity(size),
            cell: Vec::new(),
        }
    }

    /// Append a row. `None`: it is left to the reference, and a part of it may have been appended.
    pub fn row(&mut self, event: &Event<'_>, ordinal: i64) -> Option<()> {
        self.document(&event.resume_token, Mode::Canonical)?;
        for text in [event.operation, event.database, event.collection] {
            self.next();
            match text {
                Some(text) => self.quoted(text.as_bytes()),
                None => self.absent(),
            }
        }
        self.bare(event.cluster_time, |out, (seconds, _)| {
            numbers::iso(out, i64::from(seconds) * 1000)
        });
        self.bare(event.cluster_time, |out, (_, increment)| {
            numbers::integer(out, increment)
        });
        if event
            .wall_time
            .is_some_and(|time| !numbers::has_four_digits(time))
        {
            return None;
        }
        self.bare(event.wall_time, numbers::iso);
        for field in [
            &event.document_key,
            &event.full_document,
            &event.full_document_before_change,
            &event.update_description,
            &event.lsid,
        ] {
            self.next();
            self.document(field, self.mode)?;
        }
        self.bare(event.txn_number, numbers::integer);
        self.next();
        if event.unknown.is_empty() {
            self.absent();
        } else {
            let mut cell = self.take_cell();
            json::document_of(&mut cell, &event.unknown, self.mode)?;
            self.put_back(cell);
        }
        self.bare(Some(ordinal), numbers::integer);
        self.out.extend_from_slice(b"\r\n");
        Some(())
    }

    fn next(&mut self) {
        self.out.extend_from_slice(self.delimiter);
    }

    fn absent(&mut self) {
        self.out.extend_from_slice(self.null);
    }

    fn bare<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
        self.next();
        match value {
            Some(value) => write(&mut self.out, value),
            None => self.absent(),
        }
    }

    fn document(&mut self, field: &Field<'_>, mode: Mode) -> Option<()> {
        let mut cell = self.take_cell();
        if field.json(&mut cell, mode)? {
            self.put_back(cell);
        } else {
            self.absent();
            self.cell = cell;
        }
        Some(())
    }

    fn take_cell(&mut self) -> Vec<u8> {
        let mut cell = std::mem::take(&mut self.cell);
        cell.clear();
        cell
    }

    fn put_back(&mut self, cell: Vec<u8>) {
        self.quoted(&cell);
        self.cell = cell;
    }

    fn quoted(&mut self, text: &[u8]) {
        self.out.push(b'"');
        // Characters that start a formula in a spreadsheet (OWASP, "CSV Injection").
        if self.spreadsheet_safe
            && text
                .first()
                .is_some_and(|first| b"=+-@\t\r\n\0'".contains(first))
        {
            self.out.push(b'\'');
        }
        let mut rest = text;
        while let Some(place) = memchr::memchr(b'"', rest) {
            self.out.extend_from_slice(&rest[..=place]);
            self.out.push(b'"');
            rest = &rest[place + 1..];
        }
        self.out.extend_from_slice(rest);
        self.out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bson::{Elements, kind};
    use crate::testing::{document, element, text};

    fn row(elements: &[Vec<u8>], spreadsheet_safe: bool) -> Option<String> {
        let raw = document(elements);
        let mut rows = Rows::new(Mode::Relaxed, b",", b"", spreadsheet_safe, 0);
        rows.row(&Event::of(Elements::of(&raw)?)?, 3)?;
        Some(String::from_utf8(rows.out).unwrap())
    }

    #[test]
    fn absent_cells_are_bare_and_texts_are_quoted() {
        let event = [
            element(
                kind::DOCUMENT,
                b"_id",
                &document(&[element(kind::STRING, b"_data", &text(b"82"))]),
            ),
            element(kind::STRING, b"operationType", &text(b"say \"hi\"")),
            element(
                kind::TIMESTAMP,
                b"clusterTime",
                &(1_u64 << 32 | 2).to_le_bytes(),
            ),
        ];
        let expected = concat!(
            r#""{""_data"":""82""}","say ""hi""",,,1970-01-01T00:00:01Z,2,,,,,,,,,3"#,
            "\r\n"
        );
        assert_eq!(row(&event, false).as_deref(), Some(expected));
    }

    #[test]
    fn a_text_that_a_spreadsheet_would_evaluate_gets_an_apostrophe() {
        let event = [element(kind::STRING, b"operationType", &text(b"=1+1"))];
        assert!(row(&event, true).unwrap().contains("\"'=1+1\""));
        assert!(row(&event, false).unwrap().contains("\"=1+1\""));
    }

    #[test]
    fn a_time_beyond_year_9999_is_left() {
        let time = numbers::YEAR_10000.to_le_bytes();
        assert_eq!(row(&[element(kind::DATE, b"wallTime", &time)], false), None);
    }
}
