//! The tables as a user reads them: their shape, and every planted truth by counting.

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType,
};
use datafusion::error::{DataFusionError, Result};

use super::*;

const STAGE_EVENTS: [&str; 6] = [
    "lead_created",
    "first_contact",
    "need_confirmed",
    "proposal_sent",
    "negotiation",
    "contract_signed",
];
const ACTIVATED: usize = 1;
const QUALIFIED: usize = 2;
const PROPOSED: usize = 3;
const NEGOTIATING: usize = 4;
const WON: usize = 5;

/// The tables of one set of options, by name.
struct Tables(Vec<SampleTable>);

impl Tables {
    fn english() -> Result<Self> {
        Self::of(&SampleOptions::default())
    }

    fn of(options: &SampleOptions) -> Result<Self> {
        Ok(Self(sample_tables(options)?))
    }

    fn table(&self, name: &str) -> Result<&RecordBatch> {
        let found = self.0.iter().find(|table| table.name == name);
        found.map(|table| &table.batch).ok_or_else(|| missing(name))
    }

    fn integers(&self, table: &str, column: &str) -> Result<Vec<i64>> {
        let column = column_of(self.table(table)?, column)?;
        Ok(column.as_primitive::<Int64Type>().values().to_vec())
    }

    fn instants(&self, table: &str, column: &str) -> Result<Vec<i64>> {
        let column = column_of(self.table(table)?, column)?;
        let instants = column.as_primitive::<TimestampMicrosecondType>();
        Ok(instants.values().to_vec())
    }

    fn texts(&self, table: &str, column: &str) -> Result<Vec<Option<&str>>> {
        let column = column_of(self.table(table)?, column)?;
        Ok(column.as_string::<i32>().iter().collect())
    }

    fn days(&self, table: &str, column: &str) -> Result<Vec<Option<i32>>> {
        let column = column_of(self.table(table)?, column)?;
        Ok(column.as_primitive::<Date32Type>().iter().collect())
    }

    fn numbers(&self, table: &str, column: &str) -> Result<Vec<Option<f64>>> {
        let column = column_of(self.table(table)?, column)?;
        Ok(column.as_primitive::<Float64Type>().iter().collect())
    }

    /// The rows of `deals` with their dimensions and the day of each stage.
    fn deals(&self) -> Result<Vec<Deal<'_>>> {
        let channels = self.texts("deals", "channel")?;
        let regions = self.texts("deals", "region")?;
        let sizes = self.texts("deals", "company_size")?;
        let scripts = self.texts("deals", "call_script")?;
        let reached = [
            self.days("deals", "acquired_on")?,
            self.days("deals", "activated_on")?,
            self.days("deals", "qualified_on")?,
            self.days("deals", "proposed_on")?,
            self.days("deals", "negotiating_on")?,
            self.days("deals", "won_on")?,
        ];
        let deal = |row: usize| Deal {
            channel: channels[row],
            region: regions[row],
            size: sizes[row],
            script: scripts[row],
            reached_on: std::array::from_fn(|stage| reached[stage][row]),
        };
        Ok((0..channels.len()).map(deal).collect())
    }

    /// The events of each lead, in order of time: instant in microseconds, event.
    fn events_by_lead(&self) -> Result<Vec<Vec<Event<'_>>>> {
        let leads = self.integers("events", "lead_id")?;
        let instants = self.instants("events", "occurred_at")?;
        let events = self.texts("events", "event")?;
        let mut by_lead = vec![Vec::new(); self.table("leads")?.num_rows()];
        for ((lead, at), event) in leads.iter().zip(instants).zip(events) {
            by_lead[*lead as usize - 1].push((at, event.unwrap_or_default()));
        }
        Ok(by_lead)
    }
}

fn column_of<'a>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a datafusion::arrow::array::ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> DataFusionError {
    DataFusionError::Internal(format!("\"{name}\" is missing"))
}

/// A row of `deals`.
struct Deal<'a> {
    channel: Option<&'a str>,
    region: Option<&'a str>,
    size: Option<&'a str>,
    script: Option<&'a str>,
    reached_on: [Option<i32>; 6],
}

impl Deal<'_> {
    /// True when the lead got to the stage, recorded or not.
    fn passed(&self, stage: usize) -> bool {
        self.reached_on[stage..].iter().any(Option::is_some)
    }

    fn came_on(&self, day: i64) -> bool {
        self.reached_on[0].map(i64::from) == Some(day)
    }
}

/// How many of the deals pass `to`.
fn rate<'a>(deals: impl Iterator<Item = &'a Deal<'a>>, to: usize) -> f64 {
    let (mut passed, mut all) = (0.0, 0.0);
    for deal in deals {
        all += 1.0;
        passed += f64::from(u8::from(deal.passed(to)));
    }
    passed / all
}

fn segment(deal: &Deal) -> (Option<String>, Option<String>) {
    (deal.region.map(str::to_owned), deal.size.map(str::to_owned))
}

/// The rate of `to` in a channel less that in the channels without effects, after those are given the
/// channel's mix of segments.
fn difference_within_segments(deals: &[Deal], from: usize, to: usize, channel: &str) -> f64 {
    let eligible = || {
        let normal = deals
            .iter()
            .filter(|deal| !deal.came_on(truths::ANOMALY_DAY));
        normal.filter(|deal| deal.passed(from) && deal.region.is_some())
    };
    let in_channel = |deal: &&Deal| deal.channel == Some(channel);
    let in_others = |deal: &&Deal| !matches!(deal.channel, Some("referral" | "webinar"));
    let mut segments: Vec<_> = eligible().map(segment).collect();
    segments.sort_unstable();
    segments.dedup();
    let (mut difference, mut total) = (0.0, 0.0);
    for key in segments {
        let inside = || eligible().filter(|deal| segment(deal) == key);
        let weight = inside().filter(in_channel).count() as f64;
        total += weight;
        difference +=
            weight * (rate(inside().filter(in_channel), to) - rate(inside().filter(in_others), to));
    }
    difference / total
}

#[test]
fn same_seed_gives_equal_tables_and_another_does_not() -> Result<()> {
    let options = SampleOptions {
        leads: 500,
        ..SampleOptions::default()
    };
    let other = SampleOptions {
        seed: 43,
        ..options
    };
    assert_eq!(sample_tables(&options)?, sample_tables(&options)?);
    for (table, different) in sample_tables(&options)?.iter().zip(sample_tables(&other)?) {
        // What the company wants isn't drawn.
        assert_eq!(
            table.batch == different.batch,
            table.name == "targets",
            "{}",
            table.name
        );
    }
    Ok(())
}

#[test]
fn chinese_differs_in_text_values_only() -> Result<()> {
    let english = SampleOptions {
        leads: 2_000,
        ..SampleOptions::default()
    };
    let chinese = SampleOptions {
        language: Language::Chinese,
        ..english
    };
    for (one, other) in sample_tables(&english)?
        .iter()
        .zip(sample_tables(&chinese)?)
    {
        assert_eq!(one.batch.schema(), other.batch.schema());
        assert_eq!(one.batch.num_rows(), other.batch.num_rows());
        for (left, right) in one.batch.columns().iter().zip(other.batch.columns()) {
            assert_eq!(left.null_count(), right.null_count());
            assert!(left == right || left.data_type() == &DataType::Utf8);
        }
    }
    let tables = Tables::of(&chinese)?;
    assert_eq!(tables.texts("events", "event")?[0], Some("线索获取"));
    assert_eq!(tables.texts("stage_history", "stage")?[0], Some("线索获取"));
    Ok(())
}

/// The counts are this generator's own. Saved queries and docs quote numbers of this company, so that
/// a change to it has to be on purpose.
#[test]
fn the_default_company_is_pinned() -> Result<()> {
    let rows: Vec<_> = sample_tables(&SampleOptions::default())?
        .iter()
        .map(|table| (table.name, table.batch.num_rows()))
        .collect();
    let expected = [
        ("leads", 20_000),
        ("events", 68_560),
        ("deals", 20_000),
        ("stage_history", 68_560),
        ("followups", 76_705),
        ("channel_costs", 546 * 6),
        ("orders", 4_479),
        ("touches", 43_361),
        ("loss_tags", 12_538),
        ("targets", 10),
    ];
    assert_eq!(rows, expected);
    Ok(())
}

#[test]
fn no_leads_give_empty_tables() -> Result<()> {
    let tables = Tables::of(&SampleOptions {
        leads: 0,
        ..SampleOptions::default()
    })?;
    assert_eq!(tables.table("events")?.num_rows(), 0);
    assert_eq!(tables.table("orders")?.num_rows(), 0);
    Ok(())
}

#[test]
fn ids_count_from_one_and_rows_are_sorted() -> Result<()> {
    let tables = Tables::english()?;
    for (table, id) in [
        ("leads", "lead_id"),
        ("events", "event_id"),
        ("deals", "lead_id"),
        ("orders", "order_id"),
    ] {
        let ids = tables.integers(table, id)?;
        assert!(ids.iter().copied().eq(1..=ids.len() as i64), "{table}");
    }
    for (table, time) in TIMES {
        assert!(tables.instants(table, time)?.is_sorted(), "{table}");
    }
    assert_eq!(tables.table("leads")?.num_rows(), 20_000);
    Ok(())
}

const TIMES: [(&str, &str); 6] = [
    ("leads", "created_at"),
    ("events", "occurred_at"),
    ("stage_history", "entered_at"),
    ("followups", "at"),
    ("orders", "at"),
    ("touches", "at"),
];

#[test]
fn nothing_is_later_than_the_end_of_the_records() -> Result<()> {
    let tables = Tables::english()?;
    for (table, time) in TIMES {
        let instants = tables.instants(table, time)?;
        assert!(instants.iter().all(|at| *at < RECORDS_END), "{table}");
    }
    let last_day = (RECORDS_END / 86_400_000_000) as i32 - 1;
    let days = tables.days("channel_costs", "day")?;
    assert_eq!(days.into_iter().flatten().max(), Some(last_day));
    Ok(())
}

#[test]
fn each_lead_moves_forward_in_time() -> Result<()> {
    for events in Tables::english()?.events_by_lead()? {
        assert_eq!(
            events.first().map(|(_, event)| *event),
            Some("lead_created")
        );
        assert!(events.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let first_entries =
            STAGE_EVENTS.map(|stage| events.iter().position(|(_, event)| *event == stage));
        assert!(first_entries.iter().flatten().is_sorted());
    }
    Ok(())
}

type Event<'a> = (i64, &'a str);

/// The stages a lead entered, by their place in the funnel, in order of time.
fn entries(events: &[Event]) -> Vec<usize> {
    let place = |name: &str| STAGE_EVENTS.iter().position(|stage| *stage == name);
    events.iter().filter_map(|(_, name)| place(name)).collect()
}

fn skipped_a_stage(events: &[Event]) -> bool {
    let entered = entries(events);
    let furthest = entered.iter().copied().max().unwrap_or_default();
    (0..furthest).any(|stage| !entered.contains(&stage))
}

fn fell_back(events: &[Event]) -> bool {
    !entries(events).is_sorted()
}

fn came_back_after_the_loss(events: &[Event]) -> bool {
    let lost = events.iter().position(|(_, name)| *name == "lost");
    lost.is_some_and(|lost| lost + 1 < events.len())
}

fn stayed_open(events: &[Event]) -> bool {
    !matches!(events.last(), Some((_, "lost" | "contract_signed")))
}

#[test]
fn some_leads_skip_re_enter_come_back_or_stay_open() -> Result<()> {
    let tables = Tables::english()?;
    let leads = tables.events_by_lead()?;
    let share = |matches: fn(&[Event]) -> bool| {
        leads.iter().filter(|events| matches(events)).count() as f64 / leads.len() as f64
    };
    let shares = [
        skipped_a_stage,
        fell_back,
        came_back_after_the_loss,
        stayed_open,
    ]
    .map(share);
    let expected = [0.02..0.04, 0.03..0.05, 0.01..0.03, 0.06..0.20];
    for (share, range) in shares.iter().zip(expected) {
        assert!(range.contains(share), "{shares:?}");
    }
    Ok(())
}

#[test]
fn about_one_lead_in_eight_wins_in_about_45_days() -> Result<()> {
    let tables = Tables::english()?;
    let deals = tables.deals()?;
    let win_rate = rate(deals.iter(), WON);
    assert!((0.10..0.14).contains(&win_rate), "{win_rate}");
    let mut cycles: Vec<i32> = deals
        .iter()
        .filter_map(|deal| Some(deal.reached_on[WON]? - deal.reached_on[0]?))
        .collect();
    cycles.sort_unstable();
    let median = cycles[cycles.len() / 2];
    assert!((40..50).contains(&median), "{median}");
    assert!(cycles.last().is_some_and(|longest| *longest > 180));
    Ok(())
}

#[test]
fn the_three_shapes_tell_the_same_story() -> Result<()> {
    let tables = Tables::english()?;
    let events = tables.table("events")?.num_rows();
    assert_eq!(tables.table("stage_history")?.num_rows(), events);
    assert_eq!(
        tables.instants("stage_history", "entered_at")?,
        tables.instants("events", "occurred_at")?
    );
    for (deal, events) in tables.deals()?.iter().zip(tables.events_by_lead()?) {
        for (stage, name) in STAGE_EVENTS.iter().enumerate() {
            let first = events.iter().find(|(_, event)| event == name);
            let day = first.map(|(at, _)| (at / 86_400_000_000) as i32);
            assert_eq!(day, deal.reached_on[stage]);
        }
    }
    Ok(())
}

#[test]
fn quotes_and_contracts_have_an_amount_and_first_orders_are_the_contracts() -> Result<()> {
    let tables = Tables::english()?;
    let events = tables.texts("events", "event")?;
    let amounts = tables.numbers("events", "amount")?;
    for (event, amount) in events.iter().zip(&amounts) {
        let priced = matches!(event, Some("proposal_sent" | "contract_signed"));
        assert_eq!(amount.is_some(), priced);
    }
    let contracts = events
        .iter()
        .filter(|event| **event == Some("contract_signed"));
    let mut customers = tables.integers("orders", "customer_id")?;
    let orders = customers.len();
    customers.sort_unstable();
    customers.dedup();
    assert_eq!(customers.len(), contracts.count());
    assert!(orders > customers.len(), "nobody bought again");
    assert!(tables.table("orders")?.column(4).null_count() < orders);
    Ok(())
}

#[test]
fn truth_1_referral_is_better_in_every_size() -> Result<()> {
    let tables = Tables::english()?;
    let deals = tables.deals()?;
    let difference = difference_within_segments(&deals, ACTIVATED, QUALIFIED, "referral");
    // Odds × 1.5 around a half are ten points.
    assert!((0.07..0.13).contains(&difference), "{difference}");
    for size in ["small", "medium", "large"] {
        let qualified = |channel: &str| {
            let of_size = deals.iter().filter(|deal| deal.size == Some(size));
            let of_channel = of_size.filter(|deal| deal.channel == Some(channel));
            rate(of_channel.filter(|deal| deal.passed(ACTIVATED)), QUALIFIED)
        };
        assert!(
            qualified("referral") > qualified("organic_search") + 0.04,
            "{size}"
        );
    }
    Ok(())
}

#[test]
fn truth_2_webinar_only_looks_better() -> Result<()> {
    let tables = Tables::english()?;
    let deals = tables.deals()?;
    let qualified = |channel: &str| {
        let of_channel = deals.iter().filter(|deal| deal.channel == Some(channel));
        rate(of_channel.filter(|deal| deal.passed(ACTIVATED)), QUALIFIED)
    };
    let raw = qualified("webinar") - qualified("organic_search");
    assert!((0.10..0.20).contains(&raw), "{raw}");
    for (from, to) in [(0, WON), (ACTIVATED, QUALIFIED)] {
        let difference = difference_within_segments(&deals, from, to, "webinar");
        assert!(difference.abs() < 0.02, "{difference}");
    }
    Ok(())
}

#[test]
fn truth_3_negotiations_broke_in_the_south_in_march() -> Result<()> {
    let tables = Tables::english()?;
    let deals = tables.deals()?;
    let negotiated = |region: &str, in_month: bool| {
        let month = truths::BROKEN_FIRST_DAY as i32..=truths::BROKEN_LAST_DAY as i32;
        let of_region = deals.iter().filter(|deal| deal.region == Some(region));
        // Later proposals may still be open.
        let closed = of_region.filter(|deal| deal.reached_on[PROPOSED] <= Some(*month.end()));
        let of_month = closed.filter(|deal| {
            deal.reached_on[PROPOSED].is_some_and(|day| month.contains(&day) == in_month)
        });
        rate(of_month, NEGOTIATING)
    };
    assert!((0.15..0.38).contains(&negotiated("south", true)));
    assert!((0.65..0.78).contains(&negotiated("south", false)));
    assert!((0.60..0.83).contains(&negotiated("north", true)));
    Ok(())
}

#[test]
fn truth_4_paid_search_is_anomalous_on_one_day() -> Result<()> {
    let tables = Tables::english()?;
    let deals = tables.deals()?;
    let paid_leads = |day: i64| {
        let of_day = deals.iter().filter(|deal| deal.came_on(day));
        of_day
            .filter(|deal| deal.channel == Some("paid_search"))
            .count()
    };
    let period = super::calendar::FIRST_DAY..super::calendar::END_DAY;
    let busiest_other = period
        .filter(|day| *day != truths::ANOMALY_DAY)
        .map(paid_leads)
        .max();
    assert!(Some(paid_leads(truths::ANOMALY_DAY)) > busiest_other.map(|leads| 2 * leads));
    let of_day = deals
        .iter()
        .filter(|deal| deal.came_on(truths::ANOMALY_DAY));
    let activated = rate(
        of_day.filter(|deal| deal.channel == Some("paid_search")),
        ACTIVATED,
    );
    assert!(activated < 0.45, "{activated}");
    Ok(())
}

#[test]
fn truth_5_script_b_activates_eight_points_more() -> Result<()> {
    let tables = Tables::english()?;
    let deals = tables.deals()?;
    let of = |script: &'static str| deals.iter().filter(move |deal| deal.script == Some(script));
    let lift = rate(of("B"), ACTIVATED) - rate(of("A"), ACTIVATED);
    assert!((0.05..0.11).contains(&lift), "{lift}");
    let balance = of("B").count() as f64 / (of("A").count() + of("B").count()) as f64;
    assert!((0.48..0.52).contains(&balance), "{balance}");
    let untested = deals.iter().filter(|deal| deal.script.is_none());
    let first_day = truths::SCRIPT_TEST_FIRST_DAY as i32;
    assert!(
        untested
            .into_iter()
            .all(|deal| deal.reached_on[0] < Some(first_day))
    );
    Ok(())
}

#[test]
fn the_last_touch_of_a_lead_is_its_channel_just_before_it_came() -> Result<()> {
    let tables = Tables::english()?;
    let created = tables.instants("leads", "created_at")?;
    let channels = tables.texts("leads", "channel")?;
    let mut last = vec![None; created.len()];
    let leads = tables.integers("touches", "lead_id")?;
    let instants = tables.instants("touches", "at")?;
    for ((lead, at), channel) in leads
        .iter()
        .zip(instants)
        .zip(tables.texts("touches", "channel")?)
    {
        last[*lead as usize - 1] = Some((at, channel));
    }
    for ((created, channel), last) in created.iter().zip(channels).zip(last) {
        let (at, of_touch) = last.ok_or_else(|| missing("a touch"))?;
        assert!((0..=1_800_000_000).contains(&(created - at)));
        assert_eq!(of_touch, channel);
    }
    Ok(())
}

#[test]
fn truth_6_content_is_first_before_wins_and_never_last() -> Result<()> {
    let tables = Tables::english()?;
    let mut first = vec![None; tables.table("leads")?.num_rows()];
    let leads = tables.integers("touches", "lead_id")?;
    for (lead, channel) in leads.iter().zip(tables.texts("touches", "channel")?) {
        first[*lead as usize - 1].get_or_insert(channel == Some("content"));
    }
    let deals = tables.deals()?;
    let share = |won: bool| {
        let of = deals.iter().zip(&first);
        let of: Vec<_> = of.filter(|(deal, _)| deal.passed(WON) == won).collect();
        of.iter().filter(|(_, first)| **first == Some(true)).count() as f64 / of.len() as f64
    };
    assert!((share(true) - truths::CONTENT_FIRST_WHEN_WON).abs() < 0.03);
    assert!((share(false) - truths::CONTENT_FIRST_OTHERWISE).abs() < 0.01);
    Ok(())
}

#[test]
fn truth_7_late_quotes_go_with_the_souths_bad_month() -> Result<()> {
    let tables = Tables::english()?;
    let deals = tables.deals()?;
    let tagged: std::collections::HashSet<(i64, &str)> = tables
        .integers("loss_tags", "lead_id")?
        .into_iter()
        .zip(tables.texts("loss_tags", "tag")?)
        .zip(tables.texts("loss_tags", "stage")?)
        .filter(|(_, stage)| *stage == Some("proposed"))
        .filter_map(|((lead, tag), _)| Some((lead, tag?)))
        .collect();
    let lost = tables.days("deals", "lost_on")?;
    let month = truths::BROKEN_FIRST_DAY as i32..=truths::BROKEN_LAST_DAY as i32;
    let share = |in_broken: bool| {
        let (mut with, mut all) = (0.0, 0.0);
        for (row, deal) in deals.iter().enumerate() {
            let is_lost_there = lost[row].is_some()
                && deal.reached_on[PROPOSED].is_some()
                && !deal.passed(NEGOTIATING);
            let broken = deal.region == Some("south")
                && deal.reached_on[PROPOSED].is_some_and(|day| month.contains(&day));
            // The records miss the region of one deal in a hundred.
            if is_lost_there && deal.region.is_some() && broken == in_broken {
                all += 1.0;
                with += f64::from(u8::from(tagged.contains(&(row as i64 + 1, "late_quote"))));
            }
        }
        with / all
    };
    let (broken, others) = (share(true), share(false));
    assert!((0.6..0.9).contains(&broken), "{broken}");
    assert!((0.05..0.11).contains(&others), "{others}");
    Ok(())
}

#[test]
fn files_are_complete_and_replace_older_ones() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let crm = directory.path().join("crm");
    let options = SampleOptions {
        leads: 200,
        ..SampleOptions::default()
    };
    write_sample(&crm, &options)?;
    let summary = write_sample(&crm, &options)?;
    assert_eq!(summary.tables.len(), 10);
    assert_eq!(std::fs::read_dir(&crm)?.count(), 10);
    let tables = Tables::of(&options)?;
    for written in summary.tables {
        let file = std::fs::File::open(&written.path)?;
        let reader =
            datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
                file,
            )?
            .with_batch_size(100_000)
            .build()?;
        let rows: usize = reader
            .map(|batch| batch.map_or(0, |batch| batch.num_rows()))
            .sum();
        assert_eq!(rows, written.rows);
        assert_eq!(rows, tables.table(written.name)?.num_rows());
    }
    Ok(())
}

#[test]
fn an_error_names_the_file() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let blocked = directory.path().join("file");
    std::fs::write(&blocked, "not a directory")?;
    let message = match write_sample(&blocked, &SampleOptions::default()) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    assert!(
        message.contains("could not write sample data to"),
        "{message}"
    );
    Ok(())
}
