"""What an API Manager knows: APIs, applications, keys, subscriptions and policies, as the rows of its
internal data API (`/internal/data/v1`), in the form of 3.x or of 4.x."""

import threading

KINDS = (
    "apis",
    "applications",
    "application-key-mappings",
    "subscriptions",
    "subscription-policies",
    "application-policies",
    "api-policies",
)
# What a row is found by when it is changed or removed.
IDENTITY = {
    "apis": ("apiId",),
    "applications": ("id",),
    "application-key-mappings": ("consumerKey",),
    "subscriptions": ("subscriptionId",),
    "subscription-policies": ("name",),
    "application-policies": ("name",),
    "api-policies": ("name",),
}
# The query parameters that each list knows, and the key of a row that each is compared with.
QUERIES = {
    "apis": {"context": "context", "version": "version"},
    "applications": {"appId": "id"},
    "application-key-mappings": {"consumerKey": "consumerKey", "keymanager": "keyManager"},
    "subscriptions": {"apiId": "apiId", "appId": "appId"},
    "subscription-policies": {"policyName": "name"},
    "application-policies": {"policyName": "name"},
    "api-policies": {"policyName": "name"},
}
# What 4.x says beside; 3.x leaves it out.
ONLY_IN_4 = {
    "apis": ("uuid", "status", "isDefaultVersion"),
    "applications": ("organization",),
    "application-key-mappings": ("applicationUUID",),
    "subscriptions": ("subscriptionUUID", "apiUUID", "applicationUUID"),
    "subscription-policies": ("tenantDomain",),
    "application-policies": ("tenantDomain",),
    "api-policies": ("tenantDomain",),
}


def uuid(kind, number):
    """One that can be told from its number."""
    return f"{KINDS.index(kind):08x}-0000-4000-8000-{number:012x}"


def api(number, name, version, context, provider="admin"):
    return {
        "apiId": number,
        "uuid": uuid("apis", number),
        "provider": provider,
        "name": name,
        "version": version,
        "context": context,
        "policy": None,
        "apiType": None,
        "status": "PUBLISHED",
        "isDefaultVersion": False,
        "urlMappings": [
            {
                "authScheme": "Application & Application User",
                "throttlingPolicy": "Unlimited",
                "httpMethod": "GET",
                "urlPattern": "/menu",
                "scopes": [],
            }
        ],
    }


def application(number, name, owner="admin", policy="Unlimited"):
    return {
        "uuid": uuid("applications", number),
        "id": number,
        "name": name,
        "subName": owner,
        "policy": policy,
        "tokenType": "OAUTH",
        "groupIds": [],
        "attributes": {},
        "organization": "carbon.super",
    }


def key_mapping(app_id, consumer_key, key_type="PRODUCTION", key_manager="Default"):
    return {
        "applicationId": app_id,
        "applicationUUID": uuid("applications", app_id),
        "consumerKey": consumer_key,
        "keyType": key_type,
        "keyManager": key_manager,
    }


def subscription(number, api_id, app_id, state="UNBLOCKED", policy="Unlimited"):
    return {
        "subscriptionId": number,
        "subscriptionUUID": uuid("subscriptions", number),
        "policyId": policy,
        "apiId": api_id,
        "apiUUID": uuid("apis", api_id),
        "appId": app_id,
        "applicationUUID": uuid("applications", app_id),
        "subscriptionState": state,
    }


def policy(number, name, count, unit="min", units=1):
    return {
        "id": number,
        "tenantId": -1234,
        "tenantDomain": "carbon.super",
        "name": name,
        "quotaType": "requestCount",
        "defaultLimit": {
            "quotaType": "requestCount",
            "requestCount": {"timeUnit": unit, "unitTime": units, "requestCount": count},
            "bandwidth": None,
        },
    }


def subscription_policy(number, name, count, unit="min", units=1):
    return policy(number, name, count, unit, units) | {
        "rateLimitCount": -1,
        "rateLimitTimeUnit": "NA",
        "stopOnQuotaReach": True,
        "graphQLMaxComplexity": 0,
        "graphQLMaxDepth": 0,
    }


class Model:
    """Rows by kind and identity. Safe to be used by several threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.rows = {kind: {} for kind in KINDS}
        for number, (name, count) in enumerate((("Gold", 5000), ("Silver", 2000), ("Bronze", 10)), 1):
            self.put("subscription-policies", subscription_policy(number, name, count))
        for number, count in enumerate((50, 20, 10), 1):
            self.put("application-policies", policy(number, f"{count}PerMin", count))
            self.put("api-policies", policy(number, f"{count}KPerMin", count * 1000))

    def put(self, kind, row):
        """Adds a row, or puts it in the place of the one with its identity. Rows of any shape are taken:
        a test may want a bad one."""
        with self.lock:
            self.rows[kind][self.identity(kind, row)] = row

    def remove(self, kind, row):
        """Removes the row with this identity; says whether there was one."""
        with self.lock:
            return self.rows[kind].pop(self.identity(kind, row), None) is not None

    def clear(self, kind):
        with self.lock:
            self.rows[kind].clear()

    @staticmethod
    def identity(kind, row):
        if isinstance(row, dict):
            return repr([row.get(key) for key in IDENTITY[kind]])
        return repr(row)

    def select(self, kind, query, generation):
        """The rows that a query of the data API answers with: a single one takes all its parameters
        together, as `apiId` with `appId`; otherwise all rows."""
        with self.lock:
            rows = list(self.rows[kind].values())
        wanted = {QUERIES[kind][name]: value for name, value in query.items() if name in QUERIES[kind]}
        needs_all = kind in ("apis", "subscriptions")
        if wanted and (not needs_all or len(wanted) == len(QUERIES[kind])):
            rows = [
                row
                for row in rows
                if isinstance(row, dict)
                and all(str(row.get(key)) == value for key, value in wanted.items())
            ]
        return [shown(kind, row, generation) for row in rows]


def shown(kind, row, generation):
    if generation >= 4 or not isinstance(row, dict):
        return row
    return {key: value for key, value in row.items() if key not in ONLY_IN_4[kind]}


def large(subscriptions, applications, apis):
    """The text of each list of a large organisation, as byte strings: rows of 1 to N in each kind. Each
    application has one key, `key-N`, and subscriptions to APIs that follow each other."""
    if subscriptions % applications or subscriptions // applications > apis:
        raise ValueError("each application has as many subscriptions as every other")
    each = subscriptions // applications

    def texts(form, count):
        return [form % number for number in range(1, count + 1)]

    def subscription_rows():
        for number in range(subscriptions):
            app, position = divmod(number, each)
            yield (
                b'{"subscriptionId":%d,"policyId":"Gold","apiId":%d,"appId":%d,'
                b'"subscriptionState":"UNBLOCKED"}'
                % (number + 1, (app + position) % apis + 1, app + 1)
            )

    def listed(rows):
        rows = list(rows)
        return b'{"count":%d,"list":[%s]}' % (len(rows), b",".join(rows))

    numbered_twice = [(number, number) for number in range(1, applications + 1)]
    return {
        "subscriptions": listed(subscription_rows()),
        "applications": listed(
            b'{"uuid":null,"id":%d,"name":"app-%d","subName":"admin","policy":"10PerMin",'
            b'"tokenType":"OAUTH","groupIds":[],"attributes":{}}' % numbers
            for numbers in numbered_twice
        ),
        "application-key-mappings": listed(
            b'{"applicationId":%d,"consumerKey":"key-%d","keyType":"PRODUCTION","keyManager":"Default"}'
            % numbers
            for numbers in numbered_twice
        ),
        "apis": listed(
            b'{"apiId":%d,"provider":"admin","name":"API-%d","version":"1.0.0","context":"/api-%d/1.0.0",'
            b'"policy":null,"apiType":null,"urlMappings":[]}' % (number, number, number)
            for number in range(1, apis + 1)
        ),
    }
