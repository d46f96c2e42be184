//! Raw change events to text, many at a time, without the interpreter.
//!
//! Everything takes consecutive BSON documents in one `bytes` object with their offsets, releases the interpreter for
//! the whole of the work, and does what the pure path in Python does, to the letter. What is rare or damaged is left
//! to that path: its index is answered instead.

mod arrow;
mod avro;
mod bson;
mod columns;
mod csv;
mod event;
mod findings;
mod json;
mod nested;
mod numbers;
mod text;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use bson::Elements;
use event::Event;
use json::Mode;

/// The document between two offsets; `None` where they do not lie within the buffer in order.
fn document<'a>(buffer: &'a [u8], start: u64, end: u64) -> Option<Elements<'a>> {
    Elements::of(buffer.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)?)
}

/// Documents one after another, with something behind the last one, and their offsets: 64-bit numbers of this machine.
type Documents<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// The documents of a BSON array. `None` where it is no such array.
///
/// They are copied: what a socket was read into may change while the interpreter is released, and `bytes` do not.
#[pyfunction]
fn documents_of<'py>(py: Python<'py>, array: PyBuffer<u8>) -> PyResult<Option<Documents<'py>>> {
    let mut offsets = None;
    let documents = PyBytes::new_with(py, array.item_count(), |out| {
        array.copy_to_slice(py, out)?;
        offsets = bson::gather(out);
        Ok(())
    })?;
    Ok(offsets.map(|offsets| (documents, PyBytes::new(py, &offsets))))
}

/// How many bytes the documents have together.
fn size(offsets: &[u64], buffer: &[u8]) -> usize {
    let (first, last) = (offsets.first().unwrap_or(&0), offsets.last().unwrap_or(&0));
    usize::try_from(last.saturating_sub(*first))
        .unwrap_or(usize::MAX)
        .min(buffer.len())
}

/// A text, and for each document that is not in it its index and where in the text it belongs.
type Lines<'py> = (Bound<'py, PyBytes>, Vec<(usize, usize)>);

/// Each document as JSON with a newline behind it: all lines in one, and what is left to the caller.
///
/// `buffer[offsets[i]:offsets[i + 1]]` is document `i`. For each document that is left out, the second answer has its
/// index, and where in the text its line belongs.
#[pyfunction]
fn json_lines<'py>(
    py: Python<'py>,
    buffer: &Bound<'py, PyBytes>,
    offsets: PyBuffer<u64>,
    mode: &str,
) -> PyResult<Lines<'py>> {
    let mode = Mode::named(mode)
        .ok_or_else(|| PyValueError::new_err(format!("there is no mode {mode:?}")))?;
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
                out.truncate(start);
                left.push((index, start));
            }
        }
        (out, left)
    });
    Ok((PyBytes::new(py, &text), left))
}

/// Each change event as a CSV row that ends in its ordinal; `json_lines` says what the arguments and the answer are.
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
                rows.out.truncate(start);
                left.push((index, start));
            }
        }
        (rows.out, left)
    });
    Ok((PyBytes::new(py, &text), left))
}

/// Rows, where each ends, and for each event that is left out its index and where in the rows it belongs.
type Rows<'py> = (Bound<'py, PyBytes>, Vec<usize>, Vec<(usize, usize)>);

/// Each change event in Avro's binary encoding, its ordinal last. Without a mode documents are their own bytes.
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
                rows.out.truncate(start);
                left.push((index, start));
            }
        }
        (rows.out, ends, left)
    });
    Ok((PyBytes::new(py, &text), ends, left))
}

/// The ordinals, one for each document between the offsets.
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

fn mode_named(name: &str) -> PyResult<Mode> {
    Mode::named(name).ok_or_else(|| PyValueError::new_err(format!("there is no mode {name:?}")))
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(arrow::arrow_columns, module)?)?;
    module.add_function(wrap_pyfunction!(avro_rows, module)?)?;
    module.add_function(wrap_pyfunction!(documents_of, module)?)?;
    module.add_function(wrap_pyfunction!(arrow::document_findings, module)?)?;
    module.add_function(wrap_pyfunction!(json_lines, module)?)?;
    module.add_function(wrap_pyfunction!(csv_rows, module)?)
}
