//! Sample data: a made-up company that sells to businesses, 18 months of its CRM, written as Parquet.
//!
//! Leads arrive from 2025-01-01 on and records end at [`RECORDS_END`]; nothing is later, so the newest
//! deals are open. A lead moves through six stages (acquired, activated, qualified, proposed,
//! negotiating, won). It is lost with a reason, or forgotten and left open; some skip a stage, fall
//! back and enter one again, or are re-opened after the loss. One percent of the leads have no region
//! and one percent no owner: the records miss it, the deal went as any other. All instants are UTC, and
//! the office is open from 9 to 18 on weekdays.
//!
//! # Tables
//!
//! | table | one row per | sorted by |
//! |---|---|---|
//! | `leads` | lead, with its dimensions and its arm of the call-script test | `lead_id` |
//! | `events` | stage entry or loss, with the lead's dimensions; a quote or contract has its `amount` | `occurred_at` |
//! | `deals` | lead, with the date of each stage's first entry and of the first loss, and the last `amount` | `lead_id` |
//! | `stage_history` | stage entry or loss | `entered_at` |
//! | `followups` | call, email, visit or demo by the owner | `at` |
//! | `channel_costs` | channel and day | `day` |
//! | `orders` | purchase by a customer (`customer_id` is the `lead_id`), the won contract first | `at` |
//! | `touches` | advertisement, visit, mail or call that reached a lead before it was one, with its own `cost` where there is one | `at` |
//! | `loss_tags` | tag of a lost lead, with the stage that it was lost at; a loss has any number of them | `lead_id` |
//! | `targets` | metric and stage with the value that it should have | `metric`, stages in order |
//!
//! A lead's last touch is the one that brought it, within half an hour before its creation: its channel is that of the
//! lead. Half of the leads had an earlier one, half of those another before it, up to five, mostly days apart.
//!
//! # Planted truths
//!
//! What an analysis should find. Apart from these, only size and region (truth 2) and the owner's skill
//! (below) move a conversion; industry and size move the amount, size and skill the pace. The numbers
//! that programs need are in [`truths`].
//!
//! 1. **One channel is truly better.** `referral` (客户推荐) multiplies the odds of activated → qualified
//!    by 1.5, at every size and region. No other channel has an effect of its own, on any stage.
//! 2. **One channel only looks better.** `webinar` (线上研讨会) brings 60 % large customers and 60 % from
//!    the `east` (华东), against 18 % and 30 % elsewhere. Whatever the channel, the odds of activated →
//!    qualified are 2 times those of medium customers for large ones and 0.65 times for small ones, and
//!    1.7 times those of other regions in the east. Within one size and region webinar has no effect.
//! 3. **One region's stage broke for a month.** A deal of the `south` (华南) whose first proposal was
//!    sent in 2026-03 goes on to negotiation with 0.35 times the usual probability: 0.252, not 0.72.
//! 4. **One day's traffic is anomalous.** On 2025-11-11 `paid_search` (付费搜索) brings 6 times its leads
//!    and costs 6 times as much. The extra five sixths are junk: they activate with probability 0.12 on
//!    script A and 0.20 on script B, whoever their owner is.
//! 5. **One call script works.** Leads created from 2025-10-01 on get script `A` (the old one) or `B` by
//!    a fair coin. B adds 0.08 to each lead's probability of acquired → activated, and changes nothing
//!    after it.
//! 6. **One channel opens doors and closes none.** `content` (内容营销) is the first touch of 45 % of the leads that are won and
//!    of 20 % of the others, and never the last one: no lead has it as its channel. Credit for the last touch gives it
//!    nothing. Which other channels reach a lead early says nothing about whether it is won.
//! 7. **One tag goes with one region's bad month.** Of the deals of truth 3 that are lost at proposed, 0.75 have the tag
//!    `late_quote` (报价太慢), and 0.08 of all others that are lost there. The other tags go with the stage alone. Tags are
//!    written down with the loss: they have no effect.
//!
//! Owners differ on purpose too: each region has a strong, an average and a weak one. The strong one adds
//! 0.04 to the probability of acquired → activated, multiplies the odds of qualified → proposed and of
//! negotiating → won by 1.33, and waits 0.75 times as long between steps; the weak one takes 0.04 away,
//! multiplies the odds by 0.75 and waits 1.33 times as long.
//!
//! # Determinism
//!
//! The same seed gives the same rows on every platform: each lead draws from its own ChaCha streams, and
//! the arithmetic is `+ − × ÷ √`, which IEEE 754 rounds the same everywhere (`exp` and `ln` don't). The
//! language changes text values and nothing else.

mod arrivals;
mod calendar;
mod company;
mod dice;
mod followups;
mod journey;
mod loss_tags;
mod orders;
mod tables;
mod text;
mod touches;
pub mod truths;
mod write;

#[cfg(test)]
mod tests;

use std::path::Path;

use datafusion::error::Result;

pub use tables::{SampleTable, sample_tables};
pub use text::Language;
pub use write::{SampleSummary, TableSummary};

/// The instant at which the records end, 2026-07-01T00:00Z, in microseconds since 1970: every row is earlier.
pub const RECORDS_END: i64 = calendar::RECORDS_END_S * 1_000_000;

/// What to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleOptions {
    /// Another seed gives another company with the same planted truths.
    pub seed: u64,
    /// How many leads the company acquires; the other tables grow with it.
    pub leads: usize,
    /// The language of the text values; column names are English in both.
    pub language: Language,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self {
            // Of the seeds 1 to 20, the one whose counts lie closest to the planted truths.
            seed: 8,
            leads: 20_000,
            language: Language::English,
        }
    }
}

/// Writes each table as `<directory>/<table>.parquet`, replacing a file of that name.
///
/// The directory is created when missing. A file appears under its name only when it is complete; when an error
/// stops the run, the tables written before it stay.
pub fn write_sample(directory: &Path, options: &SampleOptions) -> Result<SampleSummary> {
    write::write_tables(directory, &sample_tables(options)?)
}
