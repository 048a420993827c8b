use super::*;

fn variables(pairs: &[(&str, &str)]) -> Variables {
    let mut variables = Variables::default();
    for (name, value) in pairs {
        variables.set(*name, *value);
    }
    variables
}

/// Reads a whole script; `\set` is done on the way, as it decides how the rest reads.
fn steps(text: &str, variables: &mut Variables) -> Result<Vec<Step>> {
    let mut script = Script::new(text);
    let mut steps = Vec::new();
    while let Some(step) = script.next(variables)? {
        match &step {
            Step::Command { name, arguments } if name == "set" => {
                variables.set(&arguments[0], arguments[1..].concat());
            }
            _ => steps.push(step),
        }
    }
    Ok(steps)
}

fn statements(text: &str, pairs: &[(&str, &str)]) -> Vec<String> {
    steps(text, &mut variables(pairs))
        .unwrap()
        .into_iter()
        .filter_map(|step| match step {
            Step::Statement(sql) => Some(sql),
            Step::Command { .. } => None,
        })
        .collect()
}

/// What psql 15.18 sends for the same text with the same variables, read from the server's log.
#[test]
fn variables_are_replaced_where_psql_replaces_them() {
    let set = [
        ("x", "web"),
        ("q", "it's"),
        ("i", "a\"b"),
        ("n", "7"),
        ("渠道", "线上"),
        ("nested", ":n + :n"),
        ("loop", "1 + :loop"),
        ("open", "'"),
        ("empty", ""),
    ];
    for (text, expected) in [
        ("select :x, :'x', :\"x\"", "select web, 'web', \"web\""),
        ("select :'q', :\"i\"", "select 'it''s', \"a\"\"b\""),
        ("select :'渠道', :渠道", "select '线上', 线上"),
        ("select :{?x}, :{?y}", "select TRUE, FALSE"),
        ("select :nested", "select 7 + 7"),
        ("select :loop", "select 1 + :loop"),
        ("select :empty.", "select ."),
        // A quote that a variable opens goes on behind it.
        ("select :open:x'", "select ':x'"),
        // Not set, or not a reference.
        (
            "select :y, :'y', :\"y\", :{?}",
            "select :y, :'y', :\"y\", :{?}",
        ),
        ("select :'x", "select :'x"),
        ("select n::x, a := 1, b : n", "select n::x, a := 1, b : n"),
        (
            "select '2026'::date, :n::int",
            "select '2026'::date, 7::int",
        ),
        ("select a[1:n], a[:n]", "select a[17], a[7]"),
        // Quotes.
        (
            "select ':x' , ':''x' , \":x\", \"a\"\":x\"",
            "select ':x' , ':''x' , \":x\", \"a\"\":x\"",
        ),
        (r"select E':x\':x', :x", r"select E':x\':x', web"),
        (r"select ':x\', :x", r"select ':x\', web"),
        (r"select e'\\', :x", r"select e'\\', web"),
        (
            r"select E'a' ':x', ae'\', :x",
            r"select E'a' ':x', ae'\', web",
        ),
        (
            "select $$:x'$$, $a$:x$$:x$a$, :x",
            "select $$:x'$$, $a$:x$$:x$a$, web",
        ),
        ("select $1, $1:x, a$b$:x", "select $1, $1web, a$b$web"),
        ("select $标签$:x$标签$, :x", "select $标签$:x$标签$, web"),
        // Comments.
        ("select 1 -- :x '\n, :x", "select 1 -- :x '\n, web"),
        (
            "select 1 /* :x /* ' */ :x */, :x",
            "select 1 /* :x /* ' */ :x */, web",
        ),
        ("select 4/:n, 4 - -:n", "select 4/7, 4 - -7"),
    ] {
        assert_eq!(statements(text, &set), [expected], "{text}");
    }
}

#[test]
fn semicolons_end_a_statement_outside_of_quotes_comments_and_parentheses() {
    let text = "select ';', \";\", $$;$$ -- ;\n/* ; */; ; create rule (a; b);\n-- the end ;\n";
    let expected = [
        "select ';', \";\", $$;$$ -- ;\n/* ; */",
        "",
        "create rule (a; b)",
    ];
    assert_eq!(statements(text, &[]), expected);
    assert_eq!(
        statements("select 1;select 2", &[]),
        ["select 1", "select 2"]
    );
    assert_eq!(
        statements(":two", &[("two", "select 1;select 2;")]),
        ["select 1", "select 2"]
    );
    assert_eq!(statements(" -- nothing\n /* at all */ ", &[]), [""; 0]);
    assert_eq!(
        statements("select 'open; select 2;", &[]),
        ["select 'open; select 2;"]
    );
}

#[test]
fn a_step_knows_its_line() {
    let mut script = Script::new("-- head\n\nselect\n 1;\n\\echo a\n select 2;\n\\if");
    let variables = Variables::default();
    for line in [3, 5, 6] {
        assert!(script.next(&variables).unwrap().is_some());
        assert_eq!(script.line(), line);
    }
    assert_eq!(script.next(&variables).unwrap_err().code(), "22023");
    assert_eq!(script.line(), 7);
}

#[test]
fn arguments_are_words_quotes_and_variables() {
    let set = [("x", "a b"), ("y", "it's")];
    for (text, expected) in [
        (r"\echo one  two", vec!["one", "two"]),
        (
            r"\echo 'one  two' 'it''s' 'a\tb\'c'",
            vec!["one  two", "it's", "a\tb'c"],
        ),
        (r#"\echo "Two Words"and:x"#, vec![r#""Two Words"anda b"#]),
        (
            r"\echo :x :'y' ':x' :none a::b",
            vec!["a b", "'it''s'", ":x", ":none", "a::b"],
        ),
        (r"\echo one \\ select 1", vec!["one"]),
        (r"\echo", vec![]),
    ] {
        let found = steps(text, &mut variables(&set)).unwrap();
        let arguments = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(
            found[0],
            Step::Command {
                name: "echo".to_owned(),
                arguments
            },
            "{text}"
        );
    }
    assert_eq!(statements("\\echo one \\\\ select 1", &[]), ["select 1"]);
    assert_eq!(
        statements("select\n\\echo between\n 1", &[]),
        ["select\n\n 1"]
    );
    assert_eq!(
        steps("\\set a 'open\n", &mut variables(&[]))
            .unwrap_err()
            .code(),
        "42601"
    );
    assert_eq!(
        steps("\\set a `date`", &mut variables(&[]))
            .unwrap_err()
            .code(),
        "0A000"
    );
}

#[test]
fn a_default_is_set_where_the_variable_is_not() {
    let lines = "\\if :{?channel}\n\\else\n  \\set channel web\n\\endif\nselect :'channel';";
    let one_line = "\\if :{?channel} \\else \\set channel web \\endif\nselect :'channel';";
    for text in [lines, one_line] {
        assert_eq!(statements(text, &[]), ["select 'web'"], "{text}");
        assert_eq!(
            statements(text, &[("channel", "partner")]),
            ["select 'partner'"],
            "{text}"
        );
    }
}

#[test]
fn one_branch_is_taken() {
    let text = "\\if :a\nselect 1;\n\\elif :b\nselect 2;\n\\else\nselect 3;\n\\endif\nselect 4;";
    for (a, b, expected) in [
        ("on", "x", "select 1"),
        ("f", "tr", "select 2"),
        ("0", "NO", "select 3"),
    ] {
        assert_eq!(
            statements(text, &[("a", a), ("b", b)]),
            [expected, "select 4"]
        );
    }
    let nested = "\\if false\n\\if oops\nselect 1;\n\\else\nselect ':;\n' $$ ;\\endif\n$$;\n\\endif\n\\endif\nselect 2";
    assert_eq!(statements(nested, &[]), ["select 2"]);
}

#[test]
fn a_branch_may_be_a_part_of_a_statement() {
    let text = "select 1\n\\if :{?x}\n where x = :'x' and (a\n\\else\n  where (b;\n\\endif\n);";
    assert_eq!(
        statements(text, &[("x", "1")]),
        ["select 1\n\n where x = '1' and (a\n\n)"]
    );
    assert_eq!(statements(text, &[]), ["select 1\n\n  where (b;\n\n)"]);
}

#[test]
fn branches_that_do_not_match_are_errors() {
    for (text, message) in [
        ("\\else", "\\else stands without an \\if"),
        ("\\endif", "\\endif stands without an \\if"),
        ("\\if 1\n\\else\n\\else", "\\else can't stand behind \\else"),
        (
            "\\if 1\n\\else\n\\elif 1",
            "\\elif can't stand behind \\else",
        ),
        ("\\if 1\nselect 1;", "\\if has no \\endif before the end"),
        ("\\if maybe\n\\endif", "\\if needs a Boolean, not \"maybe\""),
    ] {
        let error = steps(text, &mut variables(&[])).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
    }
}
