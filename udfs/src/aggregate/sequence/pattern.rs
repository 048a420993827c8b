//! The pattern of the sequence functions: its text, and the form in which it is matched.
//!
//! | Written | Stands for |
//! |---|---|
//! | `(?2)` | a row that meets condition 2 |
//! | `.` | any row |
//! | `.*` | any number of rows, none too |
//! | `(?t<=10)` | the row here is at most 10 after the row taken last; also `<`, `>=`, `>`, `==` |
//!
//! Rows taken by `(?2)` and `.` are **steps**, what stands between two of them is a **gap**. A gap without
//! anything means that the next step takes the very next row. A gate `(?t…)` takes nothing, and looks forward
//! for a row where it holds, so it lets rows be skipped as `.*` does; gates in a row hold at the same row. It is
//! measured from the row taken last, whatever `.*` stands between, so that a `.*` right before a gate changes
//! nothing. Before the first step any rows may be skipped; a gate there is measured from any row that isn't
//! later than the one it holds at, and none of them is taken.

use crate::aggregate::hits::MAX_CONDITIONS;
use crate::error::FunnelError;

/// What a row has to be to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Take {
    /// It meets the condition of this bit.
    Condition(u64),
    /// It is there.
    Any,
}

/// How a gate compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Comparison {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
}

/// The operators; a longer one stands before its beginning.
const COMPARISONS: [(&str, Comparison); 5] = [
    ("<=", Comparison::AtMost),
    ("<", Comparison::Below),
    (">=", Comparison::AtLeast),
    (">", Comparison::Above),
    ("==", Comparison::Equal),
];

/// One `(?t…)`.
///
/// The amount has room for the largest number times the largest factor: scaling stays exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Gate {
    comparison: Comparison,
    amount: u128,
}

impl Gate {
    /// The least and the greatest time that it lets pass; none where the first is above the second.
    fn bounds(self) -> (u128, u128) {
        match self.comparison {
            Comparison::AtMost => (0, self.amount),
            Comparison::Below => self.amount.checked_sub(1).map_or((1, 0), |last| (0, last)),
            Comparison::AtLeast => (self.amount, u128::MAX),
            Comparison::Above => (self.amount.saturating_add(1), u128::MAX),
            Comparison::Equal => (self.amount, self.amount),
        }
    }

    /// Whether it holds where no row follows. A limit does, since nothing breaks it; so does `>=0`.
    fn holds_at_the_end(self) -> bool {
        match self.comparison {
            Comparison::AtMost | Comparison::Below => true,
            Comparison::AtLeast => self.amount == 0,
            Comparison::Above | Comparison::Equal => false,
        }
    }
}

/// Gates in a row: they hold at one and the same row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Stage {
    gates: Vec<Gate>,
    /// The least time since the base that passes.
    pub least: u64,
    /// The greatest time since the base that passes; below `least` if none does.
    pub greatest: u64,
}

impl Stage {
    fn new(gates: Vec<Gate>) -> Self {
        let (least, greatest) = gates
            .iter()
            .map(|gate| gate.bounds())
            .fold((0, u128::MAX), |(least, greatest), (from, to)| {
                (from.max(least), to.min(greatest))
            });
        // Two times differ by at most u64::MAX. A greater minimum never passes.
        let (least, greatest) = match u64::try_from(least) {
            Ok(least) => (least, u64::try_from(greatest).unwrap_or(u64::MAX)),
            Err(_) => (u64::MAX, 0),
        };
        Self {
            gates,
            least,
            greatest,
        }
    }

    fn scaled(self, factor: u128) -> Self {
        let scale = |gate: Gate| Gate {
            amount: gate.amount.saturating_mul(factor),
            ..gate
        };
        Self::new(self.gates.into_iter().map(scale).collect())
    }
}

/// What stands before a step, or after the last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Gap {
    /// The gates, divided by `.*`: each stage holds at a row not before that of the stage before it.
    pub stages: Vec<Stage>,
    /// Whether rows may be skipped after the last stage: it ends in `.*`.
    pub open: bool,
}

impl Gap {
    /// Whether the next step takes the very next row.
    pub fn is_adjacent(&self) -> bool {
        self.stages.is_empty() && !self.open
    }

    /// The stages that are done with once they held at some row.
    pub fn passed(&self) -> &[Stage] {
        match self.stages.split_last() {
            Some((_, before)) if !self.open => before,
            _ => &self.stages,
        }
    }

    /// The stage that has to hold at the very row that the next step takes.
    pub fn arrival(&self) -> Option<&Stage> {
        self.stages.last().filter(|_| !self.open)
    }

    /// Whether it holds where no row follows.
    pub fn holds_at_the_end(&self) -> bool {
        let mut gates = self.stages.iter().flat_map(|stage| &stage.gates);
        gates.all(|gate| gate.holds_at_the_end())
    }

    fn scaled(self, factor: u128) -> Self {
        Self {
            stages: self
                .stages
                .into_iter()
                .map(|stage| stage.scaled(factor))
                .collect(),
            open: self.open,
        }
    }
}

/// A row to take, and the gap before it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Step {
    pub gap: Gap,
    pub take: Take,
}

/// A pattern that can be matched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pattern {
    /// The steps; before the first one, rows may be skipped in any case.
    pub(super) steps: Vec<Step>,
    /// What stands behind the last step. Always open: a pattern says nothing of what follows a match.
    pub(super) end: Gap,
    /// Every condition that a step asks for.
    pub(super) required: u64,
}

impl Pattern {
    /// The pattern of a text, for a call with so many conditions.
    ///
    /// Blanks are allowed between the elements and inside of parentheses. The empty text is a pattern, too.
    ///
    /// # Errors
    /// 22023 for what isn't in the grammar, a condition that isn't there, a number above `i64::MAX`; with the
    /// position in characters, from 1.
    pub fn parse(text: &str, conditions: usize) -> Result<Pattern, FunnelError> {
        let mut parser = Parser {
            text,
            rest: text,
            conditions: conditions.min(MAX_CONDITIONS),
        };
        let mut builder = Builder::default();
        while let Some(element) = parser.element()? {
            builder.add(element);
        }
        Ok(builder.build())
    }

    /// The same pattern with the numbers of its gates in a unit that is `factor` times smaller.
    ///
    /// Exact; what is longer than two times can be apart is kept so.
    pub fn scaled(self, factor: i64) -> Pattern {
        let factor = u128::from(factor.unsigned_abs());
        Pattern {
            steps: self
                .steps
                .into_iter()
                .map(|step| Step {
                    gap: step.gap.scaled(factor),
                    ..step
                })
                .collect(),
            end: self.end.scaled(factor),
            required: self.required,
        }
    }
}

/// One element of the text.
#[derive(Debug, Clone, Copy)]
enum Element {
    Take(Take),
    Star,
    Gate(Gate),
}

/// Elements become steps and gaps.
#[derive(Default)]
struct Builder {
    steps: Vec<Step>,
    stages: Vec<Stage>,
    /// Gates in a row so far.
    gates: Vec<Gate>,
    open: bool,
}

impl Builder {
    fn add(&mut self, element: Element) {
        match element {
            Element::Take(take) => {
                let gap = self.close_gap();
                self.steps.push(Step { gap, take });
            }
            Element::Star => {
                self.close_stage();
                self.open = true;
            }
            Element::Gate(gate) => {
                // A gate looks forward by itself: a `.*` right before it changes nothing.
                self.open = false;
                self.gates.push(gate);
            }
        }
    }

    fn close_stage(&mut self) {
        if !self.gates.is_empty() {
            self.stages
                .push(Stage::new(std::mem::take(&mut self.gates)));
        }
    }

    fn close_gap(&mut self) -> Gap {
        self.close_stage();
        Gap {
            stages: std::mem::take(&mut self.stages),
            open: std::mem::take(&mut self.open),
        }
    }

    fn build(mut self) -> Pattern {
        let end = Gap {
            open: true,
            ..self.close_gap()
        };
        let required = self.steps.iter().fold(0, |mask, step| match step.take {
            Take::Condition(bit) => mask | bit,
            Take::Any => mask,
        });
        if let Some(first) = self.steps.first_mut() {
            // Rows are skipped before the first step in any case.
            first.gap.open |= first.gap.stages.is_empty();
        }
        Pattern {
            steps: self.steps,
            end,
            required,
        }
    }
}

/// Reads the text from left to right.
struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    conditions: usize,
}

impl Parser<'_> {
    fn element(&mut self) -> Result<Option<Element>, FunnelError> {
        self.skip_blanks();
        if self.rest.is_empty() {
            return Ok(None);
        }
        let start = self.position();
        if self.eat(".*") {
            return Ok(Some(Element::Star));
        }
        if self.eat(".") {
            return Ok(Some(Element::Take(Take::Any)));
        }
        if !self.eat("(") {
            return Err(self.unexpected("an element of the pattern"));
        }
        self.skip_blanks();
        if !self.eat("?") {
            return Err(self.unexpected("\"?\""));
        }
        self.skip_blanks();
        let element = if self.eat("t") {
            self.gate()?
        } else {
            self.condition()?
        };
        self.skip_blanks();
        if !self.eat(")") {
            let group = format!("the \")\" of the group that begins at character {start}");
            return Err(self.unexpected(&group));
        }
        Ok(Some(element))
    }

    fn gate(&mut self) -> Result<Element, FunnelError> {
        self.skip_blanks();
        let found = COMPARISONS
            .into_iter()
            .find(|(operator, _)| self.rest.starts_with(operator));
        let Some((operator, comparison)) = found else {
            return Err(self.unexpected("one of <=, <, >=, >, =="));
        };
        self.eat(operator);
        self.skip_blanks();
        let start = self.position();
        let digits = self.number("a number without a sign")?;
        match digits.parse::<i64>() {
            Ok(amount) => Ok(Element::Gate(Gate {
                comparison,
                amount: u128::from(amount.unsigned_abs()),
            })),
            Err(_) => {
                let greatest = i64::MAX;
                Err(self.fault(&format!(
                    "the number at character {start} of the pattern is above {greatest}"
                )))
            }
        }
    }

    fn condition(&mut self) -> Result<Element, FunnelError> {
        let start = self.position();
        let digits = self.number("the number of a condition, or t")?;
        let number = digits.parse::<usize>().unwrap_or(usize::MAX);
        if (1..=self.conditions).contains(&number) {
            let bit = 1 << (number - 1);
            return Ok(Element::Take(Take::Condition(bit)));
        }
        let there_are = match self.conditions {
            1 => "the call has 1 condition".to_owned(),
            conditions => format!("the call has {conditions} conditions"),
        };
        Err(self.fault(&format!(
            "condition {digits} at character {start} of the pattern doesn't exist, {there_are}"
        )))
    }

    /// The digits here, at least one. ClickHouse reads a plus sign before them, too.
    fn number(&mut self, expected: &str) -> Result<String, FunnelError> {
        self.eat("+");
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if length == 0 {
            return Err(self.unexpected(expected));
        }
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(digits.to_owned())
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Where the rest begins, in characters from 1.
    fn position(&self) -> usize {
        let read = self.text.len() - self.rest.len();
        self.text[..read].chars().count() + 1
    }

    fn unexpected(&self, expected: &str) -> FunnelError {
        let position = self.position();
        let message = match self.rest.chars().next() {
            Some(found) => format!(
                "the pattern has \"{found}\" at character {position}, where {expected} should be"
            ),
            None => format!("the pattern ends at character {position}, where {expected} should be"),
        };
        self.fault(&message)
    }

    fn fault(&self, message: &str) -> FunnelError {
        let last = match self.conditions {
            0 | 1 => String::new(),
            conditions => format!(" to (?{conditions})"),
        };
        FunnelError::InvalidArgument {
            message: message.to_owned(),
            hint: format!(
                "A pattern is made of (?1){last} for a row with that condition, . for any row, .* for any \
                 number of rows, and (?t<=10) for the time since the row taken last, with <=, <, >=, > or ==."
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn parse(text: &str) -> Pattern {
        Pattern::parse(text, 3).unwrap()
    }

    fn message(text: &str) -> String {
        match Pattern::parse(text, 3) {
            Err(FunnelError::InvalidArgument { message, hint }) => {
                assert!(hint.contains("(?1) to (?3)"), "{hint}");
                message
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    fn end_bounds(pattern: &Pattern) -> (u64, u64) {
        let stage = &pattern.end.stages[0];
        (stage.least, stage.greatest)
    }

    #[test]
    fn blanks_and_a_star_right_before_a_gate_change_nothing() {
        let pattern = parse("(?1)(?t>=2)(?2).*.(?3)");
        assert_eq!(parse(" ( ? 1 ) (?t >= 2 )\n(?2) .* . ( ?3)\t"), pattern);
        assert_eq!(parse("(?1)(?t>=+2)(?+2).*.(?3)"), pattern);
        assert_eq!(parse("(?1).*(?t>=2)(?2).*.*.(?3)"), pattern);
        assert_eq!(parse(".*(?1)"), parse("(?1)"));
        assert_eq!(parse("(?1).*"), parse("(?1)"));
        assert_ne!(parse("(?1)(?t>=2).*(?2)"), parse("(?1)(?t>=2)(?2)"));
    }

    #[test]
    fn each_operator_has_its_bounds() {
        for (text, bounds) in [
            ("(?1)(?t<=5)", (0, 5)),
            ("(?1)(?t<5)", (0, 4)),
            ("(?1)(?t>=5)", (5, u64::MAX)),
            ("(?1)(?t>5)", (6, u64::MAX)),
            ("(?1)(?t==5)", (5, 5)),
            ("(?1)(?t>2)(?t<=5)", (3, 5)),
            ("(?1)(?t<0)", (1, 0)),
        ] {
            assert_eq!(end_bounds(&parse(text)), bounds, "{text}");
        }
    }

    #[test]
    fn scaling_keeps_strict_comparisons_strict_and_never_overflows() {
        let scaled = |text: &str, factor| end_bounds(&parse(text).scaled(factor));
        assert_eq!(scaled("(?1)(?t<5)", 1000), (0, 4999));
        assert_eq!(scaled("(?1)(?t>5)", 1000), (5001, u64::MAX));
        let greatest = i64::MAX;
        assert_eq!(
            scaled(&format!("(?1)(?t<={greatest})"), greatest),
            (0, u64::MAX)
        );
        let (least, most) = scaled(&format!("(?1)(?t>={greatest})"), greatest);
        assert!(least > most);
    }

    #[test]
    fn a_fault_has_its_position() {
        for (text, expected) in [
            (
                "(?1)x",
                "the pattern has \"x\" at character 5, where an element of the pattern should be",
            ),
            (
                "(?1)漢(?2)",
                "the pattern has \"漢\" at character 5, where an element of the pattern should be",
            ),
            (
                ". *",
                "the pattern has \"*\" at character 3, where an element of the pattern should be",
            ),
            (
                "(?1)(?4)",
                "condition 4 at character 7 of the pattern doesn't exist, the call has 3 conditions",
            ),
            (
                "(?0)",
                "condition 0 at character 3 of the pattern doesn't exist, the call has 3 conditions",
            ),
            (
                "(?99999999999999999999)",
                "condition 99999999999999999999 at character 3 of the pattern doesn't exist, \
                 the call has 3 conditions",
            ),
            (
                "(?-1)",
                "the pattern has \"-\" at character 3, where the number of a condition, or t should be",
            ),
            (
                "(?1)(?2",
                "the pattern ends at character 8, where the \")\" of the group that begins at \
                 character 5 should be",
            ),
            (
                "(?1(?2)",
                "the pattern has \"(\" at character 4, where the \")\" of the group that begins at \
                 character 1 should be",
            ),
            (
                "(1)",
                "the pattern has \"1\" at character 2, where \"?\" should be",
            ),
            (
                "(?1)(?t<=)",
                "the pattern has \")\" at character 10, where a number without a sign should be",
            ),
            (
                "(?1)(?t<= -5)",
                "the pattern has \"-\" at character 11, where a number without a sign should be",
            ),
            (
                "(?1)(?t=5)",
                "the pattern has \"=\" at character 8, where one of <=, <, >=, >, == should be",
            ),
            (
                "(?1)(?t",
                "the pattern ends at character 8, where one of <=, <, >=, >, == should be",
            ),
            (
                "(?1)(?t<9223372036854775808)",
                "the number at character 9 of the pattern is above 9223372036854775807",
            ),
        ] {
            assert_eq!(message(text), expected, "{text}");
        }
    }
}
