//! Reads the modules of one crate from their text: what each defines, what it imports, and every path it names.
//!
//! The text is cut into tokens by `proc_macro2`, so that imports inside functions and macros are seen like all others.
//! Code that only tests see is left out. What would hide imports from a reader of one file after the other (`include!`, `#[path]`,
//! `#[macro_use]`) is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The text of every Rust file of a crate, by its path below the source folder.
pub(super) type Texts = BTreeMap<PathBuf, String>;

/// One module. A crate's first is its root.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) file: PathBuf,
    pub(super) parent: Option<usize>,
    pub(super) children: BTreeMap<String, usize>,
    pub(super) defined: BTreeSet<String>,
    /// Its `macro_rules`, which are among `defined`, too.
    pub(super) macros: BTreeSet<String>,
    pub(super) imports: Vec<Import>,
    /// Every path that the code names, single words too.
    pub(super) paths: BTreeSet<Vec<String>>,
    /// Where the files of its children are.
    folder: PathBuf,
}

/// One name of a `use`.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) path: Vec<String>,
    /// What it is called here; `None` stands for `*`.
    pub(super) name: Option<String>,
    /// `pub use`: offered to others, and not by itself needed here.
    pub(super) offered: bool,
}

/// The modules below `root`, such as `lib.rs`.
pub(super) fn modules(texts: &Texts, root: &str) -> Vec<Module> {
    let mut found = Vec::new();
    add_file(texts, &mut found, Path::new(root), None);
    found
}

fn add_file(texts: &Texts, found: &mut Vec<Module>, file: &Path, parent: Option<usize>) -> usize {
    let text = texts.get(file).unwrap_or_else(|| panic!("{}: a module without a file", file.display()));
    let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let above = file.parent().unwrap_or(Path::new(""));
    let folder = match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("mod") => above.to_owned(),
        Some("lib" | "main") if parent.is_none() => above.to_owned(),
        stem => above.join(stem.unwrap_or("")),
    };
    add_module(texts, found, tokens, (file.to_owned(), folder), parent)
}

fn add_module(
    texts: &Texts,
    found: &mut Vec<Module>,
    tokens: TokenStream,
    (file, folder): (PathBuf, PathBuf),
    parent: Option<usize>,
) -> usize {
    let module = found.len();
    found.push(Module {
        file,
        parent,
        children: BTreeMap::new(),
        defined: BTreeSet::new(),
        macros: BTreeSet::new(),
        imports: Vec::new(),
        paths: BTreeSet::new(),
        folder,
    });
    Reader { texts, found, module }.read(tokens, true);
    module
}

struct Reader<'a> {
    texts: &'a Texts,
    found: &'a mut Vec<Module>,
    module: usize,
}

impl Reader<'_> {
    /// `items`: these are the items of the module itself, not what stands inside one of them.
    fn read(&mut self, tokens: TokenStream, items: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = match &tokens[at] {
                TokenTree::Group(group) if is_punct(tokens.get(at.wrapping_sub(1)), '#') && only_for_tests(group) => {
                    after_item(&tokens, at + 1, items)
                }
                TokenTree::Group(group) if is_punct(tokens.get(at.wrapping_sub(1)), '#') => {
                    self.attribute(group.stream());
                    at + 1
                }
                TokenTree::Group(group) => {
                    self.read(group.stream(), false);
                    at + 1
                }
                TokenTree::Ident(word) => self.word(&tokens, at, &word.to_string(), items),
                TokenTree::Punct(_) | TokenTree::Literal(_) => at + 1,
            };
        }
    }

    fn attribute(&mut self, tokens: TokenStream) {
        let text: String = tokens.to_string().split_whitespace().collect();
        if text.starts_with("doc=") {
            return;
        }
        let given =
            |name: &str| text.starts_with(name) || text.starts_with("cfg_attr(") && text.contains(&format!(",{name}"));
        if let Some(name) = ["macro_use", "macro_export", "path="].into_iter().find(|name| given(name)) {
            self.refuse(&format!("`#[{name}]`"));
        }
        self.paths_in_texts(tokens.clone());
        self.read(tokens, false);
    }

    /// Functions that derives are told of in texts, as serde's `with = "module::function"`.
    fn paths_in_texts(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.paths_in_texts(group.stream()),
                TokenTree::Literal(literal) => {
                    let path: Vec<String> =
                        literal.to_string().trim_matches('"').split("::").map(str::to_owned).collect();
                    if path.len() > 1 {
                        self.this().paths.insert(path);
                    }
                }
                _ => {}
            }
        }
    }

    fn refuse(&self, what: &str) -> ! {
        panic!(
            "{}: {what} hides imports from whoever reads one file: use another way",
            self.found[self.module].file.display()
        )
    }

    /// Takes the word at `at` with what belongs to it, and returns what follows.
    fn word(&mut self, tokens: &[TokenTree], at: usize, word: &str, items: bool) -> usize {
        let next = tokens.get(at + 1);
        match (word, next) {
            ("use", Some(next)) if !is_punct(Some(next), '<') => {
                let end = (at..tokens.len()).find(|&end| is_punct(tokens.get(end), ';')).unwrap_or(tokens.len());
                self.import(&[], &tokens[at + 1..end], is_public(&tokens[..at]));
                return end + 1;
            }
            ("mod", Some(TokenTree::Ident(name))) if items => {
                self.child(&name.to_string(), tokens.get(at + 2));
                return at + 3;
            }
            ("fn" | "struct" | "enum" | "trait" | "type" | "const" | "static", Some(TokenTree::Ident(name)))
                if items =>
            {
                self.this().defined.insert(name.to_string());
                return at + if word == "const" || word == "static" { 1 } else { 2 };
            }
            ("macro_rules", Some(_)) if items => {
                if let Some(TokenTree::Ident(name)) = tokens.get(at + 2) {
                    self.this().defined.insert(name.to_string());
                    self.this().macros.insert(name.to_string());
                }
                return at + 3;
            }
            ("include", Some(next)) if is_punct(Some(next), '!') => self.refuse("`include!`"),
            _ => {}
        }
        let (path, end) = path_at(tokens, at);
        if begins_path(&tokens[..at], word) {
            self.this().paths.insert(path);
        }
        end
    }

    fn this(&mut self) -> &mut Module {
        &mut self.found[self.module]
    }

    fn child(&mut self, name: &str, body: Option<&TokenTree>) {
        let this = &self.found[self.module];
        let folder = this.folder.join(name);
        let child = match body {
            Some(TokenTree::Group(group)) => {
                let file = this.file.clone();
                add_module(self.texts, self.found, group.stream(), (file, folder), Some(self.module))
            }
            _ => {
                let beside = folder.with_extension("rs");
                let file = if self.texts.contains_key(&beside) { beside } else { folder.join("mod.rs") };
                add_file(self.texts, self.found, &file, Some(self.module))
            }
        };
        self.this().children.insert(name.to_owned(), child);
    }

    /// One tree of a `use`: `a::b`, `a::b as c`, `a::*`, `a::{…}`.
    fn import(&mut self, above: &[String], tree: &[TokenTree], offered: bool) {
        let mut path = above.to_vec();
        let mut name = None;
        let mut at = 0;
        if is_punct(tree.first(), ':') {
            path.push(String::new()); // `::name` is another crate for sure
        }
        while at < tree.len() {
            match &tree[at] {
                TokenTree::Ident(word) if word == "as" => {
                    name = tree.get(at + 1).map(ToString::to_string);
                    break;
                }
                TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Punct(punct) if punct.as_char() == '*' => {
                    return self.this().imports.push(Import { path, name: None, offered });
                }
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    for tree in inner.split(|token| is_punct(Some(token), ',')) {
                        self.import(&path, tree, offered);
                    }
                    return;
                }
                _ => {}
            }
            at += 1;
        }
        if let Some(name) = name.or_else(|| path.last().cloned()).filter(|_| !tree.is_empty()) {
            self.this().imports.push(Import { path, name: Some(name), offered });
        }
    }
}

/// The path that begins at `at`, and where it ends.
fn path_at(tokens: &[TokenTree], at: usize) -> (Vec<String>, usize) {
    let mut path = vec![tokens[at].to_string()];
    let mut end = at + 1;
    while let (true, true, Some(TokenTree::Ident(word))) =
        (is_punct(tokens.get(end), ':'), is_punct(tokens.get(end + 1), ':'), tokens.get(end + 2))
    {
        path.push(word.to_string());
        end += 3;
    }
    (path, end)
}

/// Not a field, a method, a lifetime, a macro's variable, or the rest of another path.
fn begins_path(before: &[TokenTree], word: &str) -> bool {
    let back = |n: usize| before.len().checked_sub(n).and_then(|at| before.get(at));
    if is_punct(back(1), '.') {
        return is_punct(back(2), '.');
    }
    if is_punct(back(1), ':') && is_punct(back(2), ':') {
        return false;
    }
    !is_punct(back(1), '\'') && (!is_punct(back(1), '$') || word == "crate")
}

fn is_public(before: &[TokenTree]) -> bool {
    let word = match before {
        [.., word, TokenTree::Group(group)] if group.delimiter() == Delimiter::Parenthesis => word,
        [.., word] => word,
        [] => return false,
    };
    matches!(word, TokenTree::Ident(word) if word == "pub")
}

fn only_for_tests(attribute: &proc_macro2::Group) -> bool {
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    text == "cfg(test)" || text.starts_with("cfg(all(test,") || text == "test"
}

/// Where the item, field or statement at `at` has ended.
fn after_item(tokens: &[TokenTree], at: usize, items: bool) -> usize {
    let mut function = items;
    for (end, token) in tokens.iter().enumerate().skip(at) {
        match token {
            TokenTree::Ident(word) if word == "fn" => function = true,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return end + 1,
            TokenTree::Punct(punct) if punct.as_char() == ';' || (punct.as_char() == ',' && !function) => {
                return end + 1;
            }
            _ => {}
        }
    }
    tokens.len()
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}
