//! Settles what an output leaves open before anything is made: the compression of qcow2.

use crate::output::{Output, OutputKind};
use crate::output_options::{Compression, Qcow2Method, VmdkSubformat};
use crate::vmdk::GRAIN;

/// Returns the outputs with [`Compression::Auto`] replaced by what it means beside the others.
pub(super) fn settle_compression(outputs: &[Output]) -> Vec<Output> {
    let shared = outputs.iter().find_map(|output| match &output.kind {
        OutputKind::Vmdk(options) if options.subformat == VmdkSubformat::StreamOptimized => Some(options.compression),
        OutputKind::Ovf(machine) | OutputKind::Ova(machine) => Some(machine.compression),
        _ => None,
    });
    let mut outputs = outputs.to_vec();
    for output in &mut outputs {
        if let OutputKind::Qcow2(options) = &mut output.kind
            && options.compression == Some(Compression::Auto)
            && options.method == Qcow2Method::Zlib
        {
            // A stream is compressed in pieces of one grain; only clusters of that size can share them.
            let shared = shared.filter(|_| u64::from(options.cluster_size) == GRAIN);
            options.compression = Some(shared.unwrap_or(Compression::Fast));
        }
    }
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::MachineDescription;
    use crate::{DiskAdapter, Qcow2Options};

    fn qcow2_beside(others: Vec<OutputKind>, options: Qcow2Options) -> Option<Compression> {
        let kinds = std::iter::once(OutputKind::Qcow2(options)).chain(others);
        let outputs: Vec<Output> = kinds.map(|kind| Output::new("x", kind)).collect();
        match &settle_compression(&outputs)[0].kind {
            OutputKind::Qcow2(options) => options.compression,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn compressed_qcow2_shares_with_a_stream_or_is_quick() {
        let auto = || Qcow2Options { compression: Some(Compression::Auto), ..Qcow2Options::default() };
        let stream = || OutputKind::vmdk_stream_optimized(DiskAdapter::default());
        let best = MachineDescription { compression: Compression::Best, ..MachineDescription::default() };
        assert_eq!(qcow2_beside(vec![], auto()), Some(Compression::Fast));
        assert_eq!(qcow2_beside(vec![OutputKind::Vhdx], auto()), Some(Compression::Fast));
        assert_eq!(qcow2_beside(vec![stream()], auto()), Some(Compression::Default));
        assert_eq!(qcow2_beside(vec![OutputKind::ova(best)], auto()), Some(Compression::Best));
        // What was asked for stays, and what cannot be shared is not.
        let asked = Qcow2Options { compression: Some(Compression::Default), ..auto() };
        assert_eq!(qcow2_beside(vec![], asked), Some(Compression::Default));
        assert_eq!(
            qcow2_beside(vec![stream()], Qcow2Options { cluster_size: 4096, ..auto() }),
            Some(Compression::Fast)
        );
        assert_eq!(qcow2_beside(vec![stream()], Qcow2Options::default()), None);
        let zstd = Qcow2Options { method: Qcow2Method::Zstd, ..auto() };
        assert_eq!(qcow2_beside(vec![stream()], zstd), Some(Compression::Auto));
    }
}
