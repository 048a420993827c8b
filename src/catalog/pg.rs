//! The Postgres catalogs, as clients read them.

mod access_lists;
mod access_rows;
mod defaults;
mod dictionary;
mod foreign;
mod functions;
mod information;
mod monitoring;
mod names;
mod privileges;
mod properties;
mod relations;
mod roles;
mod rows;
mod settings_rows;
mod snapshot;
mod standard;
mod values;

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{ArrayRef, BooleanArray, Int32Array, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::Volatility;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::prelude::SessionContext;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::setup_pg_catalog;

use super::Catalog;
use crate::engine::settings::{POSTGRES_VERSION, Settings, is_for_superusers};
use crate::engine::{Activity, DATABASE, SessionInfo};
use crate::error::{Error, Fault};
use crate::postgres::function::{Call, Returns, fault, function, volatile_function};
use crate::postgres::names_of_objects::Names;
use crate::postgres::operators::TextOperands;
use crate::postgres::types::Types;
use relations::{Shared, SystemSchema, read_functions};

pub use names::CatalogNames;
pub use snapshot::relation_oid;
pub use values::{Row, Value};

/// Registers `pg_catalog`, `information_schema` and the functions of Postgres.
///
/// # Errors
/// XX000 when the tables that come with datafusion-pg-catalog can't be read.
pub async fn register_pg_catalog(
    context: &SessionContext,
    catalog: &Arc<Catalog>,
) -> Result<(), DataFusionError> {
    setup_pg_catalog(context, DATABASE, EmptyContextProvider).map_err(|error| *error)?;
    let state = SessionStateBuilder::new_from_existing(context.state())
        .with_type_planner(Arc::new(Types))
        .build();
    *context.state_ref().write() = state;
    let catalogs = Arc::clone(context.state().catalog_list());
    let names = Arc::new(CatalogNames::new(
        Arc::clone(&catalogs),
        Arc::clone(catalog),
        None,
    ));
    if let Some(database) = context.catalog(DATABASE)
        && let Some(fixed) = database.schema(dictionary::SCHEMAS[0])
    {
        read_functions(
            fixed.as_ref(),
            &context.state(),
            functions::static_functions_cell(),
        )
        .await?;
        let shared = Arc::new(Shared {
            fixed,
            catalog: Arc::clone(catalog),
        });
        for schema in dictionary::SCHEMAS {
            database.register_schema(
                schema,
                Arc::new(SystemSchema::new(schema, Arc::clone(&shared))),
            )?;
        }
    }
    let known = Arc::clone(&names) as Arc<dyn Names>;
    crate::postgres::functions::register(context, &known);
    let state = SessionStateBuilder::new_from_existing(context.state());
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(TextOperands::new(&known))];
    planners.extend(context.state().expr_planners().iter().map(Arc::clone));
    *context.state_ref().write() = state.with_expr_planners(planners).build();
    functions::register(context, catalog);
    let version = format!(
        "PostgreSQL {POSTGRES_VERSION} (FunnelSQL {})",
        env!("CARGO_PKG_VERSION")
    );
    context.register_udf(constant_text("version", "text", version));
    for name in ["current_user", "current_role", "user", "session_user"] {
        context.register_udf(function(name, Returns::Type("name"), move |call| {
            let info = call.asker()?;
            let role = match name {
                "session_user" => info.user().to_owned(),
                _ => info.role(),
            };
            Ok(Arc::new(StringArray::from(vec![role; call.rows])))
        }));
    }
    Ok(())
}

/// Whether a schema is one of Postgres' catalogs.
pub fn is_system_schema(name: &str) -> bool {
    dictionary::SCHEMAS.contains(&name)
}

/// Whether there is a relation of that name in `pg_catalog`, which is looked through before every other schema.
pub fn is_system_relation(name: &str) -> bool {
    dictionary::find(dictionary::SCHEMAS[0], name).is_some()
}

type Act = fn(&dyn Activity, i32) -> bool;

/// Functions whose answer is the session's.
pub fn register_session_functions(
    context: &SessionContext,
    settings: &Arc<Mutex<Settings>>,
    info: &Arc<SessionInfo>,
) {
    let own = Arc::clone(info);
    context.register_udf(volatile_function(
        "pg_backend_pid",
        Returns::Type("int4"),
        Volatility::Volatile,
        move |call| Ok(Arc::new(Int32Array::from(vec![own.number(); call.rows]))),
    ));
    for (name, act) in [
        (
            "pg_cancel_backend",
            (|activity, number| activity.cancel(number)) as Act,
        ),
        ("pg_terminate_backend", |activity, number| {
            activity.terminate(number)
        }),
    ] {
        let own = Arc::clone(info);
        context.register_udf(volatile_function(
            name,
            Returns::Type("bool"),
            Volatility::Volatile,
            move |call| {
                let acted = |number: i64| {
                    let (Some(activity), Ok(number)) = (own.activity(), i32::try_from(number))
                    else {
                        return Ok(false);
                    };
                    let connections = activity.connections();
                    let whose = connections.iter().find(|info| info.number == number);
                    if whose.is_some_and(|info| !own.names().may_act_for(&own.role(), &info.user)) {
                        let denied = Error::Denied {
                            message: "must be a member of the role whose process is being signaled"
                                .to_owned(),
                            hint: "A superuser can do it.".to_owned(),
                        };
                        return Err(DataFusionError::External(Box::new(denied)));
                    }
                    Ok(act(activity.as_ref(), number))
                };
                let numbers = call.integers(0)?;
                let answers = numbers.iter().map(|number| number.map(acted).transpose());
                Ok(Arc::new(answers.collect::<Result<BooleanArray, _>>()?))
            },
        ));
    }
    let own = Arc::clone(settings);
    context.register_udf(function(
        "current_setting",
        Returns::Type("text"),
        move |call| current_setting(call, &own),
    ));
    let own = Arc::clone(settings);
    context.register_udf(volatile_function(
        "set_config",
        Returns::Type("text"),
        Volatility::Volatile,
        move |call| set_config(call, &own),
    ));
}

fn current_setting(call: &Call, settings: &Mutex<Settings>) -> Result<ArrayRef, DataFusionError> {
    let lenient = call.texts(1)?;
    let lenient = lenient.iter().flatten().next() == Some("t");
    let settings = settings.lock().unwrap_or_else(PoisonError::into_inner);
    let read = |name: Option<&str>| match name.map(|name| (name, settings.get(name))) {
        None => Ok(None),
        Some((_, Ok(value))) => Ok(Some(value)),
        Some((_, Err(_))) if lenient => Ok(None),
        Some((name, Err(_))) => fault(
            Fault::UndefinedObject,
            format!("unrecognized configuration parameter \"{name}\""),
        ),
    };
    Ok(Arc::new(
        call.texts(0)?
            .iter()
            .map(read)
            .collect::<Result<StringArray, _>>()?,
    ))
}

fn set_config(call: &Call, settings: &Mutex<Settings>) -> Result<ArrayRef, DataFusionError> {
    let (names, values, local) = (call.texts(0)?, call.texts(1)?, call.texts(2)?);
    let mut settings = settings.lock().unwrap_or_else(PoisonError::into_inner);
    let mut answers = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let (Some(name), value) = (
            names.iter().nth(row).flatten(),
            values.iter().nth(row).flatten(),
        ) else {
            answers.push(None);
            continue;
        };
        if ["role", "session_authorization"].contains(&name.to_lowercase().as_str()) {
            return Err(DataFusionError::External(Box::new(Error::Unsupported {
                message: format!("parameter \"{name}\" cannot be changed by set_config"),
                hint: Some("SET ROLE changes the role.".to_owned()),
            })));
        }
        if is_for_superusers(name) {
            // Who asks is known to SET alone.
            return Err(DataFusionError::External(Box::new(Error::Denied {
                message: format!("permission denied to set parameter \"{name}\" by set_config"),
                hint: format!("A superuser can SET {name}."),
            })));
        }
        let local = local.iter().nth(row).flatten() == Some("t");
        settings
            .set(name, value, local)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        answers.push(Some(
            settings
                .get(name)
                .map_err(|error| DataFusionError::External(Box::new(error)))?,
        ));
    }
    Ok(Arc::new(StringArray::from(answers)))
}

fn constant_text(
    name: &str,
    kind: &'static str,
    value: String,
) -> datafusion::logical_expr::ScalarUDF {
    debug_assert_eq!(
        crate::postgres::types::arrow_type(kind),
        Some(DataType::Utf8)
    );
    function(name, Returns::Type(kind), move |call| {
        Ok(Arc::new(StringArray::from(vec![value.as_str(); call.rows])))
    })
}
