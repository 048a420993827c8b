#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray, UInt64Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use proptest::prelude::*;

use super::groups::{DetailGroups, Layout, Task};
use super::kernel::{Row, Scratch, attempts, detail};
use super::rules::{Exclusion, Options, Rules};
use super::*;
use crate::aggregate::hits::Window;
use crate::aggregate::testing::{Parts, check_partitions, parts};
use crate::definition::model::Counting;
use crate::scalar::rate_ci::arguments::testing;

/// A small log; user 4 has no first step.
const EVENTS: &str = "(VALUES (1, 'a', 0, 'p', 'e1'), (1, 'b', 5, 'q', 'e2'), (1, 'b', 6, 'p', 'e3'), \
    (1, 'c', 9, 'p', 'e4'), (2, 'a', 0, 'p', 'e5'), (2, 'x', 2, 'p', 'e6'), (2, 'b', 3, 'p', NULL), (3, 'a', 1, NULL, 'e8'), \
    (3, 'c', 4, NULL, 'e9'), (3, 'a', NULL, 'p', 'e10'), (4, 'b', 1, 'p', 'e11')) AS events(id, event, at, cart, key)";

fn context() -> SessionContext {
    let context = SessionContext::new();
    crate::register_functions(&context).unwrap();
    context
}

/// A statement with options by name, as it is planned.
fn resolved(sql: &str) -> String {
    let sql = sql
        .replace("EVENTS", EVENTS)
        .replace("STEPS", "event = 'a', event = 'b', event = 'c'");
    let mut statements = Parser::parse_sql(&GenericDialect {}, &sql).unwrap();
    let mut statement: Statement = statements.remove(0);
    crate::spelling::resolve(&mut statement).unwrap();
    statement.to_string()
}

#[track_caller]
fn check(sql: &str, expected: &[&str]) {
    testing::check(&context(), &resolved(sql), expected);
}

/// The detail of each user under some arguments after the time.
#[track_caller]
fn check_users(arguments: &str, expected: &[&str]) {
    let fields = ["level", "step_times", "step_keys", "ended"].map(|field| format!("d['{field}']"));
    let sql = format!(
        "SELECT id, {} FROM (SELECT id, window_funnel_detail({arguments}) AS d FROM EVENTS GROUP BY id) ORDER BY id",
        fields.join(", ")
    );
    check(&sql, expected);
}

#[track_caller]
fn check_error(call: &str, code: &str, part: &str) {
    let sql = resolved(&format!("SELECT {call} FROM EVENTS"));
    testing::check_error(&context(), &sql, code, part);
}

#[test]
fn level_times_keys_and_end() {
    check_users(
        "10, at, STEPS, key => key",
        &[
            "1 3 [0, 5, 9] [e1, e2, e4] converted",
            "2 2 [0, 3] [e5, NULL] open",
            "3 1 [1] [e8] open",
            "4 0 [] [] NULL",
        ],
    );
    check_users(
        "NULL, at, [STEPS], as_of => 4",
        &[
            "1 1 [0] [NULL] open",
            "2 2 [0, 3] [NULL, NULL] open",
            "3 1 [1] [NULL] open",
            "4 0 [] [] NULL",
        ],
    );
}

#[test]
fn options_change_the_chain() {
    check_users(
        "10, at, STEPS, key => key, hold => cart, optional => ARRAY[2], exclude => event = 'x', exclude_between => '1-2', \
         as_of => 100",
        &[
            "1 3 [0, 6, 9] [e1, e3, e4] converted",
            "2 1 [0] [e5] excluded",
            "3 0 [] [] NULL",
            "4 0 [] [] NULL",
        ],
    );
    check_users(
        "10, at, STEPS, optional => 2, step_windows => ARRAY[NULL, 4, 3], key => id",
        &[
            "1 1 [0] [1] timed_out",
            "2 2 [0, 3] [2, 2] open",
            "3 3 [1, NULL, 4] [3, NULL, 3] converted",
            "4 0 [] [] NULL",
        ],
    );
    check_users(
        "10, at, STEPS, counting => 'strict', as_of => 3",
        &[
            "1 1 [0] [NULL] open",
            "2 1 [0] [NULL] timed_out",
            "3 1 [1] [NULL] open",
            "4 0 [] [] NULL",
        ],
    );
}

#[test]
fn any_order_has_an_element_for_each_step() {
    check(
        "SELECT window_funnel_detail(10, at, STEPS, counting => 'any', key => key) AS d FROM EVENTS WHERE id = 3",
        &["{level: 2, step_times: [1, NULL, 4], step_keys: [e8, NULL, e9], ended: open}"],
    );
}

#[test]
fn attempts_follow_each_other() {
    let log = "(VALUES ('a', 0), ('b', 1), ('a', 2), ('a', 3), ('b', 4), ('a', 9)) AS t(event, at)";
    check(
        &format!(
            "SELECT window_funnel_attempts(2, at, event = 'a', event = 'b', as_of => 9) FROM {log}"
        ),
        &[
            "[{level: 2, step_times: [0, 1], step_keys: [NULL, NULL], ended: converted}, \
            {level: 2, step_times: [2, 4], step_keys: [NULL, NULL], ended: converted}, \
            {level: 1, step_times: [9], step_keys: [NULL], ended: open}]",
        ],
    );
    check(
        &format!("SELECT window_funnel_attempts(2, at, event = 'c') FROM {log}"),
        &["[]"],
    );
}

#[test]
fn no_rows_filters_and_growing_frames() {
    check(
        "SELECT window_funnel_detail(10, at, event = 'a')['level'] FROM EVENTS WHERE id > 9",
        &["0"],
    );
    check(
        "SELECT window_funnel_detail(10, at, STEPS)['level'] AS all_rows, \
         window_funnel_detail(10, at, STEPS) FILTER (WHERE key <> 'e4')['level'] AS some FROM EVENTS WHERE id = 1",
        &["3 2"],
    );
    check(
        "SELECT at, window_funnel_detail(10, at, STEPS, key => key) OVER (ORDER BY at)['step_keys'] FROM EVENTS WHERE id = 1 ORDER BY at",
        &["0 [e1]", "5 [e1, e2]", "6 [e1, e2]", "9 [e1, e2, e4]"],
    );
}

#[test]
fn without_as_of_timestamps_are_known_up_to_now() {
    let call = |start: &str, more: &str| {
        format!(
            "SELECT window_funnel_detail(INTERVAL '1 hour', ts, true, false{more})['ended'] FROM (SELECT {start} AS ts)"
        )
    };
    check(&call("now()", ""), &["open"]);
    check(&call("now() - INTERVAL '2 hours'", ""), &["timed_out"]);
    check(&call("now() + INTERVAL '2 hours'", ""), &["NULL"]);
    check(
        &call(
            "TIMESTAMP '2020-01-01 00:00:00'",
            ", as_of => '2020-01-01 01:00:00'",
        ),
        &["open"],
    );
    check(
        &call(
            "DATE '2020-01-01'",
            ", as_of => DATE '2020-01-01' + INTERVAL '1 day'",
        ),
        &["timed_out"],
    );
}

#[test]
fn keys_and_held_values_of_any_type() {
    for value in [
        "v",
        "arrow_cast(v, 'UInt8')",
        "arrow_cast(arrow_cast(v, 'Utf8'), 'Utf8View')",
        "arrow_cast(arrow_cast(v, 'Utf8'), 'Dictionary(Int32, Utf8)')",
        "arrow_cast(v, 'Timestamp(Second, Some(\"+08:00\"))')",
        "arrow_cast(v, 'Decimal128(9, 2)')",
        "v > 1",
        "[v]",
    ] {
        check(
            &format!(
                "SELECT d['level'], d['step_keys'][1] IS NULL FROM (SELECT window_funnel_detail(9, t, e = 'a', e = 'b', \
                 key => {value}, hold => {value}) AS d \
                 FROM (VALUES ('a', 1, 1), ('b', 2, 2), ('a', 3, NULL), ('b', 4, NULL), ('b', 5, 1)) AS t(e, t, v))"
            ),
            &["2 false"],
        );
    }
}

#[test]
fn wrong_calls_are_errors() {
    let named = |options: &str| format!("window_funnel_detail(10, at, STEPS, {options})");
    for (call, code, part) in [
        (
            named("counting => 'fast'"),
            "22023",
            "\"fast\" is not a way of counting",
        ),
        (
            named("counting => event"),
            "22023",
            "argument counting of window_funnel_detail() is not a literal",
        ),
        (
            named("optional => 1"),
            "22023",
            "step 1 of 3 can't be optional",
        ),
        (
            named("optional => 'b'"),
            "22023",
            "Write the numbers of steps",
        ),
        (
            named("step_windows => ARRAY[1, 2]"),
            "22023",
            "step_windows has 2 windows for 3 steps",
        ),
        (
            named("step_windows => ARRAY[1, -2, 3]"),
            "22023",
            "step 2 of window_funnel_detail() is negative",
        ),
        (
            named("exclude => event = 'x', exclude_between => 'a-b'"),
            "22023",
            "such as '2-3'",
        ),
        (
            named("as_of => now()"),
            "22023",
            "as_of of window_funnel_detail() can't be",
        ),
        (named("exclude => event"), "42804", "can't be Utf8"),
        (
            "window_funnel_detail(-1, at, true)".to_owned(),
            "22023",
            "is negative",
        ),
        (
            "window_funnel_detail(1, event, true)".to_owned(),
            "42804",
            "argument ts",
        ),
        (
            "window_funnel_attempts(DISTINCT 1, at, true)".to_owned(),
            "42883",
            "DISTINCT",
        ),
    ] {
        check_error(&call, code, part);
    }
    check_error(
        "window_funnel_detail(1, DATE '2020-01-01', true) OVER ()",
        "22023",
        "Write as_of => now()",
    );
}

#[test]
fn the_level_is_that_of_window_funnel_in_any_partitions() {
    let functions = [
        window_funnel_detail_udaf(),
        window_funnel_attempts_udaf(),
        crate::aggregate::window_funnel::window_funnel_udaf(),
    ];
    let log = "(SELECT value % 300 AS id, value * 7919 % 1000 AS at, value * 31 % 5 AS e FROM generate_series(1, 6000))";
    let sql = |differs: &str| {
        resolved(&format!(
            "SELECT * FROM (SELECT id, window_funnel_detail(100, at, e = 0, e = 1, e = 2, key => at + e) AS d, \
             window_funnel_attempts(100, at, e = 0, e = 1, e = 2, hold => at % 2, exclude => e = 3) AS a, \
             window_funnel(100, at, e = 0, e = 1, e = 2) AS level FROM {log} GROUP BY id) {differs} ORDER BY id"
        ))
    };
    check_partitions(&functions, &sql(""));
    testing::check(&context(), &sql("WHERE d['level'] <> level"), &[]);
}

fn task(counting: Counting, every_attempt: bool) -> Task {
    Task {
        every_attempt,
        rules: Rules::new(Options {
            counting,
            held: true,
            exclusions: vec![Exclusion {
                after: 1,
                before: 3,
            }],
            ..Options::plain(3, Window::Units(4))
        })
        .unwrap(),
        time_type: DataType::Int64,
        key_type: Some(DataType::Int64),
        hold_type: Some(DataType::Utf8),
    }
}

/// Time, conditions, exclusions, held value, key.
type Given = (Option<i64>, u64, u64, Option<String>, Option<i64>);

fn any_rows() -> impl Strategy<Value = (Vec<Given>, Parts)> {
    let row = (
        proptest::option::weighted(0.9, 0..12_i64),
        0..8_u64,
        prop_oneof![4 => Just(0_u64), 1 => Just(1)],
        proptest::option::weighted(0.9, "[pq]"),
        proptest::option::weighted(0.9, 0..4_i64),
    );
    proptest::collection::vec(row, 0..40)
        .prop_flat_map(|rows| (Just(rows.clone()), parts(rows.len())))
}

fn columns(rows: &[Given]) -> Vec<ArrayRef> {
    vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.1)).collect::<UInt64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.2)).collect::<UInt64Array>()),
        Arc::new(
            rows.iter()
                .map(|row| row.3.clone())
                .collect::<StringArray>(),
        ),
        Arc::new(rows.iter().map(|row| row.4).collect::<Int64Array>()),
    ]
}

/// The kernel's levels and ends for the rows of a group.
fn by_kernel(rows: &[Given], task: &Task) -> String {
    let mut rows: Vec<Row> = rows
        .iter()
        .filter_map(|(time, conditions, exclusions, held, _)| {
            Some(Row {
                time: (*time)?,
                conditions: *conditions,
                exclusions: *exclusions,
                held: held.as_ref().map(|held| u32::from(held == "q")),
            })
        })
        .collect();
    rows.sort();
    let mut scratch = Scratch::default();
    let mut chains = Vec::new();
    match task.every_attempt {
        true => attempts(&rows, &task.rules, &mut scratch, &mut chains),
        false => chains.extend(detail(&rows, &task.rules, &mut scratch)),
    }
    let times = |chain: &super::kernel::Chain| {
        let times = chain.rows.iter().map(|row| match row {
            Some(row) => rows[*row].time.to_string(),
            None => "NULL".to_owned(),
        });
        format!(
            "{}: [{}]",
            chain.level,
            times.collect::<Vec<_>>().join(", ")
        )
    };
    chains.iter().map(times).collect::<Vec<_>>().join("; ")
}

/// The same, out of a result's text.
fn shown(result: &str) -> String {
    let chains = result.split("{level: ").skip(1).filter_map(|chain| {
        let (level, rest) = chain.split_once(", step_times: ")?;
        let (times, _) = rest.split_once(", step_keys")?;
        (level != "0").then(|| format!("{level}: {times}"))
    });
    chains.collect::<Vec<_>>().join("; ")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn parts_in_any_order_give_what_the_kernel_does(
        (rows, parts) in any_rows(),
        counting in prop_oneof![Just(Counting::Ordered), Just(Counting::Strict), Just(Counting::Any)],
        every_attempt: bool,
    ) {
        let task = task(counting, every_attempt);
        let make = || DetailGroups::try_new(task.clone(), Layout::Masked).unwrap();
        let results = parts.results(&make, &columns(&rows));
        for (group, result) in results.iter().enumerate() {
            let of_group = rows.iter().zip(&parts.groups).filter(|(_, other)| **other == group);
            let of_group: Vec<_> = of_group.map(|(row, _)| row.clone()).collect();
            prop_assert_eq!(shown(result), by_kernel(&of_group, &task));
        }
    }
}
