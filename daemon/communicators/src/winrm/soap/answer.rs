//! What answers say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::xml::Element;

/// `ERROR_WSMAN_OPERATION_TIMEDOUT`: nothing was written meanwhile.
const OPERATION_TIMED_OUT: u32 = 0x8033_8029;

/// `ERROR_WSMAN_INVALID_SELECTORS`, with which a shell that is gone is told.
const SHELL_IS_GONE: u32 = 0x8033_805b;

/// `ERROR_OPERATION_ABORTED` and `ERROR_SHUTDOWN_IN_PROGRESS`, as they are and as `HRESULT`s: the system goes down.
const GOING_DOWN: [u32; 4] = [995, 1115, 0x8007_03e3, 0x8007_045b];

/// `ERROR_BROKEN_PIPE` and `ERROR_NO_DATA`, as they are and as `HRESULT`s: nobody reads the input any more.
const PIPE_CLOSED: [u32; 4] = [109, 232, 0x8007_006d, 0x8007_00e8];

/// How long the words of a fault may be that are shown.
const MAX_REASON: usize = 500;

/// The service understood and says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the guest's WinRM says: {reason}{}", code.map(|code| format!(" (0x{code:08x})")).unwrap_or_default())]
pub(crate) struct Fault {
    /// Windows' number for it.
    pub code: Option<u32>,
    /// What SOAP calls it.
    pub(crate) subcode: String,
    /// Its words.
    pub reason: String,
}

impl Fault {
    /// Finds the fault in an answer.
    pub(crate) fn of(root: &Element) -> Option<Self> {
        let fault = root.find("Body")?.find("Fault")?;
        let subcode = fault.find("Subcode").and_then(|code| code.find("Value")).map_or("", Element::trimmed);
        let detail = fault.find("WSManFault");
        let code = detail.and_then(|detail| detail.attribute("Code")).and_then(|code| code.parse::<i64>().ok());
        let said = detail.and_then(|detail| detail.find("Message")).map(words).filter(|words| !words.is_empty());
        let reason = said.or_else(|| fault.find("Reason").map(words)).unwrap_or_default();
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        let printable = reason.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter });
        Some(Self {
            code: code.map(|code| code as u32),
            subcode: subcode.rsplit(':').next().unwrap_or_default().to_owned(),
            reason: printable.take(MAX_REASON).collect(),
        })
    }

    /// Nothing has happened in the time that was given.
    pub(crate) fn is_time_out(&self) -> bool {
        self.code == Some(OPERATION_TIMED_OUT) || self.subcode == "TimedOut"
    }

    /// A command takes no more input: it has closed it, or has ended.
    pub(crate) fn takes_no_more(&self) -> bool {
        self.code.is_some_and(|code| code == SHELL_IS_GONE || PIPE_CLOSED.contains(&code))
    }

    /// The shell is no more, as after a restart, or the system goes down.
    pub(crate) fn is_loss(&self) -> bool {
        self.code.is_some_and(|code| code == SHELL_IS_GONE || GOING_DOWN.contains(&code))
    }
}

/// All texts in an element.
fn words(element: &Element) -> String {
    let mut words = element.text.clone();
    for child in &element.children {
        words.push(' ');
        words.push_str(&self::words(child));
    }
    words.trim().to_owned()
}

/// Which stream a piece of output is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Errors,
}

/// What a command has written, and whether it has ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) pieces: Vec<(Stream, Vec<u8>)>,
    /// The status of one that has ended.
    pub(crate) exit: Option<i32>,
}

impl Received {
    /// Reads the answer to a `Receive`.
    pub(crate) fn of(root: &Element) -> Result<Self, &'static str> {
        let response = root.find("ReceiveResponse").ok_or("it does not answer the question")?;
        let mut received = Self::default();
        for child in &response.children {
            match child.name.as_str() {
                "Stream" => {
                    let bytes = STANDARD.decode(child.trimmed()).map_err(|_| "its output is not in Base64")?;
                    let stream = match child.attribute("Name") {
                        Some("stdout") => Stream::Out,
                        Some("stderr") => Stream::Errors,
                        _ => continue,
                    };
                    if !bytes.is_empty() {
                        received.pieces.push((stream, bytes));
                    }
                }
                "CommandState" if child.attribute("State").is_some_and(|state| state.ends_with("/Done")) => {
                    let code = child.find("ExitCode").and_then(|code| code.trimmed().parse::<i64>().ok());
                    // Statuses are 32 bits, with or without a sign.
                    let is_status = |code: &i64| (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(code);
                    let code = code.filter(is_status).ok_or("it does not say with which status the command ended")?;
                    received.exit = Some(code as i32);
                }
                _ => {}
            }
        }
        Ok(received)
    }
}

/// The id of the shell or command that was made.
pub(crate) fn made(root: &Element, what: &str) -> Option<String> {
    let body = root.find("Body")?;
    let selector = body.find("Selector").filter(|selector| selector.attribute("Name") == Some(what));
    let id = selector.or_else(|| body.find(what))?;
    Some(id.trimmed().to_owned()).filter(|id| !id.is_empty() && id.len() <= 200)
}

#[cfg(test)]
mod tests {
    use super::super::xml::read;
    use super::*;

    fn body(content: &str) -> Element {
        read(format!("<s:Envelope xmlns:s='x'><s:Body>{content}</s:Body></s:Envelope>").as_bytes()).unwrap()
    }

    #[test]
    fn faults_are_told_in_their_own_words() {
        let fault = Fault::of(&body(
            "<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>w:TimedOut</s:Value></s:Subcode></s:Code><s:Reason>\
             <s:Text>no</s:Text></s:Reason><s:Detail><f:WSManFault Code='2150858793'><f:Message> too \n long\u{9b} </f:Message>\
             </f:WSManFault></s:Detail></s:Fault>",
        ))
        .unwrap();
        assert!(fault.is_time_out() && !fault.is_loss());
        assert_eq!(fault.to_string(), "the guest's WinRM says: too long\u{fffd} (0x80338029)");
        let bare = Fault::of(&body("<s:Fault><s:Reason><s:Text>access denied</s:Text></s:Reason></s:Fault>")).unwrap();
        assert_eq!(bare.to_string(), "the guest's WinRM says: access denied");
        let gone =
            Fault::of(&body("<s:Fault><s:Detail><f:WSManFault Code='2150858843'/></s:Detail></s:Fault>")).unwrap();
        assert!(gone.is_loss() && gone.takes_no_more());
        let closed = Fault::of(&body("<s:Fault><s:Detail><f:WSManFault Code='109'/></s:Detail></s:Fault>")).unwrap();
        assert!(closed.takes_no_more() && !closed.is_loss() && !fault.takes_no_more());
        assert!(Fault::of(&body("<s:Other/>")).is_none());
    }

    #[test]
    fn output_and_status_are_read() {
        let received = Received::of(&body(
            "<r:ReceiveResponse><r:Stream Name='stdout' CommandId='1'>b3V0</r:Stream><r:Stream Name='stderr'>ZXJy</r:Stream>\
             <r:Stream Name='stdout' End='true'/><r:CommandState State='x/CommandState/Done'><r:ExitCode>4294967295</r:ExitCode>\
             </r:CommandState></r:ReceiveResponse>",
        ))
        .unwrap();
        assert_eq!(received.pieces, [(Stream::Out, b"out".to_vec()), (Stream::Errors, b"err".to_vec())]);
        assert_eq!(received.exit, Some(-1));
        let running = "<r:ReceiveResponse><r:CommandState State='x/CommandState/Running'/></r:ReceiveResponse>";
        assert_eq!(Received::of(&body(running)), Ok(Received::default()));
        assert!(Received::of(&body("<x/>")).is_err());
        for status in ["", "<r:ExitCode/>", "<r:ExitCode>x</r:ExitCode>", "<r:ExitCode>4294967296</r:ExitCode>"] {
            let ended = format!(
                "<r:ReceiveResponse><r:CommandState State='x/CommandState/Done'>{status}</r:CommandState></r:ReceiveResponse>"
            );
            assert!(Received::of(&body(&ended)).is_err(), "{status:?} is no success");
        }
        assert!(
            Received::of(&body("<r:ReceiveResponse><r:Stream Name='stdout'>*</r:Stream></r:ReceiveResponse>")).is_err()
        );
    }

    #[test]
    fn what_was_made_has_an_id() {
        let shell = body("<ResourceCreated><Selector Name='ShellId'>A-1</Selector></ResourceCreated>");
        assert_eq!(made(&shell, "ShellId").as_deref(), Some("A-1"));
        assert_eq!(made(&body("<r:Shell><r:ShellId>B</r:ShellId></r:Shell>"), "ShellId").as_deref(), Some("B"));
        assert_eq!(
            made(&body("<r:CommandResponse><r:CommandId>C</r:CommandId></r:CommandResponse>"), "CommandId").as_deref(),
            Some("C")
        );
        assert_eq!(made(&body("<x/>"), "CommandId"), None);
    }
}
