"""Clients of the key manager that prove themselves with a key or a certificate of this run."""


class Clients:
    """The gateway under several names, as the key manager is told of it."""

    SELF_SIGNED, OF_AUTHORITY = "gateway-alone", "gateway-member"

    def __init__(self, keys):
        self.described = {
            name: introspecting(
                self.by_key(name),
                "private_key_jwt",
                signing_keys=[{"id": self.by_key(name), "file": str(public)}],
            )
            for name, (_, public) in keys.signing.items()
        }
        certificate, _ = keys.alone
        self.described["self-signed"] = introspecting(
            self.SELF_SIGNED, "self_signed_tls_client_auth", certificates=[str(certificate)]
        )
        self.described["of-authority"] = introspecting(
            self.OF_AUTHORITY, "tls_client_auth", subject="CN=member"
        )

    @staticmethod
    def by_key(algorithm):
        return f"gateway-{algorithm}"


def introspecting(client_id, method, **more):
    return {"id": client_id, "method": method, "introspects": True, **more}
