//! Giving memory back, so that an idle daemon is a small one.

#![expect(unsafe_code, reason = "the C library is asked for two things that Rust has no word for")]

/// Returns memory that was freed to the system.
///
/// glibc keeps it, per thread, for a next time that may never come: after some busy jobs that is more than everything else.
#[cfg(target_env = "gnu")]
pub(crate) fn give_back() {
    unsafe extern "C" {
        /// malloc_trim(3), glibc 2.8 and later: any number of threads may call it at any time.
        safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    // Whether anything was given back does not matter.
    let _ = malloc_trim(0);
}

/// Does nothing: other C libraries give it back by themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back() {}

/// Lets go of the pages of this program that were needed once: to start, to recover, to read a template.
///
/// The kernel maps 16 pages around each that is touched and keeps them, which is most of what an idle daemon holds. What is needed again
/// is mapped again, from the page cache, by the fault that asks for it.
pub(crate) fn let_go_of_program() {
    let (Ok(program), Ok(mappings)) =
        (std::fs::read_link("/proc/self/exe"), std::fs::read_to_string("/proc/self/smaps"))
    else {
        return;
    };
    for range in unwritten(&mappings, &program.to_string_lossy()) {
        unsafe extern "C" {
            fn madvise(address: *mut std::ffi::c_void, length: usize, advice: std::ffi::c_int) -> std::ffi::c_int;
        }
        /// `<linux/mman.h>`, the same on every architecture that Rust has.
        const MADV_DONTNEED: std::ffi::c_int = 4;
        // SAFETY: a mapping of this program's own file, which nothing may write to (the kernel refuses to open a program that runs for
        // writing), mapped without the right to write, and no page of it was ever changed: the next touch brings back the same bytes.
        let _ = unsafe { madvise(std::ptr::with_exposed_provenance_mut(range.start), range.len(), MADV_DONTNEED) };
    }
}

/// The mappings of the file `program` that cannot be written to and never were, from the text of `/proc/self/smaps` (proc(5)).
fn unwritten(mappings: &str, program: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut of_program = None;
    for line in mappings.lines() {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let Some((start, end)) = first.split_once('-') {
            let address = |text| usize::from_str_radix(text, 16);
            // After the address: rights, offset, device, inode, then the path behind spaces.
            let rights = rest.split(' ').next().unwrap_or_default();
            let path = rest.splitn(5, ' ').nth(4).unwrap_or_default().trim_start();
            of_program = match (address(start), address(end)) {
                (Ok(start), Ok(end)) if path == program && rights.starts_with('r') && rights.get(1..2) == Some("-") => {
                    Some(start..end)
                }
                _ => None,
            };
        } else if first == "Anonymous:" && rest.trim() == "0 kB" {
            found.extend(of_program.take());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{let_go_of_program, unwritten};

    #[test]
    fn what_was_written_or_can_be_stays() {
        let smaps = "\
1000-3000 r--p 00000000 fe:00 42                 /usr/bin/kilnd
Rss:                   8 kB
Anonymous:             0 kB
3000-9000 r-xp 00002000 fe:00 42                 /usr/bin/kilnd
Anonymous:             0 kB
9000-a000 r--p 00008000 fe:00 42                 /usr/bin/kilnd
Anonymous:             4 kB
a000-b000 rw-p 00009000 fe:00 42                 /usr/bin/kilnd
Anonymous:             0 kB
b000-c000 r-xp 00000000 fe:00 43                 /usr/lib/libc.so.6
Anonymous:             0 kB
c000-d000 r--p 00000000 00:00 0 
Anonymous:             0 kB
VmFlags: rd mr
";
        assert_eq!(unwritten(smaps, "/usr/bin/kilnd"), [0x1000..0x3000, 0x3000..0x9000]);
        assert!(unwritten(smaps, "/usr/bin/kil").is_empty());
    }

    #[test]
    fn the_program_goes_on_with_less() {
        let resident = || {
            let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let program = std::fs::read_link("/proc/self/exe").unwrap();
            let ranges = unwritten(&smaps, &program.to_string_lossy());
            assert!(!ranges.is_empty(), "the test's own program is not found in {smaps}");
            let begins: Vec<_> = ranges.iter().map(|range| format!("{:x}-{:x} ", range.start, range.end)).collect();
            let mut of_program = false;
            let mut kib = 0;
            for line in smaps.lines() {
                if let Some(size) = line.strip_prefix("Rss:").filter(|_| of_program) {
                    kib += size.trim().trim_end_matches(" kB").parse::<usize>().unwrap();
                } else if line.split(' ').next().is_some_and(|first| first.contains('-')) {
                    of_program = begins.iter().any(|begin| line.starts_with(begin.as_str()));
                }
            }
            kib
        };
        let mut measured = Vec::new();
        // Other tests, in threads of this program, touch their pages again meanwhile.
        let smaller = (0..100).any(|_| {
            let before = resident();
            let_go_of_program();
            let after = resident();
            measured.push((before, after));
            after < before
        });
        assert!(smaller, "KiB before and after: {measured:?}");
    }
}
