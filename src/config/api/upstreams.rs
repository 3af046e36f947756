//! Endpoints as tables of upstreams.

use std::rc::Rc;

use super::{
    Entry, Read, Section, Table, Value,
    entry::{entry, table, text},
};
use crate::openapi::{EndpointKind, Endpoints};

/// The upstreams that one API needs.
pub struct Upstreams<'a> {
    api: String,
    read: &'a Read,
    section: &'a Section<'a>,
    list: Vec<(Rc<Endpoints>, Entry)>,
}

impl<'a> Upstreams<'a> {
    pub fn new(api: &str, read: &'a Read, section: &'a Section<'a>) -> Self {
        Self {
            api: api.to_owned(),
            read,
            section,
            list: Vec::new(),
        }
    }

    /// What a route says in `key` to send its requests there: an address where that is all.
    pub fn of_endpoints(&mut self, key: &str, endpoints: &Rc<Endpoints>) -> Entry {
        let first = &endpoints.servers[0];
        let place = self.read.place(&first.at);
        let is_plain = endpoints.servers.len() == 1
            && endpoints.timeout_millis.is_none()
            && endpoints.retries.is_none()
            && endpoints.reset_millis.is_none();
        if is_plain {
            return text(key, &first.value.origin, &place);
        }
        if let Some((_, made)) = self.list.iter().find(|(known, _)| known == endpoints) {
            return text(key, &made.key, &place);
        }
        let name = self.name(endpoints);
        let made = self.table(&name, endpoints);
        self.list.push((Rc::clone(endpoints), made));
        text(key, name, &place)
    }

    fn name(&self, endpoints: &Endpoints) -> String {
        let of_api: String = self.api.chars().filter_map(plain).collect();
        let own: String = match &endpoints.name {
            Some(name) => name.chars().filter_map(plain).collect(),
            None => (self.list.len() + 1).to_string(),
        };
        format!("{of_api}-{own}")
    }

    fn table(&self, name: &str, endpoints: &Endpoints) -> Entry {
        let place = self.read.place(&endpoints.servers[0].at);
        let servers = endpoints
            .servers
            .iter()
            .map(|server| text("", &server.value.origin, &self.read.place(&server.at)).node);
        let mut entries = vec![entry("servers", Value::Array(servers.collect()), &place)];
        if endpoints.kind == EndpointKind::Failover {
            let what = "servers of a fail-over endpoint take turns; one that fails is left out for a while";
            self.section.warn(&place, what, "");
        }
        if let Some(timeout) = &endpoints.timeout_millis {
            let place = self.read.place(&timeout.at);
            let read = text("read", format!("{}ms", timeout.value), &place);
            entries.push(table("timeouts", vec![read], &place));
        }
        if let Some(retries) = &endpoints.retries {
            let place = self.read.place(&retries.at);
            let count = i64::try_from(retries.value).unwrap_or(i64::MAX);
            entries.push(entry("retries", Value::Integer(count), &place));
        }
        if let Some(reset) = &endpoints.reset_millis {
            const LONGEST_DEFAULT: u64 = 300_000;
            let place = self.read.place(&reset.at);
            let time = |key: &str, millis: u64| text(key, format!("{millis}ms"), &place);
            let times = vec![
                time("base_time", reset.value),
                time("max_time", reset.value.max(LONGEST_DEFAULT)),
            ];
            entries.push(table("ejection", times, &place));
        }
        table(name, entries, &place)
    }

    /// Adds them to `[upstreams]`.
    pub fn put(self, root: &mut Table) {
        let made = self.list.into_iter().map(|(_, made)| made);
        let there = root
            .entries
            .iter_mut()
            .find(|entry| entry.key == "upstreams");
        match there.map(|entry| &mut entry.node.value) {
            Some(Value::Table(all)) => {
                for made in made {
                    if all.entries.iter().any(|other| other.key == made.key) {
                        let what = format!("two upstreams have the name {:?}", made.key);
                        self.section
                            .error(&made.key_place, what, "give the API another `name`");
                        continue;
                    }
                    all.entries.push(made);
                }
            }
            // It has the wrong type, which is told when it is read.
            Some(_) => {}
            None => {
                let entries: Vec<Entry> = made.collect();
                if !entries.is_empty() {
                    root.entries
                        .push(table("upstreams", entries, &self.section.place));
                }
            }
        }
    }
}

/// A letter that the name of an upstream may have.
fn plain(letter: char) -> Option<char> {
    match letter {
        '-' | '_' => Some(letter),
        _ if letter.is_ascii_alphanumeric() => Some(letter),
        _ => None,
    }
}
