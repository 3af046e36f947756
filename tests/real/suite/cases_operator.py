"""What an operator has at hand: `portcullis introspect`, metrics, Prometheus, logs."""

import base64
import json
import subprocess
import urllib.parse

from cases_tokens import UNKNOWN
from checks import passed
from child import Child
from key_manager import CLIENTS, form_encoded_basic
from report import Failed, expect, expect_in, expect_not_in
from wire import LOOPBACK, free_ports, send, wait_until

INACTIVE, UNAVAILABLE, NO_PERMISSION = 1, 69, 77
REQUESTS = "portcullis_http_requests_total"
PROMTOOL_SECONDS = 30


def ended(result, code):
    expect(result.returncode, code, f"the exit code of {result.stdout!r} {result.stderr!r}")


def introspect_good_token(world):
    token = world.key_manager.mint("orders.read")
    result = world.steady.introspect(token)
    ended(result, 0)
    expect_in("scope = orders.read", result.stdout, "the claims")
    expect_in("orders-read: passes", result.stdout, "the route that it would pass")
    expect_in("orders-write: insufficient_scope", result.stdout, "the route that it would not")
    expect_not_in(token, result.stdout + result.stderr, "the token")


def introspect_as_json(world):
    result = world.steady.introspect(world.key_manager.mint("orders.read"), "--json")
    ended(result, 0)
    report = json.loads(result.stdout)
    expect(report["active"], True, "active")
    expect(report["claims"]["client_id"], "web-shop", "client_id")


def introspect_unknown_token(world):
    result = world.steady.introspect(UNKNOWN)
    ended(result, INACTIVE)
    expect_in("active      no", result.stdout, "the verdict")


def introspect_without_a_server(world):
    world.key_manager.stop()
    try:
        result = world.steady.introspect(UNKNOWN)
    finally:
        world.key_manager.start()
    ended(result, UNAVAILABLE)
    expect(result.stdout, "", "what is printed as a result")


def introspect_with_a_wrong_password(world):
    result = world.stranger.introspect(world.key_manager.mint("orders.read"))
    ended(result, NO_PERMISSION)
    expect_not_in(world.stranger.proof.secret, result.stdout + result.stderr, "the password")


def introspect_with_the_wrong_encoding(world):
    """The server only says 400; the hint names the way out."""
    result = world.raw.introspect(world.key_manager.mint("orders.read"))
    expect_not_in(result.returncode, (0,), "the exit code")
    expect_in("credentialEncoding", result.stderr, "the hint")


def check_online(world):
    result = world.steady.check("--online")
    ended(result, 0)
    expect_in("ok: gave a verdict", result.stdout, "what is printed")


def check_online_with_a_wrong_password(world):
    result = world.stranger.check("--online")
    ended(result, NO_PERMISSION)
    expect_in("hint: check name and password", result.stderr, "the hint")
    expect_not_in(world.stranger.proof.secret, result.stdout + result.stderr, "the password")


def check_online_without_a_server(world):
    world.key_manager.stop()
    try:
        ended(world.steady.check("--online"), UNAVAILABLE)
        ended(world.steady.check(), 0)
    finally:
        world.key_manager.start()


def metrics_are_well_formed(world):
    for gateway in (world.steady, world.gateway("keeper")):
        promtool_has_no_complaint(gateway)


def promtool_has_no_complaint(gateway):
    result = subprocess.run(
        ["promtool", "check", "metrics"],
        input=gateway.scrape(),
        capture_output=True,
        text=True,
        timeout=PROMTOOL_SECONDS,
        check=False,
    )
    expect(result.stdout + result.stderr, "", "what promtool says of the metrics")
    expect(result.returncode, 0, "the exit code of promtool")


def requests_are_counted_once(world):
    """Each request makes one count and one line. Both come just after the answer."""
    for gateway in world.gateways:
        sent = gateway.requests()
        wait_until(lambda: gateway.metric(REQUESTS) >= sent, "all requests are counted", 10)
        wait_until(lambda: len(gateway.access_log()) >= sent, "all requests are logged", 10)
        expect(gateway.metric(REQUESTS), sent, f"counts of {gateway.child.name}")
        expect(len(gateway.access_log()), sent, f"lines of {gateway.child.name}")


def prometheus_scrapes(world):
    [port] = free_ports(1)
    prometheus = start_prometheus(world, port)
    try:
        passed(world.steady.get(target="/open/door"))
        wait_until(lambda: is_up(prometheus, port), "Prometheus finds the gateway up")
        wait_until(
            lambda: query(port, f"sum({REQUESTS})") > 0, "Prometheus has the gateway's requests"
        )
    except Failed:
        print(prometheus.tail())
        raise
    finally:
        prometheus.stop()


def start_prometheus(world, port):
    file = world.folder / "prometheus.yml"
    file.write_text(f"""
global: {{ scrape_interval: 500ms, scrape_timeout: 500ms }}
scrape_configs:
  - job_name: portcullis
    static_configs: [ {{ targets: ["{LOOPBACK}:{world.steady.admin_port}"] }} ]
""")
    command = [
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={world.folder / 'prometheus'}",
        f"--web.listen-address={LOOPBACK}:{port}",
    ]
    prometheus = Child("prometheus", command, world.folder)
    prometheus.start()
    return prometheus


def is_up(prometheus, port):
    prometheus.check_running()
    try:
        return query(port, 'up{job="portcullis"}') == 1
    except OSError:
        return False


def query(port, expression):
    """The first value of an expression; 0 while there is none."""
    form = urllib.parse.urlencode({"query": expression})
    answer = send(port, "GET", f"/api/v1/query?{form}")
    if answer.status != 200:
        return 0
    result = answer.json["data"]["result"]
    return float(result[0]["value"][1]) if result else 0


def gateways_leave(world):
    for gateway in world.gateways:
        expect(gateway.stop(), 0, f"the exit code of {gateway.child.name} after SIGTERM")


def secrets(world):
    """Whatever the gateway was told and must not repeat, in every form it is sent in."""
    made = world.secrets()
    encoded = {urllib.parse.quote_plus(secret) for secret in made}
    return {UNKNOWN, *made, *encoded, *basic_credentials()}


def basic_credentials():
    """Those of all clients, encoded as they should be and as they should not."""
    for client in CLIENTS.values():
        yield form_encoded_basic(client).removeprefix("Basic ")
        yield base64.b64encode(f"{client['id']}:{client['secret']}".encode()).decode()


def logs_tell_no_secret(world):
    forbidden = secrets(world)
    told = {
        "tokens": world.key_manager.minted,
        "tokens of the gateway's own": world.own_key_manager.told("issued"),
        "signed statements": world.key_manager.told("assertion"),
        "lines of private keys": world.keys.secrets(),
    }
    for what, found in told.items():
        expect(len(found) > 10, True, f"whether there are enough {what} for this to mean something")
    for gateway in world.gateways:
        for file in gateway.logs():
            text = file.read_text(errors="replace")
            for secret in forbidden:
                expect_not_in(secret, text, file.name)


def metrics_tell_no_secret(world):
    forbidden = secrets(world)
    for gateway in world.gateways:
        text = gateway.scrape()
        for secret in forbidden:
            expect_not_in(secret, text, f"the metrics of {gateway.child.name}")


def logs_tell_of_trouble(world):
    """The silence of the case before must not come from a log that says nothing."""
    expect_in("credentials", world.stranger.child.err.read_text(), "the log of the refused gateway")
    reasons = {line["portcullis.reason"] for line in world.steady.access_log()}
    wanted = {"active", "no_token", "inactive", "insufficient_scope", "introspection_unreachable"}
    expect(wanted - reasons, set(), "reasons that the access log lacks")


CASES = [
    ("introspect: a good token, exit 0, with scope and routes", introspect_good_token),
    ("introspect --json: claims", introspect_as_json),
    ("introspect: an unknown token, exit 1", introspect_unknown_token),
    ("introspect: no key manager, exit 69", introspect_without_a_server),
    ("introspect: a wrong password, exit 77", introspect_with_a_wrong_password),
    ("introspect: the wrong encoding, a hint", introspect_with_the_wrong_encoding),
    ("check --online: good credentials, exit 0", check_online),
    ("check --online: a wrong password, exit 77", check_online_with_a_wrong_password),
    ("check --online: no key manager, exit 69; check alone: exit 0", check_online_without_a_server),
    ("promtool has no complaint about the metrics", metrics_are_well_formed),
    ("each request is counted once and logged once", requests_are_counted_once),
    ("Prometheus scrapes the gateway and has its requests", prometheus_scrapes),
    ("no metric has a token or a secret in it", metrics_tell_no_secret),
    ("SIGTERM: every gateway ends by itself with 0", gateways_leave),
    ("no log has a token or a secret in it", logs_tell_no_secret),
    ("the logs do tell of trouble", logs_tell_of_trouble),
]
