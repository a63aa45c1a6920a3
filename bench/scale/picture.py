# SPDX-License-Identifier: MIT
"""The five panels in one figure. Each point is the fastest run, with a bar to the median; what was not timed is named in its panel."""

from __future__ import annotations

from statistics import median
from typing import Any

from chainrule.plots.axes import BLUE, GREEN, ORANGE, RED
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, NullLocator

from ..peers.report import OURS
from ..peers.rows import Row
from .panels import PANELS, Panel

LOOKS: dict[str, dict[str, Any]] = {
    "torch": {"color": RED, "marker": "s", "label": "PyTorch, eager"},
    "scikit-learn": {"color": GREEN, "marker": "^", "label": "scikit-learn"},
    "jax": {"color": ORANGE, "marker": "D", "label": "JAX, jit and scan"},
    OURS: {"color": BLUE, "marker": "o", "label": "chainrule", "linewidth": 2.6, "markersize": 6.5, "zorder": 4},
}
LIMIT: dict[str, Any] = {"color": "#777777", "linestyle": (0, (4, 3)), "linewidth": 1.2, "label": "its multiplications alone, at sgemm's rate"}
INK, FAINT = "#222222", "#555555"


def steps_drawn(row: Row) -> int:
    """An epoch where the name says how many rows there are, else one step."""
    return row.rows // row.batch if row.rows else 1


def rates(report: dict[str, Any]) -> dict[int, float]:
    """The best sgemm by the number of threads, in flop/s, of all that were measured beside the points."""
    best: dict[int, float] = {}
    for points in report["panels"].values():
        for point in points.values():
            best[point["threads"]] = max(best.get(point["threads"], 0.0), *(1e9 * s for s in point["sgemm_gflops"]))
    return best


def draw_panel(ax: Axes, panel: Panel, points: dict[str, Any], rate: dict[int, float]) -> None:
    missing: dict[str, list[str]] = {}
    many = len(panel.names(panel.points[0]))
    for i in range(many):
        found = [(int(x), point["threads"], Row.parse(list(point["rows"])[i]), list(point["rows"].values())[i]) for x, point in points.items()]
        ax.plot([x for x, *_ in found], [steps_drawn(row) * row.flop / rate[threads] for _, threads, row, _ in found], **LIMIT)
        highest = 0.0
        for name, look in LOOKS.items():
            drawn: list[tuple[int, float, float]] = []
            for x, _, row, line in found:
                result = line["results"].get(name)
                if result is None or result["status"] != "ok":
                    missing.setdefault(f"{look['label']} {result['status'] if result else 'not run'}", []).append(f"{x:,}")
                    continue
                drawn.append((x, *(1e-6 * steps_drawn(row) * f(result["samples_us"]) for f in (min, median))))
            xs, best, middle = zip(*drawn, strict=True) if drawn else ((), (), ())
            ax.plot(xs, best, **{"linewidth": 1.6, "markersize": 5, "zorder": 3, "markeredgecolor": "white", "markeredgewidth": 0.6} | look)
            ax.vlines(xs, best, middle, color=look["color"], linewidth=1, alpha=0.6, zorder=2)
            highest = max((highest, *best[:1]))
        if many > 1 and highest > 0:  # which of the panel's networks these lines are
            row = found[0][2]
            name = f"{'-'.join(map(str, row.sizes))}, batch {row.batch}"
            ax.annotate(name, (found[0][0], highest), (2, 9), textcoords="offset points", fontsize=9, color=INK)
    ax.set(xscale="log", yscale="log", xlabel=panel.axis)
    ax.set_title(panel.name.capitalize(), loc="left", weight="bold", fontsize=12, pad=22)
    ax.text(0, 1.03, panel.title, transform=ax.transAxes, fontsize=9.5, color=FAINT)
    every = next((n for n in (2, 3) if (len(panel.points) - 1) % n == 0), 1)
    labelled = panel.points[::every]
    ax.set_xticks(labelled, [f"{x:,}" for x in labelled])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(EngFormatter("s"))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.margins(y=0.08 if many == 1 else 0.15)
    ax.grid(color="#e6e6e6", linewidth=0.8)
    ax.tick_params(length=0, labelsize=9)
    ax.spines[:].set_visible(False)
    notes = [f"{what}: {', '.join(where)}" for what, where in missing.items()]
    ax.text(0.98, 0.03, "\n".join(notes), transform=ax.transAxes, ha="right", fontsize=8, color=FAINT)


def caption(report: dict[str, Any], rate: dict[int, float]) -> str:
    """Machine, versions, commits and dates: what the figures hold for."""
    points = [point for points in report["panels"].values() for point in points.values()]
    machine, versions = report["machine"], report["versions"]
    commits = sorted({point["commit"][:7] for point in points if point["commit"]})
    seen = [f"{name} {versions[name][name]}" for name in LOOKS if name != OURS and versions.get(name)]
    days = sorted({point["date"][:10] for point in points})
    sgemm = ", ".join(f"{rate[t] / 1e9:.0f} GFLOP/s on {t} thread{'s' * (t > 1)}" for t in sorted(rate))
    return (
        f"{machine['cpu']} (family/model {machine['family_model']}, {', '.join(machine['features'])}), {machine['available_cpus']} virtual CPUs; "
        f"best sgemm of {report['product']:,}$^3$: {sgemm}. {', '.join(seen)}.\n"
        f"chainrule at commit {', '.join(commits)}, {versions[OURS]['compiler']}; {' to '.join(dict.fromkeys((days[0], days[-1])))}. "
        "All samples: bench/results/scale.json."
    )


def draw(report: dict[str, Any]) -> Figure:
    """The figure of what the report has so far."""
    figure = Figure(figsize=(13.5, 9), dpi=110, layout="constrained")
    figure.get_layout_engine().set(rect=(0.005, 0.055, 0.99, 0.885), wspace=0.06, hspace=0.08)  # type: ignore[union-attr, call-arg]
    grid = figure.subplots(2, 3).flat
    rate = rates(report)
    for ax, panel in zip(grid, PANELS.values(), strict=False):
        if points := report["panels"].get(panel.name):
            draw_panel(ax, panel, points, rate)
        else:
            ax.set_axis_off()
    last = figure.axes[-1]
    last.set_axis_off()
    handles = [Line2D([], [], **{"linewidth": 1.6, "markersize": 6} | LOOKS[name]) for name in (OURS, *(n for n in LOOKS if n != OURS))]
    last.legend(
        handles=[*handles, Line2D([], [], **LIMIT)], loc="upper left", bbox_to_anchor=(-0.03, 1.06), frameon=False, fontsize=11, labelspacing=0.75
    )
    threads = report["settings"]["threads"]
    last.text(
        0,
        0,
        f"Both axes are logarithmic; lower is faster.\nfloat32, ReLU, softmax with cross-entropy,\nSGD with momentum 0.9; {threads} threads each,\n"
        "save in the last panel. Each result is compared\nwith a float64 reference before it is timed.\n"
        f"A point is the fastest of {report['settings']['repeat']} runs in turn with\nthe others; its bar reaches to the median.",
        transform=last.transAxes,
        fontsize=10,
        color=FAINT,
        linespacing=1.45,
    )
    figure.text(0.012, 0.96, "How the time of training grows", fontsize=17, weight="bold", color=INK)
    figure.text(0.012, 0.012, caption(report, rate), fontsize=8.5, color=FAINT, linespacing=1.5)
    return figure
