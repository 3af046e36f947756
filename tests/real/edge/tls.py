"""TLS as the internet's scanners see it: testssl.sh for protocols, ciphers and known holes, openssl
for names, ALPN, client certificates and renegotiation.

    PYTHONPATH=tests/real/suite python3 tests/real/edge/tls.py BINARY FOLDER

Started by ../tls.sh.
"""

import json
import re
import socket
import ssl
import subprocess

from keys import LEAF, Keys
from report import Failed, expect, expect_in
from stage import perform
from wire import LOOPBACK, wait_until
from world import World, listening, nginx

SCAN_SECONDS = 500
SECONDS = 20
# What testssl.sh calls these is no fault of ours on loopback with an authority of this run.
OF_THE_CERTIFICATE = (
    "cert_trust", "cert_chain_of_trust", "cert_notAfter", "cert_validityPeriod", "cert_expirationStatus",
    "cert_revocation", "cert_crlDistributionPoints", "cert_ocspURL", "OCSP_stapling", "DNS_CAArecord",
    "cert_mustStapleExtension", "cert_extKeyUsage", "cert_keyUsage", "cert_eTLS", "certificate_transparency",
    "cert_signatureAlgorithm", "cert_commonName", "cert_caIssuers", "overall_grade", "grade_cap_reason",
    # What testssl.sh lacks itself.
    "engine_problem",
)
# Protocols as testssl.sh names them, and whether they are there.
PROTOCOLS = {"SSLv2": False, "SSLv3": False, "TLS1": False, "TLS1_1": False, "TLS1_2": True, "TLS1_3": True}


class Tls(World):
    def __init__(self, stack, binary, folder):
        super().__init__(stack, binary, folder)
        self.keys = Keys(folder)
        authority = self.keys.authority
        self.one = self.keys.certificate("one", [*LEAF, "subjectAltName=DNS:one.example"], authority)
        self.wild = self.keys.certificate("wild", [*LEAF, "subjectAltName=DNS:*.two.example"], authority)
        self.upstream = nginx("nginx", folder, '    location / { return 200 "ok"; }')
        route = f"""
[[route]]
path = "/*"
public = true
upstream = "http://{LOOPBACK}:{self.upstream.port}"
"""
        certificates = [self.keys.server, self.one, self.wild]
        self.edge = self.gateway(route, listening(certificates))
        clients = '[listen.client_certificates]\nmode = "{}"\nca_file = "' + str(authority[0]) + '"\n'
        self.strict = self.gateway(route, listening(certificates, clients.format("required")), name="strict")
        self.lenient = self.gateway(route, listening(certificates, clients.format("optional")), name="lenient")

    def start(self):
        self.run_all([self.key_manager, self.upstream, *self.gateways])

    def ask(self, gateway, *options, text="GET / HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n"):
        """What `openssl s_client` says; it trusts the authority of this run alone."""
        command = ["openssl", "s_client", "-connect", f"{LOOPBACK}:{gateway.https_port}",
                   "-CAfile", self.keys.authority[0], *(["-ign_eof"] if text else []), *options]
        result = subprocess.run([str(part) for part in command], input=text, capture_output=True, text=True,
                                errors="replace", timeout=SECONDS, check=False)
        return result.stdout + result.stderr


def scan(world):
    """Every finding of testssl.sh that is worse than `INFO`, but for those of the certificate."""
    file = world.folder / "testssl.json"
    command = ["testssl", "--warnings", "off", "--color", "0", "--quiet", "--jsonfile", file,
               "--add-ca", world.keys.authority[0], "--sneaky", "--openssl-timeout", "5",
               f"{LOOPBACK}:{world.edge.https_port}"]
    subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True,
                   timeout=SCAN_SECONDS, check=False)
    world.findings = {finding["id"]: finding for finding in json.loads(file.read_text())}
    expect(len(world.findings) > 100, True, f"whether {len(world.findings)} findings are a whole scan")
    grade = world.findings.get("overall_grade", {}).get("finding")
    score = world.findings.get("final_score", {}).get("finding")
    print(f"      {len(world.findings)} findings; grade {grade}, score {score}"
          f" ({world.findings.get('grade_cap_reason_1', {}).get('finding', 'no cap')})")


def protocols(world):
    for name, offered in PROTOCOLS.items():
        finding = world.findings[name]["finding"]
        expect(finding.startswith("offered"), offered, f"whether {name} is there: {finding}")


def nothing_bad(world):
    bad = [
        f"{name}: {finding['severity']} {finding['finding']}"
        for name, finding in world.findings.items()
        if finding["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN")
        and not name.split(" ")[0].startswith(OF_THE_CERTIFICATE)
    ]
    # `WARN`: it could not find out, as happens on a busy machine.
    tolerated = [line for line in bad if line.split(":")[0] in TOLERATED or ": WARN " in line]
    for line in tolerated:
        print(f"      {line} ({TOLERATED.get(line.split(':')[0], 'it could not find out')})")
    expect([line for line in bad if line not in tolerated], [], "findings")


# With why the finding is none.
TOLERATED = {
    "HSTS": "a header is for the route's own rules to set",
    "security_headers": "the same",
    "cipher_order": "every suite is as good as the next, so the client's order counts: its hardware decides",
}


def forward_secrecy(world):
    suites = [finding["finding"] for name, finding in world.findings.items() if name.startswith("cipher_x")]
    expect(len(suites) > 0, True, "whether suites were listed")
    for suite in suites:
        if not re.search(r"ECDH|TLS_AES|TLS_CHACHA20", suite) or not re.search("GCM|POLY1305", suite.upper()):
            raise Failed(f"without forward secrecy or AEAD: {suite}")
    print(f"      {len(suites)} suites")


def shown(name, expected):
    def case(world):
        told = world.ask(world.edge, *(["-servername", name] if name else ["-noservername"]))
        expect_in(f"CN = {expected}", told.split("Server certificate")[0], f"the certificate for {name}")
        expect_in("HTTP/1.1 200", told, "the answer")

    return case


def alpn(offered, chosen):
    def case(world):
        told = world.ask(world.edge, "-alpn", offered, text="")
        if chosen:
            expect_in(f"ALPN protocol: {chosen}", told, "what was chosen")
        else:
            expect("ALPN protocol:" in told, False, f"whether one was chosen: {told[:200]}")

    return case


def renegotiation(world):
    told = world.ask(world.edge, "-tls1_2", text="GET / HTTP/1.1\r\nHost: edge\r\nX: \r\nR\r\n")
    refused = "no renegotiation" in told or "RENEGOTIATING" not in told or "error" in told.lower()
    expect(refused, True, f"whether it is refused: {told[-300:]}")
    expect("HTTP/1.1 200" in told.split("RENEGOTIATING")[-1], False, "whether it goes on after it")


def old_versions(world):
    for version in ("-tls1", "-tls1_1"):
        told = world.ask(world.edge, version, "-cipher", "ALL:@SECLEVEL=0")
        expect("HTTP/1.1 200" in told, False, f"whether {version} is served")


def client(mode, pair, served):
    def case(world):
        certificate = getattr(world.keys, pair) if pair else None
        options = ["-cert", certificate[0], "-key", certificate[1]] if certificate else []
        for version in ("-tls1_2", "-tls1_3"):
            told = world.ask(getattr(world, mode), version, *options)
            expect("HTTP/1.1 200" in told, served, f"whether it is served with {version}: {told[-200:]}")

    return case


def plain_on_tls(world):
    with socket.create_connection((LOOPBACK, world.edge.https_port), timeout=SECONDS) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n")
        expect(b"200 OK" in connection.recv(4096), False, "whether plain HTTP is served")


def new_certificate(world):
    """Files that change are read again, without an end for who is connected."""
    context = ssl.create_default_context(cafile=world.keys.authority[0])
    with socket.create_connection((LOOPBACK, world.edge.https_port), timeout=SECONDS) as raw:
        with context.wrap_socket(raw, server_hostname="one.example") as connected:
            before = connected.getpeercert()["serialNumber"]
            world.keys.certificate("one", [*LEAF, "subjectAltName=DNS:one.example"], world.keys.authority)
            world.edge.command("reload", world.edge.file)

            def serial():
                with socket.create_connection((LOOPBACK, world.edge.https_port), timeout=SECONDS) as other:
                    with context.wrap_socket(other, server_hostname="one.example") as fresh:
                        return fresh.getpeercert()["serialNumber"]

            wait_until(lambda: serial() != before, "the new certificate is shown", SECONDS)
            connected.sendall(b"GET / HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")
            expect_in(b"200 OK", connected.recv(4096), "the answer on the old connection")


CASES = [
    ("no name: the first certificate", shown(None, "server")),
    ("a name: its certificate", shown("one.example", "one")),
    ("a name below a wildcard: its certificate", shown("x.two.example", "wild")),
    ("a name that nobody has: the first certificate", shown("x.y.two.example", "server")),
    ("ALPN h2 before http/1.1", alpn("http/1.1,h2", "h2")),
    ("ALPN http/1.1 alone", alpn("http/1.1", "http/1.1")),
    ("ALPN without anything of ours: an alert", alpn("spdy/3", None)),
    ("renegotiation is refused", renegotiation),
    ("TLS 1.0 and 1.1 are refused", old_versions),
    ("plain HTTP on the TLS port is not served", plain_on_tls),
    ("client certificates required: with one", client("strict", "member", True)),
    ("client certificates required: without one", client("strict", None, False)),
    ("client certificates required: of another authority", client("strict", "unknown", False)),
    ("client certificates optional: without one", client("lenient", None, True)),
    ("client certificates optional: with one", client("lenient", "member", True)),
    ("client certificates optional: of another authority", client("lenient", "unknown", False)),
    ("a certificate is replaced, connections stay", new_certificate),
    ("testssl.sh scans", scan),
    ("testssl.sh: TLS 1.2 and 1.3 alone", protocols),
    ("testssl.sh: forward secrecy and AEAD in every suite", forward_secrecy),
    ("testssl.sh: no other finding", nothing_bad),
]

perform(Tls, CASES)
