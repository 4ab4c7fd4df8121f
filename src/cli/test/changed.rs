//! Which servers a change adds or alters, so that they are to be tried before it is merged. Pure.

use std::collections::BTreeMap;

use crate::{
    meta::bound::listed,
    resources::{Key, SendingServer},
    source::{Snapshot, Sourced},
};

/// Why a server is tried, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Added,
    /// Its spec.
    Spec,
    /// A Secret that it names.
    Secret,
    /// It differs, and is switched off.
    SwitchedOff,
}

/// The servers that differ, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(BTreeMap<Key, Change>);

/// Compares the servers of two versions.
#[must_use]
pub fn changes(old: &Snapshot, new: &Snapshot) -> Changes {
    let change = |key: &Key, server: &Sourced<SendingServer>| {
        let spec = &server.object.spec;
        let change = match old.servers.get(key) {
            None => Change::Added,
            Some(was) if was.object.spec != *spec => Change::Spec,
            Some(_) => {
                let mut names = spec.secrets().into_iter().map(|needed| Key::new(&*key.namespace, needed.key.name));
                let differs = |name: &Key| old.secrets.documents().get(name) != new.secrets.documents().get(name);
                return names.any(|name| differs(&name)).then_some(Change::Secret);
            }
        };
        Some(if spec.is_enabled() { change } else { Change::SwitchedOff })
    };
    Changes(new.servers.iter().filter_map(|(key, server)| Some((key.clone(), change(key, server)?))).collect())
}

impl Changes {
    /// Those to be tried.
    #[must_use]
    pub fn servers(&self, new: &Snapshot) -> Vec<(Key, SendingServer)> {
        let tried = self.0.iter().filter(|(_, change)| **change != Change::SwitchedOff);
        tried.filter_map(|(key, _)| Some((key.clone(), (*new.servers.get(key)?.object).clone()))).collect()
    }

    /// What is said beside the results.
    #[must_use]
    pub fn notes(&self, old: &str) -> Vec<String> {
        let mut notes = Vec::new();
        if self.0.values().all(|change| *change == Change::SwitchedOff) {
            notes.push(format!("No server to be tried is added or changed since {old}."));
        }
        let off: Vec<String> =
            self.0.iter().filter(|(_, change)| **change == Change::SwitchedOff).map(|(key, _)| key.to_string()).collect();
        if !off.is_empty() {
            notes.push(format!("Not tried, since it is switched off (enabled: false): {}.", listed(off.iter().map(String::as_str))));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Files, Options};

    fn snapshot(name: &str, text: &str) -> Snapshot {
        let folder = std::env::temp_dir().join(format!("mailfleet-changed-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("all.yaml"), text).expect("a file");
        let snapshot = Files::load_once(std::slice::from_ref(&folder), &Options::default());
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!(snapshot.faults().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
        snapshot
    }

    fn server(name: &str, host: &str, more: &str) -> String {
        format!(
            "---\napiVersion: mailfleet.dev/v1alpha1\nkind: SendingServer\nmetadata: {{name: {name}}}\nspec:\n  provider: {{smtp: {{host: {host}, auth: {{secretRef: {{name: login}}}}}}}}\n{more}"
        )
    }

    fn secret(password: &str) -> String {
        format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\nstringData: {{username: u, password: {password}}}\n")
    }

    #[test]
    fn what_differs_is_tried_and_what_is_switched_off_is_not() {
        let old = snapshot("old", &(server("a", "a.example.com", "") + &server("b", "b.example.com", "") + &secret("one")));
        let tried = |name: &str, text: &str| {
            let new = snapshot(name, text);
            let changes = changes(&old, &new);
            let names: Vec<String> = changes.servers(&new).iter().map(|(key, _)| key.to_string()).collect();
            (names.join(" "), changes.notes("git:main").join(" "))
        };
        let (a, b) = (server("a", "a.example.com", ""), server("b", "b.example.com", ""));
        let nothing = "No server to be tried is added or changed since git:main.";
        assert_eq!(tried("same", &(a.clone() + &b + &secret("one"))), (String::new(), nothing.to_owned()));
        assert_eq!(tried("gone", &(a.clone() + &secret("one"))).0, "");
        assert_eq!(tried("spec", &(a.clone() + &server("b", "c.example.com", "") + &secret("one"))).0, "default/b");
        assert_eq!(
            tried("added", &(a.clone() + &b + &server("c", "c.example.com", "") + &secret("one"))),
            ("default/c".to_owned(), String::new())
        );
        assert_eq!(tried("secret", &(a.clone() + &b + &secret("two"))).0, "default/a default/b");
        let off = tried("off", &(a + &server("b", "c.example.com", "  enabled: false\n") + &secret("one")));
        assert_eq!(off, (String::new(), format!("{nothing} Not tried, since it is switched off (enabled: false): default/b.")));
    }
}
