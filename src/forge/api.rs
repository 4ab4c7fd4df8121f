//! How each forge is asked: paths, bodies and answers. Pure.

use http::{HeaderName, HeaderValue, Method, header};
use serde_json::{Value, json};

use super::place::{Forge, Place};

/// Comments in a page; all three know this many.
const PAGE: usize = 100;
/// Characters of a status's description that GitHub takes.
const DESCRIPTION_MAX: usize = 140;

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitState {
    /// It is not known yet.
    Pending,
    /// All is well.
    Success,
    /// Something needs a person.
    Failure,
}

/// A status of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitStatus {
    /// The state.
    pub state: CommitState,
    /// Which status it is: a later one of this name takes its place.
    pub name: String,
    /// Why, in a line.
    pub description: String,
}

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub method: Method,
    /// The path below the base, with its query.
    pub path: String,
    pub body: Option<Value>,
}

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comment {
    pub id: u64,
    pub body: String,
}

impl Forge {
    /// The headers of each request, the token among them, marked as a secret.
    ///
    /// # Errors
    /// When the token cannot be in a header.
    pub(super) fn headers(self, token: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let (name, value) = match self {
            Self::GitHub => (header::AUTHORIZATION, format!("Bearer {token}")),
            Self::GitLab => (HeaderName::from_static("private-token"), token.to_owned()),
            Self::Forgejo => (header::AUTHORIZATION, format!("token {token}")),
        };
        let mut value = HeaderValue::from_str(&value).map_err(|_| "the token has characters that no header may have".to_owned())?;
        value.set_sensitive(true);
        let accept = if self == Self::GitHub { "application/vnd.github+json" } else { "application/json" };
        let mut headers = vec![(name, value), (header::ACCEPT, HeaderValue::from_static(accept))];
        if self == Self::GitHub {
            headers.push((HeaderName::from_static("x-github-api-version"), HeaderValue::from_static("2022-11-28")));
        }
        Ok(headers)
    }

    /// The first page of the comments of a pull request, oldest first.
    pub(super) fn comments(self, place: &Place, number: u64) -> Call {
        let path = match self {
            Self::GitLab => format!("{}?per_page={PAGE}&sort=asc&order_by=created_at", notes(place, number)),
            // Forgejo gives all of them at once, or pages with a Link header.
            Self::GitHub | Self::Forgejo => format!("{}?per_page={PAGE}", issue_comments(place, number)),
        };
        Call { method: Method::GET, path, body: None }
    }

    /// A new comment.
    pub(super) fn create(self, place: &Place, number: u64, body: &str) -> Call {
        let path = match self {
            Self::GitLab => notes(place, number),
            Self::GitHub | Self::Forgejo => issue_comments(place, number),
        };
        Call { method: Method::POST, path, body: Some(json!({"body": body})) }
    }

    /// Other words in a comment.
    pub(super) fn edit(self, place: &Place, number: u64, id: u64, body: &str) -> Call {
        let (method, path) = match self {
            Self::GitLab => (Method::PUT, format!("{}/{id}", notes(place, number))),
            Self::GitHub | Self::Forgejo => (Method::PATCH, format!("repos/{}/issues/comments/{id}", place.repository)),
        };
        Call { method, path, body: Some(json!({"body": body})) }
    }

    /// A status of a commit.
    pub(super) fn status(self, place: &Place, commit: &str, status: &CommitStatus) -> Call {
        let description: String = match status.description.chars().count() {
            0..=DESCRIPTION_MAX => status.description.clone(),
            _ => status.description.chars().take(DESCRIPTION_MAX - 1).chain(['…']).collect(),
        };
        let (path, state, name) = match self {
            Self::GitLab => (format!("projects/{}/statuses/{commit}", place.repository), gitlab_state(status.state), "name"),
            Self::GitHub | Self::Forgejo => (format!("repos/{}/statuses/{commit}", place.repository), state(status.state), "context"),
        };
        let mut body = json!({"state": state, name: status.name, "description": description});
        if let Some(url) = &place.job {
            body["target_url"] = url.as_str().into();
        }
        Call { method: Method::POST, path, body: Some(body) }
    }

    /// What a job must have so that it may do this.
    pub(super) const fn permission(self, is_status: bool) -> &'static str {
        match (self, is_status) {
            (Self::GitHub, false) => "give the job `permissions: {pull-requests: write}`",
            (Self::GitHub, true) => "give the job `permissions: {statuses: write}`",
            (Self::GitLab, _) => {
                "give it the scope `api` and the role Developer or above in this project; CI_JOB_TOKEN may not write notes"
            }
            (Self::Forgejo, false) => "give it the scope `write:issue`",
            (Self::Forgejo, true) => "give it the scope `write:repository`",
        }
    }
}

fn issue_comments(place: &Place, number: u64) -> String {
    format!("repos/{}/issues/{number}/comments", place.repository)
}

fn notes(place: &Place, number: u64) -> String {
    format!("projects/{}/merge_requests/{number}/notes", place.repository)
}

const fn state(state: CommitState) -> &'static str {
    match state {
        CommitState::Pending => "pending",
        CommitState::Success => "success",
        CommitState::Failure => "failure",
    }
}

const fn gitlab_state(state: CommitState) -> &'static str {
    match state {
        CommitState::Pending => "running",
        CommitState::Success => "success",
        CommitState::Failure => "failed",
    }
}

/// The comments of a page.
///
/// # Errors
/// When the answer is no list of comments.
pub(super) fn comments_of(answer: &[u8]) -> Result<Vec<Comment>, String> {
    let page: Value = serde_json::from_slice(answer).map_err(|error| format!("the answer is no JSON: {error}"))?;
    let items = page.as_array().ok_or("the answer is no list of comments")?;
    let comment = |item: &Value| Some(Comment { id: item["id"].as_u64()?, body: item["body"].as_str().unwrap_or_default().to_owned() });
    Ok(items.iter().filter_map(comment).collect())
}

/// The comment that begins with a marker, if one does that is not known as another's: a quotation of it somewhere else is another's.
pub(super) fn ours<'a>(comments: &'a [Comment], marker: &str, of_others: &[u64]) -> Option<&'a Comment> {
    comments.iter().find(|comment| comment.body.trim_start().starts_with(marker) && !of_others.contains(&comment.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(forge: Forge, repository: &str) -> Place {
        Place {
            forge,
            api: "https://forge.example/api".to_owned(),
            repository: repository.to_owned(),
            number: Some(7),
            commit: None,
            job: None,
        }
    }

    #[test]
    fn each_forge_is_asked_as_it_documents() {
        let status = CommitStatus { state: CommitState::Failure, name: "mailfleet".to_owned(), description: "ä".repeat(200) };
        for (forge, repository, expected) in [
            (
                Forge::GitHub,
                "shop/mail",
                [
                    "GET repos/shop/mail/issues/7/comments?per_page=100",
                    "POST repos/shop/mail/issues/7/comments",
                    "PATCH repos/shop/mail/issues/comments/9",
                    "POST repos/shop/mail/statuses/abc",
                ],
            ),
            (
                Forge::GitLab,
                "42",
                [
                    "GET projects/42/merge_requests/7/notes?per_page=100&sort=asc&order_by=created_at",
                    "POST projects/42/merge_requests/7/notes",
                    "PUT projects/42/merge_requests/7/notes/9",
                    "POST projects/42/statuses/abc",
                ],
            ),
        ] {
            let place = place(forge, repository);
            let calls = [
                forge.comments(&place, 7),
                forge.create(&place, 7, "x"),
                forge.edit(&place, 7, 9, "x"),
                forge.status(&place, "abc", &status),
            ];
            assert_eq!(calls.clone().map(|call| format!("{} {}", call.method, call.path)), expected);
            let body = calls[3].body.as_ref().expect("a body");
            let description = body["description"].as_str().expect("a text");
            assert!(description.chars().count() == DESCRIPTION_MAX && description.ends_with('…'), "{description}");
            assert_eq!(body["state"], if forge == Forge::GitLab { "failed" } else { "failure" });
        }
        assert!(Forge::GitHub.headers("a\nb").is_err());
        assert!(!format!("{:?}", Forge::GitLab.headers("hunter2").expect("headers")).contains("hunter2"));
    }

    #[test]
    fn a_comment_is_ours_by_its_beginning() {
        let page = br#"[{"id": 1, "body": "> <!-- m --> quoted"}, {"id": 2, "body": null}, {"id": 3, "body": "<!-- m -->\nours"}, {"id": 4, "body": "<!-- m --> again"}]"#;
        let comments = comments_of(page).expect("a page");
        assert_eq!(ours(&comments, "<!-- m -->", &[]).map(|comment| comment.id), Some(3));
        assert_eq!(ours(&comments, "<!-- m -->", &[3]).map(|comment| comment.id), Some(4));
        assert_eq!(ours(&comments, "<!-- m -->", &[3, 4]), None);
        assert_eq!(ours(&comments, "<!-- n -->", &[]), None);
        assert!(comments_of(b"{}").is_err() && comments_of(b"<html>").is_err());
    }
}
