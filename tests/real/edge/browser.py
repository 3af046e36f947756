"""Pages in Chromium that call the gateway from origins that it names, and from others.

    PYTHONPATH=tests/real/suite python3 tests/real/edge/browser.py BINARY FOLDER

Started by ../browser.sh.
"""

import html
import json
import re
import subprocess

from report import Failed, expect, expect_in
from stage import perform
from wire import free_ports
from world import GOOD, World, Peer, python

BROWSER_SECONDS = 60
# What a page is told of one call: everything it can see, or that it could not make it.
PAGE = """<!doctype html><title>calls</title><pre id="out"></pre><script>
const call = async ({path, options}) => {
  try {
    const answer = await fetch(GATEWAY + path, options);
    return {status: answer.status, body: await answer.text(), headers: Object.fromEntries(answer.headers)};
  } catch (fault) { return {fault: String(fault)}; }
};
(async () => {
  const seen = [];
  for (const one of CALLS) seen.push(await call(one));
  document.getElementById("out").textContent = JSON.stringify(seen);
})();
</script>"""


class Browser(World):
    def __init__(self, stack, binary, folder):
        super().__init__(stack, binary, folder)
        self.pages = folder / "pages"
        self.pages.mkdir()
        self.upstream = python("recorder", folder)
        self.named, self.other = (self.site(name, folder) for name in ("named", "other"))
        origin = f"http://localhost:{self.named.port}"
        self.edge = self.gateway(f"""
[[route]]
path = "/guarded/*"
scopes = ["suite"]
methods = ["GET", "PUT"]
upstream = "{self.upstream.url}"
compression = ["zstd", "br", "gzip"]
[route.cors]
origins = ["{origin}"]
expose_headers = ["X-Told"]
[route.headers.response]
set = {{ "X-Told" = "yes", "X-Kept" = "secret" }}

[[route]]
path = "/scope/*"
scopes = ["more"]
upstream = "{self.upstream.url}"
cors = {{ origins = ["{origin}"] }}

[[route]]
path = "/cookies/*"
public = true
upstream = "{self.upstream.url}"
cors = {{ origins = ["{origin}"], credentials = true }}

[[route]]
path = "/open/*"
public = true
upstream = "{self.upstream.url}"
cors = {{ origins = ["*"], headers = ["*"] }}

[[route]]
path = "/silent/*"
public = true
upstream = "{self.upstream.url}"
""")

    def site(self, name, folder):
        [port] = free_ports(1)
        peer = Peer(name, folder, ["python3", "-m", "http.server", "-b", "127.0.0.1", "-d", self.pages])
        peer.port = port
        peer.child.command[-1] = str(port)
        return peer

    def start(self):
        self.run_all([self.key_manager, self.upstream, self.named, self.other, self.edge])

    def calls(self, site, *calls):
        """What a page of `site` sees of these calls, made one after the other."""
        asked = [{"path": path, "options": options} for path, options in calls]
        page = PAGE.replace("GATEWAY", json.dumps(self.edge.http)).replace("CALLS", json.dumps(asked))
        (self.pages / "page.html").write_text(page)
        command = [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            f"--user-data-dir={self.folder / 'profile'}", "--virtual-time-budget=20000", "--dump-dom",
            f"http://localhost:{site.port}/page.html",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=BROWSER_SECONDS)
        found = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.S)
        if not found or not found[1]:
            raise Failed(f"no result: {done.stdout[-500:]} {done.stderr[-500:]}")
        return json.loads(html.unescape(found[1]))

    def preflights(self):
        return sum('"preflight"' in line for line in self.edge.child.output().splitlines())


def with_token(token=GOOD, method="GET", **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"method": method, "headers": {"Authorization": f"Bearer {token}", **fields}}


def reads_the_answer(world):
    before = world.preflights()
    read, written = world.calls(
        world.named,
        ("/guarded/1?x=y", with_token()),
        ("/guarded/2", {**with_token(method="PUT", Content_Type="application/json"), "body": '{"a": 1}'}),
    )
    for seen, request in ((read, "GET /guarded/1?x=y"), (written, "PUT /guarded/2")):
        expect(seen.get("status"), 200, f"the status of {request}: {seen}")
        expect(json.loads(seen["body"])["request"], request, "what the upstream saw")
    expect(json.loads(written["body"])["body"], '{"a": 1}', "the body that the upstream saw")
    expect(read["headers"].get("x-told"), "yes", "a header that is exposed")
    expect(read["headers"].get("x-kept"), None, "a header that is not")
    expect(world.preflights() - before >= 1, True, "whether the gateway answered a preflight")
    expect("OPTIONS" in world.upstream.child.output(), False, "whether the upstream saw one")


def reads_refusals(world):
    bad, none, scope = world.calls(
        world.named,
        ("/guarded/1", with_token("bad")),
        ("/guarded/1", {}),
        ("/scope/1", with_token()),
    )
    for seen, status, reason in ((bad, 401, "inactive"), (none, 401, "no_token"), (scope, 403, "insufficient_scope")):
        expect(seen.get("status"), status, f"the status: {seen}")
        expect_in(reason, seen["body"], "the refusal")


def others_read_nothing(world):
    count = world.upstream.child.output().count("/guarded/3")
    seen = world.calls(
        world.other, ("/guarded/3", with_token()), ("/guarded/1", {}), ("/cookies/1", {"credentials": "include"})
    )
    for one in seen:
        expect_in("TypeError", one.get("fault", str(one)), "what the page sees")
    expect(world.upstream.child.output().count("/guarded/3"), count, "requests after a preflight in vain")


def what_is_not_allowed_is_not_sent(world):
    header, method = world.calls(
        world.named, ("/guarded/1", with_token(X_Other="1")), ("/guarded/1", with_token(method="DELETE"))
    )
    for one in (header, method):
        expect_in("TypeError", one.get("fault", str(one)), "what the page sees")


def cookies(world):
    mine, not_mine = world.calls(
        world.named,
        ("/cookies/1", {"credentials": "include"}),
        ("/open/1", {"credentials": "include"}),
    )
    expect(mine.get("status"), 200, f"the status with credentials: {mine}")
    expect_in("TypeError", not_mine.get("fault", str(not_mine)), "credentials with a star")


def everybody(world):
    for site in (world.named, world.other):
        [seen] = world.calls(site, ("/open/1", with_token("any", X_Anything="1")))
        expect(seen.get("status"), 200, f"the status: {seen}")
        expect_in("x-anything", seen["body"], "what the upstream saw")


def without_cors(world):
    [seen] = world.calls(world.named, ("/silent/1", {}))
    expect_in("TypeError", seen.get("fault", str(seen)), "what the page sees")


CASES = [
    ("a page of a named origin calls with a token, and reads the answer", reads_the_answer),
    ("it reads why it is refused: 401 and 403", reads_refusals),
    ("a page of another origin reads nothing", others_read_nothing),
    ("headers and methods that are not allowed are not sent", what_is_not_allowed_is_not_sent),
    ("credentials, where the route says so, and never with a star", cookies),
    ("every page, where the route says so", everybody),
    ("a route without CORS", without_cors),
]

perform(Browser, CASES)
