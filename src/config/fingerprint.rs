//! A short name for what a configuration says, so that two gateways can be compared.

use std::fmt::Write;

use ring::digest;

use super::Settings;

impl Settings {
    /// Eight hexadecimal digits. They depend on what is in force, defaults and environment included, and not
    /// on how it was written; secrets have no part in them.
    pub fn fingerprint(&self) -> String {
        let text = format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.listen,
            self.key_managers,
            self.jwt_issuers,
            self.backend_jwt,
            self.token_cache,
            self.subscriptions,
            self.revocation,
            self.response_cache,
            self.limits,
            self.errors,
            self.routes.routes(),
            self.upstreams,
            self.admin,
            self.log,
            self.tracing,
            self.process,
        );
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        let mut short = String::with_capacity(8);
        for byte in &digest.as_ref()[..4] {
            let written = write!(short, "{byte:02x}");
            debug_assert!(written.is_ok());
        }
        short
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Environment, Source, load_source};

    fn fingerprint(text: &str) -> String {
        load_source(Source::memory(text), &Environment::default())
            .unwrap_or_else(|problems| panic!("{problems}"))
            .settings
            .fingerprint()
    }

    #[test]
    fn it_follows_what_is_meant_and_not_how_it_is_written() {
        let one = fingerprint("[token_cache]\nmax_ttl = \"60s\"\n");
        assert_eq!(one.len(), 8);
        assert_eq!(one, fingerprint("# nothing but defaults\n"));
        assert_ne!(one, fingerprint("[token_cache]\nmax_ttl = \"61s\"\n"));
    }

    #[test]
    fn secrets_have_no_part_in_it() {
        let with = |token: &str| fingerprint(&format!("[admin]\ntoken = \"{token}\"\n"));
        assert_eq!(with("one"), with("other"));
    }
}
