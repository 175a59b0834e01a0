//! Owns the random expressions.

/// A small deterministic generator.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.next(from.len())]
    }
}

const ATOMS: &[&str] = &[
    "0",
    "1",
    "2",
    "-3",
    "1.5",
    "10",
    "0.1",
    "1e3",
    "123456789012345678901234567890",
    "true",
    "false",
    "null",
    "\"a\"",
    "\"b\"",
    "\"\"",
    "\"5\"",
    "\"true\"",
    "\"héllo\"",
    "\"1.50\"",
    "[]",
    "{}",
    "[1, 2, 3]",
    "[\"a\", \"b\"]",
    "[1, \"a\", true]",
    "{a = 1, b = 2}",
    "{a = \"x\"}",
    "{b = [1], a = {c = null}}",
    "[[1], [2, 3]]",
    "[{a = 1}, {a = 2}]",
];

/// Returns a random expression; most are well typed enough to have a value.
pub(crate) fn expression(random: &mut Random, depth: u32) -> String {
    if depth == 0 {
        return random.pick(ATOMS).to_owned();
    }
    let part = |random: &mut Random| expression(random, depth - 1);
    match random.next(16) {
        0..=2 => {
            let operator = random.pick(&["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||"]);
            format!("({} {operator} {})", part(random), part(random))
        }
        3 => format!("({} ? {} : {})", part(random), part(random), part(random)),
        4 => format!("[for x in {}: {}]", part(random), random.pick(&["x", "\"${x}!\"", "[x]", "x == 1"])),
        5 => format!("[for k, v in {}: \"${{k}}\" if {}]", part(random), random.pick(&["true", "v != null", "k != 1"])),
        6 => format!("{{for k, v in {}: k => v}}", part(random)),
        7 => format!("{{for v in {}: \"k${{length(\"${{v}}\") }}\" => v...}}", part(random)),
        8 => format!("\"x${{{}}}y\"", part(random)),
        9 => format!("\"%{{if {}}}t%{{else}}f%{{endif}}\"", part(random)),
        10 => format!("{}[{}]", part(random), random.pick(&["0", "1", "\"a\"", "*", "\"1\""])),
        11 => format!("{}.*.a", part(random)),
        12 => format!("{}{}", random.pick(&["!", "-"]), part(random)),
        13 => format!("[{}, {}]", part(random), part(random)),
        14 => {
            let function = random.pick(&[
                "length",
                "keys",
                "values",
                "reverse",
                "flatten",
                "distinct",
                "sort",
                "compact",
                "upper",
                "abs",
                "ceil",
                "floor",
                "signum",
                "jsonencode",
                "strrev",
                "title",
                "trimspace",
                "chomp",
                "csvdecode",
                "jsondecode",
            ]);
            format!("{function}({})", part(random))
        }
        _ => {
            let (name, extra) = *[
                ("concat", 1),
                ("contains", 1),
                ("element", 1),
                ("merge", 1),
                ("join", 1),
                ("split", 1),
                ("max", 1),
                ("min", 2),
                ("coalesce", 1),
                ("lookup", 2),
                ("range", 1),
                ("slice", 2),
                ("setunion", 1),
                ("setproduct", 1),
                ("setintersection", 1),
                ("zipmap", 1),
                ("format", 1),
                ("formatlist", 1),
                ("substr", 2),
                ("replace", 2),
                ("trim", 1),
                ("try", 1),
                ("can", 0),
                ("chunklist", 1),
                ("pow", 1),
                ("parseint", 1),
                ("coalescelist", 1),
                ("indent", 1),
            ]
            .get(random.next(28))
            .unwrap();
            let arguments: Vec<String> = (0..=extra).map(|_| part(random)).collect();
            format!("{name}({})", arguments.join(", "))
        }
    }
}
