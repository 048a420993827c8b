//! What the functions over event logs share: the rows of a group that meet a condition, in order.

mod accumulator;
mod call;
pub(crate) mod log;
pub(crate) mod time;
mod window;

pub(crate) use accumulator::{HitFunction, HitResults};
pub(crate) use call::{EventAggregate, EventFunction, log_of};
pub(crate) use log::HitRuns;
pub(crate) use window::Window;

/// The most conditions that a function over events takes: as many as a mask has bits.
pub const MAX_CONDITIONS: usize = 64;

/// One row of a group: when it happened and which conditions it meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Hit {
    /// The time in the unit of its column: microseconds of a `timestamp`, days of a `date`, the number itself.
    pub time: i64,
    /// The conditions, bit k - 1 for the k-th. None is set in a row that only stands between others.
    pub conditions: u64,
}
