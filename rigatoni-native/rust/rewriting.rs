//! Applies the rules of `select` and `mask` to raw change events, in one pass.
//!
//! The reference is `rigatoni_transforms.privacy`. An event that it would reject is left to it, which names the cause, and
//! so is an event whose meaning only it can decide.

use crate::bson::{DEEPEST, Elements, close, kind, open};
use crate::fallbacks::Reason;
use crate::rules::{Fate, Number, Rule, Rules, TOP};

/// Writes events after the rules, one after another.
pub struct Rewriter<'a> {
    pub rules: &'a Rules,
    pub out: Vec<u8>,
    /// The namespace of an earlier event, and whether events of it are changed: mostly all are of one.
    namespace: (Vec<u8>, bool),
}

impl<'a> Rewriter<'a> {
    pub fn new(rules: &'a Rules, size: usize) -> Self {
        Self {
            rules,
            out: Vec::with_capacity(size),
            namespace: (Vec::new(), true),
        }
    }

    /// Write an event after the rules.
    pub fn event(&mut self, raw: &[u8]) -> Result<(), Reason> {
        let mut elements = Elements::of(raw).ok_or(Reason::Damaged)?;
        if !self.is_concerned(elements)? {
            self.out.extend_from_slice(raw);
            return Ok(());
        }
        let start = open(&mut self.out);
        let mut kept = elements;
        while !elements.is_empty() {
            let before = elements;
            let mut element = elements.next().ok_or(Reason::Damaged)?;
            let value = element.raw()?;
            elements.after(&element.value);
            let part = match element.name {
                // The fields of an event without parts of documents (MongoDB manual, "Change Events").
                b"_id"
                | b"operationType"
                | b"clusterTime"
                | b"wallTime"
                | b"ns"
                | b"nsType"
                | b"to"
                | b"collectionUUID"
                | b"lsid"
                | b"txnNumber"
                | b"splitEvent"
                | b"operationDescription"
                | b"stateBeforeChange" => continue,
                b"fullDocument"
                | b"fullDocumentBeforeChange"
                | b"documentKey"
                | b"updateDescription" => {
                    if element.kind == kind::NULL {
                        continue;
                    }
                    if element.kind != kind::DOCUMENT {
                        return Err(Reason::Event);
                    }
                    Some(Elements::of(value).ok_or(Reason::Damaged)?)
                }
                _ => None, // not known, so it is removed
            };
            if let (Some(key), b"documentKey") = (part, element.name) {
                self.check_key(key)?;
                continue;
            }
            self.out.extend_from_slice(kept.until(&before));
            kept = elements;
            if let Some(part) = part {
                element.write_head(&mut self.out);
                if element.name == b"updateDescription" {
                    self.description(part)?;
                } else {
                    self.document(part, TOP, false, 1)?;
                }
            }
        }
        self.out.extend_from_slice(kept.until(&elements));
        close(&mut self.out, start)
    }

    /// Whether the event is of a collection that is changed.
    fn is_concerned(&mut self, mut elements: Elements<'_>) -> Result<bool, Reason> {
        let Some(collections) = &self.rules.collections else {
            return Ok(true);
        };
        let mut namespace = None;
        while !elements.is_empty() {
            let mut element = elements.next().ok_or(Reason::Damaged)?;
            let value = element.raw()?;
            elements.after(&element.value);
            if (element.kind, element.name) == (kind::DOCUMENT, b"ns")
                && namespace.replace(value).is_some()
            {
                return Err(Reason::Event);
            }
        }
        let Some(namespace) = namespace else {
            return Ok(true); // it may be of any
        };
        if self.namespace.0 != namespace {
            let name = full_name(namespace)?;
            let is_concerned =
                name.is_none_or(|name| collections.iter().any(|glob| glob.matches(&name)));
            self.namespace = (namespace.to_vec(), is_concerned);
        }
        Ok(self.namespace.1)
    }

    /// Leave the event if a rule changes a field of the document key: the reference refuses it.
    fn check_key(&self, mut key: Elements<'_>) -> Result<(), Reason> {
        while !key.is_empty() {
            let mut element = key.next().ok_or(Reason::Damaged)?;
            element.raw()?;
            key.after(&element.value);
            if element.name != b"_id" {
                let state = self.place(element.name, false)?.state;
                let is_nested = matches!(element.kind, kind::DOCUMENT | kind::ARRAY);
                if self.rules.fate(state, is_nested) != Fate::Stays {
                    return Err(Reason::Event);
                }
            }
        }
        Ok(())
    }

    /// Write a document (or an array) after the rules. A removed element of an array becomes null.
    fn document(
        &mut self,
        mut elements: Elements<'_>,
        state: Number,
        is_array: bool,
        depth: usize,
    ) -> Result<(), Reason> {
        if depth > DEEPEST {
            return Err(Reason::Depth);
        }
        let rules = self.rules;
        let state = rules.state(state);
        let steps = if is_array {
            &state.elements
        } else {
            &state.fields
        };
        let start = open(&mut self.out);
        let mut kept = elements;
        while !elements.is_empty() {
            let before = elements;
            let mut element = elements.next().ok_or(Reason::Damaged)?;
            let value = element.raw()?;
            elements.after(&element.value);
            let is_nested = matches!(element.kind, kind::DOCUMENT | kind::ARRAY);
            let fate = rules.fate(steps.find(element.name), is_nested);
            if fate == Fate::Stays {
                continue;
            }
            self.out.extend_from_slice(kept.until(&before));
            kept = elements;
            if let Fate::Changes(place) = fate {
                let head = element.write_head(&mut self.out);
                self.out[head] = self.value(element.kind, value, place, depth)?;
            } else if is_array {
                let head = element.write_head(&mut self.out);
                self.out[head] = kind::NULL;
            }
        }
        self.out.extend_from_slice(kept.until(&elements));
        close(&mut self.out, start)
    }

    /// Write the value at a place at which it changes. Returns its type.
    pub fn value(
        &mut self,
        type_: u8,
        value: &[u8],
        place: Number,
        depth: usize,
    ) -> Result<u8, Reason> {
        let rules = self.rules;
        match &rules.state(place).rule {
            Some(Rule::Constant { kind, value }) => {
                self.out.extend_from_slice(value);
                Ok(*kind)
            }
            Some(Rule::Method(method)) => method.write(&mut self.out, type_, value, depth + 1),
            _ => {
                let inner = Elements::of(value).ok_or(Reason::Damaged)?;
                self.document(inner, place, type_ == kind::ARRAY, depth + 1)?;
                Ok(type_)
            }
        }
    }
}

/// The database, a dot and the collection of a namespace; `None` if it does not have both.
fn full_name(namespace: &[u8]) -> Result<Option<Vec<u8>>, Reason> {
    let (mut database, mut collection) = (None, None);
    let mut elements = Elements::of(namespace).ok_or(Reason::Damaged)?;
    while !elements.is_empty() {
        let mut element = elements.next().ok_or(Reason::Damaged)?;
        let name = match (element.kind, element.name) {
            (kind::STRING, b"db") => Some(&mut database),
            (kind::STRING, b"coll") => Some(&mut collection),
            _ => None,
        };
        match name {
            Some(name) => *name = Some(element.value.text().ok_or(Reason::Damaged)?),
            None => element.raw().map(|_| ())?,
        }
        elements.after(&element.value);
    }
    Ok(database
        .zip(collection)
        .map(|(database, collection)| [database, b".", collection].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Glob, State, Steps};
    use crate::testing::{document, element, text};

    /// The rules of a path of two names: all else stays.
    fn rules(first: &[u8], second: &[u8], rule: Rule, collections: Option<Vec<Glob>>) -> Rules {
        let steps = |name: &[u8], number| Steps::new(vec![(name.into(), number)], None);
        let state = |rule, fields, elements| State {
            rule,
            fields,
            elements,
        };
        let nothing = || Steps::new(Vec::new(), None);
        let states = vec![
            state(None, steps(first, 1), nothing()),
            state(None, steps(second, 2), Steps::new(Vec::new(), Some(1))),
            state(Some(rule), nothing(), nothing()),
        ];
        Rules::new(states, true, collections).unwrap()
    }

    fn rewritten(rules: &Rules, raw: &[u8]) -> Result<Vec<u8>, Reason> {
        let mut rewriter = Rewriter::new(rules, 0);
        rewriter.event(raw).map(|()| rewriter.out)
    }

    fn event(fields: &[Vec<u8>]) -> Vec<u8> {
        let full = document(&[
            element(kind::INT32, b"_id", &[1, 0, 0, 0]),
            element(kind::DOCUMENT, b"a", &document(fields)),
        ]);
        document(&[
            element(kind::STRING, b"operationType", &text(b"insert")),
            element(kind::DOCUMENT, b"fullDocument", &full),
        ])
    }

    #[test]
    fn a_field_is_removed_and_all_sizes_fit() {
        let kept = element(kind::NULL, b"c", &[]);
        let raw = event(&[element(kind::STRING, b"b", &text(b"x")), kept.clone()]);
        let rules = rules(b"a", b"b", Rule::Remove, None);
        assert_eq!(rewritten(&rules, &raw), Ok(event(&[kept])));
    }

    #[test]
    fn a_value_is_replaced_in_each_element_of_an_array() {
        let list = |type_, value: &[u8]| {
            let inner = document(&[element(type_, b"b", value)]);
            let array = document(&[element(kind::DOCUMENT, b"0", &inner)]);
            document(&[element(
                kind::DOCUMENT,
                b"fullDocument",
                &document(&[element(kind::ARRAY, b"a", &array)]),
            )])
        };
        let constant = Rule::Constant {
            kind: kind::NULL,
            value: [].into(),
        };
        let rules = rules(b"a", b"b", constant, None);
        let raw = list(kind::INT32, &[0; 4]);
        assert_eq!(rewritten(&rules, &raw), Ok(list(kind::NULL, &[])));
    }

    #[test]
    fn fields_of_an_event_that_are_not_known_are_removed() {
        let rules = rules(b"a", b"b", Rule::Remove, None);
        let raw = document(&[element(kind::NULL, b"newer", &[])]);
        assert_eq!(rewritten(&rules, &raw), Ok(document(&[])));
    }

    #[test]
    fn only_the_collections_that_are_named_are_changed() {
        let globs = || Some(vec![Glob::new("shop.*")]);
        let rules = rules(b"a", b"b", Rule::Remove, globs());
        let with_namespace = |database: &[u8]| {
            let namespace = document(&[
                element(kind::STRING, b"db", &text(database)),
                element(kind::STRING, b"coll", &text(b"users")),
            ]);
            document(&[
                element(kind::DOCUMENT, b"ns", &namespace),
                element(kind::NULL, b"newer", &[]),
            ])
        };
        let other = with_namespace(b"crm");
        assert_eq!(rewritten(&rules, &other), Ok(other));
        assert_ne!(
            rewritten(&rules, &with_namespace(b"shop")),
            Ok(with_namespace(b"shop"))
        );
    }

    #[test]
    fn a_key_that_a_rule_changes_is_left_to_the_reference() {
        let rules = rules(b"a", b"b", Rule::Remove, None);
        let with_key = |name: &[u8]| {
            let key = document(&[element(kind::INT32, name, &[0; 4])]);
            document(&[element(kind::DOCUMENT, b"documentKey", &key)])
        };
        assert_eq!(rewritten(&rules, &with_key(b"a.b")), Err(Reason::Event));
        assert_eq!(rewritten(&rules, &with_key(b"c")), Ok(with_key(b"c")));
    }

    #[test]
    fn no_cut_or_changed_byte_is_read_beyond_the_end() {
        let rules = rules(b"a", b"b", Rule::Remove, None);
        let raw = event(&[element(kind::STRING, b"b", &text(b"x"))]);
        for place in 0..raw.len() {
            assert!(rewritten(&rules, &raw[..place]).is_err());
            for byte in [0, 1, 4, 0x7F, 0xFF] {
                let mut damaged = raw.clone();
                damaged[place] = byte;
                let _ = rewritten(&rules, &damaged); // returns, and does not panic
            }
        }
    }
}
