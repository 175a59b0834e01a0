"""Stands in for PowerShell, of which no machine of the tests has one.

Three things are known:
- receive.ps1 and send.ps1 of the communicator, letter by letter: this does what they say. That they say it in good PowerShell is not shown.
- the script by which a provisioner runs a command as another user by a scheduled task: the command is run, here and at once.
- statements, one to a line or with semicolons between them: `$env:NAME = "…"`, `Write-Output` (`echo`, `Write-Host`) of one text,
  `Write-Error`, `throw`, `exit`, `. FILE`, `& 'FILE'`, `cmd /c …`, `Set-Content`, `Get-Content`, `Remove-Item`, `Test-Path`, and what the
  provisioners put around them.
Whatever else there is, it refuses with exit code 250 and says so.
"""

import base64
import hashlib
import os
import pathlib
import re
import sys
from xml.sax.saxutils import unescape

import commands

COMMUNICATOR = pathlib.Path(__file__).resolve().parents[3] / "daemon/communicators/src/winrm/transfer"
ROOT = pathlib.Path(os.environ["STAND_IN_ROOT"])
PIECE = 98304
QUOTES = "'\u2018\u2019\u201a\u201b"


class Leave(Exception):
    """The end of the script."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


def place(path):
    """Where a path of the guest is here."""
    path = pathlib.Path(path.replace("\\", "/"))
    return path if path.is_absolute() else ROOT / path


def fail(words, code=1):
    print(words, file=sys.stderr, flush=True)
    raise Leave(code)


def unknown(text):
    fail(f"the stand-in for PowerShell does not know: {text.strip()[:200]}", 250)


# Texts.


def literal(text):
    """Reads a text in single quotes."""
    return re.sub(f"([{QUOTES}])\\1", r"\1", text[1:-1])


def variable(name):
    return os.environ.get(name, os.environ.get(name.upper(), ""))


def interpolated(text):
    """Reads a text in double quotes: variables of the environment, and backticks."""
    marks = {}

    def hide(found):
        marks[f"\0{len(marks)}\0"] = {"n": "\n", "t": "\t", "0": ""}.get(found.group(1), found.group(1))
        return list(marks)[-1]

    text = re.sub(r"`(.)", hide, text[1:-1])
    text = re.sub(r"\$env:(\w+)|\$\{env:([^}]+)\}", lambda found: variable(found.group(1) or found.group(2)), text)
    for mark, letter in marks.items():
        text = text.replace(mark, letter)
    return text


def value(text):
    """The value of an expression that is known; others are refused."""
    text = text.strip()
    if text.startswith("(") and text.endswith(")"):
        return value(text[1:-1])
    if found := re.fullmatch(r'("(?:[^"`]|`.)*")\s+-f\s+(.+)', text):
        parts = [value(part) for part in found.group(2).split(",")]
        return re.sub(r"\{(\d+)\}", lambda number: parts[int(number.group(1))], interpolated(found.group(1)))
    if " + " in text and text[0] in "'[":
        return "".join(value(part) for part in split_sum(text))
    if text[:1] == "'" and text[-1:] == "'":
        return literal(text)
    if re.fullmatch(r'"(?:[^"`]|`.)*"', text):
        return interpolated(text)
    if found := re.fullmatch(r"(?:\[string\])?\$(?:env:(\w+)|\{env:([^}]+)\})", text):
        return variable(found.group(1) or found.group(2))
    if re.fullmatch(r"[\w.:/\\-]+", text):
        return text
    return unknown(text)


def split_sum(text):
    parts, part, quoted = [], "", False
    for word in re.split(r"( \+ )", text):
        quoted ^= word.count("'") % 2 == 1
        if word == " + " and not quoted:
            parts.append(part)
            part = ""
        else:
            part += word
    return [*parts, part]


# The communicator's own scripts.


def minified(text):
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def own(name, text):
    """What was put into a script of the communicator, when this is that one."""
    pattern = re.escape(minified((COMMUNICATOR / name).read_text(encoding="utf-8")))
    seen = set()

    def group(found):
        known = found.group(1) in seen
        seen.add(found.group(1))
        return f"(?P={found.group(1)})" if known else f"(?P<{found.group(1)}>[^\\n]*?)"

    pattern = re.sub(r"<<(\w+)>>", group, pattern)
    found = re.fullmatch(pattern, text)
    return found.groupdict() if found else None


# What takes patterns of names where a path is meant.
TAKES_PATTERNS = re.compile(r"\b(?:Move|Copy|New|Get|Remove)-Item\b[^\n]* -(?:Path|Destination) ")


def receive(root, name, partial, takes_patterns):
    root = place(root)
    if name and root.is_dir():
        root = root / name
    file, path, digest, size = None, None, None, 0

    def below(line):
        rest = base64.b64decode(line[1:]).decode()
        return root / rest if rest else root

    def beside():
        return path.with_name(f"{path.name}.{partial}")

    try:
        for line in sys.stdin.buffer:
            line = line.decode("ascii").rstrip("\r\n")
            if line.startswith("@"):
                below(line).mkdir(parents=True, exist_ok=True)
            elif line.startswith(":"):
                path = below(line)
                if takes_patterns and re.search(r"[][*?]", path.name):
                    raise OSError("a name with a bracket is a pattern where -LiteralPath is not said")
                if path.is_dir():
                    raise OSError("it is a directory")
                path.parent.mkdir(parents=True, exist_ok=True)
                file, digest, size = open(beside(), "wb"), hashlib.sha256(), 0
            elif line.startswith("="):
                file.close()
                found = f"={size} {digest.hexdigest()}"
                if found != line:
                    raise OSError(f"it arrived changed: {found}")
                # What cmd runs by its ending here needs a bit for it.
                if path.suffix in (".bat", ".cmd"):
                    beside().chmod(0o755)
                beside().rename(path)
                file = None
            elif line:
                piece = base64.b64decode(line)
                file.write(piece)
                digest.update(piece)
                size += len(piece)
        if file:
            raise OSError("it did not arrive whole")
    except OSError as error:
        if file:
            file.close()
            beside().unlink(missing_ok=True)
        fail(error)


def send(root, kind, follows_links):
    def name(text):
        return base64.b64encode(text.encode()).decode()

    def file(path, below):
        digest, size = hashlib.sha256(), 0
        with open(path, "rb") as content:
            print(f":{name(below)} {os.fstat(content.fileno()).st_size}")
            while piece := content.read(PIECE):
                digest.update(piece)
                size += len(piece)
                print(base64.b64encode(piece).decode())
        print(f"={size} {digest.hexdigest()}")

    def item(path, below):
        if not path.is_dir():
            return file(path, below)
        print(f"@{name(below)}")
        for one in sorted(path.iterdir()):
            if follows_links or not (one.is_symlink() and one.is_dir()):
                item(one, f"{below}/{one.name}")
        return None

    path = place(root)
    try:
        if kind == "pattern":
            found = sorted(path.parent.glob(path.name))
            if not found:
                raise OSError("nothing matches")
            for one in found:
                item(one, one.name)
        elif not path.exists():
            raise OSError(f"Cannot find path '{root}' because it does not exist.")
        elif kind == "file" and path.is_dir():
            raise OSError("it is a directory")
        elif kind == "file":
            file(path, "")
        else:
            item(path, path.name)
    except OSError as error:
        sys.stdout.flush()
        fail(error)


# Scripts of others.


def task(text):
    """The script of a command with all rights. Returns its exit code."""
    command = unescape(re.search(r"<Arguments>/c (.*)</Arguments>", text).group(1), {"&quot;": '"', "&apos;": "'"})
    user = unescape(re.search(r"<UserId>(.*)</UserId>", text).group(1))
    password, logon = re.search(r"RegisterTaskDefinition\(\$name, \$task, 6, '.*', ('.*'|\$null), (\d), \$null\)", text).groups()
    password = "none" if password == "$null" else f"sha256 {hashlib.sha256(literal(password).encode()).hexdigest()}"
    with open(ROOT / "c:/tasks.log", "a", encoding="utf-8") as log:
        print(f"user {user} logon {logon} password {password}", file=log)
    variables = {**os.environ, "USERNAME": user}
    code = commands.run(command, ROOT, variables)
    log = ROOT / re.search(r"ExpandEnvironmentVariables\('%SYSTEMROOT%/(.*)'\)", text).group(1).join(["c:/Windows/", ""])
    if log.exists():
        sys.stdout.write(log.read_text(encoding="utf-8", errors="replace"))
        log.unlink()
    return code


def statements(text):
    """Statements of a script: lines, and parts of lines between semicolons that stand in no text and no braces."""
    for line in text.splitlines():
        part, quote, depth = "", "", 0
        escaped = False
        for letter in line:
            if escaped:
                escaped = False
            elif letter == "`" and quote != "'":
                escaped = True
            elif quote:
                quote = "" if letter == quote else quote
            elif letter in "'\"":
                quote = letter
            elif letter in "{(":
                depth += 1
            elif letter in "})":
                depth -= 1
            elif letter == ";" and depth <= 0:
                yield part.strip()
                part = ""
                continue
            part += letter
        yield part.strip()


# What the provisioners put around a script, and what says nothing here.
AROUND = (
    r"if \(Test-Path variable:global:ProgressPreference\)\{set-variable -name variable:global:ProgressPreference -value 'SilentlyContinue'\}",
    r"\$(?:ErrorActionPreference|ProgressPreference) = '\w+'",
    r"\$LASTEXITCODE = 0",
    r"try \{",
    r"Set-PsDebug -Trace \d",
    r"#.*",
    r"",
)


class Script:
    def __init__(self):
        self.last = 0

    def run_file(self, path):
        path = place(path)
        if not path.is_file():
            fail(f"The file {path.name} cannot be found.", 1)
        text = path.read_text(encoding="utf-8-sig")
        if text.startswith("# PowerShell has read all of this by now"):
            path.unlink()
            raise Leave(task(text))
        self.run(text)

    def run(self, text):
        in_catch = False
        for statement in statements(text):
            if re.fullmatch(r"\} catch \{", statement):
                in_catch = True
            elif in_catch:
                in_catch = statement != "}"
            else:
                self.one(statement)

    def one(self, statement):
        known = lambda pattern: re.fullmatch(pattern, statement, re.IGNORECASE | re.DOTALL)
        if any(known(pattern) for pattern in AROUND):
            return
        if known(r"if \(\$LASTEXITCODE -ne \$null -and \$LASTEXITCODE -ne 0\) \{ exit \$LASTEXITCODE \}"):
            if self.last != 0:
                raise Leave(self.last)
        elif found := known(r'\$env:(\w+)\s*=\s*(.+)'):
            os.environ[found.group(1)] = value(found.group(2))
        elif found := known(r"(?:Write-Output|Write-Host|echo) (.+)"):
            print(value(found.group(1)), flush=True)
        elif found := known(r"(?:Write-Error|\[Console\]::Error\.WriteLine) ?\(?(.+?)\)?"):
            print(value(found.group(1)), file=sys.stderr, flush=True)
        elif found := known(r"throw (.+)"):
            fail(value(found.group(1)))
        elif known(r"exit \$LastExitCode"):
            raise Leave(self.last)
        elif found := known(r"exit (\d+)"):
            raise Leave(int(found.group(1)))
        elif found := known(r"\. ([\w.:/\\-]+)"):
            self.run_file(found.group(1))
        elif found := known(r"& ?('.*')"):
            try:
                self.run_file(literal(found.group(1)))
            except Leave as leave:
                self.last = leave.code
        elif found := known(r"cmd(?:\.exe)? /c (.+)"):
            sys.stdout.flush()
            self.last = commands.run(found.group(1), ROOT, os.environ)
        elif found := known(r"Set-Content (?:-Path )?(\S+|'.*?') (?:-Value )?(.+)"):
            place(value(found.group(1))).write_text(value(found.group(2)) + "\r\n", encoding="utf-8")
        elif found := known(r"Get-Content (.+)"):
            print(place(value(found.group(1))).read_text(encoding="utf-8").rstrip("\r\n"), flush=True)
        elif found := known(r"Remove-Item(?: -Force)?(?: -ErrorAction SilentlyContinue)? (.+)"):
            for path in found.group(1).split(", "):
                place(value(path)).unlink(missing_ok=True)
        elif found := known(r"Test-Path (.+)"):
            path = value(found.group(1))
            print(not path.upper().startswith("HK") and place(path).exists(), flush=True)
        else:
            unknown(statement)


def run(text):
    text = text.strip()
    if found := own("receive.ps1", minified(text)):
        takes_patterns = TAKES_PATTERNS.search(text) is not None
        return receive(value(found["ROOT"]), literal(found["NAME"]), found["MARK"], takes_patterns)
    if found := own("send.ps1", minified(text)):
        return send(value(found["ROOT"]), found["KIND"], "ReparsePoint" not in text)
    if found := re.fullmatch(r"& \{(.*)\}", text, re.DOTALL):
        text = found.group(1)
    return Script().run(text)


def main(arguments):
    arguments = list(arguments)
    while arguments:
        given = arguments.pop(0)
        option = given.lower()
        if option in ("-noprofile", "-noninteractive", "-nologo"):
            continue
        if option in ("-executionpolicy", "-outputformat", "-inputformat"):
            arguments.pop(0)
        elif option in ("-encodedcommand", "-enc", "-e"):
            return run(base64.b64decode(arguments.pop(0)).decode("utf-16-le"))
        elif option == "-file":
            return Script().run_file(arguments.pop(0))
        elif option == "-command":
            return run(" ".join(arguments))
        elif option.startswith("-"):
            unknown(option)
        else:
            return run(" ".join([given, *arguments]))
    return None


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
        code = 0
    except Leave as leave:
        code = leave.code
    sys.stdout.flush()
    sys.exit(code & 0xFF)
