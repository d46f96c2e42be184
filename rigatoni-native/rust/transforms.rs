//! The Python bindings of `select` and `mask`. The interpreter is released while they work.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::fallbacks::{self, Reason};
use crate::masks::Method;
use crate::python::raw_between;
use crate::rewriting::Rewriter;
use crate::rules::{Glob, Number, Rule, Rules, State, Steps};

/// A rule in the notation of `rigatoni_transforms.matching`: its name, a number and bytes.
type SpelledRule = (String, usize, Vec<u8>);

/// The states of steps: by name, and of all others.
type SpelledSteps = (Vec<(Vec<u8>, Number)>, Option<Number>);

/// A rule, the states of fields, and the states of elements.
type SpelledState = (Option<SpelledRule>, SpelledSteps, SpelledSteps);

/// Rewritten events and their offsets as native 64-bit integers, and the events that are left to the caller.
type Rewritten<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, Vec<usize>);

/// The rules of a transform, for any number of batches.
#[pyclass(frozen, name = "Rewriter", module = "rigatoni_native")]
pub struct PyRewriter {
    rules: Rules,
}

/// The rules with these states, of which the first is at the top of documents.
#[pyfunction]
pub fn rewriter(
    states: Vec<SpelledState>,
    keeps_others: bool,
    collections: Option<Vec<String>>,
) -> PyResult<PyRewriter> {
    let states = states.into_iter().map(state).collect::<PyResult<_>>()?;
    let globs = collections.map(|names| names.iter().map(|name| Glob::new(name)).collect());
    Rules::new(states, keeps_others, globs)
        .map(|rules| PyRewriter { rules })
        .ok_or_else(|| PyValueError::new_err("a state leads to one that does not exist"))
}

#[pymethods]
impl PyRewriter {
    /// The events after the rules; `None` if nothing changes. Events that are left to the caller stay as they are.
    fn rewrite<'py>(
        &self,
        py: Python<'py>,
        buffer: &Bound<'py, PyBytes>,
        offsets: PyBuffer<u64>,
    ) -> PyResult<Option<Rewritten<'py>>> {
        let (raw, offsets) = (buffer.as_bytes(), offsets.to_vec(py)?);
        let (out, ends, left, is_changed) = py.detach(|| self.rewritten(raw, &offsets));
        Ok((is_changed || !left.is_empty())
            .then(|| (PyBytes::new(py, &out), PyBytes::new(py, &ends), left)))
    }
}

impl PyRewriter {
    fn rewritten(&self, raw: &[u8], offsets: &[u64]) -> (Vec<u8>, Vec<u8>, Vec<usize>, bool) {
        let mut writer = Rewriter::new(&self.rules, raw.len());
        let mut ends = Vec::with_capacity(size_of_val(offsets));
        let (mut left, mut is_changed) = (Vec::new(), false);
        for (index, pair) in offsets.windows(2).enumerate() {
            let start = writer.out.len();
            ends.extend_from_slice(&(start as u64).to_ne_bytes());
            let event = raw_between(raw, pair[0], pair[1]);
            let written = event
                .ok_or(Reason::Damaged)
                .and_then(|event| writer.event(event));
            if let Err(reason) = written {
                fallbacks::count(reason);
                left.push(index);
                writer.out.truncate(start);
                writer.out.extend_from_slice(event.unwrap_or_default());
            }
            is_changed |= event != Some(&writer.out[start..]);
        }
        ends.extend_from_slice(&(writer.out.len() as u64).to_ne_bytes());
        (writer.out, ends, left, is_changed)
    }
}

fn state((rule, fields, elements): SpelledState) -> PyResult<State> {
    Ok(State {
        rule: rule.map(rule_of).transpose()?,
        fields: steps(fields),
        elements: steps(elements),
    })
}

fn steps((named, other): SpelledSteps) -> Steps {
    let named = named
        .into_iter()
        .map(|(name, number)| (name.into(), number));
    Steps::new(named.collect(), other)
}

fn rule_of((name, number, bytes): SpelledRule) -> PyResult<Rule> {
    let unknown = || PyValueError::new_err(format!("unknown rule {name:?}"));
    Ok(match name.as_str() {
        "keep" => Rule::Keep,
        "remove" => Rule::Remove,
        "constant" => Rule::Constant {
            kind: u8::try_from(number)?,
            value: bytes.into(),
        },
        "hash" => Rule::Method(Method::hash(&bytes).ok_or_else(unknown)?),
        "partial" => Rule::Method(Method::Partial),
        "truncate" => Rule::Method(Method::Truncate(number)),
        "date_to_year" => Rule::Method(Method::DateToYear),
        _ => return Err(unknown()),
    })
}
