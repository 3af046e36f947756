"""The gateway against a real Keycloak.

    PYTHONPATH=tests/real/suite python3 tests/real/keycloak BINARY KEYCLOAK FOLDER

Started by ../keycloak.sh. KEYCLOAK is an unpacked distribution, FOLDER is empty; both belong to
this run.
"""

import cases_introspection
import cases_outage
import cases_own_token
from stage import perform
from world import World

CASES = [*cases_introspection.CASES, *cases_own_token.CASES, *cases_outage.CASES]

perform(World, CASES)
