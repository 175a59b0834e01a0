//! Which keys of a configuration that is read anew are not in force before the next start.

use crate::config::Config;
use crate::units::UnitLimits;

/// Names the keys of `kiln.toml` in which `new` differs from what runs, and which a reload leaves as they are.
pub(crate) fn waiting_for_restart(running: &Config, new: &Config) -> Vec<&'static str> {
    let limits = |config: &Config| config.units.as_ref().map(|units| units.limits);
    // Where nobody but kilnd starts workers there are none.
    let differ = |of: fn(&UnitLimits) -> Option<u64>| {
        limits(running).zip(limits(new)).is_some_and(|(running, new)| of(&running) != of(&new))
    };
    let keys = [
        ("connections", running.limits.connections != new.limits.connections),
        ("exit_on_idle", running.exit_on_idle != new.exit_on_idle),
        ("dbus", running.bus.is_some() != new.bus.is_some()),
        ("log", running.log != new.log),
        ("nologin_users", running.nologin_users != new.nologin_users),
        ("workers.started_by", running.units.is_some() != new.units.is_some()),
        ("workers.memory_mib", differ(|limits| limits.memory_max)),
        ("workers.tasks", differ(|limits| Some(limits.tasks_max))),
        ("workers.cpu_weight", differ(|limits| Some(limits.cpu_weight))),
    ];
    keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config_file::ConfigFile;

    fn config(text: &str) -> Config {
        let file = ConfigFile::parse(text).unwrap();
        Config::for_system(|_| None, &file, Path::new("/"), PathBuf::new()).unwrap()
    }

    #[test]
    fn every_key_that_a_reload_leaves_as_it_is_is_named() {
        let by_systemd = "[workers]\nstarted_by = \"systemd\"\n";
        let running = config(by_systemd);
        let mut named = Vec::new();
        for (key, value) in [
            ("connections", "99"),
            ("exit_on_idle", "\"1h\""),
            ("dbus", "false"),
            ("log", "\"debug\""),
            ("nologin_users", "[\"ci\"]"),
            ("workers.memory_mib", "512"),
            ("workers.tasks", "99"),
            ("workers.cpu_weight", "99"),
        ] {
            let text = match key.strip_prefix("workers.") {
                Some(key) => format!("{by_systemd}{key} = {value}"),
                None => format!("{key} = {value}\n{by_systemd}"),
            };
            assert_eq!(waiting_for_restart(&running, &config(&text)), [key], "{text}");
            named.push(key);
        }
        assert_eq!(waiting_for_restart(&running, &config("[workers]\nstarted_by = \"kilnd\"")), ["workers.started_by"]);
        named.push("workers.started_by");
        // All others change at once.
        let at_once = format!("max_jobs = 9\nfinished_jobs = 9\n{by_systemd}[quotas]\nrunning = 3\nconnections = 3");
        assert_eq!(waiting_for_restart(&running, &config(&at_once)), [""; 0]);
        let documentation = include_str!("../../docs/configuration.md");
        let (keys, _) = documentation.split_once("\n## ").unwrap();
        for key in keys.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0)) {
            let at_once = ["max_jobs", "finished_jobs"].contains(&key) || key.starts_with("quotas.");
            assert!(at_once || named.contains(&key), "{key}");
        }
    }
}
