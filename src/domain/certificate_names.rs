//! Which certificate is for which name (RFC 6066 §3, RFC 9525).

use std::collections::HashMap;

/// The names of several certificates, by their positions. Where two have the same name, the first
/// one has it.
#[derive(Debug, Default)]
pub struct CertificateNames {
    exact: HashMap<Box<str>, usize>,
    /// By what follows the `*.`; the star stands for one label.
    wildcard: HashMap<Box<str>, usize>,
    certificates: usize,
}

impl CertificateNames {
    /// For each certificate its names, as they stand in it.
    pub fn new<'a>(certificates: impl IntoIterator<Item = &'a [String]>) -> Self {
        let mut names = Self::default();
        for (position, certificate) in certificates.into_iter().enumerate() {
            for name in certificate {
                let name = name.to_ascii_lowercase();
                let (map, name) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut names.wildcard, rest),
                    None => (&mut names.exact, &*name),
                };
                map.entry(name.into()).or_insert(position);
            }
            names.certificates += 1;
        }
        names
    }

    /// Whether there is only one certificate, so that it was shown to everybody.
    pub fn are_of_one(&self) -> bool {
        self.certificates == 1
    }

    /// The certificate for a host name in any case; `None` where the default one has to do.
    pub fn find(&self, host: &str) -> Option<usize> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let lower;
        let host = match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => {
                lower = host.to_ascii_lowercase();
                &lower
            }
            false => host,
        };
        self.exact.get(host).copied().or_else(|| {
            let (label, rest) = host.split_once('.')?;
            (!label.is_empty())
                .then(|| self.wildcard.get(rest).copied())
                .flatten()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_names_go_before_wildcards() {
        let certificates = [
            vec!["example.com".to_owned(), "*.Example.com".to_owned()],
            vec!["api.example.com".to_owned(), "example.com".to_owned()],
        ];
        let names = CertificateNames::new(certificates.iter().map(Vec::as_slice));
        for (host, expected) in [
            ("example.com", Some(0)),
            ("WWW.example.com.", Some(0)),
            ("api.example.com", Some(1)),
            ("a.b.example.com", None),
            (".example.com", None),
            ("example.org", None),
            ("", None),
        ] {
            assert_eq!(names.find(host), expected, "{host}");
        }
    }
}
