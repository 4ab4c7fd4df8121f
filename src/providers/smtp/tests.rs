//! The client against a scripted server: each reason of the probe, each outcome by mode and point of failure.

mod delay;
mod deliver;
mod limits;
mod probe;
mod replies;
mod script;
mod spec;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio_rustls::TlsAcceptor;

use self::script::Script;
use super::Smtp;
use crate::{
    meta::{KeyRef, secret::SecretValue},
    providers::{Context, Provider, Server},
};

const CHUNKING: &[&str] = &["PIPELINING", "CHUNKING", "SIZE 100000", "8BITMIME", "SMTPUTF8"];
const PIPELINING: &[&str] = &["PIPELINING", "SIZE 100000", "8BITMIME"];
const PLAIN: &[&str] = &["SIZE"];

fn script(extensions: &[&'static str], rules: &[script::Rule]) -> Script {
    Script { extensions: extensions.to_vec(), rules: rules.to_vec(), ..Script::default() }
}

fn spec(yaml: &str) -> Smtp {
    serde_saphyr::from_str(yaml).unwrap()
}

/// A certificate for these names: the acceptor, and the certificate as PEM.
fn certificate(names: &[&str]) -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}

fn context(secrets: &[(&str, &str, &str)]) -> Context {
    let key = |name: &str, key: &str| KeyRef { name: name.to_owned(), key: key.to_owned() };
    let secrets: BTreeMap<_, _> = secrets.iter().map(|(name, k, value)| (key(name, k), SecretValue::new(*value))).collect();
    Context { secrets, connections: 2, connect_timeout: Duration::from_millis(700), ..Context::new("ns/test") }
}

fn server(yaml: &str, context: Context) -> Arc<dyn Server> {
    spec(yaml).build(context).unwrap()
}
