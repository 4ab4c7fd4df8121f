# Sourced, from the repository's folder: what scripts/setup builds or installs for the tests, in which version, and where it is kept.
# The name of a part's folder follows its version, or the files that pin what is in it, so that a change is built anew.
# shellcheck shell=sh disable=SC2034

MAILPIT=1.27.11
# Prometheus and promtool are the distribution's: whatever version its archive has.
CARGO_DENY=0.20.2
CARGO_CYCLONEDX=0.5.9
CARGO_FUZZ=0.13.2
LISTMONK=1.1.0
ACTIONLINT=1.7.12
MDBOOK=0.5.4
VALE=3.21.0
KUBERNETES=$(sed -n 's|.*k8s.io/kubernetes v\([0-9.]*\).*|\1|p' tests/control-plane/go.mod)
HELM=$(sed -n 's|.*helm.sh/helm/v3 v\([0-9.]*\).*|\1|p' tests/control-plane/go.mod)

cache="${MAILFLEET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mailfleet}"

digest() { cat "$@" | sha256sum | cut -c1-12; }

# part NAME: its folder.
part() {
    case $1 in
    mailpit) echo "$cache/mailpit-$MAILPIT" ;;
    listmonk) echo "$cache/listmonk-$LISTMONK" ;;
    actionlint) echo "$cache/actionlint-$ACTIONLINT" ;;
    cargo-deny) echo "$cache/cargo-deny-$CARGO_DENY" ;;
    mdbook) echo "$cache/mdbook-$MDBOOK" ;;
    vale) echo "$cache/vale-$VALE" ;;
    cargo-cyclonedx) echo "$cache/cargo-cyclonedx-$CARGO_CYCLONEDX" ;;
    cargo-fuzz) echo "$cache/cargo-fuzz-$CARGO_FUZZ" ;;
    kubernetes) echo "$cache/kubernetes-$KUBERNETES" ;;
    helm) echo "$cache/helm-$HELM" ;;
    gitops) echo "$cache/gitops-judge-$(digest tests/gitops/go.mod tests/gitops/go.sum tests/gitops/main.go)" ;;
    argocd) echo "$cache/argocd-differ-$(digest tests/argocd/go.mod tests/argocd/go.sum tests/argocd/main.go)" ;;
    mysql) echo "$cache/mysql-login-$(digest tests/mysql/go.mod tests/mysql/go.sum tests/mysql/main.go)" ;;
    prometheus) echo "$cache/prometheus-debian" ;;
    browser) echo "$cache/browser-npm-$(digest tests/browser/package.json)" ;;
    npm) echo "$cache/judges-npm-$(digest tests/judges/package.json)" ;;
    python) echo "$cache/judges-python-$(digest tests/judges/requirements.txt)" ;;
    *) echo "no part is called $1" >&2 && return 1 ;;
    esac
}
