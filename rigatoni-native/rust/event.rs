//! Reads the fields of a change event that tables have columns for, in one pass over its top level.
//!
//! The reference is `rigatoni_bson.fields`. An event is left to it if a field has an unexpected type, occurs twice, or
//! is a namespace of another shape.

use crate::bson::{Elements, kind};
use crate::json::{self, Mode};

/// A field that holds a document.
#[derive(Clone, Copy, Default)]
pub enum Field<'a> {
    #[default]
    Absent,
    Null,
    /// The bytes of a complete document.
    Document(&'a [u8]),
}

/// The fields of one event, in the order of the columns.
#[derive(Default)]
pub struct Event<'a> {
    pub resume_token: Field<'a>,
    pub operation: Option<&'a str>,
    pub database: Option<&'a str>,
    pub collection: Option<&'a str>,
    /// Seconds and increment.
    pub cluster_time: Option<(u32, u32)>,
    /// Milliseconds since the epoch.
    pub wall_time: Option<i64>,
    pub document_key: Field<'a>,
    pub full_document: Field<'a>,
    pub full_document_before_change: Field<'a>,
    pub update_description: Field<'a>,
    pub lsid: Field<'a>,
    pub txn_number: Option<i64>,
    /// All other elements in the order of the event.
    pub unknown: Vec<&'a [u8]>,
}

impl<'a> Event<'a> {
    pub fn of(mut elements: Elements<'a>) -> Option<Self> {
        let mut event = Self::default();
        while !elements.is_empty() {
            let before = elements;
            let mut element = elements.next()?;
            let value = &mut element.value;
            match (element.kind, element.name) {
                (kind::DOCUMENT, b"_id") => once(
                    &mut event.resume_token,
                    Field::Document(value.raw_document()?),
                )?,
                (kind::STRING, b"operationType") => {
                    only(&mut event.operation, text(value.string()?)?)?
                }
                (kind::DOCUMENT, b"ns") => event.namespace(value.document()?)?,
                (kind::TIMESTAMP, b"clusterTime") => {
                    let time = value.u64()?;
                    only(&mut event.cluster_time, ((time >> 32) as u32, time as u32))?;
                }
                (kind::DATE, b"wallTime") => only(&mut event.wall_time, value.i64()?)?,
                (kind::INT64, b"txnNumber") => only(&mut event.txn_number, value.i64()?)?,
                (
                    _,
                    b"_id" | b"operationType" | b"ns" | b"clusterTime" | b"wallTime" | b"txnNumber",
                ) => return None,
                (type_, name) => match event.field(name) {
                    Some(field) if type_ == kind::DOCUMENT => {
                        once(field, Field::Document(value.raw_document()?))?
                    }
                    Some(field) if type_ == kind::NULL => once(field, Field::Null)?,
                    Some(_) => return None,
                    None => {
                        value.skip(type_)?;
                        elements.after(value);
                        event.unknown.push(before.until(&elements));
                        continue;
                    }
                },
            }
            elements.after(value);
        }
        Some(event)
    }

    fn field(&mut self, name: &[u8]) -> Option<&mut Field<'a>> {
        match name {
            b"documentKey" => Some(&mut self.document_key),
            b"fullDocument" => Some(&mut self.full_document),
            b"fullDocumentBeforeChange" => Some(&mut self.full_document_before_change),
            b"updateDescription" => Some(&mut self.update_description),
            b"lsid" => Some(&mut self.lsid),
            _ => None,
        }
    }

    /// `{db}` or `{db, coll}`, in this order and nothing else.
    fn namespace(&mut self, mut elements: Elements<'a>) -> Option<()> {
        for (name, place) in [
            (&b"db"[..], &mut self.database),
            (&b"coll"[..], &mut self.collection),
        ] {
            if elements.is_empty() && name == b"coll" {
                break;
            }
            let mut element = elements.next()?;
            if element.kind != kind::STRING || element.name != name {
                return None;
            }
            only(place, text(element.value.string()?)?)?;
            elements.after(&element.value);
        }
        elements.is_empty().then_some(())
    }
}

impl Field<'_> {
    /// Append the JSON of the field, or `null`. Returns whether the field is present; `None`: see `json`.
    pub fn json(&self, out: &mut Vec<u8>, mode: Mode) -> Option<bool> {
        match self {
            Self::Absent => return Some(false),
            Self::Null => out.extend_from_slice(b"null"),
            Self::Document(raw) => json::document(out, Elements::of(raw)?, mode)?,
        }
        Some(true)
    }
}

fn once<'a>(place: &mut Field<'a>, field: Field<'a>) -> Option<()> {
    matches!(place, Field::Absent).then(|| *place = field)
}

fn only<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.is_none().then(|| *place = Some(value))
}

/// A text without a zero, which tables cannot store.
fn text(value: &str) -> Option<&str> {
    (!value.contains('\0')).then_some(value)
}
