//! The options of manifest, checksum, export, compress, artifice and provenance.

use kiln_disk_formats::EXPORT_WORDS;
use kiln_template::OptionSpec;

use super::checks;
use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;
use crate::post_processors::compress;
use crate::post_processors::provenance::{Mode, SBOM_FORMATS};

const MANIFEST_OPTIONS: &[OptionSpec] = option_table! {
    "output" String = "packer-manifest.json", "the manifest file";
    "strip_path" Bool = "false", "only file names";
    "strip_time" Bool = "false", "no build_time";
    "custom_data" Map = "", "put into each entry";
};

/// Of everything that writes one file.
const OUTPUT_RULES: &[Rule] =
    &[Rule::Check("`output` is no directory, and lies below none that is a file.", checks::artifacts::output)];

define!(MANIFEST = PostProcessor "manifest" true,
    "Lists what was built in a JSON file.", MANIFEST_OPTIONS, [], [OUTPUT_RULES]);

const CHECKSUM_OPTIONS: &[OptionSpec] = option_table! {
    "checksum_types" Strings = "md5", "md5, sha1, sha224, sha256, sha384, sha512";
    "output" String late = "packer_{{.BuildName}}_{{.BuilderType}}_{{.ChecksumType}}.checksum", "the checksum file";
};

const CHECKSUM_RULES: &[Rule] = &[
    Rule::Check(
        "`checksum_types` holds md5, sha1, sha224, sha256, sha384 and sha512 only.",
        checks::artifacts::checksum_types,
    ),
    Rule::Check("With several types, `output` holds `{{ .ChecksumType }}`.", checks::artifacts::checksum_output),
    Rule::Fields("output", &["BuildName", "BuilderType", "ChecksumType"]),
];

define!(CHECKSUM = PostProcessor "checksum" true,
    "Writes the checksums of what was built.", CHECKSUM_OPTIONS, [], [CHECKSUM_RULES, OUTPUT_RULES]);

const EXPORT_OPTIONS: &[OptionSpec] = option_table! {
    "formats" Strings required = "", "what to write; docs/formats.md says what each is";
    "format_options" Map = "", "options of the formats, as -o of kiln convert; \"vmdk:subformat\" is for one of them";
    "output_directory" String = "", "where they go; by default beside the image";
    "file_name" String = "", "file name without its extension; by default the machine's name";
};

const EXPORT_RULES: &[Rule] = &[
    Rule::EachOneOf("formats", &EXPORT_WORDS),
    Rule::Check(
        "`formats` names at least one format, and no two that make files of one name.",
        checks::artifacts::export_formats,
    ),
    Rule::Check(
        "Each of `format_options` is an option of at least one of the formats, with a value that it takes.",
        checks::artifacts::export_format_options,
    ),
];

define!(EXPORT = PostProcessor "export" true,
    "Kiln's own: writes the disk in further formats, in one pass.", EXPORT_OPTIONS, [], [EXPORT_RULES]);

const COMPRESS_OPTIONS: &[OptionSpec] = option_table! {
    "output" String late = "packer_{{.BuildName}}_{{.BuilderType}}", "the archive or compressed file; its extensions say the format";
    "format" String = "", "the format, instead of the extensions: tar, zip, tar.gz, gz, bgzf, lz4, xz, bzip2, zst";
    "compression_level" Integer = "", "1 to 9; unset, 0 and -1: the format's own";
    "archive" String = "", "tar or zip, where neither output nor format says";
    "algorithm" String = "", "pgzip, bgzf, lz4, xz, bzip2 or zstd, where neither output nor format says";
};

const COMPRESS_RULES: &[Rule] = &[
    Rule::Fields("output", &["BuildName", "BuilderType"]),
    Rule::OneOf("archive", &["tar", "zip"]),
    Rule::OneOf("algorithm", &compress::ALGORITHMS),
    Rule::Check("`compression_level` is -1 or more; more than 9 counts as 9.", checks::artifacts::compression_level),
    Rule::Check(
        "`format` is one that there is: of another, Packer makes a tar file packed with gzip.",
        checks::artifacts::compress_format,
    ),
];

define!(COMPRESS = PostProcessor "compress" true,
    "Packs what was built into an archive, or its one file into a compressed one, on all processors.",
    COMPRESS_OPTIONS, [], [COMPRESS_RULES, OUTPUT_RULES]);

const ARTIFICE_OPTIONS: &[OptionSpec] = option_table! {
    "files" Strings = "", "files (globs)";
};

const ARTIFICE_RULES: &[Rule] = &[
    Rule::Needed(&["files"]),
    Rule::Check("Each of `files` is a path or a glob: `*`, `?` and `[…]`.", checks::artifacts::artifice_files),
];

define!(ARTIFICE = PostProcessor "artifice" true,
    "Hands other files than the build's own to the next post-processor. What was built stays, unless `keep_input_artifact` is false.", ARTIFICE_OPTIONS, [], [ARTIFICE_RULES]);

const PROVENANCE_OPTIONS: &[OptionSpec] = option_table! {
    "provenance" Trilean = "true", "false: nothing is written, and the artifact is handed on";
    "build_type" String = "https://packer.io/buildtypes/hcl2/v1", "URI that says how the parameters are to be read";
    "output_dir" String = "", "where the attestations go; by default beside the artifact's first file";
    "template" String = "", "the template's name in the statement";
    "only_builds" Strings = "", "builds that the statement names";
    "user_variables" Map = "", "variables that the statement names, beside those of the environment (PKR_VAR_...)";
    "source_uri" String = "", "where the template comes from; by default what GitHub, GitLab or Git say";
    "sbom" Bool = "false", "attest a software bill of materials too";
    "sbom_format" String = "cyclonedx", "cyclonedx or spdx";
    "sbom_scan_path" String = "", "the bill's file, or the directory of the provisioner sbom";
    "sbom_scope" String = "squashed", "squashed or all-layers: of no effect, for Kiln scans no layers";
    "sbom_exclude" Strings = "", "of no effect: Kiln does not scan";
    "signing_mode" String = "none", "none: the bare statement; key: an envelope signed with signer";
    "signer" String = "", "PEM file of the private key: ECDSA (P-256, P-521), Ed25519 or RSA (2048 bits or more)";
    "key" String = "", "another name of signer";
    "verifier" String = "", "PEM file of the public key that must verify what signer signs";
    "fulcio_url" String = "", "of keyless signing, which Kiln does not do";
    "rekor_url" String = "", "of keyless signing";
    "upload_tlog" Bool = "", "of keyless signing";
    "trusted_root_path" String = "", "of keyless signing";
    "keyless_identity" String = "", "of keyless signing";
    "keyless_oidc_issuer" String = "", "of keyless signing";
};

const PROVENANCE_RULES: &[Rule] = &[
    Rule::OneOf("signing_mode", &Mode::WORDS),
    Rule::Check("`signing_mode` is not `kms` or `keyless`: Kiln signs on this machine only.", checks::provenance::mode),
    Rule::Check(
        "With `signing_mode = \"key\"`, `signer` or `key` is set; both are the same; a build can read them.",
        checks::provenance::signer,
    ),
    Rule::OneOf("sbom_format", &SBOM_FORMATS),
    Rule::OneOf("sbom_scope", &["squashed", "all-layers"]),
    Rule::Check("With `sbom`, `sbom_scan_path` names a bill that there is.", checks::provenance::sbom),
];

define!(PROVENANCE = PostProcessor "provenance" true,
    "Says in an attestation (in-toto, SLSA provenance v1) what was built of what, and signs it; kiln verify-attestation verifies it. The \
     artifact is handed on.", PROVENANCE_OPTIONS, [], [PROVENANCE_RULES]);
