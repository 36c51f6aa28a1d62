#!/usr/bin/env python3
"""Recomputes the effects of `tradeoff` from its end points, by other code: numpy and scipy.

    python3 scripts/check_tradeoff.py REPORT_FOLDER

reads results.csv and effects.csv, computes every effect of every seed, and the mean, interval, p-value and Holm's
correction of every primary row again, prints the latter, and ends with 1 if a number of effects.csv differs by more
than 1e-9 or is there in one of the two alone.
"""

import csv
import math
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy import optimize, stats
from scipy.interpolate import PchipInterpolator

SMALL = 0.003
PRIMARY = "ln ratio at 90 %"


def log_forgetting(f):
    return math.log(f) if f > SMALL else math.log(SMALL) + (f - SMALL) / SMALL


def from_log(g):
    return math.exp(g) if g > math.log(SMALL) else SMALL + (g - math.log(SMALL)) * SMALL


class Missing(Exception):
    pass


class Curve:
    """Forgetting of one method by task loss, from runs (rate, task loss, forgetting)."""

    def __init__(self, runs, lines):
        useful = [
            r for r in runs if not any(q[0] < r[0] and q[1] <= r[1] and q[2] <= r[2] for q in runs)
        ]
        best = {}
        for _, loss, forgetting in useful:
            best[loss] = min(forgetting, best.get(loss, math.inf))
        self.loss = np.array(sorted(best))
        self.forgetting = np.array([best[loss] for loss in self.loss])
        self.lines = lines
        if len(self.loss) > 1 and not lines:
            self.pchip = PchipInterpolator(self.loss, [log_forgetting(f) for f in self.forgetting])

    def at(self, loss):
        if not self.loss[0] <= loss <= self.loss[-1]:
            raise Missing
        exact = np.flatnonzero(self.loss == loss)
        if exact.size:
            return float(self.forgetting[exact[0]])
        if self.lines:
            return float(np.interp(loss, self.loss, self.forgetting))
        return from_log(float(self.pchip(loss)))

    def loss_at(self, forgetting):
        # From the gentlest run (the highest loss) on.
        loss, value = self.loss[::-1], self.forgetting[::-1]
        above = np.flatnonzero(value >= forgetting)
        if value[0] > forgetting or not above.size:
            raise Missing
        first = above[0]
        if value[first] == forgetting:
            return float(loss[first])
        return optimize.brentq(lambda x: self.at(x) - forgetting, loss[first], loss[first - 1], xtol=1e-13)


def reading(label, runs, before):
    """The number of a reading, from the runs of the matched method and of the other."""
    lines = label.endswith(", straight lines")
    label = label.removesuffix(", straight lines")
    curves = [Curve(of, lines) for of in runs]
    lowest = max(curve.loss[0] for curve in curves)
    if any(curve.loss[0] >= before for curve in curves):
        raise Missing

    def both(level):
        return [curve.at(lowest + (1 - level) * (before - lowest)) for curve in curves]

    def ratio(level):
        matched, other = both(level)
        return log_forgetting(other) - log_forgetting(matched)

    if label.startswith("ln ratio at"):
        return ratio(float(label.split()[3]) / 100)
    if label.startswith("nats at"):
        matched, other = both(float(label.split()[2]) / 100)
        return other - matched
    if label == "ln ratio, mean of 50 to 100 %":
        return float(np.mean([ratio(level / 100) for level in range(50, 101, 5)]))
    if label.startswith("learning at F ="):
        forgetting = float(label.split()[-1])
        return curves[1].loss_at(forgetting) - curves[0].loss_at(forgetting)
    sys.exit(f"a reading that is not known: {label}")


def main(folder):
    runs, before = defaultdict(list), {}
    seeds, orders = set(), defaultdict(set)
    for row in csv.DictReader(open(folder / "results.csv")):
        seed, order = int(row["seed"]), int(row["order"])
        seeds.add(seed)
        orders[seed].add(order)
        key = (row["task"], row["checkpoint"], row["method"], seed, order)
        runs[key]
        numbers = [row["pretrain_loss_before"], row["pretrain_loss_after"], row["task_loss_after"]]
        if row["diverged"] == "false" and all(numbers):
            first, after, task = map(float, numbers)
            runs[key].append((float(row["learning_rate"]), task, after - first))
            before[row["task"], row["checkpoint"], seed] = float(row["task_loss_before"])

    def effect(task, terms, label, seed, order):
        total = 0.0
        for weight, checkpoint, matched, other in terms:
            of = [runs.get((task, checkpoint, method, seed, order)) for method in (matched, other)]
            if not all(of):
                raise Missing
            total += weight * reading(label, of, before[task, checkpoint, seed])
        return total

    stored = defaultdict(dict)
    for row in csv.DictReader(open(folder / "effects.csv")):
        key = (row["variant"], row["part"], row["task"], row["control"], row["terms"], row["reading"])
        stored[key][int(row["seed"])] = float(row["effect"])
    worst, different = 0.0, 0
    primary = defaultdict(list)
    for key, found in stored.items():
        variant, part, task, control, text, label = key
        terms = [(float(w), c, m, o) for w, c, m, o in (term.split() for term in text.split("; "))]
        again = {}
        for seed in sorted(seeds):
            values = {}
            for order in sorted(orders[seed]):
                try:
                    values[order] = effect(task, terms, label, seed, order)
                except Missing:
                    pass
            if 0 in values:
                again[seed] = float(np.mean(list(values.values())))
        if again.keys() != found.keys():
            different += 1
            print(f"seeds differ: {key}: {sorted(again)} here, {sorted(found)} in the file")
        for seed in again.keys() & found.keys():
            error = abs(again[seed] - found[seed])
            worst = max(worst, error)
            # Halving stops at the last bits of a task loss.
            different += error > 1e-9
        if label == PRIMARY and variant == "verdicts" and control == "false":
            primary[task, part].append((text, np.array(list(again.values()))))

    rows = []
    for (task, part), parts in primary.items():
        of = [(text, values.mean(), *interval(values), p_value(values), len(values)) for text, values in parts if len(values) > 1]
        if part in "ab":
            rows += [(task, part, *row) for row in of]
        elif len(of) == len(parts):
            negative = [row for row in of if row[1] < 0]
            p = min(1.0, min(r[4] for r in negative) * len(of)) if negative else max(r[4] for r in of)
            weakest = min(of, key=lambda r: r[2])
            rows.append((task, part, *weakest[:4], p, weakest[5]))
    order = np.argsort([row[6] for row in rows], kind="stable")
    largest = 0.0
    corrected = {}
    for place, index in enumerate(order):
        largest = min(1.0, max(largest, rows[index][6] * (len(rows) - place)))
        corrected[int(index)] = largest
    print(f"{'task':8} part {'effect':>8} {'95 % interval':>20} {'p':>9} {'corrected':>9}  n  contrasts")
    for index, (task, part, text, mean, low, high, p, n) in enumerate(rows):
        print(f"{task:8} {part:4} {mean:+8.4f} [{low:+8.4f}, {high:+8.4f}] {p:9.2e} {corrected[index]:9.2e} {n:2}  {text}")
    print(f"largest difference {worst:.1e}, {different} that differ")
    return 1 if different else 0


def interval(values):
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def p_value(values):
    return float(stats.ttest_1samp(values, 0).pvalue)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
