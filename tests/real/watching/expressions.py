"""The expressions that are shipped: those of the rules, and those of the dashboard."""

import json
import re

# What stands in the dashboard for its variables, when all is chosen.
ALL = {"$job": ".*", "$route": ".*"}


def of_dashboard(file):
    """Title and expression of each target."""
    dashboard = json.loads(file.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], filled_in(target["expr"])
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], filled_in(annotation["expr"])


def filled_in(expression):
    for variable, value in ALL.items():
        expression = expression.replace(variable, value)
    return expression


def of_pages(file):
    """The examples of a page."""
    return re.findall(r"```promql\n(.*?)```", file.read_text(), re.DOTALL)
