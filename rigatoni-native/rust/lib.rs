//! Raw change events to text, many at a time, without the interpreter.
//!
//! Everything takes consecutive BSON documents in one `bytes` object with their offsets, releases the interpreter for
//! the whole of the work, and does what the pure path in Python does, to the letter. What is rare or damaged is left
//! to that path: its index is answered instead.

mod bson;
mod json;
mod numbers;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use bson::Elements;
use json::Mode;

/// The document between two offsets; `None` where they do not lie within the buffer in order.
fn document<'a>(buffer: &'a [u8], start: u64, end: u64) -> Option<Elements<'a>> {
    Elements::of(buffer.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)?)
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
    offsets: Vec<u64>,
    mode: &str,
) -> PyResult<Lines<'py>> {
    let mode = Mode::named(mode)
        .ok_or_else(|| PyValueError::new_err(format!("there is no mode {mode:?}")))?;
    let raw = buffer.as_bytes();
    let (text, left) = py.detach(|| {
        let mut out = Vec::with_capacity(raw.len() + raw.len() / 4);
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

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(json_lines, module)?)
}
