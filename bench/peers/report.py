# SPDX-License-Identifier: MIT
"""A row in the report, and the table on the screen."""

from __future__ import annotations

from typing import Any

from .rows import Row

OURS = "chainrule"


def ratio(results: dict[str, dict[str, Any]], name: str, key: str = "best_us") -> float | None:
    """How many times our time a competitor needs; None where one of the two has no time."""
    theirs, ours = results[name].get(key), results.get(OURS, {}).get(key)
    return theirs / ours if theirs and ours else None


def entry(row: Row, steps: int, results: dict[str, dict[str, Any]], versions: dict[str, Any]) -> dict[str, Any]:
    """A row's part of the report. The versions are taken out of the results into `versions`, where each competitor's stand once."""
    for name, result in results.items():
        versions.setdefault(name, result.pop("versions", None))
        if result["status"] == "ok":
            result |= {"ratio_best": ratio(results, name), "ratio_median": ratio(results, name, "median_us")}
    return {"flop": row.flop, "steps": steps, "unit": row.unit, "alpha": row.alpha, "results": results}


def number(x: float) -> str:
    """Three digits or more, without an exponent."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def row_lines(name: str, row: dict[str, Any], peak: float) -> list[str]:
    lines = [
        f"{name}   {row['steps']} {row['unit']}s of {number(row['flop'] / 1e6)} Mflop a run; us a {row['unit']}",
        f"  {'':14}{'best':>12}{'median':>12}{'spread':>9}{'x ours':>9}{'GFLOP/s':>10}{'of peak':>9}{'error':>10}",
    ]
    for peer, result in row["results"].items():
        if result["status"] != "ok":
            lines.append(f"  {peer:14}{result['status']}: {result['reason']}")
            continue
        times = ratio(row["results"], peer)
        lines.append(
            f"  {peer:14}{number(result['best_us']):>12}{number(result['median_us']):>12}{result['spread']:>9.1%}"
            f"{'-' if times is None else number(times):>9}{number(result['gflops']):>10}{result['gflops'] / peak:>9.1%}"
            f"{result['error']:>10.1e}{'   ' + result['variant'] if result['variant'] else ''}"
        )
    return lines


def markdown(rows: dict[str, dict[str, Any]], peers: list[str]) -> list[str]:
    """The table of the README: best time of a step or call, and in brackets how many times ours it is."""
    lines = ["| row | " + " | ".join(peers) + " |", "|---" * (len(peers) + 1) + "|"]
    for name, row in rows.items():
        cells = []
        for peer in peers:
            result = row["results"].get(peer)
            if result is None:
                cells.append("")
                continue
            times = ratio(row["results"], peer)
            cell = f"{number(result['best_us'])} us" if result["status"] == "ok" else str(result["status"])
            cells.append(cell + (f" ({number(times)}x)" if times is not None and peer != OURS else ""))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines
