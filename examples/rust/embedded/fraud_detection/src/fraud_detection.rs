//! The facet: it looks at the amounts that pass by and refuses what is too much.

use std::collections::HashSet;

use async_trait::async_trait;
use plexspaces_core::{Facet, FacetError, FacetSettings, InterceptResult};
use serde_json::{Map, Value};

pub(crate) struct FraudDetection {
    limit: f64,
    operations: HashSet<String>,
}

impl FraudDetection {
    /// Reads `limit`, the largest amount, and `operations`, those that have one. Anything else in the configuration is a mistake.
    pub(crate) fn make(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
        let mut settings = FacetSettings::new(config);
        let limit: f64 = settings.required("limit")?;
        let operations: HashSet<String> = settings.required("operations")?;
        settings.finish()?;
        if limit <= 0.0 {
            return Err(format!("limit is {limit}, expected an amount above 0"));
        }
        Ok(Box::new(Self { limit, operations }))
    }

    fn amount(payload: &[u8]) -> Result<f64, FacetError> {
        let payload: Value = serde_json::from_slice(payload).map_err(|error| format!("the payload is no JSON: {error}"))?;
        payload.get("amount").and_then(Value::as_f64).ok_or_else(|| "the payload has no amount".into())
    }
}

#[async_trait]
impl Facet for FraudDetection {
    fn name(&self) -> &str {
        "fraud_detection"
    }

    fn priority(&self) -> u32 {
        200
    }

    async fn before_method(&mut self, method: &str, payload: &[u8]) -> Result<InterceptResult, FacetError> {
        if self.operations.contains(method) && Self::amount(payload)? > self.limit {
            return Err("fraud_detected".into());
        }
        Ok(InterceptResult::Continue)
    }
}
