"""Settings that users write, in YAML or as flags: closed, immutable, and strict about yes and no."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Settings(BaseModel):
    """Base of such settings: an unknown key is an error that names it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """In YAML ``seeds: [yes]`` is a list with ``True`` in it, which Python takes for 1."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        kinds = set(_kinds(annotation))
        if kinds & {int, float} and not kinds & {bool, Any}:
            inside = value.values() if isinstance(value, dict) else value
            for each in inside if isinstance(value, dict | list | tuple) else (value,):
                if isinstance(each, bool):
                    raise ValueError(f"a number was expected, but got {'yes' if each else 'no'}")
        return value


def _kinds(annotation: Any) -> list[Any]:
    """The types that an annotation is made of."""
    return [annotation, *(kind for each in get_args(annotation) for kind in _kinds(each))]
