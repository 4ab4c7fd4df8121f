//! The manifests of examples/gitops for Flux and Argo CD against each other, the repository and the quick starts: what they name is there.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The documents of a file.
fn documents(name: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} is no text in {object}"))
}

fn identity(object: &Value) -> (String, String) {
    (text(object, "/kind").to_owned(), text(object, "/metadata/name").to_owned())
}

/// Each value that is set exists in the chart.
fn check_values(values: &Value, defaults: &Value, path: &str) {
    for (name, value) in values.as_object().unwrap_or_else(|| panic!("{path} is no mapping")) {
        let default = defaults.get(name).unwrap_or_else(|| panic!("the chart has no value {path}{name}"));
        if value.is_object() {
            check_values(value, default, &format!("{path}{name}."));
        }
    }
}

fn chart_values() -> Value {
    serde_saphyr::from_str(&read("charts/mailfleet/values.yaml")).expect("YAML")
}

fn is_chart(path: &str) -> bool {
    root().join(path).join("Chart.yaml").is_file()
}

#[test]
fn what_flux_is_given_fits_together() {
    let install = documents("examples/gitops/flux/install.yaml");
    let there: BTreeSet<_> = install.iter().map(identity).collect();
    assert_eq!(there.len(), install.len(), "names are unique: {there:?}");
    let others = ["kustomization", "until-completed"].map(|name| documents(&format!("examples/gitops/flux/{name}.yaml")));
    let document = read("docs/start-flux.md");
    let mut paths = BTreeSet::new();
    for object in install.iter().chain(others.iter().flatten()) {
        assert_eq!(text(object, "/metadata/namespace"), "flux-system", "{object}");
        let source = match text(object, "/kind") {
            "GitRepository" => continue,
            "HelmRelease" => {
                assert!(is_chart(text(object, "/spec/chart/spec/chart")), "{object}");
                check_values(&object["spec"]["values"], &chart_values(), "");
                "/spec/chart/spec/sourceRef"
            }
            "Kustomization" => {
                paths.insert(text(object, "/spec/path").to_owned());
                "/spec/sourceRef"
            }
            other => panic!("{other} is not checked here"),
        };
        let source = (text(object, &format!("{source}/kind")).to_owned(), text(object, &format!("{source}/name")).to_owned());
        assert!(there.contains(&source), "no {source:?} in install.yaml: {object}");
        for other in object["spec"]["dependsOn"].as_array().into_iter().flatten() {
            let other = (text(object, "/kind").to_owned(), text(other, "/name").to_owned());
            assert!(there.contains(&other), "no {other:?} in install.yaml: {object}");
        }
        if let Some(secret) = object.pointer("/spec/decryption/secretRef/name").and_then(Value::as_str) {
            let command = format!("kubectl create secret generic {secret} -n {}", text(object, "/metadata/namespace"));
            assert!(document.contains(&command), "docs/start-flux.md does not say `{command}`");
        }
    }
    assert_eq!(paths, ["./mail", "./mail/campaigns", "./mail/servers"].map(str::to_owned).into(), "one repository in all examples");
    let judged: Vec<_> =
        others.iter().flatten().flat_map(|object| object["spec"]["healthCheckExprs"].as_array().into_iter().flatten()).collect();
    let ours: BTreeSet<_> = judged.iter().map(|expression| (text(expression, "/apiVersion"), text(expression, "/kind"))).collect();
    let wanted = ["Campaign", "Plan", "SendingServer"].map(|kind| ("mailfleet.dev/v1alpha1", kind)).into();
    assert_eq!(ours, wanted, "each kind has its expressions");
}

#[test]
fn what_argo_cd_is_given_fits_together() {
    let applications = documents("examples/gitops/argocd/applications.yaml");
    let document = read("docs/start-argocd.md");
    let names: BTreeSet<_> = applications.iter().map(|object| text(object, "/metadata/name")).collect();
    assert_eq!(names, BTreeSet::from(["mail", "mailfleet"]));
    for object in &applications {
        assert_eq!((text(object, "/kind"), text(object, "/metadata/namespace")), ("Application", "argocd"), "{object}");
        let path = text(object, "/spec/source/path");
        match object.pointer("/spec/source/helm/valuesObject") {
            Some(values) => {
                assert!(is_chart(path), "{path} has no chart");
                check_values(values, &chart_values(), "");
            }
            None => assert_eq!(path, "mail", "the same repository as in the other examples"),
        }
        // The plans that count are those of the release's namespace.
        assert_eq!(text(object, "/spec/destination/namespace"), "mail-admin", "{object}");
    }
    assert!(document.contains("argocd app wait mail --health"));
    let config = &documents("examples/gitops/argocd/argocd-cm.yaml")[0];
    let config = (text(config, "/metadata/name"), text(config, "/metadata/namespace"));
    assert!(document.contains(&format!("kubectl patch configmap {} -n {}", config.0, config.1)), "{config:?}");
}

#[test]
fn files_that_the_document_applies_are_there() {
    let document = ["gitops", "start-flux", "start-argocd"].map(|name| read(&format!("docs/{name}.md"))).concat();
    let folders = ["flux", "argocd"].map(|name| format!("examples/gitops/{name}"));
    let named = document.lines().filter(|line| line.starts_with("$ kubectl")).flat_map(str::split_whitespace);
    let named: BTreeSet<_> = named.filter(|word| Path::new(word).extension().is_some_and(|extension| extension == "yaml")).collect();
    assert!(named.len() >= 3, "only {named:?} are applied");
    for name in named {
        assert!(folders.iter().any(|folder| root().join(folder).join(name).is_file()), "{name}, which a page applies, is not there");
    }
}
