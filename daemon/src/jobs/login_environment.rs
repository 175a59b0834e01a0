//! The environment of a process that is started as a user: the submission's, as a login would have it.
//!
//! | variables | what becomes of them |
//! |---|---|
//! | those that change which code the C library loads or runs (`LD_*`, `GCONV_PATH`, …), as it ignores them in setuid programs | left out |
//! | what a service manager tells its services (`NOTIFY_SOCKET`, `LISTEN_FDS`, …) | left out |
//! | `HOME`, `USER`, `LOGNAME`, `SHELL`, `PATH` | of the account, where the submission has none |
//! | `PACKER_CACHE_DIR` | the user's directory below the daemon's cache, where the submission has none |
//! | all others | kept |

use std::collections::BTreeMap;
use std::path::Path;

use crate::account::Account;

/// What programs are found on when the submission does not say.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Beginnings of names that are left out.
const LEFT_OUT_BEGINNINGS: &[&str] = &["LD_", "LISTEN_", "MALLOC_"];

/// Names that are left out: glibc's `unsecvars.h`, but for those of temporary files and time zones; systemd.exec(5).
const LEFT_OUT: &[&str] = &[
    "GCONV_PATH",
    "GETCONF_DIR",
    "GLIBC_TUNABLES",
    "HOSTALIASES",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LOCALDOMAIN",
    "LOCPATH",
    "MAINPID",
    "NIS_PATH",
    "NLSPATH",
    "NOTIFY_SOCKET",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Makes the environment.
pub(super) fn login_environment(
    submitted: BTreeMap<String, String>,
    account: &Account,
    cache: &Path,
) -> BTreeMap<String, String> {
    let mut environment = submitted;
    environment.retain(|name, _| {
        !LEFT_OUT.contains(&name.as_str()) && !LEFT_OUT_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
    });
    let path = |path: &Path| path.to_string_lossy().into_owned();
    for (name, value) in [
        ("HOME", path(&account.home)),
        ("USER", account.name.clone()),
        ("LOGNAME", account.name.clone()),
        ("SHELL", account.shell.clone()),
        ("PATH", USUAL_PATH.to_owned()),
        ("PACKER_CACHE_DIR", path(cache)),
    ] {
        environment.entry(name.to_owned()).or_insert(value);
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::as_owner::Owner;

    #[test]
    fn what_changes_programs_is_left_out_and_what_a_login_sets_is_there() {
        let submitted = [
            ("LD_PRELOAD", "/tmp/x.so"),
            ("LD_LIBRARY_PATH", "/tmp"),
            ("GLIBC_TUNABLES", "x"),
            ("LISTEN_FDS", "3"),
            ("NOTIFY_SOCKET", "/run/x"),
            ("PATH", "/mine"),
            ("TMPDIR", "/tmp/a"),
            ("AWS_PROFILE", "p"),
        ];
        let submitted = submitted.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let account = Account {
            name: "a".to_owned(),
            owner: Owner { uid: 1, gid: 2 },
            groups: Vec::new(),
            home: "/home/a".into(),
            shell: "/bin/sh".to_owned(),
        };
        let environment = login_environment(submitted, &account, Path::new("/var/cache/kiln/1"));
        let made: Vec<_> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            made,
            [
                "AWS_PROFILE=p",
                "HOME=/home/a",
                "LOGNAME=a",
                "PACKER_CACHE_DIR=/var/cache/kiln/1",
                "PATH=/mine",
                "SHELL=/bin/sh",
                "TMPDIR=/tmp/a",
                "USER=a"
            ]
        );
    }
}
