//! The functions of the Python module. The interpreter is released while they work.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyBytes, PyDict};

use crate::bson::{self, Elements};
use crate::event::Event;
use crate::json::{self, Mode};
use crate::snapshot_rows::{Rows as SnapshotRows, Shape};
use crate::transforms::{self, PyRewriter};
use crate::{arrow, avro, csv, fallbacks};

/// The document between two offsets; `None` if these are not in order or not in the buffer.
pub fn document<'a>(buffer: &'a [u8], start: u64, end: u64) -> Option<Elements<'a>> {
    Elements::of(raw_between(buffer, start, end)?)
}

/// The bytes between two offsets; `None` if these are not in order or not in the buffer.
pub fn raw_between(buffer: &[u8], start: u64, end: u64) -> Option<&[u8]> {
    buffer.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

/// Consecutive documents, followed by unused bytes, and their offsets as native 64-bit integers.
type Documents<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// Copies of the documents of a BSON array. `None` if it is not such an array.
///
/// The driver may change its receive buffer while the interpreter is released, so the documents are copied.
#[pyfunction]
fn documents_of<'py>(py: Python<'py>, array: PyBuffer<u8>) -> PyResult<Option<Documents<'py>>> {
    let mut offsets = None;
    let documents = PyBytes::new_with(py, array.item_count(), |out| {
        array.copy_to_slice(py, out)?;
        offsets = bson::gather(out);
        Ok(())
    })?;
    if offsets.is_none() {
        fallbacks::count(fallbacks::Reason::Damaged);
    }
    Ok(offsets.map(|offsets| (documents, PyBytes::new(py, &offsets))))
}

/// The size of all documents in bytes.
fn size(offsets: &[u64], buffer: &[u8]) -> usize {
    let (first, last) = (offsets.first().unwrap_or(&0), offsets.last().unwrap_or(&0));
    usize::try_from(last.saturating_sub(*first))
        .unwrap_or(usize::MAX)
        .min(buffer.len())
}

/// A text, and for each omitted document its index and its place in the text.
type Lines<'py> = (Bound<'py, PyBytes>, Vec<(usize, usize)>);

/// The documents as JSON lines, and the documents that are left to the caller.
///
/// Document `i` is `buffer[offsets[i]:offsets[i + 1]]`.
#[pyfunction]
fn json_lines<'py>(
    py: Python<'py>,
    buffer: &Bound<'py, PyBytes>,
    offsets: PyBuffer<u64>,
    mode: &str,
) -> PyResult<Lines<'py>> {
    let mode = mode_named(mode)?;
    let (raw, offsets) = (buffer.as_bytes(), offsets.to_vec(py)?);
    let (text, left) = py.detach(|| {
        let mut out = Vec::with_capacity(size(&offsets, raw) * 5 / 4);
        let mut left = Vec::new();
        for (index, pair) in offsets.windows(2).enumerate() {
            let start = out.len();
            let written = document(raw, pair[0], pair[1])
                .and_then(|found| json::document(&mut out, found, mode));
            if written.is_some() {
                out.push(b'\n');
            } else {
                fallbacks::count_document(document(raw, pair[0], pair[1]), mode);
                out.truncate(start);
                left.push((index, start));
            }
        }
        (out, left)
    });
    Ok((PyBytes::new(py, &text), left))
}

/// The change events as CSV rows, each with its ordinal as the last cell. See `json_lines`.
#[pyfunction]
#[allow(clippy::too_many_arguments)] // each is an argument of the Python function
fn csv_rows<'py>(
    py: Python<'py>,
    buffer: &Bound<'py, PyBytes>,
    offsets: PyBuffer<u64>,
    ordinals: PyBuffer<i64>,
    mode: &str,
    delimiter: &[u8],
    null: &[u8],
    spreadsheet_safe: bool,
) -> PyResult<Lines<'py>> {
    let mode = mode_named(mode)?;
    let (raw, offsets) = (buffer.as_bytes(), offsets.to_vec(py)?);
    let ordinals = one_for_each(ordinals.to_vec(py)?, &offsets)?;
    let (text, left) = py.detach(|| {
        let mut rows = csv::Rows::new(
            mode,
            delimiter,
            null,
            spreadsheet_safe,
            size(&offsets, raw) * 3 / 2,
        );
        let mut left = Vec::new();
        for (index, (pair, ordinal)) in offsets.windows(2).zip(ordinals).enumerate() {
            let start = rows.out.len();
            if document(raw, pair[0], pair[1])
                .and_then(Event::of)
                .and_then(|event| rows.row(&event, ordinal))
                .is_none()
            {
                fallbacks::count_event(document(raw, pair[0], pair[1]), Some(mode));
                rows.out.truncate(start);
                left.push((index, start));
            }
        }
        (rows.out, left)
    });
    Ok((PyBytes::new(py, &text), left))
}

/// Rows, the end of each, and for each omitted event its index and its place in the rows.
type Rows<'py> = (Bound<'py, PyBytes>, Vec<usize>, Vec<(usize, usize)>);

/// The change events in Avro's binary encoding, each with its ordinal. Without a mode, documents are their original
/// bytes.
#[pyfunction]
fn avro_rows<'py>(
    py: Python<'py>,
    buffer: &Bound<'py, PyBytes>,
    offsets: PyBuffer<u64>,
    ordinals: PyBuffer<i64>,
    mode: Option<&str>,
) -> PyResult<Rows<'py>> {
    let mode = mode.map(mode_named).transpose()?;
    let (raw, offsets) = (buffer.as_bytes(), offsets.to_vec(py)?);
    let ordinals = one_for_each(ordinals.to_vec(py)?, &offsets)?;
    let (text, ends, left) = py.detach(|| {
        let mut rows = avro::Rows::new(mode, size(&offsets, raw) * 5 / 4);
        let (mut ends, mut left) = (Vec::new(), Vec::new());
        for (index, (pair, ordinal)) in offsets.windows(2).zip(ordinals).enumerate() {
            let start = rows.out.len();
            if document(raw, pair[0], pair[1])
                .and_then(Event::of)
                .and_then(|event| rows.row(&event, ordinal))
                .is_some()
            {
                ends.push(rows.out.len());
            } else {
                fallbacks::count_event(document(raw, pair[0], pair[1]), mode);
                rows.out.truncate(start);
                left.push((index, start));
            }
        }
        (rows.out, ends, left)
    });
    Ok((PyBytes::new(py, &text), ends, left))
}

/// The documents of a collection as rows of a snapshot, and the offsets of the rows. `None` if one of them is left to the
/// caller, which then makes all of them.
#[pyfunction]
fn snapshot_rows<'py>(
    py: Python<'py>,
    buffer: &Bound<'py, PyBytes>,
    offsets: PyBuffer<u64>,
    snapshot: &[u8],
    shared: &[u8],
) -> PyResult<Option<Documents<'py>>> {
    let (raw, offsets) = (buffer.as_bytes(), offsets.to_vec(py)?);
    let shape = Shape { snapshot, shared };
    let made = py.detach(|| {
        let mut rows = SnapshotRows::new(offsets.len(), size(&offsets, raw));
        for pair in offsets.windows(2) {
            let added = raw_between(raw, pair[0], pair[1])
                .ok_or(fallbacks::Reason::Damaged)
                .and_then(|document| rows.row(document, &shape));
            if let Err(reason) = added {
                fallbacks::count(reason);
                return None;
            }
        }
        Some(rows)
    });
    Ok(made.map(|rows| {
        let offsets: Vec<u8> = rows
            .offsets
            .iter()
            .flat_map(|each| each.to_ne_bytes())
            .collect();
        (PyBytes::new(py, &rows.out), PyBytes::new(py, &offsets))
    }))
}

/// The ordinals, after a check that there is one for each document.
fn one_for_each(ordinals: Vec<i64>, offsets: &[u64]) -> PyResult<Vec<i64>> {
    if ordinals.len() == offsets.len().saturating_sub(1) {
        return Ok(ordinals);
    }
    Err(PyValueError::new_err(format!(
        "{} ordinals for {} offsets",
        ordinals.len(),
        offsets.len()
    )))
}

pub fn mode_named(name: &str) -> PyResult<Mode> {
    Mode::named(name).ok_or_else(|| PyValueError::new_err(format!("unknown mode {name:?}")))
}

/// The number of documents left to the reference implementation since the process started, by reason.
#[pyfunction]
#[pyo3(name = "fallbacks")]
fn fallback_counts<'py>(py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
    fallbacks::NAMES
        .into_iter()
        .zip(fallbacks::counts())
        .into_py_dict(py)
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyRewriter>()?;
    module.add_function(wrap_pyfunction!(transforms::rewriter, module)?)?;
    module.add_function(wrap_pyfunction!(arrow::arrow_columns, module)?)?;
    module.add_function(wrap_pyfunction!(avro_rows, module)?)?;
    module.add_function(wrap_pyfunction!(documents_of, module)?)?;
    module.add_function(wrap_pyfunction!(fallback_counts, module)?)?;
    module.add_function(wrap_pyfunction!(arrow::document_findings, module)?)?;
    module.add_function(wrap_pyfunction!(json_lines, module)?)?;
    module.add_function(wrap_pyfunction!(snapshot_rows, module)?)?;
    module.add_function(wrap_pyfunction!(csv_rows, module)?)
}
