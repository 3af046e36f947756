//! `paths`: the operations, each with one path and one method.

use std::{collections::HashMap, ops::Range, rc::Rc};

use super::{
    Access, Context, Endpoints, Node, Spotted, endpoints, extensions, path, resolve, security, text,
};

/// One thing that an API does.
#[derive(Clone, Debug)]
pub struct Operation {
    /// `operationId`.
    pub id: Option<String>,
    /// In capitals. That of a `GET` is also for `HEAD`.
    pub method: &'static str,
    /// As a route's path, below the base path.
    pub path: String,
    pub access: Access,
    pub production: Option<Rc<Endpoints>>,
    pub sandbox: Option<Rc<Endpoints>>,
    pub tier: Option<Spotted<String>>,
    pub at: Range<usize>,
}

/// Those of a path item that a gateway can pass on.
const METHODS: [(&str, &str); 7] = [
    ("get", "GET"),
    ("put", "PUT"),
    ("post", "POST"),
    ("delete", "DELETE"),
    ("options", "OPTIONS"),
    ("head", "HEAD"),
    ("patch", "PATCH"),
];
/// Most operations of a document.
const MOST: usize = 100_000;

pub fn read_all(context: &Context<'_>) -> Vec<Operation> {
    let mut all = All {
        context,
        default: Default::default(),
        list: Vec::new(),
        known: HashMap::new(),
    };
    all.default = all.defaults();
    let paths = context.root.get("paths").map_or(&[][..], Node::entries);
    for entry in paths.iter().filter(|entry| !entry.key.starts_with("x-")) {
        all.read_item(&entry.key, &entry.node);
    }
    all.without_heads()
}

/// What operations have that say nothing themselves.
#[derive(Default)]
struct Defaults {
    access: Option<Access>,
    open: Option<bool>,
    has_tier: bool,
}

struct All<'c, 'n> {
    context: &'c Context<'n>,
    default: Defaults,
    list: Vec<Operation>,
    /// Position in the list by form of the path and method.
    known: HashMap<(String, &'static str), usize>,
}

impl All<'_, '_> {
    fn defaults(&self) -> Defaults {
        let root = self.context.root;
        let mut access = security::of(self.context, root);
        if access == Some(Access::Public) {
            let at = root.get("security").map_or(0..0, |field| field.at.clone());
            let what = "`security` of the whole document is empty: a token is asked for where an operation does not say so itself";
            self.context.notes.warn(what, at);
            access = None;
        }
        Defaults {
            access,
            open: extensions::open(self.context, root),
            has_tier: extensions::tier(self.context, root).is_some(),
        }
    }

    fn read_item(&mut self, key: &str, item: &Node<'_>) {
        let target = item.get("$ref").and_then(Node::text);
        let item = match target.map(|target| resolve(self.context.root, target)) {
            None => item,
            Some(Some(target)) => target,
            Some(None) => {
                let what = format!(
                    "{:?} is not found in this document: the path is left out",
                    target.unwrap_or_default()
                );
                self.context.notes.warn(what, item.at.clone());
                return;
            }
        };
        // Some use what stands behind to tell operations apart that are one for everybody else.
        let template = key.split(['?', '#']).next().unwrap_or_default();
        let pattern = match path::pattern(template) {
            Ok(pattern) => pattern,
            Err(fault) => {
                let what = format!("the path {key:?} is left out: {fault}");
                self.context.notes.warn(what, item.at.clone());
                return;
            }
        };
        if item
            .get("servers")
            .is_some_and(|servers| !servers.items().is_empty())
        {
            self.note_servers(item);
        }
        extensions::report_unknown(self.context, item);
        for entry in item.entries() {
            let method = METHODS.iter().find(|(word, _)| *word == entry.key);
            match method {
                Some((_, method)) => self.read_operation(&pattern, method, item, &entry.node),
                None if entry.key == "trace" => {
                    let what = "`trace` is left out: a gateway does not pass TRACE on";
                    self.context.notes.warn(what, entry.node.at.clone());
                }
                None => {}
            }
        }
    }

    fn note_servers(&self, holder: &Node<'_>) {
        let what =
            "`servers` of a path or an operation are not read: all go where the document's do";
        self.context.notes.warn(what, holder.at.clone());
    }

    fn read_operation(
        &mut self,
        pattern: &str,
        method: &'static str,
        item: &Node<'_>,
        node: &Node<'_>,
    ) {
        let context = self.context;
        if node
            .get("servers")
            .is_some_and(|servers| !servers.items().is_empty())
        {
            self.note_servers(node);
        }
        extensions::report_unknown(context, node);
        let operation = Operation {
            id: text(node, "operationId").filter(|id| !id.trim().is_empty()),
            method,
            path: pattern.to_owned(),
            access: self.access(item, node),
            production: endpoints::production(context, node)
                .or_else(|| endpoints::production(context, item)),
            sandbox: endpoints::sandbox(context, node)
                .or_else(|| endpoints::sandbox(context, item)),
            tier: match self.default.has_tier {
                true => None,
                false => extensions::tier(context, node),
            },
            at: node.at.start..node.at.start,
        };
        self.add(operation);
    }

    /// What the operation says, else its path, else the document; a token where none of them says anything.
    fn access(&self, item: &Node<'_>, node: &Node<'_>) -> Access {
        let context = self.context;
        let open = extensions::open(context, node)
            .or_else(|| extensions::open(context, item))
            .or(self.default.open);
        if open == Some(true) {
            return Access::Public;
        }
        extensions::scope(node)
            .or_else(|| security::of(context, node))
            .or_else(|| self.default.access.clone())
            .unwrap_or(Access::ANY_TOKEN)
    }

    /// Paths that differ only in the names of parameters are one; what two operations of it ask for, both ask for.
    fn add(&mut self, operation: Operation) {
        if self.list.len() >= MOST {
            let what = format!("a document has at most {MOST} operations");
            self.context.notes.error(what, operation.at);
            return;
        }
        let form = (form(&operation.path), operation.method);
        if let Some(position) = self.known.get(&form) {
            let known = &mut self.list[*position];
            if known.access != operation.access {
                let what = "two operations have this path and method, and ask for different things: callers need both";
                self.context.notes.warn(what, operation.at);
                known.access =
                    std::mem::replace(&mut known.access, Access::Public).and(operation.access);
            }
            return;
        }
        self.known.insert(form, self.list.len());
        self.list.push(operation);
    }

    /// `GET` answers `HEAD` too, so that a `HEAD` beside it goes; both then ask for what the two did.
    fn without_heads(mut self) -> Vec<Operation> {
        let mut gone = Vec::new();
        for position in 0..self.list.len() {
            let head = &self.list[position];
            if head.method != "HEAD" {
                continue;
            }
            let Some(get) = self.known.get(&(form(&head.path), "GET")) else {
                continue;
            };
            gone.push(position);
            let (access, at) = (head.access.clone(), head.at.clone());
            let get = &mut self.list[*get];
            if get.access != access {
                let what =
                    "`head` asks for something else than `get` on this path: callers need both";
                self.context.notes.warn(what, at);
                get.access = std::mem::replace(&mut get.access, Access::Public).and(access);
            }
        }
        for position in gone.into_iter().rev() {
            self.list.remove(position);
        }
        self.list
    }
}

/// A path without the names of its parameters.
fn form(path: &str) -> String {
    let mut form = String::with_capacity(path.len());
    let mut is_name = false;
    for letter in path.chars() {
        match letter {
            '{' => is_name = true,
            '}' => is_name = false,
            _ if is_name => continue,
            _ => {}
        }
        form.push(letter);
    }
    form
}
