//! `blob`: large objects, from files and into them.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream};
use plexspaces_client::{HttpBody, v1};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use crate::args::{Blob, Range, Remote};
use crate::out;
use crate::progress::bar;
use crate::services::{Space, member, text};
use crate::target::{connect, print_json};

/// Bytes that are read from a file at once.
const PIECE: usize = 256 << 10;

pub(crate) async fn run(remote: &Remote, namespace: &str, command: &Blob) -> anyhow::Result<()> {
    match command {
        Blob::Put { name, file, content_type } => return put(remote, namespace, name, file, content_type).await,
        Blob::Get { name, file, range } => return get(remote, namespace, name, file, *range).await,
        _ => {}
    }
    let space = Space::connect(remote, namespace).await?;
    let columns = ["name", "size", "content_type", "created_at", "sha256"];
    match command {
        Blob::Put { .. } | Blob::Get { .. } => Ok(()),
        Blob::List { prefix } => {
            let blobs = space.all("BlobService.ListBlobs", json!({"prefix": prefix}), "blobs", usize::MAX).await?;
            space.table(&blobs, &columns[..4], "no blobs")?;
            Ok(())
        }
        Blob::Head { name } => {
            let blob = space.call("BlobService.GetBlob", json!({"name": name})).await?;
            space.table(&[blob], &columns, "")?;
            Ok(())
        }
        Blob::Delete { name } => {
            let answer = space.call("BlobService.DeleteBlob", json!({"name": name})).await?;
            space.say(if member(&answer, "deleted") == true { "deleted" } else { "there was none" })?;
            Ok(())
        }
        Blob::Presign { name, put, expires } => {
            let fields = json!({"name": name, "method": if *put { "PUT" } else { "GET" }, "expires_secs": expires});
            let answer = space.call("BlobService.PresignBlob", fields).await?;
            space.say(&text(member(&answer, "url")))?;
            Ok(())
        }
    }
}

async fn put(remote: &Remote, namespace: &str, name: &str, file: &Path, content_type: &str) -> anyhow::Result<()> {
    let (source, size): (Box<dyn AsyncRead + Send + Unpin>, _) = if is_standard(file) {
        (Box::new(tokio::io::stdin()), None)
    } else {
        let opened = tokio::fs::File::open(file).await.with_context(|| format!("cannot read {}", file.display()))?;
        let metadata = opened.metadata().await?;
        if metadata.is_dir() {
            bail!("cannot read {}: it is a directory", file.display());
        }
        (Box::new(opened), metadata.is_file().then_some(metadata.len()))
    };
    let client = connect(remote).await?;
    let request = v1::WriteBlobRequest {
        tenant_id: remote.tenant.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        content: Some(HttpBody { content_type: content_type.to_owned(), data: Bytes::new() }),
        if_match: None,
    };
    let bar = bar("sending", size);
    let shown = bar.clone();
    let content = pieces(source).inspect(move |piece| shown.inc(piece.as_ref().map_or(0, |piece| piece.len() as u64)));
    let written = client.write_blob(request, content).await;
    bar.finish_and_clear();
    let blob = written?.with_context(|| format!("cannot read {}", file.display()))?;
    if remote.json {
        return print_json("plexspaces.v1.Blob", &blob);
    }
    outln!("{}  {}", blob.sha256, blob.name);
    Ok(())
}

async fn get(remote: &Remote, namespace: &str, name: &str, file: &Path, range: Option<Range>) -> anyhow::Result<()> {
    if is_standard(file) {
        if remote.json {
            bail!("--json needs a file for the bytes");
        }
        if std::io::stdout().is_terminal() {
            bail!("the bytes of a blob are not for a terminal; name a file, or - with a redirection");
        }
    }
    let client = connect(remote).await?;
    let request = v1::ReadBlobRequest {
        tenant_id: remote.tenant.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        offset: range.map_or(0, |range| range.offset),
        length: range.and_then(|range| range.length),
    };
    let head = json!({"tenant_id": remote.tenant, "namespace": namespace, "name": name});
    let found = client.call("BlobService.GetBlob", head).await?;
    let size = member(&found, "size").as_u64().unwrap_or(0);
    let rest = size.saturating_sub(request.offset);
    let bar = bar("receiving", Some(request.length.map_or(rest, |length| length.min(rest))));
    let mut content = Box::pin(client.read_blob(request).await?);
    let cannot = || format!("cannot write {}", file.display());
    let mut into = Target::open(file).await.with_context(cannot)?;
    let mut bytes = 0_u64;
    while let Some(piece) = content.next().await {
        let piece = piece?;
        into.write(&piece).await.with_context(cannot)?;
        bytes += piece.len() as u64;
        bar.set_position(bytes);
    }
    into.close(file).await.with_context(cannot)?;
    bar.finish_and_clear();
    if remote.json {
        outln!("{}", serde_json::to_string_pretty(&json!({"name": name, "file": file, "bytes": bytes}))?);
    }
    Ok(())
}

/// Where bytes go: a file is made beside the one that is meant and takes its place at the end.
enum Target {
    Output(tokio::io::Stdout),
    File(tokio::fs::File, tempfile::TempPath),
}

impl Target {
    async fn open(file: &Path) -> std::io::Result<Self> {
        if is_standard(file) {
            return Ok(Self::Output(tokio::io::stdout()));
        }
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned);
        let made = tokio::task::spawn_blocking(move || {
            let mut builder = tempfile::Builder::new();
            builder.prefix(".plexspaces-");
            // As any other new file, not only for its owner.
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
            builder.tempfile_in(directory)
        })
        .await??;
        let (file, path) = made.into_parts();
        Ok(Self::File(tokio::fs::File::from_std(file), path))
    }

    async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Output(output) => output.write_all(bytes).await.map_err(out::failure),
            Self::File(file, _) => Ok(file.write_all(bytes).await?),
        }
    }

    async fn close(self, target: &Path) -> anyhow::Result<()> {
        match self {
            Self::Output(mut output) => output.flush().await.map_err(out::failure),
            Self::File(mut file, path) => {
                file.flush().await?;
                file.sync_all().await?;
                Ok(path.persist(target).map_err(|error| error.error)?)
            }
        }
    }
}

fn is_standard(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// What a file holds, in pieces.
fn pieces(source: impl AsyncRead + Send + Unpin + 'static) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    stream::try_unfold(source, |mut source| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = source.read_buf(&mut piece).await?;
        Ok((read > 0).then(|| (piece.freeze(), source)))
    })
}
