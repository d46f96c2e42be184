//! Change events as columns in Arrow's layout. Python creates arrays from the buffers.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::bson::Elements;
use crate::columns::{Columns, bitmap, validity};
use crate::event::{Event, Field};
use crate::fallbacks;
use crate::findings::{Findings, MOST_NAMES};
use crate::nested::{Column, Type};
use crate::python::{document, mode_named};

/// A column's validity bitmap (`None` if no value is null), its offsets and its data, if it has them.
type Buffers<'py> = (
    Option<Bound<'py, PyBytes>>,
    Option<Bound<'py, PyBytes>>,
    Option<Bound<'py, PyBytes>>,
);

/// The columns, the inner columns of each nested one, and the indices of the events that have no row.
type Table<'py> = (Vec<Buffers<'py>>, Vec<Vec<Buffers<'py>>>, Vec<usize>);

/// The change events as columns. Documents with a type become nested columns.
#[pyfunction]
pub fn arrow_columns<'py>(
    py: Python<'py>,
    buffer: &Bound<'py, PyBytes>,
    offsets: PyBuffer<u64>,
    mode: &str,
    types: [Option<Bound<'py, PyAny>>; 3],
) -> PyResult<Table<'py>> {
    let mode = mode_named(mode)?;
    let (raw, offsets) = (buffer.as_bytes(), offsets.to_vec(py)?);
    let mut nested = [None, None, None];
    for (column, described) in nested.iter_mut().zip(types) {
        *column = described
            .map(|described| column_of(&described))
            .transpose()?;
    }
    let (columns, left) = py.detach(|| {
        let mut columns = Columns::new(mode, nested);
        let mut left = Vec::new();
        for (index, pair) in offsets.windows(2).enumerate() {
            if document(raw, pair[0], pair[1])
                .and_then(Event::of)
                .and_then(|event| columns.row(&event))
                .is_none()
            {
                fallbacks::count_event(document(raw, pair[0], pair[1]), Some(mode));
                left.push(index);
            }
        }
        (columns, left)
    });
    let bytes = |raw: &[u8]| Some(PyBytes::new(py, raw));
    let flat = columns.columns.iter().map(|column| {
        let valid = validity(&column.present).and_then(|bits| bytes(&bits));
        if column.ends.is_empty() {
            (valid, None, bytes(&integers(&column.numbers)))
        } else {
            (valid, bytes(&integers(&column.ends)), bytes(&column.text))
        }
    });
    let within = columns.nested.iter().flatten().map(|column| {
        let buffers = column.all().into_iter().map(|column| {
            let valid = validity(&column.present).and_then(|bits| bytes(&bits));
            let ends: Vec<u8> = column
                .ends
                .iter()
                .flat_map(|end| end.to_le_bytes())
                .collect();
            let ends = (!ends.is_empty()).then(|| bytes(&ends)).flatten();
            let data = match column.kind {
                Type::Array(_) | Type::Struct(_) => None,
                Type::Bool => bytes(&bitmap(column.data.iter().map(|byte| *byte == 1))),
                _ => bytes(&column.data),
            };
            (valid, ends, data)
        });
        buffers.collect()
    });
    Ok((flat.collect(), within.collect(), left))
}

fn integers(values: &[i64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// A column of the described type: a name, a list of one type, or a dict of fields.
fn column_of(described: &Bound<'_, PyAny>) -> PyResult<Column> {
    let kind = if let Ok(fields) = described.cast::<PyDict>() {
        let columns = fields.iter().map(|(name, described)| {
            let name = name.extract::<String>()?.into_bytes().into_boxed_slice();
            Ok((name, column_of(&described)?))
        });
        Type::Struct(columns.collect::<PyResult<_>>()?)
    } else if let Ok(item) = described.cast::<PyList>() {
        Type::Array(Box::new(column_of(&item.get_item(0)?)?))
    } else {
        let name: String = described.extract()?;
        Type::scalar(&name).ok_or_else(|| PyTypeError::new_err(format!("unknown type {name:?}")))?
    };
    Ok(Column::new(kind))
}

/// The findings about document keys, and about both images together; `None` if they are left to the reference.
///
/// Of each `together` events, all images after the change are inspected before all those before it.
#[pyfunction]
pub fn document_findings<'py>(
    py: Python<'py>,
    buffer: &Bound<'py, PyBytes>,
    offsets: PyBuffer<u64>,
    together: usize,
) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
    let (raw, offsets) = (buffer.as_bytes(), offsets.to_vec(py)?);
    let found = py.detach(|| {
        let (mut keys, mut images) = (Findings::default(), Findings::default());
        let (mut room, mut images_room) = (MOST_NAMES, MOST_NAMES);
        let pairs: Vec<_> = offsets.windows(2).collect();
        for chunk in pairs.chunks(together.max(1)) {
            let mut events = Vec::with_capacity(chunk.len());
            for pair in chunk {
                events.push(document(raw, pair[0], pair[1]).and_then(Event::of)?);
            }
            for event in &events {
                note(&mut keys, &event.document_key, &mut room)?;
            }
            for event in &events {
                note(&mut images, &event.full_document, &mut images_room)?;
            }
            for event in &events {
                note(
                    &mut images,
                    &event.full_document_before_change,
                    &mut images_room,
                )?;
            }
        }
        Some((keys, images))
    });
    if found.is_none() {
        fallbacks::count(fallbacks::Reason::Inference);
    }
    found
        .map(|(keys, images)| Ok((plain(py, &keys)?, plain(py, &images)?)))
        .transpose()
}

fn note(findings: &mut Findings, field: &Field<'_>, room: &mut usize) -> Option<()> {
    match field {
        Field::Document(raw) => findings.note(Elements::of(raw)?, room),
        Field::Absent | Field::Null => Some(()),
    }
}

/// Findings as plain values: kinds, floats, large, fields, item.
fn plain<'py>(py: Python<'py>, findings: &Findings) -> PyResult<Bound<'py, PyAny>> {
    let fields = findings
        .fields
        .iter()
        .map(|(name, inner)| Ok((&**name, plain(py, inner)?)));
    let item = findings
        .item
        .as_deref()
        .map(|inner| plain(py, inner))
        .transpose()?;
    let all = (
        findings.kinds.clone(),
        findings.floats,
        findings.large,
        fields.collect::<PyResult<Vec<_>>>()?,
        item,
    );
    Ok(all.into_pyobject(py)?.into_any())
}
