//! FunnelSQL: a funnel-analytics engine that any SQL client can query.
//!
//! The library is the engine behind the `funnelsql` command: open a data directory, ask it in SQL.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> funnelsql::error::Result<()> {
//! use funnelsql::engine::{Engine, EngineOptions, text_rows};
//!
//! let folder = tempfile::tempdir().expect("a temporary folder");
//! let engine = Engine::open(EngineOptions::new(folder.path())).await?;
//! let session = engine.session("analyst");
//! session
//!     .run(
//!         "CREATE TABLE log AS SELECT column1 AS lead, column2 AS event, column3::timestamp AS at
//!          FROM (VALUES (1, 'created', '2026-01-05'), (1, 'signed', '2026-01-20'), (2, 'created', '2026-01-06'));
//!          CREATE FUNNEL sales ON log (
//!            ENTITY lead, TIME at, STAGE acquired WHEN event = 'created', STAGE won WHEN event = 'signed')",
//!     )
//!     .await?;
//! let rows = session.query("SELECT stage, entered FROM stage_conversion('sales')").await?;
//! assert_eq!(text_rows(&rows[0])?[0], [Some("acquired".to_owned()), Some("2".to_owned())]);
//! # Ok(())
//! # }
//! ```

pub mod audit;
pub mod catalog;
pub mod cli;
pub mod engine;
pub mod error;
pub mod external;
pub mod federation;
pub mod import;
pub mod postgres;
pub mod sample;
pub mod server;
pub mod sql;
pub mod storage;
pub mod tables;
