//! `blobs`: large objects by name.

use std::time::Duration;

use bytes::Bytes;
use plexspaces_actor::{BlobAccess, BlobInfo};

use super::{Host, no_turn, refuse};
use crate::bindings::plexspaces::actor::blobs;
use crate::bindings::plexspaces::actor::types::Error;

impl blobs::Host for Host {
    async fn put(&mut self, name: String, content_type: String, content: blobs::Content) -> wasmtime::Result<Result<blobs::Info, Error>> {
        let content = match content {
            blobs::Content::Text(text) => Bytes::from(text),
            blobs::Content::Bytes(bytes) => Bytes::from(bytes),
        };
        if let Err(error) = self.check_size("content", content.len()) {
            return Ok(Err(error));
        }
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let put = Self::wait(&self.ticks, &mut self.cpu, turn.put_blob(&name, &content_type, content)).await;
        self.keep_time();
        Ok(put.map(info).map_err(refuse))
    }

    async fn get(
        &mut self,
        name: String,
        offset: u64,
        length: Option<u64>,
    ) -> wasmtime::Result<Result<(blobs::Info, blobs::Content), Error>> {
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let got = Self::wait(&self.ticks, &mut self.cpu, turn.get_blob(&name, offset, length)).await;
        self.keep_time();
        Ok(got.map(|(found, content)| (info(found), lowered(content))).map_err(refuse))
    }

    async fn head(&mut self, name: String) -> wasmtime::Result<Result<blobs::Info, Error>> {
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        Ok(Self::wait(&self.ticks, &mut self.cpu, turn.blob(&name)).await.map(info).map_err(refuse))
    }

    async fn delete(&mut self, name: String) -> wasmtime::Result<Result<bool, Error>> {
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let deleted = Self::wait(&self.ticks, &mut self.cpu, turn.delete_blob(&name)).await;
        self.keep_time();
        Ok(deleted.map_err(refuse))
    }

    async fn presign(&mut self, name: String, method: String, expires_secs: u32) -> wasmtime::Result<Result<String, Error>> {
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let access = match BlobAccess::of_method(&method) {
            Ok(access) => access,
            Err(failure) => return Ok(Err(refuse(failure))),
        };
        let presign = turn.presign_blob(&name, access, Duration::from_secs(expires_secs.into()));
        let presigned = Self::wait(&self.ticks, &mut self.cpu, presign).await;
        self.keep_time();
        Ok(presigned.map(|presigned| presigned.url).map_err(refuse))
    }

    async fn list_blobs(&mut self, prefix: String, after: Option<String>, limit: u32) -> wasmtime::Result<Result<Vec<blobs::Info>, Error>> {
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let list = turn.list_blobs(&prefix, after.as_deref(), limit);
        let found = Self::wait(&self.ticks, &mut self.cpu, list).await;
        Ok(found.map(|found| found.into_iter().map(info).collect()).map_err(refuse))
    }
}

fn info(found: BlobInfo) -> blobs::Info {
    let BlobInfo { name, size, sha256, content_type, created_ms } = found;
    blobs::Info { name, size, sha256, content_type, created_ms: created_ms as f64 }
}

fn lowered(content: Bytes) -> blobs::Content {
    match String::from_utf8(content.into()) {
        Ok(text) => blobs::Content::Text(text),
        Err(error) => blobs::Content::Bytes(error.into_bytes()),
    }
}
