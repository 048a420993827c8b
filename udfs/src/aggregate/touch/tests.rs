#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use datafusion::arrow::array::{Float64Array, StringArray};
use datafusion::arrow::datatypes::{Float64Type, Int32Type};
use proptest::prelude::*;

use super::*;
use crate::aggregate::testing::{self, GROUPS, Parts, parts};

const VISITS: &str = "(VALUES (1, '搜索', 20), (1, '广告', 10), (1, NULL, 5), (2, '直接', NULL), (2, 'b', 7), (2, 'a', 7), \
    (2, 'c', 7), (3, NULL, 1)) AS visits(id, channel, at)";

#[track_caller]
fn check(sql: &str, expected: &[&str]) {
    let context = datafusion::prelude::SessionContext::new();
    context.register_udaf(first_touch_udaf().as_ref().clone());
    context.register_udaf(last_touch_udaf().as_ref().clone());
    let sql = sql.replace("VISITS", VISITS);
    crate::scalar::rate_ci::arguments::testing::check(&context, &sql, expected);
}

#[track_caller]
fn check_error(sql: &str, code: &str, part: &str) {
    testing::check_error(
        &first_touch_udaf(),
        &sql.replace("VISITS", VISITS),
        code,
        part,
    );
}

#[test]
fn the_value_of_the_earliest_and_of_the_latest() {
    check(
        "SELECT id, first_touch(channel, at), last_touch(channel, at) FROM VISITS GROUP BY id ORDER BY id",
        &["1 广告 搜索", "2 a c", "3 NULL NULL"],
    );
}

#[test]
fn literals_and_no_rows() {
    check(
        "SELECT first_touch('a', 1), last_touch(NULL, 1), first_touch('a', NULL)",
        &["a NULL NULL"],
    );
    check(
        "SELECT first_touch(channel, at) FROM VISITS WHERE id > 9",
        &["NULL"],
    );
    check(
        "SELECT id, first_touch(channel, at) FROM VISITS WHERE id > 9 GROUP BY id",
        &[],
    );
}

#[test]
fn filters_and_growing_frames() {
    check(
        "SELECT id, first_touch(channel, at) FILTER (WHERE channel > 'a') FROM VISITS GROUP BY id ORDER BY id",
        &["1 广告", "2 b", "3 NULL"],
    );
    check(
        "SELECT at, last_touch(channel, at) OVER (ORDER BY at) FROM VISITS WHERE id = 1 ORDER BY at",
        &["5 NULL", "10 广告", "20 搜索"],
    );
}

#[test]
fn values_and_times_of_any_type() {
    for (value, least, greatest) in [
        ("arrow_cast(v, 'Utf8View')", "1", "3"),
        ("arrow_cast(v, 'LargeUtf8')", "1", "3"),
        (
            "arrow_cast(arrow_cast(v, 'Utf8'), 'Dictionary(Int8, Utf8)')",
            "1",
            "3",
        ),
        ("arrow_cast(v, 'Dictionary(Int32, Int64)')", "1", "3"),
        ("arrow_cast(v, 'UInt8')", "1", "3"),
        ("arrow_cast(v, 'Float32')", "1.0", "3.0"),
        ("arrow_cast(v, 'Decimal128(9, 2)')", "1.00", "3.00"),
        ("v > 1", "false", "true"),
        ("arrow_cast(v, 'Date32')", "1970-01-02", "1970-01-04"),
        (
            "arrow_cast(v, 'Timestamp(Second, Some(\"+08:00\"))')",
            "1970-01-01T08:00:01+08:00",
            "1970-01-01T08:00:03+08:00",
        ),
        ("arrow_cast(arrow_cast(v, 'Utf8'), 'Binary')", "31", "33"),
        ("CASE WHEN v > 0 THEN [v, 9] END", "[1, 9]", "[3, 9]"),
    ] {
        for time in [
            "t",
            "arrow_cast(t, 'UInt64')",
            "arrow_cast(t, 'Int8')",
            "arrow_cast(t, 'Date32')",
            "arrow_cast(t, 'Date64')",
            "arrow_cast(t, 'Timestamp(Nanosecond, None)')",
            "arrow_cast(t, 'Timestamp(Millisecond, Some(\"Asia/Shanghai\"))')",
            "arrow_cast(t, 'Dictionary(Int8, Int64)')",
        ] {
            check(
                &format!(
                    "SELECT first_touch({value}, {time}), last_touch({value}, {time}), \
                     arrow_typeof(first_touch({value}, {time})) = \
                       regexp_replace(arrow_typeof({value}), '^Dictionary\\(.*, (.*)\\)$', '\\1') \
                     FROM (VALUES (1, 1), (2, 1), (3, 2), (2, 2), (NULL, 0), (NULL, 3)) AS t(v, t) GROUP BY {value} IS NULL, \
                     arrow_typeof({value}) ORDER BY 1 NULLS LAST LIMIT 1"
                ),
                &[&format!("{least} {greatest} true")],
            );
        }
    }
}

#[test]
fn extreme_times_count() {
    check(
        "SELECT first_touch(v, t), last_touch(v, t) FROM (VALUES ('b', 9223372036854775807), ('a', 9223372036854775807)) AS t(v, t)",
        &["a b"],
    );
    check(
        "SELECT last_touch(v, t), first_touch(v, arrow_cast(u, 'UInt64')), last_touch(v, arrow_cast(u, 'UInt64')) \
         FROM (VALUES ('b', -9223372036854775808, 18446744073709551615), ('a', -9223372036854775808, 1)) AS t(v, t, u)",
        &["b a b"],
    );
}

#[test]
fn wrong_calls_are_errors() {
    check_error(
        "SELECT first_touch(channel) FROM VISITS",
        "42883",
        "can't be called with 1 argument HINT: Write first_touch(value, ts).",
    );
    check_error(
        "SELECT first_touch(at, channel) FROM VISITS",
        "42804",
        "argument ts of first_touch() can't be Utf8 HINT: Give it a timestamp, a date or an integer.",
    );
    check_error(
        "SELECT first_touch(channel, 1.5) FROM VISITS",
        "42804",
        "argument ts",
    );
}

#[test]
fn it_is_first_value_with_an_order() {
    testing::check_partitions(
        &[first_touch_udaf(), last_touch_udaf()],
        "SELECT v % 2003 AS g, first_touch(v * 7 % 13, v * 31 % 17) AS a, last_touch('通道' || (v * 7 % 13), v * 31 % 17) AS b, \
         last_touch(v * 7 % 13 > 6, v * 31 % 17) FILTER (WHERE v % 3 = 0) AS c \
         FROM generate_series(1, 20000) AS s(v) GROUP BY g ORDER BY g",
    );
    check(
        "SELECT count(*) FROM (SELECT v % 999 AS g, \
           first_touch(x, t) AS a, first_value(x ORDER BY t, x) FILTER (WHERE x IS NOT NULL) AS b, \
           last_touch(x, t) AS c, first_value(x ORDER BY t DESC, x DESC) FILTER (WHERE x IS NOT NULL) AS d \
           FROM (SELECT v, v * 31 % 17 AS t, CASE WHEN v % 5 > 0 THEN 'c' || (v * 7 % 13) END AS x \
             FROM generate_series(1, 20000) AS s(v)) GROUP BY g) WHERE a = b AND c = d",
        &["999"],
    );
}

type Case = (Vec<(Option<u8>, Option<i64>)>, Parts);

fn cases() -> impl Strategy<Value = Case> {
    let time = prop_oneof![8 => 0..4_i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    let row = (proptest::option::of(0..6_u8), proptest::option::of(time));
    proptest::collection::vec(row, 0..40).prop_flat_map(|rows| {
        let length = rows.len();
        (Just(rows), parts(length))
    })
}

/// The value of a group by sorting its rows.
fn expected(case: &Case, group: usize, side: Side) -> Option<u8> {
    let rows = case
        .0
        .iter()
        .zip(&case.1.groups)
        .filter(|(_, of)| **of == group);
    let mut rows = rows
        .filter_map(|((value, time), _)| time.zip(*value))
        .collect::<Vec<_>>();
    rows.sort_unstable();
    side.pick(rows.first(), rows.last())
        .map(|(_, value)| *value)
}

fn checked<V: Values>(
    case: &Case,
    values: &ArrayRef,
    make: &dyn Fn(Side) -> V,
    show: &dyn Fn(u8) -> String,
) {
    let times = Arc::new(case.0.iter().map(|row| row.1).collect::<Int64Array>()) as ArrayRef;
    for side in [Side::First, Side::Last] {
        let columns = [Arc::clone(values), Arc::clone(&times)];
        let found = case
            .1
            .results(&|| TouchGroups::new(side, make(side)), &columns);
        let wanted =
            (0..GROUPS).map(|group| expected(case, group, side).map_or("NULL".to_owned(), show));
        assert_eq!(found, wanted.collect::<Vec<_>>());
    }
}

proptest! {
    #[test]
    fn parts_are_one_pass(case in cases()) {
        let rows = case.0.iter().map(|row| row.0);
        let texts = |value: u8| format!("值{value}");
        let column = Arc::new(rows.clone().map(|value| value.map(texts)).collect::<StringArray>()) as ArrayRef;
        checked(&case, &column, &|side| KeyValues::try_new(side, &DataType::Utf8).unwrap(), &texts);

        let texts = |value: u8| value.to_string();
        let column = Arc::new(rows.clone().map(|value| value.map(i32::from)).collect::<datafusion::arrow::array::Int32Array>()) as ArrayRef;
        checked(&case, &column, &|side| PrimitiveValues::<Int32Type>::new(side, &DataType::Int32), &texts);

        let column = Arc::new(rows.clone().map(|value| value.map(f64::from)).collect::<Float64Array>()) as ArrayRef;
        checked(&case, &column, &|side| PrimitiveValues::<Float64Type>::new(side, &DataType::Float64), &|value| format!("{value}.0"));

        let column = Arc::new(rows.map(|value| value.map(|value| value > 2)).collect::<BooleanArray>()) as ArrayRef;
        let case = (
            case.0.iter().map(|(value, time)| (value.map(|value| u8::from(value > 2)), *time)).collect(),
            case.1.clone(),
        );
        checked(&case, &column, &|side| KeyValues::try_new(side, &DataType::Boolean).unwrap(), &|value| (value == 1).to_string());
    }
}

#[test]
fn many_distinct_values_take_no_more_room_than_the_groups() {
    let values = KeyValues::try_new(Side::Last, &DataType::Utf8).unwrap();
    let mut groups = TouchGroups::new(Side::Last, values);
    let empty = groups.size();
    let mut largest = 0;
    for batch in 0..100_i64 {
        let rows = batch * 1_000..(batch + 1) * 1_000;
        let texts = rows
            .clone()
            .map(|row| Some(format!("page {row}")))
            .collect::<StringArray>();
        let times = Int64Array::from_iter_values(rows);
        let of_rows = (0..1_000).map(|row| row % 10).collect::<Vec<_>>();
        groups
            .update_batch(&[Arc::new(texts), Arc::new(times)], &of_rows, None, 10)
            .unwrap();
        largest = largest.max(groups.size());
    }
    assert!(
        largest > empty + 10 * (8 + 4) && largest < 150_000,
        "{largest}"
    );
    assert_eq!(
        testing::shown(&groups.evaluate(EmitTo::First(9)).unwrap())[8],
        "page 99998"
    );
    assert_eq!(
        testing::shown(&groups.evaluate(EmitTo::All).unwrap()),
        ["page 99999"]
    );
    assert!(groups.size() <= empty, "{}", groups.size());
}
