"""Others judge what no Windows is here for.

Clients that work with Windows, pywinrm and pypsrp, have to work with the stand-in; a grammar of PowerShell has to read the scripts that Kiln
runs in guests, which the stand-in only knows by their letters.

`python judge.py CERTIFICATE`: prints a line for each thing that holds, and ends with 1 at the first that does not.
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import tree_sitter_powershell
import winrm
from pypsrp.client import Client
from tree_sitter import Language, Parser
from winrm.exceptions import InvalidCredentialsError

USER, PASSWORD = "packer", "Passw0rd-of-the-guest"
HERE = pathlib.Path(__file__).parent


class StandIn:
    def __init__(self, *arguments):
        self.root = tempfile.TemporaryDirectory()
        command = [sys.executable, str(HERE / "stand_in"), "--root", self.root.name, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)
        self.root.cleanup()


def expect(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: {found!r} where {wanted!r} was expected")


def by_pywinrm(stand_in, scheme, **more):
    session = winrm.Session(f"{scheme}://127.0.0.1:{stand_in.port}/wsman", (USER, PASSWORD), **more)
    ran = session.run_cmd("echo out; echo err >&2; exit 3")
    expect("a command", (ran.std_out, ran.std_err, ran.status_code), (b"out\n", b"err\n", 3))
    ran = session.run_ps("Write-Output 'hello'; exit 4")
    expect("PowerShell", (ran.std_out, ran.status_code), (b"hello\n", 4))
    protocol = session.protocol
    shell = protocol.open_shell()
    command = protocol.run_command(shell, "cat", console_mode_stdin=False)
    protocol.send_command_input(shell, command, b"x" * 100_000, end=True)
    output, _, code = protocol.get_command_output(shell, command)
    protocol.cleanup_command(shell, command)
    protocol.close_shell(shell)
    expect("a command that reads", (output, code), (b"x" * 100_000, 0))


def by_pypsrp(stand_in, **more):
    client = Client("127.0.0.1", port=stand_in.port, username=USER, password=PASSWORD, **more)
    expect("a command", client.execute_cmd("echo out; echo err >&2; exit 3"), ("out\n", "err\n", 3))


def wrong(node):
    """Where a script is no PowerShell."""
    if node.is_error or node.is_missing:
        return f"line {node.start_point[0] + 1}: {node.text[:80]!r}"
    return next(filter(None, map(wrong, node.children)), None)


def scripts():
    """The scripts, with something in the place of what is put in."""
    daemon = HERE.parents[1] / "daemon"
    texts = {name: (daemon / "communicators/src/winrm/transfer" / name).read_text() for name in ("receive.ps1", "send.ps1")}
    elevated = (daemon / "builder/src/provisioners/windows/elevated.rs").read_text()
    texts["the task of an elevated user"] = re.search(r'const SCRIPT: &str = r#"(.*?)"#;', elevated, re.DOTALL).group(1)
    for name, text in texts.items():
        yield name, re.sub(r"<<(ROOT|PASSWORD)>>", "('x' + [string]${env:TEMP})", re.sub(r"<<(NAME)>>(?=$)", "'x'", text, flags=re.MULTILINE))


def main():
    certificate = sys.argv[1]
    warnings.simplefilter("ignore")
    parser = Parser(Language(tree_sitter_powershell.language()))
    for name, text in scripts():
        text = text.replace("<<LOGON_TYPE>>", "1").replace("<<", "").replace(">>", "")
        expect(name, wrong(parser.parse(text.encode()).root_node), None)
        print(f"a grammar of PowerShell reads {name}")
    with StandIn() as sealed:
        by_pywinrm(sealed, "http", transport="ntlm", message_encryption="always")
        print("pywinrm by NTLM over HTTP, sealed")
        by_pypsrp(sealed, ssl=False, auth="ntlm", encryption="always")
        print("pypsrp by NTLM over HTTP, sealed")
        by_pypsrp(sealed, ssl=False, auth="negotiate", encryption="always")
        print("pypsrp by Negotiate over HTTP, sealed")
        try:
            winrm.Session(f"http://127.0.0.1:{sealed.port}/wsman", (USER, "wrong"), transport="ntlm").run_cmd("true")
            sys.exit("a wrong password is taken")
        except InvalidCredentialsError:
            print("a wrong password is refused")
        try:
            winrm.Session(f"http://127.0.0.1:{sealed.port}/wsman", (USER, PASSWORD), transport="basic").run_cmd("true")
            sys.exit("Basic is taken in the clear")
        except InvalidCredentialsError:
            print("Basic in the clear is refused")
    with StandIn("--allow-unencrypted") as clear:
        by_pywinrm(clear, "http", transport="basic")
        print("pywinrm by Basic over HTTP")
        by_pypsrp(clear, ssl=False, auth="basic", encryption="never")
        print("pypsrp by Basic over HTTP")
    with StandIn("--certificate", certificate) as tls:
        for transport in ("basic", "ntlm"):
            by_pywinrm(tls, "https", transport=transport, server_cert_validation="ignore")
            print(f"pywinrm by {transport} over HTTPS")
            by_pypsrp(tls, ssl=True, cert_validation=False, auth=transport)
            print(f"pypsrp by {transport} over HTTPS")


main()
