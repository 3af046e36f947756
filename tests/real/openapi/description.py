"""What a description of an API says, read without any help of the gateway's."""

import json
import re

import yaml

METHODS = ["get", "put", "post", "delete", "patch"]
PARAMETER = re.compile(r"\{[^}]*\}")
# Paths that a gateway cannot have, or that are several in one.
ODD = re.compile(r"//|/:|[*%;#?]|\.\.")
# What tells operations apart that are one for everybody else.
BEHIND = re.compile(r"[?#].*")
VALUE = "qz7"


def read(file):
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix == ".json":
        return json.loads(text)
    return yaml.load(text, Loader=yaml.CSafeLoader)


def base_path(document):
    if "swagger" in document:
        path = document.get("basePath") or "/"
    else:
        server = (document.get("servers") or [{"url": "/"}])[0]
        url = server["url"]
        for name, variable in (server.get("variables") or {}).items():
            url = url.replace("{%s}" % name, str(variable.get("default", "")))
        path = re.sub(r"^[a-z+]+://[^/]*", "", url) or "/"
    return "/" + path.strip("/") if path.strip("/") else ""


class Operation:
    def __init__(self, document, template, method, item):
        self.template = template
        self.method = method.upper()
        self.path = base_path(document) + PARAMETER.sub(VALUE, template)
        self.others = [other.upper() for other in METHODS if other not in item]
        self.sets = required(document, item[method])

    def allows(self, scopes):
        """Whether a token with these scopes is enough; `None`: no token."""
        if self.sets is None:
            return True
        return scopes is not None and any(needed <= scopes for needed in self.sets)

    def tries(self):
        """Sets of scopes that should make a difference: none at all, each that is asked for, and each with one less."""
        tries = [None, frozenset()]
        for needed in self.sets or []:
            tries.append(frozenset(needed))
            tries += [frozenset(needed - {scope}) for scope in sorted(needed)[:2]]
        return list(dict.fromkeys(tries))


def required(document, operation):
    """Sets of scopes, of which one is needed; `None`: not even a token."""
    security = operation.get("security")
    if security == []:
        return None
    security = security or document.get("security") or []
    schemes = document.get("securityDefinitions")
    schemes = schemes or (document.get("components") or {}).get("securitySchemes") or {}
    sets = []
    for requirement in security:
        tokens = [name for name in requirement if is_token(schemes.get(name))]
        if tokens:
            scopes = [scope.split() for name in tokens for scope in requirement[name] or []]
            sets.append({name for names in scopes for name in names})
    return sets or [set()]


def is_token(scheme):
    if scheme is None:
        return True
    if scheme["type"] == "http":
        return scheme["scheme"].lower() == "bearer"
    return scheme["type"] in ("oauth2", "openIdConnect")


def operations(document):
    """Those about which there can be no doubt."""
    forms = [form(template) for template in document.get("paths") or {}]
    for template, item in (document.get("paths") or {}).items():
        twice = forms.count(form(template)) > 1
        if twice or ODD.search(template) or "$ref" in item:
            continue
        for method in METHODS:
            if method in item:
                yield Operation(document, template, method, item)


def form(template):
    return BEHIND.sub("", PARAMETER.sub("{}", template))
