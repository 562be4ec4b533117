//! `plexspaces deploy` and `undeploy`.

use std::path::Path;

use anyhow::Context as _;
use plexspaces_client::{Client, v1};

use crate::args::{Deploy, Remote, Undeploy};
use crate::progress;
use crate::target::{connect, print_json};

pub(crate) async fn deploy(remote: &Remote, deploy: &Deploy) -> anyhow::Result<()> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let wasm = read(&deploy.wasm)?;
    let config = deploy.config.as_deref().map(read).transpose()?;
    let config = config.map(String::from_utf8).transpose().context("the configuration is not UTF-8")?;
    let client = connect(remote).await?;
    let request = v1::DeployApplicationRequest {
        tenant_id: remote.tenant.clone(),
        namespace: deploy.namespace.clone(),
        app: deploy.app.clone(),
        actor_type: deploy.actor_type.clone(),
        wasm: wasm.into(),
        config,
        version: deploy.app_version.clone(),
        client_token: None,
        on_incompatible: deploy.on_incompatible.clone(),
        if_match: None,
    };
    let response = send(&client, request).await?;
    if remote.json {
        return print_json("plexspaces.v1.DeployApplicationResponse", &response);
    }
    let application = response.application.unwrap_or_default();
    let what = if response.created { "deployed" } else { "replaced" };
    outln!("{what} {} {} in namespace {}", application.app, application.version, application.namespace);
    for actor in &application.actor_ids {
        outln!("  {actor}");
    }
    Ok(())
}

/// Deploys with a bar for the upload and a spinner while the node compiles, where somebody can see them.
pub(crate) async fn send(client: &Client, request: v1::DeployApplicationRequest) -> anyhow::Result<v1::DeployApplicationResponse> {
    let bar = progress::bar("uploading", Some(0));
    let shown = bar.clone();
    let progress = move |sent: u64, total: u64| {
        shown.set_length(total);
        shown.set_position(sent);
        if sent >= total {
            progress::turn(&shown, "compiling and starting");
        }
    };
    let response = client.deploy(request, progress).await;
    bar.finish_and_clear();
    Ok(response?)
}

pub(crate) async fn undeploy(remote: &Remote, undeploy: &Undeploy) -> anyhow::Result<()> {
    connect(remote).await?.undeploy(&remote.tenant, undeploy.namespace.as_deref(), &undeploy.app).await?;
    if remote.json {
        outln!("{}", serde_json::json!({"app": undeploy.app, "undeployed": true}));
    } else {
        outln!("undeployed {}", undeploy.app);
    }
    Ok(())
}
