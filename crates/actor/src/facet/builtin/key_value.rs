//! `key_value`: pairs that an actor begins with.

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::{Facet, FacetError, FacetSettings, Turn};

struct KeyValue {
    initial: Vec<(String, String)>,
}

pub(super) fn make(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
    let mut settings = FacetSettings::new(config);
    let initial: Map<String, Value> = settings.optional("initial")?.unwrap_or_default();
    settings.finish()?;
    let initial = initial.into_iter().map(|(key, value)| {
        crate::turn::check_key(&key).map_err(|failure| format!("initial has a wrong key: {}", failure.message))?;
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok((key, value))
    });
    Ok(Box::new(KeyValue { initial: initial.collect::<Result<_, String>>()? }))
}

#[async_trait]
impl Facet for KeyValue {
    fn name(&self) -> &str {
        "key_value"
    }

    fn priority(&self) -> u32 {
        50
    }

    async fn on_activate(&mut self, turn: &mut Turn) -> Result<(), FacetError> {
        for (key, value) in &self.initial {
            turn.kv_compare_and_set(key, None, value.clone()).await?;
        }
        Ok(())
    }
}
