//! Addresses of message brokers, in which the original lets an account stand.

/// What the original connects to by itself.
pub const DEFAULT: &str = "amqp://admin:admin@carbon/carbon?brokerlist='tcp://localhost:5672'";

/// The address without its account.
pub fn without_account(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return address.to_owned();
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    match authority.rsplit_once('@') {
        None => address.to_owned(),
        Some((_, host)) => format!("{scheme}://{host}{tail}"),
    }
}

/// The address with this account in it instead of its own.
pub fn with_account(address: &str, name: &str, password: &str) -> String {
    let address = without_account(address);
    match address.split_once("://") {
        Some((scheme, rest)) => {
            format!("{scheme}://{}:{}@{rest}", encoded(name), encoded(password))
        }
        None => address,
    }
}

/// Whether a password may stand in it, in whatever way.
pub fn may_hold_a_secret(address: &str) -> bool {
    address.contains('@') || !address.contains("://")
}

/// Percent-encoded, where the text could be taken for a part of the address (RFC 3986 §2.1).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '%' => encoded.push_str("%25"),
            ':' => encoded.push_str("%3A"),
            '@' => encoded.push_str("%40"),
            '/' => encoded.push_str("%2F"),
            '?' => encoded.push_str("%3F"),
            other => encoded.push(other),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Broker;

    #[test]
    fn accounts_come_and_go() {
        let address = without_account(DEFAULT);
        assert_eq!(
            address,
            "amqp://carbon/carbon?brokerlist='tcp://localhost:5672'"
        );
        assert!(!may_hold_a_secret(&address));
        for odd in ["amqp://a:b/c@host/x", "nonsense", "a@b"] {
            assert!(may_hold_a_secret(&without_account(odd)), "{odd}");
        }
        let other = with_account(DEFAULT, "me@carbon.super", "p:/?%@ ");
        let account = Broker::parse(&other).unwrap().account.unwrap();
        assert_eq!(account.name, "me@carbon.super");
        assert_eq!(account.password.expose(), "p:/?%@ ");
    }
}
