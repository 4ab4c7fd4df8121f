//! What all requests to the API server have in common.

use std::time::Duration;

/// The name under which Mailfleet writes (`managedFields`).
pub(super) const FIELD_MANAGER: &str = "mailfleet";
/// For one request that is no watch.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
