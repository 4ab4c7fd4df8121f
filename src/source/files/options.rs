//! What is read in files mode, and how.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use crate::{resources::secret::SecretValue, source::secrets};

/// What is read beside the paths.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Secrets as `<namespace>/<name>/<key>` files.
    pub secrets_dir: Option<PathBuf>,
    /// The only namespace whose plans count, where that is known.
    pub plan_namespace: Option<String>,
    /// The state folder: never read as a source, and asked for the previous status of objects seen first.
    pub state_dir: Option<PathBuf>,
    /// Patterns of gitignore: what is left out of the folders.
    pub exclude: Vec<String>,
    /// `-` is standard input, and pipes are read as files are.
    pub pipes: bool,
    /// A file is used only when it is whole: not written for [`SETTLED_AFTER`].
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
