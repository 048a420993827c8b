//! Files that are read where they are: `CREATE EXTERNAL TABLE` over this machine's folders, S3 and HTTP.
//!
//! ```text
//! LOCATION ─► Address ─┐
//! OPTIONS ─► Settings ─┴► Stores ─► RemoteStore: limits of time, errors with the address's name ─► S3, HTTP
//! files' columns ─► ByName: each file's columns by their names, NULL where a file lacks one ─► DataFusion's readers
//! ```
//!
//! A store is opened for each set of settings, under a name of its own: two tables of equal buckets with different keys or
//! endpoints never meet.

mod address;
mod by_name;
mod head;
mod merge;
mod settings;
mod store;
mod stores;
mod table;

pub use address::{Address, Scheme};
pub use settings::{ConfiguredStore, STORE_OPTIONS, check_options};
pub use store::{find_fault, wrapped};
pub use stores::{Stores, open_data};
pub use table::{KeptTable, check_unbounded, create, without_secrets};
