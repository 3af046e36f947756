"""The load test's results: a table to print, and a page without anything from elsewhere."""

import html
import json
import os
import platform
import statistics
import subprocess

COLUMNS = [
    ("CPU µs/request", "cpu_us", "{:.1f}"),
    ("requests/s", "per_second", "{:,.0f}"),
    ("p50 µs", "p50_us", "{:,.0f}"),
    ("p99 µs", "p99_us", "{:,.0f}"),
    ("introspections", "calls", "{:,.0f}"),
    ("peak MiB", "peak_mib", "{:.1f}"),
]


class Results:
    def __init__(self):
        self.cases, self.ratios, self.notes, self.budgets = [], [], [], []

    def case(self, name, seen, calls):
        self.cases.append({"name": name, **seen, "calls": calls, "peak_mib": seen["peak"] / (1 << 20)})

    def ratio(self, name, values, budget):
        middle = statistics.median(values)
        self.ratios.append({"name": name, "median": middle, "low": min(values), "high": max(values)})
        if budget:
            self.budget(name, middle, budget, "×")

    def note(self, name, text):
        self.notes.append((name, text))

    def budget(self, name, value, limit, unit):
        self.budgets.append({"name": name, "value": value, "limit": limit, "unit": unit})

    def within_budgets(self):
        return all(budget["value"] <= budget["limit"] for budget in self.budgets)

    def write(self, folder):
        folder.mkdir(exist_ok=True)
        text = self.text()
        print(text)
        (folder / "report.txt").write_text(text)
        (folder / "results.json").write_text(json.dumps(vars(self), indent=1))
        (folder / "index.html").write_text(self.page())
        print("written: loadtest/report/{index.html,report.txt,results.json}")

    def text(self):
        parts = [machine(), "", table(self.case_rows()), "", "CPU time, median of rounds (lowest … highest):"]
        parts += [f"  {r['median']:.3f} ({r['low']:.3f} … {r['high']:.3f})  {r['name']}" for r in self.ratios]
        parts += ["", *(f"  {name}: {text}" for name, text in self.notes)]
        parts += ["", "Budgets:", *(f"  {verdict(b)}  {b['name']}: {measured(b)}" for b in self.budgets)]
        return "\n".join(parts) + "\n"

    def case_rows(self):
        rows = [["case", *(title for title, _, _ in COLUMNS)]]
        for case in self.cases:
            rows.append([case["name"], *(form.format(case[key]) for _, key, form in COLUMNS)])
        return rows

    def page(self):
        ratios = [(f"{r['name']}", r["median"], f"{r['median']:.3f}") for r in self.ratios]
        cpu = [(case["name"], case["cpu_us"], f"{case['cpu_us']:.1f} µs") for case in self.cases]
        notes = [["what", "measured"], *map(list, self.notes)]
        budgets = [["", "budget", "measured"]]
        budgets += [[verdict(b), b["name"], measured(b)] for b in self.budgets]
        return PAGE.format(
            machine=html.escape(machine()),
            budgets=html_table(budgets),
            ratios=bars(ratios),
            cpu=bars(cpu),
            cases=html_table(self.case_rows()),
            notes=html_table(notes),
        )


def verdict(budget):
    return "met   " if budget["value"] <= budget["limit"] else "MISSED"


def measured(budget):
    digits = 3 if budget["unit"] == "×" else 1
    return f"{budget['value']:.{digits}f} {budget['unit']}, limit {budget['limit']} {budget['unit']}"


def machine():
    revision = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    return (
        f"Portcullis load test, revision {revision or 'unknown'}: {os.cpu_count()} shared cores, "
        f"{platform.machine()}, Linux {platform.release().split('-')[0]}; the tested process on one "
        "core, wrk, key manager and upstream on another; closed loop, keep-alive, 1 KiB answers"
    )


def table(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if position == 0 else cell.rjust(width)
            for position, (cell, width) in enumerate(zip(row, widths))
        )
        for row in rows
    )


def html_table(rows):
    def row(cells, tag):
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + row(rows[0], "th") + "".join(row(cells, "td") for cells in rows[1:]) + "</table>"


def bars(values):
    """Horizontal bars from zero, with their values; nothing where no case had any."""
    if not values:
        return ""
    height, longest = 26, max(value for _, value, _ in values)
    lines = []
    for position, (name, value, text) in enumerate(values):
        top, width = position * height, 380 * value / longest
        lines.append(
            f'<text x="0" y="{top + 16}">{html.escape(name)}</text>'
            f'<rect x="430" y="{top + 3}" width="{width:.1f}" height="18" rx="2"/>'
            f'<text x="{438 + width:.1f}" y="{top + 16}">{html.escape(text)}</text>'
        )
    size = f'viewBox="0 0 900 {len(values) * height}"'
    return f'<svg {size} role="img" aria-label="bars">{"".join(lines)}</svg>'


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Portcullis load test</title>
<style>
 :root {{ color-scheme: light dark }}
 body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
 table {{ border-collapse: collapse; width: 100% }}
 th, td {{ text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #8884 }}
 td:not(:first-child) {{ font-variant-numeric: tabular-nums }}
 svg {{ width: 100%; font-size: 12.5px }} svg text {{ fill: currentColor }} svg rect {{ fill: #4a7fb5 }}
</style>
<h1>Portcullis load test</h1>
<p>{machine}.</p>
<h2>Budgets</h2>{budgets}
<h2>CPU time as a ratio to a bare Pingora proxy with the same forwarding</h2>{ratios}
<h2>CPU time of each request</h2>{cpu}
<h2>All cases</h2>{cases}
<h2>More</h2>{notes}
<p>A shared machine: ratios within one run mean something, absolute times mean little. See
docs/performance.md.</p>
</html>
"""
