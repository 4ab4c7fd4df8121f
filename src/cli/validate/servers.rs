//! What can be said of servers' private keys before anything is signed with them.

use crate::{
    dkim::PrivateKey,
    source::{Finding, Severity, Snapshot, field_finding},
};

/// Warnings of keys that are at hand and cannot sign: the server would be Inactive. A Secret that is elsewhere says nothing.
pub fn server_findings(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, sourced) in snapshot.servers.iter() {
        let Some(place) = sourced.origin.file() else { continue };
        for (index, signing) in sourced.object.spec.signing_keys().iter().enumerate() {
            let reference = &signing.private_key_ref;
            let Ok(pem) = snapshot.secrets.get(&key.namespace, &reference.name, &reference.key) else { continue };
            if let Err(why) = PrivateKey::parse(pem.expose()) {
                let words = format!("key `{}` of Secret `{}` {why}", reference.key, reference.name);
                let field = format!("spec.identity.dkim[{index}].privateKeyRef");
                findings.push(field_finding(Severity::Warning, place, &field, None, words).0);
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::{
        cli::validate::load,
        source::{Options, Severity},
    };

    #[test]
    fn a_key_that_cannot_sign_is_told_before_it_has_to() {
        let folder = std::env::temp_dir().join(format!("mailfleet-validate-keys-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let server = "apiVersion: mailfleet.dev/v1alpha1\nkind: SendingServer\nmetadata: {name: relay}\nspec:\n  provider: {smtp: {host: 127.0.0.1, encryption: None}}\n  identity:\n    dkim:\n      - {domain: example.com, selector: s1, privateKeyRef: {name: dkim, key: public}}\n      - {domain: example.com, selector: s2, privateKeyRef: {name: dkim, key: good}}\n";
        let indented = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
        let (public, good) = (indented(include_str!("../../dkim/keys/public.pem")), indented(include_str!("../../dkim/keys/rsa8.pem")));
        let secret = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: dkim}}\nstringData:\n  public: |\n{public}  good: |\n{good}");
        std::fs::write(folder.join("all.yaml"), format!("{server}---\n{secret}")).expect("written");
        let findings = load(std::slice::from_ref(&folder), &Options::default()).findings;
        std::fs::remove_dir_all(&folder).expect("removed");
        let of_keys: Vec<_> =
            findings.iter().filter(|found| found.field.as_ref().is_some_and(|field| field.starts_with("spec.identity.dkim"))).collect();
        let [found] = &of_keys[..] else { panic!("{findings:?}") };
        assert_eq!(
            (found.severity, found.line, found.field.as_deref()),
            (Severity::Warning, 8, Some("spec.identity.dkim[0].privateKeyRef"))
        );
        assert!(found.message.contains("key `public` of Secret `dkim`") && found.message.contains("public"), "{found}");
    }
}
