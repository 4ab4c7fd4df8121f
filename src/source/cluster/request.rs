//! What all requests to the API server have in common.

use std::time::Duration;

use kube::{Api, Client, api::ApiResource, core::DynamicObject};

use crate::resources::{API_VERSION, GROUP, VERSION};

/// The name under which Mailfleet writes (`managedFields`).
pub(super) const FIELD_MANAGER: &str = "mailfleet";
/// For one request that is no watch.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Objects in one page of a list.
pub(super) const PAGE: u32 = 500;

/// The objects of a kind of ours, by its name and its plural, in one namespace or in all.
pub(super) fn ours(client: &Client, (kind, plural): (&str, &str), namespace: Option<&str>) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: API_VERSION.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    match namespace {
        None => Api::all_with(client.clone(), &resource),
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}
