//! The connection to the node that the command line names.

use plexspaces_client::Client;

use crate::args::Remote;

pub(crate) async fn connect(remote: &Remote) -> anyhow::Result<Client> {
    Ok(Client::connect(&remote.node, remote.token.as_deref()).await?)
}

/// Namespace, type and key of an actor as the command line names it.
pub(crate) fn actor(text: &str) -> (&str, &str, Option<&str>) {
    let mut parts = text.splitn(3, '/');
    match (parts.next().unwrap_or_default(), parts.next(), parts.next()) {
        (actor_type, None, _) => ("default", actor_type, None),
        (namespace, Some(actor_type), key) => (namespace, actor_type, key),
    }
}

/// Prints a message of the contract as JSON.
pub(crate) fn print_json(name: &str, message: &impl prost::Message) -> anyhow::Result<()> {
    let json = plexspaces_client::to_json(name, message);
    let json = json.ok_or_else(|| anyhow::anyhow!("{name} is not in the contract"))?;
    outln!("{}", serde_json::to_string_pretty(&json)?);
    Ok(())
}
