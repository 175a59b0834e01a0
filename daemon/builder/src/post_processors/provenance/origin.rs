//! Where a build runs and where its template comes from: what a CI service says in the environment, else what Git says here.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::attestation::Material;
use crate::fetch;

/// How long Git may take to say one thing.
const PATIENCE: Duration = Duration::from_secs(30);

/// What CI services call the job that runs here: GitHub, GitLab (twice), Jenkins.
const BUILDERS: [&str; 4] = ["GITHUB_WORKFLOW_REF", "CI_JOB_URL", "CI_PIPELINE_URL", "BUILD_URL"];

/// And the run of it.
const INVOCATIONS: [&str; 4] = ["GITHUB_RUN_ID", "CI_PIPELINE_ID", "CI_JOB_ID", "BUILD_ID"];

type Environment = BTreeMap<String, String>;

fn first(environment: &Environment, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| said(environment, name))
}

fn said(environment: &Environment, name: &str) -> Option<String> {
    environment.get(name).map(|value| value.trim()).filter(|value| !value.is_empty()).map(str::to_owned)
}

/// Who builds, where a CI service says it.
pub(super) fn builder_id(environment: &Environment) -> Option<String> {
    first(environment, &BUILDERS)
}

/// Which run it is, where a CI service says it.
pub(super) fn invocation_id(environment: &Environment) -> Option<String> {
    first(environment, &INVOCATIONS)
}

/// The repository that the template lies in; `given` is its URI when the template says it.
pub(super) async fn source(environment: &Environment, given: Option<&str>) -> Option<Material> {
    let found = match github(environment).or_else(|| gitlab(environment)) {
        Some(found) => Some(found),
        None => local().await,
    };
    match (found, given) {
        (Some(found), Some(uri)) => Some(Material { uri: uri.to_owned(), ..found }),
        (None, Some(uri)) => Some(Material { uri: uri.to_owned(), ..Material::default() }),
        (found, None) => found,
    }
}

fn at_commit(uri: String, commit: String) -> Material {
    let digest = BTreeMap::from([("gitCommit".to_owned(), commit)]);
    Material { uri, digest, name: String::new() }
}

fn github(environment: &Environment) -> Option<Material> {
    let (repository, commit) = (said(environment, "GITHUB_REPOSITORY")?, said(environment, "GITHUB_SHA")?);
    let server = said(environment, "GITHUB_SERVER_URL").unwrap_or_else(|| "https://github.com".to_owned());
    let reference = said(environment, "GITHUB_REF").map(|name| format!("@{name}")).unwrap_or_default();
    let (server, repository) = (server.trim_end_matches('/'), repository.trim_start_matches('/'));
    Some(at_commit(format!("git+{server}/{repository}{reference}"), commit))
}

fn gitlab(environment: &Environment) -> Option<Material> {
    let (project, commit) = (said(environment, "CI_PROJECT_URL")?, said(environment, "CI_COMMIT_SHA")?);
    let branch = said(environment, "CI_COMMIT_REF_NAME").map(|name| format!("@refs/heads/{name}"));
    Some(at_commit(format!("git+{}{}", project.trim_end_matches('/'), branch.unwrap_or_default()), commit))
}

/// The repository of the working directory. A login in its URL is not said.
async fn local() -> Option<Material> {
    let commit = git(&["rev-parse", "HEAD"]).await?;
    let url = match git(&["config", "--get", "remote.origin.url"]).await {
        Some(url) => fetch::shown(&url),
        None => format!("file://{}", git(&["rev-parse", "--show-toplevel"]).await?),
    };
    let branch = git(&["rev-parse", "--abbrev-ref", "HEAD"]).await.filter(|branch| branch != "HEAD");
    let branch = branch.map(|name| format!("@refs/heads/{name}")).unwrap_or_default();
    Some(at_commit(format!("git+{url}{branch}"), commit))
}

/// What Git says; nothing where there is no Git, or no repository.
async fn git(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[tokio::test]
    async fn ci_services_say_where_the_template_comes_from() {
        let github = environment(&[
            ("GITHUB_REPOSITORY", "me/web"),
            ("GITHUB_SHA", "abc"),
            ("GITHUB_REF", "refs/heads/main"),
            ("GITHUB_WORKFLOW_REF", "me/web/.github/workflows/x.yml@refs/heads/main"),
            ("GITHUB_RUN_ID", "17"),
        ]);
        let found = source(&github, None).await.unwrap();
        assert_eq!(found.uri, "git+https://github.com/me/web@refs/heads/main");
        assert_eq!(found.digest["gitCommit"], "abc");
        assert_eq!(builder_id(&github).unwrap(), "me/web/.github/workflows/x.yml@refs/heads/main");
        assert_eq!(invocation_id(&github).unwrap(), "17");
        let gitlab = environment(&[
            ("CI_PROJECT_URL", "https://gitlab.example/me/web/"),
            ("CI_COMMIT_SHA", "def"),
            ("CI_COMMIT_REF_NAME", "main"),
            ("CI_JOB_URL", "https://gitlab.example/me/web/-/jobs/1"),
            ("CI_PIPELINE_ID", "18"),
        ]);
        let found = source(&gitlab, None).await.unwrap();
        assert_eq!(found.uri, "git+https://gitlab.example/me/web@refs/heads/main");
        assert_eq!(builder_id(&gitlab).unwrap(), "https://gitlab.example/me/web/-/jobs/1");
        assert_eq!(invocation_id(&gitlab).unwrap(), "18");
    }

    #[tokio::test]
    async fn the_template_has_the_last_word_and_the_commit_stays() {
        let github = environment(&[("GITHUB_REPOSITORY", "me/web"), ("GITHUB_SHA", "abc")]);
        let found = source(&github, Some("git+https://mine")).await.unwrap();
        assert_eq!((found.uri.as_str(), found.digest["gitCommit"].as_str()), ("git+https://mine", "abc"));
        assert_eq!(builder_id(&environment(&[("BUILD_URL", " ")])), None);
    }
}
