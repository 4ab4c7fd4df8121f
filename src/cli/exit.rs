//! The exit codes that commands share. Pure.

/// The exit code for a configuration that cannot be used.
pub const EXIT_CONFIGURATION: u8 = 2;

/// The exit code of a process that was superseded by another.
pub const EXIT_SUPERSEDED: u8 = 3;
