//! An answer on its way into the store: nothing of it is kept before it is whole.

use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use pingora::{
    Result,
    cache::{
        CacheKey, CacheMeta, MissHandler,
        key::{CacheHashKey, HashBinary},
        storage::{HandleMiss, MissFinishType},
    },
};

use super::{head::Head, room::Room, store::Store};

/// See the module.
pub struct Fill {
    store: &'static Store,
    primary: Vec<u8>,
    variance: Option<HashBinary>,
    head: Head,
    begun: Instant,
    /// `None`: there was no room for all of it.
    body: Option<(Vec<u8>, Option<Room>)>,
}

impl Fill {
    pub fn boxed(store: &'static Store, key: &CacheKey, meta: &CacheMeta) -> MissHandler {
        Box::new(Self {
            store,
            primary: key.primary_key().to_vec(),
            variance: key.variance_bin(),
            head: Head::of(meta),
            begun: Instant::now(),
            body: Some((Vec::with_capacity(told_length(meta.headers())), None)),
        })
    }

    fn append(&mut self, data: &[u8]) {
        let Some((body, room)) = &mut self.body else {
            return;
        };
        match (self.store.room(data.len()), room) {
            (Some(more), Some(room)) => room.join(more),
            (Some(more), room) => *room = Some(more),
            // Callers get their answer all the same.
            (None, _) => {
                self.body = None;
                return;
            }
        }
        body.extend_from_slice(data);
    }
}

/// A body of which the length is told is put together without growing; longer ones than are kept
/// do not come here.
fn told_length(headers: &HeaderMap) -> usize {
    let length = headers.get(header::CONTENT_LENGTH);
    length
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .unwrap_or(0)
}

#[async_trait]
impl HandleMiss for Fill {
    async fn write_body(&mut self, data: Bytes, _: bool) -> Result<()> {
        if !data.is_empty() {
            self.append(&data);
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<MissFinishType> {
        let Self {
            store,
            primary,
            variance,
            mut head,
            begun,
            body,
        } = *self;
        let Some((body, room)) = body else {
            return Ok(MissFinishType::Created(0));
        };
        let length = body.len();
        // The length was unknown while it came in chunks.
        let header = &mut head.header;
        if header.status != StatusCode::NO_CONTENT
            && !header.headers.contains_key(header::CONTENT_LENGTH)
        {
            header.insert_header(header::CONTENT_LENGTH, length)?;
        }
        let Some(room) = room.or_else(|| store.room(0)) else {
            return Ok(MissFinishType::Created(0));
        };
        // An allocation of exactly this size, shared from here on.
        let body = store.body(Bytes::from(body.into_boxed_slice()), room);
        store.put(&primary, variance, head, body, begun);
        Ok(MissFinishType::Created(length))
    }
}
