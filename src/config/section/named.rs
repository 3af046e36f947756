//! Tables whose names are the user's, as those of `[upstreams]`.

use super::{Entry, Section, Value};

impl<'r> Section<'r> {
    /// The tables in `tables` with their names, in the order of the file; `what` says for messages what has
    /// such a name. Where names are compared loosely, one that stands there in several spellings is put
    /// together.
    pub fn named(&self, tables: Section<'r>, what: &str) -> Vec<(String, Section<'r>)> {
        let mut found: Vec<(String, Section<'r>)> = Vec::new();
        for Entry {
            key,
            key_place,
            node,
        } in tables.table.entries
        {
            let label = format!("{}.{key}", tables.label);
            let Value::Table(table) = node.value else {
                let hint = format!("write [{}.NAME]", tables.label);
                self.error(&key_place, format!("`{label}` must be a table"), hint);
                continue;
            };
            if !is_name(&key) {
                let fault = format!("this cannot be the name of {what}");
                self.error(&key_place, fault, "letters, digits, `-` and `_`");
            }
            let is_known = |(name, _): &&mut (String, _)| tables.names.are_same(name, &key);
            match found.iter_mut().find(is_known) {
                Some((_, known)) => known.table.entries.extend(table.entries),
                None => {
                    let section = Section::new(table, &label, tables.names, key_place, self.report);
                    found.push((key, section));
                }
            }
        }
        found
    }
}

/// Without colons, so that no name is taken for an address.
pub fn is_name(text: &str) -> bool {
    let legal = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    !text.is_empty() && text.chars().all(legal)
}
