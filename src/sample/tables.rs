//! The company's records as Arrow tables.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::Result;

use super::SampleOptions;
use super::arrivals::{Arrivals, ChannelCost};
use super::calendar::day_of;
use super::company::{Lead, draw_leads};
use super::followups::{Followup, draw_followups};
use super::journey::{LostReason, Stage, Step, StepKind, draw_journey};
use super::loss_tags::{LossTag, PASS_RATE_TARGETS, STAGE_DAYS_TARGETS, draw_loss_tags};
use super::orders::{Order, draw_orders};
use super::text::{EventName, Language, Note, StageName};
use super::touches::{Touch, draw_touches};

/// The zone that the tables' timestamps carry.
const UTC: &str = "+00:00";

/// One table, in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleTable {
    /// Its name in SQL.
    pub name: &'static str,
    /// All its rows.
    pub batch: RecordBatch,
}

/// Generates the tables without writing them.
pub fn sample_tables(options: &SampleOptions) -> Result<Vec<SampleTable>> {
    let records = Records::draw(options.seed, options.leads);
    let language = options.language;
    let steps = records.steps_by_time();
    let tables = [
        ("leads", leads_table(&records.leads, language)?),
        ("events", events_table(&steps, language)?),
        ("deals", deals_table(&records, language)?),
        ("stage_history", stage_history_table(&steps, language)?),
        ("followups", followups_table(&records, language)?),
        (
            "channel_costs",
            channel_costs_table(&records.costs, language)?,
        ),
        ("orders", orders_table(&records.orders)?),
        ("touches", touches_table(&records.touches, language)?),
        ("loss_tags", loss_tags_table(&records.loss_tags, language)?),
        ("targets", targets_table(language)?),
    ];
    Ok(tables
        .into_iter()
        .map(|(name, batch)| SampleTable { name, batch })
        .collect())
}

/// Everything the company has on record.
struct Records {
    leads: Vec<Lead>,
    /// One per lead.
    journeys: Vec<Vec<Step>>,
    followups: Vec<Followup>,
    costs: Vec<ChannelCost>,
    orders: Vec<Order>,
    touches: Vec<Touch>,
    loss_tags: Vec<LossTag>,
}

impl Records {
    fn draw(seed: u64, lead_count: usize) -> Self {
        let arrivals = Arrivals::new(seed);
        let leads = draw_leads(seed, lead_count, &arrivals);
        let journeys: Vec<Vec<Step>> = leads.iter().map(|lead| draw_journey(seed, lead)).collect();
        let mut followups = Vec::new();
        for (index, (lead, steps)) in leads.iter().zip(&journeys).enumerate() {
            draw_followups(seed, index, lead, steps, &mut followups);
        }
        followups.sort_by_key(|followup| followup.at);
        Self {
            costs: arrivals.costs(seed, lead_count),
            orders: draw_orders(seed, &leads, &journeys),
            touches: draw_touches(seed, &leads, &journeys),
            loss_tags: draw_loss_tags(seed, &leads, &journeys),
            leads,
            journeys,
            followups,
        }
    }

    /// All steps with their leads; the sort is stable, so ties are in the order of the leads.
    fn steps_by_time(&self) -> Vec<(&Lead, &Step)> {
        let mut steps: Vec<_> = self
            .leads
            .iter()
            .zip(&self.journeys)
            .flat_map(|(lead, journey)| journey.iter().map(move |step| (lead, step)))
            .collect();
        steps.sort_by_key(|(_, step)| step.at);
        steps
    }
}

/// A named column, and whether it may have NULLs.
type Column = (&'static str, ArrayRef, bool);

fn leads_table(leads: &[Lead], language: Language) -> Result<RecordBatch, ArrowError> {
    let mut columns = vec![
        required(
            "lead_id",
            Int64Array::from_iter_values(leads.iter().map(|lead| lead.id)),
        ),
        required(
            "created_at",
            timestamps(leads.iter().map(|lead| lead.created_at)),
        ),
    ];
    columns.extend(dimensions(leads.iter(), language));
    RecordBatch::try_from_iter_with_nullable(columns)
}

fn events_table(steps: &[(&Lead, &Step)], language: Language) -> Result<RecordBatch, ArrowError> {
    let events = steps
        .iter()
        .map(|(_, step)| language.text(EventName(step.kind)));
    let reasons = steps.iter().map(|(_, step)| lost_reason(step));
    let mut columns = vec![
        required("event_id", numbers_from_one(steps.len())),
        required(
            "lead_id",
            Int64Array::from_iter_values(steps.iter().map(|(lead, _)| lead.id)),
        ),
        required(
            "occurred_at",
            timestamps(steps.iter().map(|(_, step)| step.at)),
        ),
        required("event", StringArray::from_iter_values(events)),
    ];
    columns.extend(dimensions(steps.iter().map(|(lead, _)| *lead), language));
    columns.push(optional(
        "lost_reason",
        StringArray::from_iter(reasons.map(|reason| reason.map(|reason| language.text(reason)))),
    ));
    columns.push(optional(
        "amount",
        Float64Array::from_iter(steps.iter().map(|(_, step)| step.amount)),
    ));
    RecordBatch::try_from_iter_with_nullable(columns)
}

fn deals_table(records: &Records, language: Language) -> Result<RecordBatch, ArrowError> {
    let Records {
        leads, journeys, ..
    } = records;
    let mut columns = vec![required(
        "lead_id",
        Int64Array::from_iter_values(leads.iter().map(|lead| lead.id)),
    )];
    columns.extend(dimensions(leads.iter(), language));
    for stage in Stage::ALL {
        let entered = |step: &Step| step.stage() == Some(stage);
        columns.push(optional(date_column(stage), first_dates(journeys, entered)));
    }
    let lost = |step: &Step| lost_reason(step).is_some();
    columns.push(optional("lost_on", first_dates(journeys, lost)));
    let reasons = journeys
        .iter()
        .map(|steps| steps.iter().find_map(lost_reason));
    columns.push(optional(
        "lost_reason",
        StringArray::from_iter(reasons.map(|reason| reason.map(|reason| language.text(reason)))),
    ));
    let amounts = journeys
        .iter()
        .map(|steps| steps.iter().rev().find_map(|step| step.amount));
    columns.push(optional("amount", Float64Array::from_iter(amounts)));
    RecordBatch::try_from_iter_with_nullable(columns)
}

fn stage_history_table(
    steps: &[(&Lead, &Step)],
    language: Language,
) -> Result<RecordBatch, ArrowError> {
    let stages = steps
        .iter()
        .map(|(_, step)| language.text(StageName(step.kind)));
    let owners = steps.iter().map(|(lead, _)| owner_text(lead, language));
    RecordBatch::try_from_iter_with_nullable([
        required(
            "lead_id",
            Int64Array::from_iter_values(steps.iter().map(|(lead, _)| lead.id)),
        ),
        required("stage", StringArray::from_iter_values(stages)),
        required(
            "entered_at",
            timestamps(steps.iter().map(|(_, step)| step.at)),
        ),
        optional("owner", StringArray::from_iter(owners)),
    ])
}

fn followups_table(records: &Records, language: Language) -> Result<RecordBatch, ArrowError> {
    let Records {
        leads, followups, ..
    } = records;
    let lead_of = |followup: &Followup| &leads[followup.lead_index];
    let lead_ids = followups.iter().map(|followup| lead_of(followup).id);
    let owners = followups
        .iter()
        .map(|followup| owner_text(lead_of(followup), language));
    let kinds = followups
        .iter()
        .map(|followup| language.text(followup.kind));
    let depths = followups.iter().map(|followup| followup.depth);
    let effects = followups.iter().map(|followup| Some(followup.effective));
    let notes = followups
        .iter()
        .map(|followup| note_text(followup, language));
    RecordBatch::try_from_iter_with_nullable([
        required("lead_id", Int64Array::from_iter_values(lead_ids)),
        required(
            "at",
            timestamps(followups.iter().map(|followup| followup.at)),
        ),
        optional("owner", StringArray::from_iter(owners)),
        required("kind", StringArray::from_iter_values(kinds)),
        required("depth", Int32Array::from_iter_values(depths)),
        required("effective", BooleanArray::from_iter(effects)),
        optional("note", StringArray::from_iter(notes)),
    ])
}

fn channel_costs_table(
    costs: &[ChannelCost],
    language: Language,
) -> Result<RecordBatch, ArrowError> {
    let channels = costs.iter().map(|cost| language.text(cost.channel));
    let days = costs.iter().map(|cost| cost.day as i32);
    RecordBatch::try_from_iter_with_nullable([
        required("channel", StringArray::from_iter_values(channels)),
        required("day", Date32Array::from_iter_values(days)),
        required(
            "cost",
            Float64Array::from_iter_values(costs.iter().map(|cost| cost.cost)),
        ),
    ])
}

fn orders_table(orders: &[Order]) -> Result<RecordBatch, ArrowError> {
    let customers = orders.iter().map(|order| order.customer_id);
    let amounts = orders.iter().map(|order| order.amount);
    let referrers = orders.iter().map(|order| order.referred_by);
    RecordBatch::try_from_iter_with_nullable([
        required("order_id", numbers_from_one(orders.len())),
        required("customer_id", Int64Array::from_iter_values(customers)),
        required("at", timestamps(orders.iter().map(|order| order.at))),
        required("amount", Float64Array::from_iter_values(amounts)),
        optional("referred_by", Int64Array::from_iter(referrers)),
    ])
}

fn touches_table(touches: &[Touch], language: Language) -> Result<RecordBatch, ArrowError> {
    let leads = touches.iter().map(|touch| touch.lead_id);
    let channels = touches.iter().map(|touch| language.text(touch.channel));
    let costs = touches.iter().map(|touch| touch.cost);
    RecordBatch::try_from_iter_with_nullable([
        required("lead_id", Int64Array::from_iter_values(leads)),
        required("at", timestamps(touches.iter().map(|touch| touch.at))),
        required("channel", StringArray::from_iter_values(channels)),
        optional("cost", Float64Array::from_iter(costs)),
    ])
}

fn loss_tags_table(tags: &[LossTag], language: Language) -> Result<RecordBatch, ArrowError> {
    let leads = tags.iter().map(|tag| tag.lead_id);
    let texts = tags.iter().map(|tag| language.text(tag.tag));
    let stages = tags.iter().map(|tag| stage_text(tag.stage, language));
    RecordBatch::try_from_iter_with_nullable([
        required("lead_id", Int64Array::from_iter_values(leads)),
        required("tag", StringArray::from_iter_values(texts)),
        required("stage", StringArray::from_iter_values(stages)),
    ])
}

fn targets_table(language: Language) -> Result<RecordBatch, ArrowError> {
    let of = |metric: &'static str, targets: [(Stage, f64); 5]| {
        targets.map(|(stage, value)| (metric, stage, value))
    };
    let rows = [
        of("pass_rate", PASS_RATE_TARGETS),
        of("stage_days", STAGE_DAYS_TARGETS),
    ]
    .concat();
    let metrics = rows.iter().map(|(metric, _, _)| *metric);
    let stages = rows
        .iter()
        .map(|(_, stage, _)| stage_text(*stage, language));
    let values = rows.iter().map(|(_, _, value)| *value);
    RecordBatch::try_from_iter_with_nullable([
        required("metric", StringArray::from_iter_values(metrics)),
        required("stage", StringArray::from_iter_values(stages)),
        required("value", Float64Array::from_iter_values(values)),
    ])
}

fn stage_text(stage: Stage, language: Language) -> &'static str {
    language.text(StageName(StepKind::Entered(stage)))
}

/// The columns by which leads are compared, one row for each of the given leads.
fn dimensions<'a>(
    leads: impl Iterator<Item = &'a Lead> + Clone,
    language: Language,
) -> [Column; 6] {
    let channels = leads.clone().map(|lead| language.text(lead.channel));
    let regions = leads
        .clone()
        .map(|lead| lead.recorded_region().map(|region| language.text(region)));
    let industries = leads.clone().map(|lead| language.text(lead.industry));
    let sizes = leads.clone().map(|lead| language.text(lead.size));
    let owners = leads.clone().map(|lead| owner_text(lead, language));
    let scripts = leads.map(|lead| lead.call_script.map(|script| language.text(script)));
    [
        required("channel", StringArray::from_iter_values(channels)),
        optional("region", StringArray::from_iter(regions)),
        required("industry", StringArray::from_iter_values(industries)),
        required("company_size", StringArray::from_iter_values(sizes)),
        optional("owner", StringArray::from_iter(owners)),
        optional("call_script", StringArray::from_iter(scripts)),
    ]
}

fn owner_text(lead: &Lead, language: Language) -> Option<&'static str> {
    lead.recorded_owner().map(|owner| language.text(owner))
}

fn note_text(followup: &Followup, language: Language) -> Option<&'static str> {
    followup.note.map(|choice| {
        language.text(Note {
            kind: followup.kind,
            effective: followup.effective,
            choice,
        })
    })
}

fn lost_reason(step: &Step) -> Option<LostReason> {
    match step.kind {
        StepKind::Lost(reason) => Some(reason),
        StepKind::Entered(_) => None,
    }
}

fn date_column(stage: Stage) -> &'static str {
    match stage {
        Stage::Acquired => "acquired_on",
        Stage::Activated => "activated_on",
        Stage::Qualified => "qualified_on",
        Stage::Proposed => "proposed_on",
        Stage::Negotiating => "negotiating_on",
        Stage::Won => "won_on",
    }
}

/// The day of each lead's first step that matches.
fn first_dates(journeys: &[Vec<Step>], matches: impl Fn(&Step) -> bool) -> Date32Array {
    let first = |steps: &Vec<Step>| {
        steps
            .iter()
            .find(|step| matches(step))
            .map(|step| day_of(step.at) as i32)
    };
    journeys.iter().map(first).collect()
}

fn timestamps(seconds: impl Iterator<Item = i64>) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from_iter_values(seconds.map(|second| second * 1_000_000))
        .with_timezone(UTC)
}

fn numbers_from_one(count: usize) -> Int64Array {
    Int64Array::from_iter_values(1..=count as i64)
}

fn required(name: &'static str, array: impl datafusion::arrow::array::Array + 'static) -> Column {
    (name, Arc::new(array), false)
}

fn optional(name: &'static str, array: impl datafusion::arrow::array::Array + 'static) -> Column {
    (name, Arc::new(array), true)
}
