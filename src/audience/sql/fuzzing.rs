//! What a database may answer, for [`crate::fuzzing`].

pub use super::mysql::fuzzing::mysql_rows;
