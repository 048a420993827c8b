//! Where a data directory is: a folder of this machine, or a store that speaks S3.
//!
//! ```text
//! --data-dir /srv/funnelsql      ─► a folder; its file lock is this process's while it has it open
//! --data-dir s3://bucket/prefix  ─► objects below prefix/; the lease in prefix/lock is, while it renews it
//! ```
//!
//! What a [`Place`] holds is the same in both, under the same names. In a store, nothing is kept on this machine: what was
//! acknowledged is in the store, and a server on another machine finds it there.

mod lease;
mod place;
mod remote;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{ChangeFault, Error, Result};
use crate::external::{Address, ConfiguredStore};

pub use lease::{Lease, Terms};
pub use place::Place;
pub use remote::Remote;

/// The lock of a data directory.
const LOCK: &str = "lock";

/// A data directory that is this engine's alone, as long as this is there: what it holds is known without looking.
#[derive(Debug)]
pub struct Storage {
    root: Place,
    _owned: Owned,
}

#[derive(Debug)]
#[allow(dead_code, reason = "they are only held")]
enum Owned {
    Folder(File),
    Store(Lease),
}

impl Storage {
    /// Takes a data directory, which is made if it isn't there. `scratch` is where files are put together that go into a store.
    ///
    /// # Errors
    /// 55006 when another server has it open, 58030 when it can't be made or read, 08001 when a store can't be reached,
    /// 0A000 and HV024 for an address that can't be one.
    pub async fn open(
        data_dir: &Path,
        stores: &[ConfiguredStore],
        scratch: Option<&Path>,
    ) -> Result<Self> {
        let Some(address) = address_of(data_dir)? else {
            // Delta names its tables by URLs, which have no place that they are relative to.
            let folder = std::path::absolute(data_dir).map_err(|error| {
                Error::io(
                    format!("can't find folder \"{}\"", data_dir.display()),
                    error,
                )
            })?;
            let file = lock_folder(data_dir)?;
            return Ok(Self {
                root: Place::Folder(folder),
                _owned: Owned::Folder(file),
            });
        };
        let scratch = scratch.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let (remote, path) = Remote::open(&address, stores, scratch)?;
        let lease = Lease::take(&remote, path.clone().join(LOCK), Terms::default()).await?;
        Ok(Self {
            root: Place::Store(remote, path),
            _owned: Owned::Store(lease),
        })
    }

    /// Where it is.
    pub fn root(&self) -> &Place {
        &self.root
    }

    /// The store that it is in.
    pub fn remote(&self) -> Option<&Arc<Remote>> {
        match &self.root {
            Place::Folder(_) => None,
            Place::Store(remote, _) => Some(remote),
        }
    }
}

/// The store that a data directory's name names; nothing for a folder.
fn address_of(data_dir: &Path) -> Result<Option<Address>> {
    match data_dir.to_str() {
        Some(text) => Address::of(text),
        None => Ok(None),
    }
}

/// Whether a data directory's name names a store.
pub fn is_store(data_dir: &Path) -> bool {
    data_dir.to_str().is_some_and(|text| text.contains("://"))
}

/// Where the audit log is that nobody gave a place: in the data directory, or beside the server where that is in a store,
/// which has no files that grow.
pub fn audit_folder(data_dir: &Path) -> PathBuf {
    match is_store(data_dir) {
        true => PathBuf::from("funnelsql-audit"),
        false => data_dir.join("audit"),
    }
}

fn lock_folder(data_dir: &Path) -> Result<File> {
    let what = || format!("can't open data directory \"{}\"", data_dir.display());
    let io = |error| Error::io(what(), error);
    std::fs::create_dir_all(data_dir).map_err(io)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(data_dir.join(LOCK))
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(in_use(&data_dir.display().to_string(), "")),
        Err(std::fs::TryLockError::Error(error)) => Err(io(error)),
    }
}

/// Another server has it. `who` is what is known of that one: ` on host "a"`.
fn in_use(data_dir: &str, who: &str) -> Error {
    ChangeFault::InUse
        .error(format!(
            "data directory \"{data_dir}\" is used by another server{who}"
        ))
        .hint("Connect to that server, or stop it first.")
        .into()
}
