"""PKCS#12 stores by keytool and openssl, in all ways of protecting them that the two still write.

    python3 tests/real/edge/keystores.py BINARY FOLDER

Started by ../keystores.sh.
"""

import pathlib
import socket
import ssl
import subprocess
import sys
import time

from wire import free_ports

SECONDS = 60
PASSWORD = "changeit"
# Java 8 and 11 up to 2020 wrote RC2-40 and 3DES; `keystore.pkcs12.legacy` writes it still.
LEGACY = ["-J-Dkeystore.pkcs12.legacy"]
JAVA = {
    "java": [],
    "java-legacy": LEGACY,
    "java-3des": ["-J-Dkeystore.pkcs12.certProtectionAlgorithm=PBEWithSHA1AndDESede",
                  "-J-Dkeystore.pkcs12.keyProtectionAlgorithm=PBEWithSHA1AndDESede",
                  "-J-Dkeystore.pkcs12.macAlgorithm=HmacPBESHA1"],
    "java-aes128": ["-J-Dkeystore.pkcs12.keyProtectionAlgorithm=PBEWithHmacSHA256AndAES_128",
                    "-J-Dkeystore.pkcs12.certProtectionAlgorithm=PBEWithHmacSHA256AndAES_128"],
    "java-sha512": ["-J-Dkeystore.pkcs12.keyProtectionAlgorithm=PBEWithHmacSHA512AndAES_256",
                    "-J-Dkeystore.pkcs12.macAlgorithm=HmacPBESHA512"],
    "java-no-cert-protection": ["-J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE"],
    "java-no-mac": ["-J-Dkeystore.pkcs12.macAlgorithm=NONE"],
}
OPENSSL = {
    "openssl": [],
    "openssl-legacy": ["-legacy"],
    "openssl-3des": ["-legacy", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"],
    "openssl-aes128": ["-keypbe", "AES-128-CBC", "-certpbe", "AES-128-CBC"],
    "openssl-plain-certificates": ["-certpbe", "NONE"],
    "openssl-one-round": ["-iter", "1"],
    "openssl-many-rounds": ["-iter", "500000"],
}
KEYS = {"rsa": ["-keyalg", "RSA", "-keysize", "2048"], "p256": ["-keyalg", "EC", "-groupname", "secp256r1"],
        "p384": ["-keyalg", "EC", "-groupname", "secp384r1"], "ed25519": ["-keyalg", "Ed25519"]}


def run(*command, text=None):
    done = subprocess.run([str(part) for part in command], input=text, capture_output=True, text=True,
                          timeout=SECONDS, check=False)
    return done.returncode, done.stdout + done.stderr


def must(*command):
    code, said = run(*command)
    if code:
        raise AssertionError(f"{' '.join(map(str, command))}: {said}")
    return said


class Stores:
    def __init__(self, binary, folder):
        self.binary, self.folder = binary, pathlib.Path(folder)
        self.passed, self.failed = 0, []

    def case(self, name, body):
        try:
            body()
        except (AssertionError, OSError, subprocess.SubprocessError) as fault:
            self.failed.append(name)
            print(f"FAIL  {name}: {fault}", flush=True)
        else:
            self.passed += 1
            print(f"ok    {name}", flush=True)

    def keytool(self, store, *arguments, options=()):
        return must("keytool", *options, *arguments, "-keystore", store, "-storepass", PASSWORD)

    def generate(self, store, alias, key, options=()):
        self.keytool(store, "-genkeypair", "-alias", alias, *KEYS[key], "-dname", f"CN={alias}", "-validity", "30",
                     "-ext", "san=dns:localhost,ip:127.0.0.1", "-storetype", "PKCS12", options=options)

    def pem(self, store, alias):
        """Certificate and key of a store, each in a file."""
        certificate, key = self.folder / f"{alias}.pem", self.folder / f"{alias}.key"
        certificate.write_text(self.keytool(store, "-exportcert", "-rfc", "-alias", alias).split("Warning")[0])
        must("openssl", "pkcs12", "-legacy", "-in", store, "-passin", f"pass:{PASSWORD}", "-nodes", "-nocerts",
             "-out", key)
        return certificate, key

    def config(self, lines, port, extra=""):
        file = self.folder / "portcullis.toml"
        file.write_text(f"""
[listen]
https = "127.0.0.1:{port}"
{extra}
[[listen.tls]]
{lines}
[admin]
listen = "127.0.0.1:{free_ports(1)[0]}"
[process]
upgrade_socket = "{self.folder}/upgrade.sock"
[[route]]
path = "/*"
public = true
respond = {{ body = "here" }}
""")
        file.chmod(0o600)
        return file

    def shown(self, store, alias, password=PASSWORD, key_alias=None):
        """Starts a gateway with the store, and compares what it shows with the certificate of `alias`."""
        port = free_ports(1)[0]
        choice = f'key_alias = "{key_alias}"' if key_alias else ""
        file = self.config(f'keystore_file = "{store}"\nkeystore_password = "{password}"\n{choice}', port)
        with Running(self.binary, file, port):
            expected = ssl.PEM_cert_to_DER_cert(
                must("openssl", "x509", "-in", self.folder / f"{alias}.pem"))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            with socket.create_connection(("127.0.0.1", port), SECONDS) as plain, \
                    context.wrap_socket(plain) as stream:
                assert stream.getpeercert(True) == expected, "another certificate is shown"

    def refused(self, lines, words, extra=""):
        code, said = run(self.binary, "check", self.config(lines, free_ports(1)[0], extra))
        assert code == 78, f"exit code {code}: {said}"
        assert words in said, said
        assert "hunter2" not in said, said


class Running:
    def __init__(self, binary, file, port):
        self.command, self.port = [binary, "run", file], port

    def __enter__(self):
        self.process = subprocess.Popen([str(part) for part in self.command], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + SECONDS
        while True:
            if self.process.poll() is not None:
                raise AssertionError(self.process.stderr.read())
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                assert time.monotonic() < deadline, "the gateway does not listen"
                time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(SECONDS)
        self.process.stderr.close()


def main(binary, folder):
    stores = Stores(binary, folder)
    folder = stores.folder
    for name, options in JAVA.items():
        store = folder / f"{name}.p12"

        def java(store=store, name=name, options=options):
            stores.generate(store, name, "rsa", options)
            stores.pem(store, name)
            stores.shown(store, name)

        stores.case(f"keytool, {name}: shown", java)
    for key in KEYS:
        store = folder / f"key-{key}.p12"

        def kind(store=store, key=key):
            stores.generate(store, f"key-{key}", key)
            stores.pem(store, f"key-{key}")
            stores.shown(store, f"key-{key}")

        stores.case(f"keytool, a key of the kind {key}: shown", kind)
    base = folder / "base.p12"
    stores.generate(base, "base", "rsa")
    certificate, key = stores.pem(base, "base")
    for name, options in OPENSSL.items():
        store = folder / f"{name}.p12"

        def exported(store=store, options=options):
            must("openssl", "pkcs12", "-export", *options, "-inkey", key, "-in", certificate, "-out", store,
                 "-passout", f"pass:{PASSWORD}", "-name", "base")
            stores.shown(store, "base")

        stores.case(f"openssl, {name}: shown", exported)

    several = folder / "several.p12"

    def aliases():
        for alias, kind in [("one", "rsa"), ("two", "p256"), ("Three", "p384")]:
            stores.generate(several, alias, kind)
            stores.pem(several, alias)
        for alias in ["one", "two", "Three", "THREE"]:
            expected = "Three" if alias == "THREE" else alias
            stores.shown(several, expected, key_alias=alias)

    stores.case("several keys: the alias chooses, in any case of letters", aliases)
    stores.case("several keys: an alias that is not there is refused, and the others are named", lambda: stores.refused(
        f'keystore_file = "{several}"\nkeystore_password = "{PASSWORD}"\nkey_alias = "four"', "one, two, three"))

    odd = folder / "odd.p12"

    def odd_password():
        must("openssl", "pkcs12", "-export", "-inkey", key, "-in", certificate, "-out", odd,
             "-passout", "pass:pässwörd €", "-name", "base")
        stores.shown(odd, "base", "pässwörd €")

    stores.case("a password that is not ASCII", odd_password)
    for name in [*JAVA, *OPENSSL]:
        store = folder / f"{name}.p12"
        # Without a checksum over the whole the key still tells.
        stores.case(f"{name}: a wrong password is told", lambda store=store: stores.refused(
            f'keystore_file = "{store}"\nkeystore_password = "hunter2"', "cannot be opened with this password"))

    def jks():
        store = folder / "old.jks"
        must("keytool", "-importkeystore", "-srckeystore", base, "-srcstorepass", PASSWORD, "-destkeystore", store,
             "-deststoretype", "JKS", "-deststorepass", PASSWORD, "-destkeypass", PASSWORD)
        stores.refused(f'keystore_file = "{store}"\nkeystore_password = "{PASSWORD}"', "keytool -importkeystore")

    stores.case("JKS is refused, with the command that converts it", jks)

    def cut():
        store = folder / "cut.p12"
        store.write_bytes(base.read_bytes()[:-200])
        stores.refused(f'keystore_file = "{store}"\nkeystore_password = "{PASSWORD}"', "or is damaged")

    stores.case("a store that is cut off is refused", cut)

    for name, options in [*JAVA.items(), ("openssl", None), ("openssl-legacy", None)]:
        store = folder / f"trust-{name}.p12"

        def trusted(store=store, options=options, name=name):
            if options is None:
                must("openssl", "pkcs12", "-export", "-nokeys", *OPENSSL[name], "-in", certificate, "-out", store,
                     "-passout", f"pass:{PASSWORD}")
            else:
                stores.keytool(store, "-importcert", "-noprompt", "-alias", "ca", "-file", certificate,
                               "-storetype", "PKCS12", options=options)
            port = free_ports(1)[0]
            clients = ('[listen.client_certificates]\nmode = "required"\n'
                       f'trust_store_file = "{store}"\ntrust_store_password = "{PASSWORD}"\n')
            file = stores.config(f'keystore_file = "{base}"\nkeystore_password = "{PASSWORD}"', port, clients)
            with Running(binary, file, port):
                command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-quiet",
                           "-no_ign_eof"]
                asks = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                command[-1] = "-ign_eof"
                _, said = run(*command, "-cert", certificate, "-key", key, text=asks)
                assert "200 OK" in said and "here" in said, said
                _, said = run(*command, text=asks)
                assert "200 OK" not in said, said

        stores.case(f"trust store, {name}: lets its own in and nobody else", trusted)
    print(f"{stores.passed} passed, {len(stores.failed)} failed")
    return 1 if stores.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
