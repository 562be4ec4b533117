//! A PlexSpaces node whose actors can have one facet more: `fraud_detection`.
//!
//! `fraud_detection [NODE.toml]` runs until Ctrl-C; everything else is as with `plexspaces start`.

mod fraud_detection;

use std::error::Error;
use std::path::Path;

use plexspaces_node::{Config, FacetRegistry, Node, init_telemetry};
use tokio_util::sync::CancellationToken;

use crate::fraud_detection::FraudDetection;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = match std::env::args().nth(1) {
        Some(path) => Config::load(Path::new(&path))?,
        None => Config::default(),
    };
    let facets = FacetRegistry::builtin();
    facets.register("fraud_detection", FraudDetection::make)?;

    let telemetry = init_telemetry(&config.log)?;
    let shutdown = CancellationToken::new();
    let node = Node::start(&config, facets, &telemetry, shutdown.clone()).await?;
    println!("ready on http://{}", node.addresses().data);

    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            shutdown.cancel();
        }
    });
    node.run().await;
    Ok(())
}
