//! Servers that cannot hold a store, and places that hold something else.

use plexspaces_store::conformance::faults::pause;
use plexspaces_store::conformance::{partition, put};
use plexspaces_store::{Durability as Promise, Error, Store};
use plexspaces_store_remote::Redis;
use plexspaces_store_remote::redis::{Config, Durability};
use plexspaces_testkit::servers;

use crate::support::{connect, server, tell};

async fn outcome(config: &Config) -> Result<(), Error> {
    put(&Redis::open(config)?, &partition("here"), "k", "v").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_would_lose_what_it_acknowledges_is_refused() {
    let server = server().await;
    let operator = connect(&server.url()).await;
    let config = Config::new(server.url());
    let trusting = Config { durability: Durability::Server, ..config.clone() };
    assert_eq!(Redis::open(&config).unwrap().limits().durability, Promise::Synced);
    assert_eq!(Redis::open(&trusting).unwrap().limits().durability, Promise::Server);
    for (change, back) in [
        ("appendonly no", "appendonly yes"),
        ("appendfsync everysec", "appendfsync always"),
        ("no-appendfsync-on-rewrite yes", "no-appendfsync-on-rewrite no"),
    ] {
        let () = tell(&operator, &format!("CONFIG SET {change}")).await;
        let error = outcome(&config).await.unwrap_err();
        let remedy = format!("CONFIG SET {back}, or set store.durability = \"server\"");
        assert!(matches!(&error, Error::Failed(text) if text.contains(&remedy)), "{error}");
        outcome(&trusting).await.unwrap();
        let () = tell(&operator, &format!("CONFIG SET {back}")).await;
    }
    let () = tell(&operator, "CONFIG SET maxmemory-policy volatile-ttl").await;
    for config in [&config, &trusting] {
        let error = outcome(config).await.unwrap_err();
        assert!(matches!(&error, Error::Failed(text) if text.contains("CONFIG SET maxmemory-policy noeviction")), "{error}");
    }
    let () = tell(&operator, "CONFIG SET maxmemory-policy noeviction").await;
    outcome(&config).await.unwrap();
    // It does not stop while it begins its file.
    while tell::<String>(&operator, "INFO persistence").await.contains("aof_rewrite_in_progress:1") {
        pause().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_do_what_is_needed_is_enough() {
    let server = server().await;
    let operator = connect(&server.url()).await;
    let rights = "~plexspaces:* +info +config|get +scan +get +set +del +script|load +evalsha \
         +hget +hset +hdel +hlen +hexists +hstrlen +zadd +zrem +zcard +zrangebylex";
    let () = tell(&operator, &format!("ACL SETUSER plex on >other {rights}")).await;
    let url = server.url().replace(&format!(":{}@", servers::Redis::PASSWORD), "plex:other@");
    let config = Config::new(&url);
    outcome(&config).await.unwrap();
    let () = tell(&operator, "ACL SETUSER plex -config").await;
    let error = outcome(&config).await.unwrap_err();
    assert!(matches!(&error, Error::Failed(text) if text.contains("allow the user `config|get`")), "{error}");
    outcome(&Config { durability: Durability::Server, ..config.clone() }).await.unwrap();
    // What is needed only at times is missed at once.
    for word in rights.split(' ').filter(|word| word.starts_with('+') && !["+config|get", "+scan", "+set"].contains(word)) {
        let () = tell(&operator, &format!("ACL SETUSER plex {}", word.replace('+', "-"))).await;
        let error = outcome(&Config { durability: Durability::Server, ..config.clone() }).await.unwrap_err();
        assert!(
            matches!(&error, Error::Failed(text) if text.contains("NOPERM") || text.contains("can't run this command")),
            "{word}: {error}"
        );
        let () = tell(&operator, &format!("ACL SETUSER plex {word}")).await;
    }
    outcome(&Config { durability: Durability::Server, ..config }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_way_of_redis_is_told_without_the_password() {
    let server = server().await;
    let right = servers::Redis::PASSWORD;
    let outcome = async |config: Config| {
        let error = match Redis::open(&config) {
            Ok(store) => store.get(&partition("here"), b"k").await.unwrap_err(),
            Err(error) => error,
        };
        assert!(!format!("{error:?}").contains(right) && !format!("{error:?}").contains("wr0ng"), "{error:?}");
        error
    };
    let config = Config::new(server.url());
    let error = outcome(Config::new(server.url().replace(right, "wr0ng"))).await;
    assert!(matches!(&error, Error::Failed(text) if text.contains("WRONGPASS")), "{error}");
    let error = outcome(Config::new(server.url().replace(&format!(":{right}@"), ""))).await;
    assert!(matches!(&error, Error::Failed(text) if text.contains("NOAUTH")), "{error}");
    let error = outcome(Config::new(server.url().replace("/0", "/99"))).await;
    assert!(matches!(&error, Error::Failed(text) if text.contains("out of range")), "{error}");
    let error = outcome(Config::new(format!("redis://:{right}@127.0.0.1:1"))).await;
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("refused")), "{error}");
    assert!(matches!(outcome(Config::new(format!("mysql://plex:{right}@db"))).await, Error::Failed(_)));
    assert!(matches!(outcome(Config { ca_file: Some("ca.pem".into()), ..config.clone() }).await, Error::Failed(_)));
    assert!(matches!(outcome(Config { prefix: "a*".to_owned(), ..config.clone() }).await, Error::Failed(_)));

    let operator = connect(&server.url()).await;
    let () = tell(&operator, "SET plexspaces:theirs 1").await;
    assert!(matches!(outcome(config.clone()).await, Error::Corrupt(text) if text.contains("it holds the key \"plexspaces:theirs\"")));
    let () = tell(&operator, "SET plexspaces:store version-7").await;
    assert!(matches!(outcome(config.clone()).await, Error::Corrupt(text) if text.contains("version-7")));
    let () = tell(&operator, "DEL plexspaces:store").await;
    let () = tell(&operator, "HSET plexspaces:store k v").await;
    assert!(matches!(outcome(config.clone()).await, Error::Corrupt(text) if text.contains("something else")));
    let elsewhere = Config { prefix: "elsewhere".to_owned(), ..config.clone() };
    put(&Redis::open(&elsewhere).unwrap(), &partition("here"), "k", "v").await.unwrap();

    let () = tell(&operator, "REPLICAOF 127.0.0.1 1").await;
    assert!(matches!(outcome(elsewhere.clone()).await, Error::Unavailable(text) if text.contains("replica")));
    let () = tell(&operator, "REPLICAOF NO ONE").await;
    let () = tell(&operator, "CONFIG SET maxclients 1").await;
    assert!(matches!(outcome(elsewhere).await, Error::Unavailable(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_to_redis_is_encrypted_with_a_server_whose_certificate_is_trusted() {
    let server = server().await;
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let [ca_file, key_file] = ["ca.pem", "key.pem"].map(|name| directory.path().join(name));
    std::fs::write(&ca_file, own.cert.pem()).unwrap();
    std::fs::write(&key_file, own.signing_key.serialize_pem()).unwrap();
    let port = servers::free_port().unwrap();
    let operator = connect(&server.url()).await;
    let (certificate, key) = (ca_file.display(), key_file.display());
    let settings = format!("tls-auth-clients no tls-cert-file {certificate} tls-key-file {key} tls-ca-cert-file {certificate}");
    let () = tell(&operator, &format!("CONFIG SET {settings} tls-port {port}")).await;

    let secure = format!("rediss://:{}@127.0.0.1:{port}/0", servers::Redis::PASSWORD);
    let error = outcome(&Config::new(&secure)).await.unwrap_err();
    assert!(matches!(&error, Error::Failed(text) if text.contains("UnknownIssuer")), "{error}");
    let config = Config { ca_file: Some(ca_file), ..Config::new(&secure) };
    outcome(&config).await.unwrap();
    // The certificate is for another name.
    let error = outcome(&Config { url: secure.replace("127.0.0.1", "localhost"), ..config }).await.unwrap_err();
    assert!(matches!(&error, Error::Failed(text) if text.contains("certificate")), "{error}");
}
