"""Envelopes: what is asked, and what is answered."""

import uuid
from xml.etree import ElementTree
from xml.sax.saxutils import escape

SOAP = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
WSMAN = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
CONFIGURATION = "http://schemas.microsoft.com/wbem/wsman/1/config"

# Windows' numbers for what goes wrong.
TIMED_OUT = 2150858793
NO_SUCH_SHELL = 2150858843
NO_SUCH_COMMAND = 2150858843
TOO_LARGE = 2150858797
UNKNOWN_RESOURCE = 2150858752
ABORTED = 995
PIPE_CLOSED = 109


class Fault(Exception):
    """What is answered instead of what was asked for."""

    def __init__(self, code, words, subcode="w:InternalError"):
        super().__init__(words)
        self.code, self.words, self.subcode = code, words, subcode


class Question:
    """What was asked."""

    def __init__(self, text):
        if b"<!DOCTYPE" in text:
            raise Fault(2150858817, "no document types", "w:SchemaValidationError")
        try:
            self.root = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise Fault(2150858817, str(error), "w:SchemaValidationError") from error
        header = self.root.find(f"{{{SOAP}}}Header")
        self.body = self.root.find(f"{{{SOAP}}}Body")
        if header is None or self.body is None:
            raise Fault(2150858817, "no envelope", "w:SchemaValidationError")
        self.action = self._text(header, f"{{{ADDRESSING}}}Action")
        self.resource = self._text(header, f"{{{WSMAN}}}ResourceURI")
        self.message = self._text(header, f"{{{ADDRESSING}}}MessageID")
        self.timeout = seconds(self._text(header, f"{{{WSMAN}}}OperationTimeout") or "PT60S")
        self.selectors = {one.get("Name"): one.text for one in header.iter(f"{{{WSMAN}}}Selector")}
        self.options = {one.get("Name"): one.text for one in header.iter(f"{{{WSMAN}}}Option")}

    @staticmethod
    def _text(parent, path):
        found = parent.find(path)
        return (found.text or "").strip() if found is not None else ""

    def first(self, name):
        """The first element of a shell's namespace in the body."""
        return next(self.body.iter(f"{{{SHELL}}}{name}"), None)


def seconds(duration):
    """Reads the part of ISO 8601 that clients write: PT20S, PT1M, PT0.5S."""
    total, number = 0.0, ""
    for letter in duration.removeprefix("PT"):
        if letter in "HMS":
            total += float(number or 0) * {"H": 3600, "M": 60, "S": 1}[letter]
            number = ""
        else:
            number += letter
    return total


def answer(question, action, body):
    related = f"<a:RelatesTo>{escape(question.message)}</a:RelatesTo>" if question else ""
    text = (
        f'<s:Envelope xml:lang="en-US" xmlns:s="{SOAP}" xmlns:a="{ADDRESSING}" xmlns:x="{TRANSFER}" xmlns:w="{WSMAN}" xmlns:rsp="{SHELL}" '
        f'xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd" xmlns:cfg="{CONFIGURATION}"><s:Header><a:Action>{action}</a:Action>'
        f"<a:MessageID>uuid:{str(uuid.uuid4()).upper()}</a:MessageID>"
        f"<a:To>{ADDRESSING}/role/anonymous</a:To>{related}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )
    return text.encode()


def fault(question, error):
    body = (
        f"<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>{error.subcode}</s:Value></s:Subcode></s:Code><s:Reason>"
        f'<s:Text xml:lang="en-US">{escape(error.words)}</s:Text></s:Reason><s:Detail>'
        f'<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="{error.code}" Machine="localhost">'
        f"<f:Message>{escape(error.words)}</f:Message></f:WSManFault></s:Detail></s:Fault>"
    )
    return answer(question, "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault", body)
