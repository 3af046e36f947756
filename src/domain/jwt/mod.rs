//! Access tokens that are signed statements (RFC 7519, RFC 9068): what can be said of one without
//! asking anybody.
//!
//! The signatures themselves are ring's. A JWT library would bring a second set of algorithms for
//! little more than what is in this folder, and leave open what matters here: which key may be used
//! with which algorithm, and what is a token of ours at all.

mod compact;
mod key;
mod key_set;

pub use compact::{Expected, Jwt};
pub use key::VerifyingKey;
pub use key_set::{KeySet, NotAKeySet};

/// How a JWT is signed (RFC 7518 §3.1, RFC 8037 §3.1). There is neither `none` nor anything with a
/// shared secret, so no configuration can allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtAlgorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    /// With Ed25519.
    EdDsa,
}

impl JwtAlgorithm {
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Rs256, "RS256"),
        (Self::Rs384, "RS384"),
        (Self::Rs512, "RS512"),
        (Self::Ps256, "PS256"),
        (Self::Ps384, "PS384"),
        (Self::Ps512, "PS512"),
        (Self::Es256, "ES256"),
        (Self::Es384, "ES384"),
        (Self::EdDsa, "EdDSA"),
    ];

    /// By its name in a header or a key, which is compared letter by letter.
    pub fn parse(word: &str) -> Option<Self> {
        if word == "Ed25519" {
            // The name of RFC 9864.
            return Some(Self::EdDsa);
        }
        Self::ALL
            .iter()
            .find(|(_, name)| *name == word)
            .map(|(algorithm, _)| *algorithm)
    }
}

/// Why a token that is to be judged by its signature is no good. Repeats nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtFault {
    /// Not what RFC 9068 makes of an access token: no `exp`, a claim of the wrong type, a header that
    /// asks for what nobody here understands.
    Malformed,
    /// Signed in a way that is not allowed.
    Algorithm,
    /// By a key that the issuer does not publish.
    UnknownKey,
    BadSignature,
    /// An id token, a refresh token, a logout token.
    NotAnAccessToken,
    /// For somebody else than the issuer's audience of the configuration.
    Audience,
    /// No issuer of ours made it, and there is nobody to ask.
    UnknownIssuer,
}

#[cfg(test)]
mod tests;
