"""The gateway against a real Ory Hydra, and a guard that demands the gateway's own token.

    PYTHONPATH=tests/real/suite python3 tests/real/hydra BINARY HYDRA FOLDER

Started by ../hydra.sh. FOLDER is empty and belongs to this run: configurations, logs and Hydra's
database go there.
"""

import cases_own_token
import cases_tokens_of_hydra
from door import Door, OwnToken, without_credentials
from guard import Guard
from hydra import SECRET, Hydra
from stage import Stage, perform
from upstream import Upstream

CASES = [*cases_tokens_of_hydra.CASES, *cases_own_token.CASES]


class World(Stage):
    def __init__(self, stack, binary, hydra, folder):
        super().__init__(stack)
        self.hydra = Hydra(hydra, folder)
        self.guard = Guard(folder, self.hydra)
        self.upstream = Upstream(folder)
        self.doors = []

        def door(name, keys, **options):
            made = Door(name, binary, folder, self.upstream, keys, **options)
            self.doors.append(made)
            return made

        asks_admin = without_credentials(self.hydra.introspection_url)
        # Keeps answers for longer than the suite runs.
        self.steady = door("steady", asks_admin)
        # Forgets fast enough to be waited for.
        self.brief = door("brief", asks_admin, max_ttl="2s", inactive_ttl="1s")

        def own(name, client, ready=True, scopes="introspection", **more):
            urls = self.guard.introspection_url, self.hydra.token_url
            keys = OwnToken(*urls, client, SECRET, scopes)
            for key, value in more.items():
                setattr(keys, key, value)
            return door(name, keys, ready=ready)

        self.basic = own("own-basic", "gw:basic@x")
        self.post = own("own-post", "gw:post@x", bearer="POST_BODY_BEARER")
        self.lasting = own("own-lasting", "gw:lasting@x")
        # Never get a token.
        self.raw = own("own-raw", "gw:basic@x", ready=False, encoding="raw")
        self.misplaced = own("own-misplaced", "gw:post@x", ready=False)
        self.greedy = own("own-greedy", "gw:basic@x", ready=False, scopes="root")

    def start(self):
        self.run_all([self.hydra, self.guard, self.upstream, *self.doors])


perform(World, CASES)
