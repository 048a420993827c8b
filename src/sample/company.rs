//! The company's leads: where they come from, what they are like, and who looks after them.

use super::arrivals::{Arrival, Arrivals};
use super::calendar::day_of;
use super::dice::{Dice, Stream};
use super::truths;

/// How often a lead's region, and independently its owner, is missing in the records.
const MISSING_VALUE_CHANCE: f64 = 0.01;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    OrganicSearch,
    PaidSearch,
    Referral,
    Webinar,
    Partner,
    Outbound,
}

/// Each channel with its share of the leads.
pub(super) const CHANNELS: [(Channel, f64); 6] = [
    (Channel::OrganicSearch, 0.26),
    (Channel::PaidSearch, 0.22),
    (Channel::Referral, 0.12),
    (Channel::Webinar, 0.13),
    (Channel::Partner, 0.12),
    (Channel::Outbound, 0.15),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Region {
    North,
    East,
    South,
    West,
}

const REGIONS: [(Region, f64); 4] = [
    (Region::North, 0.25),
    (Region::East, 0.30),
    (Region::South, 0.27),
    (Region::West, 0.18),
];

const OTHERS_OF_WEBINAR: f64 = 1.0 - truths::WEBINAR_EAST_SHARE;

/// The other regions keep about their proportions.
const WEBINAR_REGIONS: [(Region, f64); 4] = [
    (Region::North, 0.36 * OTHERS_OF_WEBINAR),
    (Region::East, truths::WEBINAR_EAST_SHARE),
    (Region::South, 0.38 * OTHERS_OF_WEBINAR),
    (Region::West, 0.26 * OTHERS_OF_WEBINAR),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Industry {
    Manufacturing,
    Retail,
    Finance,
    Healthcare,
    Education,
}

const INDUSTRIES: [(Industry, f64); 5] = [
    (Industry::Manufacturing, 0.30),
    (Industry::Retail, 0.24),
    (Industry::Finance, 0.16),
    (Industry::Healthcare, 0.16),
    (Industry::Education, 0.14),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompanySize {
    Small,
    Medium,
    Large,
}

const SIZES: [(CompanySize, f64); 3] = [
    (CompanySize::Small, 0.50),
    (CompanySize::Medium, 0.32),
    (CompanySize::Large, 0.18),
];

const WEBINAR_SIZES: [(CompanySize, f64); 3] = [
    (CompanySize::Small, 0.15),
    (CompanySize::Medium, 0.85 - truths::WEBINAR_LARGE_SHARE),
    (CompanySize::Large, truths::WEBINAR_LARGE_SHARE),
];

/// The arms of the call-script test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallScript {
    A,
    B,
}

/// A sales person: one of three in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner(pub(super) usize);

const OWNERS_PER_REGION: usize = 3;

/// What an owner's skill changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Skill {
    /// Added to the probability of acquired → activated.
    pub(super) activation: f64,
    /// Multiplies the odds of qualified → proposed and of negotiating → won.
    pub(super) odds: f64,
    /// Multiplies the time until each step.
    pub(super) slowness: f64,
}

const SKILLS: [Skill; OWNERS_PER_REGION] = [
    Skill {
        activation: 0.04,
        odds: 1.33,
        slowness: 0.75,
    },
    Skill {
        activation: 0.0,
        odds: 1.0,
        slowness: 1.0,
    },
    Skill {
        activation: -0.04,
        odds: 0.75,
        slowness: 1.33,
    },
];

impl Owner {
    /// Every region has one owner of each skill, so that skill isn't also a regional effect.
    pub(super) fn skill(self) -> Skill {
        let (region, seat) = (self.0 / OWNERS_PER_REGION, self.0 % OWNERS_PER_REGION);
        SKILLS[(region + seat) % OWNERS_PER_REGION]
    }
}

/// One lead and everything that is fixed when it arrives.
#[derive(Debug, Clone)]
pub(super) struct Lead {
    pub(super) id: i64,
    pub(super) created_at: i64,
    pub(super) channel: Channel,
    pub(super) region: Region,
    pub(super) industry: Industry,
    pub(super) size: CompanySize,
    pub(super) owner: Owner,
    /// None before the test began.
    pub(super) call_script: Option<CallScript>,
    /// One of the extra leads of the anomalous day.
    pub(super) junk: bool,
    /// False when the records miss the region, which acts all the same.
    region_recorded: bool,
    owner_recorded: bool,
}

impl Lead {
    fn draw(dice: &mut Dice, id: i64, arrival: Arrival) -> Self {
        let channel = dice.pick(&CHANNELS);
        let channel = if arrival.junk {
            truths::ANOMALY_CHANNEL
        } else {
            channel
        };
        let (regions, sizes) = if channel == truths::MIX_ONLY_CHANNEL {
            (&WEBINAR_REGIONS, &WEBINAR_SIZES)
        } else {
            (&REGIONS, &SIZES)
        };
        let region = dice.pick(regions);
        Self {
            id,
            created_at: arrival.at,
            channel,
            region,
            industry: dice.pick(&INDUSTRIES),
            size: dice.pick(sizes),
            owner: Owner(region as usize * OWNERS_PER_REGION + dice.below(OWNERS_PER_REGION)),
            call_script: draw_call_script(dice, arrival.at),
            junk: arrival.junk,
            region_recorded: !dice.chance(MISSING_VALUE_CHANCE),
            owner_recorded: !dice.chance(MISSING_VALUE_CHANCE),
        }
    }

    /// The region as the tables have it.
    pub(super) fn recorded_region(&self) -> Option<Region> {
        self.region_recorded.then_some(self.region)
    }

    /// The owner as the tables have it.
    pub(super) fn recorded_owner(&self) -> Option<Owner> {
        self.owner_recorded.then_some(self.owner)
    }
}

fn draw_call_script(dice: &mut Dice, created_at: i64) -> Option<CallScript> {
    let script = if dice.chance(0.5) {
        CallScript::A
    } else {
        CallScript::B
    };
    (day_of(created_at) >= truths::SCRIPT_TEST_FIRST_DAY).then_some(script)
}

/// All leads, numbered from 1 in the order of their arrival.
pub(super) fn draw_leads(seed: u64, count: usize, arrivals: &Arrivals) -> Vec<Lead> {
    (0..count)
        .map(|index| {
            let id = index as i64 + 1;
            let mut dice = Dice::new(seed, Stream::Lead(id));
            let arrival = arrivals.draw(&mut dice, index, count);
            Lead::draw(&mut dice, id, arrival)
        })
        .collect()
}
