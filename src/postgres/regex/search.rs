//! Finds what a regular expression matches, as Postgres does: of the matches that start first, the longest or shortest one,
//! and in it each part as long or as short as it can be, the first parts first.
//!
//! The library for regular expressions takes the first way that matches, which isn't always the same, and knows neither
//! backreferences nor what has to stand around a match. Whatever it can be asked, it is asked.
//!
//! A part is known by the places where it can end ([`Search::ends`]); what parentheses remember is found by dividing a match
//! among its parts ([`Search::divide`]).

use std::cell::Cell;
use std::collections::BTreeSet;

use super::tree::{Assertion, Node, Set, Taste};

/// A pattern that takes more steps than these for one text is too complex.
const MOST_STEPS: usize = 20_000_000;

/// How often a part may be divided within another.
const DEEPEST: usize = 5000;

/// Where a group starts and ends; the whole match is the first.
pub type Places = Vec<Option<(usize, usize)>>;

/// A text that is searched.
pub struct Search<'a> {
    characters: &'a [char],
    fold: bool,
    /// The characters of words.
    word: &'a Set,
    steps: Cell<usize>,
    depth: Cell<usize>,
}

impl<'a> Search<'a> {
    /// A search of a text.
    pub fn new(characters: &'a [char], fold: bool, word: &'a Set) -> Self {
        Self {
            characters,
            fold,
            word,
            steps: Cell::new(MOST_STEPS),
            depth: Cell::new(0),
        }
    }

    /// Whether it had to stop before the end.
    pub fn gave_up(&self) -> bool {
        self.steps.get() == 0
    }

    /// The match that starts at a place, if one does.
    pub fn at(&self, start: usize, tree: &Node, groups: usize) -> Option<Places> {
        let mut ends = self.ends(tree, &[start], self.characters.len());
        if tree.taste() != Some(Taste::Shorter) {
            ends.reverse();
        }
        for end in ends {
            let mut places = vec![None; groups + 1];
            if self.divide(tree, start, end, &mut places) {
                places[0] = Some((start, end));
                return Some(places);
            }
        }
        None
    }

    /// The first match from a place on.
    pub fn first(&self, from: usize, tree: &Node, groups: usize) -> Option<Places> {
        (from..=self.characters.len()).find_map(|start| self.at(start, tree, groups))
    }

    /// Whether so many steps may be taken.
    fn may_go_on(&self, steps: usize) -> bool {
        let left = self.steps.get().saturating_sub(steps + 1);
        self.steps.set(left);
        left > 0
    }

    /// Where a part may end that starts at one of these places, none of them behind `last`; in order. What refers back
    /// counts as whatever its parentheses could find.
    fn ends(&self, node: &Node, starts: &[usize], last: usize) -> Vec<usize> {
        if starts.is_empty() || !self.may_go_on(starts.len()) {
            return Vec::new();
        }
        let holding = |holds: &dyn Fn(usize) -> bool| -> Vec<usize> {
            let places = starts.iter().copied();
            places.filter(|place| holds(*place)).collect()
        };
        match node {
            Node::Empty => starts.to_vec(),
            Node::One(set) => {
                let fits = |at: &usize| *at < last && set.has(self.characters[*at]);
                let places = starts.iter().copied();
                places.filter(fits).map(|at| at + 1).collect()
            }
            Node::Assert(assertion) => holding(&|at| self.holds(*assertion, at)),
            Node::Look {
                ahead: true,
                there,
                inner,
            } => holding(&|at| {
                let found = self.ends(inner, &[at], self.characters.len());
                found.is_empty() != *there
            }),
            Node::Look {
                ahead: false,
                there,
                inner,
            } => holding(&|at| {
                let before: Vec<usize> = (0..=at).collect();
                let found = self.ends(inner, &before, at);
                (found.last() == Some(&at)) == *there
            }),
            Node::Group(_, inner) | Node::Back(_, inner) => self.ends(inner, starts, last),
            Node::Repeat {
                inner, least, most, ..
            } => self.ends_of_repeat(inner, *least, *most, starts, last),
            Node::Sequence(nodes) => self.ends_of_all(nodes, starts, last),
            Node::Choice(branches) => {
                let ends = branches
                    .iter()
                    .flat_map(|node| self.ends(node, starts, last));
                ends.collect::<BTreeSet<usize>>().into_iter().collect()
            }
        }
    }

    fn ends_of_all(&self, nodes: &[Node], starts: &[usize], last: usize) -> Vec<usize> {
        let whole = starts.to_vec();
        nodes
            .iter()
            .fold(whole, |places, node| self.ends(node, &places, last))
    }

    fn ends_of_repeat(
        &self,
        inner: &Node,
        least: u32,
        most: Option<u32>,
        starts: &[usize],
        last: usize,
    ) -> Vec<usize> {
        let mut places = starts.to_vec();
        for _ in 0..least {
            let next = self.ends(inner, &places, last);
            if next == places {
                break;
            }
            places = next;
        }
        let mut found: BTreeSet<usize> = places.iter().copied().collect();
        let mut count = least;
        while !places.is_empty() && most.is_none_or(|most| count < most) {
            // What is reached a second time leads nowhere else.
            places = self.ends(inner, &places, last);
            places.retain(|place| found.insert(*place));
            count += 1;
        }
        found.into_iter().collect()
    }

    /// Whether parts one after the other may reach from a place to another.
    fn reach(&self, nodes: &[Node], from: usize, to: usize) -> bool {
        self.ends_of_all(nodes, &[from], to).last() == Some(&to)
    }

    fn holds(&self, assertion: Assertion, at: usize) -> bool {
        let before = at.checked_sub(1).map(|before| self.characters[before]);
        let after = self.characters.get(at).copied();
        let is_word = |side: Option<char>| side.is_some_and(|side| self.word.has(side));
        let (starts, ends) = (
            is_word(after) && !is_word(before),
            is_word(before) && !is_word(after),
        );
        match assertion {
            Assertion::Start => before.is_none(),
            Assertion::End => after.is_none(),
            Assertion::LineStart => before.is_none_or(|before| before == '\n'),
            Assertion::LineEnd => after.is_none_or(|after| after == '\n'),
            Assertion::WordStart => starts,
            Assertion::WordEnd => ends,
            Assertion::WordEdge => starts || ends,
            Assertion::NoWordEdge => !starts && !ends,
        }
    }

    /// Finds what a part remembers that may be from one place to another. False where it isn't, which only what refers back
    /// can show.
    fn divide(&self, node: &Node, from: usize, to: usize, places: &mut Places) -> bool {
        if !node.remembers() {
            return true;
        }
        if self.depth.get() >= DEEPEST || !self.may_go_on(1) {
            self.steps.set(0);
            return false;
        }
        self.depth.set(self.depth.get() + 1);
        let divided = match node {
            Node::Group(number, inner) => {
                let divided = self.divide(inner, from, to, places);
                if divided && let Some(number) = number {
                    places[*number] = Some((from, to));
                }
                divided
            }
            Node::Back(number, _) => self.is_again(*number, 1, Some(1), from, to, places),
            Node::Sequence(nodes) => self.divide_all(nodes, from, to, places),
            Node::Choice(branches) => branches.iter().any(|branch| {
                forget(branch, places);
                self.reach(std::slice::from_ref(branch), from, to)
                    && self.divide(branch, from, to, places)
            }),
            Node::Repeat {
                inner, least, most, ..
            } => match inner.as_ref() {
                Node::Back(number, _) => self.is_again(*number, *least, *most, from, to, places),
                _ => self.divide_repeat(node, from, to, places),
            },
            Node::Empty | Node::One(_) | Node::Assert(_) | Node::Look { .. } => true,
        };
        self.depth.set(self.depth.get() - 1);
        divided
    }

    fn divide_all(&self, nodes: &[Node], from: usize, to: usize, places: &mut Places) -> bool {
        let [first, rest @ ..] = nodes else {
            return from == to;
        };
        if rest.is_empty() {
            return self.divide(first, from, to, places);
        }
        if !nodes.iter().any(Node::remembers) {
            return true;
        }
        self.ordered(first, from, to).into_iter().any(|middle| {
            nodes.iter().for_each(|node| forget(node, places));
            self.reach(rest, middle, to)
                && self.divide(first, from, middle, places)
                && self.divide_all(rest, middle, to, places)
        })
    }

    /// Where a part may end, what it prefers first.
    fn ordered(&self, node: &Node, from: usize, last: usize) -> Vec<usize> {
        let mut ends = self.ends(node, &[from], last);
        if node.taste() != Some(Taste::Shorter) {
            ends.reverse();
        }
        ends
    }

    /// What is remembered of a part that is there several times is the last of them.
    fn divide_repeat(&self, node: &Node, from: usize, to: usize, places: &mut Places) -> bool {
        let Node::Repeat {
            inner,
            least,
            most,
            taste,
        } = node
        else {
            return false;
        };
        if !inner.refers_back() && *least > 0 {
            // All but the last, and the last.
            let most = most.map(|most| most - 1);
            let mut ends = self.ends_of_repeat(inner, least - 1, most, &[from], to);
            if taste.or_else(|| inner.taste()) != Some(Taste::Shorter) {
                ends.reverse();
            }
            return ends.into_iter().any(|middle| {
                self.reach(std::slice::from_ref(&**inner), middle, to)
                    && self.divide(inner, middle, to, places)
            });
        }
        if from == to && *least == 0 {
            return true;
        }
        if inner.refers_back() {
            return self.divide_rest(inner, (*least).max(1), *most, (from, to), places);
        }
        // Nothing that may end as it should fails, so that there is no way back.
        let (mut at, mut left) = (from, *most);
        while left != Some(0) {
            left = left.map(|left| left - 1);
            let next = self.ordered(inner, at, to).into_iter().find(|next| {
                let leads = || self.ends_of_repeat(inner, 0, left, &[*next], to);
                *next > at && leads().last() == Some(&to)
            });
            let Some(next) = next else { return false };
            if next == to {
                forget(inner, places);
                return self.divide(inner, at, to, places);
            }
            at = next;
        }
        false
    }

    /// The same of what refers back: each time may depend on those before it.
    fn divide_rest(
        &self,
        inner: &Node,
        least: u32,
        most: Option<u32>,
        (from, to): (usize, usize),
        places: &mut Places,
    ) -> bool {
        if self.depth.get() >= DEEPEST {
            self.steps.set(0);
            return false;
        }
        if from == to && least == 0 {
            return true;
        }
        if most == Some(0) {
            return false;
        }
        let remembered = places.clone();
        self.depth.set(self.depth.get() + 1);
        let divided = self.ordered(inner, from, to).into_iter().any(|next| {
            places.clone_from(&remembered);
            forget(inner, places);
            let most = most.map(|most| most - 1);
            (next > from || least > 0)
                && self.divide(inner, from, next, places)
                && self.divide_rest(inner, least.saturating_sub(1), most, (next, to), places)
        });
        self.depth.set(self.depth.get() - 1);
        divided
    }

    /// Whether there is, so many times, what a group has found.
    fn is_again(
        &self,
        number: usize,
        least: u32,
        most: Option<u32>,
        from: usize,
        to: usize,
        places: &Places,
    ) -> bool {
        let Some((start, end)) = places[number] else {
            return false;
        };
        if start == end || from == to {
            return from == to && (start == end || least == 0);
        }
        let (found, wanted) = (&self.characters[from..to], &self.characters[start..end]);
        let times = found.len() / wanted.len();
        found.len().is_multiple_of(wanted.len())
            && times >= usize::try_from(least).unwrap_or(usize::MAX)
            && most.is_none_or(|most| times <= usize::try_from(most).unwrap_or(usize::MAX))
            && found
                .chunks(wanted.len())
                .all(|part| part.iter().zip(wanted).all(|(a, b)| self.is_same(*a, *b)))
    }

    fn is_same(&self, one: char, other: char) -> bool {
        one == other || (self.fold && one.to_lowercase().eq(other.to_lowercase()))
    }
}

/// Takes back what a part remembers.
fn forget(node: &Node, places: &mut Places) {
    let mut numbers = Vec::new();
    node.groups(&mut numbers);
    for number in numbers {
        places[number] = None;
    }
}
