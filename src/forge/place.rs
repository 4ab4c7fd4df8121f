//! Which pull request or commit a job is about, by the variables that each forge sets. Pure.

use clap::ValueEnum;
use serde_json::Value;

/// A forge, by its API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Forge {
    /// GitHub and GitHub Enterprise Server.
    #[value(name = "github")]
    GitHub,
    /// GitLab.
    #[value(name = "gitlab")]
    GitLab,
    /// Forgejo and Gitea.
    Forgejo,
}

impl Forge {
    /// Its name for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GitHub => "GitHub",
            Self::GitLab => "GitLab",
            Self::Forgejo => "Forgejo",
        }
    }
}

/// Where comments and statuses go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The forge.
    pub forge: Forge,
    /// The base of its API.
    pub api: String,
    /// The repository: `owner/name`, or in GitLab the number of the project.
    pub repository: String,
    /// The pull request, where the job is about one.
    pub number: Option<u64>,
    /// The commit.
    pub commit: Option<String>,
    /// The job's page.
    pub job: Option<String>,
}

impl Place {
    /// The place of a job, by its variables and its event (GitHub and Forgejo: the file of `GITHUB_EVENT_PATH`).
    ///
    /// # Errors
    /// Which variable is missing or cannot be used.
    pub fn of_job(forge: Forge, variable: impl Fn(&str) -> Option<String>, event: &Value) -> Result<Self, String> {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let needed = |name: &str| given(name).ok_or_else(|| format!("{name} is not set; {} sets it in each job", forge.as_str()));
        let place = match forge {
            Forge::GitHub | Forge::Forgejo => {
                let repository = needed("GITHUB_REPOSITORY")?;
                let (server, run) = (given("GITHUB_SERVER_URL"), given("GITHUB_RUN_ID"));
                Self {
                    forge,
                    api: needed("GITHUB_API_URL")?,
                    number: event.pointer("/pull_request/number").or_else(|| event.get("number")).and_then(Value::as_u64),
                    // Of a pull request, the variable names the merge that was made for the job; people see the head.
                    commit: event
                        .pointer("/pull_request/head/sha")
                        .and_then(Value::as_str)
                        .map(str::to_owned)
                        .or_else(|| given("GITHUB_SHA")),
                    job: server.zip(run).map(|(server, run)| format!("{server}/{repository}/actions/runs/{run}")),
                    repository,
                }
            }
            Forge::GitLab => Self {
                forge,
                api: needed("CI_API_V4_URL")?,
                // The pipeline of a fork's request may be in the fork, and the request is in the project that it is for.
                repository: given("CI_MERGE_REQUEST_PROJECT_ID").map_or_else(|| needed("CI_PROJECT_ID"), Ok)?,
                number: given("CI_MERGE_REQUEST_IID").and_then(|number| number.parse().ok()),
                // It is set where the pipeline runs for the result of a merge.
                commit: given("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA").or_else(|| given("CI_COMMIT_SHA")),
                job: given("CI_JOB_URL"),
            },
        };
        let is_word = |word: &str| {
            !word.is_empty() && word != "." && word != ".." && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        let is_repository = match forge {
            Forge::GitLab => place.repository.bytes().all(|byte| byte.is_ascii_digit()),
            _ => place.repository.split('/').count() == 2 && place.repository.split('/').all(is_word),
        };
        if !is_repository {
            return Err(format!("`{}` is not a repository on {}", place.repository, forge.as_str()));
        }
        Ok(place)
    }

    /// The token, from the first of the variables that is set.
    ///
    /// # Errors
    /// Which variables could hold it.
    pub fn token(forge: Forge, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
        let names: &[&str] = match forge {
            Forge::GitHub => &["MAILFLEET_FORGE_TOKEN", "GITHUB_TOKEN"],
            Forge::GitLab => &["MAILFLEET_FORGE_TOKEN", "GITLAB_TOKEN"],
            Forge::Forgejo => &["MAILFLEET_FORGE_TOKEN", "FORGEJO_TOKEN", "GITHUB_TOKEN"],
        };
        let found = names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
        found.ok_or_else(|| format!("no token is set: set {}", names.join(" or ")))
    }
}

/// Events of GitHub and Forgejo, beside those of pull requests, that only those cause who may write to the repository.
const OWN_EVENTS: [&str; 5] = ["push", "schedule", "workflow_dispatch", "merge_group", "release"];

/// Whether a job runs for a request from another repository, where it has no secrets. What cannot be told is one.
#[must_use]
pub fn is_fork(variable: impl Fn(&str) -> Option<String>, event: &Value) -> bool {
    if let Some(request) = event.get("pull_request") {
        let name = |side: &str| request.pointer(&format!("/{side}/repo/full_name")).and_then(Value::as_str);
        return name("head").is_none() || name("head") != name("base");
    }
    // Others may have been caused by a stranger, whatever is checked out: a comment, or another workflow.
    if variable("GITHUB_EVENT_NAME").is_some_and(|name| !OWN_EVENTS.contains(&name.as_str())) {
        return true;
    }
    let (source, target) = (variable("CI_MERGE_REQUEST_SOURCE_PROJECT_ID"), variable("CI_MERGE_REQUEST_PROJECT_ID"));
    target.is_some() && source != target
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn a_job_knows_its_request() {
        let github = [("GITHUB_API_URL", "https://api.github.com"), ("GITHUB_REPOSITORY", "shop/mail"), ("GITHUB_SHA", "abc")];
        let event = json!({"number": 7, "pull_request": {"number": 7, "head": {"repo": {"full_name": "shop/mail"}}, "base": {"repo": {"full_name": "shop/mail"}}}});
        let place = Place::of_job(Forge::GitHub, of(&github), &event).expect("a place");
        assert_eq!((place.number, place.commit.as_deref(), place.job), (Some(7), Some("abc"), None));
        assert_eq!(Place::of_job(Forge::GitHub, of(&github), &Value::Null).expect("a push").number, None);
        let event = json!({"pull_request": {"number": 7, "head": {"sha": "def"}}});
        assert_eq!(Place::of_job(Forge::GitHub, of(&github), &event).expect("a place").commit.as_deref(), Some("def"), "not the merge's");
        let gitlab = [
            ("CI_API_V4_URL", "https://gitlab.com/api/v4"),
            ("CI_PROJECT_ID", "43"),
            ("CI_MERGE_REQUEST_PROJECT_ID", "42"),
            ("CI_MERGE_REQUEST_IID", "3"),
            ("CI_COMMIT_SHA", "abc"),
            ("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", "def"),
        ];
        let place = Place::of_job(Forge::GitLab, of(&gitlab), &Value::Null).expect("a place");
        assert_eq!((&*place.repository, place.number, place.commit.as_deref()), ("42", Some(3), Some("def")));
        for repository in ["shop", "shop/mail/x", "../mail", "shop/a b", "shop/?x", ""] {
            let variables = [("GITHUB_API_URL", "https://api.github.com"), ("GITHUB_REPOSITORY", repository)];
            assert!(Place::of_job(Forge::GitHub, of(&variables), &event).is_err(), "{repository}");
        }
        let why = Place::of_job(Forge::GitLab, of(&[]), &Value::Null).expect_err("nothing is set");
        assert!(why.contains("CI_API_V4_URL"), "{why}");
        assert!(Place::token(Forge::Forgejo, of(&[("GITHUB_TOKEN", "t")])).is_ok_and(|token| token == "t"));
        assert!(Place::token(Forge::GitLab, of(&[("CI_JOB_TOKEN", "t")])).is_err_and(|why| why.contains("GITLAB_TOKEN")));
    }

    #[test]
    fn a_fork_is_told_by_its_repository() {
        let event = |head: Value| json!({"pull_request": {"head": {"repo": head}, "base": {"repo": {"full_name": "shop/mail"}}}});
        let none = of(&[]);
        assert!(!is_fork(&none, &event(json!({"full_name": "shop/mail"}))));
        assert!(is_fork(&none, &event(json!({"full_name": "eve/mail"}))));
        // The fork was deleted.
        assert!(is_fork(&none, &event(Value::Null)));
        assert!(!is_fork(&none, &json!({"ref": "refs/heads/main"})) && !is_fork(&none, &Value::Null));
        assert!(is_fork(of(&[("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "1"), ("CI_MERGE_REQUEST_PROJECT_ID", "2")]), &Value::Null));
        assert!(!is_fork(of(&[("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "2"), ("CI_MERGE_REQUEST_PROJECT_ID", "2")]), &Value::Null));
    }
}
