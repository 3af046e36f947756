"""The cases of the load test. Started by run.sh, which builds what they need."""

import contextlib
import dataclasses
import json
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import report
from bed import (
    LOADTEST,
    Bare,
    Failure,
    FeaturedBare,
    Gateway,
    Peers,
    PlainGateway,
    check,
    drive,
    drive_h2,
    finish_wrk,
    start_wrk,
)
from others import Envoy, HaProxy, Nginx, certificate

CONNECTIONS = 32
MEBIBYTE = 1 << 20


@dataclasses.dataclass
class Plan:
    rounds: int
    round_seconds: int
    miss_seconds: int
    stampedes: int
    flood_requests: int
    memory_tokens: int
    starts: int


QUICK = Plan(3, 2, 3, 3, 100_000, 100_000, 5)
FULL = Plan(9, 6, 10, 10, 500_000, 100_000, 20)


def main():
    arguments = set(sys.argv[1:])
    some = [case for case in CASES if f"--{case.__name__}" in arguments]
    if unknown := arguments - {"--quick", "--strict"} - {f"--{case.__name__}" for case in some}:
        names = " ".join(f"--{case.__name__}" for case in CASES)
        sys.exit(f"unknown: {' '.join(unknown)}; there are --quick, --strict, and for single cases {names}")
    cases = some or CASES
    plan = QUICK if "--quick" in arguments else FULL
    # A signal becomes an exception, so that every child is ended on every way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    results = report.Results()
    try:
        with running(Peers()) as peers:
            for case in cases:
                print(f"… {case.__name__.replace('_', ' ')}", flush=True)
                case(plan, peers, results)
    except Failure as failure:
        sys.exit(f"FAILED: {failure}")
    results.write(LOADTEST / "report")
    if "--strict" in arguments and not results.within_budgets():
        sys.exit("a budget is missed")


@contextlib.contextmanager
def running(*processes):
    try:
        yield processes[0] if len(processes) == 1 else processes
    finally:
        for process in processes:
            process.stop()


def plain(plan, peers, results):
    """A route without a token through each proxy: HTTP/1.1, the same over TLS, HTTP/2 over TLS."""
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        second = stack.enter_context(running(Peers()))
        upstreams, files = (peers.upstream, second.upstream), certificate(folder)
        kinds = {
            BARE: FeaturedBare(upstreams, files),
            PLAIN: PlainGateway(upstreams, files),
            "nginx": Nginx(folder, files, upstreams),
            "HAProxy": HaProxy(folder, files, upstreams),
            "Envoy": Envoy(folder, files, upstreams),
        }
        stack.enter_context(running(*kinds.values()))
        for way, ask in WAYS.items():
            rounds = {name: [] for name in kinds}
            for process in kinds.values():
                ask(process, 1)
            for _ in range(plan.rounds):
                for name, process in kinds.items():
                    rounds[name].append(ask(process, plan.round_seconds))
            for name, seen in rounds.items():
                results.case(f"{way}: {name}", median(seen), calls=0)
                if name != BARE:
                    budget = 1.03 if name == PLAIN else None
                    results.ratio(f"{way}: {name} / {BARE}", ratios(seen, rounds[BARE]), budget)


BARE = "bare Pingora, same features"
PLAIN = "portcullis, plain route"
WAYS = {
    "HTTP/1.1": lambda process, seconds: drive(process, seconds, CONNECTIONS, "fixed", "x"),
    "HTTP/1.1, TLS": lambda process, seconds: drive(process, seconds, CONNECTIONS, "fixed", "x", scheme="https"),
    "HTTP/2, TLS": lambda process, seconds: drive_h2(process, seconds, CONNECTIONS),
}


def hits(plan, peers, results):
    """The same request through each proxy, in turns, so that noise falls on all of them alike."""
    kinds = {
        "bare Pingora, untouched": Bare("plain", peers),
        "bare Pingora, same forwarding": Bare("forward", peers),
        "portcullis, hit": Gateway(peers),
        "portcullis, hit, JSON access log": Gateway(peers, access_log="json"),
    }
    rounds = {name: [] for name in kinds}
    with running(*kinds.values()):
        for process in kinds.values():
            if isinstance(process, Gateway):
                process.wait()
            drive(process, 1, CONNECTIONS, "fixed", "warm-up-of-the-caches-0000000000000")
        calls = peers.calls()
        for _ in range(plan.rounds):
            for name, process in kinds.items():
                token = "warm-up-of-the-caches-0000000000000"
                rounds[name].append(
                    drive(process, plan.round_seconds, CONNECTIONS, "fixed", token)
                )
        check(peers.calls() == calls, "a hit asked the key manager")
    for name, seen in rounds.items():
        results.case(name, median(seen), calls=0)
    yardstick = rounds["bare Pingora, same forwarding"]
    for name, budget in [
        ("portcullis, hit", 1.05),
        ("portcullis, hit, JSON access log", None),
        ("bare Pingora, untouched", None),
    ]:
        results.ratio(f"{name} / bare Pingora, same forwarding", ratios(rounds[name], yardstick), budget)


def median(seen):
    return {key: statistics.median(one[key] for one in seen) for key in seen[0]}


def ratios(seen, yardstick):
    """Of neighbours in time: a slow minute slows both."""
    return [one["cpu_us"] / other["cpu_us"] for one, other in zip(seen, yardstick)]


def misses(plan, peers, results):
    """Every request brings a token that nobody has seen."""
    for milliseconds in (0, 5):
        peers.take(milliseconds)
        with running(Gateway(peers, max_entries=20_000).wait()) as gateway:
            drive(gateway, 1, CONNECTIONS, "fresh", f"warm-{milliseconds}")
            calls = peers.calls()
            seen = drive(gateway, plan.miss_seconds, CONNECTIONS, "fresh", f"miss-{milliseconds}")
            calls = peers.calls() - calls
        # Requests under way when wrk stops are asked about and not counted by it: those of this run,
        # and those of the one before.
        uncounted = calls - seen["requests"]
        check(0 <= uncounted <= 2 * CONNECTIONS, f"{calls} calls for {seen['requests']} requests")
        results.case(f"portcullis, miss, key manager takes {milliseconds} ms", seen, calls=calls)
    peers.take(0)


def own_part(plan, peers, results):
    """What a miss takes beyond the key manager's answer: one caller, one request at a time."""
    with running(Gateway(peers, max_entries=20_000).wait()) as gateway:
        drive(gateway, 1, 1, "fresh", "warm-own-part")
        ours, key_manager, hit = [], [], []
        for turn in range(3):
            seconds = max(1, plan.miss_seconds // 3)
            ours.append(drive(gateway, seconds, 1, "fresh", f"own-part-{turn}"))
            key_manager.append(finish_wrk(start_wrk(peers.key_manager, seconds, 1, "introspect")))
            hit.append(drive(gateway, seconds, 1, "fixed", f"own-part-{turn}-{1:024d}"))
    waits = [median(seen)["p50_us"] for seen in (ours, key_manager, hit)]
    results.note("median answer to one caller: miss", f"{waits[0]:.0f} µs")
    results.note("… hit", f"{waits[2]:.0f} µs")
    results.note("… key manager asked directly", f"{waits[1]:.0f} µs")
    results.budget(
        "miss: the gateway's own part above the key manager's answer, the upstream's included",
        waits[0] - waits[1],
        1000,
        "µs",
    )


def stampede(plan, peers, results):
    """Many callers bring the same new token at once."""
    callers = 200
    peers.take(500)
    with running(Gateway(peers).wait()) as gateway:
        for number in range(plan.stampedes):
            calls = peers.calls()
            joined = gateway.metric("portcullis_introspection_coalesced_total")
            seen = drive(gateway, 1, callers, "fixed", f"stampede-{number}")
            calls = peers.calls() - calls
            check(calls == 1, f"{calls} calls for one token")
            joined = gateway.metric("portcullis_introspection_coalesced_total") - joined
            check(joined > callers / 2, f"only {joined} of {callers} callers waited together")
    peers.take(0)
    results.case(f"portcullis, stampede of {callers} callers, key manager takes 500 ms", seen, calls=1)
    results.note("stampedes, each with exactly one call", str(plan.stampedes))
    results.note("… callers who waited for another's call, in the last one", f"{joined:.0f}")


def flood(plan, peers, results):
    """Random bad tokens beside good ones: memory stays, and so do the good ones."""
    good = 1000
    with running(Gateway(peers).wait()) as gateway:
        drive(gateway, 2, 8, "cycle", "good", good)
        # Of good tokens too: one that is lost and asked about again is refused, and fails the case.
        peers.say("inactive")
        # The segment of refused tokens is full before the first look at memory, and its tables have grown as far
        # as removals make them. That look is one at the same load: what is asked is whether more tokens take more.
        flood_of(gateway, 250_000, "first", beside=good)
        gateway.forget_peak()
        flood_of(gateway, 25_000, "second", beside=good)
        before, calls = gateway.peak(), peers.calls()
        sent, kept, seen = flood_of(gateway, plan.flood_requests, "flood", beside=good)
        calls = peers.calls() - calls
        after = gateway.peak()
        peers.say("active")
    check(calls - sent >= 0, f"{calls} calls for {sent} bad tokens")
    results.case("portcullis, flood of bad tokens", seen, calls=calls)
    results.note("bad tokens sent", f"{sent:,}")
    results.note("requests with good tokens beside them, all passed", f"{kept:,}")
    results.note("peak memory of a flood of 25,000 more, and of all", f"{mib(before)} → {mib(after)}")
    results.budget("memory that the flood added", (after - before) / MEBIBYTE, 4, "MiB")


def flood_of(gateway, requests, name, beside=0):
    """Floods in rounds of seconds until enough was sent: bad ones, good ones, the last round."""
    sent = kept = turn = 0
    while sent < requests:
        turn += 1
        others = start_wrk(gateway.port, 3, 8, "cycle", "good", beside) if beside else None
        seen = drive(gateway, 3, 64, "fresh", f"{name}-{turn}", expect="refused")
        sent += seen["requests"]
        if others:
            kept += finish_wrk(others)["requests"]
    return sent, kept, seen


def mib(size):
    return f"{size / MEBIBYTE:.1f} MiB"


def memory(plan, peers, results):
    """What a cached token costs, as the system counts it and as the gateway does."""
    with running(Gateway(peers, max_entries=400_000).wait()) as gateway:
        drive(gateway, 1, CONNECTIONS, "fresh", "warm-memory")
        before = counted(gateway)
        turn = 0
        while counted(gateway)[0] - before[0] < plan.memory_tokens:
            turn += 1
            drive(gateway, 2, CONNECTIONS, "fresh", f"memory-{turn}")
        after = counted(gateway)
    tokens = after[0] - before[0]
    by_system = (after[1] - before[1]) / tokens
    by_gateway = (after[2] - before[2]) / tokens
    claims = claim_bytes(peers)
    results.note("tokens that were cached for the memory case", f"{tokens:,.0f}")
    results.note("memory for each, claims included: resident", f"{by_system:.0f} bytes")
    results.note("… as portcullis_token_cache_bytes has it", f"{by_gateway:.0f} bytes")
    results.note("… names and values of the claims", f"{claims} bytes")
    results.budget("memory for each token beyond its claims", by_system - claims, 400, "bytes")


def counted(gateway):
    return (
        gateway.metric('portcullis_token_cache_entries{kind="active"}'),
        gateway.resident(),
        gateway.metric("portcullis_token_cache_bytes"),
    )


def claim_bytes(peers):
    """Names and values of the fake key manager's answer."""
    body = b"token=any"
    with socket.create_connection(("127.0.0.1", peers.key_manager)) as connection:
        connection.sendall(
            b"POST /oauth2/introspect HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Authorization: Basic Z2F0ZXdheTpkZW1vLXNlY3JldA==\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        answer = connection.makefile("rb").read().split(b"\r\n\r\n", 1)[1]
    plain = {True: "true", False: "false"}
    return sum(len(name) + len(str(plain.get(value, value))) for name, value in json.loads(answer).items())


def cached(plan, peers, results):
    """An answer from the response cache, beside the same one from the upstream, and beside nginx."""
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        second = stack.enter_context(running(Peers()))
        upstreams, files = (peers.upstream, second.upstream), certificate(folder)
        kinds = {"nginx": Nginx(folder, files, upstreams), "portcullis": PlainGateway(upstreams, files)}
        stack.enter_context(running(*kinds.values()))
        rounds = {}
        for process in kinds.values():
            for path in PATHS.values():
                drive(process, 1, CONNECTIONS, "page", path)
        for _ in range(plan.rounds):
            for name, process in kinds.items():
                for what, path in PATHS.items():
                    seen = drive(process, plan.round_seconds, CONNECTIONS, "page", path)
                    rounds.setdefault(f"{name}, {what}", []).append(seen)
        for name, seen in rounds.items():
            results.case(name, median(seen), calls=0)
        ours, others = rounds[f"portcullis, {CACHED}"], rounds[f"nginx, {CACHED}"]
        results.ratio(f"portcullis, {CACHED} / {FETCHED}", ratios(ours, rounds[f"portcullis, {FETCHED}"]), None)
        results.ratio(f"nginx, {CACHED} / {FETCHED}", ratios(others, rounds[f"nginx, {FETCHED}"]), None)
        results.ratio(f"{CACHED}: portcullis / nginx", ratios(ours, others), None)
        cached_memory(plan, kinds["portcullis"], results)


FETCHED, CACHED = "from the upstream", "from the cache"
PATHS = {FETCHED: "/orders/1", CACHED: "/kept/1"}


def cached_memory(plan, gateway, results):
    """What one answer takes that is kept."""
    def kept():
        sizes = [gateway.metric(f"portcullis_response_cache_{what}") for what in ("entries", "bytes")]
        return (*sizes, gateway.resident())

    drive(gateway, 1, CONNECTIONS, "pages", "/kept/warm-")
    before, turn = kept(), 0
    while kept()[0] - before[0] < plan.memory_tokens:
        turn += 1
        drive(gateway, 2, CONNECTIONS, "pages", f"/kept/{turn}-")
    entries, by_gateway, by_system = (after - first for after, first in zip(kept(), before))
    results.note("answers of 1 KiB that were kept", f"{entries:,.0f}")
    results.note("memory for each, header, key and body: resident", f"{by_system / entries:,.0f} bytes")
    results.note("… as portcullis_response_cache_bytes has it", f"{by_gateway / entries:,.0f} bytes")


def start(plan, peers, results):
    """From the start of the process to the first answer, with many routes."""
    for routes, budget in ((1000, 100), (10_000, None)):
        times = start_times(plan, peers, routes)
        results.note(f"slowest start with {routes:,} routes", f"{max(times):.0f} ms")
        median_time = statistics.median(times)
        results.note(f"median start with {routes:,} routes", f"{median_time:.0f} ms")
        if budget:
            results.budget(f"start to the first answer, {routes:,} routes", median_time, budget, "ms")


def start_times(plan, peers, routes):
    times = []
    for _ in range(plan.starts):
        begun = time.perf_counter()
        gateway = Gateway(peers, routes=routes)
        with running(gateway):
            while not answers(gateway.port):
                check(gateway.is_alive(), "the gateway ended at once")
                check(time.perf_counter() - begun < 20, "the gateway does not start")
            times.append((time.perf_counter() - begun) * 1000)
    return times


def answers(port):
    """Whether a request is answered: an open port alone may be the gateway trying whether it can
    have it."""
    request = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
        connection.sendall(request)
        return connection.recv(12) == b"HTTP/1.1 404"
    return False


CASES = (plain, hits, misses, own_part, stampede, flood, memory, cached, start)

if __name__ == "__main__":
    main()
