//! A store behind a network, as queries see it: what it does takes limited time, and what goes wrong is said with its address.

use std::collections::hash_map::DefaultHasher;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{Timelike, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult,
};

use super::address::Scheme;
use crate::error::{Error, ForeignFault};

/// The longest that an answer may take to begin, with everything that is tried again.
const ANSWER: Duration = Duration::from_secs(20);
/// The longest that nothing may come of an answer that has begun.
const SILENCE: Duration = Duration::from_secs(30);

/// The least speed at which what is written may go, in bytes a second, beyond the time for the answer.
const SLOWEST: u64 = 100_000;

/// A store. That of a table's files is only read; that of a data directory is written too.
#[derive(Debug)]
pub struct RemoteStore {
    inner: Arc<dyn ObjectStore>,
    scheme: Scheme,
    /// `s3://bucket`
    place: String,
    /// Where that is, if it isn't where everybody thinks: `http://127.0.0.1:9000`.
    endpoint: Option<String>,
    /// Tells the store from others of the same name.
    number: u64,
    /// A data directory is in it.
    data: bool,
}

impl RemoteStore {
    /// The store as queries see it.
    pub fn new(
        inner: Arc<dyn ObjectStore>,
        scheme: Scheme,
        place: String,
        endpoint: Option<String>,
        number: u64,
    ) -> Self {
        Self {
            inner,
            scheme,
            place,
            endpoint,
            number,
            data: false,
        }
    }

    /// The same, to keep a data directory in.
    pub fn for_data(self) -> Self {
        Self { data: true, ..self }
    }

    fn address(&self, path: &str) -> Address {
        Address {
            scheme: self.scheme,
            name: format!("{}/{path}", self.place),
            place: self.place.clone(),
            endpoint: self.endpoint.clone(),
            data: self.data,
        }
    }

    /// DataFusion remembers footers and statistics by a file's path, size and time. Neither says which store it is in, and
    /// S3's times are seconds: a file that is replaced by one of the same size would keep the old one's footer. So the
    /// parts of a second are made of the store and the file's tag.
    fn marked(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if meta.e_tag.is_none() && meta.last_modified.timestamp() == 0 {
            // Nothing tells whether it was changed: it is another one each time.
            meta.last_modified = Utc::now();
            return meta;
        }
        let mut hasher = DefaultHasher::new();
        self.number.hash(&mut hasher);
        match &meta.e_tag {
            Some(tag) => tag.hash(&mut hasher),
            None => meta.last_modified.hash(&mut hasher),
        }
        let nanos = u32::try_from(hasher.finish() % 1_000_000_000).unwrap_or_default();
        if let Some(marked) = meta.last_modified.with_nanosecond(nanos) {
            meta.last_modified = marked;
        }
        meta
    }

    fn read_only<T>(&self, path: &Path) -> object_store::Result<T> {
        Err(wrapped(Error::Unsupported {
            message: format!("\"{}/{path}\" is only read", self.place),
            hint: Some(
                "Make a table that stays of its rows: CREATE TABLE ... AS SELECT.".to_owned(),
            ),
        }))
    }
}

impl fmt::Display for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

/// What a fault is about.
#[derive(Debug, Clone)]
struct Address {
    scheme: Scheme,
    name: String,
    place: String,
    endpoint: Option<String>,
    data: bool,
}

impl Address {
    async fn in_time<T>(
        &self,
        limit: Duration,
        done: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        match tokio::time::timeout(limit, done).await {
            Ok(done) => done.map_err(|error| self.faulted(error)),
            Err(_) => Err(wrapped(
                self.unreachable(&format!("no answer in {} seconds", limit.as_secs())),
            )),
        }
    }

    fn watched<T: Send + 'static>(
        self,
        stream: BoxStream<'static, object_store::Result<T>>,
    ) -> BoxStream<'static, object_store::Result<T>> {
        let next = |(mut stream, address): (BoxStream<'static, object_store::Result<T>>, Self)| async move {
            let next = tokio::time::timeout(SILENCE, stream.next()).await;
            match next {
                Ok(None) => None,
                Ok(Some(item)) => {
                    let item = item.map_err(|error| address.faulted(error));
                    Some((item, (stream, address)))
                }
                Err(_) => {
                    let silence = format!("nothing came for {} seconds", SILENCE.as_secs());
                    let fault = wrapped(address.unreachable(&silence));
                    Some((Err(fault), (stream::empty().boxed(), address)))
                }
            }
        };
        // Some ask for more after its end.
        stream::unfold((stream, self), next).fuse().boxed()
    }

    fn unreachable(&self, reason: &str) -> Error {
        let place = match &self.endpoint {
            Some(endpoint) => format!("\"{}\" at {endpoint}", self.place),
            None => format!("\"{}\"", self.place),
        };
        ForeignFault::Connection.error(
            format!("could not reach {place}: {reason}"),
            Some(match self.data {
                true => "The data directory is there: statements work again when it answers.",
                false => "Only queries that read its tables fail; they work again when it is back.",
            }),
        )
    }

    /// Whoever keeps a data directory asks whether something is there, and is answered; everything else is a fault.
    fn faulted(&self, error: StoreError) -> StoreError {
        let is_answer = matches!(
            error,
            StoreError::NotFound { .. }
                | StoreError::AlreadyExists { .. }
                | StoreError::Precondition { .. }
                | StoreError::NotModified { .. }
        );
        match self.data && is_answer && error_code(&chain(&error)) != Some("NoSuchBucket") {
            true => error,
            false => self.fault(&error),
        }
    }

    /// What a store's client says, as an error of ours inside of one of its own, so that it comes through every reader.
    fn fault(&self, error: &StoreError) -> StoreError {
        if let Some(known) = ours(error) {
            return wrapped(known);
        }
        let text = chain(error);
        let code = error_code(&text);
        let said = |what: &str| match code {
            Some(code) => format!("{what} ({code})"),
            None => what.to_owned(),
        };
        let name = &self.name;
        let s3 = self.scheme == Scheme::S3;
        // Of a listing, its client says nothing but the status.
        let denied = matches!(status(&text), Some("401" | "403"))
            || matches!(
                error,
                StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }
            );
        wrapped(match error {
            _ if code == Some("NoSuchBucket") => ForeignFault::Storage.error(
                format!("bucket \"{}\" does not exist", self.place),
                Some("Check the bucket's name, 'aws.region' and 'aws.endpoint'."),
            ),
            StoreError::NotFound { .. } => ForeignFault::Storage.error(
                format!("file \"{name}\" is not there"),
                Some("Put it there again, or drop the table."),
            ),
            // Without keys, its client asks the machine that it runs on, if that is one of Amazon's.
            _ if text.contains("169.254.169.254") => ForeignFault::Refused.error(
                format!("nothing says as whom \"{}\" is entered", self.place),
                Some("Give 'aws.access_key_id' and its secret, or 'aws.skip_signature' 'true' for what is public."),
            ),
            _ if denied => {
                let hint = match s3 {
                    true if self.data => {
                        "Check the keys in [[object_store]] or the environment: they have to read, write, list and delete."
                    }
                    true => {
                        "Check 'aws.access_key_id', its secret and what it may read; 'aws.skip_signature' 'true' reads what is public."
                    }
                    false => {
                        "Check 'http.user' and 'http.password_file', or 'http.bearer_token_file'."
                    }
                };
                let message = said(&format!("access to \"{name}\" was denied"));
                ForeignFault::Refused.error(message, Some(hint))
            }
            StoreError::NotSupported { .. } => ForeignFault::Storage.error(
                format!("\"{name}\" can't be read in parts"),
                Some("Its server has to answer requests with Range (206 Partial Content)."),
            ),
            _ if text.contains("redirect without LOCATION") => ForeignFault::Storage.error(
                format!("bucket \"{}\" is in another region", self.place),
                Some("OPTIONS ('aws.region' '...') says which."),
            ),
            _ => match status(&text) {
                Some(status) if self.data => ForeignFault::Storage.error(
                    said(&format!("could not use \"{name}\": status {status}")),
                    Some("The data directory is there: statements work again when it answers."),
                ),
                Some(status) => ForeignFault::Storage.error(
                    said(&format!("could not read \"{name}\": status {status}")),
                    Some(
                        "Only queries that read it fail; they work again when its server answers.",
                    ),
                ),
                None => self.unreachable(&root(error)),
            },
        })
    }
}

/// The part of an S3 answer that says what is wrong: `<Code>NoSuchBucket</Code>`. The rest repeats what was asked.
fn error_code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    (code.len() <= 64 && code.chars().all(char::is_alphanumeric)).then_some(code)
}

/// The status of an HTTP answer: `… status code: 503 Service Unavailable: …`.
fn status(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("status code: ")?;
    let status = rest.get(..3)?;
    status.bytes().all(|b| b.is_ascii_digit()).then_some(status)
}

fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push('\n');
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// The innermost reason: `Connection refused (os error 111)`. Those around it repeat addresses and numbers of tries.
fn root(error: &StoreError) -> String {
    let mut reason: &dyn StdError = error;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    let text = reason.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

/// An error of ours as one of a store's; [`find_fault`] takes it out again.
pub fn wrapped(error: Error) -> StoreError {
    StoreError::Generic {
        store: "external",
        source: Box::new(error),
    }
}

/// The fault of a store in an error of the engine, through whatever readers it came.
pub fn find_fault(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        let store = error.downcast_ref::<StoreError>().and_then(ours);
        // An error that shows another one as itself doesn't name it as its source.
        let own = error.downcast_ref::<Error>().and_then(copied);
        if let Some(found) = store.or(own) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn ours(error: &StoreError) -> Option<Error> {
    let StoreError::Generic { source, .. } = error else {
        return None;
    };
    copied(source.downcast_ref::<Error>()?)
}

fn copied(error: &Error) -> Option<Error> {
    match error {
        Error::Foreign {
            fault,
            message,
            hint,
        } => Some(Error::Foreign {
            fault: *fault,
            message: message.clone(),
            hint: hint.clone(),
        }),
        Error::Unsupported { message, hint } => Some(Error::Unsupported {
            message: message.clone(),
            hint: hint.clone(),
        }),
        Error::Change(error) => Some(Error::Change(error.clone())),
        _ => None,
    }
}

#[async_trait]
impl ObjectStore for RemoteStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        if !self.data {
            return self.read_only(location);
        }
        let address = self.address(location.as_ref());
        let limit = ANSWER + Duration::from_secs(payload.content_length() as u64 / SLOWEST);
        let put = self.inner.put_opts(location, payload, options);
        address.in_time(limit, put).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        if !self.data {
            return self.read_only(location);
        }
        let address = self.address(location.as_ref());
        let begun = self.inner.put_multipart_opts(location, options);
        address.in_time(ANSWER, begun).await
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        let address = self.address(location.as_ref());
        let got = self.inner.get_opts(location, options);
        let mut result = address.in_time(ANSWER, got).await?;
        result.meta = self.marked(result.meta);
        if let GetResultPayload::Stream(stream) = result.payload {
            result.payload = GetResultPayload::Stream(address.watched(stream));
        }
        Ok(result)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        if self.data {
            let address = self.address("");
            return address.watched(self.inner.delete_stream(locations));
        }
        let place = self.place.clone();
        let refused = move |path: Path| -> object_store::Result<Path> {
            Err(wrapped(Error::Unsupported {
                message: format!("\"{place}/{path}\" is only read"),
                hint: None,
            }))
        };
        locations
            .and_then(move |path| futures::future::ready(refused(path)))
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let address = self.address(prefix.map_or("", AsRef::as_ref));
        let marker = Self {
            inner: Arc::clone(&self.inner),
            place: self.place.clone(),
            endpoint: self.endpoint.clone(),
            ..*self
        };
        let files = address.watched(self.inner.list(prefix));
        files.map_ok(move |meta| marker.marked(meta)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        let address = self.address(prefix.map_or("", AsRef::as_ref));
        let listed = self.inner.list_with_delimiter(prefix);
        let mut result = address.in_time(ANSWER, listed).await?;
        let files = result.objects.into_iter();
        result.objects = files.map(|meta| self.marked(meta)).collect();
        Ok(result)
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        if !self.data {
            return self.read_only(to);
        }
        let address = self.address(to.as_ref());
        let copied = self.inner.copy_opts(from, to, options);
        address.in_time(ANSWER, copied).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::error::DataFusionError;

    use super::*;

    fn address() -> Address {
        Address {
            scheme: Scheme::S3,
            name: "s3://crm/deals/x.csv".to_owned(),
            place: "s3://crm".to_owned(),
            endpoint: Some("http://127.0.0.1:9000".to_owned()),
            data: false,
        }
    }

    fn status_error(text: &str) -> StoreError {
        StoreError::Generic {
            store: "S3",
            source: text.to_owned().into(),
        }
    }

    #[test]
    fn a_fault_comes_through_the_readers_with_its_code() {
        let fault = address().fault(&StoreError::PermissionDenied {
            path: "deals/x.csv".to_owned(),
            source: "403: <Error><Code>AccessDenied</Code><Key>geheim</Key>".into(),
        });
        let error = DataFusionError::ObjectStore(Box::new(fault));
        let error = DataFusionError::Context("reading".to_owned(), Box::new(error));
        let error = Error::from_engine(&error, "");
        assert_eq!(error.code(), "42501");
        assert_eq!(
            error.to_string(),
            "access to \"s3://crm/deals/x.csv\" was denied (AccessDenied)"
        );
        assert!(error.hint().unwrap().contains("aws.access_key_id"));
    }

    #[test]
    fn what_a_server_says_and_that_there_is_none_are_different_faults() {
        let code = |error: &StoreError| ours(&address().fault(error)).unwrap().code();
        let listing = |text: &str| code(&status_error(text));
        assert_eq!(
            listing("status code: 404 Not Found: <Code>NoSuchBucket</Code>"),
            "58030"
        );
        assert_eq!(
            listing("status code: 403 Forbidden: <Code>AccessDenied</Code>"),
            "42501"
        );
        assert_eq!(
            code(&status_error(
                "Server returned non-2xx status code: 503 Service Unavailable: x"
            )),
            "58030"
        );
        let refused = status_error("Connection refused (os error 111)");
        assert_eq!(code(&refused), "08001");
        assert_eq!(
            ours(&address().fault(&refused)).unwrap().to_string(),
            "could not reach \"s3://crm\" at http://127.0.0.1:9000: Connection refused (os error 111)"
        );
    }

    #[test]
    fn a_replaced_file_is_another_one_even_within_a_second() {
        let store = |number| {
            let inner = Arc::new(object_store::memory::InMemory::new());
            RemoteStore::new(inner, Scheme::S3, "s3://crm".to_owned(), None, number)
        };
        let meta = |tag: Option<&str>| ObjectMeta {
            location: Path::from("x"),
            last_modified: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            size: 7,
            e_tag: tag.map(str::to_owned),
            version: None,
        };
        let (first, second) = (store(1), store(2));
        let mark = |store: &RemoteStore, tag| store.marked(meta(tag)).last_modified;
        assert_eq!(mark(&first, Some("a")), mark(&first, Some("a")));
        assert_ne!(mark(&first, Some("a")), mark(&first, Some("b")));
        assert_ne!(mark(&first, Some("a")), mark(&second, Some("a")));
        assert_ne!(mark(&first, None), mark(&second, None));
    }
}
