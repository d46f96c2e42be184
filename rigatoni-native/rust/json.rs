//! From raw BSON to JSON in one pass: Extended JSON v2 relaxed and canonical, and plain JSON.
//!
//! The reference is `rigatoni_bson.json_encoder`; what stands there stands here to the letter. A document that needs more
//! (text that is not UTF-8, names that look like type wrappers, deprecated types, damage) is left to it.

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

/// Field names that would be read back as a type.
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

/// Append the document's JSON. `None`: it is left to the reference, and `out` holds a part of it.
pub fn document(out: &mut Vec<u8>, elements: Elements<'_>, mode: Mode) -> Option<()> {
    Writer { out, mode }.document(elements, 0)
}

/// Append the JSON of a document of these elements, each of them bare.
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
            if named.first() == Some(&b'$') && self.mode != Mode::Plain {
                let name = std::str::from_utf8(&named[..text::zero(named)?]).ok()?;
                if RESERVED.contains(&name) || name == UNDEFINED {
                    return None;
                }
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
        let ordinary = (0..numbers::YEAR_10000).contains(&milliseconds);
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

    /// A number as it is, or as a text in a wrapper.
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
