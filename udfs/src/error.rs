//! Errors of the funnel functions, each with the SQLSTATE that Postgres would give.

use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::error::DataFusionError;
use thiserror::Error;

/// A place as what stands behind the name, and behind the sentence: `column "a" of relation "t" does not exist`.
fn belonging(place: &str) -> (&str, &str) {
    match place.starts_with(" of ") {
        true => (place, ""),
        false => ("", place),
    }
}

/// What went wrong, in the words of the person who wrote the SQL.
///
/// It travels through DataFusion as [`DataFusionError::External`]; [`FunnelError::find`] gets it back,
/// so that nobody has to parse a message.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum FunnelError {
    /// A named object does not exist.
    #[error("{kind} \"{name}\"{} does not exist{}", belonging(.place).0, belonging(.place).1)]
    Unknown {
        /// What kind of thing: funnel, stage, column, argument …
        kind: Kind,
        /// The name as it was written.
        name: String,
        /// Where it was looked for, with a leading blank (` in funnel "sales"`, ` of relation "leads"`), or nothing.
        place: String,
        /// The names that exist there.
        existing: Vec<String>,
    },
    /// The same name was given twice.
    #[error("{kind} \"{name}\" is given more than once")]
    Duplicate {
        /// What kind of thing.
        kind: Kind,
        /// The name.
        name: String,
        /// What to do about it.
        hint: String,
    },
    /// An object of that name is already there.
    #[error("{kind} \"{name}\" already exists")]
    AlreadyExists {
        /// What kind of thing.
        kind: Kind,
        /// The name.
        name: String,
    },
    /// A definition that can't work.
    #[error("{message}")]
    InvalidDefinition {
        /// The fault.
        message: String,
        /// What to write instead.
        hint: String,
    },
    /// Something that a definition could have, and hasn't.
    #[error("{message}")]
    NotDefined {
        /// What is missing.
        message: String,
        /// What would bring it.
        hint: String,
    },
    /// An argument whose value can't be used.
    #[error("{message}")]
    InvalidArgument {
        /// The fault.
        message: String,
        /// What to write instead.
        hint: String,
    },
    /// A value of the wrong type.
    #[error("{message}")]
    WrongType {
        /// The fault.
        message: String,
        /// What to write instead.
        hint: String,
    },
    /// A function was called with arguments that it doesn't have.
    #[error("{message}")]
    WrongCall {
        /// The fault.
        message: String,
        /// What to write instead.
        hint: String,
    },
    /// A parameter decides the shape of the result, and has no value yet.
    #[error("the columns of {function}() depend on parameter ${index}, which has no value yet")]
    UnboundParameter {
        /// The table function.
        function: String,
        /// The parameter's number, from 1.
        index: usize,
    },
    /// A number is outside of what can be computed with.
    #[error("{message}")]
    OutOfRange {
        /// The fault.
        message: String,
    },
}

/// The kinds of things that a funnel's SQL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // each is its own name
pub enum Kind {
    Funnel,
    Stage,
    Column,
    Dimension,
    Argument,
    Template,
    Table,
    Function,
    Clause,
    Metric,
    Change,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Funnel => "funnel",
            Kind::Stage => "stage",
            Kind::Column => "column",
            Kind::Dimension => "dimension",
            Kind::Argument => "argument",
            Kind::Template => "template",
            Kind::Table => "table",
            Kind::Function => "function",
            Kind::Clause => "clause",
            Kind::Metric => "metric",
            Kind::Change => "change",
        })
    }
}

impl FunnelError {
    /// The five-character SQLSTATE.
    pub fn code(&self) -> &'static str {
        match self {
            FunnelError::Unknown { kind, .. } => match kind {
                Kind::Funnel | Kind::Metric | Kind::Change | Kind::Stage | Kind::Template => {
                    "42704"
                }
                Kind::Column | Kind::Dimension => "42703",
                Kind::Argument | Kind::Function => "42883",
                Kind::Table => "42P01",
                Kind::Clause => "42601",
            },
            FunnelError::Duplicate { kind, .. } => match kind {
                Kind::Column | Kind::Dimension => "42701",
                Kind::Clause => "42601",
                Kind::Funnel
                | Kind::Metric
                | Kind::Change
                | Kind::Stage
                | Kind::Template
                | Kind::Argument
                | Kind::Function
                | Kind::Table => "42710",
            },
            FunnelError::AlreadyExists { .. } => "42710",
            FunnelError::InvalidDefinition { .. } => "42P17",
            FunnelError::NotDefined { .. } => "42704",
            FunnelError::InvalidArgument { .. } => "22023",
            FunnelError::WrongType { .. } => "42804",
            FunnelError::WrongCall { .. } => "42883",
            FunnelError::UnboundParameter { .. } => "42P18",
            FunnelError::OutOfRange { .. } => "22003",
        }
    }

    /// What to write instead, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            FunnelError::Unknown {
                kind,
                name,
                existing,
                ..
            } => unknown_hint(*kind, name, existing),
            FunnelError::Duplicate { hint, .. }
            | FunnelError::InvalidDefinition { hint, .. }
            | FunnelError::NotDefined { hint, .. }
            | FunnelError::InvalidArgument { hint, .. }
            | FunnelError::WrongType { hint, .. }
            | FunnelError::WrongCall { hint, .. } => Some(hint.clone()),
            FunnelError::AlreadyExists { kind, .. } => {
                let kind = kind.to_string().to_uppercase();
                Some(format!("Use CREATE OR REPLACE {kind} to change it."))
            }
            FunnelError::UnboundParameter { .. } => {
                Some("Write the funnel's name as a literal.".to_owned())
            }
            FunnelError::OutOfRange { .. } => None,
        }
    }

    /// The error as DataFusion carries it.
    pub fn into_datafusion(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }

    /// The funnel error inside a DataFusion error, however deep it is wrapped.
    pub fn find(error: &DataFusionError) -> Option<&FunnelError> {
        match error.find_root() {
            DataFusionError::External(inner) => inner.downcast_ref::<FunnelError>(),
            _ => None,
        }
    }
}

impl From<FunnelError> for DataFusionError {
    fn from(error: FunnelError) -> Self {
        error.into_datafusion()
    }
}

fn unknown_hint(kind: Kind, name: &str, existing: &[String]) -> Option<String> {
    if let Some(near) = nearest(name, existing) {
        return Some(format!("Perhaps you meant {kind} \"{near}\"."));
    }
    match (existing.is_empty(), kind) {
        (true, Kind::Funnel) => {
            Some("There is no funnel yet; CREATE FUNNEL defines one.".to_owned())
        }
        (true, Kind::Change) => Some("There is no change yet; CREATE CHANGE keeps one.".to_owned()),
        (true, _) => None,
        (false, _) => {
            const SHOWN: usize = 20;
            let mut names = existing
                .iter()
                .take(SHOWN)
                .map(|n| format!("\"{n}\""))
                .collect::<Vec<_>>();
            if existing.len() > SHOWN {
                names.push("…".to_owned());
            }
            Some(format!("There is: {}.", names.join(", ")))
        }
    }
}

/// The existing name that is nearest to `name`, if one is near enough to be a slip of the pen.
///
/// Near enough: at most a third of its characters differ (at least one may), case ignored.
pub fn nearest<'a>(name: &str, existing: &'a [String]) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let allowed = (name.chars().count() / 3).max(1);
    existing
        .iter()
        .map(|candidate| (levenshtein(&lower, &candidate.to_lowercase()), candidate))
        // A name of one character is near to every other; that is no help.
        .filter(|(distance, candidate)| {
            *distance <= allowed && *distance < candidate.chars().count()
        })
        .min_by(|a, b| a.cmp(b))
        .map(|(_, candidate)| candidate.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_corrected_and_other_names_are_listed() {
        let existing = vec!["qualified".to_owned(), "proposed".to_owned()];
        let unknown = |name: &str| FunnelError::Unknown {
            kind: Kind::Stage,
            name: name.to_owned(),
            place: " in funnel \"sales\"".to_owned(),
            existing: existing.clone(),
        };
        assert_eq!(unknown("qualifed").code(), "42704");
        assert_eq!(
            unknown("qualifed").to_string(),
            "stage \"qualifed\" does not exist in funnel \"sales\""
        );
        assert_eq!(
            unknown("qualifed").hint().as_deref(),
            Some("Perhaps you meant stage \"qualified\".")
        );
        assert_eq!(
            unknown("won").hint().as_deref(),
            Some("There is: \"qualified\", \"proposed\".")
        );
    }

    #[test]
    fn it_is_found_again_inside_a_wrapped_error() {
        let error = FunnelError::OutOfRange {
            message: "too far".to_owned(),
        };
        let wrapped = error.clone().into_datafusion().context("while planning");
        assert_eq!(FunnelError::find(&wrapped), Some(&error));
    }
}
