//! The two faces that DataFusion wants of a [`Log`]: for one entity, and for many at once.

use std::mem::size_of_val;

use datafusion::arrow::array::{ArrayRef, BooleanArray};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::kernel::Rules;
use super::log::{Log, Rows};
use super::runs::Runs;

/// The journey of one entity: all rows, or those of a window frame.
#[derive(Debug)]
pub(super) struct JourneyAccumulator {
    rules: Rules,
    log: Log,
}

impl JourneyAccumulator {
    /// An entity of which nothing is known yet.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            log: Log::default(),
        }
    }
}

impl Accumulator for JourneyAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = Rows::try_new(values, None)?;
        self.log.append(&rows, self.rules.stage_mask(), |_| 0)
    }

    /// The journey so far; a window with a growing frame asks again after more rows.
    fn evaluate(&mut self) -> Result<ScalarValue> {
        let journeys = self.log.copy_all(1).journeys(&self.rules)?;
        ScalarValue::try_from_array(&journeys, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.log.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let lists = self.log.take_all(1).state()?;
        lists
            .iter()
            .map(|list| ScalarValue::try_from_array(list, 0))
            .collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.log.merge(states, |_| 0)
    }
}

/// The journeys of all entities of a GROUP BY.
#[derive(Debug)]
pub(super) struct JourneyGroupsAccumulator {
    rules: Rules,
    log: Log,
    /// How many groups there are, those without an entry too.
    groups: usize,
}

impl JourneyGroupsAccumulator {
    /// No group yet.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            log: Log::default(),
            groups: 0,
        }
    }

    fn take(&mut self, emit_to: EmitTo) -> Result<Runs> {
        match emit_to {
            EmitTo::All => Ok(self.log.take_all(std::mem::take(&mut self.groups))),
            EmitTo::First(groups) => {
                self.groups = self.groups.saturating_sub(groups);
                self.log.take_first(groups)
            }
        }
    }
}

impl GroupsAccumulator for JourneyGroupsAccumulator {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = total_num_groups;
        let rows = Rows::try_new(values, opt_filter)?;
        self.log
            .append(&rows, self.rules.stage_mask(), |row| group_indices[row])
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.take(emit_to)?.journeys(&self.rules)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.take(emit_to)?.state()
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = total_num_groups;
        self.log.merge(values, |row| group_indices[row])
    }

    /// The state of each row by itself, for when grouping wouldn't make the rows fewer.
    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = Rows::try_new(values, opt_filter)?;
        let mut log = Log::default();
        log.append(&rows, self.rules.stage_mask(), |row| row)?;
        log.take_all(rows.len()).state()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.log.size()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::super::testing::{Case, Event, Row, cases, columns, events, journey_of};
    use super::*;
    use crate::definition::model::Counting;

    const GROUPS: usize = 5;

    /// How a part of the rows becomes a partial state.
    #[derive(Debug, Clone, Copy)]
    enum Way {
        /// At once.
        AtOnce,
        /// The first so many groups, then the others.
        InTwo(usize),
        /// Row by row.
        ByRow,
        /// By a state of a state.
        Twice,
    }

    /// Rows, each with its group and its part, and the parts in the order in which they are merged.
    #[derive(Debug, Clone)]
    struct Parts {
        case: Case,
        places: Vec<(usize, usize)>,
        parts: Vec<(usize, Way)>,
    }

    impl Parts {
        fn of_group(&self, group: usize) -> Vec<Event> {
            let rows = self.case.events.iter().zip(&self.places);
            rows.filter(|(_, place)| place.0 == group)
                .map(|(event, _)| event.clone())
                .collect()
        }

        fn of_part(&self, part: usize) -> (Vec<Event>, Vec<usize>) {
            let rows = self.case.events.iter().zip(&self.places);
            rows.filter(|(_, place)| place.1 == part)
                .map(|(event, place)| (event.clone(), place.0))
                .unzip()
        }

        /// The journeys of all groups, each by itself.
        fn expected(&self) -> Vec<Option<Row>> {
            let rules = self.case.rules();
            (0..GROUPS)
                .map(|group| journey_of(&self.of_group(group), &rules))
                .collect()
        }
    }

    fn parts() -> impl Strategy<Value = Parts> {
        let way = prop_oneof![
            Just(Way::AtOnce),
            (0..=GROUPS).prop_map(Way::InTwo),
            Just(Way::ByRow),
            Just(Way::Twice)
        ];
        (cases(50), prop_oneof![Just(1_usize), Just(2), Just(7)]).prop_flat_map(
            move |(case, count)| {
                let places = proptest::collection::vec((0..GROUPS, 0..count), case.events.len());
                let ways = proptest::collection::vec(way.clone(), count);
                let parts = ways
                    .prop_map(|ways| ways.into_iter().enumerate().collect::<Vec<_>>())
                    .prop_shuffle();
                (Just(case), places, parts).prop_map(|(case, places, parts)| Parts {
                    case,
                    places,
                    parts,
                })
            },
        )
    }

    fn update(accumulator: &mut JourneyGroupsAccumulator, rows: &[Event], groups: &[usize]) {
        // In batches of 3, as the log goes on from one to the next.
        for (rows, groups) in rows.chunks(3).zip(groups.chunks(3)) {
            accumulator
                .update_batch(&columns(rows), groups, None, GROUPS)
                .unwrap();
        }
    }

    /// Adds a part's rows to an accumulator, by way of one or more partial states.
    fn merge_part(target: &mut JourneyGroupsAccumulator, parts: &Parts, part: usize, way: Way) {
        let (rows, groups) = parts.of_part(part);
        let mut partial = JourneyGroupsAccumulator::new(target.rules);
        let all_groups = (0..GROUPS).collect::<Vec<_>>();
        match way {
            Way::AtOnce => {
                update(&mut partial, &rows, &groups);
                partial.groups = GROUPS;
                let state = partial.state(EmitTo::All).unwrap();
                target.merge_batch(&state, &all_groups, GROUPS).unwrap();
            }
            Way::InTwo(first) => {
                update(&mut partial, &rows, &groups);
                partial.groups = GROUPS;
                let state = partial.state(EmitTo::First(first)).unwrap();
                target
                    .merge_batch(&state, &all_groups[..first], GROUPS)
                    .unwrap();
                let state = partial.state(EmitTo::All).unwrap();
                target
                    .merge_batch(&state, &all_groups[first..], GROUPS)
                    .unwrap();
            }
            Way::ByRow => {
                let state = partial.convert_to_state(&columns(&rows), None).unwrap();
                target.merge_batch(&state, &groups, GROUPS).unwrap();
            }
            Way::Twice => {
                merge_part(&mut partial, parts, part, Way::AtOnce);
                let state = partial.state(EmitTo::All).unwrap();
                target.merge_batch(&state, &all_groups, GROUPS).unwrap();
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn groups_in_parts_are_groups_in_one_pass(parts in parts(), first in 0..=GROUPS) {
            let mut merged = JourneyGroupsAccumulator::new(parts.case.rules());
            for (part, way) in &parts.parts {
                merge_part(&mut merged, &parts, *part, *way);
            }
            let mut journeys = Row::read_all(&merged.evaluate(EmitTo::First(first)).unwrap());
            journeys.extend(Row::read_all(&merged.evaluate(EmitTo::All).unwrap()));
            prop_assert_eq!(journeys, parts.expected());
        }

        #[test]
        fn groups_go_on_after_the_first_are_taken(parts in parts(), first in 1..GROUPS) {
            // As with sorted input: groups that are complete are taken while others still grow.
            let mut accumulator = JourneyGroupsAccumulator::new(parts.case.rules());
            let rows = |groups: std::ops::Range<usize>, before: usize| {
                groups
                    .flat_map(|group| {
                        let rows = parts.of_group(group).into_iter();
                        rows.map(move |row| (row, group - before))
                    })
                    .unzip::<_, _, Vec<_>, Vec<_>>()
            };
            let (early, groups) = rows(0..first + 1, 0);
            accumulator.update_batch(&columns(&early), &groups, None, first + 1).unwrap();
            let mut journeys = Row::read_all(&accumulator.evaluate(EmitTo::First(first)).unwrap());
            let (late, groups) = rows(first + 1..GROUPS, first);
            accumulator.update_batch(&columns(&late), &groups, None, GROUPS - first).unwrap();
            journeys.extend(Row::read_all(&accumulator.evaluate(EmitTo::All).unwrap()));
            prop_assert_eq!(journeys, parts.expected());
        }

        #[test]
        fn an_entity_in_parts_is_an_entity_in_one_pass(parts in parts()) {
            let rules = parts.case.rules();
            let mut merged = JourneyAccumulator::new(rules);
            for (part, way) in &parts.parts {
                let mut partial = JourneyAccumulator::new(rules);
                partial.update_batch(&columns(&parts.of_part(*part).0)).unwrap();
                if matches!(way, Way::Twice) {
                    let state = state_of(&mut partial);
                    partial.merge_batch(&state).unwrap();
                }
                merged.merge_batch(&state_of(&mut partial)).unwrap();
            }
            let expected = journey_of(&parts.case.events, &rules);
            // To ask twice makes no difference, as a window frame does.
            for _ in 0..2 {
                let journey = merged.evaluate().unwrap().to_array().unwrap();
                prop_assert_eq!(Row::read(&journey, 0), expected.clone());
            }
        }
    }

    fn state_of(accumulator: &mut JourneyAccumulator) -> Vec<ArrayRef> {
        accumulator
            .state()
            .unwrap()
            .iter()
            .map(|value| value.to_array().unwrap())
            .collect()
    }

    fn rules() -> Rules {
        Rules::new(Counting::Ordered, None, 3).unwrap()
    }

    fn shown(journeys: &ArrayRef) -> Vec<String> {
        let show = |row: Option<Row>| row.map_or("none".to_owned(), |row| row.to_string());
        Row::read_all(journeys).into_iter().map(show).collect()
    }

    #[test]
    fn only_rows_that_the_filter_keeps_count() {
        let columns = columns(&events("A@0 B@1 C@2 x@3"));
        let filter = BooleanArray::from(vec![Some(true), Some(false), None, Some(true)]);
        let mut accumulator = JourneyGroupsAccumulator::new(rules());
        accumulator
            .update_batch(&columns, &[0, 0, 0, 1], Some(&filter), 2)
            .unwrap();
        assert_eq!(
            shown(&accumulator.evaluate(EmitTo::All).unwrap()),
            ["open | A@0", "none"]
        );

        let state = accumulator
            .convert_to_state(&columns, Some(&filter))
            .unwrap();
        accumulator.merge_batch(&state, &[0, 1, 2, 0], 3).unwrap();
        let journeys = accumulator.evaluate(EmitTo::All).unwrap();
        assert_eq!(shown(&journeys), ["lost@3 | A@0", "none", "none"]);
    }

    #[test]
    fn a_null_time_leaves_a_row_out() {
        let mut rows = events("A@0 B@1 x@2");
        rows[1].ts = None;
        rows[2].ts = None;
        let filter = BooleanArray::from(vec![true; 3]);
        for filter in [None, Some(&filter)] {
            let mut accumulator = JourneyGroupsAccumulator::new(rules());
            accumulator
                .update_batch(&columns(&rows), &[0; 3], filter, 1)
                .unwrap();
            assert_eq!(
                shown(&accumulator.evaluate(EmitTo::All).unwrap()),
                ["open | A@0"]
            );
        }
    }

    #[test]
    fn no_rows_are_no_journey() {
        let mut accumulator = JourneyAccumulator::new(rules());
        assert!(accumulator.evaluate().unwrap().is_null());
        let state = state_of(&mut accumulator);
        accumulator.merge_batch(&state).unwrap();
        assert!(accumulator.evaluate().unwrap().is_null());

        let mut accumulator = JourneyGroupsAccumulator::new(rules());
        assert_eq!(accumulator.evaluate(EmitTo::All).unwrap().len(), 0);
        assert_eq!(accumulator.state(EmitTo::All).unwrap()[0].len(), 0);
    }

    #[test]
    fn the_memory_that_it_says_follows_the_log() {
        let mut accumulator = JourneyGroupsAccumulator::new(rules());
        let empty = accumulator.size();
        let rows = (0..1_000)
            .flat_map(|time| events(&format!("A@{time} x@{time}:reason-{time}")))
            .collect::<Vec<_>>();
        let groups = (0..rows.len()).map(|row| row / 2).collect::<Vec<_>>();
        accumulator
            .update_batch(&columns(&rows), &groups, None, 1_000)
            .unwrap();
        let full = accumulator.size();
        assert!(full > empty + 2_000 * 16 + 1_000 * 10, "{full}");
        // The reasons of the groups that are gone don't stay.
        accumulator.evaluate(EmitTo::First(990)).unwrap();
        assert!(
            accumulator.size() < full - 1_000 * 10,
            "{}",
            accumulator.size()
        );
        assert_eq!(
            shown(&accumulator.evaluate(EmitTo::All).unwrap())[9],
            "lost@999:reason-999 | A@999"
        );
        assert_eq!(accumulator.size(), empty);
    }
}
