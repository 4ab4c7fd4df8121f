//! Mailfleet as a plugin of kubectl: what is called `kubectl-mailfleet` on the PATH runs as `kubectl mailfleet`. Pure.

use std::{ffi::OsString, path::Path};

/// How the plugin is called by those who run it.
pub const NAME: &str = "kubectl mailfleet";
/// Commands that look at a cluster there, though no option says so.
const OF_CLUSTERS: [&str; 2] = ["get", "wait"];
/// What the program knows by itself: `get types`.
const NOT_IN_CLUSTERS: [&str; 2] = ["types", "type"];

/// Whether the program was called by kubectl.
#[must_use]
pub fn is_plugin(words: &[OsString]) -> bool {
    let name = words.first().and_then(|program| Path::new(program).file_name()?.to_str());
    name.is_some_and(|name| name.starts_with("kubectl-"))
}

/// The command line with `--kubernetes` where kubectl's users mean their cluster: unless a state folder is named.
#[must_use]
pub fn in_cluster(mut words: Vec<OsString>) -> Vec<OsString> {
    let is = |word: &OsString, names: &[&str]| word.to_str().is_some_and(|word| names.contains(&word));
    let is_elsewhere = words.iter().any(|word| {
        is(word, &["--kubernetes", "--state", "--help", "-h"])
            || is(word, &NOT_IN_CLUSTERS)
            || word.to_str().is_some_and(|word| word.starts_with("--state="))
    });
    if !is_elsewhere && words.get(1).is_some_and(|word| is(word, &OF_CLUSTERS)) {
        words.insert(2, "--kubernetes".into());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(Into::into).collect()
    }

    #[test]
    fn it_is_a_plugin_by_its_name() {
        assert!(is_plugin(&words("/usr/bin/kubectl-mailfleet get servers")));
        for line in ["mailfleet get servers", "/opt/kubectl-tools/mailfleet get servers", ""] {
            assert!(!is_plugin(&words(line)), "{line}");
        }
    }

    #[test]
    fn the_cluster_is_meant_unless_a_folder_is_named() {
        for (line, expected) in [
            ("kubectl-mailfleet get servers -n shop", "kubectl-mailfleet get --kubernetes servers -n shop"),
            ("kubectl-mailfleet wait objects", "kubectl-mailfleet wait --kubernetes objects"),
            ("kubectl-mailfleet get servers --state x", "kubectl-mailfleet get servers --state x"),
            ("kubectl-mailfleet get servers --state=x", "kubectl-mailfleet get servers --state=x"),
            ("kubectl-mailfleet get --kubernetes servers", "kubectl-mailfleet get --kubernetes servers"),
            ("kubectl-mailfleet get types", "kubectl-mailfleet get types"),
            ("kubectl-mailfleet get runs spring", "kubectl-mailfleet get --kubernetes runs spring"),
            ("kubectl-mailfleet help get", "kubectl-mailfleet help get"),
            ("kubectl-mailfleet validate objects", "kubectl-mailfleet validate objects"),
            ("kubectl-mailfleet", "kubectl-mailfleet"),
        ] {
            assert_eq!(in_cluster(words(line)), words(expected), "{line}");
        }
    }
}
