//! The modes of `window_funnel`: ClickHouse's, Doris' and StarRocks', each under its own name and with its own rules.

use crate::error::{FunnelError, nearest};

/// How rows may follow one another in a chain.
///
/// The peers' modes are not aliases of each other: over `A x B C`, ClickHouse's `strict_order` gives 1 and
/// Doris' `fixed` 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    /// ClickHouse's modes, freely combined; none of them is its default.
    Flags(Flags),
    /// One of Doris' modes, with the rules of Doris 4.1.
    Doris(DorisMode),
    /// One of StarRocks' modes, 0 to 7: the sum of 1 (deduplication), 2 (fixed) and 4 (increase).
    StarRocks(u8),
}

/// ClickHouse's five modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Flags {
    /// `strict_order`: a row that doesn't fit in ends the search.
    pub order: bool,
    /// `allow_reentry`: under `strict_order`, a step that comes too early is passed over.
    pub reentry: bool,
    /// `strict_deduplication`: a step after the first that comes again ends the search.
    pub deduplication: bool,
    /// `strict_increase`: each step is strictly later than the one before.
    pub increase: bool,
    /// `strict_once`: a row fills one step of a chain at most.
    pub once: bool,
}

/// Doris' modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum DorisMode {
    /// `default`: the longest chain in which a step and the next one are different rows.
    Default,
    /// `deduplication`: a row that repeats an earlier step ends its chain.
    Deduplication,
    /// `fixed`: each row that meets a condition has to be the next step.
    Fixed,
    /// `increase`: each step is strictly later than the one before.
    Increase,
}

impl Mode {
    /// Every mode that has a name: ClickHouse's five, then Doris' four.
    pub const NAMES: [&'static str; 9] = [
        "strict_order",
        "strict_deduplication",
        "strict_increase",
        "strict_once",
        "allow_reentry",
        "default",
        "deduplication",
        "fixed",
        "increase",
    ];

    /// The mode that these texts name; each may be a list with commas. No text at all is ClickHouse's default.
    ///
    /// Blanks around a name, its case and its repetition don't matter. An empty name is refused, as it is by
    /// ClickHouse and Doris: a list that ends in a comma is more often a mistake than a wish.
    ///
    /// Errors, all 22023: a name that isn't a mode, ClickHouse's former `strict`, a number in quotes,
    /// `allow_reentry` without `strict_order`, one of Doris' modes next to any other mode.
    pub fn parse_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Mode, FunnelError> {
        let mut flags = Flags::default();
        let mut doris: Option<(DorisMode, &'static str)> = None;
        let mut last_flag = None;
        for name in names.into_iter().flat_map(|text| text.split(',')) {
            let (mode, name) = named(name.trim())?;
            match mode {
                Named::Flag(flag) => {
                    *flag(&mut flags) = true;
                    last_flag = Some(name);
                }
                Named::Doris(mode) => match doris {
                    Some((other, first)) if other != mode => return Err(not_together(first, name)),
                    _ => doris = Some((mode, name)),
                },
            }
        }
        match (doris, last_flag) {
            (Some((_, doris)), Some(flag)) => Err(not_together(doris, flag)),
            (Some((mode, _)), None) => Ok(Mode::Doris(mode)),
            (None, _) if flags.reentry && !flags.order => Err(FunnelError::InvalidArgument {
                message: "mode \"allow_reentry\" means nothing without \"strict_order\"".to_owned(),
                hint: "Write 'strict_order, allow_reentry'.".to_owned(),
            }),
            (None, _) => Ok(Mode::Flags(flags)),
        }
    }

    /// StarRocks' mode of that number; 22023 when it isn't one of 0 to 7.
    pub fn parse_number(number: i64) -> Result<Mode, FunnelError> {
        match u8::try_from(number) {
            Ok(mode @ 0..=7) => Ok(Mode::StarRocks(mode)),
            _ => Err(FunnelError::InvalidArgument {
                message: format!("mode {number} is not one of 0 to 7"),
                hint: "Write 0, or the sum of 1 (deduplication), 2 (fixed) and 4 (increase); \
                       modes that have names are written as text."
                    .to_owned(),
            }),
        }
    }

    /// Whether rows that meet no condition matter: they do under ClickHouse's `strict_order`, and nowhere else.
    pub fn needs_all_rows(self) -> bool {
        matches!(self, Mode::Flags(flags) if flags.order)
    }
}

/// What a name stands for.
enum Named {
    Flag(fn(&mut Flags) -> &mut bool),
    Doris(DorisMode),
}

fn named(name: &str) -> Result<(Named, &'static str), FunnelError> {
    let known = Mode::NAMES
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(name))
        .unwrap_or_default();
    let mode = match known {
        "strict_order" => Named::Flag(|flags| &mut flags.order),
        "strict_deduplication" => Named::Flag(|flags| &mut flags.deduplication),
        "strict_increase" => Named::Flag(|flags| &mut flags.increase),
        "strict_once" => Named::Flag(|flags| &mut flags.once),
        "allow_reentry" => Named::Flag(|flags| &mut flags.reentry),
        "default" => Named::Doris(DorisMode::Default),
        "deduplication" => Named::Doris(DorisMode::Deduplication),
        "fixed" => Named::Doris(DorisMode::Fixed),
        "increase" => Named::Doris(DorisMode::Increase),
        _ => return Err(unknown(name)),
    };
    Ok((mode, known))
}

fn unknown(name: &str) -> FunnelError {
    let modes = Mode::NAMES.join(", ");
    if name.is_empty() {
        return FunnelError::InvalidArgument {
            message: "the mode is empty".to_owned(),
            hint: format!("Leave the mode out, or write one or more of {modes}."),
        };
    }
    if name.eq_ignore_ascii_case("strict") {
        return FunnelError::InvalidArgument {
            message: "mode \"strict\" is not supported".to_owned(),
            hint: "Write 'strict_deduplication', which is what ClickHouse used to call strict, \
                   or 'strict_order' if no other row may come between two steps."
                .to_owned(),
        };
    }
    if let Ok(number) = name.parse::<i64>() {
        return FunnelError::InvalidArgument {
            message: format!("mode \"{name}\" is a number in quotes"),
            hint: format!("StarRocks' modes are numbers: write {number} without the quotes."),
        };
    }
    let known = Mode::NAMES.map(str::to_owned);
    let guess = nearest(name, &known)
        .map(|near| format!("Perhaps you meant \"{near}\". "))
        .unwrap_or_default();
    FunnelError::InvalidArgument {
        message: format!("mode \"{name}\" does not exist"),
        hint: format!("{guess}The modes are {modes}, and the numbers 0 to 7."),
    }
}

fn not_together(one: &str, other: &str) -> FunnelError {
    FunnelError::InvalidArgument {
        message: format!("modes \"{one}\" and \"{other}\" can't be combined"),
        hint: "default, deduplication, fixed and increase are Doris' modes, of which one stands alone; \
               strict_order, strict_deduplication, strict_increase, strict_once and allow_reentry combine."
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn fault(names: &[&str]) -> (String, String) {
        match Mode::parse_names(names.iter().copied()) {
            Err(FunnelError::InvalidArgument { message, hint }) => (message, hint),
            other => panic!("{names:?} gave {other:?}"),
        }
    }

    fn parsed(names: &[&str]) -> Mode {
        Mode::parse_names(names.iter().copied()).unwrap()
    }

    #[test]
    fn flags_come_as_texts_or_as_lists_in_any_case_and_number() {
        let both = Mode::Flags(Flags {
            order: true,
            once: true,
            ..Flags::default()
        });
        assert_eq!(parsed(&["strict_order", "strict_once"]), both);
        assert_eq!(parsed(&[" STRICT_once,strict_order , strict_order"]), both);
        assert_eq!(parsed(&[]), Mode::Flags(Flags::default()));
        for (name, flag) in [
            ("strict_order", (|f| f.order) as fn(Flags) -> bool),
            ("strict_deduplication", |f| f.deduplication),
            ("strict_increase", |f| f.increase),
            ("strict_once", |f| f.once),
        ] {
            let Mode::Flags(flags) = parsed(&[name]) else {
                panic!("{name} is no flag");
            };
            assert!(flag(flags), "{name}");
        }
    }

    #[test]
    fn every_name_is_a_mode_of_its_own() {
        let mut modes: Vec<Mode> = Mode::NAMES
            .iter()
            .filter(|name| **name != "allow_reentry")
            .map(|name| parsed(&[*name]))
            .collect();
        modes.push(parsed(&["strict_order, allow_reentry"]));
        for (at, mode) in modes.iter().enumerate() {
            assert!(!modes[..at].contains(mode), "{mode:?}");
        }
    }

    #[test]
    fn the_modes_of_doris_stand_alone() {
        assert_eq!(parsed(&["default"]), Mode::Doris(DorisMode::Default));
        assert_eq!(parsed(&["fixed,Fixed"]), Mode::Doris(DorisMode::Fixed));
        assert_eq!(
            parsed(&["deduplication"]),
            Mode::Doris(DorisMode::Deduplication)
        );
        assert_eq!(parsed(&["increase"]), Mode::Doris(DorisMode::Increase));
        assert_eq!(
            fault(&["fixed", "increase"]).0,
            "modes \"fixed\" and \"increase\" can't be combined"
        );
        assert_eq!(
            fault(&["strict_once, fixed"]).0,
            "modes \"fixed\" and \"strict_once\" can't be combined"
        );
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_names_there_are() {
        let (message, hint) = fault(&["strict_ordre"]);
        assert_eq!(message, "mode \"strict_ordre\" does not exist");
        assert_eq!(
            hint,
            "Perhaps you meant \"strict_order\". The modes are strict_order, strict_deduplication, \
             strict_increase, strict_once, allow_reentry, default, deduplication, fixed, increase, \
             and the numbers 0 to 7."
        );
        assert!(
            fault(&["no such thing at all"])
                .1
                .starts_with("The modes are ")
        );
        assert!(fault(&["strict"]).1.contains("'strict_deduplication'"));
        assert_eq!(
            fault(&["4"]),
            (
                "mode \"4\" is a number in quotes".to_owned(),
                "StarRocks' modes are numbers: write 4 without the quotes.".to_owned()
            )
        );
        for empty in ["", "  ", "strict_once,", ",strict_once"] {
            assert_eq!(fault(&[empty]).0, "the mode is empty");
        }
    }

    #[test]
    fn reentry_needs_order() {
        assert_eq!(
            fault(&["allow_reentry", "strict_once"]).1,
            "Write 'strict_order, allow_reentry'."
        );
        let mode = parsed(&["allow_reentry", "strict_order"]);
        assert!(mode.needs_all_rows());
        assert!(!parsed(&["strict_once"]).needs_all_rows());
        assert!(!parsed(&["fixed"]).needs_all_rows());
    }

    #[test]
    fn numbers_are_the_modes_of_starrocks() {
        for number in 0..=7 {
            assert_eq!(
                Mode::parse_number(number),
                Ok(Mode::StarRocks(number as u8))
            );
        }
        for number in [-1, 8, 256, i64::MAX, i64::MIN] {
            assert!(Mode::parse_number(number).is_err(), "{number}");
        }
    }
}
