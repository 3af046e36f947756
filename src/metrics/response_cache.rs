//! `portcullis_response_cache_…`.

use prometheus::{IntCounter, IntGauge};

use super::maker::Maker;

/// How a request that might have been answered from the response cache was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheResult {
    /// From the cache.
    Hit,
    /// By the upstream: nothing that could be used was there.
    Miss,
    /// From the cache, past its end.
    Stale,
    /// From the cache, after the upstream said that nothing has changed.
    Revalidated,
    /// By the upstream, without looking: the request is of a kind that is not kept, or was not fit
    /// to be kept the last time.
    Bypass,
}

impl CacheResult {
    const ALL: [Self; 5] = [
        Self::Hit,
        Self::Miss,
        Self::Stale,
        Self::Revalidated,
        Self::Bypass,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Bypass => "bypass",
        }
    }
}

/// Handles of `portcullis_response_cache_…`.
#[derive(Clone)]
pub struct ResponseCacheMetrics {
    lookups: [IntCounter; 5],
    pub entries: IntGauge,
    pub bytes: IntGauge,
    /// For want of room.
    pub evicted: IntCounter,
    /// Purged, or made invalid by a change.
    pub removed: IntCounter,
    pub disk: DiskMetrics,
}

/// Handles of `portcullis_response_cache_disk_…`.
#[derive(Clone)]
pub struct DiskMetrics {
    pub hits: IntCounter,
    pub bytes: IntGauge,
    /// Writes that were not begun.
    pub dropped: IntCounter,
    pub read_faults: IntCounter,
    pub write_faults: IntCounter,
    pub remove_faults: IntCounter,
}

impl DiskMetrics {
    fn new(maker: &Maker) -> prometheus::Result<Self> {
        let faults = maker.counters(
            "portcullis_response_cache_disk_faults_total",
            "Files of the response cache that could not be read, written or removed.",
            &["operation"],
        )?;
        Ok(Self {
            hits: maker.counter(
                "portcullis_response_cache_disk_hits_total",
                "Kept answers that were found on the disk and not in memory.",
            )?,
            bytes: maker.gauge(
                "portcullis_response_cache_disk_bytes",
                "Disk held by the response cache, as it is counted against its bound.",
            )?,
            dropped: maker.counter(
                "portcullis_response_cache_disk_dropped_writes_total",
                "Kept answers that were not written to the disk, because too many waited or there was no room.",
            )?,
            read_faults: faults.with_label_values(&["read"]),
            write_faults: faults.with_label_values(&["write"]),
            remove_faults: faults.with_label_values(&["remove"]),
        })
    }
}

impl ResponseCacheMetrics {
    pub fn new(maker: &Maker) -> prometheus::Result<Self> {
        let lookups = maker.counters(
            "portcullis_response_cache_lookups_total",
            "Requests on routes whose answers are kept, by how they were answered.",
            &["result"],
        )?;
        let evictions = maker.counters(
            "portcullis_response_cache_evictions_total",
            "Kept answers that were dropped; by capacity means that there was no more room.",
            &["reason"],
        )?;
        Ok(Self {
            lookups: CacheResult::ALL.map(|result| lookups.with_label_values(&[result.word()])),
            entries: maker.gauge(
                "portcullis_response_cache_entries",
                "Answers that are kept.",
            )?,
            bytes: maker.gauge(
                "portcullis_response_cache_bytes",
                "Memory held by the response cache, as it is counted against its bound.",
            )?,
            evicted: evictions.with_label_values(&["capacity"]),
            removed: evictions.with_label_values(&["invalidated"]),
            disk: DiskMetrics::new(maker)?,
        })
    }

    pub fn count(&self, result: CacheResult) {
        self.lookups[result as usize].inc();
    }
}
