//! Ready-made funnels: the stages of a B2B sale, matched to a source by what its columns are called.
//!
//! A template knows the names that each thing goes by in English and in Chinese. What it can't find in
//! the source it asks for, by the clause to write; a clause that is written always wins.

use super::model::{
    Counting, Dimension, FunnelDefinition, Interval, LostDefinition, Source, StageDefinition,
};
use super::related::RelatedDefinition;
use super::text::{identifier, literal};
use crate::error::{FunnelError, Kind};

/// The clauses of a funnel as they were written; what is absent may come from a template.
#[derive(Debug, Clone, Default)]
pub struct FunnelBody {
    /// `ENTITY`.
    pub entity: Option<String>,
    /// `TIME`.
    pub time: Option<String>,
    /// `STAGE`, in order.
    pub stages: Vec<StageDefinition>,
    /// `LOST`.
    pub lost: Option<LostDefinition>,
    /// `VALUE`.
    pub value: Option<String>,
    /// `OWNER`.
    pub owner: Option<String>,
    /// `DIMENSIONS`.
    pub dimensions: Option<Vec<Dimension>>,
    /// `WINDOW`.
    pub window: Option<Interval>,
    /// `ORDER`.
    pub counting: Option<Counting>,
    /// `COSTS`, `FOLLOWUPS` and the like.
    pub related: Vec<RelatedDefinition>,
}

impl FunnelBody {
    /// The definition that these clauses make by themselves.
    pub fn into_definition(self, name: String, source: Source) -> FunnelDefinition {
        FunnelDefinition {
            name,
            source,
            entity: self.entity.unwrap_or_default(),
            time: self.time,
            stages: self.stages,
            lost: self.lost,
            value: self.value,
            owner: self.owner,
            dimensions: self.dimensions.unwrap_or_default(),
            window: self.window,
            counting: self.counting.unwrap_or_default(),
            related: self.related,
            comment: None,
        }
    }
}

/// One stage of a template: its name, and the values that mark it in a source.
struct TemplateStage {
    name: &'static str,
    values: &'static [&'static str],
    within: Option<&'static str>,
}

const fn stage(
    name: &'static str,
    values: &'static [&'static str],
    within: Option<&'static str>,
) -> TemplateStage {
    TemplateStage {
        name,
        values,
        within,
    }
}

/// A ready-made funnel.
pub struct Template {
    /// Its name in `FROM TEMPLATE`.
    pub name: &'static str,
    stages: &'static [TemplateStage],
    window: &'static str,
}

/// Every template, by the order of its documentation.
pub const TEMPLATES: [Template; 2] = [
    // 线索获取 → 线索激活 → 需求确认 → 方案沟通 → 商务谈判 → 成交转化
    Template {
        name: "b2b_sales",
        stages: &[
            stage("acquired", &["lead_created", "线索获取"], None),
            stage(
                "activated",
                &["first_contact", "线索激活"],
                Some("24 hours"),
            ),
            stage("qualified", &["need_confirmed", "需求确认"], None),
            stage("proposed", &["proposal_sent", "方案沟通"], None),
            stage("negotiating", &["negotiation", "商务谈判"], None),
            stage("won", &["contract_signed", "成交转化"], None),
        ],
        window: "180 days",
    },
    // 线索获取 → 线索培育 → 需求确认 → 方案报价 → 成交签约 → 复购/裂变
    Template {
        name: "b2b_sales_repeat",
        stages: &[
            stage("acquired", &["lead_created", "线索获取"], None),
            stage(
                "nurtured",
                &["first_contact", "activated", "线索培育", "线索激活"],
                Some("24 hours"),
            ),
            stage("qualified", &["need_confirmed", "需求确认"], None),
            stage(
                "quoted",
                &["proposal_sent", "proposed", "方案报价", "方案沟通"],
                None,
            ),
            stage("won", &["contract_signed", "成交签约", "成交转化"], None),
            stage(
                "repurchased",
                &["repeat_order", "referred", "复购/裂变", "复购", "裂变"],
                None,
            ),
        ],
        window: "365 days",
    },
];

const LOST_VALUES: &[&str] = &["lost", "closed_lost", "流失"];
const ENTITY_COLUMNS: &[&str] = &[
    "lead_id",
    "deal_id",
    "opportunity_id",
    "customer_id",
    "线索编号",
    "客户编号",
];
const TIME_COLUMNS: &[&str] = &[
    "occurred_at",
    "entered_at",
    "event_time",
    "at",
    "ts",
    "时间",
    "发生时间",
];
const STAGE_COLUMNS: &[&str] = &["event", "stage", "event_name", "stage_name", "阶段", "事件"];
const REASON_COLUMNS: &[&str] = &["lost_reason", "reason", "流失原因"];
const VALUE_COLUMNS: &[&str] = &["amount", "value", "deal_value", "close_value", "金额"];
const OWNER_COLUMNS: &[&str] = &["owner", "sales_agent", "负责人"];
const DIMENSION_COLUMNS: &[&str] = &[
    "channel",
    "region",
    "industry",
    "company_size",
    "campaign",
    "渠道",
    "地区",
    "行业",
];

/// The template of that name.
///
/// # Errors
/// 42704 with the nearest name.
pub fn find(name: &str) -> Result<&'static Template, FunnelError> {
    TEMPLATES
        .iter()
        .find(|template| template.name == name)
        .ok_or_else(|| FunnelError::Unknown {
            kind: Kind::Template,
            name: name.to_owned(),
            place: String::new(),
            existing: TEMPLATES
                .iter()
                .map(|template| template.name.to_owned())
                .collect(),
        })
}

impl Template {
    /// Fills the clauses that `body` leaves out from the names of the source's columns.
    ///
    /// # Errors
    /// 42P17 naming the first clause that has to be written because no column fits it.
    pub fn fill(
        &self,
        mut body: FunnelBody,
        columns: &[String],
    ) -> Result<FunnelBody, FunnelError> {
        let find = |candidates: &[&str]| first(candidates, columns);
        if body.entity.is_none() {
            body.entity = Some(find(ENTITY_COLUMNS).ok_or_else(|| self.missing("ENTITY lead_id"))?);
        }
        if body.stages.is_empty() {
            self.fill_stages(&mut body, columns)?;
        }
        body.value = body.value.or_else(|| find(VALUE_COLUMNS));
        body.owner = body.owner.or_else(|| find(OWNER_COLUMNS));
        if body.dimensions.is_none() {
            body.dimensions = Some(found_dimensions(columns));
        }
        if body.window.is_none() {
            body.window = Some(Interval::parse(self.window)?);
        }
        Ok(body)
    }

    /// A wide table has a column for the date of each stage; anything else has one that names the stage.
    fn fill_stages(&self, body: &mut FunnelBody, columns: &[String]) -> Result<(), FunnelError> {
        let dates: Vec<Option<String>> = self
            .stages
            .iter()
            .map(|stage| dated_column(stage.name, columns))
            .collect();
        if dates.iter().all(Option::is_some) {
            body.stages = self
                .stages
                .iter()
                .zip(dates)
                .map(wide_stage)
                .collect::<Result<_, _>>()?;
            if let (None, Some(at)) = (&body.lost, dated_column("lost", columns)) {
                let reason = first(REASON_COLUMNS, columns);
                body.lost = Some(LostDefinition {
                    when: None,
                    at: Some(at),
                    reason,
                });
            }
            return Ok(());
        }
        let named = first(STAGE_COLUMNS, columns)
            .ok_or_else(|| self.missing("STAGE acquired WHEN …, and one for each stage"))?;
        if body.time.is_none() {
            let time =
                first(TIME_COLUMNS, columns).ok_or_else(|| self.missing("TIME occurred_at"))?;
            body.time = Some(time);
        }
        body.stages = self
            .stages
            .iter()
            .map(|stage| event_stage(stage, &named))
            .collect::<Result<_, _>>()?;
        if body.lost.is_none() {
            let when = Some(one_of(&named, LOST_VALUES));
            let reason = first(REASON_COLUMNS, columns);
            body.lost = Some(LostDefinition {
                when,
                at: None,
                reason,
            });
        }
        Ok(())
    }

    fn missing(&self, clause: &str) -> FunnelError {
        FunnelError::InvalidDefinition {
            message: format!("template {} finds no column for a clause", self.name),
            hint: format!("Add it yourself: ({clause})."),
        }
    }
}

fn first(candidates: &[&str], columns: &[String]) -> Option<String> {
    let found = candidates
        .iter()
        .find(|name| columns.iter().any(|column| column == *name));
    found.map(|name| identifier(name))
}

fn dated_column(stage: &str, columns: &[String]) -> Option<String> {
    let names = [
        format!("{stage}_at"),
        format!("{stage}_on"),
        format!("{stage}_date"),
    ];
    names
        .iter()
        .find(|name| columns.contains(name))
        .map(|name| identifier(name))
}

fn found_dimensions(columns: &[String]) -> Vec<Dimension> {
    DIMENSION_COLUMNS
        .iter()
        .filter(|name| columns.iter().any(|column| column == *name))
        .map(|name| Dimension {
            name: (*name).to_owned(),
            expression: identifier(name),
        })
        .collect()
}

fn wide_stage(
    (stage, at): (&TemplateStage, Option<String>),
) -> Result<StageDefinition, FunnelError> {
    Ok(StageDefinition {
        name: stage.name.to_owned(),
        when: None,
        at,
        within: within(stage)?,
    })
}

fn event_stage(stage: &TemplateStage, column: &str) -> Result<StageDefinition, FunnelError> {
    let mut values = vec![stage.name];
    values.extend(stage.values);
    let when = Some(one_of(column, &values));
    Ok(StageDefinition {
        name: stage.name.to_owned(),
        when,
        at: None,
        within: within(stage)?,
    })
}

fn within(stage: &TemplateStage) -> Result<Option<Interval>, FunnelError> {
    stage.within.map(Interval::parse).transpose()
}

fn one_of(column: &str, values: &[&str]) -> String {
    let values: Vec<String> = values.iter().map(|value| literal(value)).collect();
    format!("{column} IN ({})", values.join(", "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_event_log_is_matched_by_its_columns() {
        let template = find("b2b_sales").unwrap();
        let source = columns(&[
            "lead_id",
            "occurred_at",
            "event",
            "channel",
            "amount",
            "lost_reason",
        ]);
        let body = template.fill(FunnelBody::default(), &source).unwrap();
        assert_eq!(body.entity.as_deref(), Some("lead_id"));
        assert_eq!(body.time.as_deref(), Some("occurred_at"));
        assert_eq!(body.stages.len(), 6);
        assert_eq!(
            body.stages[0].when.as_deref(),
            Some("event IN ('acquired', 'lead_created', '线索获取')")
        );
        assert_eq!(body.lost.unwrap().reason.as_deref(), Some("lost_reason"));
        assert_eq!(body.dimensions.unwrap()[0].name, "channel");
    }

    #[test]
    fn a_wide_table_is_matched_by_its_dates() {
        let template = find("b2b_sales").unwrap();
        let mut source = columns(&["deal_id", "lost_on"]);
        source.extend(
            template
                .stages
                .iter()
                .map(|stage| format!("{}_on", stage.name)),
        );
        let body = template.fill(FunnelBody::default(), &source).unwrap();
        assert_eq!(body.time, None);
        assert_eq!(body.stages[5].at.as_deref(), Some("won_on"));
        assert_eq!(body.lost.unwrap().at.as_deref(), Some("lost_on"));
    }

    #[test]
    fn what_is_missing_is_asked_for_by_its_clause() {
        let template = find("b2b_sales_repeat").unwrap();
        let error = template
            .fill(FunnelBody::default(), &columns(&["x"]))
            .unwrap_err();
        assert_eq!(error.code(), "42P17");
        assert!(error.hint().unwrap().contains("ENTITY"));
        assert_eq!(
            find("b2b_sale").err().unwrap().hint().unwrap(),
            "Perhaps you meant template \"b2b_sales\"."
        );
    }
}
