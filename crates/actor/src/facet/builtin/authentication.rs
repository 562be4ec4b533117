//! `authentication`: only callers who have said who they are.

use async_trait::async_trait;
use plexspaces_types::RequestContext;
use serde_json::{Map, Value};

use crate::{Call, Facet, FacetError, FacetSettings};

/// The principal of a caller without a credential.
const ANONYMOUS: &str = "anonymous";

struct Authentication;

pub(super) fn make(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
    FacetSettings::new(config).finish()?;
    Ok(Box::new(Authentication))
}

#[async_trait]
impl Facet for Authentication {
    fn name(&self) -> &str {
        "authentication"
    }

    fn priority(&self) -> u32 {
        1000
    }

    async fn admit(&mut self, _call: &Call<'_>, ctx: &RequestContext) -> Result<(), FacetError> {
        if *ctx.principal == *ANONYMOUS {
            return Err(FacetError::Unauthenticated("the actor answers only callers with a credential".to_owned()));
        }
        Ok(())
    }
}
