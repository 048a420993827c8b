#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use datafusion::arrow::array::{Date32Array, ListArray};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use proptest::prelude::*;

use super::*;
use crate::aggregate::testing::{self, Parts, parts};
use crate::scalar::rate_ci::arguments::testing as sql_testing;

/// The table of GaussDB(DWS)'s documentation.
const EVENTS: &str = "(VALUES (1, 'pay', DATE '2024-05-01'), (1, 'login', DATE '2024-05-01'), (1, 'pay', DATE '2024-05-02'), \
    (1, 'login', DATE '2024-05-02'), (2, 'login', DATE '2024-05-01'), (3, 'login', DATE '2024-05-02'), \
    (3, 'pay', DATE '2024-05-03'), (3, 'pay', DATE '2024-05-04')) AS events(uid, event, dt)";

fn context() -> SessionContext {
    let context = SessionContext::new();
    context.register_udaf(range_retention_count_udaf().as_ref().clone());
    context.register_udaf(range_retention_sum_udaf().as_ref().clone());
    context
}

#[track_caller]
fn check(sql: &str, expected: &[&str]) {
    sql_testing::check(&context(), &sql.replace("EVENTS", EVENTS), expected);
}

#[track_caller]
fn check_error(sql: &str, code: &str, part: &str) {
    sql_testing::check_error(&context(), &sql.replace("EVENTS", EVENTS), code, part);
}

const ZEROS: &str = "0,0,0,0,0,0,0,0,0,0,0,0,0";

#[test]
fn the_example_of_the_documentation() {
    // support.huaweicloud.com, dws_06_0372: rates 0.5 and 0 on 1 May, 0.5 and 0.5 on 2 May.
    check(
        "SELECT unnest(range_retention_sum(info)) FROM (SELECT range_retention_count(event = 'login', event = 'pay', dt, \
         array[1, 2], 'day') AS info FROM EVENTS GROUP BY uid)",
        &[
            &format!("20240501,2,1,0,{ZEROS}"),
            &format!("20240502,2,1,1,{ZEROS}"),
        ],
    );
}

#[test]
fn an_element_can_be_read() {
    check(
        "SELECT uid, e >> 32, (e >> 27) & 31, e & 134217727 FROM (SELECT uid, unnest(range_retention_count(event = 'login', \
         event = 'pay', dt, array[0, 1, 2], 'day', 'normal')) AS e FROM EVENTS GROUP BY uid) ORDER BY uid",
        &[
            "1 20240501 3 3",
            "1 20240502 3 1",
            "2 20240501 3 0",
            "3 20240502 3 6",
        ],
    );
    check(
        "SELECT uid, e >> 32, e & 4294967295 FROM (SELECT uid, unnest(range_retention_count(event = 'login', \
         event = 'pay', dt, array[1, 2], 'day', 'expand')) AS e FROM EVENTS GROUP BY uid) ORDER BY uid",
        &[
            "1 20240501 20240501",
            "1 20240501 20240502",
            "1 20240502 20240502",
            "2 20240501 20240501",
            "3 20240502 20240502",
            "3 20240502 20240503",
            "3 20240502 20240504",
        ],
    );
}

#[test]
fn weeks_and_months() {
    for (granularity, expected) in [
        (
            "day",
            [
                format!("20240131,1,0,0,{ZEROS}"),
                format!("20240226,1,0,0,{ZEROS}"),
            ]
            .to_vec(),
        ),
        // 31 January 2024 was a Wednesday, 26 February a Monday.
        (
            "week",
            [
                format!("20240129,1,0,0,{ZEROS}"),
                format!("20240226,1,1,0,{ZEROS}"),
            ]
            .to_vec(),
        ),
        (
            "month",
            [
                format!("20240101,1,1,1,{ZEROS}"),
                format!("20240201,1,1,0,{ZEROS}"),
            ]
            .to_vec(),
        ),
    ] {
        check(
            &format!(
                "SELECT unnest(range_retention_sum(r)) FROM (SELECT range_retention_count(a, b, t, [1, 2], '{granularity}') AS r \
                 FROM (VALUES (1, 1, TIMESTAMP '2024-01-31 23:59:59'), (1, 1, TIMESTAMP '2024-02-26 00:00:00'), (0, 1, TIMESTAMP '2024-03-10 00:00:00')) \
                 AS t(a, b, t))"
            ),
            &expected.iter().map(String::as_str).collect::<Vec<_>>(),
        );
    }
}

#[test]
fn nulls_and_no_rows() {
    check(
        "SELECT range_retention_count(a, a, t, [0], 'day') FROM (VALUES (true, NULL), (NULL, DATE '2024-05-01')) AS t(a, t)",
        &["[]"],
    );
    check(
        "SELECT range_retention_count(true, true, NULL, [0], 'day')",
        &["[]"],
    );
    check(
        "SELECT range_retention_count(true, true, dt, [0], 'day') FROM EVENTS WHERE uid > 9",
        &["[]"],
    );
    check("SELECT range_retention_sum(NULL)", &["[]"]);
    check("SELECT range_retention_sum([NULL])", &["[]"]);
    check(
        "SELECT range_retention_sum(r) FROM (SELECT range_retention_count(true, true, dt, [0], 'day') AS r FROM EVENTS) WHERE r IS NULL",
        &["[]"],
    );
}

#[test]
fn filters_and_growing_frames() {
    check(
        "SELECT uid, array_length(range_retention_count(true, false, dt, [1], 'day') FILTER (WHERE event = 'pay')) FROM EVENTS \
         GROUP BY uid ORDER BY uid",
        &["1 2", "2 0", "3 2"],
    );
    check(
        "SELECT DISTINCT dt, array_length(range_retention_count(true, true, dt, [1], 'day') OVER (ORDER BY dt)) FROM EVENTS ORDER BY 1",
        &[
            "2024-05-01 1",
            "2024-05-02 2",
            "2024-05-03 3",
            "2024-05-04 4",
        ],
    );
}

#[test]
fn many_intervals() {
    let intervals = (1..=27)
        .map(|at| at.to_string())
        .collect::<Vec<_>>()
        .join(", ");
    check(
        &format!(
            "SELECT unnest(range_retention_sum(r)) FROM (SELECT range_retention_count(v = 0, true, DATE '2024-01-01' + v::int, \
             [{intervals}], 'day') AS r FROM generate_series(0, 26) AS s(v))"
        ),
        &[&format!("20240101,1,{}0", "1,".repeat(26))],
    );
    check_error(
        &format!(
            "SELECT range_retention_count(true, true, dt, [{intervals}, 28], 'day') FROM EVENTS"
        ),
        "22023",
        "can't take 28 intervals HINT: Write 1 to 27",
    );
}

#[test]
fn impossible_arguments_are_errors() {
    let call = |arguments: &str| format!("SELECT range_retention_count({arguments}) FROM EVENTS");
    check_error(
        &call("true, true, dt"),
        "42883",
        "can't be called with 3 arguments HINT: Write range_retention_count(",
    );
    check_error(
        &call("event, true, dt, [1], 'day'"),
        "42804",
        "argument is_first",
    );
    check_error(
        &call("true, event, dt, [1], 'day'"),
        "42804",
        "argument is_active",
    );
    check_error(&call("true, true, uid, [1], 'day'"), "42804", "argument dt");
    check_error(
        &call("true, true, dt, ['1'], 'day'"),
        "42804",
        "argument intervals",
    );
    check_error(
        &call("true, true, dt, [1.5], 'day'"),
        "42804",
        "argument intervals",
    );
    check_error(
        &call("true, true, dt, [1], 7"),
        "42804",
        "argument granularity",
    );
    check_error(
        &call("true, true, dt, [uid], 'day'"),
        "22023",
        "argument intervals of range_retention_count() is not a literal",
    );
    check_error(
        &call("true, true, dt, [-1], 'day'"),
        "22023",
        "an interval of range_retention_count() can't be -1",
    );
    check_error(
        &call("true, true, dt, [NULL], 'day'"),
        "22023",
        "can't be NULL",
    );
    check_error(
        &call("true, true, dt, NULL, 'day'"),
        "22023",
        "can't take 0 intervals",
    );
    check_error(
        &call("true, true, dt, [1], 'year'"),
        "22023",
        "argument granularity of range_retention_count() can't be 'year' HINT: Write one of: 'day', 'week', 'month'.",
    );
    check_error(
        &call("true, true, dt, [1], 'day', NULL"),
        "22023",
        "argument output_format of range_retention_count() can't be NULL",
    );
    check_error(
        &call("true, true, arrow_cast(9999999, 'Date32'), [1], 'day'"),
        "22003",
        "9999999 days from 1970-01-01",
    );
    check_error(
        "SELECT range_retention_sum(r) FROM (SELECT range_retention_count(true, true, dt, [1], 'day', 'expand') AS r FROM EVENTS)",
        "22023",
        "HINT: Give it range_retention_count(…, 'normal')",
    );
    check_error(
        "SELECT range_retention_sum(uid) FROM EVENTS",
        "42804",
        "argument counts",
    );
    check_error(
        "SELECT range_retention_sum([uid], 1) FROM EVENTS",
        "42883",
        "Write range_retention_sum(counts)",
    );
}

#[test]
fn many_partitions_equal_one() {
    testing::check_partitions(
        &[range_retention_count_udaf(), range_retention_sum_udaf()],
        "SELECT 渠道, unnest(range_retention_sum(r)) AS s FROM (SELECT v % 997 AS g, '渠道' || (v % 3) AS 渠道, \
         range_retention_count(v % 5 = 0, v % 3 > 0, DATE '2024-01-01' + (v * 31 % 61)::int, [0, 1, 7, 30], 'week') AS r \
         FROM generate_series(1, 30000) AS s(v) GROUP BY g, 渠道) GROUP BY 渠道 ORDER BY 渠道, s",
    );
}

type Case = (Vec<(bool, bool, Option<i32>)>, Parts);

fn cases() -> impl Strategy<Value = Case> {
    let row = (
        any::<bool>(),
        any::<bool>(),
        proptest::option::of(19_000..19_012),
    );
    proptest::collection::vec(row, 0..40).prop_flat_map(|rows| {
        let length = rows.len();
        (Just(rows), parts(length))
    })
}

proptest! {
    #[test]
    fn parts_are_one_pass((rows, parts) in cases()) {
        let columns: [ArrayRef; 3] = [
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<BooleanArray>()),
            Arc::new(rows.iter().map(|row| Some(row.1)).collect::<BooleanArray>()),
            Arc::new(rows.iter().map(|row| row.2).collect::<Date32Array>()),
        ];
        let intervals = vec![0, 1, 5];
        let rules = Arc::new(Rules { intervals: intervals.clone(), granularity: Granularity::Day, format: Format::Normal });
        let found = parts.results(&|| CountGroups::new(Arc::clone(&rules)), &columns);
        for (group, found) in found.iter().enumerate() {
            let of = || rows.iter().zip(&parts.groups).filter(|(_, of)| **of == group).map(|(row, _)| row);
            let starts = of().filter(|row| row.0).filter_map(|row| row.2).collect::<BTreeSet<_>>();
            let expected = starts.iter().map(|start| {
                let back = |days: &u32| of().any(|row| row.1 && row.2 == Some(start + *days as i32));
                let date = Granularity::Day.date_number(Granularity::Day.period_of(*start).unwrap());
                encode(date, intervals.iter().map(back))
            });
            prop_assert_eq!(found, &format!("{:?}", expected.collect::<Vec<_>>()));
        }
    }
}

proptest! {
    #[test]
    fn sums_in_parts_are_one_pass((starts, parts) in sums()) {
        // Results of users who start on some days, and are back after some intervals.
        let element = |(day, met): &(i64, [bool; 3])| encode(20_240_101 + day, met.iter().copied());
        let column: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
            starts.iter().map(|user| user.as_ref().map(|user| user.iter().map(element).map(Some))),
        ));
        let found = parts.results(&sum::SumGroups::default, &[column]);
        for (group, found) in found.iter().enumerate() {
            let of = || starts.iter().zip(&parts.groups).filter(|(_, of)| **of == group).flat_map(|(user, _)| user.iter().flatten());
            let days = of().map(|(day, _)| *day).collect::<BTreeSet<_>>();
            let expected = days.iter().map(|day| {
                let on = || of().filter(|start| start.0 == *day);
                let back = |at: usize| on().filter(|start| start.1[at]).count();
                format!("{},{},{},{},{},0,0,0,0,0,0,0,0,0,0,0,0", 20_240_101 + day, on().count(), back(0), back(1), back(2))
            });
            prop_assert_eq!(found, &format!("[{}]", expected.collect::<Vec<_>>().join(", ")));
        }
    }
}

type Starts = Vec<(i64, [bool; 3])>;

fn sums() -> impl Strategy<Value = (Vec<Option<Starts>>, Parts)> {
    let user = proptest::collection::vec((0..4_i64, any::<[bool; 3]>()), 0..4);
    proptest::collection::vec(proptest::option::of(user), 0..40).prop_flat_map(|starts| {
        let length = starts.len();
        (Just(starts), parts(length))
    })
}
