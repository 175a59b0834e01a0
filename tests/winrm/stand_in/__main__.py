"""A stand-in for a Windows guest's WinRM service, for tests: `python3 tests/winrm/stand_in --root DIR`.

It is written from MS-WSMV and stands in for what no test machine has. What is real: HTTP and TLS, WS-Management's envelopes and faults,
shells, streams and exit codes; logging in by NTLM and sealing are PyPI's pyspnego (its acceptor). What is not: there is no Windows under it.
Commands are run by `sh` (see commands.py), and PowerShell is a small subset (see powershell.py), which refuses what it does not know.

It prints `listening PORT` when it is ready, then on standard error a line for each thing that it was asked. Lines of standard input are
what it is to do wrong from then on (see web.py); it ends with its standard input.
"""

import argparse
import pathlib
import sys
import threading

import service
import web


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True, help="the directory that stands in for the guest's drives")
    parser.add_argument("--user", default="packer")
    parser.add_argument("--password", default="Passw0rd-of-the-guest")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--schemes", default="Negotiate,Basic", help="the ways to log in that are offered")
    parser.add_argument("--allow-unencrypted", action="store_true", help="takes messages that are neither sealed nor in TLS")
    parser.add_argument("--certificate", help="PEM of a certificate and its key: HTTPS")
    parser.add_argument("--max-envelope-kb", type=int, default=500)
    parser.add_argument("--away-after-restart", type=float, default=2.0, help="seconds that a restart takes")
    parser.add_argument("--misbehave", default="", help="what to do wrong, see web.py")
    return parser.parse_args()


def main():
    settings = arguments()
    root = pathlib.Path(settings.root)
    (root / "c:/Windows/Temp").mkdir(parents=True, exist_ok=True)
    if not (root / "C:").exists():
        (root / "C:").symlink_to("c:")
    guest = service.Guest(settings)
    server = web.Server(settings, guest)
    threading.Thread(target=server.run, daemon=True).start()
    server.listening.wait()
    print(f"listening {server.port}", flush=True)
    # Whoever started it ends it, or dies.
    for line in sys.stdin:
        server.misbehave(line.strip())
    guest.end()


main()
