"""What a benchmark run says: rows with target and verdict, printed as they come, kept as JSON."""

import json
import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass

from measure import differs_from, paired_ratios


@dataclass
class Row:
    section: str
    work: str
    subject: str
    value: float
    unit: str
    quartile: float | None = None
    ratio: float | None = None
    target: float | None = None  # The most that `ratio` (or, without one, `value`) may be.
    note: str = ""
    details: dict | None = None

    @property
    def verdict(self):
        if self.target is None:
            return ""
        reached = self.value if self.ratio is None else self.ratio
        return "ok" if reached <= self.target else "missed"

    def line(self):
        value = f"{self.value:,.3f}" if self.unit == "s" else f"{self.value:,.0f}"
        quartile = "" if self.quartile is None else (
            f"{self.quartile:.3f}" if self.unit == "s" else f"{self.quartile:,.0f}")
        ratio = "" if self.ratio is None else f"{self.ratio:.3f}x"
        if self.target is None:
            target = ""
        else:
            target = f"<= {self.target:g}" + ("x" if self.ratio is not None else f" {self.unit}")
        return (f"  {self.subject:<24}{value:>10} {self.unit:<5}{quartile:>9}{ratio:>9}"
                f"  {target:<13}{self.verdict:<7} {self.note}").rstrip()


class Report:
    def __init__(self, path, quick):
        self.path = path
        self.quick = quick
        self.rows = []
        self.remarks = []
        self._heading = None

    def add(self, row):
        heading = (row.section, row.work)
        if heading != self._heading:
            self._heading = heading
            print(f"\n{row.section}: {row.work}", flush=True)
        self.rows.append(row)
        print(row.line(), flush=True)

    def add_figures(self, section, work, figures, floor, targets):
        """A row for each figure of a comparison; `targets` holds the ratio allowed to each."""
        for name, figure in figures.items():
            row = Row(section, work, name, figure.minimum, "ns", figure.lower_quartile,
                      details=figure.as_json())
            notes = []
            if name != floor:
                row.ratio = figure.minimum / figures[floor].minimum
                row.target = targets.get(name)
                ratios = paired_ratios(figure, figures[floor])
                row.details["ratio_paired_median"] = round(statistics.median(ratios), 4)
                t, differs = differs_from(ratios, 1.0)
                notes.append(f"paired {statistics.median(ratios):.3f}x")
                if 0.9 < row.ratio < 1.15:
                    notes.append(f"{'differs' if differs else 'no difference'} (t={t:.1f})")
            if row.details["errors"]:
                notes.append(f"{row.details['errors']} ERRORS")
            if not figure.drops_disturbed:
                notes.append("disturbed rounds kept")
            row.note = ", ".join(notes)
            self.add(row)

    def remark(self, sentence):
        self.remarks.append(sentence)
        print(f"  {sentence}", flush=True)

    def missed(self):
        return [row for row in self.rows if row.verdict == "missed"]

    def save(self):
        about = {"when": time.strftime("%Y-%m-%d %H:%M:%S"), "kernel": platform.release(),
                 "machine": platform.machine(), "cpus": os.cpu_count(), "quick": self.quick}
        rows = [{**asdict(row), "verdict": row.verdict} for row in self.rows]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps({**about, "rows": rows, "remarks": self.remarks}, indent=1))

    def finish(self):
        self.save()
        targets = sum(bool(row.verdict) for row in self.rows)
        missed = self.missed()
        print(f"\n{targets - len(missed)} of {targets} targets reached.")
        for row in missed:
            reached = f"{row.value:g} {row.unit}" if row.ratio is None else f"{row.ratio:.3f}x"
            print(f"MISSED {row.section}: {row.work}, {row.subject}: {reached}, "
                  f"wanted <= {row.target:g}")
