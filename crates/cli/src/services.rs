//! `ts`, `channel`, `group`, `kv` and `registry`: what actors share.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use plexspaces_client::Client;
use serde_json::{Value, json};

use crate::args::{Channel, Group, Kv, Once, Registry, Remote, Subscriber, Ts};
use crate::table::print_table;
use crate::target::connect;

/// How many items one page has at most.
const PAGE: usize = 1000;

/// A namespace of a node.
pub(crate) struct Space<'a> {
    client: Client,
    remote: &'a Remote,
    namespace: &'a str,
}

impl<'a> Space<'a> {
    pub(crate) async fn connect(remote: &'a Remote, namespace: &'a str) -> anyhow::Result<Self> {
        Ok(Self { client: connect(remote).await?, remote, namespace })
    }

    fn request(&self, mut fields: Value) -> Value {
        if let Value::Object(members) = &mut fields {
            members.insert("tenant_id".to_owned(), self.remote.tenant.as_str().into());
            members.insert("namespace".to_owned(), self.namespace.into());
        }
        fields
    }

    /// Calls a method and prints its whole answer if JSON is wanted.
    pub(crate) async fn call(&self, method: &str, fields: Value) -> anyhow::Result<Value> {
        let answer = self.client.call(method, self.request(fields)).await?;
        self.print(&answer)?;
        Ok(answer)
    }

    /// Calls a method of which nothing is to be seen but that it was done.
    async fn done(&self, method: &str, fields: Value, what: &str) -> anyhow::Result<()> {
        self.call(method, fields).await?;
        self.say(what)?;
        Ok(())
    }

    /// All pages of a list, at most `count` items of it.
    pub(crate) async fn all(&self, method: &str, fields: Value, items: &str, count: usize) -> anyhow::Result<Vec<Value>> {
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let size = (count - all.len()).clamp(1, PAGE);
            let mut request = self.request(fields.clone());
            if let Value::Object(members) = &mut request {
                members.insert("page_size".to_owned(), size.into());
                members.extend(token.take().map(|token| ("page_token".to_owned(), token)));
            }
            let mut page = self.client.call(method, request).await?;
            if let Some(Value::Array(found)) = page.get_mut(items).map(Value::take) {
                all.extend(found);
            }
            token = page.get_mut("next_page_token").map(Value::take).filter(Value::is_string);
            if token.is_none() || all.len() >= count {
                break;
            }
        }
        self.print(&json!({ items: all }))?;
        Ok(all)
    }

    /// Prints messages, one a line, until there are no more or `count` have come.
    async fn follow(&self, method: &str, fields: Value, count: Option<usize>, shown: impl Fn(&Value) -> String) -> anyhow::Result<()> {
        let messages = self.client.follow(method, self.request(fields)).await?;
        let mut messages = std::pin::pin!(messages.take(count.unwrap_or(usize::MAX)));
        while let Some(message) = messages.next().await {
            let message = message?;
            outln!("{}", if self.remote.json { message.to_string() } else { shown(&message) });
        }
        Ok(())
    }

    fn print(&self, answer: &Value) -> anyhow::Result<()> {
        if self.remote.json {
            outln!("{}", serde_json::to_string_pretty(answer)?);
        }
        Ok(())
    }

    /// Prints a line for people.
    pub(crate) fn say(&self, line: &str) -> anyhow::Result<()> {
        if !self.remote.json {
            outln!("{line}");
        }
        Ok(())
    }

    /// Prints some members of some objects as a table.
    pub(crate) fn table(&self, items: &[Value], columns: &[&str], none: &str) -> anyhow::Result<()> {
        if items.is_empty() {
            return self.say(none);
        }
        if !self.remote.json {
            let mut rows = vec![columns.iter().map(|column| column.to_uppercase().replace('_', " ")).collect::<Vec<_>>()];
            rows.extend(items.iter().map(|item| columns.iter().map(|column| text(member(item, column))).collect()));
            print_table(&rows)?;
        }
        Ok(())
    }
}

/// A member of an answer; null when it is absent.
pub(crate) fn member<'a>(answer: &'a Value, name: &str) -> &'a Value {
    answer.get(name).unwrap_or(&Value::Null)
}

/// A value for people: texts as they are, anything else as JSON.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn document(what: &str, text: &str) -> anyhow::Result<Value> {
    serde_json::from_str(text).with_context(|| format!("the {what} {text:?} is not JSON"))
}

fn array(what: &str, text: &str) -> anyhow::Result<Value> {
    match document(what, text)? {
        array @ Value::Array(_) => Ok(array),
        _ => bail!("the {what} {text:?} is not a JSON array"),
    }
}

fn token(once: &Once) -> &Option<String> {
    &once.idempotency_key
}

pub(crate) async fn ts(remote: &Remote, namespace: &str, command: &Ts) -> anyhow::Result<()> {
    let space = Space::connect(remote, namespace).await?;
    let one = |answer: Value| {
        if member(&answer, "tuple").is_null() {
            bail!("no tuple matches");
        }
        space.say(&text(member(&answer, "tuple")))?;
        if let Some(lease) = member(&answer, "lease").as_str() {
            space.say(lease)?;
        }
        Ok(())
    };
    match command {
        Ts::Write { tuple, ttl, once } => {
            let fields = json!({"tuple": array("tuple", tuple)?, "ttl_ms": ttl, "client_token": token(once)});
            space.done("TupleService.WriteTuple", fields, "written").await
        }
        Ts::Read { pattern, wait } => {
            let fields = json!({"pattern": array("pattern", pattern)?, "timeout_ms": wait});
            one(space.call("TupleService.ReadTuple", fields).await?)
        }
        Ts::Take { pattern, wait, lease, once } => {
            let pattern = array("pattern", pattern)?;
            let fields = json!({"pattern": pattern, "timeout_ms": wait, "lease_ms": lease, "client_token": token(once)});
            one(space.call("TupleService.TakeTuple", fields).await?)
        }
        Ts::WriteOnce { pattern, tuple, ttl, once } => {
            let (pattern, tuple) = (array("pattern", pattern)?, array("tuple", tuple)?);
            let fields = json!({"pattern": pattern, "tuple": tuple, "ttl_ms": ttl, "client_token": token(once)});
            let answer = space.call("TupleService.WriteTupleOnce", fields).await?;
            if member(&answer, "written") == true {
                space.say("written")?;
                return Ok(());
            }
            bail!("there is a match: {}", text(member(&answer, "existing")))
        }
        Ts::Replace { pattern, tuple, ttl, once } => {
            let (pattern, tuple) = (array("pattern", pattern)?, array("tuple", tuple)?);
            let fields = json!({"pattern": pattern, "tuple": tuple, "ttl_ms": ttl, "client_token": token(once)});
            one(space.call("TupleService.ReplaceTuple", fields).await?)
        }
        Ts::TakeAll { pattern, count, once } => {
            let fields = json!({"pattern": array("pattern", pattern)?, "page_size": count, "client_token": token(once)});
            let answer = space.call("TupleService.TakeTuples", fields).await?;
            member(&answer, "tuples").as_array().into_iter().flatten().try_for_each(|tuple| space.say(&text(tuple)))?;
            Ok(())
        }
        Ts::Confirm { lease } => space.done("TupleService.ConfirmTuple", json!({"lease": lease}), "confirmed").await,
        Ts::Release { lease } => space.done("TupleService.ReleaseTuple", json!({"lease": lease}), "released").await,
        Ts::ReadAll { pattern, count } => {
            let tuples = space.all("TupleService.ListTuples", json!({"pattern": array("pattern", pattern)?}), "tuples", *count).await?;
            tuples.iter().try_for_each(|tuple| space.say(&text(tuple)))?;
            Ok(())
        }
        Ts::Count { pattern } => {
            let answer = space.call("TupleService.CountTuples", json!({"pattern": array("pattern", pattern)?})).await?;
            space.say(&text(member(&answer, "count")))?;
            Ok(())
        }
        Ts::Watch { pattern, after, count } => {
            let fields = json!({"pattern": array("pattern", pattern)?, "after": after});
            space.follow("TupleService.WatchTuples", fields, *count, |message| text(member(message, "tuple"))).await
        }
    }
}

pub(crate) async fn channel(remote: &Remote, namespace: &str, command: &Channel) -> anyhow::Result<()> {
    let space = Space::connect(remote, namespace).await?;
    match command {
        Channel::List { prefix } => {
            let channels = space.all("ChannelService.ListChannels", json!({"prefix": prefix}), "channels", usize::MAX).await?;
            space.table(&channels, &["channel", "kind", "backend", "depth", "published", "error"], "no channels")?;
        }
        Channel::Send { channel, payload, msg_type, msg_id, delay, once } => {
            let payload = document("payload", payload)?;
            let fields = json!({"channel": channel, "payload": payload, "msg_type": msg_type, "msg_id": msg_id, "delay_ms": delay,
                "client_token": token(once)});
            let sent = space.call("ChannelService.SendMessage", fields).await?;
            space.say(&text(member(&sent, "msg_id")))?;
        }
        Channel::Receive { channel, wait, visibility, of, once } => {
            let fields = json!({"channel": channel, "timeout_ms": wait, "visibility_ms": visibility, "group": of.group,
                "client_token": token(once)});
            let received = space.call("ChannelService.ReceiveMessage", fields).await?;
            let message = member(&received, "message");
            if message.is_null() {
                bail!("no message waits");
            }
            space.table(std::slice::from_ref(message), &["msg_id", "msg_type", "delivery_count", "receipt", "payload"], "")?;
        }
        Channel::Ack { channel, msg_id, receipt, of } => {
            let fields = json!({"channel": channel, "msg_id": msg_id, "receipt": receipt, "group": of.group});
            space.done("ChannelService.AckMessage", fields, "acknowledged").await?;
        }
        Channel::Nack { channel, msg_id, receipt, dead, of } => {
            let fields = json!({"channel": channel, "msg_id": msg_id, "receipt": receipt, "requeue": !dead, "group": of.group});
            space.done("ChannelService.NackMessage", fields, if *dead { "a dead letter" } else { "given back" }).await?;
        }
        Channel::Publish { channel, payload, msg_type, once } => {
            let payload = document("payload", payload)?;
            let fields = json!({"channel": channel, "payload": payload, "msg_type": msg_type, "client_token": token(once)});
            let published = space.call("ChannelService.PublishMessage", fields).await?;
            space.say(&text(member(&published, "msg_id")))?;
        }
        Channel::Subscribe { channel, after, count } => {
            let fields = json!({"channel": channel, "after": after});
            space.follow("ChannelService.SubscribeChannel", fields, *count, |message| text(member(message, "payload"))).await?;
        }
        Channel::Subscriber(command) => subscriber(&space, command).await?,
        Channel::Status { channel, of } => {
            let status = space.call("ChannelService.GetChannel", json!({"channel": channel, "group": of.group})).await?;
            let mut columns = vec!["ready", "delayed", "in_flight", "dead", "published", "subscribers"];
            columns.extend(["dropped", "behind"].into_iter().filter(|column| status.get(column).is_some()));
            space.table(&[status], &columns, "")?;
        }
        Channel::DeadLetters { channel, count, of } => {
            let fields = json!({"channel": channel, "group": of.group});
            let dead = space.all("ChannelService.ListChannelDeadLetters", fields, "messages", *count).await?;
            space.table(&dead, &["msg_id", "msg_type", "delivery_count", "payload"], "no dead letters")?;
        }
        Channel::Redrive { channel, of, msg_ids } => {
            let fields = json!({"channel": channel, "msg_ids": msg_ids, "group": of.group});
            let answer = space.call("ChannelService.RedriveChannelDeadLetters", fields).await?;
            space.say(&format!("sent again: {}", text(member(&answer, "redriven"))))?;
        }
    }
    Ok(())
}

async fn subscriber(space: &Space<'_>, command: &Subscriber) -> anyhow::Result<()> {
    match command {
        Subscriber::Create { channel, subscriber, from } => {
            let from = format!("SUBSCRIBE_FROM_{}", from.to_uppercase());
            let fields = json!({"channel": channel, "subscriber": subscriber, "from": from});
            space.done("ChannelService.CreateSubscriber", fields, "subscribed").await
        }
        Subscriber::Next { channel, subscriber, wait, once } => {
            let fields = json!({"channel": channel, "subscriber": subscriber, "timeout_ms": wait, "client_token": token(once)});
            let next = space.call("ChannelService.NextMessage", fields).await?;
            let message = member(&next, "message");
            if message.is_null() {
                bail!("there is no next message");
            }
            space.say(&text(member(message, "payload")))?;
            Ok(())
        }
        Subscriber::Delete { channel, subscriber } => {
            let fields = json!({"channel": channel, "subscriber": subscriber});
            space.done("ChannelService.DeleteSubscriber", fields, "forgotten").await
        }
    }
}

pub(crate) async fn group(remote: &Remote, namespace: &str, command: &Group) -> anyhow::Result<()> {
    let space = Space::connect(remote, namespace).await?;
    match command {
        Group::Members { group, topic } => {
            let fields = json!({"group": group, "topic": topic});
            let members = space.all("GroupService.ListGroupMembers", fields, "members", usize::MAX).await?;
            members.iter().try_for_each(|member| space.say(&text(member)))?;
            Ok(())
        }
        Group::List { prefix } => {
            let groups = space.all("GroupService.ListGroups", json!({"prefix": prefix}), "groups", usize::MAX).await?;
            space.table(&groups, &["group", "members"], "no groups")?;
            Ok(())
        }
        Group::Join { group, actor, topics } => {
            let fields = json!({"group": group, "actor": actor, "topics": topics});
            space.done("GroupService.JoinGroup", fields, "joined").await
        }
        Group::Leave { group, actor } => space.done("GroupService.LeaveGroup", json!({"group": group, "actor": actor}), "left").await,
        Group::Publish { group, operation, payload, topic, once } => {
            let payload = document("payload", payload)?;
            let fields = json!({"group": group, "operation": operation, "payload": payload, "topic": topic, "client_token": token(once)});
            space.done("GroupService.PublishToGroup", fields, "sent").await
        }
    }
}

pub(crate) async fn kv(remote: &Remote, namespace: &str, command: &Kv) -> anyhow::Result<()> {
    let space = Space::connect(remote, namespace).await?;
    match command {
        Kv::Get { key } => {
            let pair = space.call("KvService.GetPair", json!({"key": key})).await?;
            space.say(&text(member(&pair, "value")))?;
            Ok(())
        }
        Kv::Put { key, value, ttl, once } => {
            let fields = json!({"key": key, "value": value, "ttl_ms": ttl, "client_token": token(once)});
            space.done("KvService.PutPair", fields, "set").await
        }
        Kv::Delete { key } => {
            let answer = space.call("KvService.DeletePair", json!({"key": key})).await?;
            space.say(if member(&answer, "deleted") == true { "deleted" } else { "there was none" })?;
            Ok(())
        }
        Kv::Cas { key, value, expected, once } => {
            let fields = json!({"key": key, "value": value, "expected": expected, "client_token": token(once)});
            let answer = space.call("KvService.CompareAndSwapPair", fields).await?;
            if member(&answer, "swapped") == true {
                space.say("set")?;
                return Ok(());
            }
            match member(&answer, "value").as_str() {
                Some(value) => bail!("the pair has another value: {value}"),
                None => bail!("there is no such pair"),
            }
        }
        Kv::List { prefix } => {
            let pairs = space.all("KvService.ListPairs", json!({"prefix": prefix}), "pairs", usize::MAX).await?;
            space.table(&pairs, &["key", "version", "value"], "no pairs")?;
            Ok(())
        }
        Kv::Watch { prefix, after, count } => {
            let shown = |message: &Value| {
                let changes = member(message, "changes").as_array().into_iter().flatten();
                let line = |pair: &Value| match member(pair, "value").as_str() {
                    Some(value) => format!("{} = {value}", text(member(pair, "key"))),
                    None => format!("{} is gone", text(member(pair, "key"))),
                };
                changes.map(line).collect::<Vec<_>>().join("\n")
            };
            space.follow("KvService.WatchPairs", json!({"prefix": prefix, "after": after}), *count, shown).await
        }
    }
}

pub(crate) async fn registry(remote: &Remote, namespace: &str, command: &Registry) -> anyhow::Result<()> {
    let space = Space::connect(remote, namespace).await?;
    let columns = ["name", "target", "healthy", "labels", "expires_at"];
    match command {
        Registry::Register { name, target, labels, metadata, ttl } => {
            let metadata = metadata.as_deref().map(|metadata| document("metadata", metadata)).transpose()?;
            let labels: BTreeMap<_, _> = labels.iter().cloned().collect();
            let fields = json!({"name": name, "target": target, "labels": labels, "metadata": metadata, "ttl_ms": ttl});
            space.done("RegistryService.Register", fields, "registered").await
        }
        Registry::Lookup { name } => {
            let answer = space.call("RegistryService.Lookup", json!({"name": name})).await?;
            space.say(&text(member(member(&answer, "entry"), "target")))?;
            Ok(())
        }
        Registry::Find { labels, healthy } => {
            let labels: BTreeMap<_, _> = labels.iter().cloned().collect();
            let fields = json!({"labels": labels, "healthy": healthy.then_some(true)});
            let entries = space.all("RegistryService.ListRegistrations", fields, "entries", usize::MAX).await?;
            space.table(&entries, &columns, "no entries")?;
            Ok(())
        }
        Registry::Renew { name, ttl, unhealthy } => {
            let fields = json!({"name": name, "ttl_ms": ttl, "healthy": !unhealthy});
            let answer = space.call("RegistryService.RenewRegistration", fields).await?;
            if member(&answer, "renewed") != true {
                bail!("there is no such entry");
            }
            space.say("renewed")?;
            Ok(())
        }
        Registry::Unregister { name } => {
            let answer = space.call("RegistryService.Unregister", json!({"name": name})).await?;
            space.say(if member(&answer, "unregistered") == true { "unregistered" } else { "there was none" })?;
            Ok(())
        }
    }
}
