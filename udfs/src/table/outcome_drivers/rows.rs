//! The deals that are compared, each as often as it has a value of a factor.

use super::super::journey_stages::journey_columns;
use super::Drivers;
use crate::definition::related::RelatedKind;
use crate::definition::text::{identifier, literal};

/// Microseconds a day.
const DAY_US: f64 = 86_400e6;

impl Drivers {
    /// The columns of a deal that every part has.
    fn columns(&self) -> String {
        let mut columns = journey_columns(&self.call.funnel);
        columns.push("__won".to_owned());
        columns.join(", ")
    }

    /// The decided deals: `__entered_at`, `__reached_at` and `__won`.
    fn decided(&self) -> String {
        format!(
            "(SELECT *, __reached_at IS NOT NULL AS __won FROM {} WHERE mature AND (__reached_at IS NOT NULL OR status <> 'open')) AS decided",
            self.conversion.entered(&self.call)
        )
    }

    /// Of these, those that were undecided when the days of the landmark were over: `__landmark`, that instant in microseconds.
    fn undecided(&self) -> String {
        let length = (self.landmark * DAY_US).round() as i64;
        format!(
            "(SELECT * FROM (\n      SELECT *, CAST(__entered_at AS bigint) + {length} AS __landmark FROM {}\n    ) AS dated\n    \
             WHERE coalesce(CAST(__reached_at AS bigint) > __landmark, true)\n      \
             AND coalesce(CAST(ended_at AS bigint) > __landmark, true)) AS undecided",
            self.decided()
        )
    }

    /// Each deal with each of its values: `__factor`, `__value`, `__won`.
    pub(super) fn rows(&self) -> String {
        let mut parts = Vec::new();
        if !self.dimensions.is_empty() {
            parts.push(self.of_dimensions());
        }
        if self.tags {
            parts.push(self.of_tags());
        }
        if self.events {
            parts.push(self.of_events());
        }
        format!("(\n  {}\n) AS compared", parts.join("\n  UNION ALL\n  "))
    }

    fn of_dimensions(&self) -> String {
        let values = self.dimensions.iter().map(|name| {
            format!(
                "named_struct('factor', {}, 'value', CAST({} AS text))",
                literal(name),
                identifier(name)
            )
        });
        let values: Vec<String> = values.collect();
        format!(
            "SELECT {columns}, __each['factor'] AS __factor, __each['value'] AS __value\n  FROM (\n    \
             SELECT {columns}, unnest(make_array({})) AS __each FROM {}\n  ) AS dimensions",
            values.join(", "),
            self.decided(),
            columns = self.columns(),
        )
    }

    fn of_tags(&self) -> String {
        let columns = self.columns();
        let entity = identifier(&self.call.funnel.entity_name);
        format!(
            "SELECT {columns}, 'tag' AS __factor, __tag AS __value\n  FROM (\n    SELECT decided.*, tags.__tag FROM {}\n    \
             JOIN (SELECT DISTINCT entity AS __entity, tag AS __tag FROM funnel_source({}, 'loss_tags', as_of => {}) WHERE tag IS NOT NULL) AS tags\n      \
             ON tags.__entity = decided.{entity}\n  ) AS tagged",
            self.decided(),
            literal(&self.call.funnel.definition.name),
            self.call.as_of(),
        )
    }

    /// The factors of follow-ups and the list of their values in a row of `FOLLOWUPS`.
    fn event_values(&self) -> Vec<(&'static str, String)> {
        let roles = self.related(RelatedKind::Followups).unwrap_or_default();
        let all = [
            ("followup", "at", "make_array('any')"),
            ("followup_kind", "kind", "make_array(kind)"),
            (
                "followup_depth",
                "depth",
                "make_array(CAST(CAST(depth AS bigint) AS text))",
            ),
            (
                "followup_effective",
                "effective",
                "make_array(CASE WHEN effective THEN 'true' END)",
            ),
            (
                "followup_tag",
                "tags",
                "string_to_array(replace(tags, '，', ','), ',')",
            ),
        ];
        let has = |role: &str| roles.iter().any(|given| given == role);
        all.into_iter()
            .filter(|(_, role, _)| has(role))
            .map(|(factor, _, values)| (factor, values.to_owned()))
            .collect()
    }

    fn of_events(&self) -> String {
        let columns = self.columns();
        let entity = identifier(&self.call.funnel.entity_name);
        let values = self.event_values().into_iter().map(|(factor, values)| {
            format!(
                "SELECT __entity, {} AS __factor, trim(unnest({values})) AS __value FROM __early",
                literal(factor)
            )
        });
        let values: Vec<String> = values.collect();
        format!(
            "SELECT {columns}, __factor, __value\n  FROM (\n    SELECT undecided.*, events.__factor, events.__value FROM {undecided}\n    JOIN (\n      \
             WITH __early AS (\n        SELECT undecided.{entity} AS __entity, followups.* FROM {undecided}\n        \
             JOIN funnel_source({}, 'followups', as_of => {}) AS followups ON followups.entity = undecided.{entity}\n        \
             WHERE CAST(followups.at AS bigint) >= CAST(undecided.__entered_at AS bigint) AND CAST(followups.at AS bigint) < undecided.__landmark\n      )\n      \
             SELECT DISTINCT __entity, __factor, __value FROM (\n        {}\n      ) AS each_value WHERE __value <> ''\n    ) AS events \
             ON events.__entity = undecided.{entity}\n  ) AS followed",
            literal(&self.call.funnel.definition.name),
            self.call.as_of(),
            values.join("\n        UNION ALL "),
            undecided = self.undecided(),
        )
    }

    /// The wins and losses among all that could have a value, for each factor: `factor`, `wins`, `losses`.
    pub(super) fn totals(&self) -> String {
        let mut parts = Vec::new();
        if !self.dimensions.is_empty() {
            let names: Vec<String> = self.dimensions.iter().map(|name| literal(name)).collect();
            parts.push(format!(
                "SELECT factor, sum(with_win) AS wins, sum(with_loss) AS losses FROM exposed WHERE factor IN ({}) GROUP BY factor",
                names.join(", ")
            ));
        }
        let of = |factors: &[&str], rows: &str| {
            let factors: Vec<String> = factors
                .iter()
                .map(|name| format!("({})", literal(name)))
                .collect();
            format!(
                "SELECT factor, count(*) FILTER (WHERE __won) AS wins, count(*) FILTER (WHERE NOT __won) AS losses\n  \
                 FROM {rows} CROSS JOIN (VALUES {}) AS factors(factor) GROUP BY factor",
                factors.join(", ")
            )
        };
        if self.tags {
            parts.push(of(&["tag"], &self.decided()));
        }
        if self.events {
            let factors: Vec<&str> = self
                .event_values()
                .iter()
                .map(|(factor, _)| *factor)
                .collect();
            parts.push(of(&factors, &self.undecided()));
        }
        parts.join("\n  UNION ALL\n  ")
    }
}
