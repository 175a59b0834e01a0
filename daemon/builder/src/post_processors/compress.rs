//! The compress post-processor: the artifact as one archive, or its one file compressed.

use std::path::{Component, Path, PathBuf};

use super::context::{PostProcessContext, Processed};
use super::new_file;
use crate::archive::{self, Codec, Level, Member, Work};
use crate::artifact::{Artifact, Ownership};
use crate::error::StepError;
use crate::generated::Renderer;
use crate::option_values::OptionValues;

/// Words of `algorithm`.
pub(crate) const ALGORITHMS: [&str; 6] = ["pgzip", "bgzf", "lz4", "xz", "bzip2", "zstd"];

/// Extensions of compressed files, and their algorithms.
const EXTENSIONS: [(&str, &str); 8] = [
    ("gz", "pgzip"),
    ("bgzf", "bgzf"),
    ("lz4", "lz4"),
    ("xz", "xz"),
    ("bzip2", "bzip2"),
    // Packer makes a tar file packed with gzip of these three.
    ("bz2", "bzip2"),
    ("zst", "zstd"),
    ("zstd", "zstd"),
];

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    /// `tar`, `zip`, or empty for one file by itself.
    archive: String,
    /// One of [`ALGORITHMS`], or empty.
    algorithm: String,
}

/// Whether `format` says what is to be written.
pub(crate) fn is_format(format: &str) -> bool {
    let last = format.rsplit('.').next().unwrap_or_default();
    matches!(last, "tar" | "zip" | "tgz") || EXTENSIONS.iter().any(|(extension, _)| *extension == last)
}

impl Plan {
    /// Reads it from the output as the template has it, with `format` behind it, as Packer does.
    fn new(output: &str, format: &str, archive: &str, algorithm: &str) -> Self {
        let mut plan = Self { archive: archive.to_owned(), algorithm: algorithm.to_owned() };
        let extensions = extensions(&if format.is_empty() { output.to_owned() } else { format!("{output}.{format}") });
        let (last, before) = match extensions.as_slice() {
            [] => ("", ""),
            [last] => (last.as_str(), ""),
            [.., before, last] => (last.as_str(), before.as_str()),
        };
        if before == "tar" {
            before.clone_into(&mut plan.archive);
        }
        if matches!(last, "tar" | "zip") {
            last.clone_into(&mut plan.archive);
        } else if let Some((_, algorithm)) = EXTENSIONS.iter().find(|(extension, _)| *extension == last) {
            (*algorithm).clone_into(&mut plan.algorithm);
        } else {
            plan = Self { archive: "tar".to_owned(), algorithm: "pgzip".to_owned() };
        }
        plan
    }

    fn codec(&self, level: Level) -> Codec {
        match self.algorithm.as_str() {
            "pgzip" => Codec::Gzip(level),
            "bgzf" => Codec::Bgzf(level),
            "lz4" => Codec::Lz4(level),
            "xz" => Codec::Xz(level),
            "bzip2" => Codec::Bzip2(level),
            "zstd" => Codec::Zstd(level),
            _ => Codec::Plain,
        }
    }

    /// What people are told, in Packer's words.
    fn words(&self, output: &Path) -> Vec<String> {
        let (output, algorithm) = (output.display(), self.algorithm.as_str());
        let mut lines = Vec::new();
        if !algorithm.is_empty() && self.archive != "zip" {
            let cores = self.codec(None).workers(archive::processors());
            let cores = if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
            lines.push(format!("Using {algorithm} compression with {cores} for {output}"));
        }
        lines.push(match (self.archive.as_str(), algorithm) {
            ("tar", "") => format!("Tarring {output}"),
            ("tar", _) => format!("Tarring {output} with {algorithm}"),
            ("zip", _) => format!("Zipping {output}"),
            _ => format!("Compressing {output} with {algorithm}"),
        });
        lines
    }
}

/// What stands behind a dot, in small letters and digits only (so `{{.BuildName}}` is none).
fn extensions(text: &str) -> Vec<String> {
    let ends = |part: &str| part.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit()).unwrap_or(part.len());
    let parts = text.split('.').skip(1).map(|part| part[..ends(part)].to_owned());
    parts.filter(|part| !part.is_empty()).collect()
}

pub(crate) async fn run(
    context: &PostProcessContext,
    options: OptionValues<'_>,
    renderer: &Renderer,
    input: &Artifact,
) -> Result<Processed, StepError> {
    let template = options.text("output").unwrap_or_default();
    let fields = [("BuildName", context.source_name.as_str()), ("BuilderType", context.source_type.as_str())];
    let output = PathBuf::from(renderer.render(&template, &fields)?);
    let text = |name: &str| options.text(name).unwrap_or_default();
    let plan = Plan::new(&template, &text("format"), &text("archive"), &text("algorithm"));
    // Zero and -1 are the format's own.
    let level = options.given_number("compression_level").filter(|level| *level > 0);
    let level: Level = level.map(|level| u8::try_from(level.min(9)).unwrap_or(9));
    let members = members(&plan, input)?;
    new_file::refuse_input(&output, input)?;
    for line in plan.words(&output) {
        context.build.say(line);
    }
    let total: u64 = input.files.iter().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum();
    let (reporter, codec, is_zip, is_tar) =
        (context.build.clone(), plan.codec(level), plan.archive == "zip", plan.archive == "tar");
    new_file::write(context, &output, move |file, abandoned| {
        let progress = |done| reporter.progress("compress", done, Some(total));
        let mut work = Work::new(abandoned, &progress);
        if is_zip {
            return archive::write_zip(&members, level, &mut work, file);
        }
        let packed = archive::pack(codec, file, &mut |to| match members.as_slice() {
            [one] if !is_tar => work.copy(&one.file, to).map(drop),
            members => archive::write_tar(members, &mut work, to),
        });
        packed.map(drop)
    })
    .await?;
    context.build.say(format!("Archive {} completed", output.display()));
    let artifact = Artifact {
        builder_id: "packer.post-processor.compress".to_owned(),
        id: String::new(),
        text: format!("compressed artifacts in: {}", output.display()),
        ownership: Ownership::Files(vec![output.clone()]),
        files: vec![output],
    };
    Ok(Processed { artifact, keep_input: false, force_keep: false })
}

/// The artifact's files by the names they have in the archive.
fn members(plan: &Plan, input: &Artifact) -> Result<Vec<Member>, StepError> {
    if input.files.is_empty() {
        return Err(StepError::new("the artifact has no files that could be compressed")
            .with_hint("put compress behind a builder that leaves files, or behind artifice"));
    }
    if plan.archive.is_empty() && input.files.len() > 1 {
        let names: Vec<String> = input.files.iter().map(|file| file.display().to_string()).collect();
        let words =
            format!("Can only have 1 input file when not using tar/zip. Found {}: {}", names.len(), names.join(", "));
        return Err(StepError::new(words).with_hint("give `output` an extension such as .tar.gz"));
    }
    let mut members: Vec<Member> = Vec::new();
    for file in &input.files {
        // Packer's archives hold paths in a ZIP and bare names in a tar file. One that is absolute or leads up, unpacked, lies below where
        // it is unpacked.
        let name = match plan.archive.as_str() {
            "zip" => file.components().filter(|part| matches!(part, Component::Normal(_))).collect::<PathBuf>().into(),
            _ => file.file_name().unwrap_or(file.as_os_str()).to_owned(),
        };
        if let Some(other) = members.iter().find(|member| member.name == name) {
            let words = format!("{} and {} would have one name in the archive", other.file.display(), file.display());
            return Err(StepError::new(words).with_hint("write a .zip: it holds the whole paths"));
        }
        members.push(Member { name, file: file.clone() });
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(output: &str, format: &str) -> (String, String) {
        let plan = Plan::new(output, format, "", "");
        (plan.archive, plan.algorithm)
    }

    #[test]
    fn extensions_say_the_format_as_in_packer() {
        for (output, format, archive, algorithm) in [
            ("packer_{{.BuildName}}_{{.BuilderType}}", "", "tar", "pgzip"),
            ("a.tar.gz", "", "tar", "pgzip"),
            ("a.tgz", "", "tar", "pgzip"),
            ("a.tar", "", "tar", ""),
            ("a.zip", "", "zip", ""),
            ("a.gz", "", "", "pgzip"),
            ("a.qcow2.gz", "", "", "pgzip"),
            ("a.tar.lz4", "", "tar", "lz4"),
            ("a.lz4", "", "", "lz4"),
            ("a.bgzf", "", "", "bgzf"),
            ("a.tar.xz", "", "tar", "xz"),
            ("a.bzip2", "", "", "bzip2"),
            ("a.tar.bz2", "", "tar", "bzip2"),
            ("a.zst", "", "", "zstd"),
            ("a.tar.zst", "", "tar", "zstd"),
            ("out.d/disk", "", "tar", "pgzip"),
            ("a.unknown", "", "tar", "pgzip"),
            ("a", "zip", "zip", ""),
            ("a", "tar.xz", "tar", "xz"),
            ("a.tar", "gz", "tar", "pgzip"),
            ("a.zip", "lz4", "", "lz4"),
            ("{{.BuildName}}.tar.gz", "", "tar", "pgzip"),
        ] {
            assert_eq!(plan(output, format), (archive.to_owned(), algorithm.to_owned()), "{output:?} {format:?}");
        }
        let set = Plan::new("a.tar", "", "", "xz");
        assert_eq!((set.archive.as_str(), set.algorithm.as_str()), ("tar", "xz"));
        let set = Plan::new("a.gz", "", "tar", "");
        assert_eq!((set.archive.as_str(), set.algorithm.as_str()), ("tar", "pgzip"));
        assert!(is_format("tar.gz") && is_format("zst") && !is_format("7z"));
    }

    #[test]
    fn names_in_archives_are_packers_and_never_two_of_one() {
        let artifact = |files: &[&str]| Artifact {
            builder_id: String::new(),
            id: String::new(),
            text: String::new(),
            files: files.iter().map(PathBuf::from).collect(),
            ownership: Ownership::Nothing,
        };
        let names = |output: &str, files: &[&str]| {
            let members = members(&Plan::new(output, "", "", ""), &artifact(files));
            members.map(|members| members.into_iter().map(|member| member.name).collect::<Vec<_>>())
        };
        assert_eq!(names("a.tar", &["/x/a", "y/b"]).unwrap(), ["a", "b"]);
        assert_eq!(names("a.zip", &["/x/a", "y/b"]).unwrap(), ["x/a", "y/b"]);
        assert_eq!(names("a.zip", &["../y/a", "./b"]).unwrap(), ["y/a", "b"]);
        assert_eq!(names("a.zip", &["x/a", "y/a"]).unwrap().len(), 2);
        for (output, files, words) in [
            ("a.tar", &["x/a", "y/a"][..], "one name"),
            ("a.gz", &["x/a", "y/b"], "Can only have 1 input file"),
            ("a.gz", &[], "no files"),
        ] {
            assert!(names(output, files).unwrap_err().to_string().contains(words), "{output}");
        }
    }
}
