//! The marketing touches of leads: what reached them before they came, the last of which brought them.

use super::calendar::{DAY_S, HOUR_S};
use super::company::{CHANNELS, Channel, Lead};
use super::dice::{Dice, Stream};
use super::journey::{Stage, Step};
use super::truths;

/// How often a touch has one before it.
const EARLIER_CHANCE: f64 = 0.5;
/// Touches of a lead by one of its channels.
const MOST_TOUCHES: usize = 5;
/// The median time between two touches.
const TYPICAL_PAUSE_S: f64 = 4.0 * DAY_S as f64;
/// The longest time from the touch that brings a lead to its creation.
const LONGEST_FORM_S: f64 = 0.5 * HOUR_S as f64;

/// The channel of a touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TouchChannel {
    /// One that never brings a lead by itself.
    Content,
    /// One that leads come from.
    Of(Channel),
}

/// One touch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Touch {
    pub(super) lead_id: i64,
    pub(super) at: i64,
    pub(super) channel: TouchChannel,
    /// What this touch itself cost; most cost nothing.
    pub(super) cost: Option<f64>,
}

/// All touches, in order of time.
pub(super) fn draw_touches(seed: u64, leads: &[Lead], journeys: &[Vec<Step>]) -> Vec<Touch> {
    let mut touches = Vec::with_capacity(3 * leads.len());
    for (lead, steps) in leads.iter().zip(journeys) {
        let is_won = steps.iter().any(|step| step.stage() == Some(Stage::Won));
        draw_of_lead(seed, lead, is_won, &mut touches);
    }
    touches.sort_by_key(|touch| (touch.at, touch.lead_id));
    touches
}

/// The touches of a lead, from the last back to the first.
fn draw_of_lead(seed: u64, lead: &Lead, is_won: bool, touches: &mut Vec<Touch>) {
    let mut dice = Dice::new(seed, Stream::Touches(lead.id));
    let mut at = lead.created_at - dice.between(0.0, LONGEST_FORM_S) as i64;
    let mut channel = lead.channel;
    for _ in 0..MOST_TOUCHES {
        let cost = cost(&mut dice, channel);
        touches.push(Touch {
            lead_id: lead.id,
            at,
            channel: TouchChannel::Of(channel),
            cost,
        });
        at = earlier(&mut dice, at);
        channel = dice.pick(&CHANNELS);
        if !dice.chance(EARLIER_CHANCE) {
            break;
        }
    }
    let opened = match is_won {
        true => truths::CONTENT_FIRST_WHEN_WON,
        false => truths::CONTENT_FIRST_OTHERWISE,
    };
    if dice.chance(opened) {
        touches.push(Touch {
            lead_id: lead.id,
            at,
            channel: TouchChannel::Content,
            cost: None,
        });
    }
}

fn earlier(dice: &mut Dice, at: i64) -> i64 {
    at - dice.skewed(TYPICAL_PAUSE_S).max(60.0) as i64
}

/// A click or an invitation is paid one by one; the rest is in the channel's costs.
fn cost(dice: &mut Dice, channel: Channel) -> Option<f64> {
    let (low, high) = match channel {
        Channel::PaidSearch => (2.0, 9.0),
        Channel::Webinar => (10.0, 25.0),
        Channel::OrganicSearch | Channel::Referral | Channel::Partner | Channel::Outbound => {
            return None;
        }
    };
    Some((dice.between(low, high) * 100.0).round() / 100.0)
}
