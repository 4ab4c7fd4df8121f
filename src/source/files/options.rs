//! What files mode reads, and how.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use crate::{resources::secret::SecretValue, source::secrets};

/// What is read besides the paths.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Secrets as `<namespace>/<name>/<key>` files.
    pub secrets_dir: Option<PathBuf>,
    /// The only namespace whose plans count, where that is known.
    pub plan_namespace: Option<String>,
    /// The state folder: never read as a source; it holds the previous statuses of objects.
    pub state_dir: Option<PathBuf>,
    /// Gitignore patterns of what is left out.
    pub exclude: Vec<String>,
    /// Whether `-` is standard input, and pipes are read like files.
    pub pipes: bool,
    /// A file is used only when it is complete: not written for [`super::SETTLED_AFTER`].
    pub settles: bool,
    /// The variables that may hold Secrets; [`Options::of_process`] takes those of this process.
    pub environment: Arc<BTreeMap<String, SecretValue>>,
}

impl Options {
    /// Options with the variables of this process.
    #[must_use]
    pub fn of_process(secrets_dir: Option<PathBuf>, state_dir: Option<PathBuf>) -> Self {
        Self { secrets_dir, state_dir, environment: Arc::new(secrets::variables_of_process()), ..Self::default() }
    }
}
