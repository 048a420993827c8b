//! The planted truths as numbers; the page of [`sample`](super) says what each one means.

use super::calendar::day_number;
use super::company::{Channel, Region};

/// Truth 1: what the truly better channel, referral, multiplies the odds of activated → qualified by.
pub const REFERRAL_QUALIFICATION_ODDS: f64 = 1.5;

/// Truth 2: the share of large customers among webinar leads.
pub const WEBINAR_LARGE_SHARE: f64 = 0.60;

/// Truth 2: the share of the strong region, the east, among webinar leads.
pub const WEBINAR_EAST_SHARE: f64 = 0.60;

/// Truth 3: what the south's probability of proposed → negotiating is multiplied by for first
/// proposals of 2026-03.
pub const BROKEN_NEGOTIATION_FACTOR: f64 = 0.35;

/// Truth 4: paid search leads of the anomalous day, as a multiple of what it would have brought.
pub const ANOMALY_TRAFFIC_FACTOR: f64 = 6.0;

/// Truth 4: the probability of acquired → activated of the extra leads on script A.
pub const ANOMALY_ACTIVATION: f64 = 0.12;

/// Truth 5: what script B adds to a lead's probability of acquired → activated.
pub const SCRIPT_B_ACTIVATION_LIFT: f64 = 0.08;

/// Truth 6: how many of the leads that are won had the door-opening channel as their first touch.
pub const CONTENT_FIRST_WHEN_WON: f64 = 0.45;
/// Truth 6: the same of all other leads.
pub const CONTENT_FIRST_OTHERWISE: f64 = 0.20;

/// Truth 7: the share of the south's deals with a first proposal of 2026-03, lost at that stage, that have the tag `late_quote`.
pub const LATE_QUOTE_SHARE_IN_BROKEN_MONTH: f64 = 0.75;

/// Truth 7: that share of all other deals that are lost at the stage proposed.
pub const LATE_QUOTE_SHARE: f64 = 0.08;

pub(super) const BETTER_CHANNEL: Channel = Channel::Referral;
pub(super) const MIX_ONLY_CHANNEL: Channel = Channel::Webinar;

pub(super) const BROKEN_REGION: Region = Region::South;
pub(super) const BROKEN_FIRST_DAY: i64 = day_number(2026, 3, 1);
pub(super) const BROKEN_LAST_DAY: i64 = day_number(2026, 3, 31);

pub(super) const ANOMALY_CHANNEL: Channel = Channel::PaidSearch;
pub(super) const ANOMALY_DAY: i64 = day_number(2025, 11, 11);

pub(super) const SCRIPT_TEST_FIRST_DAY: i64 = day_number(2025, 10, 1);
