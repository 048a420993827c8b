//! What the stages are held against: a common table expression `benchmarks` with `stage`, `benchmark`, `benchmark_se`,
//! `benchmark_source` and `status`, one row for each stage that has one.

use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, TableFactor};

use super::super::arguments::Arguments;
use super::super::call::Call;
use super::super::compared::Compared;
use super::super::segments::text_of;
use super::super::sql::lines;
use super::{Bottleneck, NAME};
use crate::definition::related::RelatedKind;
use crate::definition::text::{literal, written};
use crate::error::FunnelError;

/// What the stages are held against.
pub enum Benchmark {
    /// The funnel's targets.
    Target,
    /// The best of the segments of the call.
    BestSegment,
    /// The period before.
    Previous(Compared),
    /// The rows of a query.
    Table(Table),
}

/// A query with benchmarks, and which of its columns it has.
pub struct Table {
    query: String,
    has_n: bool,
    has_metric: bool,
    has_source: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Target,
    BestSegment,
    Previous,
    Table,
}

/// The arguments that say which one, before the funnel is known.
pub struct Given {
    kind: Kind,
    compared: Option<Compared>,
    table: Option<Table>,
}

fn wrong_call(message: &str, hint: &str) -> DataFusionError {
    FunnelError::WrongCall {
        message: message.to_owned(),
        hint: hint.to_owned(),
    }
    .into()
}

impl Given {
    /// Takes `benchmark`, `benchmarks`, `current` and `base`.
    ///
    /// # Errors
    /// 42883 for a benchmark without its argument, or an argument of another one.
    pub fn take(arguments: &mut Arguments) -> Result<Self> {
        let choices = [
            ("target", Kind::Target),
            ("best_segment", Kind::BestSegment),
            ("previous", Kind::Previous),
            ("table", Kind::Table),
        ];
        let chosen = arguments.take_choice("benchmark", &choices)?;
        let given = [
            ("benchmarks", Kind::Table),
            ("current", Kind::Previous),
            ("by", Kind::BestSegment),
        ]
        .into_iter()
        .find(|(name, _)| arguments.peek(name).is_some());
        let kind = chosen
            .or(given.map(|(_, kind)| kind))
            .unwrap_or(Kind::Target);
        for (name, of) in [
            ("benchmarks", Kind::Table),
            ("current", Kind::Previous),
            ("base", Kind::Previous),
            ("by", Kind::BestSegment),
        ] {
            if of != kind && arguments.peek(name).is_some() {
                return Err(wrong_call(
                    &format!("{name} of {NAME}() is of another benchmark"),
                    "Write benchmark => 'best_segment' with by, 'previous' with current and base, or 'table' with benchmarks; \
                     and where => for a part of the journeys.",
                ));
            }
        }
        let compared = match kind {
            Kind::Previous => Some(Compared::take(arguments, NAME)?),
            _ => None,
        };
        let table = match kind {
            Kind::Table => Some(Table::take(arguments)?),
            _ => None,
        };
        Ok(Self {
            kind,
            compared,
            table,
        })
    }

    /// The benchmark of this funnel.
    ///
    /// # Errors
    /// 42883 without segments, 42704 without targets.
    pub fn of(self, arguments: &mut Arguments, call: &Call) -> Result<Benchmark> {
        match (self.kind, self.compared, self.table) {
            (_, Some(compared), _) => Ok(Benchmark::Previous(compared)),
            (_, _, Some(table)) => Ok(Benchmark::Table(table)),
            (Kind::BestSegment, ..) if call.segments.names.is_empty() => {
                arguments.look_at("benchmark");
                Err(wrong_call(
                    &format!("{NAME}() needs by for the best segment"),
                    "Write benchmark => 'best_segment', by => 'region'.",
                ))
            }
            (Kind::BestSegment, ..) => Ok(Benchmark::BestSegment),
            _ => {
                check_targets(call)?;
                Ok(Benchmark::Target)
            }
        }
    }
}

/// Targets are of stages.
fn check_targets(call: &Call) -> Result<()> {
    let name = &call.funnel.definition.name;
    let hint = format!(
        "Add {} to its definition, or write benchmark => 'best_segment', by => 'region'.",
        RelatedKind::Targets.example()
    );
    match call.funnel.related(RelatedKind::Targets) {
        None => Err(FunnelError::NotDefined {
            message: format!("funnel \"{name}\" has no TARGETS"),
            hint,
        }
        .into()),
        Some(Err(error)) => Err(DataFusionError::Shared(error)),
        Some(Ok(rows)) if rows.columns.iter().all(|(role, _)| role != "stage") => {
            Err(FunnelError::NotDefined {
                message: format!("the TARGETS of funnel \"{name}\" have no stage"),
                hint,
            }
            .into())
        }
        Some(Ok(_)) => Ok(()),
    }
}

impl Table {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        let Some(given) = arguments.take("benchmarks") else {
            return Err(wrong_call(
                &format!("{NAME}() needs benchmarks for the benchmark \"table\""),
                "Write benchmarks => (SELECT stage, value FROM …).",
            ));
        };
        let SqlExpr::Subquery(query) = &given else {
            let wanted = "a query in parentheses with the columns stage and value";
            return Err(arguments.invalid("benchmarks", &given.to_string(), wanted));
        };
        let text = written(query);
        let plan = arguments.context().plan(TableFactor::Derived {
            lateral: false,
            subquery: query.clone(),
            alias: None,
            sample: None,
        })?;
        let has = |schema: &DFSchema, name: &str| {
            schema.fields().iter().any(|field| field.name() == name)
        };
        let schema = plan.schema();
        for name in ["stage", "value"] {
            if !has(schema, name) {
                let wanted = "a query with the columns stage and value";
                return Err(arguments.invalid(
                    "benchmarks",
                    &format!("a query without the column {name}"),
                    wanted,
                ));
            }
        }
        Ok(Self {
            query: text,
            has_n: has(schema, "n"),
            has_metric: has(schema, "metric"),
            has_source: has(schema, "source"),
        })
    }

    /// The rows of a metric, one for each stage, the highest value where there are several.
    fn rows(&self, metric: &str, se: &str) -> String {
        let of_metric = match self.has_metric {
            true => format!(
                "WHERE metric IS NULL OR CAST(metric AS text) = {}",
                literal(metric)
            ),
            false => String::new(),
        };
        let source = match self.has_source {
            true => "CAST(source AS text)",
            false => "'table'",
        };
        format!(
            "given_benchmarks AS (\n  {}\n),\nbenchmarks AS (\n  SELECT stage, benchmark, benchmark_se, benchmark_source, 'ok' AS status\n  \
             FROM (\n    SELECT *, row_number() OVER (PARTITION BY stage ORDER BY benchmark DESC, benchmark_source) AS choice\n    \
             FROM (\n      SELECT CAST(stage AS text) AS stage, CAST(value AS double precision) AS benchmark,\n             \
             {se} AS benchmark_se, {source} AS benchmark_source\n      FROM given_benchmarks {of_metric}\n    ) AS typed\n    \
             WHERE benchmark IS NOT NULL\n  ) AS chosen\n  WHERE choice = 1\n)",
            self.query
        )
    }
}

/// The standard error of `k` of `n`, never 0.
fn rate_error(k: &str, n: &str) -> String {
    format!("sqrt(({k} + 0.5) / ({n} + 1.0) * ({n} - {k} + 0.5) / ({n} + 1.0) / {n})")
}

const NO_ERROR: &str = "CAST(0.0 AS double precision)";

impl Benchmark {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Benchmark::Target => "target",
            Benchmark::BestSegment => "best_segment",
            Benchmark::Previous(_) => "previous",
            Benchmark::Table(_) => "table",
        }
    }

    /// The rates that the stages are held against.
    pub fn rates(&self, of: &Bottleneck) -> String {
        match self {
            Benchmark::Target => targets(&of.call, "pass_rate"),
            Benchmark::BestSegment => best_rates(of),
            Benchmark::Previous(compared) => format!(
                "benchmarks AS (\n  SELECT stage, k / CAST(n AS double precision) AS benchmark, {} AS benchmark_se,\n         \
                 {} AS benchmark_source, 'ok' AS status\n  FROM (\n    SELECT stage, {}\n    FROM {} GROUP BY stage\n  ) AS of_base\n  \
                 WHERE n > 0\n)",
                rate_error("k", "n"),
                literal(&compared.base.to_string()),
                of.population().counted().join(", "),
                of.rows_of(Some(compared.base.holds("started_at"))),
            ),
            Benchmark::Table(table) => {
                let se = match table.has_n {
                    true => "CASE WHEN n > 0 THEN sqrt(value * (1.0 - value) / n) ELSE 0.0 END",
                    false => NO_ERROR,
                };
                table.rows("pass_rate", se)
            }
        }
    }

    /// The days that the stages are held against.
    pub fn days(&self, of: &Bottleneck) -> String {
        let measured = |rows: &str, columns: &str| {
            format!(
                "SELECT {columns}, survival_rmst(life, {tau}) AS days, survival_rmst_se(life, {tau}) AS se\n    \
                 FROM (\n      SELECT {columns}, life_table(stage_days, stage_outcome) AS life FROM {rows}\n      \
                 WHERE stage_days IS NOT NULL GROUP BY {columns}\n    ) AS lives",
                tau = of.tau_sql(),
            )
        };
        match self {
            Benchmark::Target => targets(&of.call, "stage_days"),
            Benchmark::Previous(compared) => format!(
                "benchmarks AS (\n  SELECT stage, days AS benchmark, se AS benchmark_se, {} AS benchmark_source, 'ok' AS status\n  \
                 FROM (\n    {}\n  ) AS of_base\n  WHERE days IS NOT NULL\n)",
                literal(&compared.base.to_string()),
                measured(
                    &of.rows_of(Some(compared.base.holds("started_at"))),
                    "stage"
                ),
            ),
            Benchmark::Table(table) => table.rows("stage_days", NO_ERROR),
            Benchmark::BestSegment => {
                let columns = [vec!["stage".to_owned()], of.call.segments.columns()].concat();
                let segment = text_of(&of.call.segments.columns());
                format!(
                    "benchmarks AS (\n  SELECT stage, benchmark, benchmark_se, benchmark_source,\n         \
                     CASE WHEN segments > 1 THEN 'ok' ELSE 'one_group' END AS status\n  FROM (\n    \
                     SELECT stage, days + 1.959963984540054 * se AS benchmark, se AS benchmark_se, {segment} AS benchmark_source,\n           \
                     count(*) OVER (PARTITION BY stage) AS segments,\n           \
                     row_number() OVER (PARTITION BY stage ORDER BY days + 1.959963984540054 * se, {segment}) AS choice\n    \
                     FROM (\n    {}\n    ) AS of_segments\n    WHERE days IS NOT NULL\n  ) AS ranked\n  WHERE choice = 1\n)",
                    measured(&of.rows(), &columns.join(", ")),
                )
            }
        }
    }
}

/// The newest target of a metric for each stage.
fn targets(call: &Call, metric: &str) -> String {
    let has_since = match call.funnel.related(RelatedKind::Targets) {
        Some(Ok(rows)) => rows.columns.iter().any(|(role, _)| role == "since"),
        _ => false,
    };
    let (known, newest) = match has_since {
        true => (
            format!(
                " AND (since IS NULL OR since <= CAST(to_local_time({}) AS date))",
                call.as_of()
            ),
            "since DESC NULLS LAST, ",
        ),
        false => (String::new(), ""),
    };
    format!(
        "benchmarks AS (\n  SELECT stage, value AS benchmark, {NO_ERROR} AS benchmark_se, 'target' AS benchmark_source, 'ok' AS status\n  \
         FROM (\n    SELECT stage, value, row_number() OVER (PARTITION BY stage ORDER BY {newest}value DESC) AS choice\n    \
         FROM funnel_source({}, 'targets', as_of => {})\n    \
         WHERE metric = {} AND stage IS NOT NULL AND value IS NOT NULL{known}\n  ) AS chosen\n  WHERE choice = 1\n)",
        literal(&call.funnel.definition.name),
        call.as_of(),
        literal(metric),
    )
}

/// The best lower bound of the segments' shrunk rates.
fn best_rates(of: &Bottleneck) -> String {
    let segments = &of.call.segments;
    let mut counted = segments.projected();
    counted.push("stage".to_owned());
    counted.extend(of.population().counted());
    let groups = [segments.columns(), vec!["stage".to_owned()]].concat();
    let pooled = "prior['status'] = 'no_heterogeneity'";
    let deviation = "sqrt((k + prior['alpha']) * (n - k + prior['beta']) / (n + prior['alpha'] + prior['beta'] + 1.0)) / (n + prior['alpha'] + prior['beta'])";
    format!(
        "segments AS (\nSELECT\n{counted}\nFROM {rows}\nGROUP BY {groups}\n),\n\
         priors AS (\n  SELECT stage, eb_prior(k, n) AS prior FROM segments GROUP BY stage\n),\n\
         shrunk AS (\n  SELECT segments.stage, {text} AS benchmark_source, prior['status'] AS status,\n         \
         coalesce(eb_interval(k, n, prior['alpha'], prior['beta'])['lo'],\n           \
         rate_ci(CASE WHEN {pooled} THEN prior['k'] ELSE k END, CASE WHEN {pooled} THEN prior['n'] ELSE n END, 0.95, 'jeffreys')['lo']) AS benchmark,\n         \
         coalesce({deviation}, CASE WHEN {pooled} THEN {of_all} ELSE {of_one} END) AS benchmark_se\n  \
         FROM segments JOIN priors ON priors.stage = segments.stage\n  WHERE n > 0\n),\n\
         benchmarks AS (\n  SELECT stage, benchmark, benchmark_se, CAST(CASE WHEN status = 'no_heterogeneity' THEN 'all' ELSE benchmark_source END AS text) AS benchmark_source, status\n  \
         FROM (\n    SELECT *, row_number() OVER (PARTITION BY stage ORDER BY benchmark DESC, benchmark_source) AS choice FROM shrunk\n  ) AS ranked\n  \
         WHERE choice = 1\n)",
        counted = lines(&counted),
        rows = of.rows(),
        groups = groups.join(", "),
        text = text_of(&segments.grouped()),
        of_all = rate_error("prior['k']", "prior['n']"),
        of_one = rate_error("k", "n"),
    )
}
