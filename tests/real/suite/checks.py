"""What cases look at in an answer of the gateway."""

from report import Failed, expect, expect_in

PROBLEM = "application/problem+json"


def refused(answer, status, reason, challenge=None, retry_after=False):
    """A refusal has its status, its reason, and just the headers that belong to it."""
    expect(answer.status, status, f"the status of {answer}")
    expect(answer.header("Content-Type"), PROBLEM, "the type of a refusal")
    expect(answer.json["status"], status, "the status in the body")
    expect(answer.json["reason"], reason, "the reason in the body")
    expect(answer.header("Cache-Control"), "no-store", "whether a refusal may be stored")
    expect(bool(answer.header("Retry-After")), retry_after, "whether there is a Retry-After")
    if status != 401 and challenge is None:
        expect(answer.header("WWW-Authenticate"), None, "the challenge")
    elif challenge is not None:
        has_challenge(answer, challenge)


def has_challenge(answer, error):
    """`error` is the code of RFC 6750 §3.1; empty where it asks for a challenge without one."""
    challenge = answer.header("WWW-Authenticate") or ""
    if not error:
        expect(challenge, "Bearer", "the challenge")
        return
    expect(challenge.split(" ")[0], "Bearer", "the scheme of the challenge")
    expect_in(f'error="{error}"', challenge, "the challenge")


def invalid_token(answer, *reasons):
    """401 for one of the reasons."""
    expect(answer.status, 401, f"the status of {answer}")
    reason = answer.json["reason"]
    if reason not in reasons:
        raise Failed(f"the reason: expected one of {reasons}, got {reason!r}")
    refused(answer, 401, reason, challenge="invalid_token")


def passed(answer):
    expect(answer.status, 200, f"the status of {answer}")
    return answer


def seen_by_upstream(answer, name):
    """A header as nginx got it; empty when it got none."""
    for line in passed(answer).body.splitlines():
        if line.startswith(f"{name}=["):
            return line.removeprefix(f"{name}=[").removesuffix("]")
    raise Failed(f"the upstream says nothing of {name}: {answer}")
