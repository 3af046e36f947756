//! The refresh token over a restart.
//!
//! A server that rotates refresh tokens takes the old one for stolen when it comes again, and ends
//! the whole grant. So the one that is good is kept in a file: 0600, replaced in one step.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use ring::digest;
use serde::{Deserialize, Serialize};

use crate::{
    config::{GrantSettings, OAuth2Settings},
    domain::Secret,
};

/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// See the module.
pub struct StateFile {
    path: PathBuf,
    /// Digest of the configuration that the token belongs to: under another one it is not used.
    belongs_to: String,
}

#[derive(Deserialize, Serialize, zeroize::ZeroizeOnDrop)]
struct State {
    belongs_to: String,
    refresh_token: String,
}

impl StateFile {
    pub fn new(path: &Path, settings: &OAuth2Settings) -> Self {
        Self {
            path: path.to_owned(),
            belongs_to: fingerprint(settings),
        }
    }

    /// The token that was kept for this configuration.
    pub fn read(&self) -> Option<Secret> {
        let length = fs::metadata(&self.path).ok()?.len();
        if length > MAX_BYTES {
            tracing::warn!(file = %self.path.display(), "the state file is too large; it is not used");
            return None;
        }
        let text = fs::read_to_string(&self.path).ok()?;
        let state: State = serde_json::from_str(&text).ok()?;
        (state.belongs_to == self.belongs_to).then(|| Secret::new(state.refresh_token.as_str()))
    }

    /// Replaces what is kept. A failure is told: after a restart the old token would be sent.
    pub fn write(&self, token: &Secret) {
        if let Err(fault) = self.replace(token) {
            tracing::error!(
                file = %self.path.display(), %fault,
                "the new refresh token could not be kept; it is lost at the next restart"
            );
        }
    }

    pub fn remove(&self) {
        // It may never have been there.
        let _ = fs::remove_file(&self.path);
    }

    fn replace(&self, token: &Secret) -> std::io::Result<()> {
        let state = State {
            belongs_to: self.belongs_to.clone(),
            refresh_token: token.expose().to_owned(),
        };
        let text = zeroize::Zeroizing::new(serde_json::to_string(&state)?);
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{}.new", std::process::id()));
        let new = PathBuf::from(name);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }
}

fn fingerprint(settings: &OAuth2Settings) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut add = |part: &str| {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    };
    add(&settings
        .token_url
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default());
    if let Some(refresh) = &settings.refresh {
        add(&refresh
            .url
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default());
        add(refresh.token.as_ref().map_or("", |token| token.expose()));
        add(refresh.client.as_ref().map_or("", |client| &client.id));
    }
    match &settings.grant {
        GrantSettings::ClientCredentials(client) => add(&client.id),
        GrantSettings::Password {
            client, username, ..
        } => {
            add(&client.id);
            add(username);
        }
        GrantSettings::Direct(token) => add(token.expose()),
    }
    context
        .finish()
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
