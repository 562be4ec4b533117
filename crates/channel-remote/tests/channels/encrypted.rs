//! Encrypted connections to brokers, and who may make them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use plexspaces_actor::{Broker, BrokerRequest};
use plexspaces_channel_remote::{Nats, NatsConfig, Redis, RedisConfig};
use plexspaces_testkit::servers;
use plexspaces_types::{ActorId, Code, Failure, Key, Name, Payload};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PATIENCE, eventually};

/// A certificate that vouches for itself.
struct Certificate {
    file: PathBuf,
    key: PathBuf,
    _directory: TempDir,
}

impl Certificate {
    fn of(name: &str) -> Self {
        let own = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let [file, key] = ["ca.pem", "key.pem"].map(|name| directory.path().join(name));
        std::fs::write(&file, own.cert.pem()).unwrap();
        std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
        Self { file, key, _directory: directory }
    }

    /// A server of NATS that has it.
    fn nats(&self) -> servers::Nats {
        let tls = format!(r#"tls {{ cert_file: "{}", key_file: "{}" }}"#, self.file.display(), self.key.display());
        servers::Nats::configured(&format!("authorization {{ user: plex, password: s3cret }}\n{tls}\n")).unwrap()
    }
}

async fn ask(broker: &dyn Broker, operation: &str, arguments: Value) -> Result<Value, Failure> {
    let name = |text| Name::new("name", text).unwrap();
    let channel = ActorId::new(Name::default_scope(), Name::default_scope(), name("plexspaces.channels"), Key::new("work").unwrap());
    let payload = Payload::from_value(&arguments);
    let reply = broker.ask(&channel, BrokerRequest { operation, payload: &payload, sender: None, idempotency_key: None }).await?;
    Ok(serde_json::from_slice(reply.as_bytes()).unwrap())
}

/// It works, also where the client connects beside whatever else happens.
async fn works(broker: &dyn Broker) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(failure) = ask(broker, "status", json!({})).await {
        assert!(failure.code == Code::Unavailable && Instant::now() < deadline, "{failure}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ask(broker, "send", json!({"payload": 1, "msg_id": "m"})).await.unwrap();
    let waiting = ask(broker, "receive", json!({"timeout_ms": 60_000})).await.unwrap();
    assert_eq!(waiting["message"]["payload"], json!(1));
    ask(broker, "ack", json!({"msg_id": "m"})).await.unwrap();
}

/// It does not work, and at last it is told why.
async fn fails(broker: &dyn Broker, why: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let failure = ask(broker, "send", json!({"payload": 1})).await.unwrap_err();
        assert_eq!(failure.code, Code::Unavailable, "{failure}");
        assert!(!failure.message.contains("s3cret"), "{failure}");
        if failure.message.contains(why) {
            return;
        }
        assert!(Instant::now() < deadline, "{failure} says nothing of {why:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn nats(config: NatsConfig) -> Arc<dyn Broker> {
    Arc::new(Nats::open(&config).await.unwrap())
}

fn redis(config: &RedisConfig) -> Arc<dyn Broker> {
    Arc::new(Redis::open(config).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_to_nats_is_encrypted_with_a_server_whose_certificate_is_trusted() {
    let certificate = Certificate::of("127.0.0.1");
    let server = certificate.nats();
    let secure = NatsConfig::new(format!("tls://plex:s3cret@{}", server.address()));
    fails(&*nats(secure.clone()).await, "UnknownIssuer").await;
    // A server that demands encryption gets it, and is trusted no more for that.
    fails(&*nats(NatsConfig::new(secure.url.replace("tls:", "nats:"))).await, "UnknownIssuer").await;
    let trusting = NatsConfig { ca_file: Some(certificate.file.clone()), ..secure };
    works(&*nats(trusting.clone()).await).await;
    let another = Certificate::of("mq.example");
    let elsewhere = another.nats();
    let url = format!("tls://plex:s3cret@{}", elsewhere.address());
    fails(&*nats(NatsConfig { url, ca_file: Some(another.file.clone()), ..trusting.clone() }).await, "certificate").await;
    fails(&*nats(NatsConfig { url: trusting.url.replace("s3cret", "wr0ng"), ..trusting.clone() }).await, "authorization").await;
    // Without encryption nothing is said to a server.
    let open = servers::Nats::start().unwrap();
    let url = format!("tls://plex:s3cret@{}", open.address());
    fails(&*nats(NatsConfig { url, ..trusting.clone() }).await, "there is no connection: ").await;

    let missing = NatsConfig { ca_file: Some("/nowhere/ca.pem".into()), ..trusting };
    let failure = Nats::open(&missing).await.err().unwrap();
    assert!(failure.message.contains("/nowhere/ca.pem") && !format!("{failure:?} {missing:?}").contains("s3cret"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_to_redis_is_encrypted_with_a_server_whose_certificate_is_trusted() {
    let (certificate, server) = (Certificate::of("127.0.0.1"), servers::Redis::start().unwrap());
    let port = servers::free_port().unwrap();
    let mut operator = ::redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let (file, key) = (certificate.file.display().to_string(), certificate.key.display().to_string());
    let mut settings = ::redis::cmd("CONFIG");
    settings.arg("SET").arg("tls-auth-clients").arg("no").arg("tls-cert-file").arg(&file).arg("tls-key-file").arg(&key);
    settings.arg("tls-ca-cert-file").arg(&file).arg("tls-port").arg(port);
    settings.query_async::<()>(&mut operator).await.unwrap();

    let secure = RedisConfig::new(format!("rediss://:s3cret@127.0.0.1:{port}/0"));
    fails(&*redis(&secure), "UnknownIssuer").await;
    let trusting = RedisConfig { ca_file: Some(certificate.file.clone()), ..secure };
    works(&*redis(&trusting)).await;
    fails(&*redis(&RedisConfig { url: trusting.url.replace("127.0.0.1", "localhost"), ..trusting.clone() }), "certificate").await;
    fails(&*redis(&RedisConfig { url: trusting.url.replace("s3cret", "wr0ng"), ..trusting.clone() }), "does not answer").await;
    let url = server.url().replace("redis:", "rediss:");
    fails(&*redis(&RedisConfig { url, ..trusting.clone() }), "does not answer").await;

    let missing = RedisConfig { ca_file: Some("/nowhere/ca.pem".into()), ..trusting };
    let failure = Redis::open(&missing).err().unwrap();
    assert!(failure.message.contains("/nowhere/ca.pem") && !format!("{failure:?} {missing:?}").contains("s3cret"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_to_redis_is_made_again_and_hears_what_its_waiters_wait_for() {
    let server = servers::Redis::start().unwrap();
    let broker = redis(&RedisConfig::new(server.url()));
    works(&*broker).await;
    let listens = || {
        let broker = broker.clone();
        tokio::spawn(async move { ask(&*broker, "next", json!({"subscriber": "s", "timeout_ms": 600_000})).await })
    };
    let mut operator = ::redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let mut channels = ::redis::cmd("PUBSUB");
    channels.arg("NUMSUB").arg("plexspaces:{default/default/work}:wake");
    let subscribed = async |operator: &mut ::redis::aio::MultiplexedConnection| {
        let (_, count): (String, u64) = channels.query_async(operator).await.unwrap();
        count > 0
    };
    let listening = loop {
        let listening = listens();
        eventually("it listens", async || subscribed(&mut operator).await).await;
        // Only the clients that listen are cut off, so the operator stays.
        let mut kill = ::redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("pubsub");
        kill.query_async::<()>(&mut operator).await.unwrap();
        eventually("it listens again or has ended", async || listening.is_finished() || subscribed(&mut operator).await).await;
        if !listening.is_finished() {
            break listening;
        }
        // It was asking whether there was something when the connection was lost, and cannot know the answer.
        let failure = listening.await.unwrap().unwrap_err();
        assert_eq!(failure.code, Code::Unavailable, "{failure}");
    };
    ask(&*broker, "publish", json!({"payload": "news"})).await.unwrap();
    assert_eq!(listening.await.unwrap().unwrap()["message"]["payload"], json!("news"));
}

/// A token of NATS: what somebody says of somebody.
fn token(by: &KeyPair, of: &KeyPair, mut says: Value) -> String {
    says["version"] = json!(2);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"jti": of.public_key(), "iat": now, "iss": by.public_key(), "sub": of.public_key(), "name": "plex", "nats": says});
    let parts = [json!({"typ": "JWT", "alg": "ed25519-nkey"}), claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = parts.join(".");
    let signature = URL_SAFE_NO_PAD.encode(by.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

fn credentials(path: &Path, token: &str, user: &KeyPair) {
    let seed = user.seed().unwrap();
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    std::fs::write(path, text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credentials_file_lets_into_nats_and_is_not_shown() {
    let (operator, system, account) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let (user, stranger) = (KeyPair::new_user(), KeyPair::new_user());
    let limits = |storage: i64| {
        json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
            "mem_storage": storage, "disk_storage": storage, "streams": storage, "consumer": storage,
        })
    };
    let of_account = |of: &KeyPair, storage| token(&operator, of, json!({"type": "account", "limits": limits(storage)}));
    let config = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{ {}: {}\n {}: {} }}\n",
        token(&operator, &operator, json!({"type": "operator", "system_account": system.public_key()})),
        system.public_key(),
        system.public_key(),
        of_account(&system, 0),
        account.public_key(),
        of_account(&account, -1),
    );
    let server = servers::Nats::configured(&config).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let [file, other, none] = ["plex.creds", "stranger.creds", "none.creds"].map(|name| directory.path().join(name));
    let of_user = json!({"type": "user", "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1});
    credentials(&file, &token(&account, &user, of_user.clone()), &user);
    // A user for whom no account of the server has spoken.
    credentials(&other, &token(&stranger, &stranger, of_user), &stranger);
    std::fs::write(&none, "s3cret").unwrap();

    let config = NatsConfig { credentials_file: Some(file), ..NatsConfig::new(format!("nats://{}", server.address())) };
    works(&*nats(config.clone()).await).await;
    fails(&*nats(NatsConfig { credentials_file: Some(other), ..config.clone() }).await, "authorization").await;
    fails(&*nats(NatsConfig { credentials_file: None, ..config.clone() }).await, "authorization").await;
    let refused = Nats::open(&NatsConfig { credentials_file: Some(none.clone()), ..config.clone() }).await.err().unwrap();
    assert!(refused.message.contains("holds no credentials") && !refused.message.contains("s3cret"), "{refused}");
    let refused = Nats::open(&NatsConfig { credentials_file: Some(none.with_extension("")), ..config.clone() }).await.err().unwrap();
    assert!(refused.message.contains("none cannot be read"), "{refused}");
    assert!(!format!("{config:?}").contains("JWT"));
}
