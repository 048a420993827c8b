//! Values of several types in one place, as Postgres makes one type of them.
//!
//! Where DataFusion settles types, a local time beside an instant is one of UTC, and a double beside a numeric a numeric. In
//! Postgres the first is one of the session's time zone and the second a double: in comparisons, lists, `CASE`, `coalesce` and
//! its like, and the columns of a `UNION`. So the values are cast before DataFusion looks at them. A text that stands in the statement
//! is of the type that it stands beside, and is read as a cast reads it. What a list computes is compared beside it.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, Case, InList, InSubquery, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Cast, Distinct, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder,
    Operator, ScalarUDF, Subquery, Union, Values, binary_expr,
};
use datafusion::optimizer::AnalyzerRule;

use super::function::fault;
use super::functions::LINKS;
use super::style::Locale;
use super::{casts, types};
use crate::error::Fault;

/// Functions whose arguments are of one type.
pub const ONE_TYPE: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];

/// Operators that are functions of ours.
pub const OPERATORS: [&str; 5] = ["pg_plus", "pg_minus", "pg_times", "pg_over", "pg_mod"];

/// Casts what stands beside another type. The first of the rules: after it, types are settled as DataFusion does it.
#[derive(Debug)]
pub struct MixedTypes {
    to_instant: Arc<ScalarUDF>,
}

impl Default for MixedTypes {
    fn default() -> Self {
        Self {
            to_instant: Arc::new(casts::to_instant()),
        }
    }
}

impl AnalyzerRule for MixedTypes {
    fn name(&self) -> &'static str {
        "mixed_types"
    }

    fn analyze(&self, plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan> {
        let locale = Locale::of_session(options);
        let mut is_retyped = false;
        plan.transform_up_with_subqueries(|node| {
            // What stands above a column that is of another type now has to know.
            let node = match is_retyped {
                true => renewed(node)?,
                false => node,
            };
            let sets = is_set_operation(&node) || matches!(node, LogicalPlan::Values(_));
            let node = self.node(node, &locale)?;
            is_retyped |= sets && node.transformed;
            Ok(node)
        })
        .map(|plan| plan.data)
    }
}

/// A node with the types that its inputs have now.
fn renewed(node: LogicalPlan) -> Result<LogicalPlan> {
    match node {
        // DataFusion leaves the columns of this one as they were.
        LogicalPlan::Union(union) => Ok(LogicalPlan::Union(Union::try_new_with_loose_types(
            union.inputs,
        )?)),
        node => node.recompute_schema(),
    }
}

/// `UNION`, and the joins that `INTERSECT` and `EXCEPT` are planned as.
fn is_set_operation(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::Union(_) => true,
        LogicalPlan::Join(join) => is_set_join(join),
        _ => false,
    }
}

fn is_set_join(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
}

/// Reads the texts of the statement in the columns of a set operation as the type of the other inputs; whether there are any.
fn read_columns(inputs: &mut [Arc<LogicalPlan>], locale: &Locale) -> Result<bool> {
    let widths = inputs.iter().map(|input| input.schema().fields().len());
    let mut any = false;
    for at in 0..widths.min().unwrap_or(0) {
        let known = inputs.iter().find_map(|input| {
            let field = input.schema().fields().get(at)?;
            let is_interval = matches!(field.data_type(), DataType::Interval(_));
            (is_interval || is_read(field)).then(|| field.as_ref().clone())
        });
        let Some(known) = known else {
            continue;
        };
        for input in inputs.iter_mut() {
            if let Some(read) = with_column_read(input, at, &known, locale)? {
                *input = Arc::new(read);
                any = true;
            }
        }
    }
    Ok(any)
}

/// Rows of values whose reals or doubles stand among numerics, which DataFusion makes numerics of: all of them are floats in Postgres.
fn with_floats(values: &Values) -> Result<Option<LogicalPlan>> {
    let nothing = DFSchema::empty();
    let float = |value: &Expr| match value {
        // A number that is written with an exponent is a numeric.
        Expr::Cast(cast) if !matches!(*cast.expr, Expr::Literal(..)) => {
            let kind = cast.expr.get_type(&nothing).ok();
            kind.filter(DataType::is_floating)
        }
        _ => None,
    };
    let mut rows = None;
    for (at, field) in values.schema.fields().iter().enumerate() {
        if !field.data_type().is_decimal() {
            continue;
        }
        let floats = values.values.iter().filter_map(|row| float(row.get(at)?));
        let floats: Vec<DataType> = floats.collect();
        let kind = match floats.contains(&DataType::Float64) {
            true => DataType::Float64,
            false if floats.is_empty() => continue,
            false => DataType::Float32,
        };
        let rows = rows.get_or_insert_with(|| values.values.clone());
        for value in rows.iter_mut().filter_map(|row| row.get_mut(at)) {
            let own = match std::mem::take(value) {
                Expr::Cast(cast) if cast.field.data_type().is_decimal() => *cast.expr,
                other => other,
            };
            *value = Expr::Cast(Cast::new(Box::new(own), kind.clone()));
        }
    }
    match rows {
        Some(rows) => Ok(Some(LogicalPlanBuilder::values(rows)?.build()?)),
        None => Ok(None),
    }
}

/// A plan whose column at that place is read as the type of another; nothing where it is no text of the statement.
fn with_column_read(
    plan: &LogicalPlan,
    at: usize,
    known: &Field,
    locale: &Locale,
) -> Result<Option<LogicalPlan>> {
    if let LogicalPlan::Values(rows) = plan {
        let mut column = rows.values.iter().filter_map(|row| row.get(at));
        let is_untyped = column.all(|value| {
            written(value).is_some()
                || matches!(value, Expr::Literal(value, None) if value.is_null())
        });
        if !is_untyped {
            return Ok(None);
        }
        let mut values = rows.values.clone();
        for value in values.iter_mut().filter_map(|row| row.get_mut(at)) {
            *value = match written(value) {
                Some(text) => literal(text, known, locale)?,
                None => null_beside(known)?,
            };
        }
        return Ok(Some(LogicalPlanBuilder::values(values)?.build()?));
    }
    let Some(text) = written_column(plan, at) else {
        return Ok(None);
    };
    let read = literal(text, known, locale)?;
    let columns = plan.schema().iter().enumerate();
    let columns = columns.map(|(place, (relation, field))| match place == at {
        true => read
            .clone()
            .alias_qualified(relation.cloned(), field.name()),
        false => Expr::Column(Column::from((relation, field))),
    });
    let columns: Vec<Expr> = columns.collect();
    let plan = LogicalPlanBuilder::from(plan.clone()).project(columns)?;
    Ok(Some(plan.build()?))
}

/// The text that a plan's column has in all rows, where the query itself has it in its list of columns.
fn written_column(plan: &LogicalPlan, at: usize) -> Option<&str> {
    match plan {
        LogicalPlan::Projection(projection) => match unaliased(projection.expr.get(at)?) {
            // What a query in FROM returns has a type.
            Expr::Column(_) if matches!(&*projection.input, LogicalPlan::SubqueryAlias(_)) => None,
            Expr::Column(column) => {
                let place = projection.input.schema().maybe_index_of_column(column)?;
                written_column(&projection.input, place)
            }
            value => written(value),
        },
        // DataFusion names the sides of an INTERSECT.
        LogicalPlan::SubqueryAlias(side) => written_column(&side.input, at),
        LogicalPlan::Distinct(Distinct::All(input)) => written_column(input, at),
        LogicalPlan::Sort(sort) => written_column(&sort.input, at),
        LogicalPlan::Limit(limit) => written_column(&limit.input, at),
        _ => None,
    }
}

/// An expression without its name.
pub fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// Reads the texts of the statement among values as the type of the others; whether there are any.
fn read_literals(places: &mut [Place<'_>], schema: &DFSchema, locale: &Locale) -> Result<bool> {
    if !places.iter().any(|place| written(place).is_some()) {
        return Ok(false);
    }
    let known = places.iter().find_map(|place| {
        let stands_alone = matches!(place, Expr::Literal(..) | Expr::Placeholder(_));
        let field = (!stands_alone).then(|| place.to_field(schema).ok());
        let (_, field) = field.flatten()?;
        is_read(&field).then_some(field)
    });
    let Some(known) = known else {
        return Ok(false);
    };
    for place in places {
        if let Some(text) = written(place) {
            **place = literal(text, &known, locale)?;
        }
    }
    Ok(true)
}

/// The text of a literal that has no type of its own.
fn written(value: &Expr) -> Option<&str> {
    match value {
        Expr::Literal(ScalarValue::Utf8(Some(text)), None) => Some(text),
        _ => None,
    }
}

/// Whether a text is something else beside values of that type.
fn is_read(field: &Field) -> bool {
    match types::type_of(field).as_str() {
        "text" | "varchar" | "bpchar" | "name" | "char" | "unknown" | "interval" => false,
        kind => {
            !field.data_type().is_null() && !kind.starts_with("reg") && !kind.ends_with("vector")
        }
    }
}

fn literal(text: &str, beside: &Field, locale: &Locale) -> Result<Expr> {
    let value = casts::of_literal(text, &types::type_of(beside), locale)?;
    let metadata = (!beside.metadata().is_empty()).then(|| beside.metadata().clone().into());
    Ok(Expr::Literal(value, metadata))
}

/// NULL of the type of another value.
fn null_beside(beside: &Field) -> Result<Expr> {
    let null = ScalarValue::try_from(beside.data_type())?;
    let metadata = (!beside.metadata().is_empty()).then(|| beside.metadata().clone().into());
    Ok(Expr::Literal(null, metadata))
}

/// `day - '2026-01-01'`, `'1 day' + moment`, `n + NULL`: what has no type of its own is of the other operand's, or an interval that is
/// added to a moment.
fn read_operand(call: &mut ScalarFunction, schema: &DFSchema, locale: &Locale) -> Result<bool> {
    let minus = call.func.name() == "pg_minus";
    let [left, right] = call.args.as_mut_slice() else {
        return Ok(false);
    };
    let is_untyped = |value: &Expr| {
        matches!(value, Expr::Literal(value, None) if value.is_null() && matches!(value, ScalarValue::Null | ScalarValue::Utf8(None)))
            || written(value).is_some()
    };
    let (operand, other) = match (is_untyped(left), is_untyped(right)) {
        (true, false) => (left, right),
        (false, true) => (right, left),
        _ => return Ok(false),
    };
    if matches!(other, Expr::Placeholder(_)) {
        return Ok(false);
    }
    let Ok((_, field)) = other.to_field(schema) else {
        return Ok(false);
    };
    let kind = field.data_type();
    let is_moment = matches!(kind, DataType::Date32 | DataType::Timestamp(..));
    let beside = match is_moment && !minus {
        true => types::field("", "interval"),
        false => field.as_ref().clone(),
    };
    match written(operand) {
        Some(text) if is_moment => *operand = literal(text, &beside, locale)?,
        None if is_moment || kind.is_numeric() || matches!(kind, DataType::Interval(_)) => {
            let null = ScalarValue::try_from(beside.data_type())?;
            *operand = Expr::Literal(null, None);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// `array || '{3}'`: beside an array, a text of the statement is one.
fn read_array(call: &mut ScalarFunction, schema: &DFSchema, locale: &Locale) -> Result<bool> {
    let [left, right] = call.args.as_mut_slice() else {
        return Ok(false);
    };
    let (operand, other) = match (written(left).is_some(), written(right).is_some()) {
        (true, false) => (left, right),
        (false, true) => (right, left),
        _ => return Ok(false),
    };
    let Some(array) = array_field(other, schema) else {
        return Ok(false);
    };
    let Some(text) = written(operand) else {
        return Ok(false);
    };
    *operand = literal(text, &array, locale)?;
    Ok(true)
}

/// The field of an expression that is an array of one dimension.
fn array_field(value: &Expr, schema: &DFSchema) -> Option<Field> {
    let (_, field) = value.to_field(schema).ok()?;
    let is_plain =
        types::type_of(&field).starts_with('_') && casts::dimensions_of(field.data_type()) == 1;
    is_plain.then(|| field.as_ref().clone())
}

/// `'1' = ANY (numbers)`, `1 = ANY ('{1,2}')`: a text of the statement is read as what stands beside it, and any other is no number.
fn read_compared(call: &mut ScalarFunction, schema: &DFSchema, locale: &Locale) -> Result<bool> {
    let [symbol, value, list] = call.args.as_mut_slice() else {
        return Ok(false);
    };
    if let Some(text) = written(value) {
        let Some(array) = array_field(list, schema) else {
            return Ok(false);
        };
        let kind = types::type_of(&array);
        let element = types::field("", kind.trim_start_matches('_'));
        if !is_read(&element) {
            return Ok(false);
        }
        *value = literal(text, &element, locale)?;
        return Ok(true);
    }
    let Ok((_, field)) = value.to_field(schema) else {
        return Ok(false);
    };
    let kind = types::type_of(&field);
    if let Some(text) = written(list) {
        if !is_read(&field) || types::by_name(&kind).is_none() {
            return Ok(false);
        }
        *list = literal(text, &types::field("", &format!("_{kind}")), locale)?;
        return Ok(true);
    }
    let Some(array) = array_field(list, schema) else {
        return Ok(false);
    };
    let element = types::type_of(&array);
    let element = element.trim_start_matches('_');
    let is_number = |kind: &str| {
        matches!(
            kind,
            "int2" | "int4" | "int8" | "numeric" | "float4" | "float8"
        )
    };
    let kind = match &*value {
        Expr::Literal(ScalarValue::Int64(Some(number)), None) if i32::try_from(*number).is_ok() => {
            "int4"
        }
        Expr::Literal(ScalarValue::Null, _) | Expr::Placeholder(_) => return Ok(false),
        _ => kind.as_str(),
    };
    let differ = is_number(kind) && element == "text" || kind == "text" && is_number(element);
    if differ && !field.data_type().is_null() && !is_null_array(&array) {
        let [kind, element] = [kind, element].map(|kind| types::sql_name(kind, -1));
        let symbol = written(symbol).unwrap_or("=");
        return fault(
            Fault::UndefinedFunction,
            format!("operator does not exist: {kind} {symbol} {element}"),
        );
    }
    Ok(false)
}

/// Refuses `age IS TRUE` of what is no truth; nothing is changed.
fn check_truth(value: &Expr, test: &str, schema: &DFSchema) -> Result<bool> {
    let Ok((_, field)) = value.to_field(schema) else {
        return Ok(false);
    };
    if matches!(field.data_type(), DataType::Boolean | DataType::Null) || written(value).is_some() {
        return Ok(false);
    }
    let kind = types::sql_name(&types::type_of(&field), -1);
    fault(
        Fault::DatatypeMismatch,
        format!("argument of {test} must be type boolean, not type {kind}"),
    )
}

/// Whether an array has nothing but NULLs, so that it is of any type.
fn is_null_array(array: &Field) -> bool {
    matches!(array.data_type(), DataType::List(item) if item.data_type().is_null())
}

/// There is no arithmetic of texts, but of those that have no type of their own.
fn refuse_texts(call: &ScalarFunction, schema: &DFSchema) -> Result<()> {
    let [left, right] = call.args.as_slice() else {
        return Ok(());
    };
    let kind = |value: &Expr| match value {
        Expr::Literal(ScalarValue::Null | ScalarValue::Utf8(_), None) | Expr::Placeholder(_) => {
            Some("unknown".to_owned())
        }
        value => {
            let (_, field) = value.to_field(schema).ok()?;
            (!field.data_type().is_null()).then(|| types::type_of(&field))
        }
    };
    let (Some(left), Some(right)) = (kind(left), kind(right)) else {
        return Ok(());
    };
    let is_text = |kind: &str| matches!(kind, "text" | "varchar" | "bpchar");
    let takes_from_json = left == "jsonb";
    if takes_from_json || !is_text(&left) && !is_text(&right) {
        return Ok(());
    }
    let mut links = LINKS.iter();
    let symbol = links
        .find(|(name, _)| *name == call.func.name())
        .map_or('+', |(_, symbol)| *symbol);
    let [left, right] = [left, right].map(|kind| types::sql_name(&kind, -1));
    fault(
        Fault::UndefinedFunction,
        format!("operator does not exist: {left} {symbol} {right}"),
    )
}

/// The type that values become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Common {
    /// The local times become instants of the session's time zone, and so do texts that stand in the statement.
    Instant,
    /// The numerics become doubles.
    Double,
    /// The numerics become reals.
    Real,
}

impl Common {
    /// What values of these types become; nothing where DataFusion's rules are Postgres'.
    fn of(kinds: &[DataType]) -> Option<Self> {
        let any = |is: fn(&DataType) -> bool| kinds.iter().any(is);
        if any(|kind| matches!(kind, DataType::Timestamp(_, Some(_)))) {
            let others = any(|kind| {
                kind.is_string() || matches!(kind, DataType::Date32 | DataType::Timestamp(_, None))
            });
            return others.then_some(Common::Instant);
        }
        if !any(DataType::is_decimal) {
            return None;
        }
        match any(|kind| *kind == DataType::Float64) {
            true => Some(Common::Double),
            false => any(|kind| *kind == DataType::Float32).then_some(Common::Real),
        }
    }

    /// The same for values that are compared: there is no comparison of reals with numerics.
    fn of_compared(kinds: &[DataType]) -> Option<Self> {
        match Self::of(kinds) {
            Some(Common::Real) => Some(Common::Double),
            other => other,
        }
    }
}

/// An expression in the place where it stands.
type Place<'a> = &'a mut Expr;

impl MixedTypes {
    fn node(&self, node: LogicalPlan, locale: &Locale) -> Result<Transformed<LogicalPlan>> {
        let node = match node {
            LogicalPlan::Union(union) => return self.union(union, locale),
            LogicalPlan::Values(values) => match with_floats(&values)? {
                Some(plan) => return Ok(Transformed::yes(self.node(plan, locale)?.data)),
                None => LogicalPlan::Values(values),
            },
            LogicalPlan::Join(join) if is_set_join(&join) => {
                return self.set_join(join, locale);
            }
            LogicalPlan::Join(mut join) => match self.cast_keys(&mut join) {
                true => return Ok(Transformed::yes(LogicalPlan::Join(join))),
                false => LogicalPlan::Join(join),
            },
            node => node,
        };
        let schema = match node.inputs().as_slice() {
            [input] => Arc::clone(input.schema()),
            inputs => Arc::new(merge_schema(inputs)),
        };
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expression| {
            let name = names.save(&expression);
            let settled = expression
                .transform_up(|expression| self.expression(expression, &schema, locale))?;
            Ok(settled.update_data(|expression| name.restore(expression)))
        })?;
        match node.transformed {
            true => Ok(Transformed::yes(node.data.recompute_schema()?)),
            false => Ok(node),
        }
    }

    fn expression(
        &self,
        mut expression: Expr,
        schema: &DFSchema,
        locale: &Locale,
    ) -> Result<Transformed<Expr>> {
        let changed = match &mut expression {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
                self.settle(vec![left, right], schema, locale, Common::of_compared)?
            }
            Expr::Between(Between {
                expr, low, high, ..
            }) => self.settle(vec![expr, low, high], schema, locale, Common::of_compared)?,
            Expr::InList(found) => {
                let places = std::iter::once(found.expr.as_mut()).chain(&mut found.list);
                let settled = self.settle(places.collect(), schema, locale, Common::of_compared)?;
                match compared_apart(found) {
                    Some(compared) => {
                        expression = compared;
                        true
                    }
                    None => settled,
                }
            }
            Expr::Case(Case {
                expr: None,
                when_then_expr,
                else_expr,
            }) => {
                let results = when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
                let places = results.chain(else_expr.as_deref_mut()).collect();
                self.settle(places, schema, locale, Common::of)?
            }
            Expr::ScalarFunction(call) if ONE_TYPE.contains(&call.func.name()) => {
                let places = call.args.iter_mut().collect();
                self.settle(places, schema, locale, Common::of)?
            }
            Expr::ScalarFunction(call) if OPERATORS.contains(&call.func.name()) => {
                refuse_texts(call, schema)?;
                read_operand(call, schema, locale)?
            }
            Expr::ScalarFunction(call) if call.func.name() == "pg_concat_op" => {
                read_array(call, schema, locale)?
            }
            Expr::ScalarFunction(call) if matches!(call.func.name(), "pg_any" | "pg_all") => {
                read_compared(call, schema, locale)?
            }
            Expr::InSubquery(found) => self.found(found, schema)?,
            Expr::IsTrue(value) => check_truth(value, "IS TRUE", schema)?,
            Expr::IsNotTrue(value) => check_truth(value, "IS NOT TRUE", schema)?,
            Expr::IsFalse(value) => check_truth(value, "IS FALSE", schema)?,
            Expr::IsNotFalse(value) => check_truth(value, "IS NOT FALSE", schema)?,
            Expr::IsUnknown(value) => check_truth(value, "IS UNKNOWN", schema)?,
            Expr::IsNotUnknown(value) => check_truth(value, "IS NOT UNKNOWN", schema)?,
            _ => false,
        };
        Ok(match changed {
            true => Transformed::yes(expression),
            false => Transformed::no(expression),
        })
    }

    /// `INTERSECT`, `EXCEPT`
    fn set_join(&self, mut join: Join, locale: &Locale) -> Result<Transformed<LogicalPlan>> {
        let mut inputs = [Arc::clone(&join.left), Arc::clone(&join.right)];
        let is_read = read_columns(&mut inputs, locale)?;
        [join.left, join.right] = inputs;
        let is_cast = self.cast_keys(&mut join);
        let join = LogicalPlan::Join(join);
        Ok(match is_read || is_cast {
            true => Transformed::yes(join.recompute_schema()?),
            false => Transformed::no(join),
        })
    }

    /// Casts what a join compares to the type that is common to both sides; whether anything was.
    fn cast_keys(&self, join: &mut Join) -> bool {
        let (left, right) = (join.left.schema(), join.right.schema());
        let mut changed = false;
        for (a, b) in &mut join.on {
            if let (Ok(a_kind), Ok(b_kind)) = (a.get_type(left), b.get_type(right))
                && let Some(common) = Common::of_compared(&[a_kind.clone(), b_kind.clone()])
            {
                changed |= self.cast(a, &a_kind, common) | self.cast(b, &b_kind, common);
            }
        }
        changed
    }

    /// Casts values to the type that is common to them; whether one was.
    fn settle(
        &self,
        mut places: Vec<Place<'_>>,
        schema: &DFSchema,
        locale: &Locale,
        common: fn(&[DataType]) -> Option<Common>,
    ) -> Result<bool> {
        let read = read_literals(&mut places, schema, locale)?;
        Ok(self.cast_all(places, schema, common) | read)
    }

    fn cast_all(
        &self,
        places: Vec<Place<'_>>,
        schema: &DFSchema,
        common: fn(&[DataType]) -> Option<Common>,
    ) -> bool {
        let kinds = places.iter().map(|place| match place {
            // A number in the statement is whatever stands beside it.
            Expr::Literal(ScalarValue::Float64(_), _) => Ok(DataType::Null),
            place => place.get_type(schema),
        });
        // What has no type is DataFusion's to refuse.
        let Ok(kinds) = kinds.collect::<Result<Vec<_>>>() else {
            return false;
        };
        let Some(common) = common(&kinds) else {
            return false;
        };
        let mut changed = false;
        for (place, kind) in places.into_iter().zip(&kinds) {
            changed |= self.cast(place, kind, common);
        }
        changed
    }

    fn cast(&self, place: Place<'_>, kind: &DataType, common: Common) -> bool {
        let is_literal = matches!(place, Expr::Literal(..));
        match (common, kind) {
            (Common::Instant, DataType::Date32 | DataType::Timestamp(_, None)) => {}
            // A text that isn't in the statement is no time, which DataFusion says.
            (Common::Instant, kind) if kind.is_string() && is_literal => {}
            (Common::Double | Common::Real, kind) if kind.is_decimal() => {}
            _ => return false,
        }
        let value = std::mem::take(place);
        *place = match common {
            Common::Instant => Expr::ScalarFunction(ScalarFunction::new_udf(
                Arc::clone(&self.to_instant),
                vec![value],
            )),
            Common::Double => Expr::Cast(Cast::new(Box::new(value), DataType::Float64)),
            Common::Real => Expr::Cast(Cast::new(Box::new(value), DataType::Float32)),
        };
        true
    }

    /// `value IN (query)`
    fn found(&self, found: &mut InSubquery, schema: &DFSchema) -> Result<bool> {
        let plan = &found.subquery.subquery;
        let mut columns = plan.schema().columns();
        let (Ok(kind), Some(column), true) = (
            found.expr.get_type(schema),
            columns.pop(),
            columns.is_empty(),
        ) else {
            return Ok(false);
        };
        let mut column = Expr::Column(column);
        let column_kind = column.get_type(plan.schema())?;
        let Some(common) = Common::of_compared(&[kind.clone(), column_kind.clone()]) else {
            return Ok(false);
        };
        let mut changed = self.cast(&mut found.expr, &kind, common);
        if self.cast(&mut column, &column_kind, common) {
            let plan = LogicalPlanBuilder::from(plan.as_ref().clone())
                .project([column])?
                .build()?;
            found.subquery = Subquery {
                subquery: Arc::new(plan),
                outer_ref_columns: found.subquery.outer_ref_columns.clone(),
                spans: found.subquery.spans.clone(),
            };
            changed = true;
        }
        Ok(changed)
    }

    fn union(&self, mut union: Union, locale: &Locale) -> Result<Transformed<LogicalPlan>> {
        let is_read = read_columns(&mut union.inputs, locale)?;
        if is_read {
            union = Union::try_new_with_loose_types(union.inputs)?;
        }
        let columns = union.schema.fields().len();
        let kinds = |at: usize| {
            let inputs = union.inputs.iter();
            let fields = inputs.filter_map(|input| input.schema().fields().get(at).cloned());
            fields
                .map(|field| field.data_type().clone())
                .collect::<Vec<_>>()
        };
        let common: Vec<Option<Common>> = (0..columns).map(|at| Common::of(&kinds(at))).collect();
        if common.iter().all(Option::is_none) {
            let union = LogicalPlan::Union(union);
            return Ok(Transformed::new_transformed(union, is_read));
        }
        let input = |input: Arc<LogicalPlan>| {
            let mut changed = false;
            let columns = input.schema().iter().zip(&common);
            let columns = columns.map(|((relation, field), common)| {
                let mut value = Expr::Column(Column::from((relation, field)));
                let Some(common) = common else {
                    return value;
                };
                match self.cast(&mut value, field.data_type(), *common) {
                    true => {
                        changed = true;
                        value.alias_qualified(relation.cloned(), field.name())
                    }
                    false => value,
                }
            });
            let columns: Vec<Expr> = columns.collect();
            Ok(match changed {
                true => Arc::new(
                    LogicalPlanBuilder::from(Arc::unwrap_or_clone(input))
                        .project(columns)?
                        .build()?,
                ),
                false => input,
            })
        };
        let inputs = union.inputs.into_iter().map(input);
        let union = Union::try_new_with_loose_types(inputs.collect::<Result<Vec<_>>>()?)?;
        Ok(Transformed::yes(LogicalPlan::Union(union)))
    }
}

/// `x IN (CASE … END, 2)` as `x = CASE … END OR x IN (2)`; nothing where all items are plain.
///
/// DataFusion takes a list for constant whose items have one value each where there are no rows, and so it does with many a `CASE`,
/// which `coalesce` and its like are as well.
fn compared_apart(found: &mut InList) -> Option<Expr> {
    if found.list.iter().all(is_plain) || found.expr.is_volatile() {
        return None;
    }
    let (plain, computed): (Vec<Expr>, Vec<Expr>) = std::mem::take(&mut found.list)
        .into_iter()
        .partition(is_plain);
    let value = found.expr.as_ref();
    let negated = found.negated;
    let (op, joined) = match negated {
        true => (Operator::NotEq, Operator::And),
        false => (Operator::Eq, Operator::Or),
    };
    let compared = computed
        .into_iter()
        .map(|item| binary_expr(value.clone(), op, item));
    let listed = (!plain.is_empty())
        .then(|| Expr::InList(InList::new(Box::new(value.clone()), plain, negated)));
    listed
        .into_iter()
        .chain(compared)
        .reduce(|left, right| binary_expr(left, joined, right))
}

/// Whether DataFusion knows without rows that an expression depends on them.
fn is_plain(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(..)
        | Expr::Column(_)
        | Expr::OuterReferenceColumn(..)
        | Expr::Placeholder(_)
        | Expr::ScalarSubquery(_) => true,
        Expr::Cast(cast) => is_plain(&cast.expr),
        Expr::Negative(inner) => is_plain(inner),
        Expr::ScalarFunction(call) => {
            !ONE_TYPE.contains(&call.func.name()) && call.args.iter().all(is_plain)
        }
        _ => false,
    }
}

fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}
