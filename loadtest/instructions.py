"""Instructions that one whole request costs, by callgrind: steady where CPU time is not. On a hit, and
on a route without a token over HTTP/1.1, the same over TLS, and HTTP/2.

Each program runs twice, with few and with many requests on one kept connection; the difference is
divided by the difference of the numbers, so that start and end fall out. Started by instructions.sh.
"""

import collections
import contextlib
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

from bed import ROOT, Bare, Failure, FeaturedBare, Gateway, Peers, PlainGateway, check
from others import certificate

FEW, MANY = 500, 9000
SUBSCRIBERS = 1000
# Callgrind takes each byte that one `rep movsb` moves for an instruction; the C library's other way
# of copying is counted as what it is.
HONEST_COPIES = "glibc.cpu.x86_rep_movsb_threshold=1073741824"
# SHA-256 by the processor's own instructions is not known to callgrind, so the slow way is counted.
SLOW_DIGEST = "sha256-x86_64-elf.S"
REQUEST = (
    b"GET /orders/1?page=2 HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load-test\r\nAccept: */*\r\n"
    b"Authorization: Bearer instructions-000000000000000000001\r\n\r\n"
)


def main():
    kinds = {
        "bare Pingora, untouched": lambda peers, prefix: Bare("plain", peers, prefix),
        "bare Pingora, same forwarding": lambda peers, prefix: Bare("forward", peers, prefix),
        "portcullis, hit": lambda peers, prefix: Gateway(peers, prefix=prefix),
        "portcullis, hit, who has subscribed": lambda peers, prefix: Gateway(
            peers, subscribers=SUBSCRIBERS, prefix=prefix
        ),
        "portcullis, hit, JSON access log": lambda peers, prefix: Gateway(
            peers, access_log="json", prefix=prefix
        ),
    }
    costs, plain = {}, {}
    peers, second = Peers(), Peers()
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            files, upstreams = certificate(folder), (peers.upstream, second.upstream)
            for way, send in WAYS.items():
                for kind in (FeaturedBare, PlainGateway):
                    make = lambda prefix, kind=kind: kind(upstreams, files, prefix)
                    plain[way, kind] = total(cost(make, send, folder))
            for name, make in kinds.items():
                costs[name] = cost(lambda prefix, make=make: make(peers, prefix), send_hits, folder)
    except Failure as failure:
        sys.exit(f"FAILED: {failure}")
    finally:
        peers.stop()
        second.stop()
    tell(costs)
    tell_plain(plain)


def tell(costs):
    yardstick = total(costs["bare Pingora, same forwarding"])
    print(f"\n{'instructions/request':>20}  {'ratio':>6}  {'without SHA-256':>15}  {'ratio':>6}")
    for name, by_line in costs.items():
        count = total(by_line)
        rest = count - sum(cost for place, cost in by_line.items() if SLOW_DIGEST in place[0])
        print(
            f"{count:>20,.0f}  {count / yardstick:>6.3f}  {rest:>15,.0f}  {rest / yardstick:>6.3f}  {name}"
        )
    ours = costs["portcullis, hit"]
    subscribed = total(costs["portcullis, hit, who has subscribed"]) / total(ours)
    print(f"\n{subscribed:.3f}: a hit with subscriptions, of {SUBSCRIBERS} clients, to one without")
    print("\nWhere the gateway's go that the bare proxy's do not, by source file (inlined code counts")
    print("where it was written):")
    for by in (file_of, line_of):
        difference = collections.Counter(grouped(ours, by))
        difference.subtract(grouped(costs["bare Pingora, same forwarding"], by))
        print()
        for place, count in difference.most_common(40):
            print(f"{count:>10,.0f}  {place}")


def tell_plain(plain):
    print(f"\n{'bare Pingora':>14}  {'portcullis':>10}  {'ratio':>6}  a route without a token, same features")
    for way in WAYS:
        bare, ours = plain[way, FeaturedBare], plain[way, PlainGateway]
        print(f"{bare:>14,.0f}  {ours:>10,.0f}  {ours / bare:>6.3f}  {way}")


def cost(make, send, folder):
    """Instructions for each request, by place in the source."""
    few, many = (instructions(make, send, folder / str(count), count) for count in (FEW, MANY))
    return {place: (many[place] - few[place]) / (MANY - FEW) for place in many}


def instructions(make, send, output, requests):
    os.environ["GLIBC_TUNABLES"] = HONEST_COPIES
    valgrind = ["valgrind", "--tool=callgrind", "--dump-line=yes", f"--callgrind-out-file={output}"]
    process = make(valgrind)
    try:
        if isinstance(process, Gateway):
            process.wait()
        send(process, requests)
    finally:
        process.stop()
    return read(output)


def send_plain(scheme, *arguments):
    def send(process, requests):
        port = process.tls_port if scheme == "https" else process.port
        command = ["h2load", "-c1", "-m1", f"-n{requests}", *arguments]
        output = subprocess.run(
            [*command, f"{scheme}://127.0.0.1:{port}/orders/1?page=2"],
            capture_output=True, text=True, timeout=300,
        ).stdout
        check(f"{requests} 2xx" in output, f"answers that were refused, or none:\n{output}")

    return send


WAYS = {
    "HTTP/1.1": send_plain("http", "--h1"),
    "HTTP/1.1, TLS": send_plain("https", "--h1"),
    "HTTP/2, TLS": send_plain("https"),
}


def send_hits(process, requests):
    with contextlib.closing(socket.create_connection(("127.0.0.1", process.port), 30)) as connection:
        answers = connection.makefile("rb")
        for _ in range(requests):
            connection.sendall(REQUEST)
            status, length = answers.readline(), 0
            check(status.startswith(b"HTTP/1.1 200"), f"an answer is {status!r}")
            while (line := answers.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            answers.read(length)


def read(output):
    """Own cost of each (file, function, line), from callgrind's format: names are numbered at
    their first use, positions may be relative, and the line after `calls=` is another's cost."""
    names, costs = {}, collections.Counter()
    file = function = ""
    line_number, is_call = 0, False
    for line in output.read_text().splitlines():
        if found := re.match(r"(fl|fi|fe|fn|cfn|cfi|cfl|ob|cob)=(?:\((\d+)\))?(?: ?(.*))?$", line):
            kind, number, name = found.groups()
            space = {"n": "function", "b": "object"}.get(kind[-1], "file")
            if name:
                names[space, number] = name
            name = names.get((space, number), "")
            if kind in ("fl", "fi", "fe"):
                file = name
            elif kind == "fn":
                function = name
        elif line.startswith("calls="):
            is_call = True
        elif found := re.match(r"([+-]?\d+|\*) (\d+)$", line):
            position, count = found.groups()
            if position[0] in "+-":
                line_number += int(position)
            elif position != "*":
                line_number = int(position)
            if not is_call:
                costs[file, function, line_number] += int(count)
            is_call = False
    return costs


def total(by_place):
    return sum(by_place.values())


def grouped(by_place, by):
    sums = collections.Counter()
    for place, count in by_place.items():
        sums[by(place)] += count
    return sums


def file_of(place):
    """A file's name without the folders that differ between machines."""
    path = place[0].replace(f"{ROOT}{os.sep}", "")
    for root in (r".*/registry/src/[^/]*/", r".*/rustc/[0-9a-f]*/", r".*/library/(?=std|core|alloc)"):
        path = re.sub(root, "", path)
    return path or "?"


def line_of(place):
    return f"{file_of(place)}:{place[2]}" if file_of(place).startswith("src/") else "(others)"


if __name__ == "__main__":
    main()
