"""HTTP and HTTPS, logging in, and sealed messages (MS-WSMV §2.2.9.1). Logging in and sealing are pyspnego's acceptor.

What `--misbehave` names is done wrong: `unsealed` answers in the clear, `entities` with a document type, `huge` with more than an envelope,
`silent` with nothing, `status-404` and `page` as another service does, `drop` closes instead of answering, `late` answers after two seconds,
`bad-signature` and `cut` seal wrongly, `no-status` and `bad-base64` say nonsense of a command, `time-out` and `too-large` refuse. Somebody
between the two could do `forged-fault`, which keeps the question to itself, and `forged-401`, which does not.

With an action (`drop@Receive`) only such questions are answered so; with a number behind a colon (`drop@Receive:2`, `drop:3`) only the one of
that number, counted from 1. A line of standard input names something else to do wrong, and has the counting begin anew.
"""

import base64
import hashlib
import os
import re
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler

import spnego
from spnego.channel_bindings import GssChannelBindings

import soap

PROTOCOL = "application/HTTP-SPNEGO-session-encrypted"
BOUNDARY = b"--Encrypted Boundary"


def seal(context, text):
    wrapped = context.wrap_winrm(text)
    head = (
        f"{BOUNDARY.decode()}\r\n\tContent-Type: {PROTOCOL}\r\n"
        f"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length={len(text) + wrapped.padding_length}\r\n"
        f"{BOUNDARY.decode()}\r\n\tContent-Type: application/octet-stream\r\n"
    )
    length = len(wrapped.header).to_bytes(4, "little")
    return head.encode() + length + wrapped.header + wrapped.data + BOUNDARY + b"--\r\n"


def unseal(context, body):
    whole, rest = b"", body
    while b"Length=" in rest:
        _, _, rest = rest.partition(b"Length=")
        length, _, rest = rest.partition(b"\r\n")
        _, _, rest = rest.partition(b"Content-Type: application/octet-stream\r\n")
        count = int.from_bytes(rest[:4], "little")
        header, rest = rest[4 : 4 + count], rest[4 + count :]
        data, rest = rest[: int(length)], rest[int(length) :]
        whole += context.unwrap_winrm(header, data)
    return whole


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def setup(self):
        self.context = None
        self.is_in = False
        self.last_word = []
        self.bindings = None
        if self.server.certificate_hash and isinstance(self.request, ssl.SSLSocket):
            data = b"tls-server-end-point:" + self.server.certificate_hash
            self.bindings = GssChannelBindings(application_data=data)
        super().setup()
        self.server.open.add(self.connection)

    def finish(self):
        self.server.open.discard(self.connection)
        try:
            super().finish()
        except OSError:
            pass

    def log_message(self, *_):
        pass

    def reply(self, status, body=b"", kind="application/soap+xml;charset=UTF-8", more=()):
        self.send_response(status)
        for name, value in [*more, *self.last_word]:
            self.send_header(name, value)
        self.last_word = []
        if body:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        settings = self.server.settings
        if self.path.rstrip("/").lower() != "/wsman":
            return self.reply(404)
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme in ("Negotiate", "NTLM") and scheme in settings.schemes.split(","):
            if not self.step(scheme, token):
                return None
        elif scheme == "Basic" and self.basic_is_taken():
            expected = f"{settings.user}:{settings.password}".encode()
            if base64.b64decode(token) != expected:
                return self.refuse()
            self.is_in = True
        elif not self.is_in:
            return self.refuse()
        if not body:
            return self.reply(200)
        return self.serve(body)

    def basic_is_taken(self):
        settings = self.server.settings
        is_safe = settings.allow_unencrypted or isinstance(self.request, ssl.SSLSocket)
        return is_safe and "Basic" in settings.schemes.split(",")

    def refuse(self, token=None, scheme=None):
        """Says how to come in, or the next word of a login."""
        if token is not None:
            return self.reply(401, more=[("WWW-Authenticate", f"{scheme} {base64.b64encode(token).decode()}")])
        names = [name for name in self.server.settings.schemes.split(",") if name != "Basic" or self.basic_is_taken()]
        return self.reply(401, more=[("WWW-Authenticate", 'Basic realm="WSMAN"' if name == "Basic" else name) for name in names])

    def step(self, scheme, token):
        """A word of a login. Returns true when that is done."""
        if self.context is None or self.context.complete:
            negotiate, ntlm = spnego.NegotiateOptions.use_negotiate, spnego.NegotiateOptions.use_ntlm
            protocol, options = ("negotiate", negotiate) if scheme == "Negotiate" else ("ntlm", ntlm)
            self.context = spnego.server(protocol=protocol, options=options, channel_bindings=self.bindings)
        try:
            answer = self.context.step(base64.b64decode(token))
        except (spnego.exceptions.SpnegoError, KeyError, ValueError) as error:
            print("login refused:", error, file=sys.stderr, flush=True)
            self.context = None
            self.refuse()
            return False
        if not self.context.complete:
            self.refuse(answer or b"", scheme)
            return False
        self.is_in = True
        # The last word of SPNEGO, which the client checks.
        self.last_word = [("WWW-Authenticate", f"{scheme} {base64.b64encode(answer).decode()}")] if answer else []
        return True

    def serve(self, body):
        is_sealed = self.headers.get("Content-Type", "").startswith("multipart/encrypted")
        is_safe = is_sealed or self.server.settings.allow_unencrypted or isinstance(self.request, ssl.SSLSocket)
        if not is_safe:
            print("refused: not sealed", file=sys.stderr, flush=True)
            return self.reply(403)
        if is_sealed:
            body = unseal(self.context, body)
        action = re.search(rb"<[^>]*Action\b[^>]*>[^<]*/([A-Za-z]+)\s*<", body)
        wrong = self.server.what_goes_wrong(action.group(1).decode() if action else "")
        if wrong == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return None
        if wrong == "silent":
            time.sleep(3600)
        if wrong == "status-404":
            return self.reply(404, b"<h1>not here</h1>", "text/html")
        if wrong == "page":
            return self.reply(200, b"<!DOCTYPE html><p>hello", "text/html")
        if wrong == "forged-fault":
            return self.reply(500, soap.fault(None, soap.Fault(soap.NO_SUCH_SHELL, "The shell was not found.")))
        if wrong == "time-out":
            status, answer = 500, soap.fault(None, soap.Fault(soap.TIMED_OUT, "It takes too long.", "w:TimedOut"))
        elif wrong == "too-large":
            status, answer = 500, soap.fault(None, soap.Fault(soap.TOO_LARGE, "It is too large.", "w:EncodingLimit"))
        else:
            status, answer = self.server.guest.answer(body)
        if wrong == "forged-401":
            return self.reply(401, more=[("WWW-Authenticate", "Negotiate")])
        if wrong == "late":
            time.sleep(2)
        if wrong == "no-status":
            answer = re.sub(rb"<rsp:ExitCode>.*?</rsp:ExitCode>", b"", answer)
        if wrong == "bad-base64":
            answer = re.sub(rb'(CommandId="[^"]*">)', rb"\1*", answer)
        if wrong == "entities":
            answer = b'<!DOCTYPE a [<!ENTITY b "c">]>' + answer
        if wrong == "huge":
            answer = answer.replace(b"</s:Body>", b"<x>" + b"y" * (3 << 20) + b"</x></s:Body>")
        if is_sealed and wrong != "unsealed":
            kind = f'multipart/encrypted;protocol="{PROTOCOL}";boundary="Encrypted Boundary"'
            sealed = bytearray(seal(self.context, answer))
            if wrong == "bad-signature":
                # The first byte behind the length of the signature and its version.
                sealed[sealed.index(b"octet-stream\r\n") + len(b"octet-stream\r\n") + 8] ^= 1
            if wrong == "cut":
                del sealed[-60:]
            return self.reply(status, bytes(sealed), kind)
        return self.reply(status, answer)


class Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, ssl.SSLError, TimeoutError, OSError)):
            super().handle_error(request, client_address)


class Server:
    """Listens, and is away while its guest restarts."""

    def __init__(self, settings, guest):
        self.settings, self.guest = settings, guest
        self.port = settings.port
        self.open = set()
        self.listening = threading.Event()
        self.counting = threading.Lock()
        self.misbehave(settings.misbehave)
        self.certificate_hash = None
        self.tls = None
        if settings.certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(settings.certificate)
            with open(settings.certificate, encoding="ascii") as file:
                text = file.read()
            start = text.index("-----BEGIN CERTIFICATE-----")
            end = text.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----")
            self.certificate_hash = hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[start:end])).digest()
        # pyspnego reads its users from a file: one in memory, which is not left when this process is killed.
        users = os.memfd_create("users")
        os.write(users, f":{settings.user}:{settings.password}\nGUEST:{settings.user}:{settings.password}\n".encode())
        os.environ["NTLM_USER_FILE"] = f"/proc/{os.getpid()}/fd/{users}"
        os.environ["NETBIOS_COMPUTER_NAME"] = "GUEST"
        guest.on_restart = self.go_away
        self.listener = None

    def misbehave(self, what):
        with self.counting:
            self.wrong, self.asked = what, Counter()
        print("misbehaves", what, file=sys.stderr, flush=True)

    def what_goes_wrong(self, action):
        with self.counting:
            self.asked.update([action, ""])
            what, _, number = self.wrong.partition(":")
            name, _, only = what.partition("@")
            if not name or only not in ("", action) or (number and int(number) != self.asked[only]):
                return ""
        print("misbehaved", name, action, file=sys.stderr, flush=True)
        return name

    def run(self):
        while True:
            self.listener = Listener(("127.0.0.1", self.port), Handler, bind_and_activate=False)
            self.listener.server_bind()
            self.port = self.listener.server_address[1]
            for name in ("settings", "guest", "open", "certificate_hash", "what_goes_wrong"):
                setattr(self.listener, name, getattr(self, name))
            if self.tls:
                self.listener.socket = self.tls.wrap_socket(self.listener.socket, server_side=True, do_handshake_on_connect=False)
            self.listener.server_activate()
            self.listening.set()
            self.listener.serve_forever(poll_interval=0.1)
            time.sleep(self.settings.away_after_restart)

    def go_away(self):
        listener = self.listener
        listener.shutdown()
        listener.server_close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
