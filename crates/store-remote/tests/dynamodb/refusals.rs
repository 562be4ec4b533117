//! Tables that are something else, and services that cannot be asked.

use plexspaces_store::conformance::partition;
use plexspaces_store::{Error, Store as _};
use plexspaces_store_remote::DynamoDb;
use plexspaces_store_remote::dynamodb::{Config, Credentials};

use crate::support::{self, Table};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_way_of_dynamodb_is_told_without_the_secret() {
    let table = Table::new();
    let outcome = async |config: Config| {
        let error = match DynamoDb::open(&config) {
            Ok(store) => store.get(&partition("here"), b"k").await.unwrap_err(),
            Err(error) => error,
        };
        assert!(!format!("{error:?}{config:?}").contains("s3cret"), "{error:?} {config:?}");
        error
    };
    let error = outcome(Config { endpoint: Some("http://127.0.0.1:1".to_owned()), ..table.config() }).await;
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("refused")), "{error}");
    // It does not encrypt, so that no certificate can be trusted.
    let (own, directory) = (rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap(), tempfile::tempdir().unwrap());
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, own.cert.pem()).unwrap();
    let endpoint = table.config().endpoint.map(|url| url.replace("http:", "https:"));
    let error = outcome(Config { endpoint, ca_file: Some(ca_file), ..table.config() }).await;
    assert!(matches!(&error, Error::Failed(text) if text.contains("no encrypted connection")), "{error}");
    for endpoint in ["ftp://here", "here:8000", "http://", "https://plex:s3cret@here", "https://here/path"] {
        let error = outcome(Config { endpoint: Some(endpoint.to_owned()), ..table.config() }).await;
        assert!(matches!(&error, Error::Failed(text) if text.contains("expected http://host:port")), "{endpoint}: {error}");
    }
    let error = outcome(Config { table: "no".to_owned(), ..table.config() }).await;
    assert!(matches!(&error, Error::Failed(text) if text.contains("ValidationException")), "{error}");
    // The server wants access keys of letters and numbers alone.
    let credentials = Credentials::new("not-a-key", "s3cret", Some("s3cret".to_owned()));
    let error = outcome(Config { credentials, ..table.config() }).await;
    assert!(matches!(&error, Error::Failed(text) if text.contains("Exception")), "{error}");
    let credentials = Credentials::container("http://127.0.0.1:1/s3cret", None);
    let error = outcome(Config { credentials, ..table.config() }).await;
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("no keys of a role")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_something_else_is_refused_and_left_alone() {
    let refused = async |table: &Table, why: &str| {
        let error = table.store().get(&partition("here"), b"k").await.unwrap_err();
        assert!(matches!(&error, Error::Corrupt(text) if text.contains(why)), "{error}");
    };
    let table = Table::new();
    support::make(&table, "S");
    refused(&table, "both binary").await;
    let table = Table::new();
    support::make(&table, "B");
    support::put(&table, b"theirs", b"theirs");
    refused(&table, "something else").await;
    // One that is empty becomes a store.
    let table = Table::new();
    support::make(&table, "B");
    assert_eq!(table.store().get(&partition("here"), b"k").await, Ok(None));
    support::put(&table, partition("here").as_bytes(), &[0]);
    refused(&table, "head of a partition").await;
}
