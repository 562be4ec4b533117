//! `facets`: what wraps one actor's handling of messages.

use anyhow::Context as _;
use plexspaces_client::{from_object, to_object, v1};
use serde_json::{Map, Value};

use crate::args::{Facets, Remote};
use crate::table::print_table;
use crate::target::{actor, connect, print_json};

pub(crate) async fn run(remote: &Remote, command: &Facets) -> anyhow::Result<()> {
    match command {
        Facets::List { actor } => list(remote, actor).await,
        Facets::Attach { actor, name, config, priority } => attach(remote, actor, name, config, *priority).await,
        Facets::Detach { actor, name } => detach(remote, actor, name).await,
    }
}

async fn list(remote: &Remote, whose: &str) -> anyhow::Result<()> {
    let (namespace, actor_type, key) = actor(whose);
    let request = v1::GetFacetsRequest {
        tenant_id: remote.tenant.clone(),
        namespace: namespace.to_owned(),
        actor_type: actor_type.to_owned(),
        actor_id: key.unwrap_or_default().to_owned(),
    };
    let facets = connect(remote).await?.facets(request).await?;
    if remote.json {
        return print_json("plexspaces.v1.GetFacetsResponse", &v1::GetFacetsResponse { facets });
    }
    if facets.is_empty() {
        outln!("no facets wrap the actor");
        return Ok(());
    }
    let mut rows = vec![["FACET", "PRIORITY", "CONFIG"].map(str::to_owned).to_vec()];
    for facet in facets {
        let config = to_object(facet.config.unwrap_or_default()).map_err(anyhow::Error::msg)?;
        rows.push(vec![facet.r#type, facet.priority.unwrap_or_default().to_string(), Value::Object(config).to_string()]);
    }
    print_table(&rows)?;
    Ok(())
}

async fn attach(remote: &Remote, whose: &str, name: &str, config: &str, priority: Option<u32>) -> anyhow::Result<()> {
    let config: Map<String, Value> =
        serde_json::from_str(config).with_context(|| format!("the configuration {config:?} is not a JSON object"))?;
    let (namespace, actor_type, key) = actor(whose);
    let request = v1::AttachFacetRequest {
        tenant_id: remote.tenant.clone(),
        namespace: namespace.to_owned(),
        actor_type: actor_type.to_owned(),
        actor_id: key.unwrap_or_default().to_owned(),
        r#type: name.to_owned(),
        priority,
        config: Some(from_object(config)),
    };
    let replaced = connect(remote).await?.attach_facet(request).await?;
    if remote.json {
        return print_json("plexspaces.v1.AttachFacetResponse", &v1::AttachFacetResponse { replaced });
    }
    outln!("{}", if replaced { "replaced" } else { "attached" });
    Ok(())
}

async fn detach(remote: &Remote, whose: &str, name: &str) -> anyhow::Result<()> {
    let (namespace, actor_type, key) = actor(whose);
    let request = v1::DetachFacetRequest {
        tenant_id: remote.tenant.clone(),
        namespace: namespace.to_owned(),
        actor_type: actor_type.to_owned(),
        actor_id: key.unwrap_or_default().to_owned(),
        r#type: name.to_owned(),
    };
    connect(remote).await?.detach_facet(request).await?;
    if remote.json {
        return print_json("plexspaces.v1.DetachFacetResponse", &v1::DetachFacetResponse {});
    }
    outln!("detached");
    Ok(())
}
