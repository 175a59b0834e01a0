//! The options of manifest, checksum, export, compress, artifice and provenance.

use kiln_disk_formats::EXPORT_WORDS;
use kiln_template::OptionSpec;

use super::checks;
use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;
use crate::post_processors::compress;

const MANIFEST_OPTIONS: &[OptionSpec] = option_table! {
    "output" String = "packer-manifest.json", "the manifest file";
    "strip_path" Bool = "false", "only file names";
    "strip_time" Bool = "false", "no build_time";
    "custom_data" Map = "", "put into each entry";
};

define!(MANIFEST = PostProcessor "manifest" true, "Lists what was built in a JSON file.", MANIFEST_OPTIONS, [], []);

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
    "Writes the checksums of what was built.", CHECKSUM_OPTIONS, [], [CHECKSUM_RULES]);

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
    COMPRESS_OPTIONS, [], [COMPRESS_RULES]);

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
    "provenance" Trilean = "true", "write a provenance statement";
    "build_type" String = "", "URI of the kind of build";
    "output_dir" String = "", "where it goes";
    "template" String = "", "the template's name in it";
    "only_builds" Strings = "", "builds to describe";
    "user_variables" Map = "", "variables to describe";
    "source_uri" String = "", "where the template comes from";
    "sbom" Bool = "false", "make a software bill of materials too";
    "sbom_format" String = "", "its format";
    "sbom_scan_path" String = "", "what it describes";
    "sbom_scope" String = "", "which layers it describes";
    "sbom_exclude" Strings = "", "what it leaves out";
    "signing_mode" String = "", "none, key, kms or keyless";
    "signer" String = "", "who signs";
    "key" String = "", "the key's file or URI";
    "verifier" String = "", "who verifies";
    "fulcio_url" String = "", "Sigstore's certificate authority";
    "rekor_url" String = "", "Sigstore's log";
    "upload_tlog" Bool = "", "write to that log";
    "trusted_root_path" String = "", "Sigstore's roots of trust";
    "keyless_identity" String = "", "identity that signs";
    "keyless_oidc_issuer" String = "", "who vouches for it";
};

const PROVENANCE_RULES: &[Rule] = &[Rule::OneOf("signing_mode", &["none", "key", "kms", "keyless"])];

define!(PROVENANCE = PostProcessor "provenance" false,
    "Writes signed statements of how the files were made.", PROVENANCE_OPTIONS, [], [PROVENANCE_RULES]);
