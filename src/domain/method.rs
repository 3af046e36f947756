//! Request methods, as a closed list: routes and metrics know no others.

use std::fmt;

use http::Method;

/// A set of request methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Methods(u16);

/// One method, or "another one": also the `method` label of metrics, so that clients cannot make
/// up labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum KnownMethod {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Trace,
    Connect,
    Other,
}

impl KnownMethod {
    pub const ALL: [Self; 10] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Options,
        Self::Trace,
        Self::Connect,
        Self::Other,
    ];

    pub fn of(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            Method::OPTIONS => Self::Options,
            Method::TRACE => Self::Trace,
            Method::CONNECT => Self::Connect,
            _ => Self::Other,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Connect => "CONNECT",
            Self::Other => "_OTHER",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl Methods {
    pub const NONE: Self = Self(0);

    /// Everything but `TRACE` and `CONNECT`, which a gateway does not pass on (RFC 9110 §9.3.6,
    /// §9.3.8).
    pub const ANY: Self =
        Self(0b11_1111_1111 & !KnownMethod::Trace.bit() & !KnownMethod::Connect.bit());

    /// Those of `names`; `GET` brings `HEAD` along (RFC 9110 §9.3.2).
    ///
    /// # Errors
    /// The first name that is not a method a route can have.
    pub fn parse<'a>(names: &[&'a str]) -> Result<Self, &'a str> {
        let mut bits = 0;
        for name in names {
            let method = KnownMethod::ALL
                .iter()
                .find(|method| method.word() == *name && Self::ANY.has(**method));
            match method {
                Some(KnownMethod::Other) | None => return Err(name),
                Some(KnownMethod::Get) => bits |= KnownMethod::Get.bit() | KnownMethod::Head.bit(),
                Some(method) => bits |= method.bit(),
            }
        }
        Ok(Self(bits))
    }

    pub fn has(self, method: KnownMethod) -> bool {
        self.0 & method.bit() != 0
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether all of `other` are here.
    pub fn covers(self, other: Self) -> bool {
        self.union(other) == self
    }

    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Methods {
    /// As in an `Allow` header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = KnownMethod::ALL
            .into_iter()
            .filter(|method| self.has(*method) && *method != KnownMethod::Other);
        for (position, method) in names.enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{}", method.word())?;
        }
        Ok(())
    }
}
