"""Command lines, as `cmd` has them, run by `sh`.

Of cmd itself there are: assignments in front (`set "NAME=value" && …`), `%NAME%`, and `> FILE 2>&1` behind PowerShell. `powershell` and `pwsh`
are powershell.py, `shutdown` asks the service. All else goes to `sh` as it is, in a directory where `c:/` is a directory, so that a path of
Windows with slashes is one here too.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
SHELLS = ("powershell", "powershell.exe", "pwsh", "pwsh.exe")


def shown(line):
    """A line for the log: PowerShell's Base64 says nothing there."""
    return re.sub(r"(-EncodedCommand )\S+", r"\1...", line, flags=re.IGNORECASE)


def environment(root):
    own = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return {
        **own,
        "COMPUTERNAME": "GUEST",
        "USERNAME": "packer",
        "SYSTEMROOT": "c:/Windows",
        "TEMP": "c:/Windows/Temp",
        "STAND_IN_ROOT": str(root),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def words(line):
    """Splits a line into words; double quotes hold them together."""
    return [quoted if quoted is not None else plain for quoted, plain in
            ((found.group(1), found.group(2)) for found in re.finditer(r'"([^"]*)"(?=\s|$)|(\S+)', line))]


def read(line, variables):
    """Takes a line of cmd apart: what is run, and where its output goes."""
    while found := re.match(r'\s*set "([^="]+)=([^"]*)" && ', line):
        variables[found.group(1)] = found.group(2)
        line = line[found.end():]
    line = re.sub(r"%(\w+)%", lambda name: variables.get(name.group(1).upper(), name.group(0)), line)
    into = None
    first = words(line)[:1]
    if first and first[0].lower() in SHELLS and (found := re.search(r" > (\S+) 2>&1$", line)):
        into, line = found.group(1), line[: found.start()]
    if first and first[0].lower() in SHELLS:
        return [sys.executable, str(HERE / "powershell.py"), *words(line)[1:]], into
    return ["sh", "-c", line], into


def start(line, guest, console):
    """Starts a line of a shell of the service."""
    root = pathlib.Path(guest.settings.root)
    variables = environment(root)
    program, into = read(line, variables)
    told = None
    if program[0] == "sh" and line.strip().startswith("shutdown"):
        program, told = ["true"], guest.shutdown(line.split())
    output = open(root / into, "wb") if into else subprocess.PIPE
    errors = subprocess.STDOUT if into else subprocess.PIPE
    process = subprocess.Popen(
        program, cwd=root, env=variables, stdin=subprocess.PIPE, stdout=output, stderr=errors, start_new_session=True
    )
    # Exit codes of Windows have 32 bits, those here eight.
    process.told = told
    return process


def run(line, root, variables):
    """Runs a line of a script to its end, and returns its exit code."""
    variables = dict(variables)
    program, into = read(line, variables)
    if into is None:
        return subprocess.run(program, cwd=root, env=variables, check=False).returncode
    with open(root / into, "wb") as output:
        return subprocess.run(program, cwd=root, env=variables, stdout=output, stderr=output, check=False).returncode


def end(process):
    """Ends a process with all that it started."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    if process.stdin:
        try:
            process.stdin.close()
        except OSError:
            pass
