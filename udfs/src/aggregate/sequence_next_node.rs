//! Where did they go after this path? The value of the row that follows a chain of rows, or comes before it.
//!
//! ```sql
//! SELECT next, count(*) FROM (
//!   SELECT sequence_next_node('forward', 'head', at, page, page = 'home', page = 'home', page = 'cart') AS next
//!   FROM visits GROUP BY user_id) GROUP BY next
//! ```
//!
//! `sequence_next_node(direction, base, ts, value, base_condition, event1, …)` looks at all rows of a group, sorted by
//! time. The chain starts at the *base*, goes on row by row, and breaks where a row doesn't meet its event:
//! `forward`, row base + k meets event k + 1; `backward`, row base - k does. The result is the value of the row behind
//! the chain (before it, `backward`), and NULL where the chain breaks or there is no such row. Without an event it is
//! the value of the base itself. A chain that breaks isn't tried elsewhere.
//!
//! | base          | is                                                       |
//! |---------------|----------------------------------------------------------|
//! | `head`        | the first row, if it meets `base_condition`; `forward` only |
//! | `tail`        | the last row, if it meets `base_condition`; `backward` only |
//! | `first_match` | the first row that meets `base_condition` and `event1`   |
//! | `last_match`  | the last row that meets `base_condition` and `event1`    |
//!
//! NULL: a row without a time or a value is left out, as in ClickHouse; a NULL condition is false. DIFFERENCE:
//! ClickHouse leaves out a row with a NULL condition too. No rows: NULL.
//!
//! Ties: rows of the same time are sorted by value, then by `base_condition` and events, the rows that meet none first.
//! DIFFERENCE: ClickHouse goes on by the order of arrival where time and value are equal.
//!
//! Cost: 28 bytes for each row, and each distinct text once, as all rows matter. Those that can't, such as the ones
//! far from the `head`, are dropped when there are many. Source: ClickHouse, `AggregateFunctionSequenceNextNode`.

mod kernel;

use std::mem::size_of_val;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type, UInt64Type};
use datafusion::common::{Result, not_impl_err};
use datafusion::logical_expr::aggregate_doc_sections::DOC_SECTION_GENERAL;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator,
    Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;

use self::kernel::{Base, Direction, Node, Rules};
use super::calls::{
    check_conditions, check_time, choice, coerced_time, condition_type, plain, too_many,
    wrong_call, wrong_type,
};
use super::columns::{
    column, each_row, item_field, items_of, kept_rows, list, lists, mask_column, masks, primitive,
    true_bits,
};
use super::distinct_keys::{DistinctKeys, KeyColumn, NO_KEY, text_column};
use super::group_log::GroupLog;
use super::hits::MAX_CONDITIONS;
use super::hits::time::numbers;
use super::one_group::OneGroup;
use crate::error::FunnelError;

const NAME: &str = "sequence_next_node";

const SYNTAX: &str = "sequence_next_node(direction, base, ts, value, base_condition [, event1, …])";

/// How many arguments stand before the events.
const BEFORE_EVENTS: usize = 5;

/// The value of the row behind a chain of rows, or before it.
///
/// - `direction`: `'forward'` or `'backward'`; `base`: `'head'`, `'tail'`, `'first_match'` or `'last_match'`; literals
/// - `ts`: an integer, a date or a timestamp; `value`: text
/// - `base_condition`, `event1, …`: Booleans or integers, 0 to 64 events
/// - returns Utf8
/// - errors: 42883 and 42804 for arguments of another number or type; 22023 for another text, `forward` with `tail`,
///   `backward` with `head`, `first_match` and `last_match` without an event, and more than 64 events
/// ```slt
/// query T
/// SELECT sequence_next_node('forward', 'head', at, page, true, page = 'home')
/// FROM (VALUES (2, 'cart'), (1, 'home')) AS visits(at, page)
/// ----
/// cart
/// ```
pub fn sequence_next_node_udaf() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        Arc::new(AggregateUDF::from(SequenceNextNode {
            signature: Signature::user_defined(Volatility::Immutable),
            aliases: vec!["sequencenextnode".to_owned()],
        }))
    });
    Arc::clone(&FUNCTION)
}

/// `sequence_next_node(direction, base, ts, value, base_condition, event1, …)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SequenceNextNode {
    signature: Signature,
    aliases: Vec<String>,
}

impl AggregateUDFImpl for SequenceNextNode {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(|| {
            Documentation::builder(
                DOC_SECTION_GENERAL,
                "The value of the row that follows a chain of rows in the order of time, or comes before it; NULL where the \
                 chain breaks. The rows from the base on meet event1, event2 and so on, one after another.",
                "sequence_next_node(direction text, base text, ts timestamp with time zone, value text, \
                 base_condition boolean [, event1 boolean, ...])",
            )
            .with_argument("direction", "'forward' or 'backward'; a literal.")
            .with_argument(
                "base",
                "Where the chain starts: 'head' or 'tail', the first (forward) or last (backward) row, if it meets \
                 base_condition; 'first_match' or 'last_match', the first or last row that meets base_condition and \
                 event1. A literal.",
            )
            .with_argument("ts", "When: a timestamp, a date or an integer. A row without is left out.")
            .with_argument("value", "The text that is returned. A row without is left out.")
            .with_argument("base_condition", "What the base has to meet.")
            .with_argument("event1", "What the base has to meet too; each further event is of the next row. Up to 64.")
            .with_sql_example(
                "```sql\nSELECT sequence_next_node('forward', 'head', occurred_at, page, true, page = 'home', page = 'cart')\n\
                 FROM visits GROUP BY user_id;\n```",
            )
            .build()
        });
        Some(&PAGE)
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        let [direction, base, ts, value, conditions @ ..] = coerced else {
            return Err(wrong_call(NAME, coerced.len(), SYNTAX).into());
        };
        if conditions.is_empty() {
            return Err(wrong_call(NAME, coerced.len(), SYNTAX).into());
        }
        let events = conditions.len() - 1;
        if events > MAX_CONDITIONS {
            return Err(too_many(NAME, "events", events, MAX_CONDITIONS).into());
        }
        for (given, name) in [(direction, "direction"), (base, "base")] {
            if !given.is_string() {
                return Err(wrong_type(NAME, name, given, "text").into());
            }
        }
        check_time(NAME, ts)?;
        if !plain(value).is_string() {
            return Err(wrong_type(NAME, "value", value, "text, such as value::text").into());
        }
        check_conditions(NAME, conditions, |at| match at {
            0 => "base_condition".to_owned(),
            event => format!("event{event}"),
        })?;
        Ok(DataType::Utf8)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::new(NextNodeGroups::of_call(&args)?)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |(part, items)| {
            let name = format_state_name(args.name, part);
            Arc::new(Field::new(name, DataType::List(item_field(items)), true))
        };
        let lists = [
            ("times", DataType::Int64),
            ("events", DataType::UInt64),
            ("bases", DataType::Boolean),
            ("values", DataType::Utf8),
        ];
        Ok(lists.into_iter().map(field).collect())
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(NextNodeGroups::of_call(&args)?))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let text = |given: &DataType| match plain(given) {
            DataType::Null => DataType::Utf8,
            _ => given.clone(),
        };
        let coerce = |(at, given): (usize, &DataType)| match at {
            0 | 1 | 3 => text(given),
            2 => coerced_time(given),
            _ => condition_type(given),
        };
        Ok(given.iter().enumerate().map(coerce).collect())
    }
}

/// Reads the literals of a call.
fn rules(exprs: &[Arc<dyn PhysicalExpr>]) -> Result<Rules, FunnelError> {
    let [direction, base, ..] = exprs else {
        return Err(wrong_call(NAME, exprs.len(), SYNTAX));
    };
    let direction = choice(direction, NAME, "direction", &Direction::NAMES)?;
    let base = choice(base, NAME, "base", &Base::NAMES)?;
    Rules::new(
        Direction::ALL[direction],
        Base::ALL[base],
        exprs.len().saturating_sub(BEFORE_EVENTS),
    )
}

/// The rows of each group.
#[derive(Debug)]
struct NextNodeGroups {
    rules: Rules,
    texts: DistinctKeys,
    log: GroupLog<Node>,
}

impl NextNodeGroups {
    fn new(rules: Rules) -> Self {
        Self {
            rules,
            texts: DistinctKeys::default(),
            log: GroupLog::default(),
        }
    }

    fn of_call(args: &AccumulatorArgs) -> Result<Self> {
        if args.is_distinct {
            return not_impl_err!(
                "{NAME}(DISTINCT …): a row that is there twice is two of a chain"
            );
        }
        Ok(Self::new(rules(args.exprs)?))
    }

    fn tidy(&mut self) -> Result<()> {
        let (rules, texts) = (self.rules, &self.texts);
        let tidied = self.log.tidy_if_doubled(|run, kept| {
            kernel::sort(run, texts);
            kept.extend_from_slice(&run[rules.live(run)]);
        });
        if tidied {
            self.forget_texts()?;
        }
        Ok(())
    }

    fn forget_texts(&mut self) -> Result<()> {
        let nodes = self.log.items_mut();
        let count = nodes.len();
        self.texts
            .forget_unused(count, nodes.iter_mut().map(|node| &mut node.text))
    }

    /// Takes groups out; `each` gets the sorted rows of one.
    fn take<T>(&mut self, emit_to: EmitTo, each: impl FnMut(&[Node]) -> T) -> Vec<T> {
        let mut runs = self.log.take(emit_to);
        let sorted = runs.iter_mut().map(|run| {
            kernel::sort(run, &self.texts);
            &*run
        });
        sorted.map(each).collect()
    }

    /// Forgets the texts of groups that were taken out.
    fn after_take(&mut self, emit_to: EmitTo) -> Result<()> {
        if emit_to == EmitTo::All {
            self.texts = DistinctKeys::default();
            return Ok(());
        }
        self.forget_texts()
    }
}

impl GroupsAccumulator for NextNodeGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.log.set_groups(total_num_groups);
        let [_, _, times, value, base, events @ ..] = values else {
            return Err(wrong_call(NAME, values.len(), SYNTAX).into());
        };
        let times = numbers(times)?;
        let is_base = true_bits(base.as_boolean());
        let masks = masks(events, times.len());
        let mut texts = KeyColumn::text(value.as_ref())?;
        let kept = kept_rows(opt_filter, &[&times, value.as_ref()]);
        each_row(kept.as_ref(), group_indices.len(), |row| {
            let node = Node {
                time: times.value(row),
                events: masks[row],
                text: texts.number_of(row, &mut self.texts)?,
                is_base: is_base.value(row),
            };
            self.log.push(group_indices[row], node)
        })?;
        self.tidy()
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let rules = self.rules;
        let next = self.take(emit_to, |nodes| {
            rules.next(nodes).map_or(NO_KEY, |at| nodes[at].text)
        });
        let column = text_column(&self.texts, next.into_iter(), &DataType::Utf8)?;
        self.after_take(emit_to)?;
        Ok(column)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let rules = self.rules;
        let mut nodes = Vec::new();
        let lengths = self.take(emit_to, |run| {
            let live = rules.live(run);
            nodes.extend_from_slice(&run[live.clone()]);
            live.len()
        });
        let texts = nodes.iter().map(|node| node.text);
        let texts = text_column(&self.texts, texts, &DataType::Utf8)?;
        let times = Int64Array::from_iter_values(nodes.iter().map(|node| node.time));
        let bases = nodes.iter().map(|node| Some(node.is_base));
        let bases = bases.collect::<BooleanArray>();
        let events = nodes.iter().map(|node| node.events).collect();
        self.after_take(emit_to)?;
        Ok(vec![
            lists(Arc::new(times), lengths.clone())?,
            lists(mask_column(events), lengths.clone())?,
            lists(Arc::new(bases), lengths.clone())?,
            lists(texts, lengths)?,
        ])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.log.set_groups(total_num_groups);
        let (times, events) = (list(column(values, 0)?)?, list(column(values, 1)?)?);
        let (bases, value) = (list(column(values, 2)?)?, list(column(values, 3)?)?);
        let time_items = primitive::<Int64Type>(times.values())?;
        let event_items = primitive::<UInt64Type>(events.values())?;
        let base_items = bases.values().as_boolean();
        let mut texts = KeyColumn::text(value.values().as_ref())?;
        for (row, group) in group_indices.iter().enumerate() {
            let places = items_of(times, row)
                .zip(items_of(events, row))
                .zip(items_of(bases, row).zip(items_of(value, row)));
            for ((time, event), (base, text)) in places {
                let node = Node {
                    time: time_items.value(time),
                    events: event_items.value(event),
                    text: texts.number_of(text, &mut self.texts)?,
                    is_base: base_items.value(base),
                };
                self.log.push(*group, node)?;
            }
        }
        self.tidy()
    }

    /// The state of each row by itself, for when grouping wouldn't make the rows fewer.
    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut rows = Self::new(self.rules);
        let groups = (0..column(values, 0)?.len()).collect::<Vec<_>>();
        rows.update_batch(values, &groups, opt_filter, groups.len())?;
        rows.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.texts.heap_size() + self.log.heap_size()
    }
}

#[cfg(test)]
mod tests;
