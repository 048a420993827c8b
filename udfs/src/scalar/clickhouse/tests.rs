#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use datafusion::prelude::{SessionConfig, SessionContext};

use super::super::rate_ci::arguments::testing;
use super::*;

fn context(zone: &str) -> SessionContext {
    let config = SessionConfig::new().set_str("datafusion.execution.time_zone", zone);
    let context = SessionContext::new_with_config(config);
    for function in udfs() {
        context.register_udf(function.as_ref().clone());
    }
    context
}

fn check(expression: &str, expected: &str) {
    let sql = format!("SELECT {expression}");
    testing::check(&context("UTC"), &sql, &[expected]);
}

fn check_error(expression: &str, code: &str, part: &str) {
    let sql = format!("SELECT {expression}");
    testing::check_error(&context("UTC"), &sql, code, part);
}

/// The expected values are those of ClickHouse 26.9.2 (chdb), `SELECT` and the expression with UTC as its zone.
#[test]
fn integers_are_clickhouses() {
    for (expression, expected) in [
        ("toUInt32(to_timestamp_seconds(1767225600))", "1767225600"),
        ("toUInt32(DATE '2026-01-02')", "20455"),
        ("toInt32(-1.9)", "-1"),
        ("toInt32('12')", "12"),
        ("toUInt8(-0.5)", "0"),
        ("toInt32(true)", "1"),
        ("toInt32(CAST('-1.90' AS DECIMAL(9, 2)))", "-1"),
        ("toInt32(TIMESTAMP '1969-12-31 23:59:59.5')", "0"),
        ("toUInt32(1) - toUInt32(2)", "-1"),
        ("toUInt8(255)", "255"),
        ("toInt8(-128)", "-128"),
        ("toUInt8(NULL)", "NULL"),
    ] {
        check(expression, expected);
    }
}

#[test]
fn integers_outside_of_the_type_are_errors() {
    // DIFFERENCE: ClickHouse wraps around, to 44, 255 and so on.
    check_error(
        "toUInt8(300)",
        "22003",
        "toUInt8(300) is outside of 0 to 255",
    );
    check_error("toUInt8(-1)", "22003", "toUInt8(-1) is outside");
    check_error("toInt64(1e30)", "22003", "toInt64(1e30) is outside");
    check_error("toInt16('NaN'::double)", "22003", "toInt16(NaN) is outside");
    check_error(
        "toUInt64(CAST('18446744073709551615' AS BIGINT UNSIGNED))",
        "22003",
        "is outside of 0 to 9223372036854775807",
    );
}

/// As above.
#[test]
fn other_numbers_and_texts_are_clickhouses() {
    for (expression, expected) in [
        (
            "toFloat64(TIMESTAMP '2026-01-01 00:00:00.25')",
            "1767225600.25",
        ),
        ("toFloat64('0.5')", "0.5"),
        ("toString(1.0)", "1"),
        ("toString(1e20)", "100000000000000000000"),
        ("toString(1e21)", "1e21"),
        ("toString(1e-7)", "1e-7"),
        ("toString(0.1)", "0.1"),
        ("toString(toFloat32(0.1))", "0.1"),
        ("toString('NaN'::double)", "nan"),
        ("toString(true)", "true"),
        ("toString('x')", "x"),
        ("toString(DATE '2026-01-01')", "2026-01-01"),
        (
            "toString(TIMESTAMP '2026-01-01 00:00:00')",
            "2026-01-01 00:00:00",
        ),
        ("toYYYYMMDD(DATE '2026-03-04')", "20260304"),
        ("toYYYYMM(DATE '2026-03-04')", "202603"),
        // DIFFERENCE: ClickHouse's DateTime64(3) has all its digits, .250.
        (
            "toString(TIMESTAMP '2026-01-01 00:00:00.250')",
            "2026-01-01 00:00:00.25",
        ),
    ] {
        check(expression, expected);
    }
}

/// As above.
#[test]
fn instants_and_dates_are_clickhouses() {
    for (expression, expected) in [
        ("toDateTime('1546300800')", "2019-01-01T00:00:00Z"),
        ("toDateTime(1.9)", "1970-01-01T00:00:01Z"),
        ("toDateTime('2026-01-01')", "2026-01-01T00:00:00Z"),
        (
            "toDateTime('2026-01-01 00:00:00.5')",
            "2026-01-01T00:00:00Z",
        ),
        (
            "toDateTime(DATE '2026-01-02', 'Asia/Shanghai')",
            "2026-01-01T16:00:00Z",
        ),
        ("toDateTime(1767225600)", "2026-01-01T00:00:00Z"),
        ("toDateTime64(1.2345, 2)", "1970-01-01T00:00:01.230Z"),
        (
            "toDateTime64('2026-01-01 00:00:00.999999', 3)",
            "2026-01-01T00:00:00.999Z",
        ),
        (
            "toDateTime64('2026-01-01 00:00:00.999999', 6)",
            "2026-01-01T00:00:00.999999Z",
        ),
        ("fromUnixTimestamp64Milli(-1)", "1969-12-31T23:59:59.999Z"),
        (
            "fromUnixTimestamp64Micro(1000001)",
            "1970-01-01T00:00:01.000001Z",
        ),
        ("fromUnixTimestamp(5)", "1970-01-01T00:00:05Z"),
        (
            "toUnixTimestamp('2026-01-01 00:00:00', 'Asia/Shanghai')",
            "1767196800",
        ),
        ("toUnixTimestamp(DATE '2026-01-02')", "1767312000"),
        ("toUnixTimestamp(5)", "5"),
        ("unix_timestamp('2026-01-02 00:00:00')", "1767312000"),
        (
            "toUnixTimestamp64Milli(TIMESTAMP '1969-12-31 23:59:59.9996')",
            "0",
        ),
        (
            "toUnixTimestamp64Micro(TIMESTAMP '1970-01-01 00:00:01.000001')",
            "1000001",
        ),
        ("toDate(65535)", "2149-06-06"),
        ("toDate(65536)", "1970-01-01"),
        ("toDate(1767225600)", "2026-01-01"),
        ("toDate('2026-01-01 10:00:00')", "2026-01-01"),
        ("toDate('2026-01-02')", "2026-01-02"),
        (
            "toDate(to_timestamp_seconds(1767297600), 'Asia/Shanghai')",
            "2026-01-02",
        ),
        ("toDateTime(NULL)", "NULL"),
        ("toDate(NULL)", "NULL"),
    ] {
        check(expression, expected);
    }
    // DIFFERENCE: ClickHouse makes 1970-01-01 of it.
    check_error("toDate(-1)", "22003", "toDate(-1) is outside of 0 to");
    check_error(
        "toDateTime(9223372036854775807)",
        "22003",
        "is too far from 1970",
    );
    check_error("toDateTime64(1e300, 3)", "22003", "is too far from 1970");
}

#[test]
fn times_without_a_zone_lie_in_the_sessions() {
    let shanghai = context("Asia/Shanghai");
    let check = |expression: &str, expected| {
        testing::check(&shanghai, &format!("SELECT {expression}"), &[expected]);
    };
    check("toUnixTimestamp('2026-01-01 08:00:00')", "1767225600");
    check(
        "toUnixTimestamp(TIMESTAMP '2026-01-01 08:00:00')",
        "1767225600",
    );
    check(
        "toUnixTimestamp('2026-01-01 00:00:00', 'UTC')",
        "1767225600",
    );
    check("toUnixTimestamp('2026-01-01T00:00:00Z')", "1767225600");
    check("toDate(1767225600 - 1)", "2026-01-01");
    check("toDate(TIMESTAMP '2026-01-01 23:00:00')", "2026-01-01");
    check("toString(toDateTime(1767225600))", "2026-01-01 08:00:00");
    check(
        "toString(TIMESTAMP '2026-01-01 08:00:00')",
        "2026-01-01 08:00:00",
    );
    check("toDate(20455)", "2026-01-02");
}

#[test]
fn columns_are_converted_row_by_row() {
    let check = |sql, expected: &[&str]| testing::check(&context("UTC"), sql, expected);
    check(
        "SELECT toUInt32(x), toDateTime(x) FROM (VALUES (1), (NULL), (3)) AS t(x) ORDER BY x",
        &[
            "1 1970-01-01T00:00:01Z",
            "3 1970-01-01T00:00:03Z",
            "NULL NULL",
        ],
    );
    check(
        "SELECT toDateTime(x) FROM (VALUES ('1546300800'), ('2026-01-01'), (NULL)) AS t(x)",
        &["2019-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "NULL"],
    );
    check(
        "SELECT toDate(x) FROM (VALUES (1), (NULL), (86400 * 365)) AS t(x)",
        &["1970-01-02", "NULL", "1971-01-01"],
    );
    check("SELECT toYYYYMMDD(x) FROM (SELECT 1 AS x WHERE false)", &[]);
    check("SELECT \"toUInt8\"(1), TOUINT8('2')", &["1 2"]);
}

#[test]
fn what_is_a_cast_is_planned_as_one() {
    let planned = |zone: &str, call: &str| {
        let sql = format!(
            "SELECT {call} AS r FROM (VALUES (1, TIMESTAMP '1969-12-31 23:00:00')) AS t(x, ts)"
        );
        testing::block_on(async {
            let frame = context(zone).sql(&sql).await.unwrap();
            frame.into_optimized_plan().unwrap().to_string()
        })
    };
    for call in [
        "toDate(ts)",
        "toInt64(x)",
        "toFloat64(x)",
        "toDate(to_timestamp(x))",
    ] {
        assert!(planned("UTC", call).contains("CAST("), "{call}");
    }
    for call in [
        "toUInt32(x)",
        "toDate(x)",
        "toDate(to_timestamp(x), 'Asia/Tokyo')",
    ] {
        assert!(!planned("UTC", call).contains("CAST("), "{call}");
    }
    assert!(!planned("Asia/Shanghai", "toDate(toDateTime(x))").contains("CAST("));
    check("toDate(TIMESTAMP '1969-12-31 23:00:00')", "1969-12-31");
}

#[test]
fn wrong_calls_are_errors() {
    check_error(
        "toDateTime()",
        "42883",
        "toDateTime() can't be called with 0 arguments HINT: Write toDateTime(x [, zone]).",
    );
    check_error(
        "toDateTime64('2026-01-01')",
        "42883",
        "Write toDateTime64(x, scale [, zone]).",
    );
    check_error(
        "toUInt8([1])",
        "42804",
        "HINT: Give a number, text, timestamp or date.",
    );
    check_error("toDateTime(1, 2)", "42804", "can't take Int64 as zone");
    check_error(
        "toDateTime(1, 'Nowhere')",
        "22023",
        "time zone \"Nowhere\" does not exist",
    );
    check_error("toDateTime64(1, 9)", "22023", "has no scale 9");
    check_error(
        "toDateTime(1, z) FROM (VALUES ('UTC'), ('UTC')) AS t(z)",
        "22023",
        "toDateTime() needs a constant zone",
    );
}
