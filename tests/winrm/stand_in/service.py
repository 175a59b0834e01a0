"""The service: shells, their commands, and a guest that can restart (MS-WSMV §3.1.4)."""

import base64
import sys
import threading
import time
import uuid

import commands
import soap
from soap import Fault

# Bytes of output in one answer; in Base64 it stays below every client's MaxEnvelopeSize of 150 KB and more.
PIECE = 96 * 1024
LARGE_PIECE = 360 * 1024


def say(*words):
    # One piece: those of two threads that say something at once would lie in each other.
    sys.stderr.write(" ".join(map(str, words)) + "\n")
    sys.stderr.flush()


class Command:
    """A process, its input, and what it has written that nobody has fetched yet."""

    def __init__(self, process):
        self.process = process
        self.changed = threading.Condition()
        self.output = {"stdout": bytearray(), "stderr": bytearray()}
        self.open = {"stdout", "stderr"}
        self.exit = None
        self.is_lost = False
        for name in ("stdout", "stderr"):
            threading.Thread(target=self._read, args=(name, getattr(process, name)), daemon=True).start()
        threading.Thread(target=self._wait, daemon=True).start()

    def _read(self, name, pipe):
        while True:
            piece = pipe.read1(65536)
            with self.changed:
                # A command that writes faster than it is asked waits.
                self.changed.wait_for(lambda: len(self.output[name]) < 1 << 20 or self.exit is not None)
                self.output[name] += piece
                if not piece:
                    self.open.discard(name)
                self.changed.notify_all()
            if not piece:
                return

    def _wait(self):
        code = self.process.wait()
        with self.changed:
            self.exit = self.process.told if self.process.told is not None else code if code >= 0 else 1
            self.changed.notify_all()

    def receive(self, patience, most):
        def ready():
            return any(self.output.values()) or (self.exit is not None and not self.open)

        with self.changed:
            in_time = self.changed.wait_for(lambda: self.is_lost or ready(), patience)
            if self.is_lost:
                raise Fault(soap.ABORTED, "The I/O operation has been aborted because of either a thread exit or an application request.")
            if not in_time:
                raise Fault(soap.TIMED_OUT, "The WS-Management service cannot complete the operation within the time specified in "
                                            "OperationTimeout.", "w:TimedOut")
            pieces, room = [], most
            for name, bytes_ in self.output.items():
                piece = bytes(bytes_[:room])
                del bytes_[: len(piece)]
                room -= len(piece)
                if piece:
                    pieces.append((name, piece))
            done = self.exit is not None and not self.open and not any(self.output.values())
            self.changed.notify_all()
            return pieces, (self.exit if done else None)

    def send(self, bytes_, end):
        try:
            if bytes_:
                self.process.stdin.write(bytes_)
                self.process.stdin.flush()
            if end:
                self.process.stdin.close()
        except (BrokenPipeError, ValueError) as error:
            raise Fault(soap.PIPE_CLOSED, "The pipe has been ended.") from error

    def lose(self):
        """The system goes down under it: nobody hears how it ended."""
        with self.changed:
            self.is_lost = True
            self.changed.notify_all()
        self.end()

    def end(self):
        commands.end(self.process)


class Guest:
    def __init__(self, settings):
        self.settings = settings
        self.shells = {}
        self.lock = threading.Lock()
        self.restarts = 0
        self.restart_at = None
        self.on_restart = lambda: None

    def end(self):
        with self.lock:
            shells, self.shells = self.shells, {}
        for shell in shells.values():
            for command in list(shell.values()):
                command.lose()

    def restart(self):
        """Everything that runs is gone, and the service with it for a while."""
        self.end()
        self.restarts += 1
        say("restarted")
        self.on_restart()

    def shutdown(self, words):
        """What `shutdown` does, and its exit code."""
        if "/a" in words:
            planned, self.restart_at = self.restart_at, None
            return 0 if planned else 1116
        if self.restart_at is not None:
            return 1115
        seconds = int(words[words.index("/t") + 1]) if "/t" in words else 30
        self.restart_at = time.monotonic() + seconds
        # So that whoever asked hears that it was taken.
        timer = threading.Timer(max(seconds, 0.5), self._restart_if_planned)
        timer.daemon = True
        timer.start()
        return 0

    def _restart_if_planned(self):
        if self.restart_at is not None and time.monotonic() >= self.restart_at - 1:
            self.restart_at = None
            self.restart()

    def _shell(self, question):
        shell = question.selectors.get("ShellId")
        with self.lock:
            if shell not in self.shells:
                raise Fault(soap.NO_SUCH_SHELL, f"The shell {shell} was not found on the server.", "w:InvalidSelectors")
            return shell, self.shells[shell]

    def answer(self, text):
        """Answers an envelope: status and envelope."""
        question = None
        try:
            if len(text) > self.settings.max_envelope_kb * 1024:
                raise Fault(soap.TOO_LARGE, f"The request of {len(text)} bytes is larger than MaxEnvelopeSizekb.", "w:EncodingLimit")
            question = soap.Question(text)
            return 200, self._answer(question)
        except Fault as error:
            say("fault", error.code, error.words)
            return 500, soap.fault(question, error)

    def _answer(self, question):
        name = question.action.rsplit("/", 1)[-1]
        by_action = {
            f"{soap.TRANSFER}/Create": self._create,
            f"{soap.TRANSFER}/Delete": self._delete,
            f"{soap.TRANSFER}/Get": self._get,
            **{f"{soap.SHELL}/{one}": getattr(self, f"_{one.lower()}") for one in ("Command", "Receive", "Send", "Signal")},
        }
        if question.action not in by_action:
            raise Fault(2150858781, f"the action {question.action} is not supported", "a:ActionNotSupported")
        if question.resource not in (f"{soap.SHELL}/cmd", soap.CONFIGURATION):
            raise Fault(soap.UNKNOWN_RESOURCE, f"the resource {question.resource} is not known", "a:DestinationUnreachable")
        body = by_action[question.action](question)
        return soap.answer(question, f"{question.action}Response", body)

    def _get(self, question):
        return f"<cfg:Config><cfg:MaxEnvelopeSizekb>{self.settings.max_envelope_kb}</cfg:MaxEnvelopeSizekb></cfg:Config>"

    def _create(self, question):
        if question.options.get("WINRS_CODEPAGE") not in (None, "65001", "437"):
            raise Fault(87, "the parameter is incorrect")
        shell = str(uuid.uuid4()).upper()
        with self.lock:
            self.shells[shell] = {}
        say("shell", len(self.shells))
        return (
            f'<x:ResourceCreated><a:Address>http://localhost/wsman</a:Address><a:ReferenceParameters><w:ResourceURI>{soap.SHELL}/cmd'
            f'</w:ResourceURI><w:SelectorSet><w:Selector Name="ShellId">{shell}</w:Selector></w:SelectorSet></a:ReferenceParameters>'
            f"</x:ResourceCreated><rsp:Shell><rsp:ShellId>{shell}</rsp:ShellId><rsp:ResourceUri>{soap.SHELL}/cmd</rsp:ResourceUri>"
            "<rsp:Owner>GUEST\\packer</rsp:Owner><rsp:ClientIP>127.0.0.1</rsp:ClientIP><rsp:ShellRunTime>P0DT0H0M0S</rsp:ShellRunTime>"
            "<rsp:ShellInactivity>P0DT0H0M0S</rsp:ShellInactivity><rsp:InputStreams>stdin</rsp:InputStreams>"
            "<rsp:OutputStreams>stdout stderr</rsp:OutputStreams></rsp:Shell>"
        )

    def _delete(self, question):
        shell, running = self._shell(question)
        with self.lock:
            self.shells.pop(shell, None)
        for command in running.values():
            command.end()
        say("shells left", len(self.shells))
        return ""

    def _command(self, question):
        _, shell = self._shell(question)
        line = (question.first("Command").text or "").strip()
        rest = [one.text or "" for one in question.body.iter(f"{{{soap.SHELL}}}Arguments")]
        line = " ".join([line, *rest])
        if len(line) > 8191 and question.options.get("WINRS_SKIP_CMD_SHELL") != "TRUE":
            raise Fault(87, "The command line is too long.")
        say("command", commands.shown(line))
        command = str(uuid.uuid4()).upper()
        shell[command] = Command(commands.start(line, self, question.options.get("WINRS_CONSOLEMODE_STDIN") != "FALSE"))
        return f"<rsp:CommandResponse><rsp:CommandId>{command}</rsp:CommandId></rsp:CommandResponse>"

    def _find(self, question, element):
        _, shell = self._shell(question)
        command = element.get("CommandId")
        if command not in shell:
            raise Fault(soap.NO_SUCH_COMMAND, "The command was not found.", "w:InvalidSelectors")
        return command, shell[command]

    def _receive(self, question):
        identity, command = self._find(question, question.first("DesiredStream"))
        header = question.root.find(f".//{{{soap.WSMAN}}}MaxEnvelopeSize")
        room = int(header.text) if header is not None else 0
        pieces, done = command.receive(min(question.timeout, 60), LARGE_PIECE if room >= 500 * 1024 else PIECE)
        body = "".join(
            f'<rsp:Stream Name="{name}" CommandId="{identity}">{base64.b64encode(piece).decode()}</rsp:Stream>' for name, piece in pieces
        )
        state = f"{soap.SHELL}/CommandState"
        if done is None:
            body += f'<rsp:CommandState CommandId="{identity}" State="{state}/Running"/>'
        else:
            body += "".join(f'<rsp:Stream Name="{name}" CommandId="{identity}" End="true"/>' for name in ("stdout", "stderr"))
            body += f'<rsp:CommandState CommandId="{identity}" State="{state}/Done"><rsp:ExitCode>{done}</rsp:ExitCode></rsp:CommandState>'
        return f"<rsp:ReceiveResponse>{body}</rsp:ReceiveResponse>"

    def _send(self, question):
        stream = question.first("Stream")
        _, command = self._find(question, stream)
        command.send(base64.b64decode(stream.text or ""), (stream.get("End") or "").lower() in ("true", "1"))
        return "<rsp:SendResponse/>"

    def _signal(self, question):
        element = question.first("Signal")
        identity, command = self._find(question, element)
        code = (question.first("Code").text or "").rsplit("/", 1)[-1].lower()
        command.end()
        if code == "terminate":
            _, shell = self._shell(question)
            shell.pop(identity, None)
        return "<rsp:SignalResponse/>"
