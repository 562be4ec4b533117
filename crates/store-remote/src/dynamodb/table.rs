//! What is asked of the table: items by their keys, ranges of them, and changes of them.

use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use plexspaces_store::{Error, Partition};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::Client;
use super::item::{HEAD, Held, Item, Name, PART, binary, keys, part, set};

/// Requests under way for one operation.
const TOGETHER: usize = 8;
/// Items that one request may ask for by their keys, and that one may remove.
const GETS: usize = 100;
const DELETES: usize = 25;

/// A table and how it is reached.
pub(super) struct Table {
    pub(super) client: Client,
    pub(super) name: String,
}

impl Table {
    /// One item, as it is now.
    pub(super) async fn get(&self, here: &Partition, second: &[u8], deadline: Instant) -> Result<Option<Item>, Error> {
        let body = json!({"TableName": self.name, "Key": keys(here, second), "ConsistentRead": true});
        let mut answer = self.client.answer("GetItem", &body, deadline).await?;
        Ok(answer.get_mut("Item").map(Value::take).and_then(Item::new))
    }

    /// The items of these keys that are there, in any order, each as it is at some moment of the operation.
    pub(super) async fn get_all(&self, here: &Partition, seconds: &[Vec<u8>], deadline: Instant) -> Result<Vec<Item>, Error> {
        let mut items = Vec::with_capacity(seconds.len());
        for some in seconds.chunks(GETS) {
            let mut wanted: Vec<Value> = some.iter().map(|second| keys(here, second)).collect();
            // What is too much for one answer is asked for again.
            while !wanted.is_empty() {
                let body = json!({"RequestItems": {&self.name: {"Keys": wanted, "ConsistentRead": true}}});
                let mut answer = self.client.answer("BatchGetItem", &body, deadline).await?;
                let found = answer.get_mut("Responses").and_then(|tables| tables.get_mut(&self.name)).map(Value::take);
                items.extend(list(found).into_iter().filter_map(Item::new));
                let left = answer.get_mut("UnprocessedKeys").and_then(|tables| tables.get_mut(&self.name));
                wanted = list(left.and_then(|left| left.get_mut("Keys")).map(Value::take));
                if Instant::now() >= deadline && !wanted.is_empty() {
                    return Err(Error::Unavailable("the database does not give all that was asked for in time".to_owned()));
                }
            }
        }
        Ok(items)
    }

    /// One page of the items of a partition from one second key to another, both included, in their order, and where the next begins.
    pub(super) async fn query(
        &self,
        wanted: &Wanted<'_>,
        next: Option<Value>,
        deadline: Instant,
    ) -> Result<(Vec<Item>, Option<Value>), Error> {
        let mut body = json!({
            "TableName": self.name, "ConsistentRead": true, "KeyConditionExpression": "p = :p AND s BETWEEN :a AND :b",
            "ExpressionAttributeValues": {":p": binary(wanted.here.as_bytes()), ":a": binary(wanted.from), ":b": binary(wanted.to)},
            "Limit": wanted.limit,
        });
        if let Some(next) = next {
            set(&mut body, "ExclusiveStartKey", next);
        }
        let mut answer = self.client.answer("Query", &body, deadline).await?;
        let items = list(answer.get_mut("Items").map(Value::take)).into_iter().filter_map(Item::new).collect();
        Ok((items, answer.get_mut("LastEvaluatedKey").map(Value::take).filter(Value::is_object)))
    }

    /// Puts an item, whatever is there.
    pub(super) async fn put(&self, item: Value, deadline: Instant) -> Result<(), Error> {
        self.client.answer("PutItem", &json!({"TableName": self.name, "Item": item}), deadline).await.map(drop)
    }

    /// Removes items, which is no error where they are gone.
    pub(super) async fn remove(&self, here: &Partition, seconds: &[Vec<u8>], deadline: Instant) -> Result<(), Error> {
        for some in seconds.chunks(DELETES) {
            let delete = |second: &Vec<u8>| json!({"DeleteRequest": {"Key": keys(here, second)}});
            let mut wanted: Vec<Value> = some.iter().map(delete).collect();
            while !wanted.is_empty() {
                let body = json!({"RequestItems": {&self.name: wanted}});
                let mut answer = self.client.answer("BatchWriteItem", &body, deadline).await?;
                wanted = list(answer.get_mut("UnprocessedItems").and_then(|tables| tables.get_mut(&self.name)).map(Value::take));
                if Instant::now() >= deadline && !wanted.is_empty() {
                    return Err(Error::Unavailable("the database does not remove all that it should in time".to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Writes bytes in parts.
    pub(super) async fn put_parts(&self, here: &Partition, name: &Name, bytes: &[u8], deadline: Instant) -> Result<(), Error> {
        let puts: Vec<_> =
            bytes.chunks(PART).zip(0_u32..).map(|(some, number)| self.put_part(here, name, some, number, deadline)).collect();
        stream::iter(puts).buffer_unordered(TOGETHER).try_collect().await
    }

    async fn put_part(&self, here: &Partition, name: &Name, some: &[u8], number: u32, deadline: Instant) -> Result<(), Error> {
        let mut item = keys(here, &part(name, number));
        set(&mut item, "d", binary(some));
        self.put(item, deadline).await
    }

    async fn part(&self, here: &Partition, name: &Name, number: u32, deadline: Instant) -> Result<Option<Bytes>, Error> {
        let item = self.get(here, &part(name, number), deadline).await?;
        item.map(|item| item.binary("d").ok_or_else(|| self.client.place.foreign("a part of a value cannot be read"))).transpose()
    }

    /// The bytes of parts; nothing when one of them is gone.
    pub(super) async fn parts(&self, here: &Partition, name: &Name, parts: u32, deadline: Instant) -> Result<Option<Bytes>, Error> {
        let gets: Vec<_> = (0..parts).map(|number| self.part(here, name, number, deadline)).collect();
        let mut found = stream::iter(gets).buffered(TOGETHER);
        let mut bytes = BytesMut::new();
        while let Some(some) = found.try_next().await? {
            let Some(some) = some else { return Ok(None) };
            bytes.extend_from_slice(&some);
        }
        Ok(Some(bytes.freeze()))
    }

    /// The value of an entry; nothing when it was replaced meanwhile.
    pub(super) async fn value(&self, here: &Partition, held: Held, deadline: Instant) -> Result<Option<Bytes>, Error> {
        match held {
            Held::Own(bytes) => Ok(Some(bytes)),
            Held::Parts { name, parts, .. } => self.parts(here, &name, parts, deadline).await,
        }
    }

    pub(super) fn held(&self, item: &Item) -> Result<Held, Error> {
        Held::read(item).ok_or_else(|| self.client.place.foreign("it holds an item that is no entry of a partition"))
    }
}

/// Which items a query is for.
pub(super) struct Wanted<'w> {
    pub(super) here: &'w Partition,
    pub(super) from: &'w [u8],
    pub(super) to: &'w [u8],
    /// Items of one page at most.
    pub(super) limit: usize,
}

/// The item with a second key among others.
pub(super) fn among<'i>(items: &'i [Item], second: &[u8]) -> Option<&'i Item> {
    items.iter().find(|item| item.binary("s").is_some_and(|found| found == second))
}

/// The head among items.
pub(super) fn head_among(items: &[Item]) -> Option<&Item> {
    among(items, HEAD)
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(values)) => values,
        _ => Vec::new(),
    }
}
