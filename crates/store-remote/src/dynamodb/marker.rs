//! Whether the table is a store, and how one is made.

use std::time::Duration;

use plexspaces_store::Error;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::fault::Fault;
use super::item::{HEAD, Item, binary, set};
use super::table::Table;

/// The first key of the item by which a store is recognised. Partitions have a zero byte in their names.
const MARKER: &[u8] = b"plexspaces store";
/// Its value.
const VERSION: &[u8] = b"plexspaces store, version 1";

/// How long is waited before a table that is being made is looked at again.
const PAUSE: Duration = Duration::from_millis(200);

impl Table {
    /// Returns when the table is there and is a store.
    pub(super) async fn recognise(&self, deadline: Instant) -> Result<(), Error> {
        self.stand_by(deadline).await?;
        if self.is_marked(deadline).await? {
            return Ok(());
        }
        let scan = json!({"TableName": self.name, "ConsistentRead": true, "Limit": 1});
        let scan = self.client.answer("Scan", &scan, deadline).await?;
        if scan.get("Items").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            let mut marker = marker();
            set(&mut marker, "v", binary(VERSION));
            self.put(marker, deadline).await?;
            tracing::info!(store = self.client.place.name(), "the store was made");
        }
        // Another node may have been first, with what is there.
        if self.is_marked(deadline).await? {
            return Ok(());
        }
        Err(self.client.place.foreign("it holds items of something else"))
    }

    /// Returns when the table is there and has the keys that it needs.
    async fn stand_by(&self, deadline: Instant) -> Result<(), Error> {
        let place = &self.client.place;
        loop {
            match self.client.ask("DescribeTable", &json!({"TableName": self.name}), deadline).await {
                Ok(answer) => {
                    let table = answer.get("Table").cloned().unwrap_or_default();
                    let status = table.get("TableStatus").and_then(Value::as_str).unwrap_or_default();
                    if matches!(status, "ACTIVE" | "UPDATING") {
                        return self.check_keys(&table);
                    }
                }
                Err(Fault::NoTable) => self.make(deadline).await?,
                Err(fault) => return Err(fault.into_error(place)),
            }
            if Instant::now() + PAUSE >= deadline {
                return Err(Error::Unavailable("the table of the store is being made".to_owned()));
            }
            sleep(PAUSE).await;
        }
    }

    async fn make(&self, deadline: Instant) -> Result<(), Error> {
        let create = json!({
            "TableName": self.name, "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": "B"}, {"AttributeName": "s", "AttributeType": "B"}],
            "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}],
        });
        tracing::info!(store = self.client.place.name(), "there is no table; one is made");
        match self.client.ask("CreateTable", &create, deadline).await {
            // Another node may be making it.
            Ok(_) | Err(Fault::Condition { .. } | Fault::Passing { .. }) => Ok(()),
            Err(fault) => Err(fault.into_error(&self.client.place)),
        }
    }

    async fn is_marked(&self, deadline: Instant) -> Result<bool, Error> {
        let body = json!({"TableName": self.name, "Key": marker(), "ConsistentRead": true});
        let mut answer = self.client.answer("GetItem", &body, deadline).await?;
        let Some(found) = answer.get_mut("Item").map(Value::take).and_then(Item::new) else { return Ok(false) };
        let version = found.binary("v").unwrap_or_default();
        if version == VERSION {
            return Ok(true);
        }
        Err(self.client.place.foreign(&format!("it is {:?}", String::from_utf8_lossy(&version))))
    }

    fn check_keys(&self, table: &Value) -> Result<(), Error> {
        let list = |name: &str| table.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let has = |list: &[Value], name: &str, field: &str, value: &str| {
            let of = |entry: &Value, field: &str, value: &str| entry.get(field).and_then(Value::as_str) == Some(value);
            list.iter().any(|entry| of(entry, "AttributeName", name) && of(entry, field, value))
        };
        let (schema, types) = (list("KeySchema"), list("AttributeDefinitions"));
        let fits = has(&schema, "p", "KeyType", "HASH")
            && has(&schema, "s", "KeyType", "RANGE")
            && has(&types, "p", "AttributeType", "B")
            && has(&types, "s", "AttributeType", "B");
        if fits { Ok(()) } else { Err(self.client.place.foreign("its keys are not p and s, both binary")) }
    }
}

fn marker() -> Value {
    json!({"p": binary(MARKER), "s": binary(HEAD)})
}
