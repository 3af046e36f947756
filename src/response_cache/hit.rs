//! An answer on its way out of the store: its body is one piece of shared memory, or a part of it.

use std::{any::Any, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::{
    Error, ErrorType, Result,
    cache::{CacheKey, HitHandler, Storage, storage::HandleHit, trace::SpanHandle},
};

use super::store::{Body, Object};

/// See the module.
pub struct Hit {
    /// Holds the room for as long as somebody reads.
    body: Arc<Body>,
    /// What is still to be read.
    rest: Range<usize>,
}

impl Hit {
    pub fn boxed(object: &Object) -> HitHandler {
        let body = Arc::clone(&object.body);
        Box::new(Self {
            rest: 0..body.bytes.len(),
            body,
        })
    }
}

#[async_trait]
impl HandleHit for Hit {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let part = self.body.bytes.slice(self.rest.clone());
        self.rest.start = self.rest.end;
        Ok(Some(part))
    }

    async fn finish(
        self: Box<Self>,
        _: &'static (dyn Storage + Sync),
        _: &CacheKey,
        _: &SpanHandle,
    ) -> Result<()> {
        Ok(())
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        let length = self.body.bytes.len();
        let end = end.unwrap_or(length).min(length);
        if start >= end {
            return Error::e_explain(ErrorType::InternalError, "a range outside of the body");
        }
        self.rest = start..end;
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}
