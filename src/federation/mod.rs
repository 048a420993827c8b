//! Tables of other databases: PostgreSQL, MySQL and MariaDB, SQLite.
//!
//! A [`ForeignTable`] sends `SELECT columns FROM table WHERE …` and reads what comes back. Connections and their pools
//! are those of datafusion-table-providers. What goes over them is written here, because of a filter there may only reach
//! the other database what means the same to it ([`filter`]), a connection belongs to a query until its last row, and a
//! query that is canceled here is canceled there.
//!
//! ```text
//! ForeignTable ─► filter: what the other database understands ─► ForeignScan ─► Remote ─► postgres | mysql | sqlite
//!                                                                      ▲ rows: texts as columns
//! ```
//!
//! Values travel as texts: the one place that reads them is that of our own casts, so that a numeric is exact, and a
//! column whose type has changed is an error that names it.

mod aggregate;
mod columns;
mod filter;
mod mysql;
mod postgres;
mod remote;
mod rows;
mod scan;
mod settings;
mod sqlite;
mod table;

pub use aggregate::PushAggregates;
pub use columns::{ForeignColumn, REMOTE_TYPE_UNKNOWN, RemoteColumn, local_type};
pub use remote::Remote;
pub use settings::{Credentials, Settings, Wrapper, check_names, check_server};
pub use table::{ForeignTable, Place};
