//! Counts of the documents that are left to the reference implementation, by reason, since the process started.
//!
//! The fast path stops at the first difficulty without a reason, which costs nothing. A document that it leaves is read
//! once more here, to find the reason: such documents are rare, and the reference takes much longer for them anyway.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::bson::{DEEPEST, Elements, Value, kind};
use crate::event::Event;
use crate::json::{Mode, is_reserved};
use crate::numbers;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Damaged,
    Text,
    Name,
    Type,
    Number,
    Date,
    Depth,
    Event,
    Schema,
    Inference,
    Delta,
    Mask,
}

/// The names of the reasons, in the order of `Reason`.
pub const NAMES: [&str; 12] = [
    "damaged",
    "text",
    "name",
    "type",
    "number",
    "date",
    "depth",
    "event",
    "schema",
    "inference",
    "delta",
    "mask",
];

static COUNTS: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];

/// Return the counts in the order of `NAMES`.
pub fn counts() -> [u64; NAMES.len()] {
    std::array::from_fn(|index| COUNTS[index].load(Ordering::Relaxed))
}

pub fn count(reason: Reason) {
    COUNTS[reason as usize].fetch_add(1, Ordering::Relaxed);
}

/// Count a document that is left out of JSON lines in this mode. `None`: its bounds are wrong.
pub fn count_document(found: Option<Elements<'_>>, mode: Mode) {
    count(found.map_or(Reason::Damaged, |elements| {
        of_document(elements, mode).unwrap_or(Reason::Damaged)
    }));
}

/// Count an event that is left out of rows. Without a mode, its documents are copied and not read.
pub fn count_event(found: Option<Elements<'_>>, mode: Option<Mode>) {
    count(found.map_or(Reason::Damaged, |elements| of_event(elements, mode)));
}

fn of_event(elements: Elements<'_>, mode: Option<Mode>) -> Reason {
    if let Some(mode) = mode
        && let Some(reason) = of_document(elements, mode)
    {
        return reason;
    }
    match Event::of(elements) {
        None => Reason::Event,
        Some(event)
            if event
                .wall_time
                .is_some_and(|time| !numbers::has_four_digits(time)) =>
        {
            Reason::Date
        }
        Some(_) => Reason::Schema,
    }
}

/// Return the first reason for which `json::document` would leave a document, if there is one.
pub fn of_document(elements: Elements<'_>, mode: Mode) -> Option<Reason> {
    inside(elements, mode, false, 0).err()
}

fn inside(
    mut elements: Elements<'_>,
    mode: Mode,
    is_array: bool,
    depth: usize,
) -> Result<(), Reason> {
    if depth > DEEPEST {
        return Err(Reason::Depth);
    }
    let mut index = 0;
    while !elements.is_empty() {
        let mut element = elements.next().ok_or(Reason::Damaged)?;
        if is_array {
            if mode == Mode::Canonical && !numbers::is_index(element.name, index) {
                return Err(Reason::Name);
            }
        } else {
            let name = std::str::from_utf8(element.name).map_err(|_| Reason::Text)?;
            if mode != Mode::Plain && is_reserved(name) {
                return Err(Reason::Name);
            }
        }
        index += 1;
        value(element.kind, &mut element.value, mode, depth)?;
        elements.after(&element.value);
    }
    Ok(())
}

fn value(type_: u8, value: &mut Value<'_>, mode: Mode, depth: usize) -> Result<(), Reason> {
    let damaged = Reason::Damaged;
    match type_ {
        kind::DOCUMENT | kind::ARRAY => {
            let elements = value.document().ok_or(damaged)?;
            return inside(elements, mode, type_ == kind::ARRAY, depth + 1);
        }
        kind::STRING | kind::CODE | kind::SYMBOL => {
            let text = value.text().ok_or(damaged)?;
            std::str::from_utf8(text).map_err(|_| Reason::Text)?;
        }
        kind::REGEX => {
            value.c_string().ok_or(Reason::Text)?;
            value.c_string().ok_or(Reason::Text)?;
        }
        kind::BOOLEAN => value.boolean().map(|_| ()).ok_or(damaged)?,
        kind::DOUBLE => {
            let number = value.f64().ok_or(damaged)?;
            if number.is_nan() && mode == Mode::Canonical && number.to_bits() != numbers::NAN {
                return Err(Reason::Number);
            }
        }
        kind::DECIMAL => {
            let (low, high) = (value.u64().ok_or(damaged)?, value.u64().ok_or(damaged)?);
            numbers::decimal(&mut Vec::new(), low, high).ok_or(Reason::Number)?;
        }
        kind::DATE => {
            let date = value.i64().ok_or(damaged)?;
            if mode == Mode::Plain && !numbers::has_four_digits(date) {
                return Err(Reason::Date);
            }
        }
        kind::BINARY => {
            if value.binary().ok_or(damaged)?.0 == 2 {
                return Err(Reason::Type);
            }
        }
        kind::UNDEFINED
        | kind::OBJECT_ID
        | kind::NULL
        | kind::INT32
        | kind::TIMESTAMP
        | kind::INT64
        | kind::MIN_KEY
        | kind::MAX_KEY => value.skip(type_).ok_or(damaged)?,
        _ => return Err(Reason::Type),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::testing::{document, element, text};

    /// A document that each mode may leave, the mode, and the reason.
    fn samples() -> Vec<(Vec<u8>, Mode, Reason)> {
        let nested = (0..=DEEPEST).fold(document(&[]), |inner, _| {
            document(&[element(kind::DOCUMENT, b"a", &inner)])
        });
        let nan = f64::from_bits(numbers::NAN | 1).to_le_bytes();
        let infinite_decimal = [&[0; 15][..], &[0x78]].concat();
        let one = |type_, name: &[u8], value: &[u8]| document(&[element(type_, name, value)]);
        vec![
            (
                one(kind::STRING, b"a", b"\x09\0\0\0a\0"),
                Mode::Relaxed,
                Reason::Damaged,
            ),
            (
                one(kind::BOOLEAN, b"a", &[2]),
                Mode::Relaxed,
                Reason::Damaged,
            ),
            (
                one(kind::STRING, b"a", &text(b"\xFF")),
                Mode::Plain,
                Reason::Text,
            ),
            (one(kind::NULL, b"\xFF", &[]), Mode::Plain, Reason::Text),
            (one(kind::NULL, b"$oid", &[]), Mode::Relaxed, Reason::Name),
            (
                one(
                    kind::ARRAY,
                    b"a",
                    &document(&[element(kind::NULL, b"1", &[])]),
                ),
                Mode::Canonical,
                Reason::Name,
            ),
            (
                one(kind::BINARY, b"a", b"\0\0\0\0\x02"),
                Mode::Plain,
                Reason::Type,
            ),
            (one(0x0C, b"a", &[]), Mode::Plain, Reason::Type),
            (
                one(kind::DOUBLE, b"a", &nan),
                Mode::Canonical,
                Reason::Number,
            ),
            (
                one(kind::DECIMAL, b"a", &infinite_decimal),
                Mode::Relaxed,
                Reason::Number,
            ),
            (
                one(kind::DATE, b"a", &(-1_i64).to_le_bytes()),
                Mode::Plain,
                Reason::Date,
            ),
            (nested, Mode::Relaxed, Reason::Depth),
        ]
    }

    #[test]
    fn every_document_that_json_leaves_has_its_reason() {
        for (raw, mode, reason) in samples() {
            let elements = Elements::of(&raw).unwrap();
            assert_eq!(json::document(&mut Vec::new(), elements, mode), None);
            assert_eq!(of_document(elements, mode), Some(reason));
        }
    }

    #[test]
    fn a_document_that_json_writes_has_no_reason() {
        for (raw, _, _) in samples() {
            for mode in [Mode::Relaxed, Mode::Canonical, Mode::Plain] {
                let elements = Elements::of(&raw).unwrap();
                let is_written = json::document(&mut Vec::new(), elements, mode).is_some();
                assert_eq!(of_document(elements, mode).is_none(), is_written);
            }
        }
    }

    #[test]
    fn an_event_with_a_field_of_another_type_is_left_for_the_event() {
        let raw = document(&[element(kind::INT32, b"operationType", &[0; 4])]);
        let elements = Elements::of(&raw).unwrap();
        assert_eq!(of_event(elements, Some(Mode::Relaxed)), Reason::Event);
        assert_eq!(of_event(elements, None), Reason::Event);
    }

    #[test]
    fn counts_grow_under_their_names() {
        let before = counts();
        count_document(None, Mode::Relaxed);
        let grown = counts()[Reason::Damaged as usize] - before[Reason::Damaged as usize];
        assert!(grown >= 1);
        assert_eq!(NAMES[Reason::Mask as usize], "mask");
        assert_eq!(Reason::Mask as usize + 1, NAMES.len());
    }
}
