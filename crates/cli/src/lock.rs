//! `lock`: acquires and releases locks, and holds one while a command runs.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::args::{Lock, Remote};
use crate::services::{Space, member};

pub(crate) async fn run(remote: &Remote, namespace: &str, command: &Lock) -> anyhow::Result<()> {
    let space = Space::connect(remote, namespace).await?;
    match command {
        Lock::Acquire { key, ttl, holder, wait, once } => {
            let token = &once.idempotency_key;
            let fields = json!({"key": key, "ttl_ms": ttl, "holder": holder, "timeout_ms": wait, "client_token": token});
            let answer = space.call("LockService.AcquireLock", fields).await?;
            space.say(version(&answer)?)?;
            Ok(())
        }
        Lock::Renew { key, fence, ttl } => {
            if !renew(&space, key, fence, *ttl).await? {
                return lost();
            }
            space.say("renewed")?;
            Ok(())
        }
        Lock::Release { key, fence } => {
            let answer = space.call("LockService.ReleaseLock", json!({"key": key, "version": fence})).await?;
            if member(&answer, "released") != true {
                return lost();
            }
            space.say("released")?;
            Ok(())
        }
        Lock::Get { key } => {
            let answer = space.call("LockService.GetLock", json!({"key": key})).await?;
            space.table(std::slice::from_ref(member(&answer, "lock")), &["key", "version", "holder", "expires_at"], "")?;
            Ok(())
        }
        Lock::List { prefix } => {
            let locks = space.all("LockService.ListLocks", json!({"prefix": prefix}), "locks", usize::MAX).await?;
            space.table(&locks, &["key", "version", "holder", "expires_at"], "no lock is held")?;
            Ok(())
        }
        Lock::Run { key, ttl, wait, command } => hold(remote, namespace, key, (*ttl, *wait), command).await,
    }
}

/// The version in an answer; an error when the lock is another's.
fn version(answer: &Value) -> anyhow::Result<&str> {
    member(answer, "version").as_str().with_context(|| match member(answer, "holder").as_str() {
        Some(holder) if !holder.is_empty() => format!("the lock is held by {holder}"),
        _ => "the lock is held by another".to_owned(),
    })
}

async fn renew(space: &Space<'_>, key: &str, version: &str, ttl: u64) -> anyhow::Result<bool> {
    let answer = space.call("LockService.RenewLock", json!({"key": key, "version": version, "ttl_ms": ttl})).await?;
    Ok(member(&answer, "renewed") == true)
}

fn lost() -> anyhow::Result<()> {
    bail!("the lock is another's or free")
}

/// Holds the lock while a command runs. A command whose lock is lost is killed: it must not go on beside the next holder's.
async fn hold(remote: &Remote, namespace: &str, key: &str, (ttl, wait): (u64, Option<u64>), command: &[String]) -> anyhow::Result<()> {
    // What is printed is the command's.
    let remote = Remote { json: false, ..remote.clone() };
    let space = Space::connect(&remote, namespace).await?;
    let answer = space.call("LockService.AcquireLock", json!({"key": key, "ttl_ms": ttl, "timeout_ms": wait})).await?;
    let version = version(&answer)?;
    let (program, arguments) = command.split_first().context("expected a command")?;
    let child = Command::new(program).args(arguments).env("PLEXSPACES_LOCK_VERSION", version).kill_on_drop(true).spawn();
    let ended = match child.with_context(|| format!("cannot run {program}")) {
        Ok(child) => follow(&space, child, key, version, ttl).await,
        Err(error) => Err(error),
    };
    let released = space.call("LockService.ReleaseLock", json!({"key": key, "version": version})).await;
    ended?;
    released.map(drop)
}

async fn follow(space: &Space<'_>, mut child: Child, key: &str, version: &str, ttl: u64) -> anyhow::Result<()> {
    let mut renewal = tokio::time::interval(Duration::from_millis((ttl / 3).max(1)));
    loop {
        tokio::select! {
            status = child.wait() => {
                let status = status?;
                if status.success() {
                    return Ok(());
                }
                bail!("the command ended with {status}");
            }
            _ = renewal.tick() => {
                let kept = renew(space, key, version, ttl).await;
                if !matches!(kept, Ok(true)) {
                    child.kill().await?;
                    kept.context("the lock could not be renewed, so the command was killed")?;
                    bail!("the lock was lost, so the command was killed");
                }
            }
        }
    }
}
