//! A whole plan as people see it, beside the one that is kept here.

use super::component::planned;

const TEMPLATE: &str = include_str!("golden.pkr.hcl");

/// `KILN_BLESS=1` writes the plan instead.
#[test]
fn a_plan_is_the_one_that_is_kept() {
    let checked = planned(TEMPLATE, &[]);
    let problems: Vec<String> =
        checked.problems(crate::check::Wanted::Both).into_iter().map(|problem| problem.text).collect();
    assert!(checked.valid, "{problems:?}");
    let shown = checked.planned[0].plan.shown(&checked.redactor).unwrap() + "\n";
    if std::env::var_os("KILN_BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/plan_tests/golden.json"), &shown).unwrap();
    }
    assert_eq!(shown, include_str!("golden.json"));
}
