//! The stores that are open: one for each place and settings, under a name of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use object_store::aws::{AmazonS3Builder, AwsCredential};
use object_store::client::{HttpConnector, SpawnedReqwestConnector};
use object_store::http::HttpBuilder;
use object_store::{
    BackoffConfig, ClientOptions, CredentialProvider, HeaderMap, HeaderValue, ObjectStore,
    RetryConfig,
};

use super::address::{Address, Scheme};
use super::settings::{ConfiguredStore, Secret, Settings, check_endpoint};
use super::store::RemoteStore;
use crate::error::{Error, ForeignFault, Result};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// What is tried again, is tried again for so long.
const RETRY: Duration = Duration::from_secs(10);

/// The stores of an engine.
#[derive(Debug, Default)]
pub struct Stores {
    configured: Vec<ConfiguredStore>,
    /// The names under which they are known to DataFusion. None is forgotten: a query may be about to read from it.
    open: Mutex<HashMap<(String, Settings), String>>,
}

impl Stores {
    /// None yet; `configured` is what the server's configuration says of them.
    pub fn new(configured: Vec<ConfiguredStore>) -> Self {
        Self {
            configured,
            open: Mutex::default(),
        }
    }

    /// An address as DataFusion reads it. Nothing is asked of the place itself.
    ///
    /// # Errors
    /// HV024 for settings that can't be.
    pub fn locate(
        &self,
        runtime: &RuntimeEnv,
        address: &Address,
        options: &BTreeMap<String, String>,
    ) -> Result<ListingTableUrl> {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let settings = Settings::of(address, options, &self.configured, variable);
        check_endpoint(&settings)?;
        let key = (address.place(), settings);
        // The map is whole after a panic: it is changed by one call.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = open.get(&key) {
            return address.in_store(root);
        }
        let number = open.len() + 1;
        // DataFusion finds a store by scheme and host alone; a scheme of its own keeps it from others.
        let root = format!("{}+{number}://{}", address.scheme.name(), address.authority);
        let located = address.in_store(&root)?;
        let store = RemoteStore::new(
            client(address, &key.1, None::<SpawnedReqwestConnector>)?,
            address.scheme,
            address.place(),
            endpoint(address, &key.1),
            number as u64,
        );
        runtime.register_object_store(located.object_store().as_ref(), Arc::new(store));
        open.insert(key, root);
        Ok(located)
    }
}

/// The store that a data directory is in. Whatever it asks, is asked on the threads of `threads`, so that a thread that
/// waits for an answer never waits for itself. Nothing is asked of the place itself.
///
/// # Errors
/// HV024 for settings that can't be, 0A000 for a place that can't be written.
pub fn open_data(
    address: &Address,
    configured: &[ConfiguredStore],
    threads: tokio::runtime::Handle,
) -> Result<Arc<dyn ObjectStore>> {
    if address.scheme != Scheme::S3 || address.has_glob() {
        return Err(Error::Unsupported {
            message: format!("\"{address}\" can't be a data directory"),
            hint: Some("It is a folder of this machine, or s3://bucket/prefix.".to_owned()),
        });
    }
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let settings = Settings::of(address, &BTreeMap::new(), configured, variable);
    check_endpoint(&settings)?;
    let connector = SpawnedReqwestConnector::new(threads);
    let store = RemoteStore::new(
        client(address, &settings, Some(connector))?,
        address.scheme,
        address.place(),
        endpoint(address, &settings),
        0,
    );
    Ok(Arc::new(store.for_data()))
}

/// Where a store is, if it isn't where everybody thinks.
fn endpoint(address: &Address, settings: &Settings) -> Option<String> {
    let endpoint = settings.get("aws.endpoint").map(str::to_owned);
    endpoint.filter(|_| address.scheme == Scheme::S3)
}

fn client(
    address: &Address,
    settings: &Settings,
    connector: Option<impl HttpConnector>,
) -> Result<Arc<dyn ObjectStore>> {
    let place = address.place();
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: RETRY,
    };
    // A long file may take as long as it likes, as long as it comes: see `RemoteStore`.
    let client = ClientOptions::new()
        .with_connect_timeout(CONNECT)
        .with_timeout_disabled();
    Ok(match address.scheme {
        Scheme::S3 => {
            let builder = match settings.asks_environment() {
                true => AmazonS3Builder::from_env(),
                false => AmazonS3Builder::new(),
            };
            let allow_http = settings.is_on("aws.allow_http");
            let mut builder = s3(builder, settings)
                .with_bucket_name(&address.authority)
                .with_retry(retry)
                .with_client_options(client.with_allow_http(allow_http));
            if let Some(connector) = connector {
                builder = builder.with_http_connector(connector);
            }
            Arc::new(builder.build().map_err(|error| bad(&place, &error))?)
        }
        Scheme::Http | Scheme::Https => {
            let plain = address.scheme == Scheme::Http;
            let mut client = client.with_allow_http(plain);
            if let Some(header) = authorization(settings)? {
                let mut headers = HeaderMap::new();
                headers.insert("authorization", header);
                client = client.with_default_headers(headers);
            }
            let builder = HttpBuilder::new()
                .with_url(&place)
                .with_retry(retry)
                .with_client_options(client);
            Arc::new(builder.build().map_err(|error| bad(&place, &error))?)
        }
    })
}

fn s3(mut builder: AmazonS3Builder, settings: &Settings) -> AmazonS3Builder {
    builder = builder.with_region(settings.get("aws.region").unwrap_or("us-east-1"));
    if let Some(endpoint) = settings.get("aws.endpoint") {
        builder = builder.with_endpoint(endpoint);
    }
    if settings.is_on("aws.virtual_hosted_style") {
        builder = builder.with_virtual_hosted_style_request(true);
    }
    if settings.is_on("aws.skip_signature") {
        builder = builder.with_skip_signature(true);
    }
    let key = settings.get("aws.access_key_id");
    match (key, settings.secret("aws.secret_access_key")) {
        (Some(key), Some(secret)) => builder.with_credentials(Arc::new(Keys {
            id: key.to_owned(),
            secret,
            token: settings.secret("aws.session_token"),
        })),
        _ => builder,
    }
}

/// The keys of S3; those in files and variables are read for each request, so that new ones count at once.
#[derive(Debug)]
struct Keys {
    id: String,
    secret: Secret,
    token: Option<Secret>,
}

#[async_trait]
impl CredentialProvider for Keys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let read = |secret: &Secret| {
            secret.read().map_err(|error| object_store::Error::Generic {
                store: "external",
                source: Box::new(error),
            })
        };
        Ok(Arc::new(AwsCredential {
            key_id: self.id.clone(),
            secret_key: read(&self.secret)?,
            token: self.token.as_ref().map(read).transpose()?,
        }))
    }
}

/// What HTTP is told who asks.
fn authorization(settings: &Settings) -> Result<Option<HeaderValue>> {
    let text = match (settings.get("http.user"), settings.secret("http.password")) {
        (Some(user), Some(password)) => {
            let pair = format!("{user}:{}", password.read()?);
            format!("Basic {}", BASE64_STANDARD.encode(pair))
        }
        _ => match settings.secret("http.bearer_token") {
            Some(token) => format!("Bearer {}", token.read()?),
            None => return Ok(None),
        },
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        ForeignFault::OptionValue.error(
            "a token or password that HTTP can't send".to_owned(),
            Some("It is a line of letters, digits and signs."),
        )
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn bad(place: &str, error: &object_store::Error) -> Error {
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default();
    ForeignFault::OptionValue.error(
        format!("\"{place}\" can't be opened: {text}"),
        Some("Check the options of its table, and [[object_store]] in the configuration."),
    )
}
