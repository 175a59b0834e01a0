//! What is known only while a build runs (`build.ID`, `{{ .HTTPIP }}`, …), on its way into options.

use kiln_template::{Component, Diagnostics, Generated, go_template};

use crate::build_data::{BuildData, Connection, SshConnection, WinRmConnection};
use crate::error::StepError;

/// What every `build.*` value reads before the build runs.
pub(crate) const UNKNOWN: &str = Generated::UNKNOWN;

/// The values of a plan, which says by name what it does not know: `build.ID` reads `<unknown>build.ID`.
pub(crate) fn names() -> Generated {
    let named = |name: &&str| ((*name).to_owned(), format!("{UNKNOWN}build.{name}"));
    let build = Generated::NAMES.iter().chain(&BUILD_NAMES).map(named).collect();
    Generated { build, ..Generated::plan() }
}

/// The values of every build beside [`Generated::NAMES`].
pub(crate) const BUILD_NAMES: [&str; 2] = ["PackerBuildName", "PackerBuilderType"];

/// What Packer says for values of an HTTP server that a builder does not have.
const NO_HTTP: [(&str, &str); 3] = [
    ("PackerHTTPIP", "ERR_HTTP_IP_NOT_IMPLEMENTED_BY_BUILDER"),
    ("PackerHTTPPort", "ERR_HTTP_PORT_NOT_IMPLEMENTED_BY_BUILDER"),
    ("PackerHTTPAddr", "ERR_HTTP_ADDR_NOT_IMPLEMENTED_BY_BUILDER"),
];

/// The values of a running build as templates see them, for decoding a component; what the builder does not know stays
/// unknown.
pub(crate) fn values(data: &BuildData) -> Generated {
    let mut generated = Generated::plan();
    let mut set = |name: &str, value: &str| {
        generated.build.insert(name.to_owned(), value.to_owned());
    };
    set("PackerRunUUID", &data.run_uuid);
    set("PackerBuildName", &data.source_name);
    set("PackerBuilderType", &data.source_type);
    if let Some(id) = &data.machine_id {
        set("ID", id);
    }
    match &data.http {
        None => NO_HTTP.iter().for_each(|(name, text)| set(name, text)),
        Some(http) => {
            set("PackerHTTPIP", &http.host);
            set("PackerHTTPPort", &http.port.to_string());
            set("PackerHTTPAddr", &format!("{}:{}", http.host, http.port));
        }
    }
    match &data.connection {
        None => {}
        Some(Connection::None) => set("ConnType", "none"),
        Some(Connection::GuestAgent) => set("ConnType", "guest-agent"),
        Some(Connection::Ssh(ssh)) => ssh_values(ssh, &mut set),
        Some(Connection::WinRm(winrm)) => winrm_values(winrm, &mut set),
    }
    generated
}

fn ssh_values(ssh: &SshConnection, set: &mut impl FnMut(&str, &str)) {
    set("ConnType", "ssh");
    set("Host", &ssh.host);
    set("Port", &ssh.port.to_string());
    set("User", &ssh.user);
    let login = &ssh.login;
    set("Password", login.password.as_ref().map_or("", |password| password.expose()));
    set("SSHAgentAuth", &login.agent.to_string());
    set("SSHPrivateKeyFile", login.private_key_file.as_deref().unwrap_or(""));
    if let Some(key) = &login.public_key {
        set("SSHPublicKey", key);
    }
    if let Some(key) = &login.private_key {
        set("SSHPrivateKey", key.expose());
    }
}

fn winrm_values(winrm: &WinRmConnection, set: &mut impl FnMut(&str, &str)) {
    set("ConnType", "winrm");
    set("Host", &winrm.host);
    set("Port", &winrm.port.to_string());
    set("User", &winrm.user);
    let password = winrm.password.as_ref().map_or("", |password| password.expose());
    set("WinRMPassword", password);
    set("Password", password);
}

/// Renders the options of one component that are marked `late`.
pub(crate) struct Renderer {
    context: go_template::Context,
}

impl Renderer {
    /// Renders for `component` with the build's values.
    pub(crate) fn new(component: &Component, generated: &Generated) -> Self {
        let mut context = component.template_context(generated);
        for (name, value) in &generated.build {
            context.fields.entry(name.clone()).or_insert_with(|| value.as_str().into());
        }
        Self { context }
    }

    /// Renders `text` with further fields.
    pub(crate) fn render(&self, text: &str, fields: &[(&str, &str)]) -> Result<String, StepError> {
        self.render_values(text, fields.iter().map(|&(name, value)| (name, value.into())).collect())
    }

    /// The same with fields that are more than texts.
    pub(crate) fn render_values(
        &self,
        text: &str,
        fields: Vec<(&str, go_template::Value)>,
    ) -> Result<String, StepError> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let mut context = self.context.clone();
        // Without data of the component, what the builder knows is a map, of which Go makes `<no value>` of what is missing.
        context.open = fields.is_empty();
        for (name, value) in fields {
            context.fields.insert(name.to_owned(), value);
        }
        go_template::render(text, &context)
            .map_err(|error| StepError::new(format!("cannot render the template {text:?}")).with_source(error))
    }
}

/// All problems as one message, for errors at run time.
pub(crate) fn flatten(diagnostics: &Diagnostics) -> String {
    let texts: Vec<String> = diagnostics
        .iter()
        .map(|diagnostic| match diagnostic.detail.as_str() {
            "" => diagnostic.summary.clone(),
            detail => format!("{}: {detail}", diagnostic.summary),
        })
        .collect();
    texts.join("; ")
}

#[cfg(test)]
mod tests {
    use kiln_communicators::Secret;

    use super::*;
    use crate::build_data::{HttpAddress, SshLogin};

    fn build(data: &BuildData) -> Vec<(String, String)> {
        let unknown = Generated::plan().build;
        values(data).build.into_iter().filter(|(name, value)| unknown.get(name) != Some(value)).collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut list: Vec<_> = list.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        list.sort();
        list
    }

    #[test]
    fn what_is_served_is_a_map_by_its_paths() {
        let renderer = Renderer { context: go_template::Context::default() };
        let served = [("/b", "two"), ("/a", "one")].map(|(path, text)| (path.to_owned(), text.into()));
        let fields = || vec![("HTTPContent", go_template::Value::Map(served.clone().into()))];
        let render = |text: &str| renderer.render_values(text, fields()).unwrap();
        assert_eq!(render("{{ index .HTTPContent \"/a\" }}"), "one");
        // As Go prints one.
        assert_eq!(render("x{{ .HTTPContent }}"), "xmap[/a:one /b:two]");
    }

    #[test]
    fn templates_see_packers_names_and_texts() {
        let base = BuildData {
            run_uuid: "run".to_owned(),
            source_name: "web".to_owned(),
            source_type: "qemu".to_owned(),
            ..BuildData::default()
        };
        let always = [("PackerRunUUID", "run"), ("PackerBuildName", "web"), ("PackerBuilderType", "qemu")];
        assert_eq!(build(&base), pairs(&[&always[..], &NO_HTTP].concat()));

        let none = BuildData { connection: Some(Connection::None), ..base.clone() };
        assert_eq!(build(&none), pairs(&[&always[..], &NO_HTTP, &[("ConnType", "none")]].concat()));

        let ssh =
            SshConnection { host: "10.1.1.1".to_owned(), port: 22, user: "me".to_owned(), login: SshLogin::default() };
        let reached = [("ConnType", "ssh"), ("Host", "10.1.1.1"), ("Port", "22"), ("User", "me")];
        let null = BuildData {
            machine_id: Some("Null".to_owned()),
            connection: Some(Connection::Ssh(ssh.clone())),
            ..base.clone()
        };
        let no_login = [("Password", ""), ("SSHAgentAuth", "false"), ("SSHPrivateKeyFile", "")];
        assert_eq!(build(&null), pairs(&[&always[..], &NO_HTTP, &reached, &no_login, &[("ID", "Null")]].concat()));

        let mut winrm = WinRmConnection {
            host: "10.1.1.1".to_owned(),
            port: 22,
            user: "me".to_owned(),
            ..WinRmConnection::default()
        };
        winrm.password = Some(Secret::from("secret"));
        let by_winrm = [
            ("ConnType", "winrm"),
            ("Host", "10.1.1.1"),
            ("Port", "22"),
            ("User", "me"),
            ("WinRMPassword", "secret"),
            ("Password", "secret"),
        ];
        let data = BuildData { connection: Some(Connection::WinRm(winrm)), ..base.clone() };
        assert_eq!(build(&data), pairs(&[&always[..], &NO_HTTP, &by_winrm].concat()));

        let login = SshLogin {
            password: Some(Secret::from("secret")),
            public_key: Some("pub".to_owned()),
            private_key: Some(Secret::from("key")),
            ..SshLogin::default()
        };
        let qemu = BuildData {
            machine_id: Some("17".to_owned()),
            http: Some(HttpAddress { host: "10.0.2.2".to_owned(), port: 8123 }),
            connection: Some(Connection::Ssh(SshConnection { login, ..ssh })),
            ..base
        };
        let rest = [
            ("ID", "17"),
            ("PackerHTTPIP", "10.0.2.2"),
            ("PackerHTTPPort", "8123"),
            ("PackerHTTPAddr", "10.0.2.2:8123"),
            ("Password", "secret"),
            ("SSHAgentAuth", "false"),
            ("SSHPrivateKeyFile", ""),
            ("SSHPublicKey", "pub"),
            ("SSHPrivateKey", "key"),
        ];
        assert_eq!(build(&qemu), pairs(&[&always[..], &reached, &rest].concat()));
    }
}
