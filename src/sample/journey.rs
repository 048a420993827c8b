//! How a lead moves through the stages: which it reaches, when, and how it ends.

use super::calendar::{DAY_S, HOUR_S, RECORDS_END_S, day_of, working_time};
use super::company::{CallScript, CompanySize, Industry, Lead, Region};
use super::dice::{Dice, Stream};
use super::truths;

/// Of the leads that stop moving, how many nobody closes: they stay open in the records.
const FORGOTTEN_CHANCE: f64 = 0.08;
/// Of the deals lost after activation, how many come back once.
const REOPENED_CHANCE: f64 = 0.04;
/// Of the entries into proposed or negotiating, how many go back one stage and enter it again.
const FALL_BACK_CHANCE: f64 = 0.08;
/// Of the deals that passed qualified, and of those that passed negotiating, how many have no
/// record of it.
const SKIP_CHANCE: f64 = 0.075;
/// What is left of a quote each time it is sent again.
const RESENT_QUOTE_FACTOR: f64 = 0.95;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Acquired,
    Activated,
    Qualified,
    Proposed,
    Negotiating,
    Won,
}

impl Stage {
    pub(super) const ALL: [Self; 6] = [
        Self::Acquired,
        Self::Activated,
        Self::Qualified,
        Self::Proposed,
        Self::Negotiating,
        Self::Won,
    ];

    fn next(self) -> Option<Self> {
        Self::ALL.get(self as usize + 1).copied()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LostReason {
    NoResponse,
    WrongFit,
    NoBudget,
    Price,
    Competitor,
}

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepKind {
    Entered(Stage),
    Lost(LostReason),
}

/// One row of the event log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) at: i64,
    pub(super) kind: StepKind,
    /// The quote of a proposal, or the price of a contract.
    pub(super) amount: Option<f64>,
}

impl Step {
    /// The stage entered, None for a loss.
    pub(super) fn stage(&self) -> Option<Stage> {
        match self.kind {
            StepKind::Entered(stage) => Some(stage),
            StepKind::Lost(_) => None,
        }
    }
}

/// The recorded steps of a lead, in order of time and never empty: the first is its acquisition.
pub(super) fn draw_journey(seed: u64, lead: &Lead) -> Vec<Step> {
    let mut walk = Walk::start(seed, lead);
    walk.finish();
    let Walk {
        mut steps,
        mut dice,
        ..
    } = walk;
    steps.retain(|step| step.at < RECORDS_END_S);
    for stage in [Stage::Qualified, Stage::Negotiating] {
        skip(&mut dice, &mut steps, stage);
    }
    steps
}

/// A lead on its way.
struct Walk<'a> {
    lead: &'a Lead,
    dice: Dice,
    steps: Vec<Step>,
    stage: Stage,
    at: i64,
    /// When the first proposal was sent.
    proposed_at: Option<i64>,
    quote: f64,
}

impl<'a> Walk<'a> {
    fn start(seed: u64, lead: &'a Lead) -> Self {
        let mut dice = Dice::new(seed, Stream::Journey(lead.id));
        let quote = dice.mildly_skewed(typical_quote(lead));
        let mut walk = Self {
            lead,
            dice,
            steps: Vec::with_capacity(Stage::ALL.len()),
            stage: Stage::Acquired,
            at: lead.created_at,
            proposed_at: None,
            quote,
        };
        walk.record(StepKind::Entered(Stage::Acquired));
        walk
    }

    fn finish(&mut self) {
        let mut reopened = false;
        while let Some(next) = self.stage.next() {
            let probability = pass_probability(self.lead, self.stage, self.proposed_at);
            if self.dice.chance(probability) {
                self.advance(next);
                continue;
            }
            if self.dice.chance(FORGOTTEN_CHANCE) {
                return;
            }
            self.lose();
            // A lead that never answered isn't re-opened: that would blur the call scripts' effect.
            let comes_back = self.dice.chance(REOPENED_CHANCE) && self.stage > Stage::Acquired;
            if reopened || !comes_back {
                return;
            }
            reopened = true;
            self.wait(30.0 * DAY_S as f64);
            self.enter(self.stage);
        }
    }

    fn advance(&mut self, next: Stage) {
        let previous = self.stage;
        self.wait(typical_wait_s(self.lead, previous));
        self.enter(next);
        let may_fall_back = matches!(next, Stage::Proposed | Stage::Negotiating);
        if may_fall_back && self.dice.chance(FALL_BACK_CHANCE) {
            for stage in [previous, next] {
                self.wait(typical_wait_s(self.lead, previous));
                self.enter(stage);
            }
        }
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.record(StepKind::Entered(stage));
    }

    fn lose(&mut self) {
        self.wait(typical_silence_s(self.stage));
        let reason = self.dice.pick(&lost_reasons(self.stage));
        self.record(StepKind::Lost(reason));
    }

    fn wait(&mut self, median_s: f64) {
        let wait_s = self.dice.skewed(median_s);
        self.at = working_time(&mut self.dice, self.at, wait_s);
    }

    fn record(&mut self, kind: StepKind) {
        let amount = match kind {
            StepKind::Entered(Stage::Proposed) => {
                match self.proposed_at {
                    Some(_) => self.quote *= RESENT_QUOTE_FACTOR,
                    None => self.proposed_at = Some(self.at),
                }
                Some(self.quote)
            }
            StepKind::Entered(Stage::Won) => Some(self.quote * self.dice.between(0.82, 1.0)),
            _ => None,
        };
        self.steps.push(Step {
            at: self.at,
            kind,
            amount: amount.map(round_to_hundred),
        });
    }
}

/// Forgets, for some of the leads that came further, that they ever were in a stage.
fn skip(dice: &mut Dice, steps: &mut Vec<Step>, stage: Stage) {
    let came_further = steps
        .iter()
        .filter_map(Step::stage)
        .any(|reached| reached > stage);
    if dice.chance(SKIP_CHANCE) && came_further {
        steps.retain(|step| step.stage() != Some(stage));
    }
}

fn round_to_hundred(amount: f64) -> f64 {
    (amount / 100.0).round().max(1.0) * 100.0
}

/// The probability that a lead in `stage` goes on to the next one.
fn pass_probability(lead: &Lead, stage: Stage, proposed_at: Option<i64>) -> f64 {
    match stage {
        Stage::Acquired => activation_probability(lead),
        Stage::Activated => with_odds(0.50, qualification_odds(lead)),
        Stage::Qualified => with_odds(0.70, lead.owner.skill().odds),
        Stage::Proposed => 0.72 * negotiation_factor(lead, proposed_at),
        Stage::Negotiating => with_odds(0.72, lead.owner.skill().odds),
        Stage::Won => 0.0,
    }
}

fn activation_probability(lead: &Lead) -> f64 {
    let with_script_a = if lead.junk {
        truths::ANOMALY_ACTIVATION
    } else {
        0.68 + lead.owner.skill().activation
    };
    match lead.call_script {
        Some(CallScript::B) => with_script_a + truths::SCRIPT_B_ACTIVATION_LIFT,
        Some(CallScript::A) | None => with_script_a,
    }
}

fn qualification_odds(lead: &Lead) -> f64 {
    let of_size = match lead.size {
        CompanySize::Small => 0.65,
        CompanySize::Medium => 1.0,
        CompanySize::Large => 2.0,
    };
    let of_region = if lead.region == Region::East {
        1.7
    } else {
        1.0
    };
    let of_channel = if lead.channel == truths::BETTER_CHANNEL {
        truths::REFERRAL_QUALIFICATION_ODDS
    } else {
        1.0
    };
    of_size * of_region * of_channel
}

fn negotiation_factor(lead: &Lead, proposed_at: Option<i64>) -> f64 {
    let broken_days = truths::BROKEN_FIRST_DAY..=truths::BROKEN_LAST_DAY;
    let in_broken_month = proposed_at.is_some_and(|at| broken_days.contains(&day_of(at)));
    if lead.region == truths::BROKEN_REGION && in_broken_month {
        truths::BROKEN_NEGOTIATION_FACTOR
    } else {
        1.0
    }
}

/// The probability whose odds are `factor` times those of `probability`.
fn with_odds(probability: f64, factor: f64) -> f64 {
    let odds = factor * probability / (1.0 - probability);
    odds / (1.0 + odds)
}

/// The median time from a stage to the next: large customers take longer, skilled owners are faster.
fn typical_wait_s(lead: &Lead, stage: Stage) -> f64 {
    let of_owner = lead.owner.skill().slowness;
    let of_size = match lead.size {
        CompanySize::Small => 0.8,
        CompanySize::Medium => 1.0,
        CompanySize::Large => 1.6,
    };
    let days = match stage {
        // A first call doesn't depend on the customer's size.
        Stage::Acquired => return 7.0 * HOUR_S as f64 * of_owner,
        Stage::Activated => 5.0,
        Stage::Qualified => 6.5,
        Stage::Proposed => 8.0,
        Stage::Negotiating | Stage::Won => 9.0,
    };
    days * DAY_S as f64 * of_size * of_owner
}

/// The median time until a lead that doesn't move is given up.
fn typical_silence_s(stage: Stage) -> f64 {
    let days = match stage {
        Stage::Acquired => 21.0,
        Stage::Activated => 18.0,
        Stage::Qualified => 22.0,
        Stage::Proposed | Stage::Negotiating | Stage::Won => 25.0,
    };
    days * DAY_S as f64
}

fn lost_reasons(stage: Stage) -> [(LostReason, f64); 5] {
    use LostReason::{Competitor, NoBudget, NoResponse, Price, WrongFit};
    let weights = match stage {
        Stage::Acquired => [70.0, 22.0, 5.0, 0.0, 3.0],
        Stage::Activated => [25.0, 40.0, 25.0, 2.0, 8.0],
        Stage::Qualified => [15.0, 20.0, 35.0, 10.0, 20.0],
        Stage::Proposed => [10.0, 5.0, 15.0, 42.0, 28.0],
        Stage::Negotiating | Stage::Won => [4.0, 1.0, 15.0, 45.0, 35.0],
    };
    let [no_response, wrong_fit, no_budget, price, competitor] = weights;
    [
        (NoResponse, no_response),
        (WrongFit, wrong_fit),
        (NoBudget, no_budget),
        (Price, price),
        (Competitor, competitor),
    ]
}

/// The median quote: larger customers pay more.
fn typical_quote(lead: &Lead) -> f64 {
    let of_size = match lead.size {
        CompanySize::Small => 9_000.0,
        CompanySize::Medium => 32_000.0,
        CompanySize::Large => 130_000.0,
    };
    let of_industry = match lead.industry {
        Industry::Manufacturing => 1.1,
        Industry::Retail => 0.9,
        Industry::Finance => 1.4,
        Industry::Healthcare => 1.0,
        Industry::Education => 0.7,
    };
    of_size * of_industry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odds_of_one_half_times_three_are_three_quarters() {
        assert_eq!(with_odds(0.5, 3.0), 0.75);
        assert_eq!(with_odds(0.5, 1.0), 0.5);
    }

    #[test]
    fn stages_follow_each_other() {
        assert_eq!(Stage::Acquired.next(), Some(Stage::Activated));
        assert_eq!(Stage::Won.next(), None);
    }

    #[test]
    fn a_quote_is_at_least_one_hundred() {
        assert_eq!(round_to_hundred(3.0), 100.0);
        assert_eq!(round_to_hundred(12_349.0), 12_300.0);
    }
}
