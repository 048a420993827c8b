#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use datafusion::arrow::array::StringArray;
use proptest::prelude::*;

use super::*;
use crate::aggregate::testing::{self, Parts, parts};

const VISITS: &str = "(VALUES (1, 1, '首页'), (1, 3, '付款'), (1, 2, '购物车'), (2, 1, '首页'), (2, 2, '首页'), (2, 3, NULL), \
    (3, NULL, '首页'), (3, 5, '首页')) AS visits(id, at, page)";

#[track_caller]
fn check(sql: &str, expected: &[&str]) {
    let sql = sql.replace("VISITS", VISITS);
    testing::check(&sequence_next_node_udaf(), &sql, expected);
}

#[track_caller]
fn check_error(sql: &str, code: &str, part: &str) {
    let sql = sql.replace("VISITS", VISITS);
    testing::check_error(&sequence_next_node_udaf(), &sql, code, part);
}

#[test]
fn the_row_behind_the_chain_and_the_one_before_it() {
    // ClickHouse 26.9 gives the same by sequenceNextNode, without the row that has no time.
    for (call, expected) in [
        (
            "'forward', 'head', at, page, true",
            ["首页", "首页", "首页"],
        ),
        (
            "'forward', 'head', at, page, page = '付款'",
            ["NULL", "NULL", "NULL"],
        ),
        (
            "'forward', 'head', at, page, true, page = '首页'",
            ["购物车", "首页", "NULL"],
        ),
        (
            "'forward', 'head', at, page, true, page = '首页', page = '首页'",
            ["NULL", "NULL", "NULL"],
        ),
        (
            "'forward', 'last_match', at, page, true, page = '首页'",
            ["购物车", "NULL", "NULL"],
        ),
        (
            "'backward', 'tail', at, page, true, page = '付款', page = '购物车'",
            ["首页", "NULL", "NULL"],
        ),
        (
            "'backward', 'tail', at, page, true, page = '首页'",
            ["NULL", "首页", "NULL"],
        ),
        (
            "'backward', 'first_match', at, page, at > 1, page > ''",
            ["首页", "首页", "NULL"],
        ),
        (
            "'backward', 'last_match', at, page, true, page = '首页'",
            ["NULL", "首页", "NULL"],
        ),
    ] {
        let expected = [1, 2, 3].map(|id| format!("{id} {}", expected[id - 1]));
        for name in ["sequence_next_node", "sequencenextnode"] {
            check(
                &format!("SELECT id, {name}({call}) FROM VISITS GROUP BY id ORDER BY id"),
                &expected.each_ref().map(String::as_str),
            );
        }
    }
}

#[test]
fn rows_of_one_time_are_sorted_by_value() {
    check(
        "SELECT sequence_next_node('forward', 'head', t, v, true, true), sequence_next_node('forward', 'head', t, v, true, v = ''), \
         sequence_next_node('backward', 'tail', t, v, true) FROM (VALUES (1, 'b'), (1, ''), (1, NULL), (1, 'a')) AS t(t, v)",
        &["a a b"],
    );
}

#[test]
fn literals_nulls_and_no_rows() {
    check(
        "SELECT sequence_next_node('forward', 'head', 1, 'a', 1)",
        &["a"],
    );
    check(
        "SELECT sequence_next_node('forward', 'head', 1, 'a', NULL)",
        &["NULL"],
    );
    check(
        "SELECT sequence_next_node('forward', 'head', 1, NULL, true)",
        &["NULL"],
    );
    check(
        "SELECT sequence_next_node('forward', 'head', NULL, 'a', true)",
        &["NULL"],
    );
    check(
        "SELECT sequence_next_node('forward', 'head', at, page, true) FROM VISITS WHERE id > 9",
        &["NULL"],
    );
}

#[test]
fn texts_and_times_of_any_type() {
    for text in [
        "page",
        "arrow_cast(page, 'Utf8View')",
        "arrow_cast(page, 'LargeUtf8')",
        "arrow_cast(page, 'Dictionary(Int8, Utf8)')",
    ] {
        for time in [
            "at",
            "arrow_cast(at, 'UInt64')",
            "arrow_cast(at, 'Date32')",
            "arrow_cast(at, 'Timestamp(Second, Some(\"+08:00\"))')",
        ] {
            check(
                &format!(
                    "SELECT sequence_next_node('forward', 'head', {time}, {text}, 1, id) FROM VISITS WHERE id = 1"
                ),
                &["购物车"],
            );
        }
    }
}

#[test]
fn filters_and_growing_frames() {
    check(
        "SELECT id, sequence_next_node('forward', 'head', at, page, true, true) FILTER (WHERE at <> 2) FROM VISITS GROUP BY id ORDER BY id",
        &["1 付款", "2 NULL", "3 NULL"],
    );
    check(
        "SELECT at, sequence_next_node('backward', 'tail', at, page, true, true) OVER (ORDER BY at) FROM VISITS WHERE id = 1 ORDER BY at",
        &["1 NULL", "2 首页", "3 购物车"],
    );
}

#[test]
fn impossible_arguments_are_errors() {
    let call = |arguments: &str| format!("SELECT sequence_next_node({arguments}) FROM VISITS");
    check_error(
        &call("'forward', 'head', at, page"),
        "42883",
        "can't be called with 4 arguments HINT: Write sequence_next_node(direction,",
    );
    check_error(
        &call("'up', 'head', at, page, true"),
        "22023",
        "argument direction of sequence_next_node() can't be 'up' HINT: Write one of: 'forward', 'backward'.",
    );
    check_error(
        &call("'forward', 'middle', at, page, true"),
        "22023",
        "HINT: Write one of: 'head', 'tail', 'first_match', 'last_match'.",
    );
    check_error(
        &call("'forward', page, at, page, true"),
        "22023",
        "argument base of sequence_next_node() is not a literal",
    );
    check_error(
        &call("'forward', NULL, at, page, true"),
        "22023",
        "can't be NULL",
    );
    check_error(
        &call("'forward', 'tail', at, page, true"),
        "22023",
        "can't go 'forward' from the 'tail'",
    );
    check_error(
        &call("'backward', 'head', at, page, true"),
        "22023",
        "can't go 'backward' from the 'head'",
    );
    check_error(
        &call("'forward', 'first_match', at, page, true"),
        "22023",
        "has no event to match",
    );
    check_error(
        &call("'forward', 'head', page, page, true"),
        "42804",
        "argument ts",
    );
    check_error(
        &call("'forward', 'head', at, at, true"),
        "42804",
        "argument value of sequence_next_node() can't be Int64 HINT: Give it text",
    );
    check_error(
        &call("'forward', 'head', at, page, page"),
        "42804",
        "argument base_condition",
    );
    check_error(
        &call("'forward', 'head', at, page, true, true, page"),
        "42804",
        "argument event2",
    );
    check_error(
        &call("1, 'head', at, page, true"),
        "42804",
        "argument direction",
    );
    let events = vec!["true"; 65].join(", ");
    check_error(
        &call(&format!("'forward', 'head', at, page, true, {events}")),
        "22023",
        "can't take 65 events",
    );
    let events = vec!["true"; 64].join(", ");
    check(
        &format!(
            "SELECT sequence_next_node('forward', 'head', v, arrow_cast(v, 'Utf8'), true, {events}) FROM generate_series(0, 64) AS s(v)"
        ),
        &["64"],
    );
}

#[test]
fn many_partitions_equal_one() {
    let calls = ["'forward', 'head'", "'forward', 'first_match'", "'forward', 'last_match'", "'backward', 'tail'", "'backward', 'first_match'", "'backward', 'last_match'"]
        .map(|literals| format!("sequence_next_node({literals}, v * 31 % 17, '页' || (v * 7 % 13), v % 5 > 0, v % 3 > 0, v % 11 > 2)"))
        .join(", ");
    testing::check_partitions(
        &[sequence_next_node_udaf()],
        &format!(
            "SELECT v % 2003 AS g, {calls} FROM generate_series(1, 30000) AS s(v) GROUP BY g ORDER BY g"
        ),
    );
}

#[derive(Debug, Clone)]
struct Row {
    time: Option<i64>,
    value: Option<u8>,
    conditions: [Option<bool>; 3],
}

fn cases() -> impl Strategy<Value = (Rules, Vec<Row>, Parts)> {
    let row = (
        prop_oneof![9 => (0..6_i64).prop_map(Some), 1 => Just(None)],
        proptest::option::of(0..4_u8),
        proptest::array::uniform3(
            prop_oneof![6 => Just(Some(true)), 3 => Just(Some(false)), 1 => Just(None)],
        ),
    );
    let row = row.prop_map(|(time, value, conditions)| Row {
        time,
        value,
        conditions,
    });
    let rules = (
        prop::sample::select(Direction::ALL.to_vec()),
        prop::sample::select(Base::ALL.to_vec()),
        0..=2_usize,
    )
        .prop_filter_map("literals that go together", |(direction, base, events)| {
            Rules::new(direction, base, events).ok()
        });
    (rules, proptest::collection::vec(row, 0..40)).prop_flat_map(|(rules, rows)| {
        let length = rows.len();
        (Just(rules), Just(rows), parts(length))
    })
}

/// The definition, by sorting rows and walking along them, with no bits and no ranges.
fn expected(rules: &Rules, mut rows: Vec<&Row>) -> Option<u8> {
    let (text, events) = (format!("{rules:?}"), rules.events());
    let met = |row: &Row| row.conditions.map(|condition| condition == Some(true));
    rows.retain(|row| row.time.is_some() && row.value.is_some());
    // The rules tell three conditions apart only as far as there are events.
    rows.sort_by_key(|row| {
        let [base, one, two] = met(row);
        (
            row.time,
            row.value,
            base,
            two && events > 1,
            one && events > 0,
        )
    });
    let is_match = |row: &&&Row| met(row)[0] && met(row)[1];
    let start = |row: &&Row| std::ptr::from_ref::<Row>(*row);
    let (first, last) = (rows.first().copied(), rows.last().copied());
    let base = match () {
        () if text.contains("Head") => first.filter(|row| met(row)[0]),
        () if text.contains("Tail") => last.filter(|row| met(row)[0]),
        () if text.contains("FirstMatch") => rows.iter().find(is_match).copied(),
        () => rows.iter().rev().find(is_match).copied(),
    }?;
    if text.contains("Backward") {
        rows.reverse();
    }
    let mut path = rows
        .iter()
        .skip_while(|row| start(row) != std::ptr::from_ref(base));
    for event in 1..=events {
        if !met(path.next()?)[event] {
            return None;
        }
    }
    path.next()?.value
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn parts_are_one_pass((rules, rows, parts) in cases()) {
        let condition = |at: usize| -> ArrayRef {
            Arc::new(rows.iter().map(|row| row.conditions[at]).collect::<BooleanArray>())
        };
        let name = |value: u8| format!("页{value}");
        let literal: ArrayRef = Arc::new(StringArray::from(vec!["literal"; rows.len()]));
        let mut columns = vec![
            Arc::clone(&literal),
            literal,
            Arc::new(rows.iter().map(|row| row.time).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.value.map(name)).collect::<StringArray>()),
        ];
        columns.extend((0..=rules.events()).map(condition));
        let found = parts.results(&|| NextNodeGroups::new(rules), &columns);
        for (group, found) in found.iter().enumerate() {
            let of = rows.iter().zip(&parts.groups).filter(|(_, of)| **of == group).map(|(row, _)| row);
            let wanted = expected(&rules, of.collect()).map_or("NULL".to_owned(), name);
            prop_assert_eq!(found, &wanted);
        }
    }
}

#[test]
fn rows_that_cannot_matter_are_dropped() {
    for (direction, base) in [
        (Direction::Forward, Base::Head),
        (Direction::Backward, Base::Tail),
        (Direction::Forward, Base::FirstMatch),
        (Direction::Backward, Base::LastMatch),
    ] {
        let mut groups = NextNodeGroups::new(Rules::new(direction, base, 1).unwrap());
        let empty = groups.size();
        let all: ArrayRef = Arc::new(BooleanArray::from(vec![true; 1_000]));
        for batch in 0..200_i64 {
            let times = (batch * 1_000..(batch + 1) * 1_000).map(|time| time * 7_919 % 200_000);
            let times = times.collect::<Int64Array>();
            let texts = times
                .iter()
                .map(|time| time.map(|time| format!("page {time}")));
            let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
            let columns = [
                Arc::clone(&texts),
                Arc::clone(&texts),
                Arc::new(times),
                texts,
                Arc::clone(&all),
                Arc::clone(&all),
            ];
            groups.update_batch(&columns, &[0; 1_000], None, 2).unwrap();
            assert!(groups.size() < 1_000_000, "{}", groups.size());
        }
        let next = if direction == Direction::Forward {
            "page 1"
        } else {
            "page 199998"
        };
        assert_eq!(
            testing::shown(&groups.evaluate(EmitTo::First(1)).unwrap()),
            [next]
        );
        assert_eq!(
            testing::shown(&groups.evaluate(EmitTo::All).unwrap()),
            ["NULL"]
        );
        assert_eq!(groups.size(), empty);
    }
}
