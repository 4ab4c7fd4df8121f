//! Where objects come from and where status goes.
//!
//! Two sources give the same [`Snapshot`]: `files`, folders of YAML and JSON, and `cluster`, an API server. A broken object
//! stops nothing else and keeps its last good version. [`StatusSink`] is the one way back; only this room writes status.
//!
//! Files, in the order of the data:
//!
//! 1. `scan` walks the folders, without what `ignored` leaves out, and `io` reads one version of each file.
//! 2. `yaml` makes trees of the texts, in which every value knows its place; `listed` takes lists apart.
//! 3. `document` finds out what each document is; `size` and `verdict` judge it as an API server would, `explain` puts the
//!    schema's complaints into sentences, and `read` makes the typed object.
//! 4. `cross` collects what documents refer to, and `beside` resolves the files among it.
//! 5. `assemble` puts all files together, keeps last good versions and checks the references.
//! 6. `watch` starts again whenever something changed.
//! 7. `status` replaces status files atomically, on the thread of `status_writer`; `requests` holds what commands ask of campaigns.
//!
//! A cluster, in the order of the data:
//!
//! 1. `connect` makes the client, by way of `proxy` where one is set; `served` compares the served CRDs with ours.
//! 2. `lease` makes one process lead, and `others` looks for other installations.
//! 3. `watches` follows the streams, and `objects` reads each object into a `change`.
//! 4. `collector` makes snapshots of the changes; `references` fetches the Secrets and ConfigMaps that objects name, and no others.
//! 5. `policy` says when a status, an event or a finalizer of an object is written; `statuses` queues it, `writes` and `events`
//!    send it. `repeated` logs a recurring fault once.
//! 6. `read` reads objects once, for commands that look.

pub(crate) mod cluster;
pub(crate) mod files;
mod finding;
pub(crate) mod secrets;
pub(crate) mod sink;
mod snapshot;

pub use files::{
    Files, IGNORE_FILE, Options, PathProblem, Purpose, SETTLED_AFTER, StatusFolder, requests, resolve_path, resolve_within, status,
};
pub(crate) use files::{at_quote, field_finding, is_secret, line_finding, read_bounded, settles_in, written_at};
pub use finding::{Finding, Severity};
pub use secrets::{ConfigMapData, ConfigMapStore, SecretData, SecretMissing, SecretStore, secret_variable};
pub use sink::{StatusSink, StatusWrite};
pub use snapshot::{Broken, ByName, ClusterPlace, Counts, FilePlace, Origin, Snapshot, Sourced, implied_labels};
