//! The orders of customers: the contract that was won, purchases after it, and who referred whom.

use super::calendar::{DAY_S, RECORDS_END_S, working_time};
use super::company::{Channel, Lead};
use super::dice::{Dice, Stream};
use super::journey::{Stage, Step};

/// After each order, how many customers buy again.
const REPEAT_CHANCE: f64 = 0.6;
/// The median time between two orders.
const TYPICAL_PAUSE_S: f64 = 75.0 * DAY_S as f64;
/// How many customers of the referral channel name the customer who referred them.
const NAMES_REFERRER_CHANCE: f64 = 0.7;

/// One purchase.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub(super) customer_id: i64,
    pub(super) at: i64,
    pub(super) amount: f64,
    /// The customer who referred this one; on the first order only.
    pub(super) referred_by: Option<i64>,
}

/// All orders, in order of time.
pub(super) fn draw_orders(seed: u64, leads: &[Lead], journeys: &[Vec<Step>]) -> Vec<Order> {
    let mut first_orders: Vec<(&Lead, Order)> = leads
        .iter()
        .zip(journeys)
        .filter_map(|(lead, steps)| Some((lead, first_order(lead, steps)?)))
        .collect();
    first_orders.sort_by_key(|(_, order)| (order.at, order.customer_id));
    let customers: Vec<(i64, i64)> = first_orders
        .iter()
        .map(|(_, order)| (order.at, order.customer_id))
        .collect();
    let mut orders = Vec::with_capacity(2 * customers.len());
    for (lead, mut order) in first_orders {
        let mut dice = Dice::new(seed, Stream::Orders(lead.id));
        order.referred_by = draw_referrer(&mut dice, lead, &customers);
        orders.push(order);
        draw_repeat_orders(&mut dice, order, &mut orders);
    }
    orders.sort_by_key(|order| (order.at, order.customer_id));
    orders
}

fn first_order(lead: &Lead, steps: &[Step]) -> Option<Order> {
    let won = steps.iter().find(|step| step.stage() == Some(Stage::Won))?;
    Some(Order {
        customer_id: lead.id,
        at: won.at,
        amount: won.amount?,
        referred_by: None,
    })
}

/// One of the customers, (won at, id) sorted by both, who had signed before the lead arrived.
fn draw_referrer(dice: &mut Dice, lead: &Lead, customers: &[(i64, i64)]) -> Option<i64> {
    let earlier = customers.partition_point(|(won_at, _)| *won_at < lead.created_at);
    let index = dice.below(earlier);
    let named = dice.chance(NAMES_REFERRER_CHANCE) && lead.channel == Channel::Referral;
    let (_, customer_id) = customers[..earlier].get(index)?;
    named.then_some(*customer_id)
}

fn draw_repeat_orders(dice: &mut Dice, first: Order, orders: &mut Vec<Order>) {
    let mut at = first.at;
    while dice.chance(REPEAT_CHANCE) {
        let pause_s = dice.skewed(TYPICAL_PAUSE_S);
        at = working_time(dice, at, pause_s);
        if at >= RECORDS_END_S {
            return;
        }
        let amount = first.amount * dice.between(0.15, 0.55);
        orders.push(Order {
            at,
            amount: (amount / 10.0).round() * 10.0,
            referred_by: None,
            ..first
        });
    }
}
