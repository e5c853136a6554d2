//! Opens S3, Google Cloud Storage and Azure by URL. What the vendors' tools take from the environment is taken from there:
//! credentials, region, endpoint, proxies.
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::error::{Error, Result};

/// How long one request may take; [`upload`](crate::lake::upload) keeps each small. `AWS_TIMEOUT` and the like change it.
const REQUEST: Duration = Duration::from_secs(60);
/// How long a connection may take to be made; `AWS_CONNECT_TIMEOUT` and the like change it.
const CONNECT: Duration = Duration::from_secs(5);

/// Opens `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`; nothing is asked of the store yet. `None` for
/// another scheme.
pub fn open(url: &str, environment: &[(String, String)]) -> Result<Option<Arc<dyn ObjectStore>>> {
    let Some((scheme, rest)) = url.split_once("://") else { return Ok(None) };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let failed = |error| Error::invalid(format!("the store {url} cannot be opened")).because(error);
    let store: Arc<dyn ObjectStore> = match scheme {
        "s3" => {
            let builder = AmazonS3Builder::new().with_client_options(client()).with_retry(retries());
            let builder = configure(builder, environment, "AWS_", AmazonS3Builder::with_config);
            Arc::new(builder.with_bucket_name(bucket).build().map_err(failed)?)
        }
        "gs" => {
            let builder = GoogleCloudStorageBuilder::new().with_client_options(client()).with_retry(retries());
            let builder = configure(builder, environment, "GOOGLE_", GoogleCloudStorageBuilder::with_config);
            Arc::new(builder.with_bucket_name(bucket).build().map_err(failed)?)
        }
        "az" => {
            let builder = MicrosoftAzureBuilder::new().with_client_options(client()).with_retry(retries());
            let builder = configure(builder, environment, "AZURE_", MicrosoftAzureBuilder::with_config);
            Arc::new(builder.with_container_name(bucket).build().map_err(failed)?)
        }
        _ => return Ok(None),
    };
    if bucket.is_empty() {
        return Err(Error::invalid(format!("`{url}` names no bucket: write it like {scheme}://bucket/prefix")));
    }
    let prefix = prefix.trim_end_matches('/');
    Ok(Some(if prefix.is_empty() { store } else { Arc::new(PrefixStore::new(store, Path::from(prefix))) }))
}

/// Gives the builder every variable of the environment whose name it knows.
fn configure<B, K: FromStr>(
    builder: B,
    environment: &[(String, String)],
    vendor: &str,
    with_config: impl Fn(B, K, String) -> B,
) -> B {
    environment.iter().filter(|(name, _)| name.starts_with(vendor)).fold(builder, |builder, (name, value)| {
        match name.to_ascii_lowercase().parse() {
            Ok(key) => with_config(builder, key, value.clone()),
            Err(_) => builder,
        }
    })
}

fn client() -> ClientOptions {
    ClientOptions::new().with_timeout(REQUEST).with_connect_timeout(CONNECT)
}

/// Short: whoever asked tries again by itself, and knows what may be tried again.
fn retries() -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(5), base: 2.0 };
    RetryConfig { backoff, max_retries: 10, retry_timeout: Duration::from_secs(30) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn urls_and_environments_choose_the_cloud() {
        let google = r#"{"private_key":"private_key","private_key_id":"","client_email":"","disable_oauth":true}"#;
        let environment = environment(&[
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_ENDPOINT", "http://127.0.0.1:1"),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_NO_SUCH_SETTING", "x"),
            ("GOOGLE_SERVICE_ACCOUNT_KEY", google),
            ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
            ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5"),
        ]);
        for (url, name) in [
            ("s3://bucket", "AmazonS3(bucket)"),
            ("s3://bucket/", "AmazonS3(bucket)"),
            ("s3://bucket/a/b/", "a/b"),
            ("gs://bucket/lake", "lake"),
            ("az://container/lake", "lake"),
        ] {
            let store = open(url, &environment).unwrap().expect("a cloud");
            assert!(store.to_string().contains(name), "{url} is {store}");
        }
        assert!(open("ftp://bucket", &environment).unwrap().is_none());
        let error = open("s3:///lake", &environment).expect_err("no bucket is named");
        assert!(error.kind() == Kind::Invalid && error.message().contains("s3://bucket/prefix"), "{error}");
        let error = open("az://container", &[]).expect_err("no account is named");
        assert!(error.kind() == Kind::Invalid && error.to_string().contains("az://container"), "{error}");
    }
}
