//! `@encrypted:{…}`: AES-128-CBC with PKCS#5 padding. The key is the first half of SHA-256 over the
//! secret; the value is base64 of the initialisation vector and what was encrypted.

use aes::Aes128;
use base64::{Engine, engine::general_purpose::STANDARD};
use cbc::cipher::{BlockModeDecrypt, KeyIvInit, block_padding::Pkcs7};
use ring::digest;

use crate::domain::Secret;

const BLOCK: usize = 16;

/// # Errors
/// In words that end a sentence.
pub fn decrypt(value: &str, secret: &Secret) -> Result<String, &'static str> {
    let bytes = STANDARD
        .decode(value.trim())
        .map_err(|_| "it is not base64")?;
    if bytes.len() < 2 * BLOCK || bytes.len() % BLOCK != 0 {
        return Err("it is too short, or cut off");
    }
    let (vector, text) = bytes.split_at(BLOCK);
    let digest = digest::digest(&digest::SHA256, secret.expose().as_bytes());
    let cipher = cbc::Decryptor::<Aes128>::new_from_slices(&digest.as_ref()[..BLOCK], vector)
        .map_err(|_| "it is too short, or cut off")?;
    cipher
        .decrypt_padded_vec::<Pkcs7>(text)
        .ok()
        .and_then(|text| String::from_utf8(text).ok())
        .ok_or("the secret does not fit it")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl enc -aes-128-cbc -K … -iv 000102030405060708090a0b0c0d0e0f`.
    const VALUE: &str = "AAECAwQFBgcICQoLDA0OD3iYob++e2rblP3t0hp9SzNSunMcxtWBqh7OPIu+VJRF";

    #[test]
    fn what_openssl_encrypts_is_decrypted() {
        let secret = Secret::new("open sesame");
        assert_eq!(
            decrypt(VALUE, &secret).as_deref(),
            Ok("s3cret of the key manager")
        );
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let secret = Secret::new("open sesame");
        assert_eq!(decrypt("%", &secret), Err("it is not base64"));
        assert_eq!(decrypt("AAAA", &secret), Err("it is too short, or cut off"));
        let other = Secret::new("open rice");
        assert_eq!(decrypt(VALUE, &other), Err("the secret does not fit it"));
    }
}
