//! What services cost: a tuple space that is small and one that is large, and each service on SQLite against Redis that syncs every write.
//!
//! `cargo bench --workspace --bench services` prints it. Redis is asked over loopback by as many connections as there are callers, with
//! `appendfsync always`, so that both sides answer when the change is on disk. Services are asked inside the process, as guests ask them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use plexspaces_actor::{Config, Request, Runtime};
use plexspaces_store::{Memory, Store};
use plexspaces_store_sql::Sqlite;
use plexspaces_store_sql::sqlite;
use plexspaces_types::{Clock, Name, Payload, RequestContext};
use tempfile::TempDir;

const ROUND: Duration = Duration::from_millis(700);
const ROUNDS: usize = 5;
const LARGE: usize = 1_000_000;
const SMALL: usize = 1_000;
const SAMPLES: usize = 20_000;
const WRITERS: usize = 256;

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(sizes())?;
    runtime.block_on(hand_over())?;
    let redis = Redis::start()?;
    println!("\nSQLite and Redis, both synced; operations per second, medians of {ROUNDS} rounds");
    println!("{:<34} {:>8} {:>12} {:>12} {:>7}", "", "callers", "PlexSpaces", "Redis", "ratio");
    for callers in [1, 64] {
        for work in WORKS {
            compare(&runtime, &redis, work, callers)?;
        }
    }
    Ok(())
}

/// Services over a store.
#[derive(Clone)]
struct Node {
    runtime: Runtime,
    ctx: RequestContext,
}

impl Node {
    fn over(store: Arc<dyn Store>) -> Result<Self, Failed> {
        let config = Config::new(Name::new("node", "bench")?, store, Clock::system());
        let runtime = Runtime::new(Config { services: plexspaces_coord::services(), ..config });
        Ok(Self { runtime, ctx: RequestContext::external(Name::default_scope(), Name::default_scope(), "bench") })
    }

    async fn ask(&self, service: &str, operation: &str, arguments: String) -> Result<String, Failed> {
        let request = Request { operation: operation.to_owned(), payload: Payload::Json(arguments), idempotency_key: None };
        let reply = self.runtime.ask_service(&self.ctx, service, "default", request).await?;
        Ok(String::from_utf8_lossy(reply.as_bytes()).into_owned())
    }
}

/// What an operation costs among few and among many tuples.
async fn sizes() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    println!("tuple space, p50; the second element is known");
    println!("{:<18} {:>14} {:>14} {:>7}", "", "1,000", "1,000,000", "ratio");
    let memory = || Arc::new(Memory::new()) as Arc<dyn Store>;
    among("memory", SAMPLES, [memory(), memory()]).await?;
    among("SQLite", SAMPLES / 10, [sqlite(&directory)?, sqlite(&directory)?]).await
}

async fn among(name: &str, samples: usize, [few, many]: [Arc<dyn Store>; 2]) -> Result<(), Failed> {
    let (small, large) = (Node::over(few)?, Node::over(many)?);
    fill(&small, SMALL).await?;
    fill(&large, LARGE).await?;
    let mut printed = [Vec::new(), Vec::new()];
    // In turn, so that what the machine does besides meets both.
    for sample in 0..samples {
        for (node, size, times) in [(&small, SMALL, 0), (&large, LARGE, 1)] {
            let number = (sample * 7919) % size;
            let mut took = [Duration::ZERO; 3];
            for (took, (operation, arguments)) in took.iter_mut().zip([
                ("read", format!(r#"{{"pattern":[null,{number},null]}}"#)),
                ("take", format!(r#"{{"pattern":["item",{number},null]}}"#)),
                ("write", format!(r#"{{"tuple":["item",{number},"payload"]}}"#)),
            ]) {
                let began = Instant::now();
                node.ask("tuples", operation, arguments).await?;
                *took = began.elapsed();
            }
            if let Some(times) = printed.get_mut(times) {
                times.push(took);
            }
        }
    }
    for (index, operation) in ["rd", "in", "out"].iter().enumerate() {
        let p50 = |times: &[[Duration; 3]]| median(times.iter().filter_map(|took| took.get(index)).map(Duration::as_secs_f64).collect());
        let [few, many] = [p50(&printed[0]), p50(&printed[1])];
        let name = format!("{name}, {operation}");
        println!("{name:<18} {:>11.2} us {:>11.2} us {:>7.2} (at most 1.50)", few * 1e6, many * 1e6, many / few);
    }
    Ok(())
}

/// Tuples with the numbers up to a size, written by several at a time.
async fn fill(node: &Node, size: usize) -> Result<(), Failed> {
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let node = node.clone();
            tokio::spawn(async move {
                for number in (writer..size).step_by(WRITERS) {
                    node.ask("tuples", "write", format!(r#"{{"tuple":["item",{number},"payload"]}}"#)).await?;
                }
                Ok::<(), Failed>(())
            })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    Ok(())
}

/// From a write to the answer of a take that waits for it.
async fn hand_over() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    for (name, store) in [("memory", Arc::new(Memory::new()) as Arc<dyn Store>), ("SQLite", sqlite(&directory)?)] {
        let node = Node::over(store)?;
        let mut times = Vec::new();
        for _ in 0..500 {
            let taker = node.clone();
            let taken = tokio::spawn(async move {
                let reply = taker.ask("tuples", "take", r#"{"pattern":["x"],"timeout_ms":60000}"#.to_owned()).await;
                reply.map(|_| Instant::now())
            });
            tokio::time::sleep(Duration::from_millis(1)).await;
            let began = Instant::now();
            node.ask("tuples", "write", r#"{"tuple":["x"]}"#.to_owned()).await?;
            times.push(taken.await??.saturating_duration_since(began).as_secs_f64());
        }
        println!("blocking take, hand-over ({name}): p50 {:.1} us", median(times) * 1e6);
    }
    Ok(())
}

fn sqlite(directory: &TempDir) -> Result<Arc<dyn Store>, Failed> {
    let path = directory.path().join(format!("{}.db", std::fs::read_dir(directory.path())?.count()));
    Ok(Arc::new(Sqlite::open(sqlite::Config::new(path))?))
}

/// The same work on both sides: what a caller does again and again.
#[derive(Clone, Copy)]
struct Work {
    name: &'static str,
    /// Operations of the service; `#` stands for the caller's number, `@` for the version that the last reply gave.
    ours: &'static [(&'static str, &'static str, &'static str)],
    redis: &'static [&'static str],
}

const WORKS: [Work; 5] = [
    Work {
        name: "tuple out, in",
        ours: &[("tuples", "write", r##"{"tuple":["t",#,"payload"]}"##), ("tuples", "take", r##"{"pattern":["t",#,null]}"##)],
        redis: &["RPUSH t# payload", "LPOP t#"],
    },
    Work { name: "tuple rd", ours: &[("tuples", "read", r##"{"pattern":["r",#,null]}"##)], redis: &["LINDEX r# 0"] },
    Work {
        name: "lock acquire, release",
        ours: &[
            ("locks", "acquire", r##"{"key":"l#","ttl_ms":60000,"holder":"h#"}"##),
            ("locks", "release", r##"{"key":"l#","version":"@"}"##),
        ],
        redis: &["SET l# h NX PX 60000", "DEL l#"],
    },
    Work { name: "shared pair put", ours: &[("kv", "put", r##"{"key":"k#","value":"value"}"##)], redis: &["SET k# value"] },
    Work { name: "shared pair get", ours: &[("kv", "get", r##"{"key":"k#"}"##)], redis: &["GET k#"] },
];

fn compare(runtime: &tokio::runtime::Runtime, redis: &Redis, work: Work, callers: usize) -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let node = Node::over(sqlite(&directory)?)?;
    runtime.block_on(async {
        for caller in 0..callers {
            node.ask("tuples", "write", format!(r#"{{"tuple":["r",{caller},"payload"]}}"#)).await?;
        }
        Ok::<_, Failed>(())
    })?;
    for caller in 0..callers {
        redis.connect()?.run(&format!("RPUSH r{caller} payload"))?;
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(runtime.block_on(ask_all(&node, work, callers))?);
        theirs.push(redis_all(redis, work, callers)?);
    }
    let ratio = median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect());
    println!("{:<34} {callers:>8} {:>12.0} {:>12.0} {ratio:>7.2}", work.name, median(ours), median(theirs));
    Ok(())
}

async fn ask_all(node: &Node, work: Work, callers: usize) -> Result<f64, Failed> {
    let began = Instant::now();
    let tasks = (0..callers).map(|caller| {
        let node = node.clone();
        tokio::spawn(async move {
            let number = caller.to_string();
            let mut done = 0_u64;
            while began.elapsed() < ROUND {
                let mut version = String::new();
                for (service, operation, arguments) in work.ours {
                    let arguments = arguments.replace('#', &number).replace('@', &version);
                    let reply = node.ask(service, operation, arguments).await?;
                    if *operation == "acquire" {
                        version = reply.split('"').skip_while(|part| *part != "version").nth(2).unwrap_or_default().to_owned();
                    }
                    done += 1;
                }
            }
            Ok::<_, Failed>(done)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut done = 0;
    for task in tasks {
        done += task.await??;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}

fn redis_all(redis: &Redis, work: Work, callers: usize) -> Result<f64, Failed> {
    let began = Instant::now();
    let threads = (0..callers).map(|caller| {
        let mut connection = redis.connect()?;
        Ok::<_, Failed>(std::thread::spawn(move || {
            let mut done = 0_u64;
            while began.elapsed() < ROUND {
                for command in work.redis {
                    connection.run(&command.replace('#', &caller.to_string()))?;
                    done += 1;
                }
            }
            Ok::<_, Failed>(done)
        }))
    });
    let threads: Vec<_> = threads.collect::<Result<_, _>>()?;
    let mut done = 0;
    for thread in threads {
        done += thread.join().map_err(|_| "a caller of Redis failed")??;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}

/// A Redis of its own, stopped when it is dropped.
struct Redis {
    process: Child,
    port: u16,
    _directory: TempDir,
}

struct Connection {
    reader: BufReader<TcpStream>,
}

impl Redis {
    fn start() -> Result<Self, Failed> {
        let directory = TempDir::new()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always", "--save", ""])
            .args(["--port", &port.to_string(), "--dir"])
            .arg(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("redis-server cannot be started ({error}); install it with: apt-get install redis-server"))?;
        let redis = Self { process, port, _directory: directory };
        for _ in 0..500 {
            if redis.connect().is_ok_and(|mut connection| connection.run("PING").is_ok()) {
                return Ok(redis);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("redis-server did not answer within five seconds".into())
    }

    fn connect(&self) -> Result<Connection, Failed> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        Ok(Connection { reader: BufReader::new(stream) })
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Connection {
    /// Sends a command and reads its reply, which must be no error.
    fn run(&mut self, command: &str) -> Result<(), Failed> {
        let words: Vec<&str> = command.split(' ').collect();
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.reader.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        match line.as_bytes().first() {
            Some(b'$') => {
                let length: i64 = line[1..].trim().parse()?;
                if length >= 0 {
                    let mut rest = vec![0; usize::try_from(length)? + 2];
                    self.reader.read_exact(&mut rest)?;
                }
                Ok(())
            }
            Some(b'+' | b':') => Ok(()),
            _ => Err(format!("Redis answered {line:?} to {command:?}").into()),
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
