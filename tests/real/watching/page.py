"""The status page as Chromium sees it."""

import html.parser
import re
import subprocess

from report import Failed

PATIENCE_SECONDS = 60
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--enable-logging=stderr",
    "--virtual-time-budget=2000",
    "--window-size=1200,1200",
]
# What a page says of scripts and policies that were violated.
CONSOLE = re.compile(r"CONSOLE[:(].*")


class Page:
    """Loads `url` once: the document, what the console said, and a picture's bytes."""

    def __init__(self, url, folder):
        profile = folder / "chromium"
        result = run(["--dump-dom", f"--user-data-dir={profile}", url])
        self.document = result.stdout
        self.console = CONSOLE.findall(result.stderr)
        self.elements = Elements()
        self.elements.feed(self.document)

    def has(self, text):
        return text in self.elements.text


def run(arguments):
    command = ["chromium", *FLAGS, *map(str, arguments)]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    if result.returncode:
        raise Failed(f"Chromium ended with {result.returncode}: {result.stderr[-500:]}")
    return result


class Elements(html.parser.HTMLParser):
    """How many of each there are, and the text of them all."""

    def __init__(self):
        super().__init__()
        self.count = {}
        self.text = ""
        self.inside = []

    def handle_starttag(self, tag, _):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if "style" not in self.inside:
            self.text += data + "\n"
