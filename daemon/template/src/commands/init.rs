//! Owns [`required_plugins`]: what `kiln init` reads of a template.

use std::sync::Arc;

use crate::components::plugins::PluginRequirement;
use crate::diagnostics::Diagnostics;
use crate::diagnostics::source_map::SourceMap;
use crate::hcl2;
use crate::world::files::Files;
use crate::world::inputs::Inputs;

/// What a template asks of plugins.
#[derive(Debug, Clone)]
pub struct RequiredPlugins {
    /// The requirements, sorted by name.
    pub plugins: Vec<PluginRequirement>,
    /// What is wrong with them and with the text around.
    pub diagnostics: Diagnostics,
    /// The texts the problems point into.
    pub sources: SourceMap,
}

/// Reads the `required_plugins` blocks of an HCL2 template; nothing else of it is evaluated.
#[must_use]
pub fn required_plugins(inputs: &Inputs, files: &Arc<dyn Files>) -> RequiredPlugins {
    let mut sources = SourceMap::new();
    let mut diagnostics = Diagnostics::new();
    let plugins = hcl2::required_plugins(inputs, &**files, &mut sources, &mut diagnostics);
    diagnostics.dedup();
    RequiredPlugins { plugins, diagnostics, sources }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::files::MemoryFiles;

    #[test]
    fn requirements_of_several_blocks_are_joined() {
        let text = "packer {\n  required_plugins {\n    qemu = { version = \"~> 1\", source = \"github.com/hashicorp/qemu\" }\n    \
                    b = { version = \">= 2\", source = \"example.org/a/b\" }\n  }\n}\npacker {\n  required_plugins {\n    \
                    qemu = { version = \">= 1.0.1\", source = \"github.com/hashicorp/qemu\" }\n  }\n}\n";
        let files: Arc<dyn Files> = Arc::new(MemoryFiles::new().with("/w/t.pkr.hcl", text));
        let inputs = Inputs { path: "t.pkr.hcl".into(), cwd: "/w".into(), ..Inputs::default() };
        let found = required_plugins(&inputs, &files);
        assert!(found.diagnostics.is_empty(), "{:?}", found.diagnostics);
        let names: Vec<_> = found.plugins.iter().map(|plugin| (&*plugin.name, &*plugin.version)).collect();
        assert_eq!(names, [("b", ">= 2"), ("qemu", "~> 1,>= 1.0.1")]);
    }
}
