//! Every option that its table calls "of no effect" is warned of: whoever sets it believes that it does something.

use super::component::{Body, complaints, running, some_value};

#[test]
fn whoever_sets_an_option_of_no_effect_is_told() {
    let mut tried = 0;
    for definition in running() {
        for spec in definition.schema.specs().filter(|spec| spec.doc.contains("of no effect")) {
            let options = Body::from([(spec.name, some_value(spec))]);
            let told = complaints(definition, &options, |reader| definition.check(reader));
            let warned = told.get(&format!("{} has no effect", spec.name));
            // A warning, not an error: the template may be Packer's, too.
            assert_eq!(warned, Some(&false), "{} {}: {told:?}", definition.schema.kind, spec.name);
            tried += 1;
        }
    }
    assert!(tried >= 11, "{tried}");
}
