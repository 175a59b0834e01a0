//! The sbom provisioner: asks the guest's package manager what is installed, and writes that down as CycloneDX and SPDX.

mod documents;
mod packages;

use std::io::Write as _;
use std::path::Path;

use kiln_communicators::{CollectedOutput, Exit};

use self::packages::Inventory;
use super::context::ProvisionContext;
use crate::error::StepError;
use crate::noted_file;
use crate::option_values::OptionValues;

/// What is read of a guest's list at most: a hundred thousand packages.
const MAX_LIST: usize = 16 << 20;

/// What to do about a guest whose packages nobody can list.
const NO_LIST_HINT: &str =
    "dpkg-query, rpm, apk and pacman are known; leave the guest out by the provisioner's `except`";

pub(super) async fn run(context: &ProvisionContext, options: OptionValues<'_>) -> Result<(), StepError> {
    let build = &context.build;
    build.say("Listing the guest's packages...");
    let output = CollectedOutput::new(MAX_LIST);
    let exit = context.communicator.execute(packages::QUESTION, &output).await?;
    if exit != Exit::Code(0) {
        let said = output.stderr_text();
        let error = format!("the guest does not list its packages: {exit}: {}", said.trim());
        return Err(StepError::new(error).with_hint(NO_LIST_HINT).lost_when(exit == Exit::Disconnected));
    }
    if output.stdout_bytes().len() >= MAX_LIST {
        return Err(StepError::new(format!("the guest's list of packages has more than {} MiB", MAX_LIST >> 20)));
    }
    let inventory = Inventory::read(&output.stdout_text())
        .ok_or_else(|| StepError::new("the guest has no package manager that is known").with_hint(NO_LIST_HINT))?;
    let directory = options.given("destination").unwrap_or_default().to_owned();
    let name = options.given("sbom_name").unwrap_or(&context.data.source_name).to_owned();
    for format in options.texts("formats") {
        let (ending, text) = match format.as_str() {
            "spdx" => ("spdx.json", documents::spdx(&name, &inventory, jiff::Timestamp::now())),
            _ => ("cdx.json", documents::cyclonedx(&name, &inventory)),
        };
        let path = Path::new(&directory).join(format!("{name}.{ending}"));
        noted_file::write(build, &path, 0o644, move |file, _| file.write_all(text.as_bytes())).await?;
        build.say(format!("{} packages are listed in {}", inventory.packages.len(), path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kiln_communicators::fake::{Answer, FakeCommunicator};
    use serde_json::Value as Json;

    use crate::provisioners::harness::run;

    const LIST: &str = "ID=debian\nVERSION_ID=\"12\"\n== packages dpkg\nbash\t5.2\tamd64\tinstalled\n";

    #[tokio::test]
    async fn both_documents_are_written() {
        let local = tempfile::tempdir().unwrap();
        let guest = FakeCommunicator::new();
        guest.on_command("dpkg-query", Answer::stdout(LIST)).on_command("dpkg-query", Answer::stdout(LIST));
        let at = local.path().join("a/b");
        run("sbom", &format!("destination = \"{}\"", at.display()), &guest).await.result.unwrap();
        let read = |name: &str| -> Json { serde_json::from_slice(&std::fs::read(at.join(name)).unwrap()).unwrap() };
        assert_eq!(read("web.cdx.json")["components"][0]["name"], "bash");
        assert_eq!(read("web.spdx.json")["packages"][1]["versionInfo"], "5.2");
        let body = format!("destination = \"{}\"\nformats = [\"spdx\"]\nsbom_name = \"my\"", at.display());
        run("sbom", &body, &guest).await.result.unwrap();
        assert!(at.join("my.spdx.json").exists() && !at.join("my.cdx.json").exists());
    }

    #[tokio::test]
    async fn a_guest_without_a_list_is_told() {
        let body = "destination = \"/nonexistent\"";
        for (answer, told) in [
            (Answer::stdout("ID=x\n== packages none\n"), "the guest has no package manager that is known"),
            (Answer::code(1), "the guest does not list its packages: exit code 1: "),
        ] {
            let guest = FakeCommunicator::new();
            guest.on_command("dpkg-query", answer);
            assert_eq!(run("sbom", body, &guest).await.result.unwrap_err().to_string(), told);
        }
    }
}
