//! The bytes of blobs, in pieces of any number.

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use plexspaces_proto::google::api::HttpBody;
use plexspaces_proto::v1::blob_service_client::BlobServiceClient;
use plexspaces_proto::v1::{self, Blob};
use tokio::sync::oneshot;
use tonic::Response;

use crate::wire::Wire;
use crate::{Client, Error};

/// Bytes of one message at most.
const PIECE: usize = 256 << 10;

impl Client {
    /// Writes a blob. The request says whose, which and of what media type; its bytes are those of `content`. Where that fails nothing is
    /// written and the failure is given. It is not repeated, since the content is gone.
    pub async fn write_blob<E: Send + 'static>(
        &self,
        request: v1::WriteBlobRequest,
        content: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    ) -> Result<Result<Blob, E>, Error> {
        let (broke, mut broken) = oneshot::channel();
        let pieces = content.flat_map(|piece| {
            let (bytes, failed) = match piece {
                Ok(bytes) => (bytes, None),
                Err(error) => (Bytes::new(), Some(Err(error))),
            };
            stream::unfold(bytes, |mut rest| async move {
                let piece = rest.split_to(rest.len().min(PIECE));
                (!piece.is_empty()).then_some((Ok(piece), rest))
            })
            .chain(stream::iter(failed))
        });
        let first = stream::once(async { request });
        let begin = (Box::pin(pieces), Some(broke));
        let rest = stream::unfold(begin, |(mut pieces, mut broke)| async move {
            match pieces.next().await? {
                Ok(data) => {
                    let content = Some(HttpBody { content_type: String::new(), data });
                    Some((v1::WriteBlobRequest { content, ..v1::WriteBlobRequest::default() }, (pieces, broke)))
                }
                Err(error) => {
                    // An end here would be taken for the end of the blob. The request is dropped instead.
                    drop(broke.take().map(|broke| broke.send(error)));
                    std::future::pending().await
                }
            }
        });
        let mut client = self.blobs();
        let call = client.write_blob(first.chain(rest));
        tokio::select! {
            biased;
            Ok(error) = &mut broken => Ok(Err(error)),
            answer = call => answer.map(|blob| Ok(blob.into_inner())).map_err(|status| Error::from_status(&self.url, &status)),
        }
    }

    /// The bytes of a blob, or of a part of it, as they come.
    pub async fn read_blob(&self, request: v1::ReadBlobRequest) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + use<>, Error> {
        let failed = |url: &str, status| Error::from_status(url, &status);
        let pieces = self.blobs().read_blob(request).await.map_err(|status| failed(&self.url, status)).map(Response::into_inner)?;
        let url = self.url.clone();
        Ok(pieces.map(move |piece| piece.map(|piece| piece.data).map_err(|status| failed(&url, status))))
    }

    fn blobs(&self) -> BlobServiceClient<Wire> {
        BlobServiceClient::new(self.wire.clone()).max_decoding_message_size(usize::MAX)
    }
}
