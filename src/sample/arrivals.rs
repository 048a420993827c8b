//! When leads arrive, and what the channels cost: a weekly season, mild growth, busy and quiet days,
//! one anomaly.

use super::calendar::{DAY_S, END_DAY, FIRST_DAY, HOUR_S, weekday};
use super::company::{CHANNELS, Channel};
use super::dice::{Dice, Stream};
use super::truths;

/// Traffic by weekday, Monday first.
const WEEKDAY_WEIGHTS: [f64; 7] = [1.0, 1.1, 1.1, 1.05, 0.9, 0.35, 0.3];

/// Traffic at the end of the period, with 1 at its start.
const GROWTH: f64 = 1.4;

/// A day's traffic varies by this fraction to each side, about as much as forty independent leads do.
const DAILY_VARIATION: f64 = 0.3;

/// Share of a day's leads by hour; the fractions add up to 1.
const HOUR_SHARES: [f64; 24] = [
    0.005, 0.005, 0.005, 0.005, 0.005, 0.01, 0.015, 0.03, 0.06, 0.09, 0.1, 0.09, 0.06, 0.07, 0.09,
    0.09, 0.08, 0.06, 0.04, 0.03, 0.025, 0.02, 0.01, 0.005,
];

/// A lead's arrival.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) at: i64,
    /// One of the extra leads of the anomalous day.
    pub(super) junk: bool,
}

/// The traffic of one day, in units that only compare with other days.
#[derive(Debug, Clone, Copy)]
struct DayTraffic {
    day: i64,
    /// The traffic of all days before it.
    before: f64,
    ordinary: f64,
    /// On top of the ordinary: zero but on the anomalous day.
    extra: f64,
}

/// The traffic of each day of the period.
#[derive(Debug)]
pub(super) struct Arrivals {
    days: Vec<DayTraffic>,
    total: f64,
}

/// What a channel cost on a day.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChannelCost {
    pub(super) channel: Channel,
    pub(super) day: i64,
    pub(super) cost: f64,
}

impl Arrivals {
    pub(super) fn new(seed: u64) -> Self {
        let mut total = 0.0;
        let days = (FIRST_DAY..END_DAY)
            .map(|day| {
                let ordinary = ordinary_traffic(seed, day);
                let extra = ordinary * extra_traffic(day);
                let before = total;
                total += ordinary + extra;
                DayTraffic {
                    day,
                    before,
                    ordinary,
                    extra,
                }
            })
            .collect();
        Self { days, total }
    }

    /// The arrival of the lead with this index, out of `count`.
    ///
    /// The traffic is cut into `count` equal pieces and each lead arrives somewhere in its own, so that
    /// leads arrive in the order of their index without being sorted.
    pub(super) fn draw(&self, dice: &mut Dice, index: usize, count: usize) -> Arrival {
        let position = self.total * (index as f64 + dice.uniform()) / count as f64;
        let following = self.days.partition_point(|day| day.before <= position);
        let traffic = self.days[following.saturating_sub(1)];
        let whole = traffic.ordinary + traffic.extra;
        let second = second_of_day((position - traffic.before) / whole);
        Arrival {
            at: traffic.day * DAY_S + second,
            junk: dice.chance(traffic.extra / whole),
        }
    }

    /// What each channel costs on each day when `count` leads arrive in all.
    pub(super) fn costs(&self, seed: u64, count: usize) -> Vec<ChannelCost> {
        let leads_per_traffic = count as f64 / self.total;
        self.days
            .iter()
            .flat_map(|traffic| {
                let mut dice = Dice::new(seed, Stream::Costs(traffic.day));
                CHANNELS.map(|(channel, share)| {
                    let expected_leads = traffic.of_channel(channel, share) * leads_per_traffic;
                    let cost = expected_leads * cost_per_lead(channel) * dice.between(0.8, 1.2);
                    ChannelCost {
                        channel,
                        day: traffic.day,
                        cost: (cost * 100.0).round() / 100.0,
                    }
                })
            })
            .collect()
    }
}

impl DayTraffic {
    fn of_channel(&self, channel: Channel, share: f64) -> f64 {
        let ordinary = self.ordinary * share;
        if channel == truths::ANOMALY_CHANNEL {
            ordinary + self.extra
        } else {
            ordinary
        }
    }
}

fn ordinary_traffic(seed: u64, day: i64) -> f64 {
    let mut dice = Dice::new(seed, Stream::Traffic(day));
    let elapsed = (day - FIRST_DAY) as f64 / (END_DAY - FIRST_DAY) as f64;
    let growth = 1.0 + (GROWTH - 1.0) * elapsed;
    let variation = dice.between(1.0 - DAILY_VARIATION, 1.0 + DAILY_VARIATION);
    WEEKDAY_WEIGHTS[weekday(day)] * growth * variation
}

/// The anomalous day's extra traffic as a fraction of its ordinary traffic.
fn extra_traffic(day: i64) -> f64 {
    if day != truths::ANOMALY_DAY {
        return 0.0;
    }
    let ordinary_share: f64 = CHANNELS
        .iter()
        .filter(|(channel, _)| *channel == truths::ANOMALY_CHANNEL)
        .map(|(_, share)| share)
        .sum();
    ordinary_share * (truths::ANOMALY_TRAFFIC_FACTOR - 1.0)
}

/// The second of the day before which the given fraction of its leads have arrived.
fn second_of_day(fraction: f64) -> i64 {
    let mut left = fraction;
    for (hour, share) in (0..).zip(HOUR_SHARES) {
        if left < share {
            return hour * HOUR_S + (left / share * HOUR_S as f64) as i64;
        }
        left -= share;
    }
    // Reached only when rounding leaves a crumb after the last hour.
    DAY_S - 1
}

fn cost_per_lead(channel: Channel) -> f64 {
    match channel {
        Channel::OrganicSearch => 12.0,
        Channel::PaidSearch => 85.0,
        Channel::Referral => 30.0,
        Channel::Webinar => 110.0,
        Channel::Partner => 60.0,
        Channel::Outbound => 95.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_of_a_day_add_up() {
        let total: f64 = HOUR_SHARES.iter().sum();
        assert!((total - 1.0).abs() < 1e-9, "{total}");
    }

    #[test]
    fn leads_arrive_in_order_and_within_the_period() {
        let arrivals = Arrivals::new(1);
        let instants: Vec<i64> = (0..500)
            .map(|index| {
                let mut dice = Dice::new(1, Stream::Lead(index as i64));
                arrivals.draw(&mut dice, index, 500).at
            })
            .collect();
        assert!(instants.is_sorted());
        assert!(
            instants
                .first()
                .is_some_and(|first| *first >= FIRST_DAY * DAY_S)
        );
        assert!(instants.last().is_some_and(|last| *last < END_DAY * DAY_S));
    }

    #[test]
    fn a_weekend_brings_less_than_a_working_day() {
        // 2025-01-01 was a Wednesday.
        let (wednesday, saturday) = (weekday(FIRST_DAY), weekday(FIRST_DAY + 3));
        assert!(WEEKDAY_WEIGHTS[saturday] < 0.5 * WEEKDAY_WEIGHTS[wednesday]);
    }
}
