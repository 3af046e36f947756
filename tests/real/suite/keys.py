"""Keys and certificates, made by openssl for one run and forgotten with it."""

import subprocess

OPENSSL_SECONDS = 60
P256 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
ALGORITHMS = {
    "RS256": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "ES256": P256,
    "EdDSA": ["-algorithm", "ED25519"],
}
# Instead of the machine's, which would add to what is asked for.
EMPTY_CONFIGURATION = "[req]\ndistinguished_name = subject\n[subject]\n"
LEAF = ["basicConstraints=critical,CA:FALSE"]


class Keys:
    def __init__(self, folder):
        self.folder = folder
        self.private = []
        self._configuration = folder / "openssl.cnf"
        self._configuration.write_text(EMPTY_CONFIGURATION)
        self.signing = {name: self._signing_key(name, kind) for name, kind in ALGORITHMS.items()}
        self.unregistered = self._signing_key("unregistered", P256)
        self.authority = self.certificate("authority", ["basicConstraints=critical,CA:TRUE"])
        self.server = self.certificate(
            "server", [*LEAF, "subjectAltName=IP:127.0.0.1"], self.authority
        )
        self.member = self.certificate("member", LEAF, self.authority)
        self.alone = self.certificate("alone", LEAF)
        self.unknown = self.certificate("unknown", LEAF)
        # Calls itself like the member.
        self.impostor = self.certificate("impostor", LEAF, subject="member")

    def of_server(self):
        """The files of a server that looks at the certificates of its clients."""
        certificate, key = self.server
        files = {"key": key, "certificate": certificate, "authority": self.authority[0]}
        return {part: str(file) for part, file in files.items()}

    def secrets(self):
        """Every line of every private key, except those too short to tell anything."""
        lines = [line for file in self.private for line in file.read_text().splitlines()]
        return {line for line in lines if not line.startswith("-----") and len(line) > 16}

    def _signing_key(self, name, kind):
        """Returns the files of the private and of the public key."""
        private, public = self._private_key(name, kind), self.folder / f"{name}.public.pem"
        self._openssl("pkey", "-in", private, "-pubout", "-out", public)
        return private, public

    def _private_key(self, name, kind):
        file = self.folder / f"{name}.key.pem"
        self._openssl("genpkey", *kind, "-out", file)
        self.private.append(file)
        return file

    def certificate(self, name, extensions, authority=None, subject=None):
        """Returns the files of certificate and key; without an authority it signs itself."""
        key, file = self._private_key(name, P256), self.folder / f"{name}.pem"
        command = ["req", "-x509", "-config", self._configuration, "-days", "2", "-new"]
        command += ["-key", key, "-out", file, "-subj", f"/CN={subject or name}"]
        for extension in extensions:
            command += ["-addext", extension]
        if authority:
            command += ["-CA", authority[0], "-CAkey", authority[1]]
        self._openssl(*command)
        return file, key

    def _openssl(self, *arguments):
        subprocess.run(
            ["openssl", *map(str, arguments)],
            check=True,
            capture_output=True,
            timeout=OPENSSL_SECONDS,
        )
