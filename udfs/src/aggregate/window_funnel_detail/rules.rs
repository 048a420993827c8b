//! What a call of `window_funnel_detail` asks for, checked once.

use std::ops::RangeInclusive;

use crate::aggregate::hits::{MAX_CONDITIONS, Window};
use crate::definition::model::Counting;
use crate::error::FunnelError;

/// Rows that cut a chain short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Exclusion {
    /// The step from which on they do, from 1.
    pub after: usize,
    /// The step from which on they don't any more. The whole chain is `1` and the last step.
    pub before: usize,
}

/// What the arguments say, unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Options {
    /// How many steps there are.
    pub steps: usize,
    /// How long a chain may take from its first row.
    pub window: Window,
    /// How long each step may take from the step taken before it, the first one without meaning; empty
    /// where no step has a window of its own.
    pub step_windows: Vec<Window>,
    /// The steps that may be passed over, bit k - 1 for the k-th.
    pub optional: u64,
    /// The exclusions, in the order of the bits of a row.
    pub exclusions: Vec<Exclusion>,
    /// Whether the rows of a chain must have the same held value.
    pub held: bool,
    /// Which order of the steps counts.
    pub counting: Counting,
    /// Up to when the rows are known; the last row's time where absent.
    pub as_of: Option<i64>,
}

#[cfg(test)]
impl Options {
    /// `steps` steps in order within `window`, and nothing else.
    pub fn plain(steps: usize, window: Window) -> Self {
        Options {
            steps,
            window,
            step_windows: Vec::new(),
            optional: 0,
            exclusions: Vec::new(),
            held: false,
            counting: Counting::Ordered,
            as_of: None,
        }
    }
}

/// [`Options`] that make sense, with what the kernel looks up often.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Rules {
    options: Options,
    /// By level: the exclusions that cut a chain of that level, bit i for the i-th.
    in_force: Vec<u64>,
}

impl Rules {
    /// Rules that make sense.
    ///
    /// # Errors
    /// 22023 when there are not 1 to 64 steps, an optional step isn't between the first and the last, there
    /// is not one window for each step, an exclusion's steps are out of order or there are more than 64 of
    /// them, or `any` comes with what needs an order of the steps.
    pub fn new(options: Options) -> Result<Self, FunnelError> {
        check_steps(&options)?;
        check_optional(&options)?;
        check_step_windows(&options)?;
        check_exclusions(&options)?;
        Ok(Rules {
            in_force: (0..=options.steps)
                .map(|level| exclusions_in_force(&options.exclusions, level))
                .collect(),
            options,
        })
    }

    /// The same rules, for rows with or without held values.
    pub fn holding(mut self, held: bool) -> Self {
        self.options.held = held;
        self
    }

    pub fn steps(&self) -> usize {
        self.options.steps
    }

    pub fn counting(&self) -> Counting {
        self.options.counting
    }

    /// Whether the rows of a chain must have the same held value.
    pub fn held(&self) -> bool {
        self.options.held
    }

    pub fn as_of(&self) -> Option<i64> {
        self.options.as_of
    }

    /// The bits of all steps.
    pub fn all_steps(&self) -> u64 {
        u64::MAX >> (MAX_CONDITIONS - self.steps())
    }

    /// The bits of all exclusions.
    pub fn all_exclusions(&self) -> u64 {
        match self.options.exclusions.len() {
            0 => 0,
            count => u64::MAX >> (MAX_CONDITIONS - count),
        }
    }

    /// The exclusions that cut a chain which has taken `level` last.
    pub fn in_force(&self, level: usize) -> u64 {
        self.in_force[level]
    }

    /// The last moment that counts for a chain that starts at `start`.
    pub fn deadline(&self, start: i64) -> i64 {
        self.options.window.deadline(start)
    }

    /// The last moment at which `step` can follow a step that was taken at `last`.
    pub fn step_deadline(&self, step: usize, last: i64) -> i64 {
        let window = self.options.step_windows.get(step - 1);
        window.map_or(i64::MAX, |window| window.deadline(last))
    }

    /// The last moment at which a chain of `level` can go on, by whichever step.
    pub fn last_chance(&self, level: usize, start: i64, last: i64) -> i64 {
        let next = self.steps_after(level);
        let latest = next.map(|step| self.step_deadline(step, last)).max();
        self.deadline(start).min(latest.unwrap_or(i64::MAX))
    }

    /// The steps that can be the one before `step`; there are none before the first.
    pub fn steps_before(&self, step: usize) -> RangeInclusive<usize> {
        let mut earliest = step - 1;
        while earliest > 0 && self.is_optional(earliest) {
            earliest -= 1;
        }
        earliest.max(1)..=step - 1
    }

    /// The steps that can be the one after `step`; there are none after the last.
    pub fn steps_after(&self, step: usize) -> RangeInclusive<usize> {
        let mut latest = step + 1;
        while latest < self.steps() && self.is_optional(latest) {
            latest += 1;
        }
        step + 1..=latest.min(self.steps())
    }

    fn is_optional(&self, step: usize) -> bool {
        self.options.optional & (1 << (step - 1)) != 0
    }
}

fn exclusions_in_force(exclusions: &[Exclusion], level: usize) -> u64 {
    let applies = |exclusion: &Exclusion| exclusion.after <= level && level < exclusion.before;
    let bits = exclusions.iter().enumerate();
    bits.filter(|(_, exclusion)| applies(exclusion))
        .fold(0, |all, (index, _)| all | 1 << index)
}

fn invalid(message: String, hint: String) -> FunnelError {
    FunnelError::InvalidArgument { message, hint }
}

fn check_steps(options: &Options) -> Result<(), FunnelError> {
    if (1..=MAX_CONDITIONS).contains(&options.steps) {
        return Ok(());
    }
    Err(invalid(
        format!("a funnel can't have {} steps", options.steps),
        format!("Give 1 to {MAX_CONDITIONS} conditions, one for each step."),
    ))
}

fn check_optional(options: &Options) -> Result<(), FunnelError> {
    let steps = options.steps;
    if options.optional == 0 {
        return Ok(());
    }
    if options.counting == Counting::Any {
        return Err(invalid(
            "optional steps need an order of the steps, and \"any\" has none".to_owned(),
            "Leave optional out, or count \"ordered\" or \"strict\".".to_owned(),
        ));
    }
    let between = (2..steps).fold(0, |bits, step| bits | 1_u64 << (step - 1));
    let wrong = options.optional & !between;
    if wrong == 0 {
        return Ok(());
    }
    let step = wrong.trailing_zeros() + 1;
    let hint = if steps > 2 {
        format!(
            "Only steps between the first and the last can be optional: 2 to {}.",
            steps - 1
        )
    } else {
        "Only steps between the first and the last can be optional; leave optional out.".to_owned()
    };
    Err(invalid(
        format!("step {step} of {steps} can't be optional"),
        hint,
    ))
}

fn check_step_windows(options: &Options) -> Result<(), FunnelError> {
    let (windows, steps) = (options.step_windows.len(), options.steps);
    if windows != 0 && windows != steps {
        return Err(invalid(
            format!("step_windows has {windows} windows for {steps} steps"),
            format!("Give {steps} windows; the first one has no meaning and can be NULL."),
        ));
    }
    let unlimited = |window: &Window| *window == Window::Unlimited;
    if options.counting == Counting::Any && !options.step_windows.iter().skip(1).all(unlimited) {
        return Err(invalid(
            "windows for single steps need an order of the steps, and \"any\" has none".to_owned(),
            "Leave step_windows out, or count \"ordered\" or \"strict\".".to_owned(),
        ));
    }
    Ok(())
}

fn check_exclusions(options: &Options) -> Result<(), FunnelError> {
    let count = options.exclusions.len();
    if count > MAX_CONDITIONS {
        return Err(invalid(
            format!("there are {count} exclusions, and at most {MAX_CONDITIONS} are possible"),
            "Combine exclusions of the same steps with OR.".to_owned(),
        ));
    }
    if count > 0 && options.steps == 1 {
        return Err(invalid(
            "a funnel of one step has nothing to exclude between steps".to_owned(),
            "Leave exclude out, or filter the rows with WHERE.".to_owned(),
        ));
    }
    let mut exclusions = options.exclusions.iter();
    exclusions.try_for_each(|exclusion| check_exclusion(*exclusion, options))
}

fn check_exclusion(exclusion: Exclusion, options: &Options) -> Result<(), FunnelError> {
    let Exclusion { after, before } = exclusion;
    let steps = options.steps;
    if after < 1 || before > steps || after >= before {
        return Err(invalid(
            format!("an exclusion can't apply after step {after} and before step {before}"),
            format!("Name two steps from 1 to {steps}, the earlier one first."),
        ));
    }
    if options.counting == Counting::Any && (after, before) != (1, steps) {
        return Err(invalid(
            "an exclusion between two steps needs an order of the steps, and \"any\" has none"
                .to_owned(),
            "Exclude from the whole chain, or count \"ordered\" or \"strict\".".to_owned(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn plain(steps: usize) -> Options {
        Options::plain(steps, Window::Units(10))
    }

    fn fault(options: Options) -> (String, String) {
        match Rules::new(options) {
            Err(FunnelError::InvalidArgument { message, hint }) => (message, hint),
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn a_funnel_has_1_to_64_steps() {
        assert!(Rules::new(plain(1)).is_ok());
        assert!(Rules::new(plain(64)).is_ok());
        assert_eq!(fault(plain(0)).0, "a funnel can't have 0 steps");
        assert_eq!(
            fault(plain(65)).1,
            "Give 1 to 64 conditions, one for each step."
        );
    }

    #[test]
    fn only_steps_in_between_are_optional() {
        let optional = |steps, optional| Options {
            optional,
            ..plain(steps)
        };
        assert!(Rules::new(optional(4, 0b0110)).is_ok());
        for (bits, step) in [(0b0001, 1), (0b1000, 4), (0b10010, 5)] {
            let (message, hint) = fault(optional(4, bits));
            assert_eq!(message, format!("step {step} of 4 can't be optional"));
            assert_eq!(
                hint,
                "Only steps between the first and the last can be optional: 2 to 3."
            );
        }
        assert_eq!(
            fault(optional(2, 0b10)).1,
            "Only steps between the first and the last can be optional; leave optional out."
        );
    }

    #[test]
    fn each_step_has_its_window() {
        let options = |windows: usize| Options {
            step_windows: vec![Window::Units(1); windows],
            ..plain(3)
        };
        assert!(Rules::new(options(0)).is_ok());
        assert!(Rules::new(options(3)).is_ok());
        assert_eq!(
            fault(options(2)).0,
            "step_windows has 2 windows for 3 steps"
        );
    }

    #[test]
    fn an_exclusion_names_two_steps_in_order() {
        let between = |after, before| Options {
            exclusions: vec![Exclusion { after, before }],
            ..plain(3)
        };
        assert!(Rules::new(between(1, 3)).is_ok());
        assert!(Rules::new(between(2, 3)).is_ok());
        for (after, before) in [(2, 2), (3, 2), (0, 2), (2, 4)] {
            let (message, hint) = fault(between(after, before));
            assert_eq!(
                message,
                format!("an exclusion can't apply after step {after} and before step {before}")
            );
            assert_eq!(hint, "Name two steps from 1 to 3, the earlier one first.");
        }
    }

    #[test]
    fn exclusions_are_limited_in_number() {
        let many = |count| Options {
            exclusions: vec![
                Exclusion {
                    after: 1,
                    before: 3
                };
                count
            ],
            ..plain(3)
        };
        assert!(Rules::new(many(64)).is_ok());
        assert_eq!(
            fault(many(65)).0,
            "there are 65 exclusions, and at most 64 are possible"
        );
        let single = Options {
            exclusions: vec![Exclusion {
                after: 1,
                before: 1,
            }],
            ..plain(1)
        };
        assert_eq!(
            fault(single).0,
            "a funnel of one step has nothing to exclude between steps"
        );
    }

    #[test]
    fn any_order_refuses_what_needs_an_order() {
        let any = || Options {
            counting: Counting::Any,
            ..plain(3)
        };
        let whole = Exclusion {
            after: 1,
            before: 3,
        };
        let allowed = Options {
            exclusions: vec![whole],
            step_windows: vec![Window::Unlimited; 3],
            ..any()
        };
        assert!(Rules::new(allowed).is_ok());
        let optional = Options {
            optional: 0b10,
            ..any()
        };
        assert!(fault(optional).0.starts_with("optional steps need"));
        let windows = Options {
            step_windows: vec![Window::Units(1); 3],
            ..any()
        };
        assert!(fault(windows).0.starts_with("windows for single steps"));
        let between = Options {
            exclusions: vec![Exclusion {
                after: 1,
                before: 2,
            }],
            ..any()
        };
        assert!(fault(between).0.starts_with("an exclusion between two"));
    }

    #[test]
    fn optional_steps_are_passed_over_one_after_the_other() {
        let rules = Rules::new(Options {
            optional: 0b01_1010,
            ..plain(6)
        });
        let rules = rules.unwrap();
        assert_eq!(rules.steps_before(1).count(), 0);
        assert_eq!(rules.steps_before(2), 1..=1);
        assert_eq!(rules.steps_before(3), 1..=2);
        assert_eq!(rules.steps_before(6), 3..=5);
        assert_eq!(rules.steps_after(1), 2..=3);
        assert_eq!(rules.steps_after(3), 4..=6);
        assert_eq!(rules.steps_after(6).count(), 0);
    }
}
