//! The Postgres catalogs, as clients read them.

mod functions;
mod relations;
mod roles;

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::{
    DataType as SqlType, Expr, ObjectName, visit_expressions, visit_relations,
};
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::setup_pg_catalog;

use relations::PgCatalog;
use roles::RoleRelations;

use super::Catalog;
use crate::engine::DATABASE;
use crate::engine::settings::POSTGRES_VERSION;

/// The schema of the catalogs, as both Postgres and datafusion-pg-catalog name it.
const PG_CATALOG: &str = "pg_catalog";

/// Registers `pg_catalog` and its functions.
///
/// # Errors
/// XX000 when the tables that come with the crate can't be read.
pub fn register_pg_catalog(
    context: &SessionContext,
    catalog: &Arc<Catalog>,
) -> Result<(), DataFusionError> {
    setup_pg_catalog(context, DATABASE, EmptyContextProvider).map_err(|error| *error)?;
    if let Some(database) = context.catalog(DATABASE)
        && let Some(relations) = database.schema(PG_CATALOG)
    {
        let amended = Arc::new(PgCatalog::new(relations));
        let roles = RoleRelations::new(amended, Arc::clone(catalog));
        database.register_schema(PG_CATALOG, Arc::new(roles))?;
    }
    functions::register(context);
    let version = format!(
        "PostgreSQL {POSTGRES_VERSION} (FunnelSQL {})",
        env!("CARGO_PKG_VERSION")
    );
    context.register_udf(constant_text("version", version));
    Ok(())
}

/// Functions whose answer is the session's.
pub fn register_session_functions(context: &SessionContext, user: &str) {
    context.register_udf(constant_text("session_user", user.to_owned()));
    register_current_user(context, user);
}

/// Whom a session acts as, from here on.
pub fn register_current_user(context: &SessionContext, user: &str) {
    for name in ["current_user", "current_role", "user"] {
        context.register_udf(constant_text(name, user.to_owned()));
    }
}

fn constant_text(name: &str, value: String) -> datafusion::logical_expr::ScalarUDF {
    let function = move |_: &[ColumnarValue]| {
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(
            value.clone(),
        ))))
    };
    create_udf(
        name,
        vec![],
        DataType::Utf8,
        Volatility::Stable,
        Arc::new(function),
    )
}

/// Whether a statement is about the Postgres catalogs: it names a relation, function or type of theirs.
pub fn is_catalog_statement(statement: &EngineStatement) -> bool {
    let EngineStatement::Statement(statement) = statement else {
        return false;
    };
    let relations = visit_relations(statement.as_ref(), |name| found(is_catalog_name(name)));
    let expressions = visit_expressions(statement.as_ref(), |expression| {
        found(match expression {
            Expr::Function(function) => is_catalog_function(&function.name),
            Expr::Cast {
                data_type: SqlType::Regclass,
                ..
            } => true,
            Expr::Cast {
                data_type: SqlType::Custom(name, _),
                ..
            } => is_catalog_type(name),
            _ => false,
        })
    });
    relations.is_break() || expressions.is_break()
}

fn found(is_it: bool) -> ControlFlow<()> {
    match is_it {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

fn is_catalog_name(name: &ObjectName) -> bool {
    let parts: Vec<String> = name
        .0
        .iter()
        .map(|part| part.to_string().to_lowercase())
        .collect();
    match parts.as_slice() {
        [table] => table.starts_with("pg_"),
        [.., schema, _] => schema == PG_CATALOG || schema == "information_schema",
        [] => false,
    }
}

fn is_catalog_function(name: &ObjectName) -> bool {
    const FUNCTIONS: [&str; 8] = [
        "format_type",
        "current_schemas",
        "obj_description",
        "col_description",
        "shobj_description",
        "has_table_privilege",
        "has_schema_privilege",
        "has_database_privilege",
    ];
    let bare = name
        .0
        .last()
        .map(|part| part.to_string().to_lowercase())
        .unwrap_or_default();
    is_catalog_name(name) || FUNCTIONS.contains(&bare.as_str())
}

fn is_catalog_type(name: &ObjectName) -> bool {
    let bare = name
        .0
        .last()
        .map(|part| part.to_string().to_lowercase())
        .unwrap_or_default();
    bare.starts_with("reg") || is_catalog_name(name)
}
