//! `blob`: large objects that an actor's namespace begins with.

use async_trait::async_trait;
use bytes::Bytes;
use plexspaces_types::Code;
use serde_json::{Map, Value};

use crate::{Facet, FacetError, FacetSettings, Turn};

struct Blob {
    initial: Vec<Initial>,
}

struct Initial {
    name: String,
    content_type: &'static str,
    content: Bytes,
}

pub(super) fn make(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
    let mut settings = FacetSettings::new(config);
    let initial: Map<String, Value> = settings.required("initial")?;
    settings.finish()?;
    if initial.is_empty() {
        return Err("initial has no blob".to_owned());
    }
    let initial = initial.into_iter().map(|(name, value)| {
        if name.is_empty() || name.len() > 512 || name.starts_with('/') || name.chars().any(char::is_control) {
            return Err(format!("initial has a wrong name: a blob's name has 1 to 512 bytes and does not begin with /, found {name:?}"));
        }
        let (content_type, content) = match value {
            Value::String(text) => ("text/plain", text),
            other => ("application/json", other.to_string()),
        };
        Ok(Initial { name, content_type, content: content.into() })
    });
    Ok(Box::new(Blob { initial: initial.collect::<Result<_, String>>()? }))
}

#[async_trait]
impl Facet for Blob {
    fn name(&self) -> &str {
        "blob"
    }

    fn priority(&self) -> u32 {
        50
    }

    async fn on_activate(&mut self, turn: &mut Turn) -> Result<(), FacetError> {
        for Initial { name, content_type, content } in &self.initial {
            match turn.blob(name).await {
                Ok(_) => {}
                Err(failure) if failure.code == Code::NotFound => {
                    turn.put_blob(name, content_type, content.clone()).await?;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(())
    }
}
