//! Writes the requests of WS-Management (DSP0226) and of its shells (MS-WSMV §2.2, §3.1.4).

use std::time::Duration;

use quick_xml::escape::escape;

/// The largest answer that we ask for: what Windows sends by itself since 8 and Server 2012.
pub(crate) const MAX_ANSWER: usize = 500 << 10;

const SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell";
const TRANSFER: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer";
const CONFIGURATION: &str = "http://schemas.microsoft.com/wbem/wsman/1/config";

/// How much of an envelope is not the bytes of [`Request::Send`], with room for long names of hosts.
pub(crate) const ENVELOPE: usize = 4 << 10;

/// What a command's input is, and whether `cmd` is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// A console that nobody sits at.
    Console,
    /// A pipe.
    Pipe,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request<'a> {
    /// A shell, in which commands are run.
    Create,
    /// A command in it.
    Command { shell: &'a str, line: &'a str, input: Input },
    /// What it has written since.
    Receive { shell: &'a str, command: &'a str },
    /// More input for it, in Base64.
    Send { shell: &'a str, command: &'a str, base64: &'a str, end: bool },
    /// The end of the shell, and of the command in it.
    Delete { shell: &'a str },
    /// The service's configuration.
    Configuration,
}

impl Request<'_> {
    /// Writes the envelope. `to` is the service's URL, `id` a new number, `patience` what the service may take.
    pub(crate) fn envelope(&self, to: &str, id: &str, patience: Duration) -> String {
        let (action, resource) = match self {
            Self::Create => (format!("{TRANSFER}/Create"), format!("{SHELL}/cmd")),
            Self::Command { .. } => (format!("{SHELL}/Command"), format!("{SHELL}/cmd")),
            Self::Receive { .. } => (format!("{SHELL}/Receive"), format!("{SHELL}/cmd")),
            Self::Send { .. } => (format!("{SHELL}/Send"), format!("{SHELL}/cmd")),
            Self::Delete { .. } => (format!("{TRANSFER}/Delete"), format!("{SHELL}/cmd")),
            Self::Configuration => (format!("{TRANSFER}/Get"), CONFIGURATION.to_owned()),
        };
        let selectors = self.shell().map(|shell| {
            format!("<w:SelectorSet><w:Selector Name=\"ShellId\">{}</w:Selector></w:SelectorSet>", escape(shell))
        });
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" \
             xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" xmlns:w=\"http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd\" \
             xmlns:p=\"http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd\" xmlns:r=\"{SHELL}\"><s:Header><a:To>{to}</a:To><a:ReplyTo>\
             <a:Address s:mustUnderstand=\"true\">http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address></a:ReplyTo>\
             <a:Action s:mustUnderstand=\"true\">{action}</a:Action><a:MessageID>uuid:{id}</a:MessageID>\
             <w:MaxEnvelopeSize s:mustUnderstand=\"true\">{MAX_ANSWER}</w:MaxEnvelopeSize>\
             <w:OperationTimeout>PT{}S</w:OperationTimeout><w:Locale xml:lang=\"en-US\" s:mustUnderstand=\"false\"/>\
             <p:DataLocale xml:lang=\"en-US\" s:mustUnderstand=\"false\"/>\
             <w:ResourceURI s:mustUnderstand=\"true\">{resource}</w:ResourceURI>{}{}</s:Header><s:Body>{}</s:Body></s:Envelope>",
            patience.as_secs().max(1),
            selectors.unwrap_or_default(),
            self.options(),
            self.body(),
            to = escape(to),
            id = escape(id),
        )
    }

    /// Whether it may be asked again when nobody knows whether the guest has done it: at worst a shell is left, which the guest gives up.
    pub(crate) fn may_be_repeated(&self) -> bool {
        matches!(self, Self::Create | Self::Delete { .. } | Self::Configuration)
    }

    fn shell(&self) -> Option<&str> {
        match self {
            Self::Create | Self::Configuration => None,
            Self::Command { shell, .. }
            | Self::Receive { shell, .. }
            | Self::Send { shell, .. }
            | Self::Delete { shell } => Some(shell),
        }
    }

    fn options(&self) -> String {
        let written = |options: &[(&str, &str)]| {
            let option = |(name, value): &(&str, &str)| format!("<w:Option Name=\"{name}\">{value}</w:Option>");
            format!("<w:OptionSet>{}</w:OptionSet>", options.iter().map(option).collect::<String>())
        };
        match self {
            // The code page is that of UTF-8.
            Self::Create => written(&[("WINRS_NOPROFILE", "FALSE"), ("WINRS_CODEPAGE", "65001")]),
            Self::Command { input, .. } => {
                let console = if *input == Input::Console { "TRUE" } else { "FALSE" };
                written(&[("WINRS_CONSOLEMODE_STDIN", console), ("WINRS_SKIP_CMD_SHELL", "FALSE")])
            }
            _ => String::new(),
        }
    }

    fn body(&self) -> String {
        match self {
            Self::Create => "<r:Shell><r:InputStreams>stdin</r:InputStreams><r:OutputStreams>stdout stderr</r:OutputStreams></r:Shell>"
                .to_owned(),
            Self::Command { line, .. } => {
                format!("<r:CommandLine><r:Command>{}</r:Command></r:CommandLine>", escape(*line))
            }
            Self::Receive { command, .. } => format!(
                "<r:Receive><r:DesiredStream CommandId=\"{}\">stdout stderr</r:DesiredStream></r:Receive>",
                escape(*command)
            ),
            Self::Send { command, base64, end, .. } => {
                let end = if *end { " End=\"true\"" } else { "" };
                format!(
                    "<r:Send><r:Stream Name=\"stdin\" CommandId=\"{}\"{end}>{base64}</r:Stream></r:Send>",
                    escape(*command)
                )
            }
            Self::Delete { .. } | Self::Configuration => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::xml;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_request_is_whole_and_says_what_it_is_for() {
        let (shell, command) = ("S&1", "C<1");
        let input = Input::Pipe;
        for (request, action, body) in [
            (Request::Create, "transfer/Create", Some("Shell")),
            (Request::Command { shell, line: "a & \"b\" <c", input }, "shell/Command", Some("Command")),
            (Request::Receive { shell, command }, "shell/Receive", Some("DesiredStream")),
            (Request::Send { shell, command, base64: "YQ==", end: true }, "shell/Send", Some("Stream")),
            (Request::Delete { shell }, "transfer/Delete", None),
            (Request::Configuration, "transfer/Get", None),
        ] {
            let text = request.envelope("http://guest:5985/wsman", "1", SECOND);
            let root = xml::read(text.as_bytes()).unwrap();
            assert!(root.find("Action").unwrap().text.ends_with(action), "{text}");
            assert_eq!(root.find("To").unwrap().text, "http://guest:5985/wsman");
            assert_eq!(root.find("OperationTimeout").unwrap().text, "PT1S");
            assert_eq!(root.find("Selector").map(|selector| selector.text.as_str()), request.shell());
            let content = root.find("Body").unwrap();
            assert!(body.is_none_or(|name| content.find(name).is_some()), "{text}");
        }
        let line = Request::Command { shell, line: "a & \"b\" <c", input }.envelope("", "", SECOND);
        assert_eq!(xml::read(line.as_bytes()).unwrap().find("Command").unwrap().text, "a & \"b\" <c");
        let send = Request::Send { shell, command, base64: "YQ==", end: true }.envelope("", "", SECOND);
        let root = xml::read(send.as_bytes()).unwrap();
        let stream = root.find("Stream").unwrap();
        assert_eq!((stream.attribute("End"), stream.attribute("CommandId")), (Some("true"), Some("C<1")));
        let longest = Request::Send { shell: &"s".repeat(100), command: &"c".repeat(100), base64: "", end: true };
        assert!(longest.envelope(&"h".repeat(300), &"i".repeat(40), SECOND).len() < ENVELOPE);
    }
}
