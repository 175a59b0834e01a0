//! Owns [`load`]: from paths and flags to builds.

use std::sync::Arc;

use crate::components::evaluated::Loaded;
use crate::components::schema::Catalog;
use crate::world::data::DataMode;
use crate::world::files::Files;
use crate::world::inputs::Inputs;

/// Reads, resolves and evaluates a template.
///
/// Never fails outright: whatever is wrong is in the diagnostics of the answer.
#[must_use]
pub fn load(inputs: &Inputs, files: Arc<dyn Files>, catalog: &dyn Catalog) -> Loaded {
    load_with(inputs, files, catalog, DataMode::Refuse)
}

/// As [`load`], saying also what is done about data sources.
#[must_use]
pub fn load_with(inputs: &Inputs, files: Arc<dyn Files>, catalog: &dyn Catalog, data: DataMode) -> Loaded {
    if is_hcl2(inputs, &*files) {
        crate::hcl2::load(inputs, files, catalog, data)
    } else {
        crate::legacy::load(inputs, &*files, catalog, data)
    }
}

/// Reports whether a path names an HCL2 template: a folder, or a file with one of the two endings.
#[must_use]
pub fn is_hcl2(inputs: &Inputs, files: &dyn Files) -> bool {
    let name = inputs.path.to_string_lossy();
    name.ends_with(".pkr.hcl") || name.ends_with(".pkr.json") || files.is_dir(&inputs.cwd.join(&inputs.path))
}
