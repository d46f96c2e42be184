//! Change events as columns in Arrow's layout (arrow.apache.org, "Arrow Columnar Format"): texts with 64-bit offsets,
//! and 64-bit integers. The vocabulary is that of `rigatoni_bson.columns`.

use crate::bson::Elements;
use crate::event::{Event, Field};
use crate::json::{self, Mode};
use crate::{nested, numbers};

/// One column: the `ends` and `text` of its texts, or its `numbers`. Where `present` is false, the value is null.
#[derive(Default)]
pub struct Column {
    pub present: Vec<bool>,
    pub ends: Vec<i64>,
    pub text: Vec<u8>,
    pub numbers: Vec<i64>,
}

impl Column {
    fn number(&mut self, value: Option<i64>) {
        self.present.push(value.is_some());
        self.numbers.push(value.unwrap_or(0));
    }

    fn text(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Option<bool>) -> Option<()> {
        let present = write(&mut self.text)?;
        self.present.push(present);
        self.ends.push(self.text.len() as i64);
        Some(())
    }

    fn truncate(&mut self, rows: usize) {
        self.present.truncate(rows);
        self.numbers.truncate(rows);
        self.ends.truncate(rows + 1);
        if let Some(end) = self.ends.last() {
            self.text.truncate(*end as usize);
        }
    }
}

/// The validity bitmap; `None` if no value is null.
pub fn validity(present: &[bool]) -> Option<Vec<u8>> {
    (!present.iter().all(|present| *present)).then(|| bitmap(present.iter().copied()))
}

/// Packs bits, lowest first.
pub fn bitmap(bits: impl ExactSizeIterator<Item = bool>) -> Vec<u8> {
    let mut map = vec![0; bits.len().div_ceil(8)];
    for (index, bit) in bits.enumerate() {
        map[index / 8] |= u8::from(bit) << (index % 8);
    }
    map
}

/// All columns, in order.
pub struct Columns {
    mode: Mode,
    rows: usize,
    pub columns: [Column; 14],
    /// The nested columns of the document key and both images, in this order. Their text columns are then null.
    pub nested: [Option<nested::Column>; 3],
}

const NUMBERS: [usize; 4] = [4, 5, 6, 12];

impl Columns {
    pub fn new(mode: Mode, nested: [Option<nested::Column>; 3]) -> Self {
        let mut columns: [Column; 14] = std::array::from_fn(|_| Column::default());
        for (index, column) in columns.iter_mut().enumerate() {
            if !NUMBERS.contains(&index) {
                column.ends.push(0);
            }
        }
        Self {
            mode,
            rows: 0,
            columns,
            nested,
        }
    }

    /// Append a row. `None`: it is left to the reference, and nothing was appended.
    pub fn row(&mut self, event: &Event<'_>) -> Option<()> {
        let written = self.append(event);
        match written {
            Some(()) => self.rows += 1,
            None => {
                for column in &mut self.columns {
                    column.truncate(self.rows);
                }
                for column in self.nested.iter_mut().flatten() {
                    column.truncate(self.rows);
                }
            }
        }
        written
    }

    fn append(&mut self, event: &Event<'_>) -> Option<()> {
        let (mode, columns) = (self.mode, &mut self.columns);
        if event
            .wall_time
            .is_some_and(|time| !numbers::has_four_digits(time))
        {
            return None;
        }
        columns[0].text(|out| event.resume_token.json(out, Mode::Canonical))?;
        for (column, text) in [
            (1, event.operation),
            (2, event.database),
            (3, event.collection),
        ] {
            columns[column].text(|out| {
                out.extend_from_slice(text.unwrap_or_default().as_bytes());
                Some(text.is_some())
            })?;
        }
        columns[4].number(
            event
                .cluster_time
                .map(|(seconds, _)| i64::from(seconds) * 1000),
        );
        columns[5].number(
            event
                .cluster_time
                .map(|(_, increment)| i64::from(increment)),
        );
        columns[6].number(event.wall_time);
        for (column, field) in [
            (7, &event.document_key),
            (8, &event.full_document),
            (9, &event.full_document_before_change),
        ] {
            let Some(nested) = &mut self.nested[column - 7] else {
                columns[column].text(|out| field.json(out, mode))?;
                continue;
            };
            match field {
                Field::Absent => nested.push_null(),
                Field::Null => return None,
                Field::Document(raw) => nested.document(Elements::of(raw)?)?,
            }
            columns[column].text(|_| Some(false))?;
        }
        for (column, field) in [(10, &event.update_description), (11, &event.lsid)] {
            columns[column].text(|out| field.json(out, mode))?;
        }
        columns[12].number(event.txn_number);
        columns[13].text(|out| {
            if event.unknown.is_empty() {
                return Some(false);
            }
            json::document_of(out, &event.unknown, mode).map(|()| true)
        })
    }
}
