//! Applies the rules of `select` and `mask` to update descriptions, so that no delta tells what the document does not.
//!
//! The reference is `rigatoni_transforms.deltas`. It decides alone what a name means if that depends on
//! `disambiguatedPaths`, or if two of its readings lead to different places.

use crate::bson::{Elements, Value, close, kind, open};
use crate::fallbacks::Reason;
use crate::rewriting::Rewriter;
use crate::rules::{Fate, Number, Rule, TOP};

/// Names of more steps are left to the reference: documents are nested up to 100 deep.
const MOST_STEPS: usize = 100;

/// Where the name of a changed field leads.
#[derive(Debug, PartialEq, Eq)]
pub struct Place<'n> {
    /// The state there, or that of the first place above with a rule; `None` if no path leads there.
    pub state: Option<Number>,
    /// The name of that place above.
    above: Option<&'n [u8]>,
    /// Whether all steps from there are indexes.
    by_index: bool,
}

impl Rewriter<'_> {
    /// Write an update description after the rules. Parts that are not known are removed.
    pub fn description(&mut self, mut elements: Elements<'_>) -> Result<(), Reason> {
        let is_plain = is_plain(elements)?;
        let start = open(&mut self.out);
        while !elements.is_empty() {
            let before = elements;
            let mut element = elements.next().ok_or(Reason::Damaged)?;
            let value = element.raw()?;
            elements.after(&element.value);
            let expected = match element.name {
                b"updatedFields" | b"disambiguatedPaths" => kind::DOCUMENT,
                b"removedFields" | b"truncatedArrays" => kind::ARRAY,
                _ => continue,
            };
            if element.kind == kind::NULL {
                self.out.extend_from_slice(before.until(&elements));
                continue;
            }
            if element.kind != expected {
                return Err(Reason::Delta);
            }
            element.write_head(&mut self.out);
            let inner = Elements::of(value).ok_or(Reason::Damaged)?;
            match element.name {
                b"updatedFields" => self.updated(inner, is_plain)?,
                b"removedFields" => self.removed(inner, is_plain)?,
                b"truncatedArrays" => self.truncated(inner, is_plain)?,
                _ => self.out.extend_from_slice(value), // empty: see `is_plain`
            }
        }
        close(&mut self.out, start)
    }

    fn updated(&mut self, mut elements: Elements<'_>, is_plain: bool) -> Result<(), Reason> {
        let start = open(&mut self.out);
        let mut replaced: Vec<&[u8]> = Vec::new();
        while !elements.is_empty() {
            let before = elements;
            let mut element = elements.next().ok_or(Reason::Damaged)?;
            let value = element.raw()?;
            elements.after(&element.value);
            let place = self.place(element.name, is_plain)?;
            if self.may_name(&place) {
                let is_nested = matches!(element.kind, kind::DOCUMENT | kind::ARRAY);
                match self.rules.fate(place.state, is_nested) {
                    Fate::Stays => self.out.extend_from_slice(before.until(&elements)),
                    Fate::Removed => {}
                    Fate::Changes(state) => {
                        let head = element.write_head(&mut self.out);
                        self.out[head] = self.value(element.kind, value, state, 2)?;
                    }
                }
            } else if let (Some(above), Fate::Changes(state)) =
                (place.above, self.rules.fate(place.state, true))
                && !replaced.contains(&above)
            {
                // A change inside a masked value: what is written is the masked value, once.
                replaced.push(above);
                element.name = above;
                let head = element.write_head(&mut self.out);
                self.out[head] = self.value(kind::DOCUMENT, value, state, 2)?;
            }
        }
        close(&mut self.out, start)
    }

    fn removed(&mut self, mut elements: Elements<'_>, is_plain: bool) -> Result<(), Reason> {
        let start = open(&mut self.out);
        let mut index = 0;
        while !elements.is_empty() {
            let mut element = elements.next().ok_or(Reason::Damaged)?;
            let value = element.raw()?;
            elements.after(&element.value);
            let place = self.place(name_in(element.kind, value)?, is_plain)?;
            if self.may_name(&place) {
                self.item(&mut index, element.kind, value);
            }
        }
        close(&mut self.out, start)
    }

    fn truncated(&mut self, mut elements: Elements<'_>, is_plain: bool) -> Result<(), Reason> {
        let start = open(&mut self.out);
        let mut index = 0;
        while !elements.is_empty() {
            let mut element = elements.next().ok_or(Reason::Damaged)?;
            let value = element.raw()?;
            elements.after(&element.value);
            if element.kind != kind::DOCUMENT {
                return Err(Reason::Delta);
            }
            let mut fields = Elements::of(value).ok_or(Reason::Damaged)?;
            let mut may_tell = None;
            while !fields.is_empty() {
                let mut field = fields.next().ok_or(Reason::Damaged)?;
                let name = field.raw()?;
                fields.after(&field.value);
                if field.name == b"field" {
                    let place = self.place(name_in(field.kind, name)?, is_plain)?;
                    may_tell = Some(may_tell != Some(false) && self.may_tell_length(&place));
                }
            }
            if may_tell == Some(true) {
                self.item(&mut index, element.kind, value);
            }
        }
        close(&mut self.out, start)
    }

    /// Write the next element of an array.
    fn item(&mut self, index: &mut usize, type_: u8, value: &[u8]) {
        self.out.push(type_);
        self.out
            .extend_from_slice(itoa::Buffer::new().format(*index).as_bytes());
        self.out.push(0);
        self.out.extend_from_slice(value);
        *index += 1;
    }

    /// Whether the name of the changed field may be written.
    fn may_name(&self, place: &Place<'_>) -> bool {
        let Some(state) = place.state else {
            return self.rules.keeps_others;
        };
        match &self.rules.state(state).rule {
            None | Some(Rule::Keep) => true,
            Some(Rule::Remove) => false,
            Some(rule) => place.above.is_none() || (place.by_index && !rule.is_whole()),
        }
    }

    /// Whether the length of the changed array may be written, too.
    fn may_tell_length(&self, place: &Place<'_>) -> bool {
        let rule = place.state.map(|state| &self.rules.state(state).rule);
        self.may_name(place) && !matches!(rule, Some(Some(rule)) if rule.is_whole())
    }

    /// Where a name leads. Each dot separates two steps, or, if it is not `plain`, may be part of a name.
    pub fn place<'n>(&self, name: &'n [u8], is_plain: bool) -> Result<Place<'n>, Reason> {
        // The start of each step, and where one after the last would start.
        let mut starts = [0; MOST_STEPS + 1];
        let mut count = 0;
        for end in memchr::memchr_iter(b'.', name).chain([name.len()]) {
            count += 1;
            *starts.get_mut(count).ok_or(Reason::Delta)? = end + 1;
        }
        let mut reached = [None; MOST_STEPS + 1];
        reached[0] = Some(TOP);
        for place in 0..=count {
            let Some(number) = reached[place] else {
                continue;
            };
            let state = self.rules.state(number);
            if state.rule.is_some() {
                let is_above = place < count;
                let mut rest = (place..count).map(|step| &name[starts[step]..starts[step + 1] - 1]);
                return Ok(Place {
                    state: Some(number),
                    above: is_above.then(|| &name[..starts[place].saturating_sub(1)]),
                    by_index: rest.all(is_index),
                });
            }
            let last = if is_plain {
                count.min(place + 1)
            } else {
                count
            };
            for stop in place + 1..=last {
                let step = &name[starts[place]..starts[stop] - 1];
                let below = if stop > place + 1 {
                    if self.rules.keeps_others {
                        state.fields.find(step)
                    } else {
                        state.fields.find_named(step)
                    }
                } else if is_index(step) {
                    state.elements.find(step)
                } else {
                    state.fields.find(step)
                };
                match (below, reached[stop]) {
                    (None, _) => {}
                    (Some(below), Some(other)) if below != other => return Err(Reason::Delta),
                    _ => reached[stop] = below,
                }
            }
        }
        Ok(Place {
            state: reached[count],
            above: None,
            by_index: false,
        })
    }
}

/// Whether each dot in a name separates two steps: the event has `disambiguatedPaths`, and they are empty.
fn is_plain(mut elements: Elements<'_>) -> Result<bool, Reason> {
    let mut is_plain = false;
    while !elements.is_empty() {
        let mut element = elements.next().ok_or(Reason::Damaged)?;
        let value = element.raw()?;
        elements.after(&element.value);
        if (element.kind, element.name) == (kind::DOCUMENT, b"disambiguatedPaths") {
            if !Elements::of(value).ok_or(Reason::Damaged)?.is_empty() {
                return Err(Reason::Delta);
            }
            is_plain = true;
        }
    }
    Ok(is_plain)
}

fn is_index(step: &[u8]) -> bool {
    !step.is_empty() && step.iter().all(u8::is_ascii_digit)
}

/// The name of a field in a value.
fn name_in(type_: u8, value: &[u8]) -> Result<&[u8], Reason> {
    if type_ != kind::STRING {
        return Err(Reason::Delta);
    }
    Value::at(value).text().ok_or(Reason::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Rules, State, Steps};
    use crate::testing::{document, element, text};

    /// The rules of the path `a.b`.
    fn rules(rule: Rule) -> Rules {
        let steps = |name: &[u8], number| Steps::new(vec![(name.into(), number)], None);
        let nothing = || Steps::new(Vec::new(), None);
        let state = |rule, fields, elements| State {
            rule,
            fields,
            elements,
        };
        let states = vec![
            state(None, steps(b"a", 1), nothing()),
            state(None, steps(b"b", 2), Steps::new(Vec::new(), Some(1))),
            state(Some(rule), nothing(), nothing()),
        ];
        Rules::new(states, true, None).unwrap()
    }

    fn null() -> Rule {
        Rule::Constant {
            kind: kind::NULL,
            value: [].into(),
        }
    }

    fn described(rules: &Rules, parts: &[Vec<u8>]) -> Result<Vec<u8>, Reason> {
        let mut rewriter = Rewriter::new(rules, 0);
        rewriter.description(Elements::of(&document(parts)).unwrap())?;
        Ok(rewriter.out)
    }

    fn updated(names: &[&[u8]], type_: u8, value: &[u8]) -> Vec<u8> {
        let fields: Vec<_> = names
            .iter()
            .map(|name| element(type_, name, value))
            .collect();
        element(kind::DOCUMENT, b"updatedFields", &document(&fields))
    }

    fn removed(names: &[&[u8]]) -> Vec<u8> {
        let names: Vec<_> = names
            .iter()
            .zip(["0", "1", "2"])
            .map(|(name, index)| element(kind::STRING, index.as_bytes(), &text(name)))
            .collect();
        element(kind::ARRAY, b"removedFields", &document(&names))
    }

    #[test]
    fn a_name_leads_through_indexes_and_to_the_place_above() {
        let rules = rules(null());
        let rewriter = Rewriter::new(&rules, 0);
        for (name, state, above, by_index) in [
            (&b"c"[..], None, None, false),
            (b"a", Some(1), None, false),
            (b"a.b", Some(2), None, true),
            (b"a.0.b", Some(2), None, true),
            (b"a.b.0.1", Some(2), Some(&b"a.b"[..]), true),
            (b"a.0.b.c", Some(2), Some(b"a.0.b"), false),
        ] {
            let place = Place {
                state,
                above,
                by_index,
            };
            assert_eq!(rewriter.place(name, false), Ok(place));
        }
    }

    #[test]
    fn a_name_of_too_many_steps_is_left_to_the_reference() {
        let rules = rules(null());
        let rewriter = Rewriter::new(&rules, 0);
        assert!(rewriter.place(&[b'.'; 99], false).is_ok());
        assert_eq!(rewriter.place(&[b'.'; 100], false), Err(Reason::Delta));
    }

    #[test]
    fn a_change_inside_a_masked_value_is_one_of_the_masked_value() {
        let parts = [updated(&[b"a.b.c", b"a.b.d", b"e"], kind::INT32, &[0; 4])];
        let fields = [
            element(kind::NULL, b"a.b", &[]),
            element(kind::INT32, b"e", &[0; 4]),
        ];
        let expected = element(kind::DOCUMENT, b"updatedFields", &document(&fields));
        assert_eq!(described(&rules(null()), &parts), Ok(document(&[expected])));
    }

    #[test]
    fn names_inside_hidden_values_are_left_out_and_the_others_get_new_indexes() {
        for (rule, names) in [(Rule::Remove, &[&b"a"[..]][..]), (null(), &[b"a.b", b"a"])] {
            let made = described(&rules(rule), &[removed(&[b"a.b", b"a.b.c", b"a"])]);
            assert_eq!(made, Ok(document(&[removed(names)])));
        }
    }

    #[test]
    fn paths_that_say_what_names_mean_are_left_to_the_reference() {
        let said =
            |fields: &[Vec<u8>]| element(kind::DOCUMENT, b"disambiguatedPaths", &document(fields));
        let rules = rules(null());
        let empty = [said(&[])];
        assert_eq!(described(&rules, &empty), Ok(document(&empty)));
        let one = [said(&[element(kind::ARRAY, b"a", &document(&[]))])];
        assert_eq!(described(&rules, &one), Err(Reason::Delta));
    }
}
