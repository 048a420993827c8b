#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::{
    ClickHouseDialect, Dialect, GenericDialect, PostgreSqlDialect,
};
use datafusion::sql::sqlparser::parser::Parser;
use proptest::prelude::*;

use super::*;

fn parse(dialect: &dyn Dialect, sql: &str) -> Statement {
    let mut statements =
        Parser::parse_sql(dialect, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(statements.len(), 1, "{sql}");
    statements.remove(0)
}

fn resolved(dialect: &dyn Dialect, sql: &str) -> Result<String, Misspelling> {
    let mut statement = parse(dialect, sql);
    resolve(&mut statement)?;
    let once = statement.to_string();
    resolve(&mut statement)?;
    assert_eq!(statement.to_string(), once, "resolved twice: {sql}");
    Ok(once)
}

/// A call and what it becomes, in the dialects that can read it.
fn check(call: &str, expected: &str) {
    let sql = format!("SELECT {call} FROM t");
    let dialects: [&dyn Dialect; 2] = [&GenericDialect {}, &PostgreSqlDialect {}];
    let parametric = call.contains(")(");
    for dialect in dialects.into_iter().take(if parametric { 1 } else { 2 }) {
        let found = resolved(dialect, &sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(found, format!("SELECT {expected} FROM t"), "{sql}");
    }
}

fn check_error(call: &str, code: &str, message: &str, hint: &str) {
    let sql = format!("SELECT {call} FROM t");
    let Err(Misspelling { error, span }) = resolved(&GenericDialect {}, &sql) else {
        panic!("{sql} has no error");
    };
    assert_eq!(error.code(), code, "{sql}: {error}");
    assert_eq!(error.to_string(), message, "{sql}");
    assert_eq!(error.hint().unwrap_or_default(), hint, "{sql}");
    assert_eq!((span.start.line, span.start.column), (1, 8), "{sql}");
}

#[test]
fn clickhouses_two_lists_become_one() {
    check(
        "windowFunnel(3600)(ts, e = 'a', e = 'b')",
        "window_funnel(3600, ts, e = 'a', e = 'b')",
    );
    check(
        "windowFunnel(3600, 'strict_order', 'strict_once')(ts, a, b)",
        "window_funnel(3600, 'strict_order', 'strict_once', ts, a, b)",
    );
    check(
        "sequenceMatch('(?1)(?t<=5)(?2)')(ts, a, b)",
        "sequence_match('(?1)(?t<=5)(?2)', ts, a, b)",
    );
    check(
        "sequenceCount('(?1)')(ts, a)",
        "sequence_count('(?1)', ts, a)",
    );
    check(
        "sequenceMatchEvents('(?1)')(ts, a)",
        "sequence_match_events('(?1)', ts, a)",
    );
    check(
        "sequenceNextNode('forward', 'head')(ts, page, base, a, b)",
        "sequence_next_node('forward', 'head', ts, page, base, a, b)",
    );
    let sql = "SELECT windowFunnel(10)(ts, a, b) FROM t";
    assert_eq!(
        resolved(&ClickHouseDialect {}, sql).unwrap(),
        "SELECT window_funnel(10, ts, a, b) FROM t"
    );
}

#[test]
fn names_fold_without_quotes_only() {
    check("WindowFunnel(1, ts, a)", "window_funnel(1, ts, a)");
    check("WINDOW_FUNNEL(1, ts, a)", "window_funnel(1, ts, a)");
    check("\"windowFunnel\"(1, ts, a)", "window_funnel(1, ts, a)");
    check("\"window_funnel\"(1, ts, a)", "window_funnel(1, ts, a)");
    check("\"WindowFunnel\"(1, ts, a)", "\"WindowFunnel\"(1, ts, a)");
    check(
        "other.window_funnel(1, ts, 2, a)",
        "other.window_funnel(1, ts, 2, a)",
    );
}

#[test]
fn starrocks_order_is_known_by_its_mode_and_array() {
    for array in ["[a, b > 1]", "ARRAY[a, b > 1]", "([a, b > 1])"] {
        check(
            &format!("window_funnel(1800, ts, 2, {array})"),
            "window_funnel(1800, 2, ts, a, b > 1)",
        );
    }
    check("retention([a, b])", "retention(a, b)");
    check("retention(a, b)", "retention(a, b)");
    check(
        "window_funnel_events(60, ts, 0, [a])",
        "window_funnel_events(60, 0, ts, a)",
    );
}

#[test]
fn the_canonical_order_stays_and_arrays_are_spread() {
    for call in [
        "window_funnel(3600, 'strict_order, strict_once', ts, a, b)",
        "window_funnel(3600, 'default', 'strict_once', ts, a, b)",
        "window_funnel(3600, 4, ts, a, b)",
        "window_funnel(INTERVAL '1 hour', ts, a, b)",
        "window_funnel($1, $2, ts, a, b)",
        "window_funnel(3600, ts, a, b) FILTER (WHERE c) OVER (PARTITION BY d)",
        "window_funnel(3600, CAST('2026-01-01' AS TIMESTAMP), a)",
        "window_funnel(3600)",
        "sequence_match('(?1)', ts, a)",
        "window_funnel(*)",
    ] {
        check(call, call);
    }
    check(
        "window_funnel(3600, 'fixed', ts, [a, b])",
        "window_funnel(3600, 'fixed', ts, a, b)",
    );
    check(
        "window_funnel(3600, 2, ts, [a, b])",
        "window_funnel(3600, 2, ts, a, b)",
    );
    check("window_funnel(3600, ts, [a])", "window_funnel(3600, ts, a)");
    check(
        "sequence_count('(?1)', ts, ARRAY[a, b])",
        "sequence_count('(?1)', ts, a, b)",
    );
    check(
        "sequence_next_node('forward', 'head', ts, p, base, [a])",
        "sequence_next_node('forward', 'head', ts, p, base, a)",
    );
}

#[test]
fn the_condition_of_if_becomes_a_filter() {
    check(
        "windowFunnelIf(60)(ts, a, b, country = 'CN')",
        "window_funnel(60, ts, a, b) FILTER (WHERE country = 'CN')",
    );
    check(
        "retentionIf(a, b, c OR d) FILTER (WHERE e OR f)",
        "retention(a, b) FILTER (WHERE (c OR d) AND (e OR f))",
    );
    check_error(
        "windowFunnelState(60)(ts, a)",
        "42883",
        "windowFunnelState() is not available",
        "Write window_funnel(…) or windowFunnelIf(…), over the rows themselves.",
    );
}

#[test]
fn two_readings_are_an_error_with_both_of_them() {
    check_error(
        "window_funnel(3600, ts, 2, a, b)",
        "42883",
        "window_funnel() has the number 2 behind its time: a mode or a condition?",
        "Write window_funnel(window, 2, ts, condition, …), or put the conditions into an array: \
         window_funnel(window, ts, 2, ARRAY[condition, …]).",
    );
    check_error(
        "windowFunnel(3600)(ts, 1, b)",
        "42883",
        "window_funnel() has the number 1 behind its time: a mode or a condition?",
        "Write window_funnel(window, 1, ts, condition, …), or put the conditions into an array: \
         window_funnel(window, ts, 1, ARRAY[condition, …]).",
    );
    check_error(
        "window_funnel(3600, ts, 'strict_order', a, b)",
        "42883",
        "window_funnel() has the text 'strict_order' behind its time",
        "A mode stands before the time: window_funnel(window, 'strict_order', ts, condition, …).",
    );
    for call in [
        "window_funnel(3600, 1, 2, [a, b])",
        "window_funnel(3600, 'fixed', 2, [a, b])",
        "window_funnel(3600, -1, 2, a)",
    ] {
        check_error(
            call,
            "42883",
            "window_funnel() has the constant 2 in the place of its time",
            "Write window_funnel(window, mode, time, condition, …); the mode may be left out.",
        );
    }
    check_error(
        "window_funnel(3600, ts, [a], b)",
        "42883",
        "window_funnel() has conditions inside of an array and beside it",
        "Write all conditions in one array, or one by one.",
    );
    check_error(
        "retention([])",
        "42883",
        "retention() has an empty array of conditions",
        "Write at least one condition in the array.",
    );
    check_error(
        "window_funnel(3600, ts, a, exclude => b)",
        "42883",
        "window_funnel() takes no arguments by name",
        "Write window_funnel(window, mode, time, condition, …); the mode may be left out.",
    );
}

#[test]
fn options_by_name_get_their_places() {
    check(
        "window_funnel_detail(3600, ts, a, b)",
        "__window_funnel_detail(3600, ts, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, 2, a, b)",
    );
    check(
        "window_funnel_attempts(3600, ts, [a, b, c], key => id, hold => cart, exclude => x = 1, \
         optional => ARRAY[2, 3], step_windows => ARRAY[INTERVAL '1 day', NULL], \
         counting => 'strict', as_of => now())",
        "__window_funnel_attempts(3600, ts, 'strict', now(), ARRAY[2, 3], \
         ARRAY[INTERVAL '1 day', NULL], id, cart, 1, NULL, 3, a, b, c, x = 1)",
    );
    check(
        "window_funnel_detail(NULL, ts, a, b, exclude => [x, y], EXCLUDE_BETWEEN => ['1-2', NULL])",
        "__window_funnel_detail(NULL, ts, NULL, NULL, NULL, NULL, NULL, NULL, 2, ARRAY['1-2', NULL], \
         2, a, b, x, y)",
    );
    check(
        "windowFunnelDetail(60)(ts, a, exclude => x, exclude_between => '1-2') FILTER (WHERE c)",
        "__window_funnel_detail(60, ts, NULL, NULL, NULL, NULL, NULL, NULL, 1, ARRAY['1-2'], \
         1, a, x) FILTER (WHERE c)",
    );
}

#[test]
fn options_that_cannot_be_are_errors() {
    check_error(
        "window_funnel_detail(60, ts, a, exlude => b)",
        "42883",
        "argument \"exlude\" does not exist in window_funnel_detail()",
        "Perhaps you meant argument \"exclude\".",
    );
    check_error(
        "window_funnel_detail(60, ts, a, key => b, key => c)",
        "42710",
        "argument \"key\" is given more than once",
        "Write key once.",
    );
    check_error(
        "window_funnel_detail(60, ts, key => b)",
        "42883",
        "window_funnel_detail() needs a window, a time and a condition",
        "Write window_funnel_detail(window, time, condition, …, option => value, …).",
    );
    for call in [
        "window_funnel_detail(60, 'strict_order', ts, a)",
        "window_funnel_detail(60, ts, 2, [a])",
    ] {
        check_error(
            call,
            "42883",
            "window_funnel_detail() takes no mode by its place",
            "Write counting => 'strict' and the like at the end. \
             Write window_funnel_detail(window, time, condition, …, option => value, …).",
        );
    }
    check_error(
        "window_funnel_detail(60, ts, a, exclude_between => '1-2')",
        "22023",
        "exclude_between of window_funnel_detail() has nothing to exclude",
        "Write exclude => condition beside it.",
    );
    check_error(
        "window_funnel_detail(60, ts, a, exclude => [x, y], exclude_between => '1-2')",
        "22023",
        "exclude_between of window_funnel_detail() has 1 elements for 2 exclusions",
        "Write a text such as '2-3' for each exclusion, or NULL for the whole chain.",
    );
    check_error(
        "window_funnel_detail(60, ts, a, exclude => [])",
        "22023",
        "exclude of window_funnel_detail() is an empty array",
        "Write the conditions to exclude in it, or leave exclude out.",
    );
}

#[test]
fn clickhouses_helpers_are_standard_sql() {
    for (call, expected) in [
        ("countIf(a > 1)", "count(*) FILTER (WHERE a > 1)"),
        ("sumIf(x, a)", "coalesce(sum(x) FILTER (WHERE a), 0)"),
        (
            "avgIf(x, a) OVER (PARTITION BY b)",
            "avg(x) FILTER (WHERE a) OVER (PARTITION BY b)",
        ),
        ("uniqExact(x)", "count(DISTINCT x)"),
        ("UNIQIF(x, a)", "count(DISTINCT x) FILTER (WHERE a)"),
        ("groupArray(x)", "array_agg(x) FILTER (WHERE x IS NOT NULL)"),
        (
            "groupUniqArrayIf(x, a)",
            "array_agg(DISTINCT x) FILTER (WHERE (x IS NOT NULL) AND (a))",
        ),
        ("if(a, 1, 2)", "CASE WHEN a THEN 1 ELSE 2 END"),
        (
            "multiIf(a, 1, b, 2, 3)",
            "CASE WHEN a THEN 1 WHEN b THEN 2 ELSE 3 END",
        ),
        ("toStartOfHour(x)", "date_trunc('hour', x)"),
        ("toMonday(x)", "CAST(date_trunc('week', x) AS DATE)"),
        ("toStartOfWeek(x, 1)", "CAST(date_trunc('week', x) AS DATE)"),
        (
            "toStartOfWeek(x)",
            "CAST(date_trunc('week', CAST(x AS DATE) + INTERVAL '1 day') - INTERVAL '1 day' AS DATE)",
        ),
        (
            "countIf(windowFunnel(9)(ts, a) >= 2)",
            "count(*) FILTER (WHERE window_funnel(9, ts, a) >= 2)",
        ),
    ] {
        check(call, expected);
    }
    for (call, syntax) in [
        ("countIf(x, y)", "countIf(condition)"),
        ("sumIf(x)", "sumIf(value, condition)"),
        ("uniqExact(x, y)", "uniqExact(value)"),
        ("multiIf(a, 1, b, 2)", "multiIf(condition, then, …, else)"),
        ("if(a, 1)", "if(condition, then, else)"),
        ("toMonday(x, 1)", "toMonday(time)"),
        ("toStartOfWeek(x, 3)", "toStartOfWeek(time [, 0 or 1])"),
    ] {
        let name = call.split('(').next().unwrap();
        check_error(
            call,
            "42883",
            &format!("{name}() is called with other arguments than it takes"),
            &format!("Write {syntax}."),
        );
    }
}

#[test]
fn calls_are_found_wherever_expressions_are() {
    for (sql, expected) in [
        (
            "WITH l AS (SELECT u, windowFunnel(9)(ts, a) AS level FROM e GROUP BY u) \
             SELECT level, count(*) FROM l WHERE level IN (SELECT max(windowFunnel(9)(ts, a)) FROM e) \
             GROUP BY level ORDER BY sumIf(level, true)",
            "WITH l AS (SELECT u, window_funnel(9, ts, a) AS level FROM e GROUP BY u) \
             SELECT level, count(*) FROM l WHERE level IN (SELECT max(window_funnel(9, ts, a)) FROM e) \
             GROUP BY level ORDER BY coalesce(sum(level) FILTER (WHERE true), 0)",
        ),
        (
            "EXPLAIN SELECT windowFunnel(9)(ts, a)",
            "EXPLAIN SELECT window_funnel(9, ts, a)",
        ),
        (
            "PREPARE p AS SELECT windowFunnel(9)(ts, a)",
            "PREPARE p AS SELECT window_funnel(9, ts, a)",
        ),
        (
            "CREATE VIEW v AS SELECT windowFunnel(9)(ts, a) AS l",
            "CREATE VIEW v AS SELECT window_funnel(9, ts, a) AS l",
        ),
        (
            "INSERT INTO v SELECT windowFunnel(9)(ts, a)",
            "INSERT INTO v SELECT window_funnel(9, ts, a)",
        ),
        (
            "SELECT u FROM e GROUP BY u HAVING (windowFunnel(9)(ts, a)) + 1 > 2",
            "SELECT u FROM e GROUP BY u HAVING (window_funnel(9, ts, a)) + 1 > 2",
        ),
    ] {
        assert_eq!(resolved(&GenericDialect {}, sql).unwrap(), expected);
    }
}

#[test]
fn only_some_names_take_two_lists() {
    for name in [
        "windowFunnel",
        "WINDOWFUNNEL",
        "sequence_match",
        "sequenceCountIf",
    ] {
        assert!(is_parametric(name, false), "{name}");
    }
    for name in ["retention", "count", "window", "函数", "windowFunnelX"] {
        assert!(!is_parametric(name, false), "{name}");
    }
    assert!(is_parametric("windowFunnel", true));
    assert!(!is_parametric("WINDOWFUNNEL", true));
}

proptest! {
    /// Other SQL is the same afterwards, with every part of it.
    #[test]
    fn other_statements_are_untouched(
        function in "[a-z_]{1,8}",
        arguments in proptest::collection::vec("[a-z]{1,5}|'[a-z(]{0,4}'|[0-9]{1,3}|ARRAY\\[1, 2\\]|f\\(g\\(1\\), 2\\)", 0..5),
        tail in "( FILTER \\(WHERE x\\))?( OVER \\(\\))?",
    ) {
        prop_assume!(function != "if" && function != "uniq");
        let sql = format!("SELECT z.{function}, {function}_9({}){tail} FROM t", arguments.join(", "));
        let Ok(statements) = Parser::parse_sql(&PostgreSqlDialect {}, &sql) else {
            return Ok(());
        };
        for mut statement in statements {
            let before = statement.clone();
            resolve(&mut statement).unwrap();
            prop_assert_eq!(&statement, &before);
        }
    }

    /// No call makes a fault of its own, whatever its arguments.
    #[test]
    fn any_arguments_give_a_call_or_an_error(
        at in 0..super::EVENT_FUNCTIONS.len(),
        arguments in proptest::collection::vec(
            "a|'m'|-?[0-9]|\\[a, b\\]|\\[\\]|\\(\\[a\\]\\)|\\*|key => a|exclude => \\[a\\]|exclude_between => '1-2'|\\$1|NULL", 0..7),
        suffix in "(If|State)?",
    ) {
        let name = super::EVENT_FUNCTIONS[at].camel;
        let sql = format!("SELECT {name}{suffix}({})", arguments.join(", "));
        let mut statement = parse(&GenericDialect {}, &sql);
        if resolve(&mut statement).is_ok() {
            let once = statement.to_string();
            prop_assert!(resolve(&mut statement).is_ok());
            prop_assert_eq!(statement.to_string(), once);
        }
    }
}
