#!/usr/bin/env python3
"""build.py [--system] TEMPLATE [NAME=VALUE...]: submits a build over D-Bus and follows it to its end, as a desktop program would.

It asks the kilnd of this session or, with --system, that of all users of the machine.
It needs the package jeepney (Debian: python3-jeepney). docs/dbus.md tells what can be called.
"""

import os
import sys

from jeepney import DBusAddress, MatchRule, message_bus, new_method_call
from jeepney.io.blocking import Proxy, open_dbus_connection
from jeepney.wrappers import unwrap_msg

NAME = "org.kiln.Kiln1"
ROOT = "/org/kiln/Kiln1"


def main():
    words = sys.argv[1:]
    system = words[:1] == ["--system"]
    template, *assignments = words[system:] or sys.exit(__doc__)
    if not system and "DBUS_SESSION_BUS_ADDRESS" not in os.environ:
        sys.exit("no session bus here (DBUS_SESSION_BUS_ADDRESS is not set): --system asks the kilnd of all users")
    bus = open_dbus_connection(bus="SYSTEM" if system else "SESSION", enable_fds=True)

    def call(path, interface, method, signature, *arguments):
        address = DBusAddress(path, bus_name=NAME, interface=interface)
        message = new_method_call(address, method, signature, arguments)
        return unwrap_msg(bus.send_and_get_reply(message, timeout=25))

    def read(path):
        (values,) = call(path, "org.freedesktop.DBus.Properties", "GetAll", "s", f"{NAME}.Job")
        return {name: value for name, (_, value) in values.items()}

    # Heard before the job is there, so that nothing is missed.
    rule = MatchRule(type="signal", path_namespace=f"{ROOT}/job")
    Proxy(message_bus, bus).AddMatch(rule)
    with bus.filter(rule, bufsize=1000) as signals:
        variables = dict(assignment.split("=", 1) for assignment in assignments)
        specification = {
            "template": ("s", os.path.abspath(template)),
            "working_directory": ("s", os.getcwd()),
            # The build's whole environment: PATH, HOME and what else it shall see.
            "environment": ("a{ss}", dict(os.environ)),
            "options": ("a{sv}", {"variables": ("a{ss}", variables)}),
        }
        (job,) = call(ROOT, f"{NAME}.Manager", "Submit", "a{sv}a{sv}", specification, {})
        print(f"job {job}", flush=True)

        told = None
        while True:
            # A signal says that something has changed; what is, is read. None is missed by one that was lost.
            now = read(job)
            percent = f" {now['Progress']:.0%}" if now["Progress"] >= 0 else ""
            line = f"{now['State']} {now['Step']}{percent}".strip()
            if line != told:
                print(line, flush=True)
                told = line
            if now["Waiting"] != "/":
                print(f"it asks something: {now['Waiting']}", flush=True)
            if now["State"] in ("succeeded", "failed", "cancelled"):
                break
            try:
                bus.recv_until_filtered(signals, timeout=60)
            except TimeoutError:
                pass

    (log,) = call(job, f"{NAME}.Job", "OpenLog", "a{sv}", {"follow": ("b", False)})
    with log.to_file("r") as lines:
        sys.stdout.writelines(lines)
    if now["Error"]:
        print(f"error: {now['Error']}", file=sys.stderr)
    return max(now["ExitCode"], 0)


if __name__ == "__main__":
    sys.exit(main())
