//! A store that a data directory is in: what is asked of it, by code that waits and by code that doesn't.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::{Read, Seek};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::execution::object_store::ObjectStoreUrl;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

use super::lease::Validity;
use crate::error::{Error, ForeignFault, Result};
use crate::external::{Address, ConfiguredStore, find_fault, open_data, wrapped};

/// How many definitions are read at once at a start.
const AT_ONCE: usize = 16;
/// How much of a file is taken at once, in bytes.
const PIECE: usize = 1 << 20;

/// The store.
#[derive(Debug)]
pub struct Remote {
    threads: Threads,
    /// Without a look at the lease: for the lease itself.
    pub(super) unguarded: Arc<dyn ObjectStore>,
    store: Arc<Guarded>,
    /// `s3://bucket`
    place: String,
    url: ObjectStoreUrl,
    scratch: PathBuf,
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl Remote {
    /// The store of an address, and the path that is in it. Nothing is asked of it yet.
    ///
    /// # Errors
    /// 0A000 and HV024 for an address that can't be a data directory's.
    pub fn open(
        address: &Address,
        stores: &[ConfiguredStore],
        scratch: PathBuf,
    ) -> Result<(Arc<Self>, Path)> {
        let threads = Threads::start()?;
        let store = open_data(address, stores, threads.handle())?;
        let path = Path::parse(address.inner_path()).map_err(|error| {
            let message = format!("\"{address}\" can't be a data directory: {error}");
            ForeignFault::OptionValue.error(message, Some("Write s3://bucket/prefix."))
        })?;
        let shown = format!("{}/{path}", address.place());
        let remote = Self::new(threads, store, address.place(), shown, scratch)?;
        Ok((Arc::new(remote), path))
    }

    fn new(
        threads: Threads,
        store: Arc<dyn ObjectStore>,
        place: String,
        data_dir: String,
        scratch: PathBuf,
    ) -> Result<Self> {
        let bucket = place.rsplit('/').next().unwrap_or_default();
        // No table that a user makes can be in a store of that scheme.
        let url = ObjectStoreUrl::parse(format!("data-directory://{bucket}"))?;
        let guarded = Guarded {
            inner: Arc::clone(&store),
            validity: Arc::new(Validity::new(data_dir)),
        };
        Ok(Self {
            threads,
            unguarded: store,
            store: Arc::new(guarded),
            place,
            url,
            scratch,
        })
    }

    /// A store for tests.
    #[cfg(test)]
    #[allow(clippy::panic)]
    pub(super) fn of(store: Arc<dyn ObjectStore>) -> Arc<Self> {
        let threads = Threads::start().unwrap_or_else(|error| panic!("{error}"));
        let scratch = std::env::temp_dir();
        let place = "s3://bucket".to_owned();
        let remote = Self::new(threads, store, place.clone(), place, scratch);
        Arc::new(remote.unwrap_or_else(|error| panic!("{error}")))
    }

    /// The store, as others read and write it: only while the lease holds.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store) as Arc<dyn ObjectStore>
    }

    /// The name under which DataFusion knows it.
    pub fn url(&self) -> &ObjectStoreUrl {
        &self.url
    }

    /// Where files are put together that go into it.
    pub fn scratch(&self) -> &std::path::Path {
        &self.scratch
    }

    /// How long the lease holds.
    pub(super) fn validity(&self) -> &Arc<Validity> {
        &self.store.validity
    }

    /// Refuses to go on when the data directory is somebody else's now.
    ///
    /// # Errors
    /// 55006.
    pub fn check_owned(&self) -> Result<()> {
        self.store.validity.remaining().map(|_| ())
    }

    /// Whether it is somebody else's, for good.
    pub fn is_taken(&self) -> bool {
        self.store.validity.is_taken()
    }

    /// The threads that wait for it.
    pub(super) fn handle(&self) -> Handle {
        self.threads.handle()
    }

    /// Does `work` on the store's own threads and waits for its end. The caller's runtime goes on meanwhile where it has
    /// other threads.
    ///
    /// # Errors
    /// 58030 when `work` ended without a result.
    pub fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let (send, receive) = mpsc::sync_channel(1);
        self.threads.handle().spawn(async move {
            // Whoever waits, waits until this is sent.
            let _ = send.send(work.await);
        });
        let receive = || {
            let lost = |error| Error::io("can't ask a store", std::io::Error::other(error));
            receive.recv().map_err(lost)
        };
        match Handle::try_current().map(|current| current.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(receive),
            _ => receive(),
        }
    }

    /// The folders and files of a folder.
    pub(super) fn entries(&self, path: &Path) -> Result<Vec<(String, bool)>> {
        let (store, prefix) = (self.store(), path.clone());
        let listed = self.wait(async move { store.list_with_delimiter(Some(&prefix)).await })?;
        let listed = listed.map_err(|error| self.failed("list", path, &error))?;
        let name = |path: &Path| path.filename().map(str::to_owned);
        let folders = listed.common_prefixes.iter().filter_map(name);
        let folders = folders.map(|name| (name, true));
        let files = listed
            .objects
            .iter()
            .filter_map(|meta| name(&meta.location))
            .map(|name| (name, false));
        Ok(folders.chain(files).collect())
    }

    /// What a file holds; nothing where there is none.
    pub fn read(&self, path: &Path) -> Result<Option<Bytes>> {
        let (store, file) = (self.store(), path.clone());
        let read = self.wait(async move { read_of(store.as_ref(), &file).await })?;
        read.map_err(|error| self.failed("read", path, &error))
    }

    /// What each of these files holds that is there, in their order.
    pub fn read_each(&self, paths: &[Path]) -> Result<Vec<Option<Bytes>>> {
        let (store, files) = (self.store(), paths.to_vec());
        let read = self.wait(async move {
            let one = |file: Path| {
                let store = Arc::clone(&store);
                async move {
                    let read = read_of(store.as_ref(), &file).await;
                    read.map_err(|error| (file, error))
                }
            };
            let all = futures::stream::iter(files).map(one).buffered(AT_ONCE);
            all.try_collect::<Vec<_>>().await
        })?;
        read.map_err(|(path, error)| self.failed("read", &path, &error))
    }

    /// Writes a file in place of the one that was there.
    pub fn put(&self, path: &Path, content: Vec<u8>) -> Result<()> {
        let (store, file) = (self.store(), path.clone());
        let put = self.wait(async move { store.put(&file, content.into()).await })?;
        put.map(|_| ())
            .map_err(|error| self.failed("write", path, &error))
    }

    /// Writes a long file, in parts.
    pub fn upload(&self, path: &Path, mut file: File) -> Result<()> {
        let (store, target) = (self.store(), path.clone());
        let uploaded = self.wait(async move {
            file.rewind()?;
            let mut into = BufWriter::new(store, target);
            let mut piece = vec![0; PIECE];
            loop {
                let count = file.read(&mut piece)?;
                if count == 0 {
                    return into.shutdown().await;
                }
                into.write_all(&piece[..count]).await?;
            }
        })?;
        uploaded.map_err(|error| {
            let known = error.get_ref().and_then(|inner| find_fault(inner));
            known.unwrap_or_else(|| Error::io(format!("can't write \"{self}/{path}\""), error))
        })
    }

    /// Removes a file; none is no error.
    pub fn remove(&self, path: &Path) -> Result<()> {
        let (store, file) = (self.store(), path.clone());
        match self.wait(async move { store.delete(&file).await })? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("remove", path, &error)),
        }
    }

    /// Removes everything below a path.
    pub(super) fn remove_all(&self, path: &Path) -> Result<()> {
        let (store, prefix) = (self.store(), path.clone());
        let removed = self.wait(async move {
            let files = store.list(Some(&prefix));
            let files = files.map_ok(|meta| meta.location).boxed();
            remove_each(store.as_ref(), files).await
        })?;
        removed.map_err(|error| self.failed("remove", path, &error))
    }

    /// Removes files while nobody waits for it.
    pub(super) fn remove_later(&self, files: Vec<Path>) {
        let store = self.store();
        self.threads.handle().spawn(async move {
            let files = futures::stream::iter(files.into_iter().map(Ok)).boxed();
            if let Err(error) = remove_each(store.as_ref(), files).await {
                tracing::debug!(%error, "files that aren't needed can't be removed");
            }
        });
    }

    /// A store's error as one of ours.
    pub(super) fn failed(&self, what: &str, path: &Path, error: &object_store::Error) -> Error {
        find_fault(error).unwrap_or_else(|| {
            ForeignFault::Storage.error(
                format!("can't {what} \"{self}/{path}\": {error}"),
                Some("The data directory is there: look at what its store says."),
            )
        })
    }
}

async fn remove_each(
    store: &dyn ObjectStore,
    files: BoxStream<'static, object_store::Result<Path>>,
) -> object_store::Result<()> {
    let removed = store.delete_stream(files);
    removed
        .try_for_each(|_| futures::future::ready(Ok(())))
        .await
}

/// What a file holds; nothing where there is none.
pub(super) async fn read_of(
    store: &dyn ObjectStore,
    path: &Path,
) -> object_store::Result<Option<Bytes>> {
    match store.get(path).await {
        Ok(found) => Ok(Some(found.bytes().await?)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Threads that ask a store, and renew the lease, whatever the others do.
#[derive(Debug)]
struct Threads {
    /// Always there until it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Threads {
    fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(|error| Error::io("can't start threads", error))?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Threads {
    /// A runtime that is dropped waits for its tasks, which a task of another runtime mustn't.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A store that is written only while the data directory is this server's. A write that would end later is given up.
#[derive(Debug)]
struct Guarded {
    inner: Arc<dyn ObjectStore>,
    validity: Arc<Validity>,
}

impl Guarded {
    fn remaining(&self) -> object_store::Result<Duration> {
        self.validity.remaining().map_err(wrapped)
    }

    async fn in_time<T>(
        &self,
        done: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        let left = self.remaining()?;
        match tokio::time::timeout(left, done).await {
            Ok(done) => done,
            Err(_) => Err(wrapped(self.validity.lost())),
        }
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Guarded {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let put = self.inner.put_opts(location, payload, options);
        self.in_time(put).await
    }

    /// Nobody sees its end before something else names it, which is written by `put_opts`.
    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        let begun = self.inner.put_multipart_opts(location, options);
        self.in_time(begun).await
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let validity = Arc::clone(&self.validity);
        let owned = move |path: Path| {
            let owned = validity.remaining().map_err(wrapped);
            futures::future::ready(owned.map(|_| path))
        };
        self.inner.delete_stream(locations.and_then(owned).boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        let copied = self.inner.copy_opts(from, to, options);
        self.in_time(copied).await
    }
}
