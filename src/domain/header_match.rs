//! What a route asks of a request's headers, beside host, path and method.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Conditions that must all be met. Sorted by name, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderMatch(Box<[Condition]>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    name: HeaderName,
    /// `None`: anything.
    value: Option<HeaderValue>,
}

impl HeaderMatch {
    /// Each header with the value that it must have, or `None` for any. Of two for one name, the
    /// first counts.
    pub fn new(conditions: impl IntoIterator<Item = (HeaderName, Option<HeaderValue>)>) -> Self {
        let conditions = conditions.into_iter();
        let mut conditions: Vec<Condition> = conditions
            .map(|(name, value)| Condition { name, value })
            .collect();
        conditions.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
        conditions.dedup_by(|later, first| later.name == first.name);
        Self(conditions.into())
    }

    /// The number of conditions.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether a request with these headers meets all conditions.
    pub fn is_met(&self, headers: &HeaderMap) -> bool {
        self.0.iter().all(|condition| condition.is_met(headers))
    }

    /// Whether no request can meet both: one header would need two values.
    pub fn excludes(&self, other: &Self) -> bool {
        self.0.iter().any(|one| {
            other.0.iter().any(|other| {
                one.name == other.name
                    && one.value.is_some()
                    && other.value.is_some()
                    && one.value != other.value
            })
        })
    }
}

impl Condition {
    /// A header that stands there twice has no one value: servers behind read the first, or the
    /// last, or both.
    fn is_met(&self, headers: &HeaderMap) -> bool {
        let Some(wanted) = &self.value else {
            return headers.contains_key(&self.name);
        };
        let mut values = headers.get_all(&self.name).iter();
        values.next() == Some(wanted) && values.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(list: &[(&'static str, Option<&'static str>)]) -> HeaderMatch {
        HeaderMatch::new(list.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                value.map(HeaderValue::from_static),
            )
        }))
    }

    #[test]
    fn all_conditions_must_be_met() {
        let both = conditions(&[("x-version", Some("2")), ("x-beta", None)]);
        assert_eq!(both.count(), 2);
        let mut headers = HeaderMap::new();
        assert!(!both.is_met(&headers) && HeaderMatch::default().is_met(&headers));
        headers.insert("x-version", HeaderValue::from_static("2"));
        assert!(!both.is_met(&headers));
        headers.insert("x-beta", HeaderValue::from_static(""));
        assert!(both.is_met(&headers));
        headers.append("x-version", HeaderValue::from_static("2"));
        assert!(!both.is_met(&headers), "twice is not once");
        headers.insert("x-version", HeaderValue::from_static("3"));
        assert!(!both.is_met(&headers));
    }

    #[test]
    fn different_values_of_one_header_exclude_each_other() {
        let two = conditions(&[("x-version", Some("2"))]);
        assert!(two.excludes(&conditions(&[("x-version", Some("3")), ("x-a", None)])));
        for other in [
            conditions(&[("x-version", Some("2"))]),
            conditions(&[("x-version", None)]),
            conditions(&[("x-other", Some("3"))]),
            HeaderMatch::default(),
        ] {
            assert!(!two.excludes(&other) && !other.excludes(&two), "{other:?}");
        }
    }
}
