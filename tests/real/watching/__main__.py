"""The gateway as it is watched: Prometheus, a collector of traces, goaccess, a browser.

    PYTHONPATH=tests/real/suite python3 tests/real/watching BINARY DEPLOY FOLDER

Started by ../watching.sh.
"""

import json
import pathlib
import subprocess
import sys
import urllib.parse

from child import Child
from expressions import of_dashboard, of_pages
from gateway import Gateway
from nginx import Nginx
from page import Page
from report import Failed, expect, expect_in, expect_not_in
from stage import Stage, perform
from wire import LOOPBACK, accepts, free_ports, send, wait_until

HERE = pathlib.Path(__file__).parent
DOCS = HERE.parents[2] / "docs"
TOKEN = "good-token-of-the-suite"
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = CALLER.split("-")[1]
AGENT = 'suite "of" watchers'
ECHO = """
    location / {
      default_type text/plain;
      return 200 "traceparent=$http_traceparent";
    }
    location /orders/broken { return 500; }
"""


class Part:
    """A process with a port of its own."""

    def __init__(self, name, command, folder):
        [self.port] = free_ports(1)
        self.child = Child(name, [*command, self.port], folder)

    def start(self):
        self.child.start()
        wait_until(
            lambda: self.child.check_running() and accepts(self.port), f"{self.child.name} listens"
        )

    def stop(self):
        self.child.stop()


class Prometheus:
    """With the rules that are shipped, but quicker."""

    def __init__(self, folder, deploy, gateway):
        [self.port] = free_ports(1)
        file = folder / "prometheus.yml"
        file.write_text(f"""
global: {{ scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms }}
rule_files: [ "{deploy}/prometheus/rules.yml" ]
scrape_configs:
  - job_name: portcullis
    static_configs: [ {{ targets: ["{LOOPBACK}:{gateway.admin_port}"] }} ]
""")
        self.child = Child(
            "prometheus",
            [
                "prometheus",
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address={LOOPBACK}:{self.port}",
            ],
            folder,
        )

    def start(self):
        self.child.start()
        wait_until(
            lambda: self.child.check_running() and accepts(self.port) and self.is_ready(),
            "Prometheus is ready",
        )

    def is_ready(self):
        return send(self.port, "GET", "/-/ready").status == 200

    def stop(self):
        self.child.stop()

    def query(self, expression):
        """All series of the answer."""
        form = urllib.parse.urlencode({"query": expression})
        answer = send(self.port, "GET", f"/api/v1/query?{form}")
        if answer.status != 200:
            raise Failed(f"{expression}: {answer}")
        return answer.json["data"]["result"]

    def rules(self):
        groups = send(self.port, "GET", "/api/v1/rules").json["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


class Watched(Stage):
    def __init__(self, stack, binary, deploy, folder):
        super().__init__(stack)
        self.folder = folder
        self.deploy = deploy
        peers = HERE.parent / "edge" / "peers"
        python = [sys.executable, "-B"]
        self.key_manager = Part("key_manager", [*python, peers / "key_manager.py"], folder)
        self.spans = folder / "spans"
        collector = [*python, HERE / "collector.py", self.spans]
        self.collector = Part("collector", collector, folder)
        [port] = free_ports(1)
        servers = f"  server {{\n    listen {LOOPBACK}:{port};\n{ECHO}\n  }}\n"
        self.upstream = Nginx("nginx", folder, port, servers)
        self.gateway = Gateway("gateway", binary, folder, self.configuration)
        self.prometheus = Prometheus(folder, deploy, self.gateway)

    def configuration(self, http, admin):
        return f"""
[listen]
http = "{http}"

[admin]
listen = "{admin}"

[log]
access = "combined"

[keyManager]
introspectUrl = "http://{LOOPBACK}:{self.key_manager.port}/introspect"
    [keymanager.security.basic]
    username = "gateway"
    password = "demo-secret"

[tracing]
endpoint = "http://{LOOPBACK}:{self.collector.port}"
service_name = "edge-of-the-suite"
sample = 0

[[route]]
name = "orders"
path = "/orders/*"
scopes = ["suite"]
upstream = "http://{LOOPBACK}:{self.upstream.port}"

[[route]]
name = "open"
path = "/open/*"
public = true
upstream = "http://{LOOPBACK}:{self.upstream.port}"
"""

    def start(self):
        self.run_all([self.key_manager, self.collector, self.upstream, self.gateway])
        self.traffic()
        self.run(self.prometheus)

    def traffic(self):
        """One of each kind: passed, refused in several ways, lost."""
        headers = {"User-Agent": AGENT}
        get = self.gateway.get
        for target in ("/orders/1", "/orders/2?password=hunter2"):
            expect(get(TOKEN, target, headers).status, 200, target)
        expect(get("bad-token-of-the-suite", headers=headers).status, 401, "a bad token")
        expect(get(None, headers=headers).status, 401, "no token")
        expect(get(None, "/nowhere/'&", headers).status, 404, "no route")
        body = b"x" * 1000
        answer = self.gateway.request("POST", "/open/x", None, headers, body)
        expect(answer.status, 200, "a public route")

    def spans_of(self, trace):
        if not self.spans.exists():
            return []
        lines = self.spans.read_text().splitlines()
        return [span for span in map(json.loads, lines) if span["trace"] == trace]


def promtool_takes_what_is_shipped(world):
    folder = world.deploy / "prometheus"
    for command in (
        ["check", "rules", "rules.yml"],
        ["test", "rules", "rules_test.yml"],
        ["check", "config", "prometheus.yml"],
    ):
        result = subprocess.run(
            ["promtool", *command], cwd=folder, capture_output=True, text=True, check=False
        )
        expect(result.returncode, 0, f"promtool {' '.join(command)}: {result.stdout}{result.stderr}")


def expressions_give_something(world):
    """A panel that stays empty, whatever happens, looks like a gateway without trouble."""
    # A rate is a difference: of something before, and something after.
    wait_until(lambda: world.prometheus.query("up == 1"), "Prometheus finds the gateway up")
    world.traffic()
    rate = "sum(rate(portcullis_http_requests_total[5m]))"
    wait_until(
        lambda: any(float(series["value"][1]) > 0 for series in world.prometheus.query(rate)),
        "Prometheus has a rate",
    )
    shipped = list(of_dashboard(world.deploy / "grafana" / "portcullis.json"))
    expect(len(shipped) > 40, True, f"whether {len(shipped)} expressions are all of the dashboard")
    # Nothing has been taken up since the start, and nobody has asked for a token of ours.
    empty = [(title, one) for title, one in shipped if title != "Configuration"]

    def all_have_data():
        # A scrape that comes too late takes all gauges away until the next one.
        empty[:] = [(title, one) for title, one in empty if not world.prometheus.query(one)]
        return not empty

    try:
        wait_until(all_have_data, "data in every panel")
    except Failed:
        expect(empty, [], "panels without data")
    for example in of_pages(DOCS / "metrics.md"):
        world.prometheus.query(example)


def rules_are_evaluated_and_no_alert_fires(world):
    rules = wait_until(
        lambda: all(rule["health"] == "ok" for rule in world.prometheus.rules())
        and world.prometheus.rules(),
        "every rule to be evaluated",
    )
    firing = [rule["name"] for rule in rules if rule.get("state") == "firing"]
    expect(firing, [], "alerts that fire")
    names = [rule["name"] for rule in rules if rule["type"] == "recording"]
    expect(len(names) >= 6, True, f"whether {names} are all")
    for name in names:
        wait_until(lambda name=name: world.prometheus.query(name), f"a value of {name}")


def spans_are_what_opentelemetry_reads(world):
    answer = world.gateway.get("good-for-a-trace", headers={"traceparent": CALLER})
    spans = wait_until(lambda: len(found := world.spans_of(TRACE)) >= 3 and found, "three spans")
    by_name = {span["name"]: span for span in spans}
    expect(sorted(by_name), ["GET orders", "introspect", "upstream"], "the spans")
    ours = by_name["GET orders"]
    expect(ours["parent"], CALLER.split("-")[2], "the caller's span")
    expect(ours["kind"], 2, "the kind of our own")
    expect(ours["service"], "edge-of-the-suite", "the service")
    expect(ours["attributes"]["http.response.status_code"], 200, "a number")
    for name in ("introspect", "upstream"):
        span = by_name[name]
        expect((span["parent"], span["kind"]), (ours["span"], 3), f"parent and kind of {name}")
        expect(span["start"] >= ours["start"], True, f"whether {name} starts within")
        expect(span["seconds"] <= ours["seconds"], True, f"whether {name} is within")
        expect(span["failed"], False, f"whether {name} failed")
    expect_in(f"{TRACE}-{by_name['upstream']['span']}-01", answer.body, "what the upstream saw")


def a_collector_that_is_away_for_a_while_misses_nothing(world):
    trace = TRACE[::-1]
    send(world.collector.port, "POST", "/refuse", body=b"1")
    world.gateway.get(TOKEN, headers={"traceparent": CALLER.replace(TRACE, trace)})
    wait_until(lambda: world.spans_of(trace), "the spans, with the second try")
    dropped = world.gateway.metric("portcullis_trace_spans_dropped_total")
    expect(dropped, 0, "spans that were dropped")


def no_span_tells_a_secret(world):
    text = world.spans.read_text()
    for secret in (TOKEN, "good-for-a-trace", "hunter2", "demo-secret"):
        expect_not_in(secret, text, "spans")


def goaccess_reads_the_log(world):
    lines = wait_until(
        lambda: len(lines := world.gateway.child.output().splitlines()) >= world.gateway.requests()
        and lines,
        "a line for each request",
    )
    log, report = world.folder / "access.log", world.folder / "goaccess.json"
    log.write_text("\n".join(lines) + "\n")
    command = ["goaccess", log, "--log-format=COMBINED", "--no-global-config", "-o", report]
    subprocess.run(command, capture_output=True, check=True)
    general = json.loads(report.read_text())["general"]
    expect(general["failed_requests"], 0, "lines that goaccess does not understand")
    expect(general["valid_requests"], len(lines), "lines that it does")
    for secret in (TOKEN, "hunter2", "?"):
        expect_not_in(secret, log.read_text(), "the log")


def the_page_shows_itself(world):
    page = Page(f"http://{LOOPBACK}:{world.gateway.admin_port}/", world.folder)
    expect(page.console, [], "what the console says")
    expect(page.elements.count.get("svg"), 6, "graphs")
    expect(page.elements.count.get("table"), 5, "tables")
    expect(page.elements.count.get("script"), None, "scripts")
    for text in ("ready", "orders", "route_not_found", "/nowhere/'&", f":{world.upstream.port}"):
        expect(page.has(text), True, f"whether the page has {text!r}")
    for secret in (TOKEN, "hunter2", "demo-secret"):
        expect_not_in(secret, page.document, "the page")


def the_policy_of_the_page_is_in_force(world):
    """The console would have said so: it does for a page that breaks the same policy."""
    file = world.folder / "violation.html"
    file.write_text(
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'\">"
        "<script>document.title = 'ran'</script>"
    )
    page = Page(f"file://{file}", world.folder)
    expect(bool(page.console), True, "whether a violation is seen")


CASES = [
    ("promtool takes rules, their tests and the configuration", promtool_takes_what_is_shipped),
    ("every expression of the dashboard gives something", expressions_give_something),
    ("every rule is evaluated, and no alert fires", rules_are_evaluated_and_no_alert_fires),
    ("OpenTelemetry's classes read the spans, which hang together", spans_are_what_opentelemetry_reads),
    ("a collector that refuses once gets the spans later", a_collector_that_is_away_for_a_while_misses_nothing),
    ("no span tells a secret", no_span_tells_a_secret),
    ("goaccess understands every line of the combined log", goaccess_reads_the_log),
    ("Chromium shows the status page and complains of nothing", the_page_shows_itself),
    ("and would complain of a violation", the_policy_of_the_page_is_in_force),
]

perform(Watched, CASES)
