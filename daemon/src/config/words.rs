//! A configuration in the words of `kiln.toml`, each value with where it comes from.

use std::ffi::OsString;
use std::path::Path;

use super::{Config, Mode, UnitsConfig, environment};
use crate::config_file::{ConfigFile, StartedBy};

impl Config {
    /// Says in the words of `kiln.toml` what this is, and for each value where it comes from. What cannot be set there is a comment.
    #[must_use]
    pub fn in_words(
        &self,
        variable: impl Fn(&str) -> Option<OsString>,
        file: &ConfigFile,
        path: Option<&Path>,
    ) -> String {
        let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        let path = path.map_or_else(|| "kiln.toml".to_owned(), |path| path.display().to_string());
        let origin = |by_variable: Option<&'static str>, in_file: bool, usual: &str| match by_variable
            .filter(|name| set(name))
        {
            Some(name) => format!("${name}"),
            None if in_file => path.clone(),
            None => usual.to_owned(),
        };
        let (socket, state) = (self.socket.display(), self.state_directory.display());
        let mut text = format!("# socket: {socket}\n# state: {state}\n# configuration: {path}\n");
        let mut line = |key: &str, value: Option<String>, origin: String| {
            let line = value.map_or_else(|| format!("# {key} is not set"), |value| format!("{key} = {value}"));
            text.push_str(&format!("{line} # {origin}\n"));
        };
        // A string of JSON is one of TOML.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let jobs = origin(Some(environment::KILN_MAX_JOBS), file.max_jobs.is_some(), "this machine's processors");
        line("max_jobs", Some(self.max_running_jobs.to_string()), jobs);
        line(
            "finished_jobs",
            Some(self.limits.finished_jobs.to_string()),
            origin(None, file.finished_jobs.is_some(), "default"),
        );
        line(
            "connections",
            Some(self.limits.connections.to_string()),
            origin(None, file.connections.is_some(), "default"),
        );
        let idle = self.exit_on_idle.map(|time| quoted(&format!("{}s", time.as_secs_f64())));
        line("exit_on_idle", idle, origin(None, file.exit_on_idle.is_some(), "default: runs on"));
        line("dbus", Some(self.bus.is_some().to_string()), origin(None, file.dbus.is_some(), "default"));
        let log = self.log.as_deref().map(quoted);
        line("log", log, origin(Some(environment::KILN_LOG), file.log.is_some(), "default: info"));
        if self.mode == Mode::System {
            let names = self.nologin_users.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
            let origin = if file.nologin_users.is_some() { path.as_str() } else { "default" };
            text.push_str(&format!("nologin_users = [{names}] # {origin}\n"));
            text.push_str("[quotas]\n");
            let (quotas, said) = (&self.quotas, &file.quotas);
            for (key, value, in_file) in [
                ("running", quotas.running, said.running.is_some()),
                ("queued", quotas.queued, said.queued.is_some()),
                ("looks", quotas.looks, said.looks.is_some()),
                ("connections", quotas.connections, said.connections.is_some()),
                ("followers", quotas.followers, said.followers.is_some()),
                ("submissions", quotas.submissions, said.submissions.is_some()),
            ] {
                let origin = if in_file { path.as_str() } else { "default" };
                text.push_str(&format!("{key} = {value} # {origin}\n"));
            }
            self.workers_in_words(file, path.as_str(), &mut text);
        }
        text
    }

    /// The table `[workers]`.
    fn workers_in_words(&self, file: &ConfigFile, path: &str, text: &mut String) {
        let said = &file.workers;
        let mut line = |key: &str, value: String, in_file: bool, usual: &str| {
            text.push_str(&format!("{key} = {value} # {}\n", if in_file { path } else { usual }));
        };
        let by = if self.units.is_some() { StartedBy::Systemd } else { StartedBy::Kilnd };
        line(
            "[workers]\nstarted_by",
            format!("\"{by}\""),
            said.started_by.is_some(),
            "whether systemd runs this machine",
        );
        let Some(UnitsConfig { limits, .. }) = &self.units else { return };
        if let Some(bytes) = limits.memory_max {
            line("memory_mib", (bytes >> 20).to_string(), true, "");
        }
        line("tasks", limits.tasks_max.to_string(), said.tasks.is_some(), "default");
        line("cpu_weight", limits.cpu_weight.to_string(), said.cpu_weight.is_some(), "default");
    }
}
