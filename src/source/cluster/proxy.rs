//! By which proxy the API server is reached, as kubectl decides it. Pure.
//!
//! kube's client takes any proxy of the environment, and compares `NO_PROXY` with the proxy's name instead of the API server's.
//! A pod asks its API server directly: a proxy is for what lies outside of the cluster.

use std::net::IpAddr;

use http::Uri;

use crate::meta::net::{is_at_or_below, is_below, is_within};

/// The proxy for this API server: that of the kubeconfig, else that of the environment unless `NO_PROXY` or a loopback
/// address speaks against it.
pub(super) fn choose(of_kubeconfig: Option<&str>, server: &Uri, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let variable = |name: &str| {
        let value = variable(name).or_else(|| variable(&name.to_ascii_lowercase()));
        value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let with_scheme = |proxy: &str| if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    if let Some(proxy) = of_kubeconfig.map(str::trim).filter(|proxy| !proxy.is_empty()) {
        return Some(with_scheme(proxy));
    }
    let host = host_of(server)?;
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let is_plain = server.scheme_str() == Some("http");
    let port = server.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
    if is_local || variable("NO_PROXY").is_some_and(|list| list.split(',').any(|entry| excepts(entry.trim(), &host, port))) {
        return None;
    }
    variable(if is_plain { "HTTP_PROXY" } else { "HTTPS_PROXY" }).map(|proxy| with_scheme(&proxy))
}

fn host_of(server: &Uri) -> Option<String> {
    Some(server.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase())
}

/// Whether an entry of `NO_PROXY` names the host: `*`, an address, a CIDR, a domain (with what is below it), `.domain` or
/// `*.domain` (only what is below it); each but a CIDR may have a port.
fn excepts(entry: &str, host: &str, port: u16) -> bool {
    if entry.is_empty() {
        return false;
    }
    if entry == "*" {
        return true;
    }
    let address = host.parse::<IpAddr>().ok();
    if let Some((network, bits)) = entry.split_once('/') {
        return match (network.parse::<IpAddr>(), bits.parse::<u32>(), address) {
            (Ok(network), Ok(bits), Some(address)) => is_within(address, network, bits),
            _ => false,
        };
    }
    let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    if let Some(named) = bare(entry) {
        return address == Some(named);
    }
    let (name, wanted) = match entry.rsplit_once(':') {
        Some((name, number)) => (name, number.parse::<u16>().ok()),
        None => (entry, None),
    };
    if entry.contains(':') && wanted != Some(port) {
        return false;
    }
    if let Some(named) = bare(name) {
        return address == Some(named);
    }
    let name = name.to_ascii_lowercase();
    match name.trim_start_matches('*').strip_prefix('.') {
        Some(domain) => is_below(host, domain),
        None => is_at_or_below(host, &name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(of_kubeconfig: Option<&str>, server: &str, variables: &[(&str, &str)]) -> Option<String> {
        let server: Uri = server.parse().expect("a URL");
        choose(of_kubeconfig, &server, |name| variables.iter().find(|(named, _)| *named == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_environment_names_the_proxy() {
        let proxy = ("HTTPS_PROXY", "http://proxy.example:3128");
        for (server, variables, wanted) in [
            ("https://k8s.example:6443", vec![], None),
            ("https://k8s.example:6443", vec![proxy], Some("http://proxy.example:3128")),
            ("https://k8s.example:6443", vec![("https_proxy", "proxy.example:3128")], Some("http://proxy.example:3128")),
            ("https://k8s.example:6443", vec![("HTTPS_PROXY", " ")], None),
            ("https://k8s.example:6443", vec![("HTTP_PROXY", "http://proxy.example:3128")], None),
            ("http://k8s.example", vec![("HTTP_PROXY", "http://proxy.example:3128")], Some("http://proxy.example:3128")),
            ("https://127.0.0.1:6443", vec![proxy], None),
            ("https://[::1]:6443", vec![proxy], None),
            ("https://localhost:6443", vec![proxy], None),
            // The proxy's own name in NO_PROXY says nothing of the API server.
            ("https://k8s.example:6443", vec![proxy, ("NO_PROXY", "proxy.example")], Some("http://proxy.example:3128")),
            ("https://k8s.example:6443", vec![proxy, ("NO_PROXY", "other.example, k8s.example,")], None),
            ("https://k8s.example:6443", vec![proxy, ("no_proxy", "*")], None),
        ] {
            assert_eq!(chosen(None, server, &variables).as_deref(), wanted, "{server} {variables:?}");
        }
    }

    #[test]
    fn the_kubeconfig_comes_first() {
        let variables = [("HTTPS_PROXY", "http://other.example:1"), ("NO_PROXY", "*")];
        assert_eq!(
            chosen(Some("socks5://proxy.example:1080"), "https://127.0.0.1:1", &variables).as_deref(),
            Some("socks5://proxy.example:1080")
        );
        assert_eq!(chosen(Some(""), "https://k8s.example", &variables), None);
    }

    #[test]
    fn exceptions_are_read_as_by_kubectl() {
        for (entry, host, port, wanted) in [
            ("k8s.example", "k8s.example", 443, true),
            ("K8S.example", "k8s.example", 443, true),
            ("example", "k8s.example", 443, true),
            ("k8s.example", "ak8s.example", 443, false),
            (".example", "k8s.example", 443, true),
            (".k8s.example", "k8s.example", 443, false),
            ("*.example", "k8s.example", 443, true),
            ("k8s.example:6443", "k8s.example", 6443, true),
            ("k8s.example:6443", "k8s.example", 443, false),
            ("10.0.0.0/8", "10.96.0.1", 443, true),
            ("10.0.0.0/8", "11.96.0.1", 443, false),
            ("0.0.0.0/0", "11.96.0.1", 443, true),
            ("10.96.0.1/32", "10.96.0.1", 443, true),
            ("10.96.0.1", "10.96.0.1", 443, true),
            ("10.96.0.1:443", "10.96.0.1", 443, true),
            ("10.96.0.1:444", "10.96.0.1", 443, false),
            ("fd00::/8", "fd00::1", 443, true),
            ("[fd00::1]:443", "fd00::1", 443, true),
            ("fd00::1", "fd00::1", 443, true),
            ("10.0.0.0/8", "k8s.example", 443, false),
            ("10.0.0.0/99", "10.0.0.1", 443, false),
            ("", "k8s.example", 443, false),
            (".", "k8s.example", 443, false),
        ] {
            assert_eq!(excepts(entry, host, port), wanted, "{entry} {host} {port}");
        }
    }
}
