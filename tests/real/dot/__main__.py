"""The gateway against a real django-oauth-toolkit, whose introspection demands an own token.

    PYTHONPATH=tests/real/suite python3 tests/real/dot BINARY PYTHON FOLDER

Started by ../dot.sh; PYTHON has the packages of requirements.txt. FOLDER is empty and belongs to
this run.
"""

from cases import CASES
from door import Door, OwnToken, basic
from provider import PERSON, SECRET, Provider
from stage import Stage, perform
from upstream import Upstream


class World(Stage):
    def __init__(self, stack, binary, python, folder):
        super().__init__(stack)
        self.provider = Provider(python, folder)
        self.upstream = Upstream(folder)
        self.doors = []

        def door(name, keys, ready=True, **more):
            for key, value in more.items():
                setattr(keys, key, value)
            made = Door(
                name, binary, folder, self.upstream, keys, ready, max_ttl="2s", inactive_ttl="1s"
            )
            self.doors.append(made)
            return made

        def own(client, scopes="introspection"):
            urls = self.provider.introspection_url, self.provider.token_url
            return OwnToken(*urls, client, SECRET, scopes)

        self.by_basic = door("basic", basic(self.provider.introspection_url, "app", SECRET))
        self.header = door("own-header", own("gw:short@x"))
        self.body = door("own-body", own("gw:short@x"), bearer="POST_BODY_BEARER")
        self.person = door("own-person", own("gw:person@x"), person=PERSON)
        self.lasting = door("own-lasting", own("gw:lasting@x"))
        # Gets tokens, which may not introspect.
        self.humble = door("own-humble", own("gw:lasting@x", scopes="orders.read"))
        # Never gets a token.
        self.stranger = door("own-stranger", own("gw:nobody"), ready=False)

    def start(self):
        self.run_all([self.provider, self.upstream, *self.doors])


perform(World, CASES)
