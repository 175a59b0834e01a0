//! How kiln and kilnd are linked: with relative relocations packed (DT_RELR), which takes a megabyte from each that every start reads.

use std::process::Command;

/// glibc knows them since then.
const KNOWN_SINCE: (u32, u32) = (2, 36);

fn main() {
    // Of both crates it is this one file; a file that is not there would be news at every call.
    println!("cargo::rerun-if-changed={}/../daemon/build.rs", env!("CARGO_MANIFEST_DIR"));
    let variable = |name| std::env::var(name).unwrap_or_default();
    // Of another machine's C library nothing is known here.
    let native = variable("HOST") == variable("TARGET");
    let linux = variable("CARGO_CFG_TARGET_OS") == "linux" && variable("CARGO_CFG_TARGET_ENV") == "gnu";
    if native && linux && glibc().is_some_and(|version| version >= KNOWN_SINCE) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's C library.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    let mut numbers = said.trim().strip_prefix("glibc ")?.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}
