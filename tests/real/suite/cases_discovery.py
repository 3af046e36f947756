"""The gateway is told the issuer only, and finds the endpoint by itself."""

from cases_operator import UNAVAILABLE, ended
from checks import passed, refused
from proofs import basic, issued_by
from wire import wait_until

NOT_READY = "introspection_not_ready"
RECOVERY_SECONDS = 60


def endpoint_is_found(world):
    gateway = world.open("finder", basic(issued_by(world.key_manager.issuer)))
    passed(gateway.get(world.key_manager.mint("orders.read")))
    ended(gateway.check("--online"), 0)


def issuer_is_gone_at_start(world):
    """The gateway starts all the same, says that it is not ready, and is once it has the endpoint."""
    token = world.key_manager.mint("orders.read")
    world.key_manager.stop()
    try:
        proof = basic(issued_by(world.key_manager.issuer))
        gateway = world.open("early-finder", proof, ready=False)
        wait_until(lambda: gateway.readiness() == 503, "it says that it is not ready")
        refused(gateway.get(token), 503, NOT_READY, retry_after=True)
        passed(gateway.get(target="/open/door"))
    finally:
        world.key_manager.start()
    wait_until(gateway.is_ready, "the gateway recovers by itself", RECOVERY_SECONDS)
    passed(gateway.get(world.key_manager.mint("orders.read")))


def check_without_an_issuer(world):
    world.key_manager.stop()
    try:
        ended(world.gateway("finder").check("--online"), UNAVAILABLE)
    finally:
        world.key_manager.start()


CASES = [
    ("discovery: the issuer is enough, 200", endpoint_is_found),
    (f"discovery: no issuer at start, 503 {NOT_READY}, then 200", issuer_is_gone_at_start),
    ("discovery: check --online without an issuer, exit 69", check_without_an_issuer),
]
