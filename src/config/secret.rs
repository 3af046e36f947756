//! Secrets of the configuration: inline, from a file (`…_file`) or a variable (`…_env`).

use std::path::{Path, PathBuf};

use http::{HeaderName, HeaderValue};

use super::{
    check::Context,
    problem::{Place, is_world_readable},
    section::{Placed, Section},
};
use crate::domain::Secret;

/// The three keys that one secret can be given by.
#[derive(Clone, Copy)]
pub struct SecretKeys {
    pub inline: &'static str,
    pub file: &'static str,
    pub variable: &'static str,
}

impl SecretKeys {
    pub const PASSWORD: Self = Self {
        inline: "password",
        file: "password_file",
        variable: "password_env",
    };
    pub const CLIENT_SECRET: Self = Self {
        inline: "clientSecret",
        file: "clientSecret_file",
        variable: "clientSecret_env",
    };
    pub const ACCESS_TOKEN: Self = Self {
        inline: "accessToken",
        file: "accessToken_file",
        variable: "accessToken_env",
    };
    pub const REFRESH_TOKEN: Self = Self {
        inline: "refreshToken",
        file: "refreshToken_file",
        variable: "refreshToken_env",
    };
    pub const TOKEN: Self = Self {
        inline: "token",
        file: "token_file",
        variable: "token_env",
    };

    /// Whether one of the three was there.
    pub fn any_given(self, section: &Section<'_>) -> bool {
        [self.inline, self.file, self.variable]
            .iter()
            .any(|key| section.was_given(key))
    }
}

/// Reads a secret; `None` when it is not given, or could not be read (which is then reported).
/// A trailing newline, as editors leave it, is not part of the secret.
pub fn read(
    section: &mut Section<'_>,
    keys: SecretKeys,
    context: &Context<'_>,
) -> Option<Placed<Secret>> {
    let inline = section.text(keys.inline);
    let file = section.text(keys.file);
    let variable = section.text(keys.variable);
    let given: Vec<&Place> = [&inline, &file, &variable]
        .into_iter()
        .flatten()
        .map(|text| &text.place)
        .collect();
    if let [_, second, ..] = given[..] {
        section.error(
            second,
            format!("`{}` is given twice", keys.inline),
            format!(
                "keep one of `{}`, `{}` and `{}`",
                keys.inline, keys.file, keys.variable
            ),
        );
        return None;
    }
    if let Some(text) = inline {
        warn_of_readable_source(section, &text.place, keys, context);
        return Some(placed(&text.value, text.place));
    }
    if let Some(file) = file {
        return from_file(section, file, context);
    }
    let Placed { value, place } = variable?;
    let Some(secret) = context.environment.get(&value) else {
        let what = format!("the environment variable {value} is not set");
        section.error(&place, what, "");
        return None;
    };
    Some(placed(secret, place))
}

fn placed(text: &str, place: Place) -> Placed<Secret> {
    Placed {
        value: Secret::new(text.trim_end_matches(['\r', '\n'])),
        place,
    }
}

fn from_file(
    section: &Section<'_>,
    file: Placed<String>,
    context: &Context<'_>,
) -> Option<Placed<Secret>> {
    let path = find(&file.value, context);
    let text = match read_bounded(&path) {
        Ok(text) => text,
        Err(fault) => {
            let what = format!("the secret cannot be read from {}: {fault}", path.display());
            section.error(&file.place, what, "");
            return None;
        }
    };
    warn_if_readable(section, &file.place, &path);
    Some(placed(&text, file.place))
}

/// A secret that everybody on this machine can read is no secret.
pub fn warn_if_readable(section: &Section<'_>, place: &Place, path: &Path) {
    if is_world_readable(path) {
        section.warn(
            place,
            format!(
                "{} can be read by everybody on this machine",
                path.display()
            ),
            "chmod 600 is enough",
        );
    }
}

/// A device in the place of a file must not be read without end.
pub fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    /// Bytes; far more than any key or token has.
    const MOST: u64 = 64 * 1024;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MOST)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// A bare name is looked for where systemd and container engines put secrets; other relative paths
/// start at the configuration file.
pub fn find(name: &str, context: &Context<'_>) -> PathBuf {
    if !name.contains('/') {
        let folders = [
            context.environment.get("CREDENTIALS_DIRECTORY"),
            Some("/run/secrets"),
        ];
        for folder in folders.into_iter().flatten() {
            let path = Path::new(folder).join(name);
            if path.exists() {
                return path;
            }
        }
    }
    match Path::new(&context.source.name).parent() {
        Some(folder) => folder.join(name),
        None => PathBuf::from(name),
    }
}

fn warn_of_readable_source(
    section: &Section<'_>,
    place: &Place,
    keys: SecretKeys,
    context: &Context<'_>,
) {
    if matches!(place, Place::Text(_)) && context.source.world_readable {
        section.warn(
            place,
            format!(
                "a secret stands in {}, which everybody on this machine can read",
                context.source.name
            ),
            format!("use `{}`, or chmod 600", keys.file),
        );
    }
}

/// A table of headers whose values may be keys. `ours` are names that the gateway sets itself.
pub fn headers(
    section: &mut Section<'_>,
    key: &'static str,
    ours: &[HeaderName],
    refusal: &str,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for Placed { value, place } in section.pairs(key) {
        let name = value.0.parse::<HeaderName>();
        let name = name.ok().filter(|name| !ours.contains(name));
        match (name, value.1.parse::<HeaderValue>()) {
            (Some(name), Ok(mut value)) => {
                value.set_sensitive(true);
                headers.push((name, value));
            }
            _ => section.error(&place, refusal, ""),
        }
    }
    headers
}
