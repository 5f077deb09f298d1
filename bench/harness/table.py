"""The rows of the table, and how they are printed and kept."""

import json
import os
import statistics


class Row:
    """One measured thing.

    `bar` is a limit as (comparison, number), or None where there is only something to know.
    `samples` are the single results behind `result`; their spread tells how noisy the machine was.
    """

    def __init__(self, what, unit, result, samples=(), bar=None, note=""):
        self.what, self.unit, self.result, self.bar, self.note = what, unit, result, bar, note
        self.samples = list(samples)

    @property
    def met(self):
        if self.bar is None:
            return None
        comparison, limit = self.bar
        return self.result >= limit if comparison == ">=" else self.result <= limit

    def cells(self):
        sign = {">=": "≥", "<=": "≤"}
        bar = f"{sign[self.bar[0]]} {number(self.bar[1])} {self.unit}" if self.bar else "–"
        spread = f"{number(min(self.samples))} … {number(max(self.samples))}" if len(self.samples) > 1 else "–"
        verdict = {True: "met", False: "MISSED", None: "–"}[self.met]
        return [self.what, bar, f"{number(self.result)} {self.unit}", spread, verdict, self.note]

    def json(self):
        bar = {"comparison": self.bar[0], "limit": self.bar[1]} if self.bar else None
        return {"what": self.what, "unit": self.unit, "result": self.result, "bar": bar, "met": self.met,
                "samples": self.samples, "note": self.note}


def number(value):
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def median(samples):
    return statistics.median(samples)


def render(rows, machine, failures):
    """The table as Markdown."""
    head = ["what", "bar", "result", "min … max", "", "note"]
    lines = [f"# {machine['date']}, commit {machine['commit']}", ""]
    lines += [f"{key}: {value}  " for key, value in machine.items() if key not in ("date", "commit", "versions")]
    lines += ["versions: " + ", ".join(f"{key} {value}" for key, value in machine["versions"].items()), ""]
    lines += ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head)]]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    if failures:
        lines += ["", "Could not run:", ""] + [f"- {part}: {why}" for part, why in failures.items()]
    return "\n".join(lines) + "\n"


def keep(folder, rows, machine, failures):
    """Writes the table for people and the figures for programs; returns the former's path."""
    os.makedirs(folder, exist_ok=True)
    base = os.path.join(folder, f"{machine['date'][:10]}-{machine['commit']}")
    with open(base + ".md", "w") as file:
        file.write(render(rows, machine, failures))
    with open(base + ".json", "w") as file:
        json.dump({"machine": machine, "rows": [row.json() for row in rows], "failures": failures}, file, indent=1)
        file.write("\n")
    return base + ".md"
