"""Subscriptions from an API Manager at the front door.

    python3 tests/real/edge/subscriptions.py BINARY FOLDER

Started by ../subscriptions.sh.
"""

import subprocess
import time

from apim_world import (
    AGE,
    PASSWORD,
    REQUESTS,
    SKIPPED,
    ApimWorld,
    call,
    model,
    route,
)
from checks import passed, refused
from report import expect, expect_in, expect_not_in
from stage import perform
from wire import send, wait_until

MISSING, NOT_READY = "subscription_missing", "subscriptions_not_ready"
# By slug: the state of the subscription, and what a production and a sandbox key are answered.
STATES = {
    "open": ("UNBLOCKED", None, None),
    "pending": ("TIER_UPDATE_PENDING", None, None),
    "hold": ("ON_HOLD", "subscription_on_hold", "subscription_on_hold"),
    "blocked": ("BLOCKED", "subscription_blocked", "subscription_blocked"),
    "half": ("PROD_ONLY_BLOCKED", "subscription_blocked", None),
    "rejected": ("REJECTED", "subscription_rejected", "subscription_rejected"),
    "odd": ("SOMETHING_NEW", "subscription_rejected", "subscription_rejected"),
}
APP = 7
# A subscription, or the lack of one, must be forgotten fast enough to be waited for.
SOON = 15
# So long the gateway remembers that it does not know a pair.
UNKNOWN_SECONDS = 5


def fill(manager):
    manager.put("applications", model.application(APP, "shop"), model.application(8, "other"))
    manager.put(
        "application-key-mappings",
        model.key_mapping(APP, "prod"),
        model.key_mapping(APP, "sand", "SANDBOX"),
        model.key_mapping(8, "other"),
        # Characters that a query has to encode.
        model.key_mapping(8, "odd+key &=%41/ü"),
    )
    for number, (slug, (state, *_)) in enumerate(STATES.items(), 1):
        manager.put("apis", model.api(number, f"{slug}-API", "1.0.0", f"/{slug}/1.0.0"))
        manager.put("subscriptions", model.subscription(number, number, APP, state))
    manager.put("apis", model.api(20, "My_API", "1.0.0", "/spaces/1.0.0"))
    manager.put("apis", model.api(21, "later-API", "1.0.0", "/later/1.0.0"))
    manager.put("subscriptions", model.subscription(20, 20, APP))


class World(ApimWorld):
    def start(self):
        super().start()
        fill(self.manager)
        sandbox = f'sandbox_upstream = "{self.upstream.url}"'
        self.routes = [route(slug, f"{slug}-API", self.upstream, more=sandbox) for slug in STATES]
        self.routes += [
            # Found by its path: the name has a space here.
            route("spaces", "My API", self.upstream),
            route("later", "later-API", self.upstream),
            route("nowhere", "nowhere-API", self.upstream),
            route("free", "open-API", self.upstream, more="validate_subscriptions = false"),
        ]
        hub = 'resyncInterval = "1s"\ntenant = "carbon.super"\nmaxListBytes = "1MiB"'
        self.fast = self.validating("fast", self.manager, self.routes, hub)
        # Reads everything once.
        self.slow = self.validating("slow", self.manager, self.routes, 'resyncInterval = "1h"')
        for gateway in (self.fast, self.slow):
            wait_until(gateway.is_ready, "the lists are read", SOON)


def outcomes(world):
    for slug, (_, production, sandbox) in STATES.items():
        for client, reason in (("prod", production), ("sand", sandbox)):
            answer = call(world.slow, client, slug)
            if reason is None:
                passed(answer)
            else:
                refused(answer, 403, reason)


def nobody_known(world):
    refused(call(world.slow, "stranger", "open"), 403, MISSING)
    refused(call(world.slow, "other", "open"), 403, MISSING)
    refused(call(world.slow, "prod", "nowhere"), 403, MISSING)
    refused(world.slow.get("anonymous-1", "/open/menu"), 403, "no_client_id")
    passed(call(world.slow, "stranger", "free"))
    passed(world.slow.get("anonymous-1", "/free/menu"))


def spaces_in_names(world):
    passed(call(world.slow, "prod", "spaces"))


def tiers_of_the_api_manager(world):
    """So many requests a year, so that no window ends meanwhile."""
    manager = world.manager
    manager.put("subscription-policies", model.subscription_policy(50, "TwoAYear", 2, "year"))
    manager.put("application-policies", model.policy(51, "ThreeAYear", 3, "year"))
    manager.put("applications", model.application(50, "rare"), model.application(51, "few", policy="ThreeAYear"))
    for number, client in ((50, "rare"), (51, "few")):
        manager.put("application-key-mappings", model.key_mapping(number, client))
    manager.put("subscriptions", model.subscription(50, 21, 50, policy="TwoAYear"))
    manager.put("subscriptions", model.subscription(51, 21, 51))
    world.synchronised(world.fast)
    for client, count, reason in (
        ("rare", 2, "subscription_tier_exceeded"),
        ("few", 3, "application_tier_exceeded"),
    ):
        for _ in range(count):
            passed(call(world.fast, client, "later"))
        refused(call(world.fast, client, "later"), 429, reason, retry_after=True)
    # It may change at any time; what was counted stays.
    manager.remove("subscription-policies", {"name": "TwoAYear"})
    manager.put("subscription-policies", model.subscription_policy(50, "TwoAYear", 3, "year"))
    world.synchronised(world.fast)
    world.synchronised(world.fast)
    passed(call(world.fast, "rare", "later"))
    refused(call(world.fast, "rare", "later"), 429, "subscription_tier_exceeded", retry_after=True)


def known_pairs_ask_nobody(world):
    call(world.slow, "prod", "open")
    asked = world.slow.metric(REQUESTS)
    for _ in range(50):
        for slug in STATES:
            call(world.slow, "prod", slug)
    expect(world.slow.metric(REQUESTS), asked, "questions to the API Manager")


def unknown_pairs_ask_once(world):
    client = "odd+key"
    world.manager.forget_calls()
    began = time.monotonic()
    for _ in range(20):
        refused(call(world.slow, client, "open"), 403, MISSING)
    calls = [c for c in world.manager.calls("application-key-mappings") if c["query"]]
    times = 1 + int((time.monotonic() - began) / UNKNOWN_SECONDS)
    expect(1 <= len(calls) <= times, True, f"whether {len(calls)} questions are as few as can be")
    for one in calls:
        expect(one["query"], {"consumerKey": client}, "a question")
    expect_in("%2B", calls[0]["raw_query"], "the encoded query")


def what_is_new_is_found_at_once(world):
    """By a gateway that reads no lists any more, and has not heard of it before."""
    manager = world.manager
    manager.put("applications", model.application(30, "new"))
    manager.put("application-key-mappings", model.key_mapping(30, "new-client"))
    manager.put("subscriptions", model.subscription(30, 21, 30))
    # A question has two seconds in all; on a busy machine it may be the next one that is answered.
    wait_until(lambda: call(world.slow, "new-client", "later").status == 200, "it passes", SOON)


def what_is_gone_goes_with_the_next_lists(world):
    manager = world.manager
    passed(call(world.fast, "new-client", "later"))
    manager.remove("subscriptions", {"subscriptionId": 30})
    wait_until(
        lambda: call(world.fast, "new-client", "later").status == 403, "it has no effect any more", SOON
    )
    # This one would be told by an event only.
    passed(call(world.slow, "new-client", "later"))


def headers_and_paths(world):
    world.manager.forget_calls()
    world.synchronised(world.fast)
    calls = [call for call in world.manager.calls() if call["tenant"]]
    for call_ in calls:
        expect(call_["authorised"], True, "whether name and password are right")
        expect(call_["tenant"], "carbon.super", "the tenant")
        expect_not_in("//", call_["path"], "the path")
    lists = {call_["kind"] for call_ in calls}
    for kind in ("apis", "applications", "application-key-mappings", "subscriptions"):
        expect_in(kind, lists, "the lists")


def both_generations(world):
    world.manager.tell("generation", generation=4)
    try:
        world.synchronised(world.fast)
        outcomes_of(world.fast)
    finally:
        world.manager.tell("generation", generation=3)


def outcomes_of(gateway):
    passed(call(gateway, "prod", "open"))
    refused(call(gateway, "prod", "blocked"), 403, "subscription_blocked")


BAD_ROWS = [
    None,
    17,
    "row",
    [1, 2, 3],
    {},
    {"subscriptionId": 900, "apiId": None, "appId": 7, "subscriptionState": "UNBLOCKED"},
    {"subscriptionId": 901, "apiId": "one", "appId": 7, "subscriptionState": "UNBLOCKED"},
    {"subscriptionId": 902, "apiId": 1.5, "appId": 7, "subscriptionState": "UNBLOCKED"},
    {"subscriptionId": 903, "apiId": -1, "appId": 7, "subscriptionState": "UNBLOCKED"},
    {"subscriptionId": 904, "apiId": 1 << 70, "appId": 7, "subscriptionState": "UNBLOCKED"},
    {"subscriptionId": 905, "apiId": 1, "appId": 7, "subscriptionState": None},
    {"subscriptionId": 906, "apiId": 1, "appId": 7, "subscriptionState": ["UNBLOCKED"]},
    {"subscriptionId": 907, "apiId": 1, "appId": 7, "policyId": "x" * 5000, "subscriptionState": "BLOCKED"},
]


def bad_rows(world):
    world.manager.put("subscriptions", *BAD_ROWS)
    world.manager.put("applications", {"id": 900, "name": None, "attributes": None, "groupIds": None})
    world.manager.put("application-key-mappings", model.key_mapping(7, "", "PRODUCTION"))
    world.manager.put("application-key-mappings", model.key_mapping(7, "test", "TEST"))
    try:
        world.synchronised(world.fast)
        world.synchronised(world.fast)
        outcomes_of(world.fast)
        for fault in ("form", "missing", "wrong_type", "out_of_range"):
            count = world.fast.metric(SKIPPED, list="subscriptions", fault=fault)
            expect(count > 1, True, f"whether rows were left out as {fault}")
            told = [
                line
                for line in world.fast.child.err.read_text().splitlines()
                if "left out" in line and "subscriptions" in line and fault in line
            ]
            expect(len(told), 1, f"messages about {fault}")
        expect(world.fast.metric(SKIPPED, list="applications"), 0, "applications left out")
    finally:
        world.manager.remove("subscriptions", *BAD_ROWS)
        world.manager.remove("applications", {"id": 900})
        world.manager.remove("application-key-mappings", model.key_mapping(7, "", "PRODUCTION"))
        world.manager.remove("application-key-mappings", model.key_mapping(7, "test", "TEST"))


# What the API Manager does, and how that is counted.
FAULTS = [
    ("status", "http_error", {"status": 500}),
    ("status", "http_error", {"status": 404}),
    ("status", "client_refused", {"status": 403}),
    ("empty", "http_error", {}),
    ("redirect", "http_error", {}),
    ("html", "bad_body", {}),
    ("garbage", "bad_body", {}),
    ("other-json", "bad_body", {}),
    ("cut", "bad_body", {}),
    ("endless", "too_large", {}),
]


def faults_take_nothing_away(world):
    for how, outcome, options in FAULTS:
        before = world.fast.metric(REQUESTS, outcome=outcome)
        world.manager.behave(how, **options)
        try:
            wait_until(
                lambda b=before, o=outcome: world.fast.metric(REQUESTS, outcome=o) > b,
                f"{how} is counted as {outcome}",
                SOON,
            )
            outcomes_of(world.fast)
            refused(call(world.fast, f"stranger-{how}", "open"), 403, MISSING)
        finally:
            world.manager.behave("ok")
        world.synchronised(world.fast)


def outage(world):
    """Nothing is forgotten, its age is told, and nobody else gets in."""
    world.manager.stop()
    try:
        failed = world.fast.metric(REQUESTS, outcome="connect_error")
        wait_until(
            lambda: world.fast.metric(REQUESTS, outcome="connect_error") > failed, "it is missed", SOON
        )
        outcomes_of(world.fast)
        outcomes(world)
        refused(call(world.fast, "stranger-2", "open"), 403, MISSING)
        wait_until(lambda: world.fast.metric(AGE) > 3, "the age is told", SOON)
        page = send(world.fast.admin_port, "GET", "/").body
        expect_in("the source cannot be read now", page, "the status page")
    finally:
        world.manager.start()
    world.synchronised(world.fast)
    wait_until(lambda: world.fast.metric(AGE) < 3, "they are young again", SOON)
    outcomes_of(world.fast)


def start_without_it(world):
    """The gateway takes requests, lets nobody in, and does once it has the lists."""
    manager = world.make_manager("late-manager")
    gateway = world.validating("early", manager, world.routes)
    refused(call(gateway, "prod", "open"), 503, NOT_READY, retry_after=True)
    passed(call(gateway, "prod", "free"))
    world.run(manager)
    fill(manager)
    wait_until(lambda: call(gateway, "prod", "open").status == 200, "it lets subscribers in", 90)
    refused(call(gateway, "prod", "blocked"), 403, "subscription_blocked")


def wrong_password(world):
    gateway = world.validating("stranger", world.manager, world.routes, password="wr0ng")
    wait_until(lambda: gateway.metric(REQUESTS, outcome="client_refused") > 0, "it is refused", SOON)
    refused(call(gateway, "prod", "open"), 503, NOT_READY, retry_after=True)
    result = gateway.check("--online")
    expect(result.returncode, 77, f"the exit code of {result}")


def end_while_it_hangs(world):
    """A list that does not come keeps nobody from ending."""
    manager = world.make_manager("hanging-manager")
    world.run(manager)
    manager.behave("hang", seconds=60)
    gateway = world.validating("hanging", manager, world.routes)
    wait_until(lambda: manager.calls(), "the lists are asked for", SOON)
    began = time.monotonic()
    expect(gateway.stop(), 0, "the exit code")
    took = time.monotonic() - began
    expect(took < 30, True, f"whether it ended soon ({took:.1f} s)")


def over_tls(world):
    certificate, key = world.folder / "apim.pem", world.folder / "apim.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        + ["-days", "2", "-subj", "/CN=apim", "-addext", "subjectAltName=IP:127.0.0.1"]
        + ["-addext", "basicConstraints=critical,CA:FALSE"]
        + ["-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    manager = world.make_manager("safe-manager", "--certificate", str(certificate), str(key))
    world.run(manager)
    fill(manager)
    trust = f'[apim.eventHub.tls]\ncaFile = "{certificate}"'
    gateway = world.validating("safe", manager, world.routes, trust)
    wait_until(gateway.is_ready, "the lists are read", SOON)
    outcomes_of(gateway)
    distrusting = world.validating("distrusting", manager, world.routes)
    wait_until(lambda: distrusting.metric(REQUESTS, outcome="connect_error") > 0, "no trust", SOON)
    refused(call(distrusting, "prod", "open"), 503, NOT_READY, retry_after=True)


def check_online(world):
    result = world.slow.check("--online")
    expect(result.returncode, 1, f"the exit code of {result}")
    expect_in('name = "My_API"', result.stderr, "the fix for a name with a space")
    expect_in("nowhere-API", result.stderr, "the API that is not there")
    right = [route("open", "open-API", world.upstream)]
    good = world.validating("good", world.manager, right, start=False)
    result = good.check("--online")
    expect(result.returncode, 0, f"the exit code of {result}")
    expect_in("APIs in", result.stdout, "what it says")
    misspelt = [route("other", "open API", world.upstream)]
    bad = world.validating("misspelt", world.manager, misspelt, start=False)
    result = bad.check("--online")
    expect(result.returncode, 1, f"the exit code of {result}")
    expect_in('name = "open-API"', result.stderr, "the fix")
    nowhere = world.make_manager("nowhere-manager")
    lost = world.validating("lost", nowhere, right, start=False)
    expect(lost.check("--online").returncode, 69, "the exit code where nobody answers")


# Status and code of the original, for a production key.
ORIGINAL = {
    "hold": (401, 900909),
    "blocked": (401, 900907),
    "half": (401, 900907),
    "rejected": (403, 900908),
    "odd": (403, 900908),
}
CHALLENGE = (
    'OAuth2 realm="WSO2 API Microgateway", error="invalid token" , '
    'error_description="The access token expired"'
)


def in_the_originals_words(world):
    apis = {slug: f"{slug}-API" for slug in STATES} | {"spaces": "My API"}
    gateway = world.drop_in(apis)
    wait_until(gateway.is_ready, "the lists are read", SOON)

    def ask(client, slug):
        return gateway.get(f"of-{client}", f"/{slug}/1.0.0/menu")

    def faulty(answer, status, code):
        expect(answer.status, status, f"the status of {answer}")
        expect(answer.json["fault"]["code"], code, "the code")
        challenge = CHALLENGE if status == 401 else None
        expect(answer.header("WWW-Authenticate"), challenge, "the challenge")

    for slug in apis:
        if slug in ORIGINAL:
            faulty(ask("prod", slug), *ORIGINAL[slug])
        else:
            passed(ask("prod", slug))
    passed(ask("sand", "half"))
    faulty(ask("stranger", "open"), 403, 900908)
    faulty(gateway.get("anonymous-1", "/open/1.0.0/menu"), 500, 900900)
    gateway.stop()


def secrets_are_told_to_nobody(world):
    for gateway in world.gateways:
        for file in gateway.logs():
            text = file.read_text(errors="replace")
            for secret in (PASSWORD, "of-prod", "of-sand"):
                expect_not_in(secret, text, file.name)


CASES = [
    ("each state of a subscription, with both kinds of keys", outcomes),
    (f"unknown clients, applications and APIs: 403 {MISSING}; without validation they pass", nobody_known),
    ("a name with a space is found by its path", spaces_in_names),
    ("tiers as the API Manager's policies have them", tiers_of_the_api_manager),
    ("known pairs ask nobody", known_pairs_ask_nobody),
    ("an unknown pair is asked about once", unknown_pairs_ask_once),
    ("a new application with a new subscription passes at once", what_is_new_is_found_at_once),
    ("a subscription that is gone goes with the next lists", what_is_gone_goes_with_the_next_lists),
    ("name, password, tenant and paths as they should be", headers_and_paths),
    ("the rows of 4.x", both_generations),
    ("bad rows are left out, counted, and told once; the others stay", bad_rows),
    ("answers that are none take nothing away", faults_take_nothing_away),
    ("an outage: what is known stays, and how old it is can be seen", outage),
    (f"a start without the API Manager: 503 {NOT_READY}, then 200", start_without_it),
    (f"a wrong password: 503 {NOT_READY}; check --online says so", wrong_password),
    ("the gateway ends while the API Manager hangs", end_while_it_hangs),
    ("TLS with an authority of its own", over_tls),
    ("check --online tells the names to write, and what is not there", check_online),
    ("a micro-gw.conf and its project: codes, statuses and challenge of the original", in_the_originals_words),
    ("nothing secret in any log", secrets_are_told_to_nobody),
]

if __name__ == "__main__":
    perform(World, CASES)
