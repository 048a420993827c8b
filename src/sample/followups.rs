//! The follow-ups: what owners do between a lead's steps.

use super::calendar::{DAY_S, RECORDS_END_S, working_time};
use super::company::Lead;
use super::dice::{Dice, Stream};
use super::journey::{Stage, Step};

/// The median time between two follow-ups of an average owner.
const TYPICAL_PAUSE_S: f64 = 6.0 * DAY_S as f64;
/// Owners give up on a lead that doesn't move after this time.
const PATIENCE_S: i64 = 45 * DAY_S;
/// How many follow-ups have a note.
const NOTE_CHANCE: f64 = 0.6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FollowupKind {
    Call,
    Email,
    Visit,
    Demo,
}

/// One follow-up of a lead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Followup {
    /// The lead's place in the list of leads.
    pub(super) lead_index: usize,
    pub(super) at: i64,
    pub(super) kind: FollowupKind,
    /// From 1, a short contact, to 3, work on the customer's own case.
    pub(super) depth: i32,
    pub(super) effective: bool,
    /// Which of the notes for its kind and effect it has, if any.
    pub(super) note: Option<usize>,
}

/// Appends the follow-ups of a lead, in order of time.
pub(super) fn draw_followups(
    seed: u64,
    lead_index: usize,
    lead: &Lead,
    steps: &[Step],
    followups: &mut Vec<Followup>,
) {
    let mut dice = Dice::new(seed, Stream::Followups(lead.id));
    for (index, step) in steps.iter().enumerate() {
        let Some(stage) = step.stage().filter(|stage| *stage != Stage::Won) else {
            continue;
        };
        if stage == Stage::Activated {
            followups.push(first_contact(&mut dice, lead_index, step.at));
        }
        let until = match steps.get(index + 1) {
            Some(next) => next.at,
            None => RECORDS_END_S,
        }
        .min(step.at + PATIENCE_S);
        let pause_s = TYPICAL_PAUSE_S * lead.owner.skill().slowness;
        let mut at = pause(&mut dice, step.at, pause_s);
        while at < until {
            followups.push(draw_followup(&mut dice, lead_index, stage, at));
            at = pause(&mut dice, at, pause_s);
        }
    }
}

fn pause(dice: &mut Dice, after: i64, median_s: f64) -> i64 {
    let pause_s = dice.skewed(median_s).max(DAY_S as f64);
    working_time(dice, after, pause_s)
}

/// The call in which a lead was activated.
fn first_contact(dice: &mut Dice, lead_index: usize, at: i64) -> Followup {
    Followup {
        lead_index,
        at,
        kind: FollowupKind::Call,
        depth: 1,
        effective: true,
        note: draw_note(dice),
    }
}

fn draw_followup(dice: &mut Dice, lead_index: usize, stage: Stage, at: i64) -> Followup {
    use FollowupKind::{Call, Demo, Email, Visit};
    let (kinds, depths) = match stage {
        Stage::Acquired => ([65.0, 35.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
        Stage::Activated => ([45.0, 30.0, 10.0, 15.0], [50.0, 40.0, 10.0]),
        Stage::Qualified => ([30.0, 20.0, 20.0, 30.0], [25.0, 45.0, 30.0]),
        Stage::Proposed | Stage::Negotiating | Stage::Won => {
            ([35.0, 25.0, 30.0, 10.0], [20.0, 40.0, 40.0])
        }
    };
    let kind = dice.pick(&[
        (Call, kinds[0]),
        (Email, kinds[1]),
        (Visit, kinds[2]),
        (Demo, kinds[3]),
    ]);
    let depth = dice.pick(&[(1, depths[0]), (2, depths[1]), (3, depths[2])]);
    let answered = dice.chance(0.3 + 0.15 * f64::from(depth));
    Followup {
        lead_index,
        at,
        kind,
        depth,
        // Until its activation a lead hasn't answered at all.
        effective: answered && stage != Stage::Acquired,
        note: draw_note(dice),
    }
}

fn draw_note(dice: &mut Dice) -> Option<usize> {
    let note = dice.below(super::text::NOTES_PER_CASE);
    dice.chance(NOTE_CHANCE).then_some(note)
}
