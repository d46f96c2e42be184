//! Converts many raw change events at a time, without the Python interpreter.
//!
//! Every function takes consecutive BSON documents in one `bytes` object, with their offsets. It produces exactly the
//! bytes of the pure Python implementation. Rare and damaged documents are left to that implementation: the function
//! returns their indices, and `fallbacks` counts them by reason.
//!
//! Without the feature `python` the crate contains no bindings, so unit tests build and link without an interpreter.

#![cfg_attr(not(feature = "python"), allow(dead_code))]

#[cfg(feature = "python")]
mod arrow;
mod avro;
mod bson;
mod columns;
mod csv;
mod deltas;
mod event;
mod fallbacks;
mod findings;
mod json;
mod masks;
mod nested;
mod numbers;
#[cfg(feature = "python")]
mod python;
mod rewriting;
mod rules;
mod snapshot_rows;
#[cfg(test)]
mod testing;
mod text;
#[cfg(feature = "python")]
mod transforms;
