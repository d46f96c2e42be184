//! Where the paths of `select` and `mask` lead: a state for each place in a document, and what is done there.
//!
//! The states come from `rigatoni_transforms.matching`, which alone knows what paths mean.

use crate::masks::Method;

/// The number of a state. The first is that at the top of documents.
pub type Number = usize;

pub const TOP: Number = 0;

/// What is done with the value at a place.
pub enum Rule {
    Keep,
    Remove,
    /// Another value takes its place, always the same.
    Constant {
        kind: u8,
        value: Box<[u8]>,
    },
    Method(Method),
}

impl Rule {
    /// Whether it replaces documents and arrays as a whole, so that names inside them are hidden, too.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Remove | Self::Constant { .. })
    }
}

/// A place in a document, by what the paths can still match from there.
pub struct State {
    pub rule: Option<Rule>,
    /// The states of the fields of a document.
    pub fields: Steps,
    /// The states of the elements of an array.
    pub elements: Steps,
}

/// The states one step further. `None` is a place that no path leads to.
pub struct Steps {
    /// By length and name.
    named: Vec<(Box<[u8]>, Number)>,
    other: Option<Number>,
}

impl Steps {
    pub fn new(mut named: Vec<(Box<[u8]>, Number)>, other: Option<Number>) -> Self {
        named.sort_unstable_by(|(one, _), (two, _)| key(one).cmp(&key(two)));
        Self { named, other }
    }

    /// The state of a step.
    pub fn find(&self, name: &[u8]) -> Option<Number> {
        self.find_named(name).or(self.other)
    }

    /// The state of a step that paths name.
    pub fn find_named(&self, name: &[u8]) -> Option<Number> {
        let found = self
            .named
            .binary_search_by(|(each, _)| key(each).cmp(&key(name)));
        found.ok().map(|place| self.named[place].1)
    }

    fn numbers(&self) -> impl Iterator<Item = Number> {
        self.named
            .iter()
            .map(|&(_, number)| number)
            .chain(self.other)
    }
}

fn key(name: &[u8]) -> (usize, &[u8]) {
    (name.len(), name)
}

/// What becomes of a value.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    Stays,
    Removed,
    /// A rule, or the rules inside it, make another value of it.
    Changes(Number),
}

/// The rules of one transform.
pub struct Rules {
    states: Vec<State>,
    /// Whether values that no path leads to stay.
    pub keeps_others: bool,
    /// The collections whose events are changed; all unless given.
    pub collections: Option<Vec<Glob>>,
}

impl Rules {
    /// The rules; `None` if a state leads to one that does not exist.
    pub fn new(
        states: Vec<State>,
        keeps_others: bool,
        collections: Option<Vec<Glob>>,
    ) -> Option<Self> {
        let is_complete = !states.is_empty()
            && states.iter().all(|state| {
                let mut numbers = state.fields.numbers().chain(state.elements.numbers());
                numbers.all(|number| number < states.len())
            });
        is_complete.then_some(Self {
            states,
            keeps_others,
            collections,
        })
    }

    pub fn state(&self, number: Number) -> &State {
        &self.states[number]
    }

    /// What becomes of a value at a place; `is_nested`: it is a document or an array.
    pub fn fate(&self, place: Option<Number>, is_nested: bool) -> Fate {
        let otherwise = if self.keeps_others {
            Fate::Stays
        } else {
            Fate::Removed
        };
        let Some(number) = place else {
            return otherwise;
        };
        match self.state(number).rule {
            Some(Rule::Keep) => Fate::Stays,
            Some(Rule::Remove) => Fate::Removed,
            None if !is_nested => otherwise,
            _ => Fate::Changes(number),
        }
    }
}

/// A name in which `*` stands for any text.
pub struct Glob {
    first: Box<[u8]>,
    /// The texts after each star.
    others: Vec<Box<[u8]>>,
}

impl Glob {
    pub fn new(text: &str) -> Self {
        let mut pieces = text.split('*').map(|piece| piece.as_bytes().into());
        Self {
            first: pieces.next().unwrap_or_default(),
            others: pieces.collect(),
        }
    }

    pub fn matches(&self, name: &[u8]) -> bool {
        let Some(mut rest) = name.strip_prefix(&*self.first) else {
            return false;
        };
        let Some((last, inner)) = self.others.split_last() else {
            return rest.is_empty();
        };
        for piece in inner {
            let Some(place) = memchr::memmem::find(rest, piece) else {
                return false;
            };
            rest = &rest[place + piece.len()..];
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(names: &[&str], other: Option<Number>) -> Steps {
        let named = names.iter().zip(1..);
        Steps::new(
            named
                .map(|(name, number)| (name.as_bytes().into(), number))
                .collect(),
            other,
        )
    }

    #[test]
    fn a_step_is_found_by_its_whole_name() {
        let found = steps(&["abc", "b", "a", "ab"], None);
        for (name, number) in [("abc", 1), ("b", 2), ("a", 3), ("ab", 4)] {
            assert_eq!(found.find(name.as_bytes()), Some(number));
        }
        assert_eq!(found.find(b"c"), None);
        assert_eq!(found.find(b""), None);
        assert_eq!(steps(&["a"], Some(7)).find(b"b"), Some(7));
        assert_eq!(steps(&["a"], Some(7)).find_named(b"b"), None);
    }

    #[test]
    fn a_state_that_leads_nowhere_is_refused() {
        let state = |other| State {
            rule: None,
            fields: steps(&[], other),
            elements: steps(&[], None),
        };
        assert!(Rules::new(vec![state(Some(0))], true, None).is_some());
        assert!(Rules::new(vec![state(Some(1))], true, None).is_none());
        assert!(Rules::new(vec![], true, None).is_none());
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in [
            ("shop.users", "shop.users", true),
            ("shop.users", "shop.users2", false),
            ("shop.*", "shop.", true),
            ("shop.*", "shop", false),
            ("*.users", "a.b.users", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "axxbxxbxc", true),
            ("a*b*c", "acb", false),
            ("aa*aa", "aaa", false),
            ("a*bc*c", "abc", false),
            ("*", "", true),
        ] {
            let matched = Glob::new(pattern).matches(name.as_bytes());
            assert_eq!(matched, expected, "{pattern} {name}");
        }
    }
}
