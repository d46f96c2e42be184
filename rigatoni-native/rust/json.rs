//! Converts raw BSON to JSON in one pass: Extended JSON v2 relaxed and canonical, and plain JSON.
//!
//! The reference is `rigatoni_bson.json_encoder`, and the output is the same to the byte. A document that needs more
//! (text that is not UTF-8, names of type wrappers, deprecated types, damage) is left to it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::bson::{DEEPEST, Elements, Value, kind};
use crate::{numbers, text};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Relaxed,
    Canonical,
    Plain,
}

impl Mode {
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "relaxed" => Some(Self::Relaxed),
            "canonical" => Some(Self::Canonical),
            "plain" => Some(Self::Plain),
            _ => None,
        }
    }
}

/// Field names that readers take for a type wrapper.
const RESERVED: [&str; 18] = [
    "$bson",
    "$oid",
    "$symbol",
    "$numberInt",
    "$numberLong",
    "$numberDouble",
    "$numberDecimal",
    "$binary",
    "$uuid",
    "$code",
    "$scope",
    "$timestamp",
    "$regularExpression",
    "$regex",
    "$dbPointer",
    "$date",
    "$minKey",
    "$maxKey",
];
const UNDEFINED: &str = "$undefined";

/// Whether a reader of Extended JSON would take a document with this field name for a type wrapper.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || name == UNDEFINED
}

/// Append the document's JSON. `None`: it is left to the reference, and `out` contains a part of it.
pub fn document(out: &mut Vec<u8>, elements: Elements<'_>, mode: Mode) -> Option<()> {
    Writer { out, mode }.document(elements, 0)
}

/// Append the JSON of a document with these elements.
pub fn document_of(out: &mut Vec<u8>, parts: &[&[u8]], mode: Mode) -> Option<()> {
    let mut writer = Writer { out, mode };
    writer.out.push(b'{');
    let mut first = true;
    for part in parts {
        writer.elements(Elements::bare(part), &mut first, 0)?;
    }
    writer.out.push(b'}');
    Some(())
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    mode: Mode,
}

impl Writer<'_> {
    fn document(&mut self, elements: Elements<'_>, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        self.out.push(b'{');
        self.elements(elements, &mut true, depth)?;
        self.out.push(b'}');
        Some(())
    }

    fn elements(
        &mut self,
        mut elements: Elements<'_>,
        first: &mut bool,
        depth: usize,
    ) -> Option<()> {
        while !elements.is_empty() {
            let (type_, named) = elements.start()?;
            if named.first() == Some(&b'$')
                && self.mode != Mode::Plain
                && is_reserved(std::str::from_utf8(&named[..text::zero(named)?]).ok()?)
            {
                return None;
            }
            if !std::mem::take(first) {
                self.out.push(b',');
            }
            let mut value = Value::at(text::key(self.out, named)?);
            self.value(type_, &mut value, depth)?;
            elements.after(&value);
        }
        Some(())
    }

    fn array(&mut self, mut elements: Elements<'_>, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        self.out.push(b'[');
        let mut index = 0_u32;
        while !elements.is_empty() {
            let mut element = elements.next()?;
            if self.mode == Mode::Canonical && !numbers::is_index(element.name, index) {
                return None;
            }
            if index > 0 {
                self.out.push(b',');
            }
            index += 1;
            self.value(element.kind, &mut element.value, depth)?;
            elements.after(&element.value);
        }
        self.out.push(b']');
        Some(())
    }

    #[inline(always)]
    fn value(&mut self, type_: u8, value: &mut Value<'_>, depth: usize) -> Option<()> {
        let plain = self.mode == Mode::Plain;
        let canonical = self.mode == Mode::Canonical;
        match type_ {
            kind::STRING => text::bytes(self.out, value.text()?)?,
            kind::DOCUMENT => self.document(value.document()?, depth + 1)?,
            kind::ARRAY => self.array(value.document()?, depth + 1)?,
            kind::OBJECT_ID => {
                let bytes = value.bytes::<12>()?;
                self.wrapped(!plain, "{\"$oid\":", "}", |writer| {
                    writer.quoted(|out| numbers::hex(out, bytes));
                });
            }
            kind::INT32 => {
                let number = value.i32()?;
                self.number(canonical, "{\"$numberInt\":", |out| {
                    numbers::integer(out, number)
                });
            }
            kind::INT64 => {
                let number = value.i64()?;
                self.number(canonical, "{\"$numberLong\":", |out| {
                    numbers::integer(out, number)
                });
            }
            kind::DOUBLE => self.double(value.f64()?)?,
            kind::BOOLEAN => self.put(if value.boolean()? { "true" } else { "false" }),
            kind::NULL => self.put("null"),
            kind::DATE => self.date(value.i64()?)?,
            kind::TIMESTAMP => {
                let time = value.u64()?;
                self.wrapped(!plain, "{\"$timestamp\":", "}", |writer| {
                    writer.put("{\"t\":");
                    numbers::integer(writer.out, time >> 32);
                    writer.put(",\"i\":");
                    numbers::integer(writer.out, time & 0xFFFF_FFFF);
                    writer.put("}");
                });
            }
            kind::DECIMAL => {
                let (low, high) = (value.u64()?, value.u64()?);
                self.put(if plain {
                    "\""
                } else {
                    "{\"$numberDecimal\":\""
                });
                numbers::decimal(self.out, low, high)?;
                self.put(if plain { "\"" } else { "\"}" });
            }
            kind::BINARY => self.binary(value)?,
            kind::REGEX => self.regex(value.c_string()?, value.c_string()?),
            kind::CODE => {
                let code = value.string()?;
                self.wrapped(!plain, "{\"$code\":", "}", |writer| writer.text(code));
            }
            kind::SYMBOL => {
                let symbol = value.string()?;
                self.wrapped(!plain, "{\"$symbol\":", "}", |writer| writer.text(symbol));
            }
            kind::UNDEFINED => self.put(if plain {
                "null"
            } else {
                "{\"$undefined\":true}"
            }),
            kind::MIN_KEY => self.put(if plain {
                "\"MinKey\""
            } else {
                "{\"$minKey\":1}"
            }),
            kind::MAX_KEY => self.put(if plain {
                "\"MaxKey\""
            } else {
                "{\"$maxKey\":1}"
            }),
            _ => return None,
        }
        Some(())
    }

    fn double(&mut self, value: f64) -> Option<()> {
        if value.is_finite() {
            match self.mode {
                Mode::Canonical => self.number(true, "{\"$numberDouble\":", |out| {
                    numbers::double_repr(out, value)
                }),
                _ => numbers::double(self.out, value),
            }
            return Some(());
        }
        if value.is_nan() && self.mode == Mode::Canonical && value.to_bits() != numbers::NAN {
            return None;
        }
        let name = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        self.wrapped(
            self.mode != Mode::Plain,
            "{\"$numberDouble\":",
            "}",
            |writer| writer.text(name),
        );
        Some(())
    }

    fn date(&mut self, milliseconds: i64) -> Option<()> {
        let ordinary = numbers::has_four_digits(milliseconds);
        match self.mode {
            Mode::Plain if !ordinary => return None,
            Mode::Plain => self.quoted(|out| numbers::iso(out, milliseconds)),
            Mode::Relaxed if ordinary => self.wrapped(true, "{\"$date\":", "}", |writer| {
                writer.quoted(|out| numbers::iso(out, milliseconds));
            }),
            _ => self.wrapped(true, "{\"$date\":{\"$numberLong\":", "}}", |writer| {
                writer.quoted(|out| numbers::integer(out, milliseconds));
            }),
        }
        Some(())
    }

    fn binary(&mut self, value: &mut Value<'_>) -> Option<()> {
        let (subtype, data) = value.binary()?;
        if subtype == 2 {
            return None;
        }
        if self.mode == Mode::Plain {
            self.quoted(|out| {
                if subtype == 4 && data.len() == 16 {
                    numbers::uuid(out, data);
                } else {
                    base64(out, data);
                }
            });
            return Some(());
        }
        self.put("{\"$binary\":{\"base64\":");
        self.quoted(|out| base64(out, data));
        self.put(",\"subType\":");
        self.quoted(|out| numbers::hex(out, &[subtype]));
        self.put("}}");
        Some(())
    }

    fn regex(&mut self, pattern: &str, options: &str) {
        if self.mode == Mode::Plain {
            self.text(&format!("/{pattern}/{options}"));
            return;
        }
        self.put("{\"$regularExpression\":{\"pattern\":");
        self.text(pattern);
        self.put(",\"options\":");
        self.text(options);
        self.put("}}");
    }

    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn wrapped(&mut self, wanted: bool, before: &str, after: &str, write: impl FnOnce(&mut Self)) {
        if wanted {
            self.put(before);
        }
        write(self);
        if wanted {
            self.put(after);
        }
    }

    /// A number, or its text in a type wrapper.
    fn number(&mut self, wrapped: bool, before: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if wrapped {
            self.put(before);
            self.quoted(write);
            self.put("}");
        } else {
            write(self.out);
        }
    }

    fn quoted(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.push(b'"');
        write(self.out);
        self.out.push(b'"');
    }

    fn text(&mut self, text: &str) {
        text::string(self.out, text);
    }
}

fn base64(out: &mut Vec<u8>, data: &[u8]) {
    let start = out.len();
    out.resize(start + data.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(data, &mut out[start..]);
    debug_assert_eq!(written, Ok(out.len() - start));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document as bson, element, text as value};

    fn written(elements: &[Vec<u8>], mode: Mode) -> Option<String> {
        let raw = bson(elements);
        let mut out = Vec::new();
        document(&mut out, Elements::of(&raw)?, mode)?;
        Some(String::from_utf8(out).unwrap())
    }

    /// The examples of the MongoDB specification "Extended JSON", section "Conversion table".
    #[test]
    fn each_mode_has_its_notation_of_every_type() {
        let date = 1_714_564_805_123_i64.to_le_bytes();
        for (type_, bytes, relaxed, canonical, plain) in [
            (kind::STRING, value(b"x"), r#""x""#, r#""x""#, r#""x""#),
            (
                kind::INT32,
                vec![7, 0, 0, 0],
                "7",
                r#"{"$numberInt":"7"}"#,
                "7",
            ),
            (
                kind::INT64,
                7_i64.to_le_bytes().to_vec(),
                "7",
                r#"{"$numberLong":"7"}"#,
                "7",
            ),
            (
                kind::DOUBLE,
                1.5_f64.to_le_bytes().to_vec(),
                "1.5",
                r#"{"$numberDouble":"1.5"}"#,
                "1.5",
            ),
            (
                kind::DOUBLE,
                f64::INFINITY.to_le_bytes().to_vec(),
                r#"{"$numberDouble":"Infinity"}"#,
                r#"{"$numberDouble":"Infinity"}"#,
                r#""Infinity""#,
            ),
            (kind::BOOLEAN, vec![1], "true", "true", "true"),
            (kind::NULL, vec![], "null", "null", "null"),
            (
                kind::OBJECT_ID,
                (0..12).collect(),
                r#"{"$oid":"000102030405060708090a0b"}"#,
                r#"{"$oid":"000102030405060708090a0b"}"#,
                r#""000102030405060708090a0b""#,
            ),
            (
                kind::DATE,
                date.to_vec(),
                r#"{"$date":"2024-05-01T12:00:05.123Z"}"#,
                r#"{"$date":{"$numberLong":"1714564805123"}}"#,
                r#""2024-05-01T12:00:05.123Z""#,
            ),
            (
                kind::BINARY,
                b"\x02\0\0\0\0\x01\x02".to_vec(),
                r#"{"$binary":{"base64":"AQI=","subType":"00"}}"#,
                r#"{"$binary":{"base64":"AQI=","subType":"00"}}"#,
                r#""AQI=""#,
            ),
            (
                kind::TIMESTAMP,
                (5_u64 << 32 | 6).to_le_bytes().to_vec(),
                r#"{"$timestamp":{"t":5,"i":6}}"#,
                r#"{"$timestamp":{"t":5,"i":6}}"#,
                r#"{"t":5,"i":6}"#,
            ),
            (
                kind::REGEX,
                b"a/\0i\0".to_vec(),
                r#"{"$regularExpression":{"pattern":"a/","options":"i"}}"#,
                r#"{"$regularExpression":{"pattern":"a/","options":"i"}}"#,
                r#""/a//i""#,
            ),
        ] {
            for (mode, text) in [
                (Mode::Relaxed, relaxed),
                (Mode::Canonical, canonical),
                (Mode::Plain, plain),
            ] {
                let found = written(&[element(type_, b"a", &bytes)], mode);
                assert_eq!(found, Some(format!("{{\"a\":{text}}}")));
            }
        }
    }

    #[test]
    fn documents_and_arrays_nest() {
        let array = bson(&[
            element(kind::INT32, b"0", &[1, 0, 0, 0]),
            element(kind::DOCUMENT, b"1", &bson(&[])),
        ]);
        let elements = [
            element(kind::ARRAY, b"a", &array),
            element(kind::NULL, b"b", &[]),
        ];
        let text = r#"{"a":[1,{}],"b":null}"#;
        assert_eq!(written(&elements, Mode::Relaxed).as_deref(), Some(text));
    }

    #[test]
    fn names_of_type_wrappers_are_left_except_in_plain_json() {
        for name in RESERVED.into_iter().chain([UNDEFINED]) {
            let elements = [element(kind::NULL, name.as_bytes(), &[])];
            assert_eq!(written(&elements, Mode::Relaxed), None);
            assert_eq!(written(&elements, Mode::Canonical), None);
            assert!(written(&elements, Mode::Plain).is_some());
        }
        let similar = [element(kind::NULL, b"$set", &[])];
        assert_eq!(
            written(&similar, Mode::Relaxed).as_deref(),
            Some(r#"{"$set":null}"#)
        );
    }
}
