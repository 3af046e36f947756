//! What is kept of an answer beside its body: its header and its times. Pingora's own form of this
//! can only be copied by way of text.

use std::time::SystemTime;

use http::HeaderValue;
use pingora::{
    cache::{CacheMeta, key::HashBinary},
    http::ResponseHeader,
};

/// See the module.
pub struct Head {
    pub fresh_until: SystemTime,
    /// When the answer was of age zero.
    pub epoch: SystemTime,
    /// Since when the variants of this answer have been told apart in the same way.
    pub provenance: SystemTime,
    /// In seconds, like the next one.
    pub stale_while_revalidate: u32,
    pub stale_if_error: u32,
    pub variance: Option<HashBinary>,
    pub header: ResponseHeader,
}

/// What a head costs beside the texts of its header.
const OVERHEAD: usize = size_of::<Head>();
/// What a field of a header costs beside its texts: its place in the map of values, and in that of
/// names as they were spelt.
const FIELD_OVERHEAD: usize = 160;

impl Head {
    pub fn of(meta: &CacheMeta) -> Self {
        Self {
            fresh_until: meta.fresh_until(),
            epoch: meta.epoch(),
            provenance: meta.provenance(),
            stale_while_revalidate: meta.stale_while_revalidate_sec(),
            stale_if_error: meta.stale_if_error_sec(),
            variance: meta.variance(),
            header: apart(meta.response_header_copy()),
        }
    }

    pub fn meta(&self) -> CacheMeta {
        // Pingora drops variants that were made before what they are variants of, so the time of
        // making is that from which they have been told apart.
        let mut meta = CacheMeta::new(
            self.fresh_until,
            self.provenance,
            self.stale_while_revalidate,
            self.stale_if_error,
            self.header.clone(),
        );
        meta.set_epoch_override(self.epoch);
        if let Some(variance) = self.variance {
            meta.set_variance_key(variance);
        }
        meta
    }

    /// In bytes.
    pub fn size(&self) -> usize {
        let fields = self.header.headers.iter();
        let texts: usize = fields
            .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD)
            .sum();
        OVERHEAD + texts
    }
}

/// The same in memory of its own: as it was read, each name and value is a part of the whole buffer
/// that it was read into, of which one that is kept holds all. The spelling of names goes.
fn apart(header: ResponseHeader) -> ResponseHeader {
    let mut parts = http::response::Parts::from(header);
    for value in parts.headers.values_mut() {
        let is_sensitive = value.is_sensitive();
        // It is a value, so its bytes make one.
        if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
            copy.set_sensitive(is_sensitive);
            *value = copy;
        }
    }
    parts.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn times_and_fields_survive() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut header = ResponseHeader::build(203, None).unwrap();
        header.append_header("X-Twice", "1").unwrap();
        header.append_header("X-Twice", "2").unwrap();
        let fresh_until = now + Duration::from_secs(60);
        let mut meta = CacheMeta::new(fresh_until, now, 5, 7, header);
        meta.set_variance_key([3; 16]);
        meta.set_epoch_override(now - Duration::from_secs(9));
        let again = Head::of(&Head::of(&meta).meta()).meta();
        assert_eq!(again.fresh_until(), fresh_until);
        assert_eq!(again.epoch(), now - Duration::from_secs(9));
        assert_eq!((again.provenance(), again.created()), (now, now));
        assert_eq!(again.variance(), Some([3; 16]));
        assert_eq!(again.stale_while_revalidate_sec(), 5);
        assert_eq!(again.stale_if_error_sec(), 7);
        assert_eq!(again.response_header().status, 203);
        assert_eq!(again.headers().get_all("x-twice").iter().count(), 2);
    }

    #[test]
    fn the_buffer_that_was_read_into_is_not_kept() {
        let buffer = Bytes::from(vec![b'x'; 4096]);
        let part = buffer.slice(7..9);
        let mut header = ResponseHeader::build(200, None).unwrap();
        let value = HeaderValue::from_maybe_shared(part.clone()).unwrap();
        header.append_header(part, value).unwrap();
        let now = SystemTime::now();
        let head = Head::of(&CacheMeta::new(now, now, 0, 0, header));
        assert_eq!(head.header.headers["xx"], "xx");
        assert!(buffer.is_unique());
    }
}
