//! The tags that owners put on lost deals, and what the company wants its stages to pass.

use super::calendar::day_of;
use super::company::Lead;
use super::dice::{Dice, Stream};
use super::journey::{Stage, Step, StepKind};
use super::truths;

/// What went wrong, in a word of the owner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    NoAnswer,
    UnclearNeed,
    DecisionMakerMissing,
    MissingFeature,
    LateQuote,
    TooExpensive,
    LongPaymentTerms,
}

/// One tag of a lost deal.
#[derive(Debug, Clone, Copy)]
pub(super) struct LossTag {
    pub(super) lead_id: i64,
    pub(super) tag: Tag,
    /// The stage that the deal was lost at.
    pub(super) stage: Stage,
}

/// The tags of all losses, in the order of the leads.
pub(super) fn draw_loss_tags(seed: u64, leads: &[Lead], journeys: &[Vec<Step>]) -> Vec<LossTag> {
    let mut tags = Vec::new();
    for (lead, steps) in leads.iter().zip(journeys) {
        let mut dice = Dice::new(seed, Stream::LossTags(lead.id));
        let mut furthest = Stage::Acquired;
        for step in steps {
            match step.kind {
                StepKind::Entered(stage) => furthest = furthest.max(stage),
                StepKind::Lost(_) => draw_of_loss(&mut dice, lead, steps, furthest, &mut tags),
            }
        }
    }
    tags
}

fn draw_of_loss(
    dice: &mut Dice,
    lead: &Lead,
    steps: &[Step],
    stage: Stage,
    tags: &mut Vec<LossTag>,
) {
    for (tag, chance) in chances(lead, steps, stage) {
        // Each tag is drawn whatever its chance, so that a change to one leaves the others alone.
        if dice.chance(chance) {
            tags.push(LossTag {
                lead_id: lead.id,
                tag,
                stage,
            });
        }
    }
}

fn chances(lead: &Lead, steps: &[Step], stage: Stage) -> [(Tag, f64); 7] {
    use Tag::{
        DecisionMakerMissing, LateQuote, LongPaymentTerms, MissingFeature, NoAnswer, TooExpensive,
        UnclearNeed,
    };
    let chances = match stage {
        Stage::Acquired => [0.55, 0.10, 0.0, 0.0, 0.0, 0.0, 0.0],
        Stage::Activated => [0.20, 0.40, 0.12, 0.15, 0.0, 0.05, 0.0],
        Stage::Qualified => [0.10, 0.18, 0.30, 0.22, 0.05, 0.12, 0.0],
        Stage::Proposed => [
            0.06,
            0.05,
            0.20,
            0.12,
            late_quote_chance(lead, steps),
            0.35,
            0.05,
        ],
        Stage::Negotiating | Stage::Won => [0.04, 0.02, 0.25, 0.08, 0.05, 0.40, 0.22],
    };
    let tags = [
        NoAnswer,
        UnclearNeed,
        DecisionMakerMissing,
        MissingFeature,
        LateQuote,
        TooExpensive,
        LongPaymentTerms,
    ];
    std::array::from_fn(|at| (tags[at], chances[at]))
}

/// Truth 7: why the south's proposals of one month went nowhere.
fn late_quote_chance(lead: &Lead, steps: &[Step]) -> f64 {
    let proposed = steps
        .iter()
        .find(|step| step.stage() == Some(Stage::Proposed));
    let broken_days = truths::BROKEN_FIRST_DAY..=truths::BROKEN_LAST_DAY;
    let in_broken_month = proposed.is_some_and(|step| broken_days.contains(&day_of(step.at)));
    match lead.region == truths::BROKEN_REGION && in_broken_month {
        true => truths::LATE_QUOTE_SHARE_IN_BROKEN_MONTH,
        false => truths::LATE_QUOTE_SHARE,
    }
}

/// What the company wants each stage to pass, in fractions of the leads that enter it.
pub(super) const PASS_RATE_TARGETS: [(Stage, f64); 5] = [
    (Stage::Acquired, 0.70),
    (Stage::Activated, 0.55),
    (Stage::Qualified, 0.74),
    (Stage::Proposed, 0.78),
    (Stage::Negotiating, 0.74),
];

/// How long a lead should stay in each stage, in days on average.
pub(super) const STAGE_DAYS_TARGETS: [(Stage, f64); 5] = [
    (Stage::Acquired, 7.0),
    (Stage::Activated, 14.0),
    (Stage::Qualified, 14.0),
    (Stage::Proposed, 14.0),
    (Stage::Negotiating, 18.0),
];
