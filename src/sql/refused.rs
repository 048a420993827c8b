//! What sqlparser reads and PostgreSQL doesn't: clauses of other dialects, which nothing here follows, and names that a WITH gives twice.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Delete, FromTable, Insert, Merge, MergeAction, MergeClause, MergeInsertExpr, MergeInsertKind,
    MergeUpdateExpr, OnInsert, Query, Select, Statement, TableFactor, TableWithJoins, Truncate,
    Update, UpdateTableFromKind, Visit, Visitor, With,
};
use datafusion_funnel::definition::text::folded;

use super::Overriding;
use crate::error::{Error, Fault, Result, character_position};

/// Looks at each statement and query inside of a statement.
///
/// # Errors
/// 42601 for a clause that PostgreSQL has not, 42712 for a name that a WITH gives twice.
pub fn check(statement: &Statement, sql: &str) -> Result<()> {
    match statement.visit(&mut Check { sql }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Check<'a> {
    sql: &'a str,
}

impl Visitor for Check<'_> {
    type Break = Error;

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<Error> {
        let (command, clause) = match statement {
            Statement::Insert(insert) => ("INSERT", of_insert(insert)),
            Statement::Update(update) => ("UPDATE", of_update(update)),
            Statement::Delete(delete) => ("DELETE", of_delete(delete)),
            Statement::Merge(merge) => ("MERGE", of_merge(merge)),
            Statement::Truncate(truncate) => ("TRUNCATE", of_truncate(truncate)),
            _ => return ControlFlow::Continue(()),
        };
        match clause {
            Some(clause) => refuse(format!("syntax error: {command} has no {clause}")),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        match query.with.as_ref().map(|with| self.names(with)) {
            Some(Err(error)) => ControlFlow::Break(error),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        // One that makes a table has become a CREATE TABLE before.
        match select.into {
            Some(_) => refuse("SELECT ... INTO is not allowed here".to_owned()),
            None => ControlFlow::Continue(()),
        }
    }
}

impl Check<'_> {
    fn names(&self, with: &With) -> Result<()> {
        let mut known: Vec<String> = Vec::with_capacity(with.cte_tables.len());
        for cte in &with.cte_tables {
            let (name, start) = (folded(&cte.alias.name), cte.alias.name.span.start);
            if known.contains(&name) {
                return Err(Error::Query {
                    fault: Fault::DuplicateAlias,
                    message: format!("WITH query name \"{name}\" specified more than once"),
                    position: character_position(self.sql, start.line, start.column),
                });
            }
            known.push(name);
        }
        Ok(())
    }
}

fn refuse(message: String) -> ControlFlow<Error> {
    ControlFlow::Break(Error::Syntax {
        message,
        position: None,
    })
}

/// The first clause that is said.
fn first_said(clauses: &[(bool, &'static str)]) -> Option<&'static str> {
    clauses
        .iter()
        .find_map(|(said, clause)| said.then_some(*clause))
}

/// A clause of an `INSERT` that PostgreSQL has not. Each field is named, so that a new one is looked at, too.
fn of_insert(insert: &Insert) -> Option<&'static str> {
    let Insert {
        insert_token: _,
        optimizer_hints: _,
        or,
        ignore,
        into,
        table: _,
        table_alias: _,
        columns: _,
        overwrite,
        source: _,
        assignments,
        partitioned,
        after_columns,
        has_table_keyword,
        on,
        returning: _,
        output,
        replace_into,
        priority,
        insert_alias,
        settings,
        format_clause,
        multi_table_insert_type,
        multi_table_into_clauses,
        multi_table_when_clauses,
        multi_table_else_clause,
    } = insert;
    // OVERRIDING is read as one.
    let partitioned = partitioned.is_some() && Overriding::of(insert) == Overriding::Nothing;
    let several = multi_table_insert_type.is_some()
        || !multi_table_into_clauses.is_empty()
        || !multi_table_when_clauses.is_empty()
        || multi_table_else_clause.is_some();
    let of_mysql = matches!(on, Some(OnInsert::DuplicateKeyUpdate(_)));
    first_said(&[
        (or.is_some(), "OR"),
        (*ignore, "IGNORE"),
        (*overwrite, "OVERWRITE"),
        (several, "several tables"),
        (!into, "table without INTO"),
        (*has_table_keyword, "TABLE"),
        (!assignments.is_empty(), "SET"),
        (partitioned || !after_columns.is_empty(), "PARTITION"),
        (of_mysql, "ON DUPLICATE KEY"),
        (output.is_some(), "OUTPUT"),
        (*replace_into, "REPLACE"),
        (priority.is_some(), "priority"),
        (insert_alias.is_some(), "alias of its rows"),
        (settings.is_some(), "SETTINGS"),
        (format_clause.is_some(), "FORMAT"),
    ])
}

/// A clause of an `UPDATE` that PostgreSQL has not.
fn of_update(update: &Update) -> Option<&'static str> {
    let Update {
        update_token: _,
        optimizer_hints: _,
        table,
        assignments: _,
        from,
        selection: _,
        returning: _,
        output,
        or,
        order_by,
        limit,
    } = update;
    let from_first = matches!(from, Some(UpdateTableFromKind::BeforeSet(_)));
    first_said(&[
        (or.is_some(), "OR"),
        (from_first, "FROM before its SET"),
        (output.is_some(), "OUTPUT"),
        (!order_by.is_empty(), "ORDER BY"),
        (limit.is_some(), "LIMIT"),
    ])
    .or_else(|| of_table(table))
}

/// A clause of a `DELETE` that PostgreSQL has not.
fn of_delete(delete: &Delete) -> Option<&'static str> {
    let Delete {
        delete_token: _,
        optimizer_hints: _,
        tables,
        from,
        using: _,
        selection: _,
        returning: _,
        output,
        order_by,
        limit,
    } = delete;
    let tables_of = match from {
        FromTable::WithFromKeyword(from) => from,
        FromTable::WithoutKeyword(_) => return Some("table without FROM"),
    };
    let [table] = tables_of.as_slice() else {
        return Some("second table");
    };
    first_said(&[
        (!tables.is_empty(), "table before its FROM"),
        (output.is_some(), "OUTPUT"),
        (!order_by.is_empty(), "ORDER BY"),
        (limit.is_some(), "LIMIT"),
    ])
    .or_else(|| of_table(table))
}

/// A clause of a `MERGE` that PostgreSQL has not.
fn of_merge(merge: &Merge) -> Option<&'static str> {
    let Merge {
        merge_token: _,
        optimizer_hints: _,
        into,
        table,
        source: _,
        on: _,
        clauses,
        output,
    } = merge;
    first_said(&[
        (!into, "table without INTO"),
        (output.is_some(), "RETURNING"),
    ])
    .or_else(|| of_factor(table))
    .or_else(|| clauses.iter().find_map(of_merge_clause))
}

fn of_merge_clause(clause: &MergeClause) -> Option<&'static str> {
    let MergeClause {
        when_token: _,
        clause_kind: _,
        predicate: _,
        action,
    } = clause;
    match action {
        MergeAction::Insert(MergeInsertExpr {
            insert_token: _,
            columns: _,
            kind_token: _,
            kind,
            insert_predicate,
        }) => first_said(&[
            (insert_predicate.is_some(), "INSERT with WHERE"),
            (
                !matches!(kind, MergeInsertKind::Values(values) if values.rows.len() == 1),
                "INSERT of anything but one row of VALUES",
            ),
        ]),
        MergeAction::Update(MergeUpdateExpr {
            update_token: _,
            assignments: _,
            update_predicate,
            delete_predicate,
        }) => first_said(&[
            (update_predicate.is_some(), "UPDATE with WHERE"),
            (delete_predicate.is_some(), "UPDATE with DELETE WHERE"),
        ]),
        MergeAction::Delete { delete_token: _ } => None,
    }
}

/// A clause of a `TRUNCATE` that PostgreSQL has not.
fn of_truncate(truncate: &Truncate) -> Option<&'static str> {
    let Truncate {
        table_names: _,
        partitions,
        table: _,
        if_exists,
        identity: _,
        cascade: _,
        on_cluster,
    } = truncate;
    first_said(&[
        (partitions.is_some(), "PARTITION"),
        (*if_exists, "IF EXISTS"),
        (on_cluster.is_some(), "ON CLUSTER"),
    ])
}

/// What the table that is changed can't be written as.
fn of_table(table: &TableWithJoins) -> Option<&'static str> {
    let TableWithJoins { relation, joins } = table;
    match joins.is_empty() {
        true => of_factor(relation),
        false => Some("JOIN of its table"),
    }
}

fn of_factor(factor: &TableFactor) -> Option<&'static str> {
    let TableFactor::Table {
        name: _,
        alias,
        // That a function isn't a table is said later.
        args: _,
        with_hints,
        version,
        with_ordinality,
        partitions,
        json_path,
        sample,
        index_hints,
    } = factor
    else {
        return Some("query in the place of its table");
    };
    let renames = alias
        .as_ref()
        .is_some_and(|alias| !alias.columns.is_empty() || alias.at.is_some());
    first_said(&[
        (renames, "names for columns of its table"),
        (!with_hints.is_empty(), "hints"),
        (version.is_some(), "version of its table"),
        (*with_ordinality, "WITH ORDINALITY"),
        (!partitions.is_empty(), "PARTITION"),
        (json_path.is_some(), "path into its table"),
        (sample.is_some(), "TABLESAMPLE"),
        (!index_hints.is_empty(), "hints"),
    ])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::parse;

    #[test]
    fn clauses_of_other_dialects_are_syntax_errors() {
        let merge = "MERGE INTO t USING s ON t.id = s.id WHEN";
        let matched = format!("{merge} MATCHED THEN");
        let not_matched = format!("{merge} NOT MATCHED THEN");
        for sql in [
            "INSERT OR REPLACE INTO t VALUES (1)",
            "INSERT OVERWRITE TABLE t SELECT 1",
            "INSERT INTO t PARTITION (a = 1) SELECT 1",
            "WITH a AS (INSERT INTO TABLE t VALUES (1) RETURNING *) SELECT * FROM a",
            "UPDATE t FROM s SET a = 1",
            "UPDATE t JOIN s ON true SET a = 1",
            "UPDATE t SET a = 1 LIMIT 1",
            "DELETE FROM t, s WHERE t.id = s.id",
            "DELETE FROM t WHERE a = 1 LIMIT 1",
            "EXPLAIN DELETE FROM t, s",
            "PREPARE p AS DELETE FROM t, s",
            "TRUNCATE TABLE IF EXISTS t",
            "TRUNCATE t PARTITION (a = 1)",
            &format!("{matched} UPDATE SET a = 1 WHERE t.id = 5"),
            &format!("{matched} UPDATE SET a = 1 DELETE WHERE t.id = 5"),
            &format!("{not_matched} INSERT VALUES (1) WHERE s.id = 5"),
            &format!("{not_matched} INSERT VALUES (1), (2)"),
            &format!("{matched} DELETE RETURNING *"),
            "SELECT * FROM (SELECT 1 AS a INTO t) AS s",
            "SELECT 1 UNION SELECT 2 INTO t",
            "DECLARE c CURSOR FOR SELECT 1 INTO t",
        ] {
            assert_eq!(parse(sql).unwrap_err().code(), "42601", "{sql}");
        }
        for sql in [
            "INSERT INTO t (a) OVERRIDING SYSTEM VALUE VALUES (1)",
            "INSERT INTO t AS x DEFAULT VALUES RETURNING *",
            "UPDATE t AS x SET a = 1 FROM s WHERE s.id = x.id RETURNING *",
            "DELETE FROM t AS x USING s WHERE s.id = x.id",
            "TRUNCATE TABLE ONLY t, s RESTART IDENTITY CASCADE",
            "SELECT 1 AS a INTO t UNION SELECT 2",
            &format!("{not_matched} INSERT DEFAULT VALUES"),
            &format!("{matched} DO NOTHING"),
        ] {
            assert!(parse(sql).is_ok(), "{sql}");
        }
    }

    #[test]
    fn a_name_that_a_with_gives_twice_is_refused_at_its_second_place() {
        let error = parse("WITH a AS (SELECT 1), A AS (DELETE FROM t) SELECT 1").unwrap_err();
        assert_eq!((error.code(), error.position()), ("42712", Some(23)));
        let inner = "WITH a AS (WITH a AS (SELECT 1) SELECT * FROM a) SELECT * FROM a";
        assert!(parse(inner).is_ok());
    }
}
