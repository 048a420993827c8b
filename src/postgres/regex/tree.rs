//! What a regular expression is made of, and how the libraries for regular expressions write it.

/// What holds at a place and takes no character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assertion {
    /// The start of the text.
    Start,
    /// The end of the text.
    End,
    /// The start of a line.
    LineStart,
    /// The end of a line.
    LineEnd,
    /// The start of a word.
    WordStart,
    /// The end of a word.
    WordEnd,
    /// Either of them.
    WordEdge,
    /// Neither of them.
    NoWordEdge,
}

/// A part of a regular expression.
#[derive(Debug)]
pub enum Node {
    /// Nothing.
    Empty,
    /// One character, as the libraries write it: escaped, or a class.
    One(String),
    /// What has to hold here.
    Assert(Assertion),
    /// What has to follow, or to stand before, and isn't part of the match.
    Look {
        /// Whether it has to follow.
        ahead: bool,
        /// Whether it has to be there, or must not.
        there: bool,
        /// What is looked for.
        inner: Box<Node>,
    },
    /// Parentheses.
    Group {
        /// Whether they remember what they found.
        remembers: bool,
        /// What is in them.
        inner: Box<Node>,
    },
    /// What the parentheses of that number have found.
    Back {
        /// Counted from 1.
        number: usize,
        /// Whether letters are the same in both cases.
        fold: bool,
    },
    /// The same again.
    Repeat {
        /// What is repeated.
        inner: Box<Node>,
        /// How often at least.
        least: u32,
        /// How often at most, if there is an end to it.
        most: Option<u32>,
        /// Whether less is preferred to more.
        shorter: bool,
    },
    /// One after the other.
    Sequence(Vec<Node>),
    /// One of them.
    Choice(Vec<Node>),
}

impl Node {
    /// One character that is meant itself.
    pub fn only(character: char) -> Self {
        let mut written = String::new();
        if r"\.+*?()|[]{}^$".contains(character) {
            written.push('\\');
        }
        written.push(character);
        Self::One(written)
    }

    fn parts(&self) -> &[Node] {
        match self {
            Self::Group { inner, .. } | Self::Repeat { inner, .. } | Self::Look { inner, .. } => {
                std::slice::from_ref(inner)
            }
            Self::Sequence(parts) | Self::Choice(parts) => parts,
            Self::Empty | Self::One(_) | Self::Assert(_) | Self::Back { .. } => &[],
        }
    }

    fn any(&self, is_it: &dyn Fn(&Node) -> bool) -> bool {
        is_it(self) || self.parts().iter().any(|part| part.any(is_it))
    }

    /// Whether it neither refers back nor looks around.
    pub fn is_regular(&self) -> bool {
        !self.any(&|node| matches!(node, Self::Back { .. } | Self::Look { .. }))
    }

    /// Whether another way than the first one may match more of a text. Single characters that are repeated take as much as
    /// there is the first time; where less is preferred, the longest match isn't what is wanted.
    pub fn may_be_longer(&self) -> bool {
        let has_ways = |node: &Node| match node {
            Self::Choice(_) => true,
            Self::Repeat {
                inner, least, most, ..
            } => *most != Some(*least) && !matches!(inner.as_ref(), Self::One(_)),
            _ => false,
        };
        self.any(&has_ways) && !self.any(&|node| matches!(node, Self::Repeat { shorter: true, .. }))
    }

    /// Writes it for the libraries.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Empty => {}
            Self::One(written) => out.push_str(written),
            Self::Assert(assertion) => out.push_str(match assertion {
                Assertion::Start => "^",
                Assertion::End => "$",
                Assertion::LineStart => "(?m:^)",
                Assertion::LineEnd => "(?m:$)",
                Assertion::WordStart => r"\b{start}",
                Assertion::WordEnd => r"\b{end}",
                Assertion::WordEdge => r"\b",
                Assertion::NoWordEdge => r"\B",
            }),
            Self::Look {
                ahead,
                there,
                inner,
            } => {
                out.push_str(match (ahead, there) {
                    (true, true) => "(?=",
                    (true, false) => "(?!",
                    (false, true) => "(?<=",
                    (false, false) => "(?<!",
                });
                inner.write(out);
                out.push(')');
            }
            Self::Back { number, fold } => {
                let flag = if *fold { "i" } else { "" };
                out.push_str(&format!(r"(?{flag}:\{number})"));
            }
            Self::Group { remembers, inner } => {
                out.push_str(if *remembers { "(" } else { "(?:" });
                inner.write(out);
                out.push(')');
            }
            Self::Repeat {
                inner,
                least,
                most,
                shorter,
            } => {
                inner.write(out);
                match (least, most) {
                    (0, None) => out.push('*'),
                    (1, None) => out.push('+'),
                    (0, Some(1)) => out.push('?'),
                    (least, None) => out.push_str(&format!("{{{least},}}")),
                    (least, Some(most)) if least == most => out.push_str(&format!("{{{least}}}")),
                    (least, Some(most)) => out.push_str(&format!("{{{least},{most}}}")),
                }
                if *shorter {
                    out.push('?');
                }
            }
            Self::Sequence(nodes) => nodes.iter().for_each(|node| node.write(out)),
            Self::Choice(branches) => {
                for (at, branch) in branches.iter().enumerate() {
                    if at > 0 {
                        out.push('|');
                    }
                    branch.write(out);
                }
            }
        }
    }
}
