//! `registry`: a name under which an actor is found.

use std::collections::BTreeMap;

use async_trait::async_trait;
use plexspaces_types::Payload;
use serde_json::{Map, Value, json};

use crate::{Facet, FacetError, FacetSettings, Turn};

struct Registered {
    /// The actor's key if none is given.
    name: Option<String>,
    labels: BTreeMap<String, String>,
    metadata: Value,
}

pub(super) fn make(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
    let mut settings = FacetSettings::new(config);
    let name: Option<String> = settings.optional("name")?;
    let labels = settings.optional("labels")?.unwrap_or_default();
    let metadata = settings.optional("metadata")?.unwrap_or_default();
    settings.finish()?;
    if name.as_deref() == Some("") {
        return Err("name is empty".to_owned());
    }
    Ok(Box::new(Registered { name, labels, metadata }))
}

impl Registered {
    fn name_of(&self, turn: &Turn) -> String {
        self.name.clone().unwrap_or_else(|| turn.actor_id().key.to_string())
    }
}

#[async_trait]
impl Facet for Registered {
    fn name(&self) -> &str {
        "registry"
    }

    fn priority(&self) -> u32 {
        50
    }

    async fn on_activate(&mut self, turn: &mut Turn) -> Result<(), FacetError> {
        let arguments = json!({"name": self.name_of(turn), "labels": self.labels, "metadata": self.metadata});
        turn.service("registry", "default", "register", Payload::from_value(&arguments)).await?;
        Ok(())
    }

    async fn on_deactivate(&mut self, turn: &mut Turn) -> Result<(), FacetError> {
        let arguments = json!({"name": self.name_of(turn)});
        turn.service("registry", "default", "unregister", Payload::from_value(&arguments)).await?;
        Ok(())
    }
}
