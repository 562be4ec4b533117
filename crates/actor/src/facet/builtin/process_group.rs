//! `process_group`: groups of which an actor is a member while it lives.

use async_trait::async_trait;
use plexspaces_types::Payload;
use serde_json::{Map, Value, json};

use crate::{Facet, FacetError, FacetSettings, Turn};

struct ProcessGroup {
    groups: Vec<String>,
    topics: Vec<String>,
}

pub(super) fn make(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
    let mut settings = FacetSettings::new(config);
    let groups: Vec<String> = settings.required("groups")?;
    let topics = settings.optional("topics")?.unwrap_or_default();
    settings.finish()?;
    if groups.is_empty() || groups.iter().any(String::is_empty) {
        return Err("groups has no name or an empty one, expected the names of groups".to_owned());
    }
    Ok(Box::new(ProcessGroup { groups, topics }))
}

#[async_trait]
impl Facet for ProcessGroup {
    fn name(&self) -> &str {
        "process_group"
    }

    fn priority(&self) -> u32 {
        50
    }

    async fn on_activate(&mut self, turn: &mut Turn) -> Result<(), FacetError> {
        for group in &self.groups {
            let arguments = json!({"group": group, "topics": self.topics});
            turn.service("groups", "default", "join", Payload::from_value(&arguments)).await?;
        }
        Ok(())
    }

    async fn on_deactivate(&mut self, turn: &mut Turn) -> Result<(), FacetError> {
        for group in &self.groups {
            turn.service("groups", "default", "leave", Payload::from_value(&json!({"group": group}))).await?;
        }
        Ok(())
    }
}
