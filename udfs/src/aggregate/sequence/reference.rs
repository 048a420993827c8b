//! The sequence functions by trying everything, element by element, as a person would read the pattern.

use crate::aggregate::hits::Hit;

/// An element of a pattern as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    /// `(?N)`
    Condition(usize),
    /// `.`
    Any,
    /// `.*`
    Star,
    /// `(?t op k)`
    Gate(&'static str, u64),
}

/// The text of a pattern.
pub(super) fn text(elements: &[Element]) -> String {
    elements
        .iter()
        .map(|element| match element {
            Element::Condition(number) => format!("(?{number})"),
            Element::Any => ".".to_owned(),
            Element::Star => ".*".to_owned(),
            Element::Gate(operator, amount) => format!("(?t{operator}{amount})"),
        })
        .collect()
}

/// What the search comes upon.
#[derive(Debug, Default)]
struct Found {
    /// The end of the first match and the times of its conditions.
    whole: Option<(usize, Vec<i64>)>,
    /// The first of the longest chains of conditions.
    longest: Vec<i64>,
}

/// Tries the rest of the pattern at a row.
struct Search<'a> {
    hits: &'a [Hit],
    found: Found,
    chain: Vec<i64>,
}

impl Search<'_> {
    /// Whether the rest matches from row `at` on; the time `base` is that of the row taken last.
    fn rest(&mut self, elements: &[Element], at: usize, base: i64) -> bool {
        match elements {
            [] => {
                self.found.whole = Some((at, self.chain.clone()));
                true
            }
            [Element::Star, rest @ ..] => self.anywhere(at, |search, row| {
                // Every gate is measured from the row taken last, so a star before it adds nothing.
                search.rest(rest, row, base)
            }),
            [Element::Gate(..), ..] => {
                let gates = elements
                    .iter()
                    .take_while(|element| matches!(element, Element::Gate(..)))
                    .count();
                let (gates, rest) = elements.split_at(gates);
                if at == self.hits.len() {
                    return gates.iter().all(holds_at_the_end) && self.rest(rest, at, base);
                }
                self.anywhere(at, |search, row| {
                    row < search.hits.len()
                        && gates
                            .iter()
                            .all(|gate| holds(gate, base, search.hits[row].time))
                        && search.rest(rest, row, base)
                })
            }
            [take, rest @ ..] => self.take(*take, rest, at),
        }
    }

    /// Whether it matches at this row or a later one; behind the last only if that is where it starts.
    fn anywhere(&mut self, at: usize, mut from: impl FnMut(&mut Self, usize) -> bool) -> bool {
        let last = at.max(self.hits.len().saturating_sub(1));
        (at..=last).any(|row| from(self, row))
    }

    fn take(&mut self, take: Element, rest: &[Element], at: usize) -> bool {
        let Some(hit) = self.hits.get(at).copied() else {
            return false;
        };
        let Element::Condition(number) = take else {
            return self.rest(rest, at + 1, hit.time);
        };
        if hit.conditions >> (number - 1) & 1 == 0 {
            return false;
        }
        self.chain.push(hit.time);
        if self.chain.len() > self.found.longest.len() {
            self.found.longest.clone_from(&self.chain);
        }
        let found = self.rest(rest, at + 1, hit.time);
        self.chain.pop();
        found
    }
}

fn holds(gate: &Element, base: i64, time: i64) -> bool {
    let Element::Gate(operator, amount) = *gate else {
        return false;
    };
    let since = i128::from(time) - i128::from(base);
    let amount = i128::from(amount);
    match operator {
        "<=" => since <= amount,
        "<" => since < amount,
        ">=" => since >= amount,
        ">" => since > amount,
        _ => since == amount,
    }
}

fn holds_at_the_end(gate: &Element) -> bool {
    matches!(gate, Element::Gate("<=" | "<", _) | Element::Gate(">=", 0))
}

/// Searches from a row on: the pattern starts at that row, or the next, …, or behind all.
fn search(hits: &[Hit], from: usize, elements: &[Element]) -> Found {
    let mut search = Search {
        hits,
        found: Found::default(),
        chain: Vec::new(),
    };
    for start in from..=hits.len() {
        let base = hits.get(start).map_or(0, |hit| hit.time);
        if search.rest(elements, start, base) {
            break;
        }
    }
    search.found
}

pub(super) fn matches(hits: &[Hit], elements: &[Element]) -> bool {
    search(hits, 0, elements).whole.is_some()
}

pub(super) fn count(hits: &[Hit], elements: &[Element]) -> u64 {
    let mut count = 0;
    let mut from = 0;
    while from < hits.len() {
        let Some((end, _)) = search(hits, from, elements).whole else {
            break;
        };
        count += 1;
        from = end.max(from + 1);
    }
    count
}

pub(super) fn events(hits: &[Hit], elements: &[Element]) -> Vec<i64> {
    let found = search(hits, 0, elements);
    match found.whole {
        Some((_, times)) => times,
        None => found.longest,
    }
}
