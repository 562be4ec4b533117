//! `authorization`: which callers may do what.

use std::collections::BTreeMap;

use async_trait::async_trait;
use plexspaces_types::{ActorId, RequestContext};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Call, Facet, FacetError, FacetSettings};

/// Everybody, in a list of principals.
const ANY: &str = "*";

/// Who may do something. Whoever is denied may not, though allowed too.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// `None` for everybody.
    allow: Option<Vec<String>>,
    #[serde(default)]
    deny: Vec<String>,
}

struct Authorization {
    general: Rule,
    operations: BTreeMap<String, Rule>,
    actor: Option<ActorId>,
}

pub(super) fn make(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
    let mut settings = FacetSettings::new(config);
    let general = Rule { allow: settings.optional("allow")?, deny: settings.optional("deny")?.unwrap_or_default() };
    let operations: BTreeMap<String, Rule> = settings.optional("operations")?.unwrap_or_default();
    settings.finish()?;
    if general.allow.is_none() && general.deny.is_empty() && operations.is_empty() {
        return Err("it has no rule, expected at least one of allow, deny, operations".to_owned());
    }
    Ok(Box::new(Authorization { general, operations, actor: None }))
}

impl Rule {
    fn admits(&self, principal: &str) -> bool {
        let names = |list: &[String]| list.iter().any(|name| name == ANY || name == principal);
        self.allow.as_deref().is_none_or(names) && !names(&self.deny)
    }
}

impl Authorization {
    /// What the node itself or the actor sends is not a caller's doing: timers, reminders, news of other actors' ends.
    fn is_own(&self, call: &Call<'_>, ctx: &RequestContext) -> bool {
        let from_itself = call.message.sender.is_some() && call.message.sender == self.actor;
        let news = matches!(call.operation, "__DOWN__" | "__EXIT__") && *ctx.principal == *"system";
        from_itself || news
    }
}

#[async_trait]
impl Facet for Authorization {
    fn name(&self) -> &str {
        "authorization"
    }

    fn priority(&self) -> u32 {
        950
    }

    async fn on_attach(&mut self, actor: &ActorId) -> Result<(), FacetError> {
        self.actor = Some(actor.clone());
        Ok(())
    }

    async fn admit(&mut self, call: &Call<'_>, ctx: &RequestContext) -> Result<(), FacetError> {
        let rule = self.operations.get(call.operation).unwrap_or(&self.general);
        if rule.admits(&ctx.principal) || self.is_own(call, ctx) {
            return Ok(());
        }
        Err(FacetError::Denied(format!("{:?} may not do {:?} here", &*ctx.principal, call.operation)))
    }
}
