//! `loss_reasons('funnel')`: why deals are lost at each stage, how often, and whether that changes.
//!
//! A deal has the reason of its `LOST` clause, and any number of `LOSS_TAGS`. The shares of tags may come to more than 100 %, since
//! each deal counts for each of its tags; those of reasons come to 100 %.
//!
//! # Columns
//! - each column of `by`, and `segment`, as in [`stage_conversion`](super::stage_conversion)
//! - `stage` text: where the deals were lost, the furthest stage that they had reached
//! - `source` text: `reason` or `tag`; `reason` text: the reason or tag; NULL for deals that were lost without a reason
//! - `lost` bigint: the lost deals with it, `n` bigint: all lost deals of the segment and stage
//! - `share` = lost / n, with `lo` and `hi`, its 95 % Wilson interval
//! - `lost_amount` double precision: the value of these deals; `amount_share`: as a share of that of all of `n`
//! - `recent`, `recent_n`, `before`, `before_n` bigint: `lost` and `n` of two periods; `trend` = recent / recent_n - before / before_n,
//!   with `trend_lo` and `trend_hi`, Newcombe's 95 % interval. The periods are `current` and `base`, or without these the 90 days
//!   before `as_of` and the 90 days before them
//! - with `by`: `odds_ratio` double precision: how many times as high the odds of the reason are as in the other segments at the same
//!   stage, with `or_lo` and `or_hi` (½ added to each count, Haldane); else NULL
//! - `p` double precision: Fisher's exact test of that, or without `by` of the trend; `q`: adjusted for the number of rows (Benjamini
//!   and Hochberg): of the rows with `q` below 0.05, at most one in twenty is chance, on average
//! - `method` text: `haldane` or `newcombe`
//! - `status` text: `ok`; `one_group`: there is no other segment; `insufficient_history`: nothing was lost in one of the two periods;
//!   `no_data`: nothing was lost in `current`
//! - `decision` text: with `by`: `more_here`, `less_here`, `as_elsewhere`; else `rising`, `falling`, `steady`; or `status`
//! - `verdict` text: the same in a sentence
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill), `of => 'lost'`, `'recent'` or `'before'`
//!
//! Ordered by segment, stage, source, and most often first.
//!
//! # Arguments
//! those of [`journeys`](super::journeys) (`since` and `until` are about the start); `by`, as in
//! [`stage_conversion`](super::stage_conversion); `stage`: only that one;
//! `source`: `reason`, `tags`, or `both` (what the funnel has);
//! `current`, `base`: as `'2026-Q1'`: deals that were lost in `current` are counted, and compared with those of `base`;
//! `lang`: `en`, `zh`.
//!
//! Only losses that somebody recorded count (`status = 'lost'`): a deal whose window ended has no reason. A tag that has a stage
//! belongs to the deals that were lost at it. Cost: one pass over the journeys, another over the tags.

use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Call};
use super::cohort_cycle::stage_idx;
use super::compared::Compared;
use super::language::Language;
use super::population::Population;
use super::sql::{self, lines};
use super::wording::{count, name, percent, points, probability, quantity, ratio, verdict_column};
use crate::definition::metric::Words;
use crate::definition::related::RelatedKind;
use crate::definition::text::{identifier, literal};
use crate::error::FunnelError;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || call::arguments(&["by", "source", "current", "base", "lang"]),
    plan,
    population: Some(|arguments| Reasons::take(arguments)?.population()),
    info,
};

const NAME: &str = "loss_reasons";

/// The function's own columns.
const COLUMNS: [&str; 28] = [
    "segment",
    "stage",
    "source",
    "reason",
    "lost",
    "n",
    "share",
    "lo",
    "hi",
    "lost_amount",
    "amount_share",
    "recent",
    "recent_n",
    "before",
    "before_n",
    "trend",
    "trend_lo",
    "trend_hi",
    "odds_ratio",
    "or_lo",
    "or_hi",
    "p",
    "q",
    "method",
    "status",
    "decision",
    "verdict",
    "drill_key",
];

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, stage text DEFAULT NULL, by text DEFAULT NULL, source text DEFAULT 'both', current text DEFAULT NULL, \
             base text DEFAULT NULL, lang text DEFAULT 'en', {}",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description: "Why deals are lost at each stage, how often, and whether that changes."
            .to_owned(),
    }
}

/// Where a reason is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Reason,
    Tags,
    Both,
}

impl Source {
    const NAMES: [(&'static str, Source); 3] = [
        ("reason", Source::Reason),
        ("tags", Source::Tags),
        ("both", Source::Both),
    ];
}

/// One call's arguments.
struct Reasons {
    call: Call,
    stage: Option<String>,
    source: Source,
    compared: Option<Compared>,
    language: Language,
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let reasons = Reasons::take(arguments)?;
    let query = reasons.query()?;
    sql::plan(arguments, reasons.call.written(), &query)
}

impl Reasons {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        let source = arguments
            .take_choice("source", &Source::NAMES)?
            .unwrap_or(Source::Both);
        let language = Language::take(arguments)?;
        let compared = match arguments.peek("current").or(arguments.peek("base")) {
            Some(_) => Some(Compared::take(arguments, NAME)?),
            None => None,
        };
        // Over a query, `stage` names the column of the stages.
        let stage = match arguments.is_over_query() {
            true => None,
            false => arguments.take_text("stage")?,
        };
        let call = Call::take(arguments)?;
        arguments.look_at("stage");
        if let Some(stage) = &stage {
            stage_idx(&call, Some(stage))?;
        }
        Ok(Self {
            call,
            stage,
            source,
            compared,
            language,
        })
    }

    /// SQL that holds for the deals that are counted, for those of the later and of the earlier period.
    fn periods(&self) -> [String; 3] {
        match &self.compared {
            Some(compared) => {
                let current = compared.current.holds("ended_at");
                [current.clone(), current, compared.base.holds("ended_at")]
            }
            None => {
                let as_of = self.call.as_of();
                let since = |days: i32| format!("ended_at >= {as_of} - INTERVAL '{days} days'");
                [
                    "true".to_owned(),
                    since(90),
                    format!("{} AND ended_at < {as_of} - INTERVAL '90 days'", since(180)),
                ]
            }
        }
    }

    /// The lost deals.
    fn lost(&self) -> String {
        let mut conditions = vec!["status = 'lost'".to_owned()];
        conditions.extend(
            self.stage
                .iter()
                .map(|stage| format!("lost_stage = {}", literal(stage))),
        );
        conditions.extend(
            self.compared
                .iter()
                .map(|compared| compared.either("ended_at")),
        );
        format!(
            "(SELECT * FROM {} WHERE {}) AS lost",
            self.call.journeys(),
            conditions.join(" AND ")
        )
    }

    /// The lost deals, each as often as it has a reason or tag: `__source`, `__reason`.
    fn rows(&self) -> Result<String> {
        let reasons = format!(
            "SELECT lost.*, 'reason' AS __source, lost_reason AS __reason FROM {}",
            self.lost()
        );
        let tags = match self.source {
            Source::Reason => None,
            Source::Tags => Some(self.tags()?),
            Source::Both => match self.call.funnel.related(RelatedKind::LossTags) {
                Some(_) => Some(self.tags()?),
                None => None,
            },
        };
        let parts = match (self.source, tags) {
            (Source::Tags, Some(tags)) => tags,
            (_, Some(tags)) => format!("{reasons}\n    UNION ALL\n    {tags}"),
            (_, None) => reasons,
        };
        Ok(format!("(\n    {parts}\n  ) AS given"))
    }

    fn tags(&self) -> Result<String> {
        let funnel = &self.call.funnel;
        let name = &funnel.definition.name;
        let rows = match funnel.related(RelatedKind::LossTags) {
            Some(Ok(rows)) => rows,
            Some(Err(error)) => return Err(DataFusionError::Shared(error)),
            None => {
                return Err(FunnelError::NotDefined {
                    message: format!("funnel \"{name}\" has no LOSS_TAGS"),
                    hint: format!(
                        "Add a clause to its definition: {}.",
                        RelatedKind::LossTags.example()
                    ),
                }
                .into());
            }
        };
        let has_stage = rows.columns.iter().any(|(role, _)| role == "stage");
        let entity = identifier(&funnel.entity_name);
        let at_stage = match has_stage {
            true => " AND (tagged.stage IS NULL OR tagged.stage = lost.lost_stage)",
            false => "",
        };
        Ok(format!(
            "SELECT lost.*, 'tag' AS __source, tags.tag AS __reason FROM {lost}\n    JOIN (\n      \
             SELECT tagged.entity, tagged.tag FROM funnel_source({}, 'loss_tags', as_of => {}) AS tagged\n      \
             JOIN {lost} ON lost.{entity} = tagged.entity{at_stage}\n      \
             WHERE tagged.tag IS NOT NULL GROUP BY tagged.entity, tagged.tag\n    ) AS tags ON tags.entity = lost.{entity}",
            literal(name),
            self.call.as_of(),
            lost = self.lost(),
        ))
    }

    fn population(&self) -> Result<Population> {
        let [counted, recent, before] = self.periods();
        let mut cell = self.call.segments.cell();
        let own = [
            ("stage", "lost_stage"),
            ("source", "__source"),
            ("reason", "__reason"),
        ];
        cell.extend(own.map(|(name, column)| (name.to_owned(), column.to_owned())));
        Ok(Population {
            funnel: self.call.funnel(),
            rows: self.rows()?,
            of_stages: false,
            cell,
            parameters: Vec::new(),
            counts: vec![("lost", counted), ("recent", recent), ("before", before)],
        })
    }

    fn query(&self) -> Result<String> {
        let [counted, recent, before] = self.periods();
        let population = self.population()?;
        let segments = &self.call.segments;
        let filtered = |name: &str, condition: &str| match condition {
            "true" => format!("count(*) AS {name}"),
            condition => format!("count(*) FILTER (WHERE {condition}) AS {name}"),
        };
        let mut all = segments.projected();
        all.extend([
            "lost_stage".to_owned(),
            filtered("n", &counted),
            filtered("recent_n", &recent),
            filtered("before_n", &before),
            format!("sum(value) FILTER (WHERE {counted}) AS amount"),
        ]);
        let mut given = segments.projected();
        given.extend(["lost_stage", "__source", "__reason"].map(str::to_owned));
        given.extend(population.counted());
        given.push(format!(
            "sum(value) FILTER (WHERE {counted}) AS lost_amount"
        ));
        let groups = |own: &[&str]| {
            let own = own.iter().map(|name| (*name).to_owned());
            segments
                .columns()
                .into_iter()
                .chain(own)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut same: Vec<String> = segments
            .grouped()
            .iter()
            .map(|name| format!("(a.{name} IS NOT DISTINCT FROM g.{name})"))
            .collect();
        same.push("a.lost_stage = g.lost_stage".to_owned());
        let grouped = segments.grouped();
        let cell = |table: &str| -> Vec<String> {
            grouped
                .iter()
                .map(|name| format!("{table}.{name}"))
                .collect()
        };
        let mut order = grouped.clone();
        order.extend(["stage_no", "source DESC", "lost DESC", "reason"].map(str::to_owned));
        // A word of the deals' own reason comes before the tags.
        order.retain(|part| part != "source DESC");
        order.insert(grouped.len() + 1, "source".to_owned());
        let prefix = match grouped.is_empty() {
            true => String::new(),
            false => format!("{}, ", cell("g").join(", ")),
        };
        Ok(format!(
            "WITH lost_deals AS (\nSELECT\n{all}\nFROM {lost}\nGROUP BY {all_groups}\n),\n\
             given_reasons AS (\nSELECT\n{given}\nFROM {rows}\nGROUP BY {given_groups}\n),\n\
             cells AS (\n  SELECT {prefix}g.lost_stage AS stage, {stage_no} AS stage_no, g.__source AS source, g.__reason AS reason,\n         \
             g.lost, a.n, g.lost_amount, a.amount, g.recent, a.recent_n, g.before, a.before_n,\n         \
             a.of_stage - a.n AS other_n, sum(g.lost) OVER (PARTITION BY g.lost_stage, g.__source, g.__reason) - g.lost AS other_lost\n  \
             FROM given_reasons AS g\n  \
             JOIN (SELECT *, sum(n) OVER (PARTITION BY lost_stage) AS of_stage FROM lost_deals) AS a ON {same}\n),\n\
             tested AS (\n  SELECT *, {p} AS p, {estimate} AS odds, rate_diff_ci(recent, recent_n, before, before_n) AS change,\n         \
             {status} AS status\n  FROM cells\n),\n\
             adjusted AS (\n  SELECT *, p_adjust(p, 'bh') OVER () AS q FROM tested\n),\n\
             judged AS (\n  SELECT *, lost / CAST(nullif(n, 0) AS double precision) AS share, change['diff'] AS trend,\n         \
             {decision} AS decision\n  FROM adjusted\n)\n\
             SELECT\n{result}\nFROM judged\nORDER BY {order}",
            all = lines(&all),
            lost = self.lost(),
            all_groups = groups(&["lost_stage"]),
            given = lines(&given),
            rows = population.rows,
            given_groups = groups(&["lost_stage", "__source", "__reason"]),
            stage_no = self.stage_no(),
            same = same.join(" AND "),
            p = self.p(),
            estimate = match grouped.is_empty() {
                true => "CAST(NULL AS double precision)".to_owned(),
                false => "odds_ratio_ci(lost, n, other_lost, other_n, 0.95, 'haldane')".to_owned(),
            },
            status = self.status(),
            decision = self.decision(),
            result = lines(&self.result()),
            order = order.join(", "),
        ))
    }

    fn has_segments(&self) -> bool {
        !self.call.segments.names.is_empty()
    }

    /// SQL of a lost stage's place in the funnel.
    fn stage_no(&self) -> String {
        let names = self.call.funnel.stage_names();
        let cases = (1..)
            .zip(&names)
            .map(|(no, name)| format!("WHEN {} THEN {no}", literal(name)));
        format!(
            "CASE g.lost_stage {} END",
            cases.collect::<Vec<_>>().join(" ")
        )
    }

    fn p(&self) -> &'static str {
        match self.has_segments() {
            true => "fisher_p(lost, n, other_lost, other_n)",
            false => "fisher_p(recent, recent_n, before, before_n)",
        }
    }

    fn status(&self) -> &'static str {
        match self.has_segments() {
            true => {
                "CASE WHEN n = 0 THEN 'no_data' WHEN other_n = 0 THEN 'one_group' ELSE 'ok' END"
            }
            false => {
                "CASE WHEN n = 0 THEN 'no_data' WHEN recent_n = 0 OR before_n = 0 THEN 'insufficient_history' ELSE 'ok' END"
            }
        }
    }

    fn decision(&self) -> &'static str {
        match self.has_segments() {
            true => {
                "CASE WHEN status <> 'ok' THEN status WHEN q < 0.05 AND odds['odds_ratio'] > 1 THEN 'more_here' \
                 WHEN q < 0.05 THEN 'less_here' ELSE 'as_elsewhere' END"
            }
            false => {
                "CASE WHEN status <> 'ok' THEN status WHEN q < 0.05 AND change['diff'] > 0 THEN 'rising' \
                 WHEN q < 0.05 THEN 'falling' ELSE 'steady' END"
            }
        }
    }

    fn result(&self) -> Vec<String> {
        let segments = &self.call.segments;
        let odds = |part: &str| match self.has_segments() {
            true => format!("odds['{part}']"),
            false => "CAST(NULL AS double precision)".to_owned(),
        };
        let mut columns = segments.shown(&COLUMNS);
        columns.push(format!("{} AS segment", segments.text()));
        let counted = ["stage", "source", "reason", "lost", "n", "share"];
        columns.extend(counted.map(str::to_owned));
        columns.extend([
            "rate_lower(lost, n) AS lo".to_owned(),
            "rate_upper(lost, n) AS hi".to_owned(),
            "lost_amount".to_owned(),
            "CASE WHEN amount > 0 THEN coalesce(lost_amount, 0.0) / amount END AS amount_share"
                .to_owned(),
        ]);
        let trend = ["recent", "recent_n", "before", "before_n", "trend"];
        columns.extend(trend.map(str::to_owned));
        columns.extend([
            "change['lo'] AS trend_lo".to_owned(),
            "change['hi'] AS trend_hi".to_owned(),
            format!("{} AS odds_ratio", odds("odds_ratio")),
            format!("{} AS or_lo", odds("lo")),
            format!("{} AS or_hi", odds("hi")),
            "p".to_owned(),
            "q".to_owned(),
            format!(
                "{} AS method",
                literal(match self.has_segments() {
                    true => "haldane",
                    false => "newcombe",
                })
            ),
            "status".to_owned(),
            "decision".to_owned(),
            verdict_column(&self.verdict()),
            format!("{} AS drill_key", self.drill_key()),
        ]);
        columns
    }

    fn drill_key(&self) -> String {
        let source = Source::NAMES
            .iter()
            .find(|(_, source)| *source == self.source);
        let mut own = Vec::new();
        own.extend(source.map(|(name, _)| ("source", (*name).to_owned())));
        own.extend(self.compared.iter().flat_map(Compared::key));
        let mut pairs = own;
        pairs.extend(self.stage.clone().map(|stage| ("stage", stage)));
        let mut cell = self.call.segments.grouped_cell();
        cell.extend(["stage", "source", "reason"].map(|name| (name.to_owned(), name.to_owned())));
        self.call.drill_key(NAME, &pairs, &cell)
    }

    fn verdict(&self) -> String {
        let say = |words: Words, values: &[&str]| self.language.sql(words, values);
        let reason = name(
            "reason",
            &literal(self.language.of(Words {
                en: "no reason",
                zh: "（无原因）",
            })),
        );
        let where_lost = match self.has_segments() {
            false => "stage".to_owned(),
            true => format!("(stage || ' · ' || {})", self.call.segments.text()),
        };
        let kind = say(
            Words {
                en: "tag",
                zh: "标签",
            },
            &[],
        );
        let other_kind = say(
            Words {
                en: "reason",
                zh: "原因",
            },
            &[],
        );
        let share = say(
            Words {
                en: "Of the deals lost at {}, {} of {} have the {} {} ({}%, 95% interval {} to {}).",
                zh: "在 {} 流失的商机中，{} / {} 有{}“{}”（{}%，95% 区间 {} 到 {}）。",
            },
            &[
                &where_lost,
                &count("lost"),
                &count("n"),
                &format!("CASE source WHEN 'tag' THEN {kind} ELSE {other_kind} END"),
                &reason,
                &percent("share"),
                &percent("rate_lower(lost, n)"),
                &percent("rate_upper(lost, n)"),
            ],
        );
        let more = match self.has_segments() {
            true => self.compared_to_others(),
            false => self.compared_to_before(),
        };
        let nothing = say(
            Words {
                en: "{}: nothing was lost there in the current period.",
                zh: "{}：本期没有流失。",
            },
            &["stage"],
        );
        format!("CASE WHEN n = 0 THEN {nothing} ELSE {share} || {more} END")
    }

    fn compared_to_others(&self) -> String {
        let say = |words: Words, values: &[&str]| self.language.sql(words, values);
        let times = [
            ratio("odds['odds_ratio']"),
            ratio("odds['lo']"),
            ratio("odds['hi']"),
            probability("q"),
        ];
        let times: Vec<&str> = times.iter().map(String::as_str).collect();
        let beyond = say(
            Words {
                en: " The odds of it are {} times those of the other segments (95% interval {} to {}), which is beyond chance (q {}).",
                zh: "其几率是其他分组的 {} 倍（95% 区间 {} 到 {}），超出偶然（q {}）。",
            },
            &times,
        );
        let within = say(
            Words {
                en: " The odds of it are {} times those of the other segments (95% interval {} to {}), which may be chance (q {}).",
                zh: "其几率是其他分组的 {} 倍（95% 区间 {} 到 {}），可能只是偶然（q {}）。",
            },
            &times,
        );
        let alone = literal(self.language.of(Words {
            en: " There is no other segment to compare it with.",
            zh: "没有其他分组可比较。",
        }));
        format!(
            "CASE WHEN decision IN ('more_here', 'less_here') THEN {beyond} WHEN decision = 'one_group' THEN {alone} ELSE {within} END"
        )
    }

    fn compared_to_before(&self) -> String {
        let say = |words: Words, values: &[&str]| self.language.sql(words, values);
        let changed = [
            points("trend"),
            percent("recent / CAST(recent_n AS double precision)"),
            quantity("CAST(recent_n AS double precision)"),
            percent("before / CAST(before_n AS double precision)"),
            quantity("CAST(before_n AS double precision)"),
            probability("q"),
        ];
        let changed: Vec<&str> = changed.iter().map(String::as_str).collect();
        let rising = say(
            Words {
                en: " Its share rose by {} points, to {}% of {} from {}% of {}: beyond chance (q {}).",
                zh: "占比上升 {} 个百分点，现为 {}%（共 {} 个），此前 {}%（共 {} 个）：超出偶然（q {}）。",
            },
            &changed,
        );
        let falling = say(
            Words {
                en: " Its share fell by {} points, to {}% of {} from {}% of {}: beyond chance (q {}).",
                zh: "占比下降 {} 个百分点，现为 {}%（共 {} 个），此前 {}%（共 {} 个）：超出偶然（q {}）。",
            },
            &changed,
        );
        let steady = say(
            Words {
                en: " Against the period before, its share moved by {} points ({}% of {}, before {}% of {}), which may be chance (q {}).",
                zh: "与上一周期相比，占比变动 {} 个百分点（现 {}%，共 {} 个；此前 {}%，共 {} 个），可能只是偶然（q {}）。",
            },
            &changed,
        );
        let unknown = literal(self.language.of(Words {
            en: " Too little was lost before or since to tell a trend.",
            zh: "前后流失太少，看不出趋势。",
        }));
        format!(
            "CASE decision WHEN 'rising' THEN {rising} WHEN 'falling' THEN {falling} WHEN 'steady' THEN {steady} ELSE {unknown} END"
        )
    }
}
