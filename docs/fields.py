"""Write the fields of a configuration class as a table of the site."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

import griffe

from mezzotint import api

BOUNDED = re.compile(r"(Positive|NonNegative)(Int|Float)")


def fields_of(name: str) -> str:
    """Return the fields of a public configuration class as a Markdown table.

    Args:
        name: Its name in `mezzotint.api`.
    """
    source = griffe.load("mezzotint", search_paths=["src"])
    rows = ["| field | values | default | meaning |", "|---|---|---|---|"]
    cls = getattr(api, name)
    for field in dataclasses.fields(cls):
        owner = next(c for c in cls.__mro__ if field.name in inspect.get_annotations(c))
        module = owner.__module__.removeprefix("mezzotint.")
        attribute = source[f"{module}.{owner.__name__}"].members[field.name]
        if "Suppress" in str(attribute.annotation):  # users cannot set it
            continue
        said = attribute.docstring.value if attribute.docstring else _of_section(field)
        text = " ".join(said.split())
        values = _values(str(attribute.annotation))
        cells = (f"`{field.name}`", values, _default(field), text)
        rows.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(rows)


def _values(annotation: str) -> str:
    """Describe the values of a field: names in a registry, names, a section, or a type."""
    annotation, _, optional = annotation.partition(" | ")
    if choice := re.search(r"Choice\((\w+)", annotation):
        values = f"{'names' if '...' in annotation else 'a name'} in `{choice[1]}`"
    elif names := re.fullmatch(r"Literal\[(.*)\]", annotation):
        values = names[1].replace("'", '"')
    elif hasattr(api, annotation):
        values = f"[`{annotation}`][mezzotint.api.{annotation}]"
    else:
        values = f"`{BOUNDED.sub(lambda name: name[2].lower(), annotation)}`"
        if bound := BOUNDED.search(annotation):
            values += f", {'above 0' if bound[1] == 'Positive' else 'from 0'}"
    return f"{values} or None" if optional == "None" else values


def _default(field: dataclasses.Field[Any]) -> str:
    value = getattr(field.default, "default", field.default)  # bounded fields wrap it
    if value is dataclasses.MISSING or dataclasses.is_dataclass(value):
        return ""
    return f"`{value!r}`"


def _of_section(field: dataclasses.Field[Any]) -> str:
    """Return the first line of the docstring of a field's class, if the field is a section."""
    made = field.default_factory
    section = made if isinstance(made, type) else type(field.default)
    return (section.__doc__ or "").split("\n")[0] if dataclasses.is_dataclass(section) else ""
