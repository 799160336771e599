"""``harness latents``: the latent vectors of a stored trained method, measured and drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import Device, Out, Store
from harness.cli.output import Format, as_csv, format_option, print_json, print_table, report_written, write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from harness.evaluation.latents import Latents, Purity

_KINDS = ("png", "svg", "pdf")


def latents(
    method: Annotated[str, typer.Argument(help="Trained method, or the key of its row.")],
    store: Store = Path("runs"),
    states: Annotated[
        str, typer.Option(help="Modality states, e.g. full,context; default full and each one dropped.")
    ] = "",
    finding: Annotated[
        str, typer.Option(help="Finding that colours the map; default the most even one.")
    ] = "",
    limit: Annotated[int, typer.Option(min=10, max=1000, help="Number of test studies.")] = 200,
    device: Device = None,
    format_: Annotated[Format, format_option(Format.table, Format.json)] = Format.table,
    out: Out = None,
) -> None:
    """Measure the latent vectors of a trained method on test studies; with --out draw a map."""
    from harness.cli.tables import open_store
    from harness.core.packages import require_packages
    from harness.evaluation.latents import LatentOptions, collect, measure
    from harness.evaluation.reproduce import find

    if out is not None:
        require_packages("harness latents --out", "figures", "matplotlib")
    opened = open_store(store)
    named = [each for each in opened.stored() if each.manifest.method == method]
    one_network = len({each.manifest.cell for each in named}) == 1  # its results differ in the drop policy
    stored = named[0] if one_network else find(opened, method)
    options = LatentOptions(tuple(filter(None, states.split(","))), finding, limit, device)
    vectors = collect(opened, stored, options)
    purities = measure(vectors)
    if vectors.remark:
        typer.echo(vectors.remark, err=True)
    if format_ is Format.json:
        print_json(_content(vectors, purities))
    else:
        print_table(_rows(purities), right=("purity", "n"))
        typer.echo(f"{_title(vectors)}. {_MEANING}")
    if out is not None:
        report_written(_written(vectors, purities, out), lambda line: typer.echo(line, err=True))


_MEANING = (
    "Purity: share of a latent's 10 nearest latents of other patients that have the same kind or finding, "
    "mean over kinds or findings; 95 % interval over patients. Chance: after 200 random exchanges, with "
    "their 95 %."
)


def _title(vectors: Latents) -> str:
    seed = f", seed {vectors.seed}" if vectors.seed else ""
    return f"{vectors.label}{seed}, {vectors.dataset}, {len(vectors.ids)} test studies"


def _rows(purities: Sequence[Purity]) -> list[dict[str, str]]:
    return [
        {
            "state": each.state,
            "of": each.of,
            "among": each.among,
            "purity": f"{each.estimate.value:.3f}",
            "95 %": "[{:.3f}, {:.3f}]".format(*each.estimate.ci95),
            "chance": "{:.3f} [{:.3f}, {:.3f}]".format(each.chance, *each.chance95),
            "p": f"{each.p:.3f}",
            "n": str(each.estimate.n),
        }
        for each in purities
    ]


def _content(vectors: Latents, purities: Sequence[Purity]) -> dict[str, Any]:
    return {
        "method": vectors.label,
        "dataset": vectors.dataset,
        "seed": vectors.seed,
        "remark": vectors.remark,
        "studies": len(vectors.ids),
        "kinds": list(vectors.kinds),
        "finding": None if vectors.truth is None else vectors.truth.name,
        "purity": [each.to_json() for each in purities],
    }


def _written(vectors: Latents, purities: Sequence[Purity], out: Path) -> list[Path]:
    """The figure in three formats, the coordinates and the numbers."""
    from harness.core.slugs import slug
    from harness.evaluation.latents import embed, located

    coordinates = embed(vectors)
    name = f"latents-{slug(vectors.label)}{f'-s{vectors.seed}' if vectors.seed else ''}"
    figures = [out / f"{name}.{kind}" for kind in _KINDS]
    _draw(vectors, purities, coordinates, figures)
    points = located(vectors, coordinates)
    content = {**_content(vectors, purities), "points": points}
    files = [
        write(out / f"{name}.csv", as_csv(points)),
        write(out / f"{name}.json", json.dumps(content, indent=1) + "\n"),
    ]
    for file in files:
        file.chmod(0o600)  # they name studies
    return [*figures, *files]


def _draw(
    vectors: Latents, purities: Sequence[Purity], coordinates: Mapping[str, NDArray[Any]], paths: list[Path]
) -> None:
    from harness.evaluation.latents import KIND
    from harness.leaderboard.render.latent_figures import LatentPanel, latent_figure
    from harness.missingness.states import FULL, names_in

    truth = vectors.truth
    panels = []
    for state, points in vectors.states.items():
        own = [each for each in purities if each.state == state]
        kinds = [f"kinds {_short(each)}" for each in own if each.of == KIND]
        findings = [f"{each.among} {_short(each)}" for each in own if each.of != KIND]
        panels.append(
            LatentPanel(
                "nothing dropped" if state == FULL else f"without {' and '.join(names_in(state))}",
                coordinates[state],
                points.kind,
                None if truth is None else truth.codes[points.study],
                ("\n".join(kinds), "\n".join(findings)),
            )
        )
    classes = () if truth is None else _class_names(truth.name, truth.values)
    title = f"{_title(vectors)}: t-SNE, purity (chance)"
    latent_figure(panels, paths, kinds=vectors.kinds, classes=classes, title=title)


def _class_names(name: str, values: Sequence[str]) -> tuple[str, ...]:
    return tuple(values) if name == "class" else tuple(f"{name}: {value}" for value in values)


def _short(each: Purity) -> str:
    return f"{each.estimate.value:.2f} ({each.chance:.2f})"
