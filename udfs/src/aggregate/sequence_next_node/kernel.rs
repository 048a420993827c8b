//! The row behind a chain, in sorted rows.

use std::ops::Range;

use crate::aggregate::distinct_keys::DistinctKeys;
use crate::error::FunnelError;

/// Which way the chain goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// With the time.
    Forward,
    /// Against it.
    Backward,
}

impl Direction {
    /// Each name, in the order of [`Self::ALL`].
    pub const NAMES: [&str; 2] = ["forward", "backward"];

    /// Each direction.
    pub const ALL: [Self; 2] = [Self::Forward, Self::Backward];
}

/// Where the chain starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// At the first row.
    Head,
    /// At the last row.
    Tail,
    /// At the first row of event 1.
    FirstMatch,
    /// At the last row of event 1.
    LastMatch,
}

impl Base {
    /// Each name, in the order of [`Self::ALL`].
    pub const NAMES: [&str; 4] = ["head", "tail", "first_match", "last_match"];

    /// Each base.
    pub const ALL: [Self; 4] = [Self::Head, Self::Tail, Self::FirstMatch, Self::LastMatch];
}

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    /// When, in the unit of its column.
    pub time: i64,
    /// Bit k - 1 for event k.
    pub events: u64,
    /// The number of its value.
    pub text: u32,
    /// Whether it meets the condition of the base.
    pub is_base: bool,
}

/// Sorts rows by time; at one time by value, then by what they meet.
pub(super) fn sort(nodes: &mut [Node], texts: &DistinctKeys) {
    nodes.sort_unstable_by(|a, b| {
        let by_text = || match a.text == b.text {
            true => std::cmp::Ordering::Equal,
            false => texts.key(a.text).cmp(texts.key(b.text)),
        };
        a.time
            .cmp(&b.time)
            .then_with(by_text)
            .then_with(|| (a.is_base, a.events).cmp(&(b.is_base, b.events)))
    });
}

/// The literals of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    direction: Direction,
    base: Base,
    /// How many events the chain has.
    events: usize,
}

impl Rules {
    /// Checks that the literals go together.
    ///
    /// # Errors
    /// 22023 where they don't.
    pub fn new(direction: Direction, base: Base, events: usize) -> Result<Self, FunnelError> {
        let invalid = |message: &str, hint: &str| {
            Err(FunnelError::InvalidArgument {
                message: message.to_owned(),
                hint: hint.to_owned(),
            })
        };
        match (direction, base) {
            (Direction::Forward, Base::Tail) => invalid(
                "sequence_next_node() can't go 'forward' from the 'tail'",
                "Write 'backward', or one of the bases 'head', 'first_match', 'last_match'.",
            ),
            (Direction::Backward, Base::Head) => invalid(
                "sequence_next_node() can't go 'backward' from the 'head'",
                "Write 'forward', or one of the bases 'tail', 'first_match', 'last_match'.",
            ),
            (_, Base::FirstMatch | Base::LastMatch) if events == 0 => invalid(
                "sequence_next_node() has no event to match the base with",
                "Write an event behind the base's condition, or one of the bases 'head', 'tail'.",
            ),
            _ => Ok(Self {
                direction,
                base,
                events,
            }),
        }
    }

    /// How many events the chain has.
    #[cfg(test)]
    pub fn events(self) -> usize {
        self.events
    }

    /// The row behind the chain, if the chain is there and has one.
    pub fn next(self, nodes: &[Node]) -> Option<usize> {
        let base = self.base_of(nodes)?;
        let meets = |at: usize, event: usize| {
            nodes
                .get(at)
                .is_some_and(|node| node.events >> event & 1 == 1)
        };
        let at = |step: usize| match self.direction {
            Direction::Forward => base.checked_add(step),
            Direction::Backward => base.checked_sub(step),
        };
        let holds = (0..self.events).all(|event| at(event).is_some_and(|at| meets(at, event)));
        at(self.events).filter(|next| holds && *next < nodes.len())
    }

    fn base_of(self, nodes: &[Node]) -> Option<usize> {
        let is_base = |at: &usize| nodes[*at].is_base;
        match self.base {
            Base::Head => (!nodes.is_empty()).then_some(0).filter(is_base),
            Base::Tail => nodes.len().checked_sub(1).filter(is_base),
            Base::FirstMatch => nodes.iter().position(Node::is_match),
            Base::LastMatch => nodes.iter().rposition(Node::is_match),
        }
    }

    /// The rows that can still matter, whatever rows come to these.
    ///
    /// A later row can only be in front of a first base or behind a last one, where it becomes the base, or
    /// between rows, which it then moves further away from the base.
    pub fn live(self, nodes: &[Node]) -> Range<usize> {
        let (rows, reach) = (nodes.len(), self.events + 1);
        let (ahead, behind) = match self.direction {
            Direction::Forward => (reach, 1),
            Direction::Backward => (1, reach),
        };
        match (self.base, self.base_of(nodes)) {
            (Base::Head, _) => 0..reach.min(rows),
            (Base::Tail, _) => rows.saturating_sub(reach)..rows,
            (Base::FirstMatch, Some(base)) => 0..(base + ahead).min(rows),
            (Base::LastMatch, Some(base)) => (base + 1).saturating_sub(behind)..rows,
            (Base::FirstMatch | Base::LastMatch, None) => 0..rows,
        }
    }
}

impl Node {
    fn is_match(&self) -> bool {
        self.is_base && self.events & 1 == 1
    }
}
