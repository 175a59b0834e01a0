//! What many variables cost: as much for each as few do.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::Arc;

use kiln_template::{MemoryFiles, Style, load};

use crate::surroundings::{Components, inputs};

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

/// Counts the bytes that a thread asks for.
struct Counting;

// SAFETY: everything is left to the system's allocator, which keeps the promises; counting touches no memory of others.
#[expect(unsafe_code, reason = "only an allocator can count what is allocated")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no counter any more, and nothing to count.
        _ = ALLOCATED.try_with(|bytes| bytes.set(bytes.get() + layout.size()));
        // SAFETY: the caller promises to `System` what it promises to this allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System`, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Loads a JSON template with `count` variables. Returns how many bytes were allocated, and what was said.
fn cost(count: usize, value: impl Fn(usize) -> String, sensitive: bool) -> (usize, String) {
    let mut text = String::from("{\"variables\": {");
    for index in 0..count {
        _ = write!(text, "{}\"v{index}\": \"{}\"", if index == 0 { "" } else { ",\n" }, value(index));
    }
    text.push('}');
    if sensitive {
        let names: Vec<String> = (0..count).map(|index| format!("\"v{index}\"")).collect();
        _ = write!(text, ", \"sensitive-variables\": [{}]", names.join(","));
    }
    text.push_str(", \"builders\": []}");
    let files = Arc::new(MemoryFiles::new().with("/w/t.json", text));
    let before = ALLOCATED.get();
    let loaded = load(&inputs("t.json"), files, &Components::Nothing);
    let said = loaded.diagnostics.iter().map(|problem| format!("{}\n", problem.detail)).collect();
    (ALLOCATED.get() - before, said)
}

/// A name, the values of the variables, whether they are sensitive.
type Case<'a> = (&'a str, &'a dyn Fn(usize) -> String, bool);

#[test]
fn many_variables_cost_no_more_each_than_few() {
    let plain = |index: usize| format!("{index:040}");
    let chain = |index: usize| format!("{{{{user `v{}`}}}}", index + 1);
    let unknown = |index: usize| format!("{{{{user `w{index}`}}}}");
    let cases: [Case<'_>; 4] = [
        ("plain", &plain, false),
        ("sensitive", &plain, true),
        ("a chain of references", &chain, false),
        ("unknown references", &unknown, false),
    ];
    for (name, value, sensitive) in cases {
        let (few, _) = cost(500, value, sensitive);
        let (many, _) = cost(4000, value, sensitive);
        assert!(many < few * 12, "{name}: {few} bytes for 500, {many} for 4000");
    }
}

#[test]
fn a_long_chain_and_a_long_circle_are_followed() {
    let last = 30_000;
    let chain = |index: usize| if index == last { "end".to_owned() } else { format!("{{{{user `v{}`}}}}", index + 1) };
    let (_, said) = cost(last + 1, chain, false);
    assert!(!said.contains("circle") && !said.contains("not set"), "{said}");
    let circle = |index: usize| format!("{{{{user `v{}`}}}}", (index + 1) % last);
    let (_, said) = cost(last, circle, false);
    assert_eq!(said.matches("in a circle").count(), 1, "{said}");
    assert!(said.contains("v0 → v1 → ") && said.contains(" → (29980 more) → ") && said.len() < 1000, "{said}");
}

/// A generated template may be one line of many megabytes. It is refused before anything is made of it, and of the line only
/// the part around the place is told.
#[test]
fn a_template_that_is_too_large_costs_little() {
    let mut text = String::from("{\"variables\": {\"v\": \"0\"");
    for index in 0..1_500_000 {
        _ = write!(text, ",\"v{index}\":\"{index}\"");
    }
    text.push_str("}}");
    let size = text.len();
    let files = Arc::new(MemoryFiles::new().with("/w/t.json", text));
    let before = ALLOCATED.get();
    let loaded = load(&inputs("t.json"), files, &Components::Nothing);
    let said = loaded.diagnostics.render(&loaded.sources, &Style::default());
    let reports = serde_json::to_string(&loaded.diagnostics.reports(&loaded.sources)).unwrap();
    let cost = ALLOCATED.get() - before;
    // The file's bytes, and the text that is made of them.
    assert!(cost < size * 2 + (1 << 20), "{cost} bytes for a text of {size}");
    assert!(said.contains("Template too large") && said.len() < 2000, "{said}");
    assert!(reports.len() < 20_000, "{} bytes of reports", reports.len());
}
