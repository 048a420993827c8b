//! The funnel's definition: the model, its templates, and what turns it into a plan.

pub mod change;
pub mod journeys;
pub mod metric;
pub mod model;
pub mod related;
pub mod resolve;
pub mod template;
pub mod text;
