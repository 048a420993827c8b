//! What a funnel's journeys are looked at together with: costs, follow-ups, orders, touches, loss tags, targets.
//!
//! ```sql
//! CREATE FUNNEL sales ON crm.events (…,
//!   COSTS     FROM crm.channel_costs (channel, day, cost),
//!   FOLLOWUPS FROM crm.followups (lead_id, at, owner, kind, depth, effective),
//!   ORDERS    FROM crm.orders (customer_id, at, amount, referred_by))
//! ```
//!
//! Each column of the list plays a role. One that is called like a role, or says `AS role`, plays that one; the
//! others play the roles that are left, in their order. For costs, a column that is called like a dimension of
//! the funnel is that dimension.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast};
use serde::{Deserialize, Serialize};

use super::journeys::to_instant;
use super::model::Source;
use super::text::identifier;
use crate::UTC;
use crate::error::{FunnelError, Kind};

/// What a clause brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelatedKind {
    /// What was spent on winning leads.
    Costs,
    /// What was done about an entity: calls, mails, visits.
    Followups,
    /// What an entity bought.
    Orders,
    /// What brought an entity: advertisements, mails.
    Touches,
    /// Why an entity was lost, in any number of words.
    LossTags,
    /// What a metric should be.
    Targets,
}

/// What a column is to its clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: &'static str,
    /// Its type in the result.
    pub value: RoleType,
    /// Whether a clause can't do without it.
    pub required: bool,
}

/// The type of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleType {
    /// Whose it is; of the entity's type.
    Entity,
    /// When.
    Instant,
    /// On which day.
    Date,
    /// How much.
    Number,
    /// Whether.
    Boolean,
    /// What.
    Text,
}

const fn role(name: &'static str, value: RoleType, required: bool) -> Role {
    Role {
        name,
        value,
        required,
    }
}

const COSTS: [Role; 2] = [
    role("day", RoleType::Date, true),
    role("cost", RoleType::Number, true),
];
const FOLLOWUPS: [Role; 7] = [
    role("entity", RoleType::Entity, true),
    role("at", RoleType::Instant, true),
    role("owner", RoleType::Text, false),
    role("kind", RoleType::Text, false),
    role("depth", RoleType::Number, false),
    role("effective", RoleType::Boolean, false),
    role("tags", RoleType::Text, false),
];
const ORDERS: [Role; 4] = [
    role("entity", RoleType::Entity, true),
    role("at", RoleType::Instant, true),
    role("amount", RoleType::Number, true),
    role("referred_by", RoleType::Entity, false),
];
const TOUCHES: [Role; 4] = [
    role("entity", RoleType::Entity, true),
    role("at", RoleType::Instant, true),
    role("channel", RoleType::Text, true),
    role("cost", RoleType::Number, false),
];
const LOSS_TAGS: [Role; 3] = [
    role("entity", RoleType::Entity, true),
    role("tag", RoleType::Text, true),
    role("stage", RoleType::Text, false),
];
const TARGETS: [Role; 4] = [
    role("metric", RoleType::Text, true),
    role("value", RoleType::Number, true),
    role("stage", RoleType::Text, false),
    role("since", RoleType::Date, false),
];

impl RelatedKind {
    /// Each kind, in the order of its documentation.
    pub const ALL: [Self; 6] = [
        Self::Costs,
        Self::Followups,
        Self::Orders,
        Self::Touches,
        Self::LossTags,
        Self::Targets,
    ];

    /// The word that its clause begins with.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Costs => "COSTS",
            Self::Followups => "FOLLOWUPS",
            Self::Orders => "ORDERS",
            Self::Touches => "TOUCHES",
            Self::LossTags => "LOSS_TAGS",
            Self::Targets => "TARGETS",
        }
    }

    /// The kind of that keyword, in any case.
    pub fn parse(keyword: &str) -> Option<Self> {
        let found = Self::ALL.into_iter();
        found
            .into_iter()
            .find(|kind| kind.keyword().eq_ignore_ascii_case(keyword))
    }

    /// What its columns may be.
    pub fn roles(self) -> &'static [Role] {
        match self {
            Self::Costs => &COSTS,
            Self::Followups => &FOLLOWUPS,
            Self::Orders => &ORDERS,
            Self::Touches => &TOUCHES,
            Self::LossTags => &LOSS_TAGS,
            Self::Targets => &TARGETS,
        }
    }

    /// The clause as it could be written.
    pub fn example(self) -> &'static str {
        match self {
            Self::Costs => "COSTS FROM channel_costs (channel, day, cost)",
            Self::Followups => {
                "FOLLOWUPS FROM followups (lead_id, at, owner, kind, depth, effective)"
            }
            Self::Orders => "ORDERS FROM orders (customer_id, at, amount, referred_by)",
            Self::Touches => "TOUCHES FROM touches (lead_id, at, channel, cost)",
            Self::LossTags => "LOSS_TAGS FROM loss_tags (lead_id, tag, stage)",
            Self::Targets => "TARGETS FROM targets (metric, value, stage)",
        }
    }
}

impl fmt::Display for RelatedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())
    }
}

/// A clause such as `COSTS FROM channel_costs (channel, day, cost)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelatedDefinition {
    /// What it brings.
    pub kind: RelatedKind,
    /// Where from.
    pub source: Source,
    /// Its columns.
    pub columns: Vec<RelatedColumn>,
}

/// A column of a clause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelatedColumn {
    /// Its value.
    pub expression: String,
    /// What it is called: behind `AS`, or a plain column's own name.
    pub name: Option<String>,
}

impl fmt::Display for RelatedDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| match &column.name {
                Some(name)
                    if *name != column.expression && identifier(name) != column.expression =>
                {
                    format!("{} AS {}", column.expression, identifier(name))
                }
                _ => column.expression.clone(),
            })
            .collect();
        write!(
            f,
            "{} FROM {} ({})",
            self.kind,
            self.source,
            columns.join(", ")
        )
    }
}

impl RelatedDefinition {
    /// What each column is called in the result: a role, or for costs a dimension.
    ///
    /// # Errors
    /// 42P17 for a column without a role and a role without its column.
    pub fn names(&self, dimensions: &[&str]) -> Result<Vec<String>, FunnelError> {
        let roles = self.kind.roles();
        let mut names: Vec<Option<String>> = self
            .columns
            .iter()
            .map(|column| column.name.clone())
            .map(|name| name.filter(|name| self.is_name(name, dimensions)))
            .collect();
        let mut left = roles
            .iter()
            .map(|role| role.name)
            .filter(|role| names.iter().flatten().all(|name| name != role))
            .collect::<Vec<_>>()
            .into_iter();
        for (name, column) in names.iter_mut().zip(&self.columns) {
            if name.is_none() {
                let role = left
                    .next()
                    .ok_or_else(|| self.no_role(&column.expression))?;
                *name = Some(role.to_owned());
            }
        }
        let names: Vec<String> = names.into_iter().flatten().collect();
        self.check(&names)?;
        Ok(names)
    }

    fn is_name(&self, name: &str, dimensions: &[&str]) -> bool {
        let is_dimension = self.kind == RelatedKind::Costs && dimensions.contains(&name);
        is_dimension || self.kind.roles().iter().any(|role| role.name == name)
    }

    fn no_role(&self, expression: &str) -> FunnelError {
        let roles: Vec<&str> = self.kind.roles().iter().map(|role| role.name).collect();
        let more = match self.kind {
            RelatedKind::Costs => " and the names of dimensions",
            _ => "",
        };
        FunnelError::InvalidDefinition {
            message: format!("{} has no role for {expression}", self.kind),
            hint: format!("Its columns are {}{more}.", roles.join(", ")),
        }
    }

    fn check(&self, names: &[String]) -> Result<(), FunnelError> {
        for role in self.kind.roles() {
            let given = names.iter().filter(|name| *name == role.name).count();
            if given > 1 {
                return Err(FunnelError::Duplicate {
                    kind: Kind::Column,
                    name: role.name.to_owned(),
                    hint: format!("Write {}.", self.kind.example()),
                });
            }
            if role.required && given == 0 {
                return Err(FunnelError::InvalidDefinition {
                    message: format!("{} has no {}", self.kind, role.name),
                    hint: format!("Write {}.", self.kind.example()),
                });
            }
        }
        Ok(())
    }
}

/// A clause whose expressions are known to fit its source.
#[derive(Debug, Clone)]
pub struct ResolvedRelated {
    /// What it brings.
    pub kind: RelatedKind,
    /// Its rows, or why they can't be had any more.
    pub rows: Result<RelatedRows, Arc<DataFusionError>>,
}

impl ResolvedRelated {
    /// Makes sure that the rows can be had.
    ///
    /// # Errors
    /// What is wrong with the source or a column.
    pub fn checked(&self) -> Result<()> {
        let rows = self.rows.clone().map_err(DataFusionError::Shared)?;
        rows.plan(self.kind, None, UTC).map(|_| ())
    }
}

/// The rows of a clause's source and its columns by name.
#[derive(Debug, Clone)]
pub struct RelatedRows {
    /// The source.
    pub source: LogicalPlan,
    /// Names and values.
    pub columns: Vec<(String, Expr)>,
}

impl RelatedRows {
    /// The rows that are known at `as_of`: each role that the clause has under its name, then dimensions.
    ///
    /// # Errors
    /// 42804 for a column whose type isn't its role's.
    pub fn plan(
        &self,
        kind: RelatedKind,
        as_of: Option<&Expr>,
        time_zone: &str,
    ) -> Result<LogicalPlan> {
        let mut columns = Vec::new();
        let mut known = None;
        for role in kind.roles() {
            let Some((_, value)) = self.columns.iter().find(|(name, _)| name == role.name) else {
                continue;
            };
            let value = self.typed(role, value, time_zone)?;
            if let (RoleType::Instant, Some(as_of)) = (role.value, as_of) {
                known = Some(value.clone().lt_eq(as_of.clone()));
            }
            columns.push(value.alias(role.name));
        }
        let is_role = |name: &str| kind.roles().iter().any(|role| role.name == name);
        let others = self.columns.iter().filter(|(name, _)| !is_role(name));
        columns.extend(others.map(|(name, value)| value.clone().alias(name)));
        let mut plan = LogicalPlanBuilder::from(self.source.clone());
        if let Some(known) = known {
            plan = plan.filter(known)?;
        }
        plan.project(columns)?.build()
    }

    fn typed(&self, role: &Role, value: &Expr, time_zone: &str) -> Result<Expr> {
        let schema = self.source.schema();
        let found = value.get_type(schema)?;
        let fits = |fits: bool, wanted: &str| match fits || found == DataType::Null {
            true => Ok(()),
            false => Err(FunnelError::WrongType {
                message: format!(
                    "{} must be {wanted}, but {value} is of type {found}",
                    role.name
                ),
                hint: format!("Cast it: CAST({value} AS …) AS {}.", role.name),
            }),
        };
        Ok(match role.value {
            RoleType::Entity => value.clone(),
            RoleType::Instant => {
                fits(found.is_temporal(), "a date or timestamp")?;
                to_instant(value, schema, time_zone)?
            }
            RoleType::Date => {
                fits(found.is_temporal(), "a date or timestamp")?;
                cast(value.clone(), DataType::Date32)
            }
            RoleType::Number => {
                fits(found.is_numeric(), "a number")?;
                cast(value.clone(), DataType::Float64)
            }
            RoleType::Boolean => {
                fits(found == DataType::Boolean, "a condition")?;
                value.clone()
            }
            RoleType::Text => cast(value.clone(), DataType::Utf8),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(kind: RelatedKind, columns: &[&str], dimensions: &[&str]) -> Result<String, String> {
        let columns = columns.iter().map(|column| RelatedColumn {
            expression: (*column).to_owned(),
            name: Some((*column).to_owned()),
        });
        let definition = RelatedDefinition {
            kind,
            source: Source::Table("t".to_owned()),
            columns: columns.collect(),
        };
        match definition.names(dimensions) {
            Ok(names) => Ok(names.join(" ")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn columns_play_the_roles_that_they_are_called_like_and_then_those_that_are_left() {
        use RelatedKind::{Costs, Followups, Orders};
        let of = |kind, columns: &[&str]| names(kind, columns, &["渠道", "channel"]);
        assert_eq!(
            of(Costs, &["渠道", "日期", "花费"]),
            Ok("渠道 day cost".to_owned())
        );
        assert_eq!(of(Costs, &["cost", "d"]), Ok("cost day".to_owned()));
        assert_eq!(
            of(Followups, &["lead_id", "at", "effective"]),
            Ok("entity at effective".to_owned())
        );
        assert_eq!(
            of(Orders, &["amount", "customer", "bought"]),
            Ok("amount entity at".to_owned())
        );
    }

    #[test]
    fn a_column_without_a_role_and_a_role_without_a_column_are_faults() {
        use RelatedKind::{Costs, Orders};
        assert_eq!(
            names(Costs, &["day", "cost", "x"], &[]),
            Err("COSTS has no role for x".to_owned())
        );
        assert_eq!(
            names(Orders, &["id", "at"], &[]),
            Err("ORDERS has no amount".to_owned())
        );
        assert_eq!(
            names(Orders, &["id", "at", "at", "amount"], &[]),
            Err("column \"at\" is given more than once".to_owned())
        );
    }
}
