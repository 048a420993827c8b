//! Whether the first way in which a pattern matches, which is the library's, is the one that Postgres takes.

use super::tree::{Node, Set, Taste};

/// More characters of a pattern aren't looked at.
const MOST: usize = 64;

/// Whether the library's matches are Postgres', to the last character of each group.
pub fn is_plain(tree: &Node) -> bool {
    is_flat(tree) || is_certain(tree)
}

/// Characters one after the other, repeated and in parentheses, that all prefer the same: whoever goes on as long as he can,
/// gets as far as one can get; and as short where all prefer less.
fn is_flat(tree: &Node) -> bool {
    let mut items = Vec::new();
    if !flatten(tree, &mut items) {
        return false;
    }
    let mut tastes = items.iter().filter_map(|item| item.taste());
    let first = tastes.next();
    if !tastes.all(|taste| Some(taste) == first) {
        return false;
    }
    // What has to hold stands before or after all of them.
    let is_assertion = |item: &&Node| matches!(item, Node::Assert(_));
    let rest = items.iter().copied().skip_while(is_assertion);
    rest.skip_while(|item| !is_assertion(item))
        .all(|item| is_assertion(&item))
}

fn flatten<'a>(node: &'a Node, items: &mut Vec<&'a Node>) -> bool {
    match node {
        Node::Empty => true,
        Node::One(_) | Node::Assert(_) => {
            items.push(node);
            true
        }
        Node::Repeat { inner, .. } => {
            items.push(node);
            matches!(inner.as_ref(), Node::One(_))
        }
        Node::Group(_, inner) => flatten(inner, items),
        Node::Sequence(nodes) => nodes.iter().all(|node| flatten(node, items)),
        Node::Choice(_) | Node::Look { .. } | Node::Back(..) => false,
    }
}

/// Whether each character of a text can be only one of the pattern's, so that there is one way to match, and all prefer to
/// go on.
fn is_certain(tree: &Node) -> bool {
    let mut ways = Ways::default();
    let Some(part) = ways.part(tree) else {
        return false;
    };
    ways.differ(&part.first) && ways.next.iter().all(|next| ways.differ(next))
}

#[derive(Default)]
struct Ways<'a> {
    /// The characters of the pattern.
    sets: Vec<&'a Set>,
    /// Those that may come after each of them.
    next: Vec<Vec<usize>>,
}

/// Which characters a part may start and end with.
struct Part {
    may_be_empty: bool,
    first: Vec<usize>,
    last: Vec<usize>,
}

impl<'a> Ways<'a> {
    /// Nothing where there may be more than one way.
    fn part(&mut self, node: &'a Node) -> Option<Part> {
        let empty = Part {
            may_be_empty: true,
            first: Vec::new(),
            last: Vec::new(),
        };
        Some(match node {
            Node::Empty | Node::Assert(_) => empty,
            Node::One(set) => {
                let place = self.sets.len();
                if place == MOST {
                    return None;
                }
                self.sets.push(set);
                self.next.push(Vec::new());
                Part {
                    may_be_empty: false,
                    first: vec![place],
                    last: vec![place],
                }
            }
            Node::Group(_, inner) => self.part(inner)?,
            Node::Repeat {
                inner,
                least,
                most,
                taste,
            } => {
                let once = *most == Some(1);
                let part = self.part(inner)?;
                // What is remembered of an earlier time is forgotten in Postgres only.
                let is_kept = match inner.as_ref() {
                    Node::Group(Some(_), within) => !within.remembers(),
                    other => !other.remembers(),
                };
                if part.may_be_empty || *taste == Some(Taste::Shorter) || (!once && !is_kept) {
                    return None;
                }
                if !once {
                    self.follow(&part.last, &part.first);
                }
                Part {
                    may_be_empty: *least == 0,
                    ..part
                }
            }
            Node::Sequence(nodes) => {
                let mut whole = empty;
                for node in nodes {
                    let part = self.part(node)?;
                    self.follow(&whole.last, &part.first);
                    if whole.may_be_empty {
                        whole.first.extend(&part.first);
                    }
                    match part.may_be_empty {
                        true => whole.last.extend(part.last),
                        false => whole.last = part.last,
                    }
                    whole.may_be_empty &= part.may_be_empty;
                }
                whole
            }
            Node::Choice(branches) => {
                let mut whole = Part {
                    may_be_empty: false,
                    ..empty
                };
                for branch in branches {
                    // The library would take nothing before it looks at what comes after.
                    if whole.may_be_empty {
                        return None;
                    }
                    let part = self.part(branch)?;
                    whole.may_be_empty = part.may_be_empty;
                    whole.first.extend(part.first);
                    whole.last.extend(part.last);
                }
                whole
            }
            Node::Look { .. } | Node::Back(..) => return None,
        })
    }

    fn follow(&mut self, before: &[usize], after: &[usize]) {
        for place in before {
            self.next[*place].extend(after);
        }
    }

    /// Whether no character is of two of them.
    fn differ(&self, places: &[usize]) -> bool {
        places.iter().enumerate().all(|(at, one)| {
            let mut others = places[at + 1..].iter();
            others.all(|other| !self.sets[*one].may_meet(self.sets[*other]))
        })
    }
}
