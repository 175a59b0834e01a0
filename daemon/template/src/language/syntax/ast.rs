//! Owns the syntax tree of HCL: bodies of arguments and blocks, expressions, templates. Every node has its span.

use std::sync::Arc;

use crate::diagnostics::source_map::Span;
use crate::language::value::Value;

/// A name and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Name {
    pub(crate) text: Arc<str>,
    pub(crate) span: Span,
}

/// The content of a file or block, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Body {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) span: Span,
    /// Whether a syntax error may have swallowed some of it.
    pub(crate) torn: bool,
}

/// `name = expression`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attribute {
    pub(crate) name: Name,
    pub(crate) value: Expr,
    pub(crate) span: Span,
}

/// `kind "label" { … }`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Block {
    pub(crate) kind: Name,
    pub(crate) labels: Vec<Name>,
    pub(crate) body: Body,
    /// From the kind to the last label.
    pub(crate) header: Span,
    pub(crate) span: Span,
}

/// An expression and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) span: Span,
}

/// The forms of expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ExprKind {
    /// A number, `true`, `false`, `null`.
    Literal(Value),
    /// A quoted string or heredoc.
    Template(Vec<Part>),
    /// `"${x}"`: a template of exactly one sequence, which keeps the value's type.
    Wrapped(Box<Expr>),
    /// `(x)`
    Parens(Box<Expr>),
    /// `[a, b]`
    Tuple(Vec<Expr>),
    /// `{ a = 1, (b) = 2 }`
    Object(Vec<(ObjectKey, Expr)>),
    /// `name(a, b...)`
    Call { name: Name, arguments: Vec<Expr>, expand: bool, arguments_span: Span },
    /// A name that begins a reference: `var`, `local`, an iteration variable.
    Variable(Arc<str>),
    /// `source.name`, `source[0]`, in a row.
    Traversal { source: Box<Expr>, steps: Vec<Step> },
    /// `source.*.name` or `source[*].name`: `each` is evaluated with [`ExprKind::SplatItem`] for every element.
    Splat { source: Box<Expr>, each: Box<Expr>, marker: Span },
    /// The current element inside a splat.
    SplatItem,
    /// `[for k, v in x : value if condition]` and `{for … : key => value...}`
    For(Box<ForExpr>),
    /// `condition ? yes : no`
    Conditional { condition: Box<Expr>, yes: Box<Expr>, no: Box<Expr> },
    /// `-x`, `!x`
    Unary { operator: UnaryOperator, operand: Box<Expr> },
    /// `a + b - c`: operators of one precedence in a row, evaluated left to right.
    Binary { first: Box<Expr>, rest: Vec<(BinaryOperator, Expr)> },
    /// What could not be parsed; the problem has already been reported.
    Invalid,
}

/// One key of an object expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ObjectKey {
    /// A bare name, which is its own text.
    Name(Name),
    /// Any other expression.
    Expr(Expr),
}

/// One step of a traversal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// `.name`
    Attribute(Name),
    /// `[x]`, or `.0`
    Index { key: Expr, span: Span },
}

impl Step {
    /// Returns the place of the step.
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Attribute(name) => name.span,
            Self::Index { span, .. } => *span,
        }
    }
}

/// A `for` expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ForExpr {
    pub(crate) key_name: Option<Name>,
    pub(crate) value_name: Name,
    pub(crate) collection: Expr,
    /// The key of `key => value`; present makes the result an object.
    pub(crate) key: Option<Expr>,
    pub(crate) value: Expr,
    pub(crate) condition: Option<Expr>,
    /// Whether values of the same key are grouped (`...`).
    pub(crate) group: bool,
}

/// One part of a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    /// Literal text, escapes resolved.
    Text(Arc<str>),
    /// `${x}`
    Interpolation(Expr),
    /// `%{if x}…%{else}…%{endif}`
    If { condition: Expr, yes: Vec<Self>, no: Vec<Self>, span: Span },
    /// `%{for k, v in x}…%{endfor}`
    For { key_name: Option<Name>, value_name: Name, collection: Expr, body: Vec<Self>, span: Span },
}

/// A prefix operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnaryOperator {
    Negate,
    Not,
}

/// An infix operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOperator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Body {
    /// Returns the argument of this name.
    pub(crate) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| &*attribute.name.text == name)
    }

    /// Returns the blocks of this kind.
    pub(crate) fn blocks_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Block> {
        self.blocks.iter().filter(move |block| &*block.kind.text == kind)
    }
}

impl Expr {
    /// Returns the text, if the expression is a string without any sequence.
    pub(crate) fn literal_string(&self) -> Option<String> {
        match &self.kind {
            ExprKind::Template(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => Some(&**text),
                    _ => None,
                })
                .collect(),
            ExprKind::Parens(inner) => inner.literal_string(),
            _ => None,
        }
    }

    /// Returns the bare name, if the expression is only one (as in type constraints and block references).
    pub(crate) fn keyword(&self) -> Option<&str> {
        match &self.kind {
            ExprKind::Variable(name) => Some(name),
            _ => None,
        }
    }

    /// Gives this expression and all within it one place: that of the JSON string they were read from.
    pub(crate) fn relocate(&mut self, span: Span) {
        self.span = span;
        match &mut self.kind {
            ExprKind::Literal(_) | ExprKind::Variable(_) | ExprKind::SplatItem | ExprKind::Invalid => {}
            ExprKind::Template(parts) => parts.iter_mut().for_each(|part| part.relocate(span)),
            ExprKind::Wrapped(inner) | ExprKind::Parens(inner) => inner.relocate(span),
            ExprKind::Tuple(items) => items.iter_mut().for_each(|item| item.relocate(span)),
            ExprKind::Object(items) => {
                for (key, value) in items {
                    match key {
                        ObjectKey::Name(name) => name.span = span,
                        ObjectKey::Expr(key) => key.relocate(span),
                    }
                    value.relocate(span);
                }
            }
            ExprKind::Call { name, arguments, arguments_span, .. } => {
                (name.span, *arguments_span) = (span, span);
                arguments.iter_mut().for_each(|argument| argument.relocate(span));
            }
            ExprKind::Traversal { source, steps } => {
                source.relocate(span);
                for step in steps {
                    match step {
                        Step::Attribute(name) => name.span = span,
                        Step::Index { key, span: index } => {
                            *index = span;
                            key.relocate(span);
                        }
                    }
                }
            }
            ExprKind::Splat { source, each, marker } => {
                *marker = span;
                source.relocate(span);
                each.relocate(span);
            }
            ExprKind::For(inner) => {
                let ForExpr { collection, key, value, condition, .. } = &mut **inner;
                collection.relocate(span);
                key.iter_mut().chain([value]).chain(condition).for_each(|part| part.relocate(span));
            }
            ExprKind::Conditional { condition, yes, no } => {
                [condition, yes, no].into_iter().for_each(|part| part.relocate(span));
            }
            ExprKind::Unary { operand, .. } => operand.relocate(span),
            ExprKind::Binary { first, rest } => {
                first.relocate(span);
                rest.iter_mut().for_each(|(_, operand)| operand.relocate(span));
            }
        }
    }

    /// Calls `visit` with this expression and all within it, outermost first.
    pub(crate) fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        visit(self);
        match &self.kind {
            ExprKind::Literal(_) | ExprKind::Variable(_) | ExprKind::SplatItem | ExprKind::Invalid => {}
            ExprKind::Template(parts) => parts.iter().for_each(|part| part.walk(visit)),
            ExprKind::Wrapped(inner) | ExprKind::Parens(inner) => inner.walk(visit),
            ExprKind::Tuple(items) => items.iter().for_each(|item| item.walk(visit)),
            ExprKind::Object(items) => items.iter().for_each(|(key, value)| {
                if let ObjectKey::Expr(key) = key {
                    key.walk(visit);
                }
                value.walk(visit);
            }),
            ExprKind::Call { arguments, .. } => arguments.iter().for_each(|argument| argument.walk(visit)),
            ExprKind::Traversal { source, steps } => {
                source.walk(visit);
                for step in steps {
                    if let Step::Index { key, .. } = step {
                        key.walk(visit);
                    }
                }
            }
            ExprKind::Splat { source, each, .. } => {
                source.walk(visit);
                each.walk(visit);
            }
            ExprKind::For(inner) => {
                let ForExpr { collection, key, value, condition, .. } = &**inner;
                collection.walk(visit);
                key.iter().chain([value]).chain(condition).for_each(|part| part.walk(visit));
            }
            ExprKind::Conditional { condition, yes, no } => {
                [condition, yes, no].into_iter().for_each(|part| part.walk(visit));
            }
            ExprKind::Unary { operand, .. } => operand.walk(visit),
            ExprKind::Binary { first, rest } => {
                first.walk(visit);
                rest.iter().for_each(|(_, operand)| operand.walk(visit));
            }
        }
    }
}

impl Part {
    fn relocate(&mut self, place: Span) {
        match self {
            Self::Text(_) => {}
            Self::Interpolation(inner) => inner.relocate(place),
            Self::If { condition, yes, no, span } => {
                *span = place;
                condition.relocate(place);
                yes.iter_mut().chain(no).for_each(|part| part.relocate(place));
            }
            Self::For { collection, body, span, .. } => {
                *span = place;
                collection.relocate(place);
                body.iter_mut().for_each(|part| part.relocate(place));
            }
        }
    }

    fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        match self {
            Self::Text(_) => {}
            Self::Interpolation(inner) => inner.walk(visit),
            Self::If { condition, yes, no, .. } => {
                condition.walk(visit);
                yes.iter().chain(no).for_each(|part| part.walk(visit));
            }
            Self::For { collection, body, .. } => {
                collection.walk(visit);
                body.iter().for_each(|part| part.walk(visit));
            }
        }
    }
}
