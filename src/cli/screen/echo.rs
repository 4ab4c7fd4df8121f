//! The terminal's echo of what is typed, off while a picture is drawn: a key would move the cursor away from it, and each Enter would
//! leave a copy behind.
//!
//! Only the terminal of a process in the foreground is changed: a process in the background that does so is stopped by the system.

use std::{
    io,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    process::getpgrp,
    termios::{LocalModes, OptionalActions, tcgetattr, tcgetpgrp, tcsetattr},
};

/// Whether the echo is off because of us.
static IS_OFF: AtomicBool = AtomicBool::new(false);
/// The echo comes back before a panic is told, wherever it happens.
static AT_PANIC: Once = Once::new();

/// Switches the echo off, where it is on and the terminal is ours.
pub fn switch_off() {
    AT_PANIC.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            switch_on();
            told(panic);
        }));
    });
    set(false);
}

/// Switches the echo on again, if it is off because of us.
pub fn switch_on() {
    if IS_OFF.load(Ordering::SeqCst) {
        set(true);
    }
}

/// Nothing here fails: a terminal whose echo cannot be changed shows what is typed.
fn set(is_on: bool) {
    let stderr = io::stderr();
    let is_ours = tcgetpgrp(&stderr).is_ok_and(|foreground| foreground == getpgrp());
    let Ok(mut modes) = tcgetattr(&stderr) else { return };
    if is_ours && modes.local_modes.contains(LocalModes::ECHO) != is_on {
        modes.local_modes.set(LocalModes::ECHO, is_on);
        if tcsetattr(&stderr, OptionalActions::Now, &modes).is_err() {
            return;
        }
        IS_OFF.store(!is_on, Ordering::SeqCst);
    }
}
