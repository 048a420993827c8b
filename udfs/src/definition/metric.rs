//! The metric dictionary: what each number is called in English and Chinese, and how it is counted.
//!
//! A built-in metric is counted over rows of [`journey_stages`](crate::table::journey_stages) with what the
//! funnel's other sources say about each of them; [`stage_metrics`](crate::table::stage_metrics) makes those
//! rows. A company's own metric is an expression over `journeys`, kept as a [`MetricDefinition`].

use std::fmt;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
};
use serde::{Deserialize, Serialize};

use super::related::RelatedKind;
use super::resolve::parse_expression;
use super::text::{identifier, literal, written};
use crate::error::{FunnelError, Kind};

/// A metric that every funnel has, as far as its sources allow.
#[derive(Debug)]
pub struct Metric {
    /// Its name in SQL.
    pub name: &'static str,
    /// What it is called.
    pub names: Words,
    /// What it says.
    pub text: Words,
    /// What it is measured in.
    pub unit: Unit,
    /// At which stages there is one.
    pub at: At,
    /// How it is counted.
    pub formula: Formula,
    /// What the definition needs for it beside the stages.
    pub needs: Option<Needs>,
}

/// A text in two languages.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // each is its language
pub struct Words {
    pub en: &'static str,
    pub zh: &'static str,
}

/// What a metric is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A share from 0 to 1.
    Rate,
    /// A number of things.
    Count,
    /// Hours.
    Hours,
    /// Days of 24 hours.
    Days,
    /// The source's currency.
    Money,
    /// A number for each day.
    PerDay,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::Rate => "rate",
            Unit::Count => "count",
            Unit::Hours => "hours",
            Unit::Days => "days",
            Unit::Money => "money",
            Unit::PerDay => "per day",
        })
    }
}

/// At which stages a metric is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Each.
    Each,
    /// Each that another one follows.
    EachButLast,
    /// The first.
    First,
    /// The last.
    Last,
    /// The one with that part in a sale, where there is one.
    Role(StageRole),
    /// The one before it.
    Before(StageRole),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Each => f.write_str("each"),
            At::EachButLast => f.write_str("each but the last"),
            At::First => f.write_str("first"),
            At::Last => f.write_str("last"),
            At::Role(role) => f.write_str(role.names()[0]),
            At::Before(role) => write!(f, "before {}", role.names()[0]),
        }
    }
}

/// The part that a stage plays in a sale, told by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // each is its name
pub enum StageRole {
    Activated,
    Qualified,
    Proposed,
    Negotiating,
}

impl StageRole {
    /// The names that stages of this part go by, in lower case.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Activated => &[
                "activated",
                "activation",
                "nurtured",
                "contacted",
                "线索激活",
                "线索培育",
                "激活",
            ],
            Self::Qualified => &[
                "qualified",
                "qualification",
                "need confirmed",
                "need_confirmed",
                "需求确认",
            ],
            Self::Proposed => &[
                "proposed",
                "proposal",
                "quoted",
                "方案沟通",
                "方案报价",
                "方案",
            ],
            Self::Negotiating => &["negotiating", "negotiation", "商务谈判", "谈判"],
        }
    }
}

/// How a metric is counted, as SQL over the rows of one stage.
#[derive(Debug, Clone, Copy)]
pub enum Formula {
    /// The rows that meet a condition.
    Count(&'static str),
    /// Rows that meet a condition, of those that meet another.
    Rate {
        /// The numerator's condition.
        k: &'static str,
        /// The denominator's condition.
        n: &'static str,
    },
    /// The sum of one column, of the sum of another: a share of things that aren't journeys.
    RateOfSums {
        /// The numerator's column.
        k: &'static str,
        /// The denominator's column.
        n: &'static str,
    },
    /// An aggregate.
    Measure(&'static str),
    /// The costs of the period for each row.
    CostPerRow,
}

/// What a metric needs beside the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// A source, and a column of it where not every one has that.
    Related(RelatedKind, Option<&'static str>),
    /// A dimension of that name.
    Dimension(&'static str),
}

const PASSED: Formula = Formula::Rate {
    k: "mature AND stage_outcome = 'passed'",
    n: "mature",
};

/// For how many days after a journey was won further orders count as its success.
pub const AFTER_WON_DAYS: u32 = 180;

const FOLLOWUPS: Option<Needs> = Some(Needs::Related(RelatedKind::Followups, None));

/// Every built-in metric, in the order in which a stage shows them.
pub const METRICS: [Metric; 22] = [
    Metric {
        name: "volume",
        names: Words {
            en: "Volume",
            zh: "数量",
        },
        text: Words {
            en: "Journeys that reached the stage.",
            zh: "到达该阶段的线索（商机）数量。",
        },
        unit: Unit::Count,
        at: At::Each,
        formula: Formula::Count("true"),
        needs: None,
    },
    Metric {
        name: "pass_rate",
        names: Words {
            en: "Pass rate",
            zh: "通过率",
        },
        text: Words {
            en: "Of the mature journeys that reached the stage, the share that reached a later one.",
            zh: "到达该阶段且观察期已满的线索中，进入后续阶段的比例。",
        },
        unit: Unit::Rate,
        at: At::EachButLast,
        formula: PASSED,
        needs: None,
    },
    Metric {
        name: "activation_rate",
        names: Words {
            en: "Activation rate",
            zh: "激活率",
        },
        text: Words {
            en: "The pass rate of the stage before activation.",
            zh: "激活之前一阶段的通过率：被激活的线索占比。",
        },
        unit: Unit::Rate,
        at: At::Before(StageRole::Activated),
        formula: PASSED,
        needs: None,
    },
    Metric {
        name: "qualified_share",
        names: Words {
            en: "Qualified share",
            zh: "有效需求占比",
        },
        text: Words {
            en: "Of the mature leads, the share whose need was confirmed.",
            zh: "观察期已满的线索中，需求得到确认的比例。",
        },
        unit: Unit::Rate,
        at: At::First,
        formula: Formula::Rate {
            k: "mature AND reached_qualified",
            n: "mature AND reached_qualified IS NOT NULL",
        },
        needs: None,
    },
    Metric {
        name: "proposal_pass_rate",
        names: Words {
            en: "Proposal pass rate",
            zh: "方案通过率",
        },
        text: Words {
            en: "The pass rate of the proposal stage.",
            zh: "方案沟通阶段的通过率。",
        },
        unit: Unit::Rate,
        at: At::Role(StageRole::Proposed),
        formula: PASSED,
        needs: None,
    },
    Metric {
        name: "negotiation_success_rate",
        names: Words {
            en: "Negotiation success rate",
            zh: "谈判成功率",
        },
        text: Words {
            en: "The pass rate of the negotiation stage.",
            zh: "商务谈判阶段的通过率。",
        },
        unit: Unit::Rate,
        at: At::Role(StageRole::Negotiating),
        formula: PASSED,
        needs: None,
    },
    Metric {
        name: "win_rate",
        names: Words {
            en: "Win rate",
            zh: "成交率",
        },
        text: Words {
            en: "Of the mature leads, the share that reached the last stage.",
            zh: "观察期已满的线索中，最终成交的比例。",
        },
        unit: Unit::Rate,
        at: At::First,
        formula: Formula::Rate {
            k: "mature AND status = 'won'",
            n: "mature",
        },
        needs: None,
    },
    Metric {
        name: "high_intent_share",
        names: Words {
            en: "High-intent share",
            zh: "高意向线索占比",
        },
        text: Words {
            en: "Of the leads whose intent is known, the share that is high.",
            zh: "意向已知的线索中，高意向线索的比例。",
        },
        unit: Unit::Rate,
        at: At::First,
        formula: Formula::Rate {
            k: "high_intent",
            n: "high_intent IS NOT NULL",
        },
        needs: Some(Needs::Dimension("high_intent")),
    },
    Metric {
        name: "cost_per_lead",
        names: Words {
            en: "Cost per lead",
            zh: "获客成本",
        },
        text: Words {
            en: "The costs of the period for each new lead of it.",
            zh: "期间投入成本 ÷ 期间新增线索数。",
        },
        unit: Unit::Money,
        at: At::First,
        formula: Formula::CostPerRow,
        needs: Some(Needs::Related(RelatedKind::Costs, None)),
    },
    Metric {
        name: "response_hours",
        names: Words {
            en: "Response time",
            zh: "响应速度",
        },
        text: Words {
            en: "Kaplan-Meier median of the hours from the start to the first follow-up (without FOLLOWUPS: to the second stage); leads that still wait are censored.",
            zh: "从线索产生到首次跟进（未定义 FOLLOWUPS 时：到第二阶段）的小时数中位数（Kaplan-Meier，未响应按删失处理）。",
        },
        unit: Unit::Hours,
        at: At::First,
        formula: Formula::Measure(
            "survival_quantile(life_table(response_hours, response_outcome), 0.5)",
        ),
        needs: None,
    },
    Metric {
        name: "stage_days",
        names: Words {
            en: "Time in stage",
            zh: "阶段停留时间",
        },
        text: Words {
            en: "Kaplan-Meier median of the days in the stage until it is left, by passing or by loss; journeys still in it are censored.",
            zh: "在该阶段停留天数的中位数（Kaplan-Meier，尚未离开的按删失处理）。",
        },
        unit: Unit::Days,
        at: At::EachButLast,
        formula: Formula::Measure("survival_quantile(life_table(stage_days, stage_outcome), 0.5)"),
        needs: None,
    },
    Metric {
        name: "cycle_days",
        names: Words {
            en: "Sales cycle",
            zh: "成交周期",
        },
        text: Words {
            en: "Days from the start by which half of those that will win have won: Aalen-Johansen, open deals censored, lost ones competing.",
            zh: "最终成交者中有一半已成交所需的天数（Aalen-Johansen，进行中按删失、流失按竞争结局处理）。",
        },
        unit: Unit::Days,
        at: At::First,
        formula: Formula::Measure(
            "incidence_quantile(life_table(cycle_days, cycle_outcome), 0.5 * incidence_curve(life_table(cycle_days, cycle_outcome))[-1]['cif_won'])",
        ),
        needs: None,
    },
    Metric {
        name: "mean_days_of_won",
        names: Words {
            en: "Mean days of won deals",
            zh: "已成交平均天数",
        },
        text: Words {
            en: "The plain mean over won deals only: too short while many are open.",
            zh: "仅对已成交商机求平均：进行中商机较多时偏短。",
        },
        unit: Unit::Days,
        at: At::First,
        formula: Formula::Measure("avg(CASE WHEN status = 'won' THEN cycle_days END)"),
        needs: None,
    },
    Metric {
        name: "order_value",
        names: Words {
            en: "Order value",
            zh: "订单金额",
        },
        text: Words {
            en: "The mean value of won journeys.",
            zh: "成交商机的平均金额。",
        },
        unit: Unit::Money,
        at: At::Last,
        formula: Formula::Measure("avg(value)"),
        needs: None,
    },
    Metric {
        name: "amount",
        names: Words {
            en: "Amount",
            zh: "金额合计",
        },
        text: Words {
            en: "The value of the journeys that reached the stage.",
            zh: "到达该阶段的商机金额合计。",
        },
        unit: Unit::Money,
        at: At::Each,
        formula: Formula::Measure("sum(value)"),
        needs: None,
    },
    Metric {
        name: "follow_up_rate",
        names: Words {
            en: "Follow-up rate",
            zh: "跟进率",
        },
        text: Words {
            en: "The share of the stage's journeys that were followed up while they were in it.",
            zh: "在该阶段期间至少被跟进一次的线索比例。",
        },
        unit: Unit::Rate,
        at: At::EachButLast,
        formula: Formula::Rate {
            k: "followups > 0",
            n: "true",
        },
        needs: FOLLOWUPS,
    },
    Metric {
        name: "effective_contact_rate",
        names: Words {
            en: "Effective-contact rate",
            zh: "有效互动率",
        },
        text: Words {
            en: "The share of the stage's follow-ups that were effective.",
            zh: "该阶段跟进中有效互动的比例。",
        },
        unit: Unit::Rate,
        at: At::EachButLast,
        formula: Formula::RateOfSums {
            k: "effective_followups",
            n: "followups",
        },
        needs: Some(Needs::Related(RelatedKind::Followups, Some("effective"))),
    },
    Metric {
        name: "contacts_per_open_day",
        names: Words {
            en: "Contacts per open day",
            zh: "沟通频率",
        },
        text: Words {
            en: "Follow-ups for each day that a journey spent in the stage.",
            zh: "该阶段内平均每个停留日的跟进次数。",
        },
        unit: Unit::PerDay,
        at: At::EachButLast,
        formula: Formula::Measure(
            "CASE WHEN sum(stage_days) > 0 THEN sum(followups) / sum(stage_days) END",
        ),
        needs: FOLLOWUPS,
    },
    Metric {
        name: "deep_contacts",
        names: Words {
            en: "Deep contacts",
            zh: "深度互动次数",
        },
        text: Words {
            en: "Follow-ups in the stage of a depth of 3 or more.",
            zh: "该阶段内深度为 3 及以上的跟进次数。",
        },
        unit: Unit::Count,
        at: At::EachButLast,
        formula: Formula::Measure("CAST(sum(deep_followups) AS double precision)"),
        needs: Some(Needs::Related(RelatedKind::Followups, Some("depth"))),
    },
    Metric {
        name: "negotiation_days",
        names: Words {
            en: "Negotiation cycle",
            zh: "谈判周期",
        },
        text: Words {
            en: "The time in stage of the negotiation.",
            zh: "商务谈判阶段的停留时间。",
        },
        unit: Unit::Days,
        at: At::Role(StageRole::Negotiating),
        formula: Formula::Measure("survival_quantile(life_table(stage_days, stage_outcome), 0.5)"),
        needs: None,
    },
    Metric {
        name: "repurchase_rate",
        names: Words {
            en: "Repurchase rate",
            zh: "复购率",
        },
        text: Words {
            en: "Of the customers won at least 180 days ago, the share that ordered again within 180 days.",
            zh: "成交满 180 天的客户中，180 天内再次下单的比例。",
        },
        unit: Unit::Rate,
        at: At::Last,
        formula: Formula::Rate {
            k: "watched_after_won AND ordered_again",
            n: "watched_after_won",
        },
        needs: Some(Needs::Related(RelatedKind::Orders, None)),
    },
    Metric {
        name: "referral_rate",
        names: Words {
            en: "Referral rate",
            zh: "推荐率",
        },
        text: Words {
            en: "Of the customers won at least 180 days ago, the share that referred another within 180 days.",
            zh: "成交满 180 天的客户中，180 天内带来转介绍的比例。",
        },
        unit: Unit::Rate,
        at: At::Last,
        formula: Formula::Rate {
            k: "watched_after_won AND referred",
            n: "watched_after_won",
        },
        needs: Some(Needs::Related(RelatedKind::Orders, Some("referred_by"))),
    },
];

impl Metric {
    /// The metric of that name.
    pub fn find(name: &str) -> Option<&'static Metric> {
        METRICS.iter().find(|metric| metric.name == name)
    }

    /// Numerator and denominator as SQL, where it is a ratio.
    pub fn parts(&self) -> Option<(String, String)> {
        let counted = |condition: &str| match condition {
            "true" => "count(*)".to_owned(),
            condition => format!("count(*) FILTER (WHERE {condition})"),
        };
        match self.formula {
            Formula::Rate { k, n } => Some((counted(k), counted(n))),
            Formula::RateOfSums { k, n } => Some((format!("sum({k})"), format!("sum({n})"))),
            Formula::CostPerRow => Some(("sum(cost)".to_owned(), "count(*)".to_owned())),
            Formula::Count(_) | Formula::Measure(_) => None,
        }
    }

    /// The whole formula as SQL.
    pub fn formula(&self) -> String {
        match (self.formula, self.parts()) {
            (_, Some((numerator, denominator))) => format!("{numerator} / {denominator}"),
            (Formula::Count("true"), None) => "count(*)".to_owned(),
            (Formula::Count(condition), None) => format!("count(*) FILTER (WHERE {condition})"),
            (Formula::Measure(measure), None) => measure.to_owned(),
            _ => String::new(),
        }
    }

    /// The clause of `CREATE FUNNEL` that brings what it needs.
    pub fn clause(&self) -> Option<String> {
        self.needs.map(|needs| match needs {
            Needs::Related(kind, _) => kind.example().to_owned(),
            Needs::Dimension(name) => format!("DIMENSIONS (… AS {name})"),
        })
    }
}

/// A company's own metric: `CREATE METRIC big_wins ON sales AS count(*) FILTER (WHERE …) / count(*)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricDefinition {
    /// Its name.
    pub name: String,
    /// From 1; each definition that replaces another is the next.
    pub version: u32,
    /// The funnel whose journeys it is counted over.
    pub funnel: String,
    /// An aggregate over the columns of `journeys(…, steps => true)`, as SQL.
    pub expression: String,
    /// What it is measured in.
    #[serde(default)]
    pub unit: Option<String>,
    /// What it is called in English.
    #[serde(default)]
    pub name_en: Option<String>,
    /// What it is called in Chinese.
    #[serde(default)]
    pub name_zh: Option<String>,
    /// What it says, in English.
    #[serde(default)]
    pub description_en: Option<String>,
    /// What it says, in Chinese.
    #[serde(default)]
    pub description_zh: Option<String>,
    /// Who answers for it.
    #[serde(default)]
    pub owner: Option<String>,
    /// The first day that it holds for.
    #[serde(default)]
    pub valid_from: Option<String>,
    /// The last day that it holds for.
    #[serde(default)]
    pub valid_to: Option<String>,
}

/// That there is no metric of that name; `own` are those that are defined.
pub fn unknown_metric(name: &str, own: &[String]) -> FunnelError {
    let built_in = METRICS.iter().map(|metric| metric.name.to_owned());
    FunnelError::Unknown {
        kind: Kind::Metric,
        name: name.to_owned(),
        place: String::new(),
        existing: built_in.chain(own.iter().cloned()).collect(),
    }
}

/// The conditions of a rate's numerator and denominator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateParts {
    /// The condition of the rows above; `true` for all.
    pub k: String,
    /// The condition of the rows below.
    pub n: String,
}

impl MetricDefinition {
    /// The options of `WITH (…)`, in the order of their documentation.
    pub const OPTIONS: [&'static str; 8] = [
        "unit",
        "name_en",
        "name_zh",
        "description_en",
        "description_zh",
        "owner",
        "valid_from",
        "valid_to",
    ];

    /// The place of an option's value.
    pub fn option(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "unit" => &mut self.unit,
            "name_en" => &mut self.name_en,
            "name_zh" => &mut self.name_zh,
            "description_en" => &mut self.description_en,
            "description_zh" => &mut self.description_zh,
            "owner" => &mut self.owner,
            "valid_from" => &mut self.valid_from,
            "valid_to" => &mut self.valid_to,
            _ => return None,
        })
    }

    /// Numerator and denominator, where the expression is one count over another: then it is a rate with an
    /// interval, whose rows can be listed. Casts, parentheses and `nullif(…, 0)` around the counts don't matter.
    pub fn rate(&self) -> Option<RateParts> {
        let expression = parse_expression(&self.expression).ok()?;
        match bare(&expression) {
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Divide,
                right,
            } => Some(RateParts {
                k: counted(left)?,
                n: counted(right)?,
            }),
            _ => None,
        }
    }
}

/// An expression without what doesn't change which rows it counts.
fn bare(expression: &Expr) -> &Expr {
    match expression {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => bare(inner),
        Expr::Function(function) if is_called(function, "nullif") => {
            match arguments(function).as_slice() {
                [first, _] => bare(first),
                _ => expression,
            }
        }
        // `1.0 * count(*)`, to get around the division of integers.
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Multiply,
            right,
        } if is_one(left) => bare(right),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Multiply,
            right,
        } if is_one(right) => bare(left),
        other => other,
    }
}

fn is_one(expression: &Expr) -> bool {
    matches!(expression, Expr::Value(value) if value.value.to_string().parse::<f64>().ok() == Some(1.0))
}

/// The condition of the rows that a `count` counts.
fn counted(expression: &Expr) -> Option<String> {
    let Expr::Function(function) = bare(expression) else {
        return None;
    };
    let all = matches!(
        &function.args,
        FunctionArguments::List(list) if matches!(
            list.args.as_slice(),
            [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]
        ) && list.duplicate_treatment.is_none()
    );
    if !is_called(function, "count") || !all || function.over.is_some() {
        return None;
    }
    Some(match &function.filter {
        Some(condition) => written(condition.as_ref()),
        None => "true".to_owned(),
    })
}

fn is_called(function: &Function, name: &str) -> bool {
    function.name.to_string().eq_ignore_ascii_case(name)
}

fn arguments(function: &Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &function.args else {
        return Vec::new();
    };
    list.args
        .iter()
        .filter_map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
            _ => None,
        })
        .collect()
}

impl fmt::Display for MetricDefinition {
    /// Writes `CREATE METRIC …`, so that running it gives an equal definition of version 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CREATE METRIC {} ON {} AS {}",
            identifier(&self.name),
            identifier(&self.funnel),
            self.expression
        )?;
        let mut definition = self.clone();
        let options: Vec<String> = Self::OPTIONS
            .iter()
            .filter_map(|name| {
                let value = definition.option(name)?.clone()?;
                Some(format!("{name} = {}", literal(&value)))
            })
            .collect();
        if !options.is_empty() {
            write!(f, "\nWITH (\n  {}\n)", options.join(",\n  "))?;
        }
        f.write_str(";")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(expression: &str) -> Option<(String, String)> {
        let definition = MetricDefinition {
            name: "m".to_owned(),
            version: 1,
            funnel: "f".to_owned(),
            expression: expression.to_owned(),
            unit: None,
            name_en: None,
            name_zh: None,
            description_en: None,
            description_zh: None,
            owner: None,
            valid_from: None,
            valid_to: None,
        };
        definition.rate().map(|parts| (parts.k, parts.n))
    }

    #[test]
    fn one_count_over_another_is_a_rate() {
        let found = |k: &str, n: &str| Some((k.to_owned(), n.to_owned()));
        assert_eq!(
            rate("count(*) FILTER (WHERE status = 'won') / count(*)"),
            found("status = 'won'", "true")
        );
        assert_eq!(
            rate(
                "(1.0 * count(*) FILTER (WHERE a))::float8 / nullif(COUNT(*) FILTER (WHERE a OR b), 0)"
            ),
            found("a", "a OR b")
        );
        for other in [
            "count(*)",
            "count(DISTINCT owner) / count(*)",
            "count(owner) / count(*)",
            "sum(value) / count(*)",
            "count(*) - count(*)",
        ] {
            assert_eq!(rate(other), None, "{other}");
        }
    }

    #[test]
    fn names_are_given_once() {
        for (at, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[..at].iter().all(|other| other.name != metric.name
                && other.names.en != metric.names.en
                && other.names.zh != metric.names.zh));
        }
    }
}
