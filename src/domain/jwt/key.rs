//! A public key that proves signatures of JWTs.

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

use super::JwtAlgorithm;

/// A key with all that its owner says of it. What it is decides which algorithms it can be used with:
/// the header of a token has no say in that (RFC 8725 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    /// `kid`.
    pub id: Option<Box<str>>,
    /// `alg`: the only way it may be used, where it says so.
    pub only: Option<JwtAlgorithm>,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    /// Big-endian, without leading zeros.
    Rsa {
        modulus: Box<[u8]>,
        exponent: Box<[u8]>,
    },
    /// Points in the uncompressed form.
    P256(Box<[u8]>),
    P384(Box<[u8]>),
    Ed25519(Box<[u8]>),
}

impl VerifyingKey {
    /// An RSA key of 2048 to 8192 bits (RFC 7518 §3.3); `None` for any other.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        const BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
        /// Bytes; more than anybody uses, and more would only take time.
        const LONGEST_EXPONENT: usize = 4;
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let leading = usize::try_from(modulus.first()?.leading_zeros()).ok()?;
        let bits = modulus.len().checked_mul(8)?.checked_sub(leading)?;
        let is_odd = exponent.last()? % 2 == 1 && exponent != [1];
        let fits = BITS.contains(&bits) && exponent.len() <= LONGEST_EXPONENT && is_odd;
        fits.then(|| {
            Self::of(Material::Rsa {
                modulus: modulus.into(),
                exponent: exponent.into(),
            })
        })
    }

    /// A point of P-256 or P-384 in the uncompressed form, told by its length.
    pub fn elliptic(point: &[u8]) -> Option<Self> {
        let material = match point {
            [4, rest @ ..] if rest.len() == 64 => Material::P256(point.into()),
            [4, rest @ ..] if rest.len() == 96 => Material::P384(point.into()),
            _ => return None,
        };
        Some(Self::of(material))
    }

    pub fn ed25519(key: &[u8]) -> Option<Self> {
        (key.len() == 32).then(|| Self::of(Material::Ed25519(key.into())))
    }

    /// With what its owner says of it.
    pub fn named(self, id: Option<Box<str>>, only: Option<JwtAlgorithm>) -> Self {
        Self { id, only, ..self }
    }

    fn of(material: Material) -> Self {
        Self {
            id: None,
            only: None,
            material,
        }
    }

    /// Whether a token may be signed by it like this.
    pub fn fits(&self, algorithm: JwtAlgorithm) -> bool {
        self.only.is_none_or(|only| only == algorithm)
            && (self.rsa_parameters(algorithm).is_some()
                || self.other_algorithm(algorithm).is_some())
    }

    /// Whether `signature` is one of `message`. False too for an algorithm that does not fit.
    pub fn verify(&self, algorithm: JwtAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        match &self.material {
            Material::Rsa { modulus, exponent } => {
                let key = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                self.rsa_parameters(algorithm)
                    .is_some_and(|how| key.verify(how, message, signature).is_ok())
            }
            Material::P256(key) | Material::P384(key) | Material::Ed25519(key) => {
                self.other_algorithm(algorithm).is_some_and(|how| {
                    UnparsedPublicKey::new(how, key)
                        .verify(message, signature)
                        .is_ok()
                })
            }
        }
    }

    fn rsa_parameters(&self, algorithm: JwtAlgorithm) -> Option<&'static RsaParameters> {
        let Material::Rsa { .. } = self.material else {
            return None;
        };
        Some(match algorithm {
            JwtAlgorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            JwtAlgorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
            JwtAlgorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
            JwtAlgorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
            JwtAlgorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
            JwtAlgorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
            JwtAlgorithm::Es256 | JwtAlgorithm::Es384 | JwtAlgorithm::EdDsa => return None,
        })
    }

    /// Signatures of the ECDSA kinds are two numbers of fixed length (RFC 7518 §3.4), not DER.
    fn other_algorithm(
        &self,
        algorithm: JwtAlgorithm,
    ) -> Option<&'static dyn VerificationAlgorithm> {
        match (&self.material, algorithm) {
            (Material::P256(_), JwtAlgorithm::Es256) => Some(&ECDSA_P256_SHA256_FIXED),
            (Material::P384(_), JwtAlgorithm::Es384) => Some(&ECDSA_P384_SHA384_FIXED),
            (Material::Ed25519(_), JwtAlgorithm::EdDsa) => Some(&ED25519),
            _ => None,
        }
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
