//! Documents as nested columns in Arrow's layout (arrow.apache.org, "Arrow Columnar Format").
//!
//! The reference is `rigatoni_arrow.types`, which splits a document into the values that fit its column and a rest.
//! Only documents without a rest are handled here. All others are left to the reference.

use crate::bson::{Elements, Value, kind};
use crate::numbers;

/// The type of a column, by MongoDB's name.
pub enum Type {
    String,
    Int,
    Long,
    Double,
    Bool,
    Date,
    ObjectId,
    Decimal,
    Uuid,
    BinData,
    Array(Box<Column>),
    Struct(Vec<(Box<[u8]>, Column)>),
}

/// A column of one type: which rows are present, the end of each if they have no fixed size, and their bytes.
pub struct Column {
    pub kind: Type,
    pub present: Vec<bool>,
    pub ends: Vec<i32>,
    pub data: Vec<u8>,
}

/// The latest date in milliseconds that readers with 64-bit microseconds can represent.
const FURTHEST_DATE: i64 = i64::MAX / 1000;

impl Type {
    /// A scalar type by its name; `None`: only the reference supports it.
    pub fn scalar(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "int" => Self::Int,
            "long" => Self::Long,
            "double" => Self::Double,
            "bool" => Self::Bool,
            "date" => Self::Date,
            "objectId" => Self::ObjectId,
            "decimal" => Self::Decimal,
            "uuid" => Self::Uuid,
            "binData" => Self::BinData,
            _ => return None,
        })
    }

    /// The size of a value in bytes; `None` if it varies.
    fn width(&self) -> Option<usize> {
        match self {
            Self::Struct(_) => Some(0),
            Self::Bool => Some(1),
            Self::Int => Some(4),
            Self::Long | Self::Double | Self::Date => Some(8),
            _ => None,
        }
    }
}

impl Column {
    pub fn new(kind: Type) -> Self {
        let ends = if kind.width().is_none() {
            vec![0]
        } else {
            vec![]
        };
        Self {
            kind,
            present: vec![],
            ends,
            data: vec![],
        }
    }

    pub fn rows(&self) -> usize {
        self.present.len()
    }

    /// Append a value. `None`: it does not fit, and a part of it may have been appended.
    pub fn push(&mut self, type_: u8, value: &mut Value<'_>) -> Option<()> {
        let data = &mut self.data;
        match (&mut self.kind, type_) {
            (Type::String, kind::STRING) => data.extend_from_slice(value.string()?.as_bytes()),
            (Type::Int, _) => {
                let number = i32::try_from(integer(type_, value)?).ok()?;
                data.extend_from_slice(&number.to_le_bytes());
            }
            (Type::Long, _) => data.extend_from_slice(&integer(type_, value)?.to_le_bytes()),
            (Type::Double, _) => data.extend_from_slice(&double(type_, value)?.to_le_bytes()),
            (Type::Bool, kind::BOOLEAN) => data.push(u8::from(value.boolean()?)),
            (Type::Date, kind::DATE) => {
                let milliseconds = value.i64()?;
                if milliseconds.unsigned_abs() > FURTHEST_DATE.unsigned_abs() {
                    return None;
                }
                data.extend_from_slice(&milliseconds.to_le_bytes());
            }
            (Type::ObjectId, kind::OBJECT_ID) => numbers::hex(data, value.bytes::<12>()?),
            (Type::Decimal, kind::DECIMAL) => numbers::decimal(data, value.u64()?, value.u64()?)?,
            (Type::Uuid, kind::BINARY) => match value.binary()? {
                (4, bytes) if bytes.len() == 16 => numbers::uuid(data, bytes),
                _ => return None,
            },
            (Type::BinData, kind::BINARY) => match value.binary()? {
                (0, bytes) => data.extend_from_slice(bytes),
                _ => return None,
            },
            (Type::Array(item), kind::ARRAY) => {
                let mut elements = value.document()?;
                let mut index = 0_u32;
                while !elements.is_empty() {
                    let mut element = elements.next()?;
                    if !numbers::is_index(element.name, index) {
                        return None;
                    }
                    index += 1;
                    match element.kind {
                        kind::NULL => item.push_null(),
                        other => item.push(other, &mut element.value)?,
                    }
                    elements.after(&element.value);
                }
                self.ends.push(i32::try_from(item.rows()).ok()?);
                self.present.push(true);
                return Some(());
            }
            (Type::Struct(_), kind::DOCUMENT) => return self.document(value.document()?),
            _ => return None,
        }
        if self.kind.width().is_none() {
            self.ends.push(i32::try_from(self.data.len()).ok()?);
        }
        self.present.push(true);
        Some(())
    }

    /// Append a document to a column of documents. See `push`.
    pub fn document(&mut self, mut elements: Elements<'_>) -> Option<()> {
        let rows = self.rows();
        let Type::Struct(fields) = &mut self.kind else {
            return None;
        };
        let mut expected = 0;
        while !elements.is_empty() {
            let mut element = elements.next()?;
            let found = (expected..fields.len())
                .chain(0..expected)
                .find(|&index| *fields[index].0 == *element.name)?;
            let field = &mut fields[found].1;
            // A name with this prefix may be a type wrapper; a repeated name fits no column.
            if element.name.first() == Some(&b'$') || field.rows() > rows {
                return None;
            }
            field.push(element.kind, &mut element.value)?;
            elements.after(&element.value);
            expected = found + 1;
        }
        for (_, field) in fields {
            if field.rows() == rows {
                field.push_null();
            }
        }
        self.present.push(true);
        Some(())
    }

    pub fn push_null(&mut self) {
        self.present.push(false);
        match self.kind.width() {
            Some(width) => self.data.resize(self.data.len() + width, 0),
            None => self.ends.extend(self.ends.last().copied()),
        }
        if let Type::Struct(fields) = &mut self.kind {
            fields.iter_mut().for_each(|(_, field)| field.push_null());
        }
    }

    /// Remove all rows after the first `rows`.
    pub fn truncate(&mut self, rows: usize) {
        self.present.truncate(rows);
        self.ends.truncate(rows + 1);
        let end = self.ends.last().map_or(0, |end| *end as usize);
        match &mut self.kind {
            Type::Array(item) => item.truncate(end),
            Type::Struct(fields) => fields
                .iter_mut()
                .for_each(|(_, field)| field.truncate(rows)),
            other => {
                let size = other.width().map_or(end, |width| width * rows);
                self.data.truncate(size);
            }
        }
    }

    /// This column and its inner columns, outer ones first.
    pub fn all(&self) -> Vec<&Self> {
        let mut found = vec![self];
        match &self.kind {
            Type::Array(item) => found.extend(item.all()),
            Type::Struct(fields) => fields
                .iter()
                .for_each(|(_, field)| found.extend(field.all())),
            _ => {}
        }
        found
    }
}

/// A number without a fraction; `None` for others, and for a negative zero.
fn integer(type_: u8, value: &mut Value<'_>) -> Option<i64> {
    match type_ {
        kind::INT32 => value.i32().map(i64::from),
        kind::INT64 => value.i64(),
        kind::DOUBLE => {
            let number = value.f64()?;
            let whole = number as i64;
            let exact = whole as f64 == number && whole != i64::MAX;
            (exact && (number != 0.0 || number.is_sign_positive())).then_some(whole)
        }
        _ => None,
    }
}

/// A number that a double holds exactly; `None` for others, and for odd encodings of NaN.
fn double(type_: u8, value: &mut Value<'_>) -> Option<f64> {
    match type_ {
        kind::DOUBLE => value
            .f64()
            .filter(|number| !number.is_nan() || number.to_bits() == numbers::NAN),
        kind::INT32 => value.i32().map(f64::from),
        kind::INT64 => value
            .i64()
            .filter(|number| *number as f64 as i128 == i128::from(*number))
            .map(|number| number as f64),
        _ => None,
    }
}
