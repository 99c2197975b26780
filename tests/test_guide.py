"""Each command of docs/commands.md, as it stands there."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator

import pytest
from conftest import PATIENCE, ROOT, Replica, needs

Start = Callable[..., Replica]
HEADING = re.compile(r"## .*")
COMMAND = re.compile(r"    ((?:yinyang|curl) .*)")


def examples() -> Iterator[tuple[str, list[str], list[str]]]:
    """The heading, how the server is started, and the commands to it."""
    heading = ""
    options: list[str] | None = None
    commands: list[str] = []
    for line in [*(ROOT / "docs/commands.md").read_text().splitlines(), "## the end"]:
        found = COMMAND.fullmatch(line)
        ends = HEADING.fullmatch(line) or (found and found[1].startswith("yinyang"))
        if ends and options is not None:
            yield heading, options, commands
            options, commands = None, []
        if HEADING.fullmatch(line):
            heading = line.removeprefix("## ")
        elif found and found[1].startswith("yinyang"):
            options = shlex.split(found[1])[1:]
        elif found:
            commands.append(found[1])


EXAMPLES = list(examples())
STATUSES = {"Errors": [["503", "502", "200"], ["200"]]}  # of the commands that show one


@pytest.mark.parametrize("number", range(len(EXAMPLES)), ids=[heading for heading, _, _ in EXAMPLES])
def test_its_commands_do_what_they_are_for(number: int, start: Start) -> None:
    needs("curl")
    heading, options, commands = EXAMPLES[number]
    assert commands
    at = options.index("--port")
    replica = start(*options[:at], *options[at + 2 :])
    shown = []
    for command in commands:
        assert " -X POST" in command or "http://localhost:8080/" in command
        done = subprocess.run(
            ["bash", "-c", command.replace("localhost:8080", f"127.0.0.1:{replica.port}")],
            check=True,
            capture_output=True,
            timeout=PATIENCE,
            env=os.environ | {"no_proxy": "*"},
        )
        output = done.stdout.decode()
        assert not re.match(r"4\d\d [A-Z]", output), output
        assert output
        if output.startswith("{"):
            json.loads(output)
        if "http_code" in command:
            shown.append(output.strip())
    if heading in STATUSES:
        assert shown in STATUSES[heading]


def test_there_is_an_example_for_each_command() -> None:
    text = " ".join(command for _, options, commands in EXAMPLES for command in [*options, *commands])
    for word in (
        *(
            "/echo",
            "/anything",
            "/status/",
            "/delay/",
            "/burn/",
            "/readyz/disable",
            "/readyz/enable",
            "?fail=",
            "if=v1",
        ),
        *("/fault_injection/enable", "/fault_injection/disable", "/fault_injection/status", "latency=", "--control"),
        *("--error-rate", "--error-code", "--latency", "--burn", "--proxy-protocol", "format=line", "format=ansi"),
    ):
        assert word in text
